#pragma once

#include "engine/state.h"

/*
 * The addresses that are leased out, and what of them is free, held or resting.  Nothing
 * here knows hosts or requests, except that an address leased whole has an owner.
 */

/*
 * Take a configuration's pools in place of those before, if any; `conf` must outlive
 * them.  0, or nothing changed: -ENOMEM, or ERR_NOSPACE for more than 2^20 addresses.
 */
int pool_reload(struct engine *e, const struct engine_conf *conf);
void pool_fini(struct engine *e);

/* The address if it is leased out or still has holders. */
struct pool_addr *pool_find(const struct engine *e, uint32_t address);
/* Likewise, or one made for a holder of an address that no pool has; NULL: no memory. */
struct pool_addr *pool_find_or_drain(struct engine *e, uint32_t address);

/* The addresses of a prefix that may be leased: without network and broadcast. */
struct range pool_hosts(const struct prefix4 *p);

/* Nobody holds anything of it and nothing rests. */
bool pool_is_idle(const struct pool_addr *a);
bool pool_has_port(const struct pool_addr *a, uint32_t port);
bool pool_is_busy(const struct pool_addr *a, uint32_t port);

/* Have room for a bitmap of ports; 0 or -ENOMEM. */
int pool_reserve_ports(struct pool_addr *a);
/* Mark free ports as taken (held or resting), and taken ones as free. */
void pool_hold_ports(struct pool_addr *a, struct range r);
void pool_free_ports(struct pool_addr *a, struct range r);

/*
 * Choose n SPIs for "any n" (RFC 3104 6.2): under 16 single random ones, from 16 on one
 * block whose start is a multiple of the smallest power of two >= n, at a random place.
 * Sorted ranges to `out` (room for 16); their number, 0 when there are not enough.
 */
size_t pool_pick_spis(
	struct engine *e, const struct pool_addr *a, uint32_t n, struct range *out);
/* Are all of r leasable by the pool's configuration? */
bool pool_has_spis(const struct pool_addr *a, struct range r);

/* A free address for RSA-IP at random, NULL when none is. */
struct pool_addr *pool_pick_whole(struct engine *e);
/* Something of it is held or rests now: it is not free as a whole. */
void pool_claim(struct engine *e, struct pool_addr *a);
/*
 * After something of an address ended: it may be leased whole again, or, drained, it is
 * forgotten (`a` is gone then).
 */
void pool_settle(struct engine *e, struct pool_addr *a);
