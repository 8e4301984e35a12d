/*
 * `rsip gateway ...`: the operator's view of the rsipd on this machine, over its control
 * socket.  What is shown and done is control.c's of the gateway.
 */
#include "cli/gateway.h"
#include "base/addr.h"
#include "base/err.h"
#include "cli/cli.h"
#include "ipc/ipc.h"

#include <errno.h>
#include <stdio.h>

/* A busy gateway answers in milliseconds; a reload reads files and may take seconds. */
#define TIMEOUT_MS 10000

const char *gateway_socket(const struct cli *cli)
{
	return cli->socket != NULL ? cli->socket : GATEWAY_SOCKET;
}

/* Joins the pieces of a long list. */
struct gather {
	const char *key;
	json_t *list;
};

static int on_piece(void *ctx, json_t *params)
{
	struct gather *g = ctx;
	json_t *piece = json_object_get(params, g->key);

	return json_is_array(piece) && json_array_extend(g->list, piece) == 0
		       ? 0
		       : ERR_PROTOCOL;
}

int gateway_list(const struct cli *cli, const char *method, json_t *params,
	const char *key, json_t **list)
{
	struct gather g = { key, json_array() };
	struct ipc_client *client;
	char why[IPC_WHY] = "";
	int err;

	if (g.list == NULL) {
		json_decref(params);
		return cli_fail(-ENOMEM, NULL);
	}
	err = ipc_client_new(gateway_socket(cli), &client, why, sizeof(why));
	if (err == 0) {
		err = ipc_client_call_more(client, method, json_incref(params),
			TIMEOUT_MS, on_piece, &g, why, sizeof(why));
		ipc_client_free(client);
	}
	json_decref(params);
	if (err != 0) {
		json_decref(g.list);
		return cli_fail(err, why);
	}
	*list = g.list;
	return CLI_OK;
}

static int show_list(const struct cli *cli, const char *method, const char *key,
	const struct cli_column *columns)
{
	json_t *list;
	int status = gateway_list(cli, method, NULL, key, &list);

	if (status != CLI_OK)
		return status;
	if (cli->json)
		return cli_print_json(list);
	status = cli_print_table(columns, list);
	json_decref(list);
	return status;
}

static int show_clients(struct cli *cli, const void *options, int argc, char **argv)
{
	static const struct cli_column columns[] = {
		{ "client_id", "CLIENT", true },
		{ "host", "HOST", false },
		{ "transport", "TRANSPORT", false },
		{ "lease_remaining", "LEFT", true },
		{ "bindings", "BINDINGS", true },
		{ NULL, NULL, false },
	};

	(void)options, (void)argc, (void)argv;
	return show_list(cli, "org.rsipsec.gateway.ListClients", "clients", columns);
}

static int show_bindings(struct cli *cli, const void *options, int argc, char **argv)
{
	(void)options, (void)argc, (void)argv;
	return show_list(
		cli, "org.rsipsec.gateway.ListBindings", "bindings", cli_binding_columns);
}

/* A large pool comes in several pieces, one after the other. */
static int pools_merge(json_t *pools)
{
	size_t i = 1;

	while (i < json_array_size(pools)) {
		json_t *before = json_array_get(pools, i - 1),
		       *pool = json_array_get(pools, i);

		if (!json_equal(json_object_get(before, "name"),
			    json_object_get(pool, "name"))) {
			i++;
			continue;
		}
		if (json_array_extend(json_object_get(before, "addresses"),
			    json_object_get(pool, "addresses")) != 0)
			return -ENOMEM;
		(void)json_array_remove(pools, i); /* i is in the array */
	}
	return 0;
}

/* A pool's addresses as rows that name their pool. */
static int pools_flatten(const json_t *pools, json_t *rows)
{
	json_t *pool, *address;
	size_t p, a;

	json_array_foreach(pools, p, pool)
	{
		json_array_foreach(json_object_get(pool, "addresses"), a, address)
		{
			json_t *row = json_copy(address);

			if (row == NULL ||
				json_object_set(row, "pool",
					json_object_get(pool, "name")) != 0 ||
				json_array_append_new(rows, row) != 0)
				return -ENOMEM;
		}
	}
	return 0;
}

