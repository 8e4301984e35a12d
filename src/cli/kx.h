#pragma once

#include "cli/cli.h"

#include <stddef.h>

/* `rsip kx`, for the table in commands.c. */
int cli_kx(struct cli *cli, const void *options, int argc, char **argv);
extern const struct cli_option cli_kx_options[];
extern const size_t cli_kx_options_size;
