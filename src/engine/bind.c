/*
 * The table of bindings.  A binding is made and ended here and nowhere else, so that
 * pools, quotas, timers, store and data plane always tell the same story.
 */
#include "engine/bind.h"

#include "engine/emit.h"
#include "engine/ike.h"
#include "engine/policy.h"
#include "engine/pool.h"
#include "engine/reg.h"
#include "engine/reply.h"
#include "engine/rest.h"
#include "engine/wait.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct bind *bind_find(const struct engine *e, uint32_t bind_id)
{
	return table_find(&e->binds, bind_id);
}

/* --- the host's list --- */

static void list_add(struct reg *r, struct bind *b)
{
	b->next = r->binds;
	if (r->binds != NULL)
		r->binds->prev = b;
	r->binds = b;
}

static void list_del(struct reg *r, struct bind *b)
{
	if (b->prev != NULL)
		b->prev->next = b->next;
	else
		r->binds = b->next;
	if (b->next != NULL)
		b->next->prev = b->prev;
}

bool bind_holds_port(const struct reg *r, const struct pool_addr *a, uint32_t port)
{
	for (const struct bind *b = r->binds; b != NULL; b = b->next)
		if (b->addr == a && ranges_have(bind_ports(b), b->n_port_ranges, port))
			return true;
	return false;
}

/* --- taking --- */

static bool is_whole(const struct bind *b)
{
	return b->method == METHOD_RSA_IP;
}

static void take_ports(struct bind *b)
{
	struct pool_addr *a = b->addr;

	for (size_t i = 0; i < b->n_port_ranges; i++)
		for (uint32_t p = b->ranges[i].lo; p <= b->ranges[i].hi; p++)
			if (!pool_is_busy(a, p)) {
				pool_hold_ports(a, (struct range){ p, p });
				a->ports_held++;
			}
}

static void take_spis(struct engine *e, struct bind *b)
{
	for (size_t i = 0; i < b->n_spi_ranges; i++)
		spans_add(&b->addr->spis, &e->spans, bind_spis(b)[i],
			e->random.next(&e->random));
	b->addr->spis_held += b->n_spis;
}

static void take(struct engine *e, struct bind *b)
{
	struct reg *r = b->reg;

	list_add(r, b);
	r->n_binds++;
	r->n_ports += b->n_ports;
	r->n_spis += b->n_spis;
	r->n_listens += b->method == METHOD_LISTEN;
	r->n_addresses += is_whole(b);
	/* A listener on an address that is leased whole is a note, no more: all ports
	 * are the owner's anyway (RFC 3103 9.16). */
	b->note = b->addr->owner != NULL;
	if (!b->note)
		take_ports(b);
	take_spis(e, b);
	if (b->ike_id_len > 0)
		ike_add(e, b);
	if (is_whole(b))
		b->addr->owner = b;
	pool_claim(e, b->addr);
	b->addr->n_binds++;
	e->counters.bindings[b->method]++;
}

static struct bind *bind_alloc(struct engine *e, const struct bind_grant *g)
{
	struct bind *b;

	if (timers_reserve(&e->timers, 2) != 0 || table_reserve(&e->binds, 1) != 0 ||
		span_stock_reserve(&e->spans, g->n_spis) != 0 || ike_reserve(e) != 0 ||
		(g->n_ports > 0 && pool_reserve_ports(g->addr) != 0))
		return NULL;
	b = malloc(sizeof(*b) + (g->n_ports + g->n_spis) * sizeof(b->ranges[0]) +
		   g->ike_id_len);
	if (b == NULL)
		return NULL;
	*b = (struct bind){ .timer.kind = TIMER_BIND,
		.addr = g->addr,
		.granted_ms = g->granted_ms,
		.id = g->id,
		.gateway = g->gateway,
		.remote = g->remote,
		.n_port_ranges = (uint32_t)g->n_ports,
		.n_spi_ranges = (uint32_t)g->n_spis,
		.n_ports = (uint32_t)ranges_count(g->ports, g->n_ports),
		.n_spis = (uint32_t)ranges_count(g->spis, g->n_spis),
		.ike_id_len = g->ike_id_len,
		.method = (uint8_t)g->method,
		.tunnel = (uint8_t)g->tunnel };
	if (g->n_ports > 0)
		memcpy(b->ranges, g->ports, g->n_ports * sizeof(b->ranges[0]));
	if (g->n_spis > 0)
		memcpy(b->ranges + g->n_ports, g->spis, g->n_spis * sizeof(b->ranges[0]));
	if (g->ike_id_len > 0)
		memcpy(b->ranges + g->n_ports + g->n_spis, g->ike_id, g->ike_id_len);
	if (g->name_len > 0 && name_add(e, b, g->name, g->name_len) != 0) {
		free(b);
		return NULL;
	}
	return b;
}

int bind_add(
	struct engine *e, struct reg *r, const struct bind_grant *g, struct bind **out)
{
	struct bind *b = bind_alloc(e, g);

	if (b == NULL)
		return -ENOMEM;
	b->reg = r;
	table_add(&e->binds, b->id, b);
	timers_set(&e->timers, &b->timer, g->expires_ms);
	if (b->named != NULL)
		name_start(e, b->named, g->now_ms);
	take(e, b);
	*out = b;
	return 0;
}

/* --- giving back --- */

