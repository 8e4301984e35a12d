/*
 * Which address, ports and SPIs.  A host stays on the address that it has where that
 * suffices, so that its peers see one address; new hosts go to the emptiest of a few
 * random addresses, which spreads them.
 */
#include "engine/place.h"

#include "engine/bind.h"
#include "engine/ike.h"
#include "engine/pool.h"
#include "engine/rest.h"

#define SAMPLES  4
#define IKE_PORT 500

/* --- quotas --- */

static bool exceeds_ports(const struct place *p)
{
	const struct engine_policy *policy = p->reg->policy;

	return p->reg->n_binds >= policy->max_bindings ||
	       p->reg->n_ports + p->n_ports > policy->max_ports;
}

static bool exceeds_spis(const struct place *p)
{
	return (uint64_t)p->reg->n_spis + p->n_spis > p->reg->policy->max_spis;
}

/* --- one address --- */

static uint16_t check_named_port(
	const struct place *p, const struct pool_addr *a, uint32_t port)
{
	if (!pool_is_busy(a, port))
		return 0;
	/* A second listener of the same host shares the port (RFC 3102 6.4). */
	if (p->method == METHOD_LISTEN && bind_holds_port(p->reg, a, port))
		return 0;
	return RSIP_LOCAL_ADDRPORT_INUSE;
}

/* Port 500 is shared, unless it may be one host's (RFC 3104 appendix G). */
static bool is_exclusive(const struct place *p, const struct pool_addr *a, uint32_t port)
{
	return port == IKE_PORT && a->pool != NULL && a->pool->conf->exclusive_500 &&
	       (p->method == METHOD_RSAP_IP || p->method == METHOD_LISTEN);
}

static uint16_t check_named_ports(const struct place *p, const struct pool_addr *a)
{
	uint16_t error = 0;

	for (size_t i = 0; i < p->n_port_ranges; i++)
		for (uint32_t port = p->ports[i].lo; port <= p->ports[i].hi; port++) {
			if (!pool_has_port(a, port) && !is_exclusive(p, a, port))
				return RSIP_LOCAL_ADDRPORT_UNALLOWED;
			if (error == 0)
				error = check_named_port(p, a, port);
		}
	return error;
}

/* V19 on this address; `scarce` allows to end the rest of ports. */
static uint16_t check_ports(const struct place *p, const struct pool_addr *a, bool scarce)
{
	uint16_t error = 0;

	if (p->port_form == FORM_BLOCK)
		error = check_named_ports(p, a);
	if (error != 0)
		return error;
	if (exceeds_ports(p))
		return RSIP_LOCAL_ADDRPORT_UNAVAILABLE;
	if (p->port_form != FORM_DONT_CARE || a->free_any >= p->n_ports)
		return 0;
	if (scarce && rest_has(a, p->n_ports - a->free_any))
		return 0;
	return RSIP_LOCAL_ADDRPORT_UNAVAILABLE;
}

/* V20 on this address; chooses the SPIs. */
static uint16_t pick_spis(struct engine *e, struct place *p, const struct pool_addr *a)
{
	if (p->spi_form == FORM_DONT_NEED)
		return 0;
	if (p->spi_form == FORM_DONT_CARE) {
		if (exceeds_spis(p))
			return RSIP_IPSEC_SPI_UNAVAILABLE;
		p->spis = e->spi_scratch;
		p->n_spi_ranges = pool_pick_spis(e, a, p->n_spis, p->spis);
		return p->n_spi_ranges > 0 ? 0 : RSIP_IPSEC_SPI_UNAVAILABLE;
	}
	for (size_t i = 0; i < p->n_spi_ranges; i++)
		if (spans_overlap(&a->spis, p->spis[i]) != NULL)
			return RSIP_IPSEC_SPI_INUSE;
	for (size_t i = 0; i < p->n_spi_ranges; i++)
		if (!pool_has_spis(a, p->spis[i]))
			return RSIP_IPSEC_SPI_UNAVAILABLE;
	return exceeds_spis(p) ? RSIP_IPSEC_SPI_UNAVAILABLE : 0;
}

