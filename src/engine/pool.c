/*
 * Addresses of the pools.  What is leased of an address is in its bitmap of ports and its
 * set of SPIs; the counters beside them answer "is there enough?" without looking.
 */
#include "engine/pool.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>

#define POOL_ADDRESSES_MAX (1U << 20)
#define ANY_PORT_LEAST     1024 /* "any n" gets no well-known port */

/* Shared by IKE of all hosts, NAT traversal, and RSIP itself. */
static const uint32_t never_leased[] = { 0, 500, 4500, RSIP_PORT };

static void pool_masks(struct pool *p, const struct engine_pool *conf)
{
	*p = (struct pool){ .conf = conf };
	for (size_t i = 0; i < conf->n_ports; i++)
		for (uint32_t port = conf->ports[i].lo;
			port <= conf->ports[i].hi && port <= UINT16_MAX; port++)
			ports_put(&p->leasable, port);
	for (size_t i = 0; i < sizeof(never_leased) / sizeof(never_leased[0]); i++)
		ports_drop(&p->leasable, never_leased[i]);
	p->any = p->leasable;
	for (size_t i = 0; i < ANY_PORT_LEAST / 64; i++)
		p->any.word[i] = 0;
	p->n_leasable = ports_count(&p->leasable);
	p->n_any = ports_count(&p->any);
}

/* --- the table of addresses --- */

struct pool_addr *pool_find(const struct engine *e, uint32_t address)
{
	return table_find(&e->addrs, address);
}

static struct pool_addr *addr_add(struct engine *e, uint32_t address)
{
	struct pool_addr *a;

	if (table_reserve(&e->addrs, 1) != 0)
		return NULL;
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return NULL;
	a->address = address;
	table_add(&e->addrs, address, a);
	return a;
}

static void addr_free(struct engine *e, struct pool_addr *a)
{
	table_del(&e->addrs, a->address);
	spans_clear(&a->spis, &e->spans);
	free(a->busy);
	free(a);
}

struct pool_addr *pool_find_or_drain(struct engine *e, uint32_t address)
{
	struct pool_addr *a = pool_find(e, address);

	return a != NULL ? a : addr_add(e, address);
}

bool pool_is_idle(const struct pool_addr *a)
{
	return a->n_binds == 0 && a->n_rests == 0;
}

/* --- from configuration --- */

/* Network and broadcast address of a prefix are unusable in practice (RFC 3102 4.2.1).
 */
struct range pool_hosts(const struct prefix4 *p)
{
	uint32_t last = p->addr | ~prefix_mask(p->len);

	if (p->len >= 31)
		return (struct range){ p->addr, last };
	return (struct range){ p->addr + 1, last - 1 };
}

static uint64_t prefixes_count(const struct prefix4 *p, size_t n)
{
	uint64_t count = 0;

	for (size_t i = 0; i < n; i++) {
		struct range r = pool_hosts(&p[i]);

		count += (uint64_t)r.hi - r.lo + 1;
	}
	return count;
}

/* What a configuration needs, had before it is taken. */
struct layout {
	struct pool *pools;
	struct pool_addr **shared, **dedicated;
};

static void layout_fini(struct layout *l)
{
	free(l->pools);
	free(l->shared);
	free(l->dedicated);
}

/* Every address of the prefixes has its row in the table; 0 or -ENOMEM. */
static int prefixes_enter(struct engine *e, const struct prefix4 *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct range r = pool_hosts(&p[i]);

		for (uint64_t at = r.lo; at <= r.hi; at++)
			if (pool_find_or_drain(e, (uint32_t)at) == NULL)
				return -ENOMEM;
	}
	return 0;
}

static int layout_init(struct engine *e, const struct engine_conf *conf, struct layout *l)
{
	uint64_t shared = 0, dedicated = 0;
	int rc = 0;

	*l = (struct layout){ 0 };
	for (size_t i = 0; i < conf->n_pools; i++) {
		const struct engine_pool *p = &conf->pools[i];

		shared += prefixes_count(p->shared, p->n_shared);
		dedicated += prefixes_count(p->dedicated, p->n_dedicated);
	}
	if (shared + dedicated > POOL_ADDRESSES_MAX)
		return ERR_NOSPACE;
	l->pools = calloc(conf->n_pools + 1, sizeof(*l->pools));
	l->shared = calloc(shared + 1, sizeof(struct pool_addr *));
	l->dedicated = calloc(dedicated + 1, sizeof(struct pool_addr *));
	if (l->pools == NULL || l->shared == NULL || l->dedicated == NULL)
		rc = -ENOMEM;
	for (size_t i = 0; i < conf->n_pools && rc == 0; i++) {
		const struct engine_pool *p = &conf->pools[i];

		pool_masks(&l->pools[i], p);
		rc = prefixes_enter(e, p->shared, p->n_shared);
		if (rc == 0)
			rc = prefixes_enter(e, p->dedicated, p->n_dedicated);
	}
	if (rc != 0)
		layout_fini(l);
	return rc;
}

/* Count anew what of an address its pool could still lease. */
static void addr_recount(struct pool_addr *a)
{
	a->free = a->pool->n_leasable;
	a->free_any = a->pool->n_any;
	if (a->busy == NULL)
		return;
	for (size_t i = 0; i < PORTS_WORDS; i++) {
		uint64_t busy = a->busy->word[i];
		uint64_t leasable = busy & a->pool->leasable.word[i];
		uint64_t any = busy & a->pool->any.word[i];

		a->free -= (uint32_t)__builtin_popcountll(leasable);
		a->free_any -= (uint32_t)__builtin_popcountll(any);
	}
}

