/* The table of `rsip`: one row a command. */
#include "cli/cli.h"
#include "cli/completion.h"
#include "cli/doctor.h"
#include "cli/gateway.h"
#include "cli/host.h"
#include "cli/kx.h"

static const struct cli_command ike_commands[] = {
	{
		.name = "strongswan",
		.help = "write the drop-in that gives charon the leased SPIs and ports",
		.run = host_ike_strongswan,
		.options = host_ike_options,
		.options_size = sizeof(struct host_options),
		.details = "One charon { } section: SPI block, ports, cookie prefix. It "
			   "needs a lease of at\nleast 16 SPIs in a row. What else must "
			   "hold is printed to standard error. rsip-hostd keeps the file "
			   "in step with the\nlease and has charon read its SPIs anew.",
	},
	{
		.name = "libreswan",
		.help = "print what libreswan's connections need (spi-mode follow)",
		.run = host_ike_libreswan,
		.options = host_ike_libreswan_options,
		.options_size = sizeof(struct host_options),
	},
	{ 0 },
};

const struct cli_command cli_commands[] = {
	{
		.name = "up",
		.help = "lease, make the tunnel interface, route through it",
		.run = host_up,
		.options = host_up_options,
		.options_size = sizeof(struct host_options),
		.details = "Starts rsip-hostd when none runs. What is local, to the "
			   "kernel or by the gateway's\nword, keeps its routes. Again is "
			   "allowed: it then only shows the status.",
	},
	{
		.name = "down",
		.help = "free all leases, deregister, restore routes and settings",
		.run = host_down,
	},
	{
		.name = "status",
		.help = "gateway, interface and bindings of this host",
		.run = host_status,
	},
	{
		.name = "lease",
		.help = "one lease, for scripts: no interface is made",
		.run = host_lease,
		.options = host_lease_options,
		.options_size = sizeof(struct host_options),
		.details =
			"It is kept until `rsip free` or `rsip down`. Ports and SPIs of "
			"the address that\n`rsip up` holds join its interface.",
	},
	{
		.name = "extend",
		.args = "BIND [SECONDS]",
		.help = "extend a lease now",
		.run = host_extend,
		.min_args = 1,
		.max_args = 2,
		.details = "rsip-hostd extends leases by itself at half of their time.",
	},
	{
		.name = "free",
		.args = "BIND",
		.help = "give one lease back",
		.run = host_free,
		.min_args = 1,
		.max_args = 1,
	},
	{
		.name = "listen",
		.help = "lease a port to be reached on",
		.run = host_listen,
		.options = host_listen_options,
		.options_size = sizeof(struct host_options),
	},
	{
		.name = "query",
		.args = "[ADDRESS|NETWORK]...",
		.help = "ask the gateway what is local",
		.run = host_query,
		.options = host_query_options,
		.options_size = sizeof(struct host_options),
		.max_args = 64,
	},
	{
		.name = "exec",
		.args = "-- COMMAND [ARG]...",
		.help = "run a program whose only way out is a lease of its own",
		.run = host_exec,
		.options = host_exec_options,
		.options_size = sizeof(struct host_options),
		.min_args = 1,
		.max_args = -1,
		.rest = true,
		.details = "The exit status is the command's; 128 and the number of the "
			   "signal that ended it.",
	},
	{
		.name = "ike",
		.help = "hand a lease to an IKE daemon",
		.sub = ike_commands,
	},
	{
		.name = "kx",
		.args = "NAME|ADDRESS | explain NAME | show | flush [S D] | open",
		.help = "who may exchange keys for it, by signed DNS (RFC 2230)",
		.run = cli_kx,
		.options = cli_kx_options,
		.options_size = sizeof(struct cli_kx_options),
		.min_args = 1,
		.max_args = 3,
		.details = "With a name or an address: own look-ups, no daemon is "
			   "needed; an address goes through\nthe reverse tree. With "
			   "explain, show, flush and open: what rsip-kxd knows and "
			   "does;\nflush forgets decisions without an SA, open takes its "
			   "traps out of the kernel.\nExit status of look-ups: 0 secure "
			   "(a secure denial too), 1 failed, 4 insecure, 5 bogus.",
	},
	{
		.name = "gateway",
		.help = "show and operate the gateway on this machine (rsipd)",
		.sub = cli_gateway_commands,
	},
	{
		.name = "top",
		.help = "what each host of the gateway does, again and again",
		.run = gateway_top,
		.options = gateway_top_options,
		.options_size = sizeof(struct gateway_top),
		.details = "The busiest hosts first: leases, ports, SPIs, and requests a "
			   "second; above them the\npackets of all, and drops by reason.",
	},
	{
		.name = "doctor",
		.help = "look for the usual reasons why it does not work",
		.run = doctor_run,
		.options = doctor_options,
		.options_size = sizeof(struct doctor_options),
		.details = "On a gateway, which has an rsipd.conf, or on a host. Each "
			   "finding says what to do.\nThe status is 1 when one is a "
			   "problem. Changes nothing.",
	},
	{
		.name = "config",
		.help = "check, compare and try configurations of rsipd",
		.sub = cli_config_commands,
	},
	{
		.name = "genkey",
		.args = "NAME",
		.help = "make a key for a host, which it shares with its gateway",
		.run = cli_genkey,
		.min_args = 1,
		.max_args = 1,
		.details = "The line is for key-file of the host and of the gateway, by "
			   "NAME the host is known there.",
	},
	{
		.name = "completion",
		.args = "bash|zsh",
		.help = "print a script that completes rsip's words in that shell",
		.run = cli_completion,
		.min_args = 1,
		.max_args = 1,
	},
	{ 0 },
};
