#pragma once

#include "cli/cli.h"

#include <stddef.h>

/* `rsip kx`, for the table in commands.c. */
int cli_kx(struct cli *cli, const void *options, int argc, char **argv);
extern const struct cli_option cli_kx_options[];

struct cli_kx_options {
	const char *anchor, *forward, *config, *zones, *at;
};
