/*
 * What the store kept comes back.  The store may hold more than it should (it was cut off
 * between two commits, or the configuration is another one), so everything is checked as
 * if a stranger had sent it.
 */
#include "base/err.h"
#include "engine/bind.h"
#include "engine/emit.h"
#include "engine/engine.h"
#include "engine/ike.h"
#include "engine/pool.h"
#include "engine/reg.h"
#include "engine/rest.h"

#include <errno.h>

int engine_restore_registration(
	struct engine *e, const struct registration *r, uint64_t now_ms)
{
	if (r->client_id == 0 || r->expires_ms <= now_ms)
		return ERR_RANGE;
	if (reg_find(e, r->client_id) != NULL || reg_find_host(e, r->host) != NULL)
		return ERR_EXISTS;
	return reg_add(e, r) != NULL ? 0 : -ENOMEM;
}

/* Sorted, disjoint, in min..max. */
static bool are_ranges(const struct range *r, size_t n, uint32_t min, uint32_t max)
{
	for (size_t i = 0; i < n; i++) {
		if (r[i].lo < min || r[i].hi > max || r[i].lo > r[i].hi)
			return false;
		if (i > 0 && r[i].lo <= r[i - 1].hi)
			return false;
	}
	return true;
}

static bool is_sane(const struct lease *l)
{
	if (l->bind_id == 0 || (unsigned int)l->method >= METHODS ||
		l->remote.n_more > REMOTE_MORE_MAX ||
		!are_ranges(l->ports, l->n_ports, 1, UINT16_MAX) ||
		!are_ranges(l->spis, l->n_spis, 1, UINT32_MAX) ||
		(l->ike_id_len > 0) != (l->method == METHOD_IKE) ||
		l->ike_id_len > IKE_ID_MAX)
		return false;
	switch (l->method) {
	case METHOD_RSA_IP:
	case METHOD_IKE:
		return l->n_ports == 0 && l->n_spis == 0;
	case METHOD_RSIPSEC:
		return l->n_spis > 0;
	default:
		return l->n_ports > 0 && l->n_spis == 0;
	}
}

/* One host's listeners may share ports with its other bindings. */
static bool may_share_port(const struct reg *r, const struct lease *l,
	const struct pool_addr *a, uint32_t port)
{
	return (l->method == METHOD_LISTEN || r->n_listens > 0) &&
	       bind_holds_port(r, a, port);
}

/* An address leased whole tolerates nothing but its owner's listeners. */
static bool clashes_whole(const struct reg *r, const struct pool_addr *a)
{
	const struct bind *b;
	uint32_t listeners = 0;

	for (b = r->binds; b != NULL; b = b->next)
		listeners += b->addr == a && b->method == METHOD_LISTEN;
	return a->n_binds != listeners || a->n_rests > 0;
}

static bool clashes(const struct engine *e, const struct reg *r, const struct lease *l,
	const struct pool_addr *a)
{
	if (l->method == METHOD_RSA_IP)
		return clashes_whole(r, a);
	if (a->owner != NULL)
		return l->method != METHOD_LISTEN || a->owner->reg != r;
	if (l->method == METHOD_IKE)
		return ike_find(e, l->address, l->ike_id, l->ike_id_len) != NULL;
	for (size_t i = 0; i < l->n_ports; i++)
		for (uint32_t p = l->ports[i].lo; p <= l->ports[i].hi; p++)
			if (pool_is_busy(a, p) && !may_share_port(r, l, a, p))
				return true;
	for (size_t i = 0; i < l->n_spis; i++)
		if (spans_overlap(&a->spis, l->spis[i]) != NULL)
			return true;
	return false;
}

