/*
 * rsip kx: who may exchange keys for a name or an address, by signed DNS (RFC 2230), with
 * a look-up of our own; and what rsip-kxd knows and does.
 */
#include "cli/kx.h"

#include "base/err.h"
#include "ipc/ipc.h"
#include "kx/control.h"
#include "kx/explain.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#define CALL_MS 30000

const struct cli_option cli_kx_options[] = {
	{ "anchor", 0, CLI_TEXT, offsetof(struct cli_kx_options, anchor), "FILE",
		"trust anchors (/usr/share/dns/root.key)", 0, 0 },
	{ "forward", 0, CLI_TEXT, offsetof(struct cli_kx_options, forward),
		"ADDRESS[@PORT]", "resolver to ask, not the authoritative servers", 0,
		0 },
	{ "resolver-config", 0, CLI_TEXT, offsetof(struct cli_kx_options, config), "FILE",
		"more settings, as in unbound.conf(5)", 0, 0 },
	{ "zones", 0, CLI_TEXT, offsetof(struct cli_kx_options, zones), "DIRECTORY",
		"ask nobody: read signed zones NAME.zone there", 0, 0 },
	{ "at", 0, CLI_TEXT, offsetof(struct cli_kx_options, at), "YYYYMMDDHHMMSS",
		"validate as at that time", 0, 0 },
	{ 0 },
};

/* --- printing -------------------------------------------------------------------------
 */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

static void print_lookup(const json_t *lookup)
{
	const json_t *records = json_object_get(lookup, "records"), *r;
	const char *why = text_of(lookup, "why"), *canon = text_of(lookup, "canonical");
	size_t i;

	(void)printf("%s %s: %s", text_of(lookup, "name"), text_of(lookup, "type"),
		text_of(lookup, "status"));
	if (json_integer_value(json_object_get(lookup, "ttl")) > 0)
		(void)printf(", %" JSON_INTEGER_FORMAT " s",
			json_integer_value(json_object_get(lookup, "ttl")));
	if (canon[0] != 0)
		(void)printf(", is %s", canon);
	if (why[0] != 0)
		(void)printf(" (%s)", why);
	(void)putchar('\n');
	json_array_foreach(records, i, r)(void) printf("    %s\n", json_string_value(r));
}

static void print_exchanger(const json_t *x)
{
	const json_t *addrs = json_object_get(x, "addresses"), *a;
	const json_t *keys = json_object_get(x, "keys"), *port, *k;
	size_t i;

	(void)printf("  %s", text_of(x, "name"));
	json_array_foreach(addrs, i, a)(void) printf(" %s", json_string_value(a));
	port = json_object_get(x, "port");
	if (json_is_integer(port))
		(void)printf(" port %" JSON_INTEGER_FORMAT, json_integer_value(port));
	json_array_foreach(keys, i, k)(void) printf(" %s key", text_of(k, "algorithm"));
	if (json_array_size(keys) == 0)
		(void)printf(" no key in DNS (certificate)");
	(void)putchar('\n');
}

static void print_explanation(const json_t *e)
{
	const json_t *lookups = json_object_get(e, "lookups");
	const json_t *exchangers = json_object_get(e, "exchangers");
	const char *decision = text_of(e, "decision");
	size_t i;

	for (i = 0; i < json_array_size(lookups); i++)
		print_lookup(json_array_get(lookups, i));
	if (strcmp(decision, "none") == 0)
		(void)printf("no exchanger: %s\n", text_of(e, "text"));
	else
		(void)printf("%s: %s; in this order:\n",
			strcmp(decision, "direct") == 0 ? "itself" : "exchanger",
			text_of(e, "text"));
	for (i = 0; i < json_array_size(exchangers); i++)
		print_exchanger(json_array_get(exchangers, i));
	if (text_of(e, "policy")[0] != 0)
		(void)printf("group: %s\n", text_of(e, "policy"));
	(void)printf("%s\n", text_of(e, "status"));
}

/* Takes over the explanation. */
static int show_explanation(const struct cli *cli, json_t *e)
{
	static const struct {
		const char *status;
		enum cli_exit exit;
	} exits[] = {
		{ "secure", CLI_OK },
		{ "insecure", CLI_INSECURE },
		{ "bogus", CLI_BOGUS },
	};
	int result = CLI_FAILED;

	for (size_t i = 0; i < sizeof(exits) / sizeof(exits[0]); i++)
		if (strcmp(text_of(e, "status"), exits[i].status) == 0)
			result = (int)exits[i].exit;
	if (cli->json)
		return cli_print_json(e) == CLI_OK ? result : CLI_FAILED;
	print_explanation(e);
	json_decref(e);
	return fflush(stdout) == 0 ? result
				   : cli_fail(ERR_REFUSED, "cannot write the answer");
}

