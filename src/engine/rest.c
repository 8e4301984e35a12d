/*
 * Resting ranges.  Ports stand in a queue at their address too, because when ports are
 * scarce those that have rested longest are used again first; SPIs never are.
 */
#include "engine/rest.h"

#include "engine/emit.h"
#include "engine/pool.h"

#include <errno.h>
#include <stdlib.h>

static uint32_t size_of(struct range r)
{
	return r.hi - r.lo + 1;
}

static void queue_add(struct pool_addr *a, struct rest *r)
{
	r->next = NULL;
	r->prev = a->rest_last;
	if (a->rest_last != NULL)
		a->rest_last->next = r;
	else
		a->rest_first = r;
	a->rest_last = r;
}

static void queue_del(struct pool_addr *a, struct rest *r)
{
	if (r->prev != NULL)
		r->prev->next = r->next;
	else
		a->rest_first = r->next;
	if (r->next != NULL)
		r->next->prev = r->prev;
	else
		a->rest_last = r->prev;
}

/* The range is free again. */
static void give_back(
	struct engine *e, struct pool_addr *a, enum rest_kind kind, struct range r)
{
	if (kind == REST_PORT)
		pool_free_ports(a, r);
	else if (kind == REST_SPI)
		spans_del(&a->spis, &e->spans, r.lo);
}

int rest_restore(struct engine *e, struct pool_addr *a, enum rest_kind kind,
	struct range range, uint64_t until_ms)
{
	if (timers_reserve(&e->timers, 1) != 0)
		return -ENOMEM;
	struct rest *r = malloc(sizeof(*r));
	if (r == NULL)
		return -ENOMEM;
	*r = (struct rest){
		.timer.kind = TIMER_REST, .addr = a, .kind = kind, .range = range
	};
	timers_set(&e->timers, &r->timer, until_ms);
	a->n_rests++;
	pool_claim(e, a);
	if (kind == REST_PORT) {
		queue_add(a, r);
		a->ports_resting += size_of(range);
	} else if (kind == REST_SPI) {
		a->spis_resting += size_of(range);
	}
	e->counters.holding[kind]++;
	return 0;
}

void rest_add(struct engine *e, struct pool_addr *a, enum rest_kind kind, struct range r,
	uint64_t now_ms)
{
	uint64_t hold_ms = a->pool != NULL ? a->pool->conf->hold_down_s * 1000ULL : 0;

	if (hold_ms == 0 || rest_restore(e, a, kind, r, now_ms + hold_ms) != 0) {
		give_back(e, a, kind, r);
		return;
	}
	struct rest plain = {
		.timer.at_ms = now_ms + hold_ms, .addr = a, .kind = kind, .range = r
	};
	emit_keep_rest(e, &plain, false);
}

/* All but the range itself. */
static void rest_del(struct engine *e, struct rest *r)
{
	struct pool_addr *a = r->addr;

	timers_unset(&e->timers, &r->timer);
	if (r->kind == REST_PORT) {
		queue_del(a, r);
		a->ports_resting -= size_of(r->range);
	} else if (r->kind == REST_SPI) {
		a->spis_resting -= size_of(r->range);
	}
	a->n_rests--;
	e->counters.holding[r->kind]--;
	emit_keep_rest(e, r, true);
	free(r);
}

void rest_end(struct engine *e, struct rest *r)
{
	struct pool_addr *a = r->addr;

	give_back(e, a, r->kind, r->range);
	rest_del(e, r);
	pool_settle(e, a);
}

/* May "any n" get all of it? */
static bool is_any(const struct rest *r)
{
	for (uint32_t port = r->range.lo; port <= r->range.hi; port++)
		if (!ports_have(&r->addr->pool->any, port))
			return false;
	return true;
}

bool rest_has(const struct pool_addr *a, uint32_t n)
{
	uint32_t found = 0;

	if (a->ports_resting < n)
		return false;
	for (const struct rest *r = a->rest_first; r != NULL && found < n; r = r->next)
		if (is_any(r))
			found += size_of(r->range);
	return found >= n;
}

void rest_reclaim(struct engine *e, struct pool_addr *a, uint32_t n)
{
	struct rest *next;

	for (struct rest *r = a->rest_first; r != NULL && n > 0; r = next) {
		next = r->next;
		if (!is_any(r))
			continue;
		if (size_of(r->range) <= n) {
			n -= size_of(r->range);
			give_back(e, a, REST_PORT, r->range);
			rest_del(e, r);
			continue;
		}
		/* The rest of the range goes on resting, under its new lowest number. */
		emit_keep_rest(e, r, true);
		give_back(e, a, REST_PORT,
			(struct range){ r->range.lo, r->range.lo + n - 1 });
		r->range.lo += n;
		a->ports_resting -= n;
		emit_keep_rest(e, r, false);
		return;
	}
}

bool rest_has_room(const struct engine *e)
{
	return e->counters.holding[REST_SPI] < RESTING_SPIS_MAX;
}