static void pick_ports(struct engine *e, struct place *p, struct pool_addr *a)
{
	if (p->port_form != FORM_DONT_CARE)
		return;
	if (a->free_any < p->n_ports)
		rest_reclaim(e, a, p->n_ports - a->free_any);
	p->ports = e->port_scratch;
	p->n_port_ranges =
		ports_pick(&a->pool->any, a->busy, p->n_ports, &e->random, p->ports);
}

static uint16_t try_addr(
	struct engine *e, struct place *p, struct pool_addr *a, bool scarce)
{
	uint16_t error = a->owner != NULL ? RSIP_LOCAL_ADDR_INUSE : 0;

	if (error == 0 && p->method == METHOD_IKE &&
		ike_find(e, a->address, p->ike_id, p->ike_id_len) != NULL)
		error = RSIP_LOCAL_ADDRPORT_INUSE;
	if (error == 0)
		error = check_ports(p, a, scarce);
	if (error == 0)
		error = pick_spis(e, p, a);
	if (error != 0)
		return error;
	pick_ports(e, p, a);
	p->addr = a;
	return 0;
}

/* --- any address --- */

/* The order of V19 and V20, for "which address got furthest". */
static int rank(uint16_t error)
{
	static const uint16_t order[] = { RSIP_LOCAL_ADDR_INUSE,
		RSIP_LOCAL_ADDRPORT_UNALLOWED, RSIP_LOCAL_ADDRPORT_INUSE,
		RSIP_LOCAL_ADDRPORT_UNAVAILABLE, RSIP_IPSEC_SPI_INUSE,
		RSIP_IPSEC_SPI_UNAVAILABLE };

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if (order[i] == error)
			return (int)i;
	return -1;
}

static uint16_t further(uint16_t a, uint16_t b)
{
	return rank(a) >= rank(b) ? a : b;
}

static bool is_shared(const struct pool_addr *a)
{
	return a->pool != NULL && !a->dedicated;
}

/*
 * The addresses that the host has already.  A listener looks through all of its bindings,
 * for the port may be its own; others look at the newest one.
 */
static uint16_t try_own(struct engine *e, struct place *p, uint16_t error)
{
	const struct pool_addr *last = NULL;

	for (const struct bind *b = p->reg->binds; b != NULL; b = b->next) {
		if (b->addr != last && is_shared(b->addr)) {
			last = b->addr;
			error = further(error, try_addr(e, p, b->addr, false));
			if (p->addr != NULL)
				return 0;
			if (p->method != METHOD_LISTEN)
				break;
		}
	}
	return error;
}

static struct pool_addr *emptiest(struct engine *e)
{
	struct pool_addr *best = NULL;

	for (uint32_t i = 0; i < SAMPLES; i++) {
		uint32_t k = e->n_shared <= SAMPLES
				     ? i % e->n_shared
				     : random_below(&e->random, e->n_shared);
		struct pool_addr *a = e->shared[k];

		if (best == NULL || a->free > best->free ||
			(a->free == best->free && a->n_binds < best->n_binds))
			best = a;
	}
	return best;
}

static uint16_t try_all(struct engine *e, struct place *p, uint16_t error)
{
	uint32_t start = random_below(&e->random, e->n_shared);

	for (uint32_t i = 0; i < e->n_shared && p->addr == NULL; i++) {
		error = further(error,
			try_addr(e, p, e->shared[(start + i) % e->n_shared], false));
		if (error == RSIP_IPSEC_SPI_UNAVAILABLE && exceeds_spis(p))
			break; /* a quota: no address will change that */
	}
	return error;
}

/* Ports are scarce: where they have rested longest. */
static uint16_t try_scarce(struct engine *e, struct place *p)
{
	struct pool_addr *oldest = NULL;

	for (uint32_t i = 0; i < e->n_shared; i++) {
		struct pool_addr *a = e->shared[i];

		if (a->resting.first == NULL || a->owner != NULL ||
			check_ports(p, a, true) != 0)
			continue;
		if (oldest == NULL || a->resting.first->timer.at_ms <
					      oldest->resting.first->timer.at_ms)
			oldest = a;
	}
	return oldest != NULL ? try_addr(e, p, oldest, true)
			      : RSIP_LOCAL_ADDRPORT_UNAVAILABLE;
}

