#pragma once

#include "cli/cli.h"

/* What the files of `rsip gateway` share. */

#define GATEWAY_SOCKET "/run/rsip/rsipd.sock"
const char *gateway_socket(const struct cli *cli);

struct gateway_monitor {
	bool packets;
	const char *pcap;
	struct cli_u32 count;
};
extern const struct cli_option gateway_monitor_options[];
int gateway_monitor(struct cli *cli, const void *options, int argc, char **argv);
