/* The table of `rsip`: one row a command. */
#include "cli/cli.h"

const struct cli_command cli_commands[] = {
	{
		.name = "gateway",
		.help = "show and operate the gateway on this machine (rsipd)",
		.sub = cli_gateway_commands,
	},
	{ 0 },
};
