/* `rsip top`: the gateway's hosts by what they do, from two looks at its counters. */
#include "cli/cli.h"
#include "cli/gateway.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROWS       20
#define DELAY_S    2
#define TIMEOUT_MS 10000

const struct cli_option gateway_top_options[] = {
	{ .name = "count",
		.letter = 'n',
		.kind = CLI_U32,
		.offset = offsetof(struct gateway_top, count),
		.metavar = "COUNT",
		.help = "end after so many tables",
		.min = 1 },
	{ .name = "delay",
		.letter = 'd',
		.kind = CLI_U32,
		.offset = offsetof(struct gateway_top, delay),
		.metavar = "SECONDS",
		.help = "between two tables; 2 without",
		.min = 1,
		.max = 3600 },
	{ 0 },
};

/* One look at the gateway. */
struct look {
	json_t *clients, *counters;
	double at_s;
};

static double now_s(void)
{
	struct timespec t = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* every Linux has it */
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void look_fini(struct look *l)
{
	json_decref(l->clients);
	json_decref(l->counters);
	*l = (struct look){ 0 };
}

static int look_take(const struct cli *cli, struct look *l)
{
	int status = gateway_list(cli, "org.rsipsec.gateway.ListClients",
		json_pack("{s:b}", "details", 1), "clients", &l->clients);

	if (status == CLI_OK)
		status = cli_call(gateway_socket(cli), "org.rsipsec.gateway.GetCounters",
			NULL, TIMEOUT_MS, &l->counters);
	l->at_s = now_s();
	return status;
}

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* --- rates ----------------------------------------------------------------------------
 */

/* The clients of a look by their IDs. */
static json_t *by_id(const json_t *clients)
{
	json_t *index = json_object(), *client;
	char key[24];
	size_t i;

	json_array_foreach(clients, i, client)
	{
		(void)snprintf(key, sizeof(key), "%" JSON_INTEGER_FORMAT,
			number(client, "client_id"));
		(void)json_object_set(index, key, client);
	}
	return index;
}

/* What one look has more than the one before, a second. */
static double rate(const json_t *now, const json_t *before, const char *key, double s)
{
	json_int_t more = number(now, key) - number(before, key);

	return before != NULL && s > 0 && more > 0 ? (double)more / s : 0;
}

struct row {
	json_t *client;
	double requests, refused, misused;
};

static int compare(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->requests != y->requests)
		return x->requests < y->requests ? 1 : -1;
	if (number(x->client, "bindings") != number(y->client, "bindings"))
		return number(x->client, "bindings") < number(y->client, "bindings") ? 1
										     : -1;
	return number(x->client, "client_id") < number(y->client, "client_id") ? -1 : 1;
}

/* Sorted; NULL without memory. */
static struct row *rows_new(const struct look *now, const struct look *before, size_t *n)
{
	double s = now->at_s - before->at_s;
	struct row *rows = calloc(json_array_size(now->clients) + 1, sizeof(*rows));
	json_t *index = by_id(before->clients), *client;
	char key[24];

	*n = 0;
	for (size_t i = 0; rows != NULL && i < json_array_size(now->clients); i++) {
		const json_t *old;

		client = json_array_get(now->clients, i);
		(void)snprintf(key, sizeof(key), "%" JSON_INTEGER_FORMAT,
			number(client, "client_id"));
		old = json_object_get(index, key);
		rows[(*n)++] = (struct row){ client, rate(client, old, "requests", s),
			rate(client, old, "refused", s),
			rate(client, old, "misused", s) };
	}
	json_decref(index);
	if (rows != NULL && *n > 1)
		qsort(rows, *n, sizeof(*rows), compare);
	return rows;
}

/* --- output ---------------------------------------------------------------------------
 */

static double packets(const struct look *now, const struct look *before, const char *dir,
	const char *what)
{
	static const char family[] = "rsip_packets_total";
	const json_t *x = json_object_get(json_object_get(now->counters, family), dir);
	const json_t *y = json_object_get(json_object_get(before->counters, family), dir);

	return rate(x, y, what, now->at_s - before->at_s);
}

