#pragma once

#include "cli/cli.h"

/*
 * Calls to rsip-hostd of this network namespace, and starting it.
 */

enum hostd_start {
	HOSTD_NEVER,    /* none runs: exit status 3 */
	HOSTD_START,    /* start one */
	HOSTD_CLEAN_UP, /* start one if a killed one left something behind */
};

/* As cli_call(); conf is the -c option's file for a daemon that is started, or NULL. */
int hostd_call(const struct cli *cli, enum hostd_start start, const char *conf,
	const char *method, json_t *params, json_t **reply);
