#pragma once

#include "base/addr.h"
#include "base/random.h"

#include <stdbool.h>

/* Sets of port numbers as bitmaps, and the choice of free ones. */

#define PORTS_WORDS 1024
#define PORTS_MAX   255 /* ports of one request (RFC 3103 8.2) */

struct ports {
	uint64_t word[PORTS_WORDS];
};

static inline bool ports_have(const struct ports *p, uint32_t port)
{
	return (p->word[port / 64] >> (port % 64)) & 1;
}
static inline void ports_put(struct ports *p, uint32_t port)
{
	p->word[port / 64] |= 1ULL << (port % 64);
}
static inline void ports_drop(struct ports *p, uint32_t port)
{
	p->word[port / 64] &= ~(1ULL << (port % 64));
}
uint32_t ports_count(const struct ports *p);

/*
 * Choose n ports (1..PORTS_MAX) of `usable` that are not in `busy`: a block that starts
 * at a multiple of the smallest power of two >= n, at a random place, where one is free;
 * else any contiguous block; else single ones.  Writes sorted, disjoint ranges (room for
 * n) and returns their number, or 0 when fewer than n are free.  NULL `busy`: none is.
 */
size_t ports_pick(const struct ports *usable, const struct ports *busy, uint32_t n,
	struct random *random, struct range *out);
