#pragma once

#include "cli/cli.h"

/* What the files of `rsip gateway` share. */

#define GATEWAY_SOCKET "/run/rsip/rsipd.sock"
const char *gateway_socket(const struct cli *cli);

/* A list of the gateway, owned by the caller.  Takes over params. */
int gateway_list(const struct cli *cli, const char *method, json_t *params,
	const char *key, json_t **list);

struct gateway_top {
	struct cli_u32 count, delay;
};
extern const struct cli_option gateway_top_options[];
int gateway_top(struct cli *cli, const void *options, int argc, char **argv);

struct gateway_monitor {
	bool packets;
	const char *pcap;
	struct cli_u32 count;
};
extern const struct cli_option gateway_monitor_options[];
int gateway_monitor(struct cli *cli, const void *options, int argc, char **argv);