/* Put the addresses of the prefixes on a list; the first list that has one keeps it. */
static uint32_t prefixes_take(struct engine *e, const struct prefix4 *p, size_t n,
	const struct pool *pool, bool dedicated, uint32_t listed)
{
	struct pool_addr **list = dedicated ? e->dedicated : e->shared;

	for (size_t i = 0; i < n; i++) {
		struct range r = pool_hosts(&p[i]);

		for (uint64_t at = r.lo; at <= r.hi; at++) {
			struct pool_addr *a = pool_find(e, (uint32_t)at);

			if (a == NULL || a->pool != NULL)
				continue;
			a->pool = pool;
			a->dedicated = dedicated;
			a->place = listed;
			list[listed++] = a;
			addr_recount(a);
		}
	}
	return listed;
}

/* Change places in the list of dedicated addresses. */
static void dedicated_swap(struct engine *e, uint32_t i, uint32_t k)
{
	struct pool_addr *a = e->dedicated[i], *b = e->dedicated[k];

	e->dedicated[i] = b;
	b->place = i;
	e->dedicated[k] = a;
	a->place = k;
}

/* Forget what no pool has and nobody holds. */
static void addrs_sweep(struct engine *e)
{
	struct pool_addr *a;
	size_t at = 0;

	while ((a = table_next(&e->addrs, &at)) != NULL)
		if (a->pool == NULL && pool_is_idle(a)) {
			addr_free(e, a);
			at--;
		}
}

static void layout_take(
	struct engine *e, const struct engine_conf *conf, struct layout *l)
{
	struct pool_addr *a;
	size_t at = 0;

	while ((a = table_next(&e->addrs, &at)) != NULL) {
		a->pool = NULL;
		a->free = a->free_any = 0;
	}
	free(e->pools);
	free(e->shared);
	free(e->dedicated);
	e->pools = l->pools;
	e->shared = l->shared;
	e->dedicated = l->dedicated;
	e->n_shared = e->n_dedicated = e->n_dedicated_free = 0;
	for (size_t i = 0; i < conf->n_pools; i++) {
		const struct engine_pool *p = &conf->pools[i];

		e->n_shared = prefixes_take(
			e, p->shared, p->n_shared, &e->pools[i], false, e->n_shared);
		e->n_dedicated = prefixes_take(e, p->dedicated, p->n_dedicated,
			&e->pools[i], true, e->n_dedicated);
	}
	for (uint32_t i = 0; i < e->n_dedicated; i++)
		if (pool_is_idle(e->dedicated[i]))
			dedicated_swap(e, i, e->n_dedicated_free++);
	addrs_sweep(e);
}

int pool_reload(struct engine *e, const struct engine_conf *conf)
{
	struct layout l;
	int rc = layout_init(e, conf, &l);

	if (rc != 0) {
		addrs_sweep(e);
		return rc;
	}
	layout_take(e, conf, &l);
	return 0;
}

void pool_fini(struct engine *e)
{
	struct pool_addr *a;
	size_t at = 0;

	while ((a = table_next(&e->addrs, &at)) != NULL) {
		spans_clear(&a->spis, &e->spans);
		free(a->busy);
		free(a);
	}
	table_fini(&e->addrs);
	free(e->pools);
	free(e->shared);
	free(e->dedicated);
}

/* --- ports --- */

bool pool_has_port(const struct pool_addr *a, uint32_t port)
{
	return a->pool != NULL && ports_have(&a->pool->leasable, port);
}

bool pool_is_busy(const struct pool_addr *a, uint32_t port)
{
	return a->busy != NULL && ports_have(a->busy, port);
}

int pool_reserve_ports(struct pool_addr *a)
{
	if (a->busy == NULL)
		a->busy = calloc(1, sizeof(*a->busy));
	return a->busy != NULL ? 0 : -ENOMEM;
}

void pool_hold_ports(struct pool_addr *a, struct range r)
{
	for (uint32_t port = r.lo; port <= r.hi; port++) {
		ports_put(a->busy, port);
		if (a->pool == NULL)
			continue;
		a->free -= ports_have(&a->pool->leasable, port);
		a->free_any -= ports_have(&a->pool->any, port);
	}
}

void pool_free_ports(struct pool_addr *a, struct range r)
{
	for (uint32_t port = r.lo; port <= r.hi; port++) {
		ports_drop(a->busy, port);
		if (a->pool == NULL)
			continue;
		a->free += ports_have(&a->pool->leasable, port);
		a->free_any += ports_have(&a->pool->any, port);
	}
}

/* --- whole addresses --- */

struct pool_addr *pool_pick_whole(struct engine *e)
{
	if (e->n_dedicated_free == 0)
		return NULL;
	return e->dedicated[random_below(&e->random, e->n_dedicated_free)];
}

static bool is_listed_free(const struct engine *e, const struct pool_addr *a)
{
	return a->pool != NULL && a->dedicated && a->place < e->n_dedicated_free;
}

void pool_claim(struct engine *e, struct pool_addr *a)
{
	if (is_listed_free(e, a))
		dedicated_swap(e, a->place, --e->n_dedicated_free);
}

void pool_settle(struct engine *e, struct pool_addr *a)
{
	if (!pool_is_idle(a))
		return;
	if (a->pool == NULL)
		addr_free(e, a);
	else if (a->dedicated && !is_listed_free(e, a))
		dedicated_swap(e, a->place, e->n_dedicated_free++);
}