static int show_pools(struct cli *cli, const void *options, int argc, char **argv)
{
	static const struct cli_column columns[] = {
		{ "pool", "POOL", false },
		{ "address", "ADDRESS", false },
		{ "dedicated", "DEDICATED", false },
		{ "ports_free", "FREE", true },
		{ "ports_held", "HELD", true },
		{ "ports_resting", "RESTING", true },
		{ "spis_held", "SPIS HELD", true },
		{ "spis_resting", "SPIS RESTING", true },
		{ NULL, NULL, false },
	};
	json_t *pools, *rows;
	int status;

	(void)options, (void)argc, (void)argv;
	status =
		gateway_list(cli, "org.rsipsec.gateway.ListPools", NULL, "pools", &pools);
	if (status != CLI_OK)
		return status;
	if (pools_merge(pools) != 0) {
		json_decref(pools);
		return cli_fail(-ENOMEM, NULL);
	}
	if (cli->json)
		return cli_print_json(pools);
	rows = json_array();
	status = pools_flatten(pools, rows) == 0 ? cli_print_table(columns, rows)
						 : cli_fail(-ENOMEM, NULL);
	json_decref(rows);
	json_decref(pools);
	return status;
}

static void print_leaf(const char *name, const json_t *value)
{
	if (json_is_string(value))
		(void)printf("%-40s %s\n", name, json_string_value(value));
	else if (json_is_integer(value))
		(void)printf("%-40s %" JSON_INTEGER_FORMAT "\n", name,
			json_integer_value(value));
	else if (json_is_real(value))
		(void)printf("%-40s %.9g\n", name, json_real_value(value));
	else if (json_is_boolean(value))
		(void)printf("%-40s %s\n", name, json_is_true(value) ? "yes" : "no");
	else
		(void)printf("%-40s -\n", name);
}

/* Nested objects and lists as "a.b value" lines; jansson bounds how deep they are. */
/* NOLINTNEXTLINE(misc-no-recursion) */
static void print_tree(const char *prefix, json_t *value)
{
	const char *key;
	json_t *member;
	char name[160];
	size_t i;

	if (json_is_array(value)) {
		json_array_foreach(value, i, member)
		{
			print_tree(prefix, member);
		}
	} else if (json_is_object(value)) {
		json_object_foreach(value, key, member)
		{
			(void)snprintf(name, sizeof(name), "%s%s%s", prefix,
				prefix[0] != 0 ? "." : "", key);
			print_tree(name, member);
		}
	} else {
		print_leaf(prefix, value);
	}
}

static int show_object(const struct cli *cli, const char *method)
{
	json_t *reply;
	int status = cli_call(gateway_socket(cli), method, NULL, TIMEOUT_MS, &reply);

	if (status != CLI_OK)
		return status;
	if (cli->json)
		return cli_print_json(reply);
	print_tree("", reply);
	json_decref(reply);
	return fflush(stdout) == 0 ? CLI_OK : cli_fail(-EIO, NULL);
}

static int show_counters(struct cli *cli, const void *options, int argc, char **argv)
{
	(void)options, (void)argc, (void)argv;
	return show_object(cli, "org.rsipsec.gateway.GetCounters");
}

static int show_status(struct cli *cli, const void *options, int argc, char **argv)
{
	(void)options, (void)argc, (void)argv;
	return show_object(cli, "org.rsipsec.gateway.GetStatus");
}

/* A verb on one thing by its number; says what was done. */
static int run_verb(
	const struct cli *cli, const char *method, json_t *params, const char *done)
{
	json_t *reply;
	int status;

	if (params == NULL)
		return cli_fail(-ENOMEM, NULL);
	status = cli_call(gateway_socket(cli), method, params, TIMEOUT_MS, &reply);
	if (status != CLI_OK)
		return status;
	if (cli->json)
		return cli_print_json(reply);
	json_decref(reply);
	return puts(done) >= 0 && fflush(stdout) == 0 ? CLI_OK : cli_fail(-EIO, NULL);
}

static int run_release(struct cli *cli, const void *options, int argc, char **argv)
{
	uint32_t id;

	(void)options, (void)argc;
	if (!cli_number("BIND", argv[0], 1, UINT32_MAX, &id))
		return CLI_USAGE;
	return run_verb(cli, "org.rsipsec.gateway.Release",
		json_pack("{s:I}", "bind_id", (json_int_t)id), "released");
}

static int run_deregister(struct cli *cli, const void *options, int argc, char **argv)
{
	uint32_t id;

	(void)options, (void)argc;
	if (!cli_number("CLIENT", argv[0], 1, UINT32_MAX, &id))
		return CLI_USAGE;
	return run_verb(cli, "org.rsipsec.gateway.Deregister",
		json_pack("{s:I}", "client_id", (json_int_t)id), "deregistered");
}

static int run_reload(struct cli *cli, const void *options, int argc, char **argv)
{
	(void)options, (void)argc, (void)argv;
	return run_verb(cli, "org.rsipsec.gateway.Reload", json_object(), "reloaded");
}

struct whois_options {
	struct cli_u32 port, spi;
	const char *at;
};

