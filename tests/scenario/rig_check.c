/*
 * What must hold between calls, from the walks of the engine and from what its effects
 * added up to; neither is believed alone.
 */
#include "rig_internal.h"

#include "engine/check.h"

#include <stdlib.h>
#include <string.h>

/* --- the engine's leases as a table ---------------------------------------------------
 */

static bool take_lease(void *ctx, const struct lease *l)
{
	struct model *m = ctx;

	model_lease_put(m, l);
	return true;
}

static bool take_registration(void *ctx, const struct registration *reg)
{
	struct model *m = ctx;

	model_registration_put(m, reg);
	return true;
}

/* --- both sides hold the same ---------------------------------------------------------
 */

static void leases_equal(struct rig *r, const struct model *engine,
	const struct model *other, const char *what,
	bool (*equal)(const struct lease *a, const struct lease *b))
{
	for (size_t i = 0; i < engine->leases.n; i++) {
		const struct lease *l = model_lease_at(engine, i);
		const struct lease *o = model_lease(other, l->bind_id);

		if (o == NULL)
			rig_fail(r, "lease %u is in the engine, not in %s", l->bind_id,
				what);
		else if (!equal(l, o))
			rig_fail(r, "lease %u differs in the engine and in %s",
				l->bind_id, what);
	}
	if (engine->leases.n != other->leases.n)
		rig_fail(r, "%zu leases in the engine, %zu in %s", engine->leases.n,
			other->leases.n, what);
}

static void registrations_equal(struct rig *r, const struct model *engine)
{
	for (size_t i = 0; i < engine->registrations.n; i++) {
		const struct registration *a = model_registration_at(engine, i);
		const struct registration *b =
			model_registration(&r->store, a->client_id);

		/* A lease whose registration was not yet written to outlast it. */
		if (b != NULL && r->torn && b->expires_ms < a->expires_ms)
			continue;
		if (b == NULL || !registration_equal(a, b))
			rig_fail(r, "client %u differs in the engine and in the store",
				a->client_id);
	}
	if (engine->registrations.n != r->store.registrations.n)
		rig_fail(r, "%zu clients in the engine, %zu in the store",
			engine->registrations.n, r->store.registrations.n);
}

/* What a host was told that it holds is there until its time. */
static void promises_kept(struct rig *r, const struct model *engine)
{
	for (size_t i = 0; i < r->told.leases.n; i++) {
		const struct lease *told = model_lease_at(&r->told, i);
		const struct lease *l = model_lease(engine, told->bind_id);

		if (told->expires_ms <= r->now_ms)
			continue;
		if (rows_find(&r->gone, &told->bind_id) != NULL ||
			rows_find(&r->gone, &told->client_id) != NULL)
			continue; /* its end was stored, and the word of it lost */
		if (l == NULL || !lease_same_tuple(l, told) ||
			l->expires_ms < told->expires_ms)
			rig_fail(r, "lease %u was promised and is not held",
				told->bind_id);
	}
	for (size_t i = 0; i < r->told.registrations.n; i++) {
		const struct registration *told = model_registration_at(&r->told, i);
		const struct registration *reg =
			model_registration(engine, told->client_id);

		if (told->expires_ms <= r->now_ms ||
			rows_find(&r->gone, &told->client_id) != NULL)
			continue;
		if (reg == NULL || reg->host != told->host ||
			reg->expires_ms < told->expires_ms)
			rig_fail(r, "client %u was promised and is not registered",
				told->client_id);
	}
	for (size_t i = 0; i < r->binds.n; i++) {
		const struct rig_bind *b = rows_at(&r->binds, i);

		if (b->ended && model_lease(engine, b->bind_id) != NULL)
			rig_fail(r, "lease %u was ended and is back", b->bind_id);
	}
}

/* --- each registration and lease for itself
 * ---------------------------------------------
 */

static void owners(struct rig *r, const struct model *engine)
{
	size_t *held = calloc(engine->registrations.n + 1, sizeof(*held));

	if (held == NULL)
		abort();
	for (size_t i = 0; i < engine->leases.n; i++) {
		const struct lease *l = model_lease_at(engine, i);
		const struct registration *reg = model_registration(engine, l->client_id);

		if (reg == NULL || reg->host != l->host) {
			rig_fail(r, "lease %u is held by an unregistered host",
				l->bind_id);
			continue;
		}
		held[(size_t)((const char *)reg - engine->registrations.row) /
			sizeof(*reg)]++;
		if (l->expires_ms > reg->expires_ms)
			rig_fail(r, "lease %u outlives its registration (P-6-07)",
				l->bind_id);
		if (l->bind_id == 0 || l->client_id == 0)
			rig_fail(r, "an ID is 0");
	}
	for (size_t i = 0; i < engine->registrations.n; i++) {
		const struct registration *a = model_registration_at(engine, i);

		if (a->bindings != held[i])
			rig_fail(r, "client %u counts %zu bindings and has %zu",
				a->client_id, a->bindings, held[i]);
		for (size_t k = 0; k < i; k++)
			if (model_registration_at(engine, k)->host == a->host)
				rig_fail(r, "a host is registered twice (P-6-01)");
	}
	free(held);
}

