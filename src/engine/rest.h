#pragma once

#include "engine/state.h"

/*
 * Hold-down: what was released rests before it is leased again (RFC 3102 6.1), so that a
 * late packet of the old flow does not reach a stranger.
 */

/*
 * Let a range that is marked as taken rest; frees it at once when the pool has no
 * hold-down (or, rather than lose it for ever, when memory is short).  The caller has
 * taken it off the held counts.
 */
void rest_add(struct engine *e, struct pool_addr *a, enum rest_kind kind, struct range r,
	uint64_t now_ms);
/* Put one back from the store; the range must be free.  0 or -ENOMEM. */
int rest_restore(struct engine *e, struct pool_addr *a, enum rest_kind kind,
	struct range r, uint64_t until_ms);
/* It has rested. `r` and perhaps its address are gone then. */
void rest_end(struct engine *e, struct rest *r);

/* Could rest_reclaim() free that many? */
bool rest_has(const struct pool_addr *a, uint32_t n);
/* End the rest of n ports of "any n", those that rest longest first. */
void rest_reclaim(struct engine *e, struct pool_addr *a, uint32_t n);
