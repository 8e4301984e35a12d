/*
 * The engine's bookkeeping, counted again from the leases and the resting ranges alone.
 */
#include "engine/check.h"

#include "engine/bind.h"
#include "engine/ike.h"
#include "engine/pool.h"
#include "engine/reg.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct check {
	const struct engine *e;
	char *why;
	size_t why_size;
	struct ports held, resting; /* of the address in hand */
};

static __attribute__((format(printf, 2, 3))) bool fault(
	struct check *c, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): only with other files */
	(void)vsnprintf(c->why, c->why_size, format, args);
	va_end(args);
	return false;
}

/* --- hosts --- */

static bool check_bind(struct check *c, const struct reg *r, const struct bind *b)
{
	if (b->reg != r || bind_find(c->e, b->id) != b)
		return fault(c, "bind %u is not in the table or not its host's", b->id);
	if (b->timer.place == 0 || b->timer.at_ms > r->timer.at_ms)
		return fault(c, "bind %u outlives client %u", b->id, r->client_id);
	if (pool_find(c->e, b->addr->address) != b->addr)
		return fault(c, "bind %u is on a forgotten address", b->id);
	if (b->remote.n_more > REMOTE_MORE_MAX)
		return fault(c, "bind %u has too many remotes", b->id);
	if (b->named != NULL &&
		(b->named->bind != b || b->named->timer.place == 0 ||
			table_find(&c->e->asked, b->named->token) != &b->named->timer))
		return fault(c, "the name of bind %u is not looked up again", b->id);
	if (b->n_ports != ranges_count(bind_ports(b), b->n_port_ranges) ||
		b->n_spis != ranges_count(bind_spis(b), b->n_spi_ranges))
		return fault(c, "bind %u miscounts its ranges", b->id);
	if ((b->ike_id_len > 0) != (b->method == METHOD_IKE) ||
		(b->ike_id_len > 0 && ike_find(c->e, b->addr->address, bind_ike_id(b),
					      b->ike_id_len) != b))
		return fault(c, "the identity of bind %u is not found", b->id);
	return true;
}

static bool check_waiting(struct check *c, const struct reg *r)
{
	const struct waiting *w = r->waiting;
	size_t bytes = 0;

	if (w == NULL)
		return true;
	if (w->reg != r || w->timer.place == 0 ||
		table_find(&c->e->asked, w->token) != &w->timer)
		return fault(c, "what client %u waits for never comes", r->client_id);
	for (size_t i = 0; i < w->n_behind && i < BEHIND_MAX; i++)
		bytes += w->behind[i]->len;
	if (w->n_behind > BEHIND_MAX || bytes + w->request->len != w->bytes)
		return fault(c, "what waits of client %u is miscounted", r->client_id);
	return true;
}

static bool check_reg(struct check *c, const struct reg *r)
{
	uint64_t ports = 0, spis = 0;
	uint32_t binds = 0, listens = 0, addresses = 0;

	if (reg_find(c->e, r->client_id) != r || reg_find_host(c->e, r->host) != r ||
		r->timer.place == 0)
		return fault(c, "client %u is not in the tables", r->client_id);
	for (const struct bind *b = r->binds; b != NULL; b = b->next) {
		if (!check_bind(c, r, b))
			return false;
		binds++;
		ports += b->n_ports;
		spis += b->n_spis;
		listens += b->method == METHOD_LISTEN;
		addresses += b->method == METHOD_RSA_IP;
	}
	if (binds != r->n_binds || ports != r->n_ports || spis != r->n_spis ||
		listens != r->n_listens || addresses != r->n_addresses)
		return fault(c, "quotas of client %u do not add up", r->client_id);
	return check_waiting(c, r);
}

/* --- addresses --- */

static bool check_spi(struct check *c, const struct pool_addr *a, struct range r)
{
	const struct span *s = spans_overlap(&a->spis, r);

	if (s == NULL || s->lo != r.lo || s->hi != r.hi)
		return fault(c, "SPIs from %#x are not marked as taken", r.lo);
	return true;
}

/* A port may be held twice only by one host, of which one binding listens. */
static bool check_port(struct check *c, const struct bind *b, uint32_t port)
{
	const struct bind *x;
	size_t at = 0;

	while ((x = table_next(&c->e->binds, &at)) != NULL)
		if (x != b && x->addr == b->addr && !x->note && x->reg != b->reg &&
			ranges_have(bind_ports(x), x->n_port_ranges, port))
			return fault(c, "port %u is held by clients %u and %u", port,
				b->reg->client_id, x->reg->client_id);
	if (b->reg->n_listens == 0)
		return fault(
			c, "port %u is held twice by client %u", port, b->reg->client_id);
	return true;
}

static bool mark_bind(struct check *c, const struct pool_addr *a, const struct bind *b)
{
	if (a->owner != NULL && a->owner->reg != b->reg)
		return fault(c, "bind %u is on the address of another host", b->id);
	if (b->note != (a->owner != NULL && b->method == METHOD_LISTEN) &&
		b->method != METHOD_RSA_IP)
		return fault(c, "bind %u: note or not?", b->id);
	for (size_t i = 0; !b->note && i < b->n_port_ranges; i++)
		for (uint32_t p = b->ranges[i].lo; p <= b->ranges[i].hi; p++) {
			if (ports_have(&c->held, p) && !check_port(c, b, p))
				return false;
			ports_put(&c->held, p);
		}
	for (size_t i = 0; i < b->n_spi_ranges; i++)
		if (!check_spi(c, a, bind_spis(b)[i]))
			return false;
	return true;
}

