/* Events as log lines, in the words of the control socket. */
#include "gateway/event_log.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * The message IDs of the journal; packaging/rsipd.catalog explains each to `journalctl
 * -x`.  They never change: people search for them.
 */
static const struct {
	const char *what, *id;
} kinds[EVENTS] = {
	[EVENT_REGISTERED] = { "host registered", "a73dc209a44b40f7898c2980b64074be" },
	[EVENT_DEREGISTERED] = { "registration ended",
		"2c62695590f54e9ba621f7704d2d4827" },
	[EVENT_QUOTA] = { "quota reached", "bdc6e01d33474314b6453920a6efbd8f" },
	[EVENT_EXHAUSTED] = { "pools exhausted", "3da4ffb41427465e8f4f18ecda317be2" },
	[EVENT_GRANTED] = { "lease granted", "17e35b84e9e34fb9b92c54fbb4f7395e" },
	[EVENT_EXTENDED] = { "lease extended", "90252ab095b447dfbc56100624d5d7b6" },
	[EVENT_ENDED] = { "lease ended", "59dfc8dc6ca4462681724c280137c388" },
};

/* Values of one event, as text. */
#define FIELDS 12
#define WORD   24
#define LIST   4096 /* a longer one is cut: the audit has it whole */
struct fields {
	struct log_field at[FIELDS];
	size_t n;
	char words[FIELDS][WORD];
	char ports[LIST], spis[LIST];
};

static void put(struct fields *f, const char *name, const char *value)
{
	f->at[f->n++] = (struct log_field){ name, value };
}

static void put_address(struct fields *f, const char *name, uint32_t addr)
{
	put(f, name, addr_format(addr, f->words[f->n]));
}

static void put_number(struct fields *f, const char *name, uint64_t n)
{
	(void)snprintf(f->words[f->n], WORD, "%" PRIu64, n);
	put(f, name, f->words[f->n]);
}

static void put_ranges(struct fields *f, const char *name, const struct range *r,
	size_t n, bool hex, char *buf)
{
	if (n == 0)
		(void)snprintf(buf, LIST, "-");
	else if (ranges_format(r, n, hex, buf, LIST) >= LIST)
		memcpy(buf + LIST - 4, "...", 4);
	put(f, name, buf);
}

static uint64_t left_s(uint64_t until_ms, uint64_t now_ms)
{
	return until_ms > now_ms ? (until_ms - now_ms) / 1000 : 0;
}

static void put_registration(struct fields *f, const struct event *e)
{
	put_address(f, "RSIP_HOST", e->reg->host);
	put_number(f, "RSIP_CLIENT", e->reg->client_id);
	put(f, "RSIP_TRANSPORT", transport_name(e->reg->peer.transport));
	put_number(f, "RSIP_LEFT_S", left_s(e->reg->expires_ms, e->at.now_ms));
}

static void put_lease(struct fields *f, const struct event *e)
{
	const struct lease *l = e->lease;

	put_address(f, "RSIP_HOST", l->host);
	put_number(f, "RSIP_BIND", l->bind_id);
	put(f, "RSIP_METHOD", lease_method_name(l->method));
	put_address(f, "RSIP_ADDRESS", l->address);
	put_ranges(f, "RSIP_PORTS", l->ports, l->n_ports, false, f->ports);
	put_ranges(f, "RSIP_SPI", l->spis, l->n_spis, true, f->spis);
	put_number(f, "RSIP_CLIENT", l->client_id);
	put_number(f, "RSIP_LEFT_S", left_s(l->expires_ms, e->at.now_ms));
}

void event_log(void *unused, const struct event *e)
{
	struct fields f;

	(void)unused;
	if (kinds[e->kind].what == NULL)
		return; /* has a line where it happens */
	f.n = 0;
	if (e->kind == EVENT_GRANTED || e->kind == EVENT_EXTENDED ||
		e->kind == EVENT_ENDED)
		put_lease(&f, e);
	else
		put_registration(&f, e);
	if (e->kind == EVENT_ENDED || e->kind == EVENT_DEREGISTERED)
		put(&f, "RSIP_REASON", end_reason_name(e->reason));
	log_fields(LOG_LEVEL_DEBUG, kinds[e->kind].id, kinds[e->kind].what, f.at, f.n);
}
