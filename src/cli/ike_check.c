/*
 * Does charon do what the lease says?  The files can be right while the daemon runs with
 * what it read before; so the socket of IKE and the SAs that are up are looked at, too.
 */
#include "cli/ike_check.h"

#include "base/err.h"
#include "cli/cli.h"
#include "ike/swanctl.h"
#include "ike/vici.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 1024
#define FILE_MAX (1 << 20)
#define WAIT_MS  1500

struct run {
	const struct ike_check *check;
	struct vici *vici;
	uv_timer_t timer;
	bool wrong;
	bool called;
	size_t sas;
	/* the SA that is being read */
	char ours[24], spi[24], peer_spi[24], initiator[8], name[64];
};

__attribute__((format(printf, 3, 4))) static void say(
	struct run *r, bool good, const char *format, ...)
{
	va_list args;

	(void)fputs(good ? "ok: " : "wrong: ", stdout);
	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	(void)putchar('\n');
	r->wrong = r->wrong || !good;
}

/* The whole of a file, NULL when it can't be read; free it. */
static char *file_text(const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = f != NULL ? malloc(FILE_MAX) : NULL;
	size_t n = text != NULL ? fread(text, 1, FILE_MAX - 1, f) : 0;

	if (text != NULL)
		text[n] = 0;
	if (f != NULL)
		(void)fclose(f);
	return text;
}

/* --- what is written ------------------------------------------------------------------
 */

/* Past the comments at its head. */
static const char *behind_comments(const char *text)
{
	while (*text == '#') {
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	return text;
}

static void drop_in_check(struct run *r)
{
	const struct ike_check *c = r->check;
	char want[TEXT_MAX], *have = file_text(c->file);

	(void)strongswan_format(c->want, want, sizeof(want));
	if (have == NULL)
		say(r, false, "%s cannot be read; rsip ike strongswan writes it",
			c->file);
	else if (strcmp(behind_comments(have), behind_comments(want)) != 0)
		say(r, false,
			"%s is of another lease; rsip ike strongswan writes it anew",
			c->file);
	else
		say(r, true, "%s has SPIs, ports and cookie prefix of the lease",
			c->file);
	free(have);
}

/* A connection of the file. */
struct mobike {
	struct run *run;
	char name[SWANCTL_NAME], version[8], mobike[8];
};

static void mobike_check(const struct mobike *m)
{
	const struct strongswan *s = m->run->check->want;
	bool off = strcmp(m->mobike, "no") == 0 || strcmp(m->version, "1") == 0;

	if (m->name[0] == 0)
		return;
	if (off)
		say(m->run, true, "connection %s: no MOBIKE", m->name);
	else if (s->port_nat_t == 0)
		say(m->run, false,
			"connection %s: with MOBIKE it leaves from port_nat_t, which is "
			"not leased; "
			"set mobike = no or lease two ports",
			m->name);
	else
		say(m->run, true,
			"connection %s: MOBIKE goes by port %u, which is leased, and "
			"tells the peer "
			"the private address; mobike = no is better",
			m->name, s->port_nat_t);
}

static void on_setting(
	void *ctx, const char *connection, const char *key, const char *value)
{
	struct mobike *m = ctx;

	if (key[0] == 0) {
		mobike_check(m);
		*m = (struct mobike){ .run = m->run };
		(void)snprintf(m->name, sizeof(m->name), "%s", connection);
	} else if (strcmp(key, "mobike") == 0) {
		(void)snprintf(m->mobike, sizeof(m->mobike), "%.7s", value);
	} else if (strcmp(key, "version") == 0) {
		(void)snprintf(m->version, sizeof(m->version), "%.7s", value);
	}
}

static void connections_check(struct run *r)
{
	struct mobike m = { .run = r };
	char *text = file_text(r->check->swanctl);

	if (text == NULL) {
		(void)printf("not checked: MOBIKE of the connections: %s cannot be read "
			     "(--swanctl)\n",
			r->check->swanctl);
		return;
	}
	swanctl_walk(text, on_setting, &m);
	mobike_check(&m);
	free(text);
}

/* --- what runs ------------------------------------------------------------------------
 */

/* Is the UDP port bound here? */
static bool port_is_open(uint32_t port)
{
	FILE *f = fopen("/proc/net/udp", "re");
	char line[512];
	bool found = false;

	while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL) {
		const char *colon = strchr(line, ':');

		colon = colon != NULL ? strchr(colon + 1, ':') : NULL;
		found = colon != NULL && strtoul(colon + 1, NULL, 16) == port;
	}
	if (f != NULL)
		(void)fclose(f);
	return found;
}