static uint16_t find_any(struct engine *e, struct place *p)
{
	uint16_t error;

	if (e->n_shared == 0 || p->v6)
		return RSIP_LOCAL_ADDR_UNAVAILABLE;
	if (p->port_form != FORM_BLOCK && exceeds_ports(p))
		return RSIP_LOCAL_ADDRPORT_UNAVAILABLE;
	error = try_own(e, p, 0);
	if (p->addr == NULL)
		error = further(error, try_addr(e, p, emptiest(e), false));
	if (p->addr == NULL)
		error = try_all(e, p, error);
	if (p->addr == NULL && error == RSIP_LOCAL_ADDRPORT_UNAVAILABLE &&
		p->port_form == FORM_DONT_CARE && !exceeds_ports(p))
		error = try_scarce(e, p);
	return p->addr != NULL ? 0 : error;
}

/* --- a named address --- */

/* A listener on an address that the host has as a whole: a note (RFC 3103 9.16). */
static bool try_listen_whole(struct engine *e, struct place *p, struct pool_addr *a)
{
	if (p->method != METHOD_LISTEN || a->owner == NULL || a->owner->reg != p->reg)
		return false;
	if (p->port_form == FORM_DONT_CARE) {
		if (a->pool == NULL)
			return false;
		p->ports = e->port_scratch;
		p->n_port_ranges =
			ports_pick(&a->pool->any, NULL, p->n_ports, &e->random, p->ports);
		if (p->n_port_ranges == 0)
			return false;
	}
	p->addr = a;
	return true;
}

static uint16_t find_named(struct engine *e, struct place *p)
{
	struct pool_addr *a = p->v6 ? NULL : pool_find(e, p->address);
	uint16_t error;

	if (a != NULL && try_listen_whole(e, p, a))
		return exceeds_ports(p) ? RSIP_LOCAL_ADDRPORT_UNAVAILABLE : 0;
	if (e->n_shared == 0)
		return RSIP_LOCAL_ADDR_UNAVAILABLE;
	if (a == NULL || a->pool == NULL)
		return RSIP_LOCAL_ADDR_UNALLOWED;
	if (a->owner != NULL)
		return RSIP_LOCAL_ADDR_INUSE;
	if (!is_shared(a))
		return RSIP_LOCAL_ADDR_UNALLOWED;
	error = try_addr(e, p, a, false);
	if (error == RSIP_LOCAL_ADDRPORT_UNAVAILABLE)
		error = try_addr(e, p, a, true);
	return error;
}

/* --- a whole address --- */

static uint16_t find_whole(struct engine *e, struct place *p)
{
	struct pool_addr *a;

	if (e->n_dedicated_free == 0 || (p->v6 && !p->named) ||
		p->reg->n_binds >= p->reg->policy->max_bindings ||
		p->reg->n_addresses >= ADDRESSES_MAX)
		return RSIP_LOCAL_ADDR_UNAVAILABLE;
	if (!p->named) {
		p->addr = pool_pick_whole(e);
		return 0;
	}
	a = p->v6 ? NULL : pool_find(e, p->address);
	if (a == NULL || a->pool == NULL)
		return RSIP_LOCAL_ADDR_UNALLOWED;
	if (!pool_is_idle(a))
		return RSIP_LOCAL_ADDR_INUSE;
	if (!a->dedicated)
		return RSIP_LOCAL_ADDR_UNALLOWED;
	p->addr = a;
	return 0;
}

uint16_t place_find(struct engine *e, struct place *p)
{
	if (p->method == METHOD_RSA_IP)
		return find_whole(e, p);
	return p->named ? find_named(e, p) : find_any(e, p);
}

bool place_exceeds_quota(const struct place *p)
{
	if (p->method == METHOD_RSA_IP)
		return p->reg->n_binds >= p->reg->policy->max_bindings ||
		       p->reg->n_addresses >= ADDRESSES_MAX;
	return exceeds_ports(p) || exceeds_spis(p);
}