static bool mark_rest(struct check *c, const struct pool_addr *a, const struct rest *r)
{
	if (r->kind == REST_SPI)
		return check_spi(c, a, r->range);
	if (r->kind == REST_ADDRESS)
		return a->owner == NULL ||
		       fault(c, "address %#x rests and is leased", a->address);
	for (uint32_t p = r->range.lo; p <= r->range.hi; p++) {
		if (ports_have(&c->held, p) || ports_have(&c->resting, p))
			return fault(c, "port %u rests and is taken", p);
		ports_put(&c->resting, p);
	}
	return true;
}

struct sums {
	uint64_t binds, rests, spans, spis_held, spis_resting;
};

static bool mark(struct check *c, const struct pool_addr *a, struct sums *s)
{
	const struct bind *b;
	size_t at = 0;

	while ((b = table_next(&c->e->binds, &at)) != NULL)
		if (b->addr == a) {
			s->binds++;
			s->spans += b->n_spi_ranges;
			s->spis_held += b->n_spis;
			if (!mark_bind(c, a, b))
				return false;
		}
	for (size_t i = 0; i < timers_count(&c->e->timers); i++) {
		const struct timer *t = timers_at(&c->e->timers, i);
		const struct rest *r = (const struct rest *)t;

		if (t->kind != TIMER_REST || r->addr != a)
			continue;
		s->rests++;
		s->spans += r->kind == REST_SPI;
		s->spis_resting += r->kind == REST_SPI ? ranges_count(&r->range, 1) : 0;
		if (!mark_rest(c, a, r))
			return false;
	}
	return true;
}

static bool check_ports(struct check *c, const struct pool_addr *a)
{
	uint32_t free = 0, any = 0;

	for (uint32_t p = 0; p <= UINT16_MAX; p++) {
		bool busy = ports_have(&c->held, p) || ports_have(&c->resting, p);

		if (busy != pool_is_busy(a, p))
			return fault(c, "port %u is %s", p, busy ? "lost" : "leaked");
		free += !busy && pool_has_port(a, p);
		any += !busy && a->pool != NULL && ports_have(&a->pool->any, p);
	}
	if (free != a->free || any != a->free_any ||
		ports_count(&c->held) != a->ports_held ||
		ports_count(&c->resting) != a->ports_resting)
		return fault(c, "ports of %#x: held, resting and free are not the pool",
			a->address);
	return true;
}

static bool check_addr(struct check *c, const struct pool_addr *a)
{
	struct sums s = { 0 };

	memset(&c->held, 0, sizeof(c->held));
	memset(&c->resting, 0, sizeof(c->resting));
	if (!mark(c, a, &s) || !check_ports(c, a))
		return false;
	if (s.binds != a->n_binds || s.rests != a->n_rests)
		return fault(c, "address %#x miscounts its holders", a->address);
	if (s.spans != a->spis.n || s.spis_held != a->spis_held ||
		s.spis_resting != a->spis_resting ||
		spans_below(&a->spis, 1ULL << 32) != s.spis_held + s.spis_resting)
		return fault(c, "SPIs of %#x: held and resting are not what is taken",
			a->address);
	if (a->owner != NULL && (a->owner->addr != a || a->ports_held > 0))
		return fault(c, "address %#x is leased whole and in part", a->address);
	if (a->pool != NULL && a->dedicated &&
		(a->place < c->e->n_dedicated_free) != pool_is_idle(a))
		return fault(c, "address %#x: free or not?", a->address);
	return true;
}

/* --- all --- */

/* Whoever is asked for is there, and nothing else is kept. */
static bool check_asked(struct check *c)
{
	const struct reg *r;
	const struct bind *b;
	size_t at = 0, n = 0, bytes = 0, names = 0;

	while ((r = table_next(&c->e->regs, &at)) != NULL)
		if (r->waiting != NULL) {
			n++;
			bytes += r->waiting->bytes;
		}
	for (at = 0; (b = table_next(&c->e->binds, &at)) != NULL;)
		names += b->named != NULL;
	if (n != c->e->counters.waiting || bytes != c->e->waiting_bytes ||
		bytes > WAITING_BYTES || n + names != c->e->asked.n)
		return fault(c, "what waits for names is not all there is of it");
	return true;
}

static bool check_counters(struct check *c)
{
	uint64_t bindings[METHODS] = { 0 }, holding[3] = { 0 };
	const struct timers *ts = &c->e->timers;

	const struct bind *b;
	size_t at = 0;

	while ((b = table_next(&c->e->binds, &at)) != NULL)
		bindings[b->method]++;
	for (size_t i = 0; i < timers_count(ts); i++) {
		const struct timer *t = timers_at(ts, i);

		if (t->kind == TIMER_REST)
			holding[((const struct rest *)t)->kind]++;
		if (t->place != i + 1 || t->at_ms < timers_first(ts)->at_ms)
			return fault(c, "timers are out of order");
	}
	if (memcmp(bindings, c->e->counters.bindings, sizeof(bindings)) != 0 ||
		memcmp(holding, c->e->counters.holding, sizeof(holding)) != 0 ||
		c->e->regs.n != c->e->counters.registrations ||
		c->e->hosts.n != c->e->regs.n)
		return fault(c, "the counters do not say what there is");
	return true;
}

int engine_invariants(const struct engine *e, char *why, size_t why_size)
{
	struct check c = { .e = e, .why_size = why_size };

	const struct reg *r;
	size_t at = 0;

	c.why = why;
	while ((r = table_next(&e->regs, &at)) != NULL)
		if (!check_reg(&c, r))
			return -1;
	const struct pool_addr *a;
	at = 0;
	while ((a = table_next(&e->addrs, &at)) != NULL)
		if (!check_addr(&c, a))
			return -1;
	return check_asked(&c) && check_counters(&c) ? 0 : -1;
}