static void ike_sa_check(struct run *r)
{
	const struct strongswan *s = r->check->want;
	char label[9], address[ADDR_TEXT_MAX];
	const char *own = strcmp(r->initiator, "yes") == 0 ? r->spi : r->peer_spi;

	if (r->name[0] == 0 || strcmp(r->ours, addr_format(s->address, address)) != 0)
		return;
	r->sas++;
	(void)snprintf(label, sizeof(label), "%08" PRIx32, s->spis.lo);
	if (strncmp(own, label, 8) != 0 && s->port == 500)
		say(r, false,
			"IKE SA %s: its cookie %s does not begin with %s; restart charon",
			r->name, own, label);
}

static void child_check(struct run *r, const char *spi)
{
	const struct strongswan *s = r->check->want;
	uint32_t number = (uint32_t)strtoul(spi, NULL, 16);

	if (number < s->spis.lo || number > s->spis.hi)
		say(r, false, "SA of %s: inbound SPI 0x%s is not of the leased block",
			r->name, spi);
}

/* One IKE SA with its children. */
static void on_sa(void *arg, const char *event, const uint8_t *body, size_t len)
{
	struct run *r = arg;
	struct vici_rd rd = vici_rd_init(body, len);
	struct vici_element e;
	char text[24];

	if (strcmp(event, "list-sa") != 0)
		return;
	r->name[0] = r->ours[0] = r->spi[0] = r->peer_spi[0] = r->initiator[0] = 0;
	while (vici_next(&rd, &e) != VICI_END && e.kind != VICI_BAD) {
		const struct {
			const char *key;
			char *to;
			size_t size;
		} keys[] = {
			{ "local-host", r->ours, sizeof(r->ours) },
			{ "initiator-spi", r->spi, sizeof(r->spi) },
			{ "responder-spi", r->peer_spi, sizeof(r->peer_spi) },
			{ "initiator", r->initiator, sizeof(r->initiator) },
		};

		if (e.kind == VICI_SECTION && e.depth == 0)
			(void)snprintf(r->name, sizeof(r->name), "%.*s", (int)e.name_len,
				(const char *)e.name);
		if (e.kind != VICI_KEY)
			continue;
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			if (vici_named(&e, keys[i].key))
				vici_value(&e, keys[i].to, keys[i].size);
		if (vici_named(&e, "spi-in")) {
			vici_value(&e, text, sizeof(text));
			child_check(r, text);
		}
	}
	ike_sa_check(r);
}

static void end(struct run *r)
{
	vici_free(r->vici);
	r->vici = NULL;
	uv_close((uv_handle_t *)&r->timer, NULL);
}

static void on_listed(void *arg, int err, const uint8_t *body, size_t len)
{
	struct run *r = arg;
	bool before = r->wrong;

	(void)body, (void)len;
	if (err != 0)
		say(r, false, "charon does not list its SAs: %s", err_text(err));
	else if (!before)
		say(r, true, "%zu IKE SAs are up from the leased address", r->sas);
	end(r);
}

static void on_state(void *ctx, bool up, const char *why)
{
	struct run *r = ctx;
	const struct vici_command list = {
		.name = "list-sas",
		.done = on_listed,
		.said = on_sa,
		.arg = r,
	};
	uint16_t port = r->check->want->port;

	(void)why;
	if (!up || r->called)
		return;
	r->called = true;
	if (port != 0)
		say(r, port_is_open(port), "charon's IKE port is %u%s", port,
			port_is_open(port) ? ""
					   : ", but nobody has it open; restart charon");
	if (vici_call(r->vici, &list) != 0)
		end(r);
}

static void on_event(void *ctx, const char *name, const uint8_t *body, size_t len)
{
	(void)ctx, (void)name, (void)body, (void)len;
}

static void on_late(uv_timer_t *timer)
{
	struct run *r = timer->data;

	(void)printf("not checked: what runs: charon does not answer at %s (--vici)\n",
		r->check->socket);
	end(r);
}

static int daemon_check(struct run *r)
{
	static const char *const some[] = { "ike-updown", NULL };
	const struct vici_conf conf = {
		.path = r->check->socket,
		.events = some,
		.ctx = r,
		.event = on_event,
		.state = on_state,
	};
	uv_loop_t loop;
	int err = uv_loop_init(&loop);

	if (err != 0)
		return err;
	(void)uv_timer_init(&loop, &r->timer);
	r->timer.data = r;
	err = vici_new(&loop, &conf, &r->vici);
	if (err == 0)
		(void)uv_timer_start(&r->timer, on_late, WAIT_MS, 0);
	else
		uv_close((uv_handle_t *)&r->timer, NULL);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&loop);
	return err;
}

int ike_check(const struct ike_check *check)
{
	struct run r = { .check = check };
	const json_t *kept = json_object_get(check->status, "charon");
	int err;

	drop_in_check(&r);
	connections_check(&r);
	if (json_is_true(json_object_get(kept, "restart")))
		say(&r, false,
			"restart charon: its port, address or cookie prefix has changed "
			"since it was started");
	err = daemon_check(&r);
	if (err != 0)
		return cli_fail(err, NULL);
	(void)fflush(stdout);
	return r.wrong ? CLI_FAILED : CLI_OK;
}