/* Ports that no other binding of the host holds rest, in runs as long as they come. */
static void give_ports(struct engine *e, struct bind *b, uint64_t now_ms)
{
	struct pool_addr *a = b->addr;

	for (size_t i = 0; i < b->n_port_ranges; i++) {
		uint32_t hi = b->ranges[i].hi;

		for (uint32_t lo = b->ranges[i].lo; lo <= hi; lo++) {
			uint32_t end = lo;

			if (b->reg->n_listens > 0 && bind_holds_port(b->reg, a, lo))
				continue;
			while (end < hi && !(b->reg->n_listens > 0 &&
						   bind_holds_port(b->reg, a, end + 1)))
				end++;
			a->ports_held -= end - lo + 1;
			rest_add(e, a, REST_PORT, (struct range){ lo, end }, now_ms);
			lo = end;
		}
	}
}

static void give(struct engine *e, struct bind *b, uint64_t now_ms)
{
	struct pool_addr *a = b->addr;
	struct reg *r = b->reg;

	list_del(r, b); /* before its ports: bind_holds_port() means the others */
	if (b->ike_id_len > 0)
		ike_del(e, b);
	if (!b->note)
		give_ports(e, b, now_ms);
	for (size_t i = 0; i < b->n_spi_ranges; i++)
		rest_add(e, a, REST_SPI, bind_spis(b)[i], now_ms);
	a->spis_held -= b->n_spis;
	if (is_whole(b)) {
		a->owner = NULL;
		rest_add(e, a, REST_ADDRESS, (struct range){ 0, 0 }, now_ms);
	}
	a->n_binds--;
	r->n_binds--;
	r->n_ports -= b->n_ports;
	r->n_spis -= b->n_spis;
	r->n_listens -= b->method == METHOD_LISTEN;
	r->n_addresses -= is_whole(b);
	e->counters.bindings[b->method]--;
	pool_settle(e, a);
}

void bind_note(struct bind *b)
{
	if (b->note)
		return;
	for (size_t i = 0; i < b->n_port_ranges; i++) {
		b->addr->ports_held -= b->ranges[i].hi - b->ranges[i].lo + 1;
		pool_free_ports(b->addr, b->ranges[i]);
	}
	b->note = true;
}

static void end_one(struct engine *e, struct bind *b, enum end_reason reason, bool notify,
	uint64_t now_ms)
{
	emit_remove(e, b);
	emit_keep_bind(e, b, true);
	emit_audit_bind(e, AUDIT_END, reason, b, now_ms);
	timers_unset(&e->timers, &b->timer);
	table_del(&e->binds, b->id);
	if (b->named != NULL)
		name_drop(e, b->named);
	give(e, b, now_ms);
	if (notify)
		reply_async_free(e, b->reg, b->id);
	free(b);
}

/*
 * The host's listeners on an address that was his as a whole go with it; he hears of it
 * unless all of his session ends.
 */
static void end_listeners(struct engine *e, const struct bind *whole,
	enum end_reason reason, bool notify, uint64_t now_ms)
{
	struct bind *next;

	for (struct bind *b = whole->reg->binds; b != NULL; b = next) {
		next = b->next;
		if (b != whole && b->addr == whole->addr)
			end_one(e, b, reason, notify || reason == END_FREED, now_ms);
	}
}

void bind_end(struct engine *e, struct bind *b, enum end_reason reason, bool notify,
	uint64_t now_ms)
{
	if (is_whole(b))
		end_listeners(e, b, reason, notify, now_ms);
	end_one(e, b, reason, notify, now_ms);
}

/* --- requests --- */

/* V14 */
static struct bind *bind_of(const struct engine *e, const struct request *q)
{
	struct bind *b = bind_find(e, q->msg.bind_id);

	return b != NULL && b->reg == q->reg ? b : NULL;
}

/*
 * Never shortens.  Where nothing more may be given (the address left its pool, no policy
 * holds the host) the answer is the time that is left (RFC 3103 9.10, 9.11).
 */
uint16_t bind_on_extend(struct engine *e, struct request *q)
{
	struct bind *b = bind_of(e, q);
	struct wire_msg m = { .type = MSG_EXTEND_RESPONSE,
		.has = HAS_CLIENT_ID | HAS_BIND_ID | HAS_LEASE,
		.client_id = q->reg->client_id };
	/* Whole seconds are told, and 0 is never granted. */
	uint64_t expires_ms = q->now_ms + 1000;

	if (b == NULL)
		return RSIP_BAD_BIND_ID;
	if (q->reg->policy != NULL && b->addr->pool != NULL)
		expires_ms = q->now_ms + policy_lease(q->reg->policy, &q->msg) * 1000ULL;
	if (expires_ms > b->timer.at_ms) {
		timers_set(&e->timers, &b->timer, expires_ms);
		emit_keep_bind(e, b, false);
		reg_outlast(e, q->reg, expires_ms);
		emit_install(e, b); /* nothing there outlives its lease by itself */
		emit_audit_bind(e, AUDIT_EXTEND, END_FREED, b, q->now_ms);
	}
	m.bind_id = b->id;
	m.lease_s = (uint32_t)((b->timer.at_ms - q->now_ms) / 1000);
	reply_send(e, q, &m);
	return 0;
}

uint16_t bind_on_free(struct engine *e, struct request *q)
{
	struct bind *b = bind_of(e, q);
	struct wire_msg m = { .type = MSG_FREE_RESPONSE,
		.has = HAS_CLIENT_ID | HAS_BIND_ID,
		.client_id = q->reg->client_id };

	if (b == NULL)
		return RSIP_BAD_BIND_ID;
	m.bind_id = b->id;
	bind_end(e, b, END_FREED, false, q->now_ms);
	reply_send(e, q, &m);
	return 0;
}
