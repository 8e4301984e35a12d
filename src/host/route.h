#pragma once

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Which routes send the rest of the world into a tunnel and keep everything else where it
 * was.  Pure: routes in, routes out.
 */
struct route4 {
	struct prefix4 dst;
	int oif;
	uint32_t via; /* 0: on the link */
	uint32_t src; /* preferred source; 0: the kernel's choice */
	uint32_t metric;
};

struct route_wish {
	const uint32_t *ends; /* gateways and tunnel endpoints, outside every tunnel */
	size_t n_ends;
	const struct prefix4 *locals; /* networks that the gateway calls local */
	size_t n_locals;
	int tunnel_if;   /* takes the rest; 0: nothing does */
	uint32_t leased; /* source address there; 0: none held at the moment */
};

/* The route that a packet to addr takes: longest prefix, then lowest metric; or NULL. */
const struct route4 *route_find(const struct route4 *r, size_t n, uint32_t addr);

/*
 * What to add to `now` (which holds none of our routes) at most n_ends + n_locals + 1
 * routes.  A destination that has a route of its own already gets none; one that had only
 * the default route gets that way spelled out, with the source it had, so that the
 * tunnel's default does not take it.  Returns how many.
 */
size_t route_plan(const struct route4 *now, size_t n, const struct route_wish *wish,
	struct route4 *out);

bool route_equal(const struct route4 *a, const struct route4 *b);
