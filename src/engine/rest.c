/*
 * Resting ranges.  When ports are scarce at an address, those that have rested longest
 * are used again first.  SPIs are not; but their ranges are many and take memory, so a
 * flood of released ones ends the rest of the oldest: one among four billion random
 * numbers, which nobody gets soon.
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

static void queue_add(struct rest_queue *q, struct rest *r)
{
	r->next = NULL;
	r->prev = q->last;
	if (q->last != NULL)
		q->last->next = r;
	else
		q->first = r;
	q->last = r;
}

static void queue_del(struct rest_queue *q, struct rest *r)
{
	if (r->prev != NULL)
		r->prev->next = r->next;
	else
		q->first = r->next;
	if (r->next != NULL)
		r->next->prev = r->prev;
	else
		q->last = r->prev;
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
		queue_add(&a->resting, r);
		a->ports_resting += size_of(range);
	} else if (kind == REST_SPI) {
		queue_add(&e->resting_spis, r);
		a->spis_resting += size_of(range);
	}
	e->counters.holding[kind]++;
	return 0;
}

/* All but the range itself. */
static void rest_del(struct engine *e, struct rest *r)
{
	struct pool_addr *a = r->addr;

	timers_unset(&e->timers, &r->timer);
	if (r->kind == REST_PORT) {
		queue_del(&a->resting, r);
		a->ports_resting -= size_of(r->range);
	} else if (r->kind == REST_SPI) {
		queue_del(&e->resting_spis, r);
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

/*
 * A whole address seldom meets its former remotes again, and there are few of them: it
 * has a hold-down of its own.
 */
static uint64_t hold_of(const struct pool_addr *a, enum rest_kind kind)
{
	if (a->pool == NULL)
		return 0;
	if (kind == REST_ADDRESS)
		return a->pool->conf->address_hold_down_s * 1000ULL;
	return a->pool->conf->hold_down_s * 1000ULL;
}

void rest_add(struct engine *e, struct pool_addr *a, enum rest_kind kind, struct range r,
	uint64_t now_ms)
{
	uint64_t hold_ms = hold_of(a, kind);

	while (kind == REST_SPI && e->counters.holding[REST_SPI] >= e->resting_spis_most)
		rest_end(e, e->resting_spis.first);
	if (hold_ms == 0 || rest_restore(e, a, kind, r, now_ms + hold_ms) != 0) {
		give_back(e, a, kind, r);
		return;
	}
	struct rest plain = {
		.timer.at_ms = now_ms + hold_ms, .addr = a, .kind = kind, .range = r
	};
	emit_keep_rest(e, &plain, false);
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
	for (const struct rest *r = a->resting.first; r != NULL && found < n; r = r->next)
		if (is_any(r))
			found += size_of(r->range);
	return found >= n;
}

void rest_reclaim(struct engine *e, struct pool_addr *a, uint32_t n)
{
	struct rest *next;

	for (struct rest *r = a->resting.first; r != NULL && n > 0; r = next) {
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