static void print_drops(const struct look *now, const struct look *before)
{
	json_t *drops = json_object_get(now->counters, "rsip_drops_total"), *value;
	const json_t *old = json_object_get(before->counters, "rsip_drops_total");
	double s = now->at_s - before->at_s;
	const char *reason;
	bool any = false;

	json_object_foreach(drops, reason, value)
	{
		double r = rate(drops, old, reason, s);

		if (r > 0)
			(void)printf("%s %s %.1f/s", any ? "," : "drops:", reason, r);
		any |= r > 0;
	}
	(void)printf(any ? "\n" : "drops: none\n");
}

static void print_head(const struct look *now, const struct look *before)
{
	char text[32] = "";
	struct tm tm;
	time_t t = time(NULL);

	if (gmtime_r(&t, &tm) != NULL)
		(void)strftime(text, sizeof(text), "%FT%TZ", &tm);
	(void)printf("%s  %zu hosts\n", text, json_array_size(now->clients));
	(void)printf("packets/s: to hosts %.1f, from hosts %.1f, dropped %.1f\n",
		packets(now, before, "in", "forward"),
		packets(now, before, "out", "forward"),
		packets(now, before, "in", "drop") + packets(now, before, "out", "drop"));
	print_drops(now, before);
}

static int print_table(const struct look *now, const struct look *before)
{
	size_t n;
	struct row *rows = rows_new(now, before, &n);

	if (rows == NULL)
		return cli_fail(-ENOMEM, NULL);
	if (isatty(STDOUT_FILENO))
		(void)printf("\033[H\033[J"); /* a screen of its own each time */
	print_head(now, before);
	(void)printf("%-15s %8s %8s %10s %9s %11s %11s\n", "HOST", "LEASES", "PORTS",
		"SPIS", "REQ/S", "REFUSED/S", "MISUSED/S");
	for (size_t i = 0; i < n && i < ROWS; i++)
		(void)printf("%-15s %8" JSON_INTEGER_FORMAT " %8" JSON_INTEGER_FORMAT
			     " %10" JSON_INTEGER_FORMAT " %9.1f %11.1f %11.1f\n",
			json_string_value(json_object_get(rows[i].client, "host")),
			number(rows[i].client, "bindings"),
			number(rows[i].client, "ports"), number(rows[i].client, "spis"),
			rows[i].requests, rows[i].refused, rows[i].misused);
	if (n > ROWS)
		(void)printf("and %zu more\n", n - ROWS);
	free(rows);
	return fflush(stdout) == 0 ? CLI_OK : cli_fail(-EIO, NULL);
}

static json_t *row_json(const struct row *r)
{
	json_t *row = json_copy(r->client);

	(void)json_object_set_new(row, "requests_per_s", json_real(r->requests));
	(void)json_object_set_new(row, "refused_per_s", json_real(r->refused));
	(void)json_object_set_new(row, "misused_per_s", json_real(r->misused));
	return row;
}

/* One object a line. */
static int print_json(const struct look *now, const struct look *before)
{
	size_t n;
	struct row *rows = rows_new(now, before, &n);
	json_t *hosts = json_array(), *all;
	int bad;

	for (size_t i = 0; rows != NULL && i < n; i++)
		(void)json_array_append_new(hosts, row_json(&rows[i]));
	free(rows);
	all = json_pack("{s:o, s:f, s:f, s:f}", "hosts", hosts, "to_hosts_per_s",
		packets(now, before, "in", "forward"), "from_hosts_per_s",
		packets(now, before, "out", "forward"), "dropped_per_s",
		packets(now, before, "in", "drop") + packets(now, before, "out", "drop"));
	bad = all == NULL || json_dumpf(all, stdout, JSON_COMPACT) != 0 ||
	      putchar('\n') == EOF || fflush(stdout) != 0;
	json_decref(all);
	return bad ? cli_fail(-EIO, NULL) : CLI_OK;
}

int gateway_top(struct cli *cli, const void *options, int argc, char **argv)
{
	const struct gateway_top *o = options;
	unsigned int delay_s = o->delay.set ? o->delay.value : DELAY_S;
	struct look before = { 0 }, now = { 0 };
	int status = look_take(cli, &before);

	(void)argc, (void)argv;
	for (uint32_t i = 0; status == CLI_OK && (!o->count.set || i < o->count.value);
		i++) {
		(void)sleep(delay_s);
		status = look_take(cli, &now);
		if (status == CLI_OK)
			status = cli->json ? print_json(&now, &before)
					   : print_table(&now, &before);
		look_fini(&before);
		before = now;
		now = (struct look){ 0 };
	}
	look_fini(&before);
	look_fini(&now);
	return status;
}