/* --- own look-ups ---------------------------------------------------------------------
 */

struct run {
	struct kx_resolve *resolve;
	json_t *explanation;
	bool failed;
};

static void on_explained(void *ctx, json_t *explanation)
{
	struct run *run = ctx;

	run->explanation = explanation;
	run->failed = explanation == NULL;
	kx_resolve_free(run->resolve); /* nothing keeps the loop any more */
}

static int look_up(const struct cli_kx_options *o, const char *target, struct run *run)
{
	const struct kx_resolve_conf conf = { .config = o->config,
		.anchor = o->anchor,
		.forward = o->forward,
		.zones = o->zones,
		.now = o->at };
	static const struct kx_conf nobody;
	struct kx_explain *explain;
	char why[IPC_WHY] = "";
	uv_loop_t loop;
	int err = uv_loop_init(&loop);

	if (err != 0)
		return cli_fail(err, NULL);
	err = kx_resolve_new(&loop, &conf, &run->resolve, why, sizeof(why));
	if (err != 0)
		return cli_fail(ERR_CONFIG, why);
	err = kx_explain_new(
		&loop, run->resolve, &nobody, target, &explain, on_explained, run);
	if (err != 0)
		kx_resolve_free(run->resolve);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&loop);
	if (err == ERR_MALFORMED)
		return cli_usage("\"%s\" is neither a name nor an address", target);
	return err != 0 || run->failed ? cli_fail(ERR_NOSPACE, NULL) : CLI_OK;
}

/* --- the daemon -----------------------------------------------------------------------
 */

static const struct cli_column columns[] = {
	{ "source", "SOURCE", false },
	{ "destination", "DESTINATION", false },
	{ "state", "STATE", false },
	{ "group", "GROUP", false },
	{ "name", "NAME", false },
	{ "exchanger", "EXCHANGER", false },
	{ "reason", "REASON", false },
	{ "remaining", "LEFT", true },
	{ "failures", "FAILED", true },
	{ NULL, NULL, false },
};

static const char *place(const struct cli *cli)
{
	return cli->socket != NULL ? cli->socket : KXD_SOCKET;
}

static int show(const struct cli *cli)
{
	json_t *reply;
	int result = cli_call(place(cli), KXD_SHOW, NULL, CALL_MS, &reply);

	if (result != CLI_OK)
		return result;
	if (cli->json)
		return cli_print_json(reply);
	result = cli_print_table(columns, json_object_get(reply, "pairs"));
	if (text_of(reply, "charon")[0] != 0)
		(void)fprintf(stderr, "rsip: charon: %s\n", text_of(reply, "charon"));
	json_decref(reply);
	return result;
}

static int explain(const struct cli *cli, const char *target)
{
	json_t *reply;
	int result = cli_call(place(cli), KXD_EXPLAIN,
		json_pack("{s:s}", "target", target), CALL_MS, &reply);

	return result == CLI_OK ? show_explanation(cli, reply) : result;
}

static int plain_call(const struct cli *cli, const char *method, json_t *params)
{
	json_t *reply;
	int result = cli_call(place(cli), method, params, CALL_MS, &reply);

	if (result != CLI_OK)
		return result;
	if (cli->json)
		return cli_print_json(reply);
	json_decref(reply);
	return CLI_OK;
}

static int flush(const struct cli *cli, int argc, char **argv)
{
	json_t *params = NULL;

	if (argc == 2)
		params = json_pack(
			"{s:s, s:s}", "source", argv[0], "destination", argv[1]);
	return plain_call(cli, KXD_FLUSH, params);
}

int cli_kx(struct cli *cli, const void *options, int argc, char **argv)
{
	const char *word = argv[0];
	struct run run = { 0 };
	int result;

	/* A name has a dot, if only at its end; these words have none. */
	if (strcmp(word, "show") == 0 && argc == 1)
		return show(cli);
	if (strcmp(word, "explain") == 0 && argc == 2)
		return explain(cli, argv[1]);
	if (strcmp(word, "flush") == 0 && argc != 2)
		return flush(cli, argc - 1, argv + 1);
	if (strcmp(word, "open") == 0 && argc == 1)
		return plain_call(cli, KXD_OPEN, NULL);
	if (argc != 1 || strcmp(word, "explain") == 0)
		return cli_usage("kx takes NAME, ADDRESS, explain NAME, show, "
				 "flush [SOURCE DESTINATION] or open");
	result = look_up(options, word, &run);
	return result == CLI_OK ? show_explanation(cli, run.explanation) : result;
}