static const struct cli_option whois_options[] = {
	{ .name = "port",
		.kind = CLI_U32,
		.offset = offsetof(struct whois_options, port),
		.metavar = "N",
		.help = "who held this port",
		.max = 65535 },
	{ .name = "spi",
		.kind = CLI_U32,
		.offset = offsetof(struct whois_options, spi),
		.metavar = "N",
		.help = "who held this SPI" },
	{ .name = "at",
		.kind = CLI_TEXT,
		.offset = offsetof(struct whois_options, at),
		.metavar = "RFC3339",
		.help = "at this time, as 2026-11-22T04:00:00Z; now without" },
	{ 0 },
};

static json_t *whois_params(const struct whois_options *o, const char *address)
{
	json_t *params = json_pack("{s:s}", "address", address);
	int bad = params == NULL;

	if (!bad && o->port.set)
		bad |= json_object_set_new(params, "port", json_integer(o->port.value));
	if (!bad && o->spi.set)
		bad |= json_object_set_new(params, "spi", json_integer(o->spi.value));
	if (!bad && o->at != NULL)
		bad |= json_object_set_new(params, "at", json_string(o->at));
	if (bad) {
		json_decref(params);
		return NULL;
	}
	return params;
}

static int run_whois(struct cli *cli, const void *options, int argc, char **argv)
{
	static const struct cli_column columns[] = {
		{ "host", "HOST", false },
		{ "method", "METHOD", false },
		{ "ports", "PORTS", false },
		{ "spis", "SPIS", false },
		{ "from", "FROM", false },
		{ "until", "UNTIL", false },
		{ "bind_id", "BIND", true },
		{ NULL, NULL, false },
	};
	const struct whois_options *o = options;
	json_t *params, *list;
	uint32_t address;
	bool none;
	int status;

	(void)argc;
	if (addr_parse(argv[0], &address) != 0)
		return cli_usage("ADDRESS \"%s\" is not an IPv4 address", argv[0]);
	if (o->port.set && o->spi.set)
		return cli_usage("--port and --spi exclude each other");
	params = whois_params(o, argv[0]);
	if (params == NULL)
		return cli_fail(-ENOMEM, NULL);
	status =
		gateway_list(cli, "org.rsipsec.gateway.Whois", params, "bindings", &list);
	if (status != CLI_OK)
		return status;
	none = json_array_size(list) == 0;
	if (cli->json) {
		status = cli_print_json(list);
	} else {
		status = none ? CLI_OK : cli_print_table(columns, list);
		json_decref(list);
	}
	return status == CLI_OK && none ? CLI_FAILED : status;
}

static const struct cli_command show_commands[] = {
	{ .name = "clients", .help = "registered hosts", .run = show_clients },
	{ .name = "bindings", .help = "what each host holds", .run = show_bindings },
	{ .name = "pools",
		.help = "free, held and resting tuples per address",
		.run = show_pools },
	{ .name = "counters",
		.help = "requests, errors, packets and drops by reason",
		.run = show_counters },
	{ .name = "status",
		.help = "version, uptime, data plane driver, health",
		.run = show_status },
	{ 0 },
};

const struct cli_command cli_gateway_commands[] = {
	{ .name = "show",
		.help = "show clients, bindings, pools, counters or status",
		.sub = show_commands },
	{ .name = "release",
		.args = "BIND",
		.help = "end a binding and tell its host",
		.run = run_release,
		.min_args = 1,
		.max_args = 1,
		.details =
			"BIND is a bind ID as `rsip gateway show bindings` prints it." },
	{ .name = "deregister",
		.args = "CLIENT",
		.help = "end a host's registration with all it holds, and tell the host",
		.run = run_deregister,
		.min_args = 1,
		.max_args = 1,
		.details = "CLIENT is a client ID as `rsip gateway show clients` prints "
			   "it." },
	{ .name = "whois",
		.args = "ADDRESS",
		.help = "who holds, or held, an address, port or SPI",
		.run = run_whois,
		.min_args = 1,
		.max_args = 1,
		.options = whois_options,
		.options_size = sizeof(struct whois_options),
		.details = "Without --at from the leases that are held now, else also "
			   "from the audit of\nthose that have ended. The status is 1 "
			   "when nobody answers." },
	{ .name = "monitor",
		.help = "show what happens, as it happens",
		.run = gateway_monitor,
		.options = gateway_monitor_options,
		.options_size = sizeof(struct gateway_monitor),
		.details = "Grants, ends, refusals, water marks, and once a second the "
			   "drops by reason;\nwith --json one object a line. What "
			   "driver xdp judges in the kernel is counted,\nand only "
			   "shows packet by packet with driver packet." },
	{ .name = "reload",
		.help = "read the configuration file again",
		.run = run_reload,
		.details = "A file with an error changes nothing; the error is printed "
			   "and the "
			   "status is 2." },
	{ 0 },
};
