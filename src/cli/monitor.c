/* `rsip gateway monitor`: events of the control socket as lines, packets into a file. */
#include "base/err.h"
#include "base/rfc3339.h"
#include "cli/cli.h"
#include "cli/gateway.h"
#include "cli/pcapng.h"
#include "ipc/ipc.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define PACKET_MAX 4096
#define DONE       1 /* as many events as were asked for */

const struct cli_option gateway_monitor_options[] = {
	{ .name = "packets",
		.kind = CLI_FLAG,
		.offset = offsetof(struct gateway_monitor, packets),
		.help = "each packet that is judged, too" },
	{ .name = "pcap",
		.kind = CLI_TEXT,
		.offset = offsetof(struct gateway_monitor, pcap),
		.metavar = "FILE",
		.help = "write packets into this pcapng file, verdicts as comments" },
	{ .name = "count",
		.letter = 'n',
		.kind = CLI_U32,
		.offset = offsetof(struct gateway_monitor, count),
		.metavar = "COUNT",
		.help = "end after so many events",
		.min = 1 },
	{ 0 },
};

struct watch {
	bool json;
	uint32_t left; /* events; 0: no end */
	FILE *pcap;
	const char *pcap_name;
};

/* --- lines ----------------------------------------------------------------------------
 */

static void print_value(const char *key, const json_t *value)
{
	if (json_is_string(value))
		(void)printf(strchr(json_string_value(value), ' ') != NULL ? " %s=\"%s\""
									   : " %s=%s",
			key, json_string_value(value));
	else if (json_is_integer(value))
		(void)printf(" %s=%" JSON_INTEGER_FORMAT, key, json_integer_value(value));
	else if (json_is_boolean(value))
		(void)printf(" %s=%s", key, json_is_true(value) ? "yes" : "no");
}

/* "TIME granted host=10.0.0.11 bind_id=7 ..." */
static void print_line(json_t *event)
{
	const char *key;
	json_t *value;

	(void)printf("%s %s", json_string_value(json_object_get(event, "time")),
		json_string_value(json_object_get(event, "event")));
	json_object_foreach(event, key, value)
	{
		if (strcmp(key, "time") != 0 && strcmp(key, "event") != 0 &&
			strcmp(key, "bytes") != 0)
			print_value(key, value);
	}
	(void)printf("\n");
}

static int print_event(const struct watch *w, json_t *event)
{
	if (!w->json)
		print_line(event);
	else if (json_dumpf(event, stdout, JSON_COMPACT) != 0 || putchar('\n') == EOF)
		return -EIO;
	return ferror(stdout) != 0 ? -EIO : 0;
}

/* --- packets --------------------------------------------------------------------------
 */

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* How many bytes; -1 when it is no such text. */
static int bytes_read(const char *hex, uint8_t out[static PACKET_MAX])
{
	int n = 0;

	for (; hex[0] != 0 && n < PACKET_MAX; hex += 2) {
		int high = digit(hex[0]), low = hex[1] != 0 ? digit(hex[1]) : -1;

		if (high < 0 || low < 0)
			return -1;
		out[n++] = (uint8_t)(high << 4 | low);
	}
	return n;
}

static const char *text_of(const json_t *event, const char *key)
{
	const char *text = json_string_value(json_object_get(event, key));

	return text != NULL ? text : "";
}

static int write_packet(const struct watch *w, const json_t *event)
{
	json_int_t len = json_integer_value(json_object_get(event, "length"));
	const char *direction = text_of(event, "direction");
	uint8_t bytes[PACKET_MAX];
	uint64_t wall_ms = 0;
	char comment[128];
	int n = bytes_read(text_of(event, "bytes"), bytes);

	if (n < 0 || len < n || len > UINT32_MAX ||
		rfc3339_parse(text_of(event, "time"), &wall_ms) != 0)
		return ERR_PROTOCOL;
	(void)snprintf(comment, sizeof(comment), "%s %s%s%s", direction,
		text_of(event, "verdict"), text_of(event, "reason")[0] != 0 ? " " : "",
		text_of(event, "reason"));
	if (!pcapng_packet(w->pcap, wall_ms * 1000, strcmp(direction, "in") == 0, bytes,
		    (uint32_t)n, (uint32_t)len, comment))
		return -EIO;
	return 0;
}

/* --- the call -------------------------------------------------------------------------
 */

static int take_event(struct watch *w, json_t *event)
{
	bool packet = strcmp(text_of(event, "event"), "packet") == 0;
	int err = packet && w->pcap != NULL ? write_packet(w, event)
					    : print_event(w, event);

	if (err == 0 && w->left > 0 && --w->left == 0)
		return DONE;
	return err;
}

static int on_answer(void *ctx, json_t *params)
{
	json_int_t missed = json_integer_value(json_object_get(params, "missed"));
	struct watch *w = ctx;
	json_t *event;
	int err = 0;
	size_t i;

	json_array_foreach(json_object_get(params, "events"), i, event)
	{
		err = take_event(w, event);
		if (err != 0)
			break;
	}
	if (missed > 0)
		(void)fprintf(stderr,
			"rsip: %" JSON_INTEGER_FORMAT " events were left out: too many "
			"for us to read\n",
			missed);
	if (fflush(stdout) != 0 && err == 0)
		err = -EIO;
	return err;
}

static int watch_run(const struct cli *cli, struct watch *w, bool packets)
{
	json_t *params = json_pack("{s:b}", "packets", (int)packets);
	char why[IPC_WHY] = "";
	struct ipc_client *client;
	int err = ipc_client_new(gateway_socket(cli), &client, why, sizeof(why));

	if (err == 0) {
		err = ipc_client_call_more(client, "org.rsipsec.gateway.Monitor",
			json_incref(params), 0, on_answer, w, why, sizeof(why));
		ipc_client_free(client);
	}
	json_decref(params);
	if (err == DONE)
		return CLI_OK;
	return err != 0 ? cli_fail(err, why[0] != 0 ? why : NULL) : CLI_OK;
}

int gateway_monitor(struct cli *cli, const void *options, int argc, char **argv)
{
	const struct gateway_monitor *o = options;
	struct watch w = { .json = cli->json, .left = o->count.value };
	int status;

	(void)argc, (void)argv;
	if (o->pcap == NULL)
		return watch_run(cli, &w, o->packets);
	w.pcap = fopen(o->pcap, "we");
	if (w.pcap == NULL || !pcapng_begin(w.pcap)) {
		char why[512];

		(void)snprintf(why, sizeof(why), "cannot write %s: %s", o->pcap,
			err_text(-errno));
		status = cli_fail(-EIO, why);
	} else {
		status = watch_run(cli, &w, true);
	}
	if (w.pcap != NULL && fclose(w.pcap) != 0 && status == CLI_OK)
		status = cli_fail(-errno, NULL);
	return status;
}
