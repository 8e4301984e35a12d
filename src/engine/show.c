/*
 * Looking at the tables from outside.
 */
#include "base/err.h"
#include "engine/bind.h"
#include "engine/emit.h"
#include "engine/engine.h"
#include "engine/policy.h"
#include "engine/pool.h"
#include "engine/reg.h"

void engine_each_registration(const struct engine *e,
	bool (*fn)(void *ctx, const struct registration *r), void *ctx)
{
	const struct reg *r;
	size_t at = 0;

	while ((r = table_next(&e->regs, &at)) != NULL) {
		struct registration plain = emit_registration(r);

		if (!fn(ctx, &plain))
			return;
	}
}

void engine_each_lease(
	const struct engine *e, bool (*fn)(void *ctx, const struct lease *l), void *ctx)
{
	const struct bind *b;
	size_t at = 0;

	while ((b = table_next(&e->binds, &at)) != NULL) {
		struct lease l = emit_lease(b);

		if (!fn(ctx, &l))
			return;
	}
}

int engine_registration_find(
	const struct engine *e, uint32_t client_id, struct registration *r)
{
	const struct reg *found = reg_find(e, client_id);

	if (found == NULL)
		return ERR_NOTFOUND;
	*r = emit_registration(found);
	return 0;
}

int engine_lease_find(const struct engine *e, uint32_t bind_id, struct lease *l)
{
	const struct bind *found = bind_find(e, bind_id);

	if (found == NULL)
		return ERR_NOTFOUND;
	*l = emit_lease(found);
	return 0;
}

static struct engine_address plain_address(const struct pool_addr *a)
{
	return (struct engine_address){
		.pool = a->pool != NULL ? a->pool->conf->name : "draining",
		.address = a->address,
		.dedicated = a->dedicated,
		.ports_free = a->owner == NULL ? a->free : 0,
		.ports_held = a->ports_held,
		.ports_resting = a->ports_resting,
		.spis_held = a->spis_held,
		.spis_resting = a->spis_resting,
	};
}

struct address_walk {
	const struct engine *e;
	bool (*fn)(void *ctx, const struct engine_address *a);
	void *ctx;
};

/* Those of the prefixes that this pool has; an address may stand in two by mistake. */
static bool walk_prefixes(const struct address_walk *w, const struct engine_pool *pool,
	const struct prefix4 *p, size_t n, bool dedicated)
{
	for (size_t i = 0; i < n; i++) {
		struct range r = pool_hosts(&p[i]);

		for (uint64_t at = r.lo; at <= r.hi; at++) {
			const struct pool_addr *a = pool_find(w->e, (uint32_t)at);

			if (a == NULL || a->pool == NULL || a->pool->conf != pool ||
				a->dedicated != dedicated)
				continue;
			struct engine_address plain = plain_address(a);
			if (!w->fn(w->ctx, &plain))
				return false;
		}
	}
	return true;
}

static bool walk_draining(const struct address_walk *w)
{
	const struct pool_addr *a;
	size_t at = 0;

	while ((a = table_next(&w->e->addrs, &at)) != NULL) {
		struct engine_address plain = plain_address(a);

		if (a->pool == NULL && !w->fn(w->ctx, &plain))
			return false;
	}
	return true;
}

/* In the order of the configuration. */
void engine_each_address(const struct engine *e,
	bool (*fn)(void *ctx, const struct engine_address *a), void *ctx)
{
	struct address_walk w = { .e = e, .fn = fn, .ctx = ctx };

	for (size_t i = 0; i < e->conf.n_pools; i++) {
		const struct engine_pool *p = &e->conf.pools[i];

		if (!walk_prefixes(&w, p, p->shared, p->n_shared, false) ||
			!walk_prefixes(&w, p, p->dedicated, p->n_dedicated, true))
			return;
	}
	(void)walk_draining(&w);
}

uint32_t engine_max_ports(const struct engine *e, uint32_t host)
{
	const struct engine_policy *p = policy_find(&e->conf, host);

	return p != NULL ? p->max_ports : 0;
}
