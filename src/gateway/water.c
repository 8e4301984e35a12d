/*
 * One walk through the addresses does it all.  What is high is kept in a table, so that
 * a mark is told once when it is crossed and not with every look.
 */
#include "gateway/water.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Its default has fall-throughs that clang does not accept. */
#define HASH_FUNCTION(key, len, hash) HASH_FNV(key, len, hash)
#include <uthash.h>

#define LOOK_MS 1000
/* So many addresses cost no more than a millisecond a second. */
#define ADDRESSES_MS 1000
#define HIGH_MAX     65536

struct water_address {
	uint32_t address;
	bool seen;
	UT_hash_handle hh;
};

struct look {
	struct water *w;
	struct audit_time at;
	uint64_t addresses;
};

static uint32_t percent_of(uint64_t used, uint64_t all)
{
	return all > 0 ? (uint32_t)(used * 100 / all) : 0;
}

static void tell(struct look *l, const struct water_pool *p, uint32_t address, bool high,
	uint32_t percent)
{
	const struct event_water water = { .pool = p->name,
		.number = (uint32_t)(p - l->w->pools) + 1,
		.address = address,
		.high = high,
		.percent = percent,
		.high_mark = p->high_mark,
		.low_mark = p->low_mark };
	const struct event e = { .kind = EVENT_WATER, .at = l->at, .water = &water };

	events_put(l->w->events, &e);
}

/* --- one address ----------------------------------------------------------------------
 */

static bool address_rises(struct water *w, uint32_t address)
{
	struct water_address *h;

	if (HASH_COUNT(w->high) >= HIGH_MAX)
		return false;
	h = calloc(1, sizeof(*h));
	if (h == NULL)
		return false; /* told with another look */
	h->address = address;
	h->seen = true;
	HASH_ADD(hh, w->high, address, sizeof(h->address), h);
	return true;
}

static void look_address(struct look *l, struct water_pool *p,
	const struct engine_address *a, uint32_t percent)
{
	struct water *w = l->w;
	struct water_address *h;

	HASH_FIND(hh, w->high, &a->address, sizeof(a->address), h);
	if (h == NULL && percent >= p->high_mark && address_rises(w, a->address)) {
		tell(l, p, a->address, true, percent);
		p->high_addresses++;
	} else if (h != NULL && percent < p->low_mark) {
		HASH_DEL(w->high, h);
		free(h);
		tell(l, p, a->address, false, percent);
	} else if (h != NULL) {
		h->seen = true;
		p->high_addresses++;
	}
}

static struct water_pool *pool_find(struct water *w, const char *name)
{
	for (size_t i = 0; i < w->n_pools; i++)
		if (strcmp(w->pools[i].name, name) == 0)
			return &w->pools[i];
	return NULL; /* it drains */
}

static bool on_address(void *ctx, const struct engine_address *a)
{
	struct look *l = ctx;
	struct water_pool *p = pool_find(l->w, a->pool);
	uint64_t used = (uint64_t)a->ports_held + a->ports_resting;
	uint64_t all = used + a->ports_free;

	l->addresses++;
	if (p == NULL)
		return true;
	p->addresses++;
	p->used += used;
	p->all += all;
	if (!a->dedicated && all > 0)
		look_address(l, p, a, percent_of(used, all));
	return true;
}

/* --- all of them ----------------------------------------------------------------------
 */

static void look_pool(struct look *l, struct water_pool *p)
{
	bool high;

	p->percent = percent_of(p->used, p->all);
	high = p->high ? p->percent >= p->low_mark : p->percent >= p->high_mark;
	if (high != p->high)
		tell(l, p, 0, high, p->percent);
	p->high = high;
}

/* What left its pool while it was high is no more. */
static void forget_unseen(struct water *w)
{
	struct water_address *h, *next;

	for (h = w->high; h != NULL; h = next) {
		next = h->hh.next;
		if (!h->seen) {
			/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): not this one */
			HASH_DEL(w->high, h);
			free(h);
		} else {
			h->seen = false;
		}
	}
}

void water_look(struct water *w, uint64_t now_ms)
{
	struct look l = { .w = w, .at = audit_time_now(now_ms) };

	if (now_ms < w->due_ms)
		return;
	for (size_t i = 0; i < w->n_pools; i++) {
		struct water_pool *p = &w->pools[i];

		p->used = p->all = p->addresses = 0;
		p->high_addresses = 0;
	}
	engine_each_address(w->engine, on_address, &l);
	for (size_t i = 0; i < w->n_pools; i++)
		look_pool(&l, &w->pools[i]);
	forget_unseen(w);
	w->due_ms = now_ms + LOOK_MS + l.addresses / ADDRESSES_MS * LOOK_MS;
}

int water_conf(struct water *w, const struct conf *conf)
{
	size_t n = conf->engine.n_pools;
	struct water_pool *pools = calloc(n > 0 ? n : 1, sizeof(*pools));

	if (pools == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct water_pool *old = pool_find(w, conf->engine.pools[i].name);

		pools[i] = (struct water_pool){ .name = conf->engine.pools[i].name,
			.high_mark = conf->water[i].high,
			.low_mark = conf->water[i].low,
			.high = old != NULL && old->high };
	}
	free(w->pools);
	w->pools = pools;
	w->n_pools = n;
	w->due_ms = 0;
	return 0;
}

void water_fini(struct water *w)
{
	struct water_address *h = w->high, *next;

	HASH_CLEAR(hh, w->high);
	for (; h != NULL; h = next) {
		next = h->hh.next;
		free(h);
	}
	free(w->pools);
	w->pools = NULL;
	w->n_pools = 0;
}