/* --- addresses ------------------------------------------------------------------------
 */

enum { FREE, HELD, RESTING };

struct address_check {
	struct rig *r;
	const struct model *engine;
	uint8_t *port;   /* state of each port */
	uint32_t *owner; /* bind that holds it first */
};

static void hold_ports(struct address_check *c, const struct lease *l)
{
	for (size_t k = 0; k < l->n_ports; k++) {
		for (uint32_t p = l->ports[k].lo; p <= l->ports[k].hi; p++) {
			const struct lease *o =
				c->port[p] == HELD ? model_lease(c->engine, c->owner[p])
						   : NULL;

			/* A LISTEN may double what its own host has (A-B-05). */
			if (o != NULL && (o->host != l->host ||
						 (o->method != METHOD_LISTEN &&
							 l->method != METHOD_LISTEN)))
				rig_fail(c->r, "port %u is held by leases %u and %u", p,
					o->bind_id, l->bind_id);
			c->port[p] = HELD;
			c->owner[p] = l->bind_id;
		}
	}
}

static void port_sums(struct address_check *c, const struct engine_address *a)
{
	bool dedicated;
	const struct engine_pool *pool =
		setup_pool_of(&c->r->setup, a->address, &dedicated);
	uint32_t held = 0, resting = 0, free_ = 0;

	memset(c->port, FREE, 65536);
	for (size_t i = 0; i < c->engine->leases.n; i++) {
		const struct lease *l = model_lease_at(c->engine, i);

		if (l->address == a->address)
			hold_ports(c, l);
	}
	for (size_t i = 0; i < c->r->store.resting.n; i++) {
		const struct resting *rest = model_resting_at(&c->r->store, i);

		if (rest->address != a->address || rest->kind != REST_PORT)
			continue;
		for (uint32_t p = rest->range.lo; p <= rest->range.hi && p < 65536; p++) {
			if (c->port[p] != FREE)
				rig_fail(c->r, "port %u rests twice or while held", p);
			else
				c->port[p] = RESTING;
		}
	}
	for (uint32_t p = 0; p < 65536; p++) {
		held += c->port[p] == HELD;
		resting += c->port[p] == RESTING;
		free_ += c->port[p] == FREE && pool != NULL &&
			 setup_port_leasable(pool, p);
	}
	if (a->ports_held != held || a->ports_resting != resting ||
		(pool != NULL && a->ports_free != free_))
		rig_fail(c->r,
			"address %08x counts %u ports free, %u held, %u resting; they "
			"are "
			"%u, %u, %u",
			a->address, a->ports_free, a->ports_held, a->ports_resting, free_,
			held, resting);
}

static void spi_sums(struct address_check *c, const struct engine_address *a)
{
	uint64_t held = 0, resting = 0;

	for (size_t i = 0; i < c->engine->leases.n; i++) {
		const struct lease *l = model_lease_at(c->engine, i);

		if (l->address == a->address)
			held += ranges_count(l->spis, l->n_spis);
	}
	for (size_t i = 0; i < c->r->store.resting.n; i++) {
		const struct resting *rest = model_resting_at(&c->r->store, i);

		if (rest->address == a->address && rest->kind == REST_SPI)
			resting += ranges_count(&rest->range, 1);
	}
	if (a->spis_held != held || a->spis_resting != resting)
		rig_fail(c->r,
			"an address counts %llu SPIs held, %llu resting; they are %llu, "
			"%llu",
			(unsigned long long)a->spis_held,
			(unsigned long long)a->spis_resting, (unsigned long long)held,
			(unsigned long long)resting);
}

/* An address leased as a whole is nobody else's (F-2-03).  Is this one? */
static bool exclusive(struct address_check *c, uint32_t address)
{
	const struct lease *owner = NULL;

	for (size_t i = 0; i < c->engine->leases.n; i++) {
		const struct lease *l = model_lease_at(c->engine, i);

		if (l->address != address || l->method != METHOD_RSA_IP)
			continue;
		if (owner != NULL)
			rig_fail(c->r, "leases %u and %u both own an address",
				owner->bind_id, l->bind_id);
		owner = l;
	}
	for (size_t i = 0; owner != NULL && i < c->engine->leases.n; i++) {
		const struct lease *l = model_lease_at(c->engine, i);

		if (l->address == address && l != owner &&
			(l->method != METHOD_LISTEN || l->host != owner->host))
			rig_fail(c->r, "lease %u is on the address that lease %u owns",
				l->bind_id, owner->bind_id);
	}
	return owner != NULL;
}

