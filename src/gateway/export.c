/*
 * The exporter.  Answers for address bindings that begin with a host's first lease on an
 * address and end with its last, for templates that come again (a collector may begin
 * any time, and UDP loses), and for never waiting.
 */
#include "gateway/export.h"

#include "base/err.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
/* The default hash falls through its cases, which clang reports. */
#define HASH_FUNCTION(key, len, hash) HASH_FNV(key, len, hash)
#include <uthash.h>

#define SHORTAGES_S 10

struct export_pair {
	uint64_t key; /* host and address */
	uint32_t leases;
	UT_hash_handle hh;
};

static void on_message(void *ctx, const uint8_t *message, size_t len)
{
	struct export *x = ctx;
	const struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons(x->collector_port),
		.sin_addr.s_addr = htonl(x->collector_addr) };

	x->counters.messages++;
	x->counters.records = x->ipfix.sequence;
	if (sendto(x->fd, message, len, MSG_DONTWAIT | MSG_NOSIGNAL,
		    (const struct sockaddr *)&to, sizeof(to)) < 0)
		x->counters.errors++;
}

/* --- who holds something of which address ---------------------------------------------
 */

static uint64_t pair_key(const struct lease *l)
{
	return (uint64_t)l->host << 32 | l->address;
}

/* True when it is the first lease of the host on this address. */
static bool pair_add(struct export *x, const struct lease *l)
{
	uint64_t key = pair_key(l);
	struct export_pair *p;

	HASH_FIND(hh, x->pairs, &key, sizeof(key), p);
	if (p != NULL) {
		p->leases++;
		return false;
	}
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return true; /* its end will not be told */
	p->key = key;
	p->leases = 1;
	HASH_ADD(hh, x->pairs, key, sizeof(p->key), p);
	return true;
}

/* True when it was the last one. */
static bool pair_drop(struct export *x, const struct lease *l)
{
	uint64_t key = pair_key(l);
	struct export_pair *p;

	HASH_FIND(hh, x->pairs, &key, sizeof(key), p);
	if (p == NULL || --p->leases > 0)
		return false;
	HASH_DEL(x->pairs, p);
	free(p);
	return true;
}

static bool pair_note(void *ctx, const struct lease *l)
{
	(void)pair_add(ctx, l);
	return true;
}

/* --- events ---------------------------------------------------------------------------
 */

static void on_shortage(struct export *x, const struct event *e)
{
	if (!limit_take(&x->shortages, SHORTAGES_S, SHORTAGES_S, e->at.now_ms))
		return;
	if (e->kind == EVENT_QUOTA)
		ipfix_quota(&x->ipfix, e->reg->host,
			engine_max_ports(x->engine, e->reg->host), e->at.wall_ms);
	else
		ipfix_exhausted(&x->ipfix, 0, e->at.wall_ms);
}

static void on_water(struct export *x, const struct event *e)
{
	const struct ipfix_threshold t = { .pool = e->water->number,
		.address = e->water->address,
		.high = e->water->high,
		.percent = e->water->percent,
		.high_mark = e->water->high_mark,
		.low_mark = e->water->low_mark };

	ipfix_threshold(&x->ipfix, &t, e->at.wall_ms);
}

static void on_event(void *ctx, const struct event *e)
{
	struct export *x = ctx;

	switch (e->kind) {
	case EVENT_GRANTED:
		if (pair_add(x, e->lease))
			ipfix_binding(&x->ipfix, e->lease, true, e->at.wall_ms);
		ipfix_blocks(&x->ipfix, e->lease, true, e->at.wall_ms);
		break;
	case EVENT_ENDED:
		ipfix_blocks(&x->ipfix, e->lease, false, e->at.wall_ms);
		if (pair_drop(x, e->lease))
			ipfix_binding(&x->ipfix, e->lease, false, e->at.wall_ms);
		break;
	case EVENT_QUOTA:
	case EVENT_EXHAUSTED:
		on_shortage(x, e);
		break;
	case EVENT_WATER:
		on_water(x, e);
		break;
	default:
		break;
	}
}

/* --- opening --------------------------------------------------------------------------
 */

static void on_templates(uv_timer_t *timer)
{
	struct export *x = timer->data;

	ipfix_templates(&x->ipfix, audit_time_now(0).wall_ms);
}

void export_init(struct export *x, uv_loop_t *loop)
{
	x->fd = -1;
	(void)uv_timer_init(loop, &x->templates);
	x->templates.data = x;
}

int export_open(struct export *x, const struct export_conf *conf,
	const struct engine *engine, struct events *events)
{
	const struct ipfix_conf ipfix = { conf->domain, conf->enterprise, on_message, x };

	x->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (x->fd < 0)
		return -errno;
	x->collector_addr = conf->addr;
	x->collector_port = conf->port;
	x->engine = engine;
	ipfix_init(&x->ipfix, &ipfix);
	engine_each_lease(engine, pair_note, x);
	x->sink = (struct event_sink){ on_event, x, NULL };
	events_add(events, &x->sink);
	on_templates(&x->templates);
	(void)uv_timer_start(
		&x->templates, on_templates, conf->templates_ms, conf->templates_ms);
	return 0;
}

void export_flush(struct export *x)
{
	if (x->fd >= 0 && x->ipfix.len > 0)
		ipfix_flush(&x->ipfix, audit_time_now(0).wall_ms);
}

void export_close(struct export *x)
{
	struct export_pair *p = x->pairs, *next;

	export_flush(x);
	if (x->fd >= 0)
		(void)close(x->fd);
	x->fd = -1;
	HASH_CLEAR(hh, x->pairs);
	for (; p != NULL; p = next) {
		next = p->hh.next;
		free(p);
	}
}
