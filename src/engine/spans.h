#pragma once

#include "base/addr.h"

#include <stdbool.h>

/*
 * A sorted set of disjoint number ranges, for SPIs of which one host may hold thousands:
 * one node a range, never one a number.  Every call costs the logarithm of the ranges.
 */

struct span {
	uint32_t lo, hi;
	uint32_t priority;
	uint64_t numbers; /* of this node and all below it */
	struct span *kid[2];
};

struct spans {
	struct span *root;
	size_t n;
};

/* Nodes in reserve: shared by all sets of an engine. */
struct span_stock {
	struct span *spare;
	size_t n;
};

/* Have room for `more` spans_add(); 0 or -ENOMEM. */
int span_stock_reserve(struct span_stock *stock, size_t more);
void span_stock_fini(struct span_stock *stock);

/* Needs a node in stock and no overlap.  `priority` is a random number. */
void spans_add(
	struct spans *s, struct span_stock *stock, struct range r, uint32_t priority);
/* Take out the range that begins at lo. */
void spans_del(struct spans *s, struct span_stock *stock, uint32_t lo);
void spans_clear(struct spans *s, struct span_stock *stock);

/* The first range that reaches into r; NULL when r is free. */
const struct span *spans_overlap(const struct spans *s, struct range r);
/* How many numbers below x are in the set. */
uint64_t spans_below(const struct spans *s, uint64_t x);
/*
 * The number that k numbers outside of the set precede: 0 finds the smallest one that is
 * free.
 */
uint64_t spans_free_at(const struct spans *s, uint64_t k);
