/* Commands of a host: one call to rsip-hostd each. */
#include "cli/host.h"

#include "base/err.h"
#include "cli/hostd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "-";
}

static int done_line(void)
{
	return fflush(stdout) == 0 ? CLI_OK : cli_fail(-EIO, NULL);
}

static int print_bindings(const json_t *bindings)
{
	if (json_array_size(bindings) == 0)
		return done_line();
	return cli_print_table(cli_binding_columns, bindings);
}

static json_int_t number_at(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void print_follow(const json_t *follow)
{
	if (!json_is_object(follow))
		return;
	(void)printf("SPIs follow the IKE daemon: %" JSON_INTEGER_FORMAT
		     " leased now, %" JSON_INTEGER_FORMAT " so far, %" JSON_INTEGER_FORMAT
		     " refused; IKE messages: %" JSON_INTEGER_FORMAT
		     " waiting, %" JSON_INTEGER_FORMAT " lost\n",
		number_at(follow, "spis"), number_at(follow, "leased"),
		number_at(follow, "refused"), number_at(follow, "waiting"),
		number_at(follow, "lost"));
}

static int print_status(const json_t *status)
{
	const json_t *gateway;
	size_t i;

	json_array_foreach(json_object_get(status, "gateways"), i, gateway)
	{
		const char *trouble =
			json_string_value(json_object_get(gateway, "trouble"));

		(void)printf("gateway %s (%s), interface %s, %s%s%s\n",
			text_at(gateway, "gateway"), text_at(gateway, "transport"),
			text_at(gateway, "interface"), text_at(gateway, "session"),
			trouble != NULL ? ": " : "", trouble != NULL ? trouble : "");
	}
	if (i == 0)
		(void)puts("no gateway");
	print_follow(json_object_get(status, "follow"));
	if (json_is_true(json_object_get(json_object_get(status, "charon"), "restart")))
		(void)puts(
			"restart charon: its leased IKE port, address or cookie prefix "
			"has changed");
	return print_bindings(json_object_get(status, "bindings"));
}

/* Print the answer and let go of it. */
static int answer(const struct cli *cli, int status, json_t *reply,
	int (*print)(const json_t *reply))
{
	if (status != CLI_OK)
		return status;
	if (cli->json)
		return cli_print_json(reply);
	status = print(reply);
	json_decref(reply);
	return status;
}

static int print_binding(const json_t *binding)
{
	json_t *one = json_pack("[O]", binding);
	int status;

	if (one == NULL)
		return cli_fail(-ENOMEM, NULL);
	status = print_bindings(one);
	json_decref(one);
	return status;
}

static int print_nothing(const json_t *reply)
{
	(void)reply;
	return CLI_OK;
}

int host_up(struct cli *cli, const void *options, int argc, char **argv)
{
	const struct host_options *o = options;
	json_t *reply = NULL;
	int status = hostd_call(
		cli, HOSTD_START, o->conf, "org.rsipsec.host.Up", host_params(o), &reply);

	(void)argc, (void)argv;
	return answer(cli, status, reply, print_status);
}

int host_down(struct cli *cli, const void *options, int argc, char **argv)
{
	json_t *reply = NULL;
	int status = hostd_call(cli, HOSTD_CLEAN_UP, NULL, "org.rsipsec.host.Down",
		json_object(), &reply);

	(void)options, (void)argc, (void)argv;
	return answer(cli, status, reply, print_nothing);
}

int host_status(struct cli *cli, const void *options, int argc, char **argv)
{
	json_t *reply = NULL;
	int status = hostd_call(
		cli, HOSTD_NEVER, NULL, "org.rsipsec.host.Status", json_object(), &reply);

	(void)options, (void)argc, (void)argv;
	return answer(cli, status, reply, print_status);
}

int host_lease(struct cli *cli, const void *options, int argc, char **argv)
{
	const struct host_options *o = options;
	json_t *reply = NULL;
	int status = hostd_call(cli, HOSTD_START, o->conf, "org.rsipsec.host.Lease",
		host_params(o), &reply);

	(void)argc, (void)argv;
	return answer(cli, status, reply, print_binding);
}

int host_listen(struct cli *cli, const void *options, int argc, char **argv)
{
	const struct host_options *o = options;
	json_t *reply = NULL;
	int status = hostd_call(cli, HOSTD_NEVER, NULL, "org.rsipsec.host.Listen",
		host_params(o), &reply);

	(void)argc, (void)argv;
	return answer(cli, status, reply, print_binding);
}

int host_extend(struct cli *cli, const void *options, int argc, char **argv)
{
	uint32_t bind, seconds = 0;
	json_t *reply = NULL;
	int status;

	(void)options;
	if (!cli_number("BIND", argv[0], 1, UINT32_MAX, &bind) ||
		(argc > 1 && !cli_number("SECONDS", argv[1], 1, UINT32_MAX, &seconds)))
		return CLI_USAGE;
	status = hostd_call(cli, HOSTD_NEVER, NULL, "org.rsipsec.host.Extend",
		json_pack("{s:I, s:I}", "bind_id", (json_int_t)bind, "seconds",
			(json_int_t)seconds),
		&reply);
	return answer(cli, status, reply, print_binding);
}

int host_free(struct cli *cli, const void *options, int argc, char **argv)
{
	uint32_t bind;
	json_t *reply = NULL;
	int status;

	(void)options, (void)argc;
	if (!cli_number("BIND", argv[0], 1, UINT32_MAX, &bind))
		return CLI_USAGE;
	status = hostd_call(cli, HOSTD_NEVER, NULL, "org.rsipsec.host.Free",
		json_pack("{s:I}", "bind_id", (json_int_t)bind), &reply);
	return answer(cli, status, reply, print_nothing);
}

static int print_answers(const json_t *answers)
{
	const json_t *one;
	size_t i;

	json_array_foreach(answers, i, one)
	{
		const char *what =
			json_object_get(one, "network") != NULL ? "network" : "address";

		(void)printf("%-18s %s\n", text_at(one, what),
			json_is_true(json_object_get(one, "local")) ? "local" : "remote");
	}
	return done_line();
}

int host_query(struct cli *cli, const void *options, int argc, char **argv)
{
	json_t *params = host_params(options), *items = json_array(), *reply = NULL,
	       *list;
	int status;

	for (int i = 0; i < argc; i++)
		(void)json_array_append_new(items, json_string(argv[i]));
	if (params == NULL || json_object_set_new(params, "items", items) != 0) {
		json_decref(params);
		return cli_fail(-ENOMEM, NULL);
	}
	status = hostd_call(
		cli, HOSTD_NEVER, NULL, "org.rsipsec.host.Query", params, &reply);
	if (status != CLI_OK)
		return status;
	list = json_incref(json_object_get(reply, "answers"));
	json_decref(reply);
	return answer(cli, CLI_OK, list, print_answers);
}