static int put_back(struct engine *e, struct reg *r, struct pool_addr *a,
	const struct lease *l, uint64_t now_ms)
{
	struct bind_grant g = { .id = l->bind_id,
		.gateway = l->gateway,
		.method = l->method,
		.tunnel = l->tunnel,
		.remote = l->remote,
		.name = l->remote_name,
		.name_len = l->remote_name_len,
		.ike_id = l->ike_id,
		.ike_id_len = l->ike_id_len,
		.granted_ms = l->granted_ms,
		.now_ms = now_ms,
		.expires_ms = l->expires_ms,
		.addr = a,
		.ports = l->ports,
		.spis = l->spis,
		.n_ports = l->n_ports,
		.n_spis = l->n_spis };
	struct bind *b;

	if (l->method == METHOD_RSA_IP)
		for (b = r->binds; b != NULL; b = b->next)
			if (b->addr == a)
				bind_note(b);
	if (bind_add(e, r, &g, &b) != 0)
		return -ENOMEM;
	if (l->expires_ms > r->timer.at_ms)
		timers_set(&e->timers, &r->timer, l->expires_ms);
	emit_install(e, b);
	return 0;
}

int engine_restore_lease(struct engine *e, const struct lease *l, uint64_t now_ms)
{
	struct reg *r = reg_find(e, l->client_id);
	struct pool_addr *a;
	int rc;

	if (r == NULL)
		return ERR_NOTFOUND;
	if (l->expires_ms <= now_ms || l->host != r->host || !is_sane(l))
		return ERR_RANGE;
	if (bind_find(e, l->bind_id) != NULL)
		return ERR_EXISTS;
	a = pool_find_or_drain(e, l->address);
	if (a == NULL)
		return -ENOMEM;
	rc = clashes(e, r, l, a) ? ERR_EXISTS : put_back(e, r, a, l, now_ms);
	pool_settle(e, a);
	return rc;
}

static int rest_ports(
	struct engine *e, struct pool_addr *a, const struct resting *r, uint64_t until_ms)
{
	int rc;

	for (uint32_t p = r->range.lo; p <= r->range.hi; p++)
		if (pool_is_busy(a, p))
			return ERR_EXISTS;
	if (pool_reserve_ports(a) != 0)
		return -ENOMEM;
	rc = rest_restore(e, a, REST_PORT, r->range, until_ms);
	if (rc == 0)
		pool_hold_ports(a, r->range);
	return rc;
}

static int rest_spis(
	struct engine *e, struct pool_addr *a, const struct resting *r, uint64_t until_ms)
{
	int rc;

	if (spans_overlap(&a->spis, r->range) != NULL)
		return ERR_EXISTS;
	if (span_stock_reserve(&e->spans, 1) != 0)
		return -ENOMEM;
	rc = rest_restore(e, a, REST_SPI, r->range, until_ms);
	if (rc == 0)
		spans_add(&a->spis, &e->spans, r->range, e->random.next(&e->random));
	return rc;
}

static int rest_address(struct engine *e, struct pool_addr *a, const struct resting *r)
{
	if (!a->dedicated)
		return ERR_RANGE;
	if (a->n_binds > 0 || a->n_rests > 0)
		return ERR_EXISTS;
	return rest_restore(e, a, REST_ADDRESS, r->range, r->until_ms);
}

int engine_restore_resting(struct engine *e, const struct resting *r, uint64_t now_ms)
{
	struct pool_addr *a = pool_find(e, r->address);
	uint32_t max = r->kind == REST_PORT ? UINT16_MAX : UINT32_MAX;

	/* What left its pool need not rest. */
	if (r->until_ms <= now_ms || a == NULL || a->pool == NULL)
		return ERR_RANGE;
	if (a->owner != NULL)
		return ERR_EXISTS;
	if (r->kind == REST_ADDRESS)
		return rest_address(e, a, r);
	if (!are_ranges(&r->range, 1, 1, max))
		return ERR_RANGE;
	return r->kind == REST_PORT ? rest_ports(e, a, r, r->until_ms)
				    : rest_spis(e, a, r, r->until_ms);
}
