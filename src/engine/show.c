/*
 * Looking at the tables from outside.
 */
#include "base/err.h"
#include "engine/bind.h"
#include "engine/emit.h"
#include "engine/engine.h"
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

void engine_each_address(const struct engine *e,
	bool (*fn)(void *ctx, const struct engine_address *a), void *ctx)
{
	for (const struct pool_addr *a = e->addrs; a != NULL; a = a->hh.next) {
		struct engine_address plain = {
			.pool = a->pool != NULL ? a->pool->conf->name : "draining",
			.address = a->address,
			.dedicated = a->dedicated,
			.ports_free = a->owner == NULL ? a->free : 0,
			.ports_held = a->ports_held,
			.ports_resting = a->ports_resting,
			.spis_held = a->spis_held,
			.spis_resting = a->spis_resting,
		};

		if (!fn(ctx, &plain))
			return;
	}
}