static bool check_address(void *ctx, const struct engine_address *a)
{
	struct address_check *c = ctx;

	if (!exclusive(c, a->address) && !a->dedicated) {
		port_sums(c, a);
		spi_sums(c, a);
	}
	return true;
}

/* --- SPIs -----------------------------------------------------------------------------
 */

struct span {
	uint32_t address, lo, hi;
};

static int span_cmp(const void *va, const void *vb)
{
	const struct span *a = va, *b = vb;

	if (a->address != b->address)
		return a->address < b->address ? -1 : 1;
	return (a->lo > b->lo) - (a->lo < b->lo);
}

static void spis_unique(struct rig *r, const struct model *engine)
{
	size_t n = 0, room = r->store.resting.n + 1;
	struct span *spans;

	for (size_t i = 0; i < engine->leases.n; i++)
		room += model_lease_at(engine, i)->n_spis;
	spans = malloc(room * sizeof(*spans));
	if (spans == NULL)
		abort();
	for (size_t i = 0; i < engine->leases.n; i++) {
		const struct lease *l = model_lease_at(engine, i);

		for (size_t k = 0; k < l->n_spis; k++)
			spans[n++] =
				(struct span){ l->address, l->spis[k].lo, l->spis[k].hi };
	}
	for (size_t i = 0; i < r->store.resting.n; i++) {
		const struct resting *rest = model_resting_at(&r->store, i);

		if (rest->kind == REST_SPI)
			spans[n++] = (struct span){ rest->address, rest->range.lo,
				rest->range.hi };
	}
	qsort(spans, n, sizeof(*spans), span_cmp);
	for (size_t i = 0; i < n; i++) {
		if (spans[i].lo < 256)
			rig_fail(r, "SPI %u is reserved (S-6.2-07)", spans[i].lo);
		if (i > 0 && spans[i].address == spans[i - 1].address &&
			spans[i].lo <= spans[i - 1].hi)
			rig_fail(r, "SPI 0x%08x is held or rests twice (F-5.1-03)",
				spans[i].lo);
	}
	free(spans);
}

/* --- gauges ---------------------------------------------------------------------------
 */

static void gauges(struct rig *r, const struct model *engine)
{
	const struct engine_counters *c = engine_counters(r->engine);
	uint64_t bindings[METHODS] = { 0 }, resting[3] = { 0 };

	for (size_t i = 0; i < engine->leases.n; i++)
		bindings[model_lease_at(engine, i)->method]++;
	for (size_t i = 0; i < r->store.resting.n; i++)
		resting[model_resting_at(&r->store, i)->kind]++;
	for (int m = 0; m < METHODS; m++)
		if (c->bindings[m] != bindings[m])
			rig_fail(r, "the gauge of method %d is %llu for %llu", m,
				(unsigned long long)c->bindings[m],
				(unsigned long long)bindings[m]);
	for (int k = 0; k < 3; k++)
		if (c->holding[k] != resting[k])
			rig_fail(r, "the gauge of resting kind %d is %llu for %llu", k,
				(unsigned long long)c->holding[k],
				(unsigned long long)resting[k]);
	if (c->registrations != engine->registrations.n)
		rig_fail(r, "the gauge of clients is %llu for %zu",
			(unsigned long long)c->registrations, engine->registrations.n);
}

bool rig_check(struct rig *r)
{
	struct model engine;
	struct address_check c = { .r = r, .engine = &engine };
	char why[200];

	if (r->fault[0] != '\0' || r->crashed)
		return r->fault[0] == '\0';
	model_init(&engine);
	engine_each_lease(r->engine, take_lease, &engine);
	engine_each_registration(r->engine, take_registration, &engine);
	leases_equal(r, &engine, &r->store, "the store", lease_equal);
	/* The data plane is not told of extensions: it ends a lease only when told to. */
	leases_equal(r, &engine, &r->plane, "the data plane", lease_equal);
	registrations_equal(r, &engine);
	promises_kept(r, &engine);
	owners(r, &engine);
	spis_unique(r, &engine);
	c.port = malloc(65536);
	c.owner = malloc(65536 * sizeof(*c.owner));
	if (c.port == NULL || c.owner == NULL)
		abort();
	engine_each_address(r->engine, check_address, &c);
	free(c.port);
	free(c.owner);
	gauges(r, &engine);
	model_fini(&engine);
	if (!r->quick && engine_invariants(r->engine, why, sizeof(why)) != 0)
		rig_fail(r, "the engine itself says: %s", why);
	return r->fault[0] == '\0';
}
