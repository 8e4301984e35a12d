/*
 * Ranges in a treap: a search tree by number that stays shallow because it is also a heap
 * by random priorities.  Each node counts the numbers below it, so that "the k-th free
 * number" is a walk down and every free SPI is as likely as the next.
 */
#include "engine/spans.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int span_stock_reserve(struct span_stock *stock, size_t more)
{
	while (stock->n < more) {
		struct span *s = malloc(sizeof(*s));

		if (s == NULL)
			return -ENOMEM;
		s->kid[0] = stock->spare;
		stock->spare = s;
		stock->n++;
	}
	return 0;
}

void span_stock_fini(struct span_stock *stock)
{
	while (stock->spare != NULL) {
		struct span *s = stock->spare;

		stock->spare = s->kid[0];
		free(s);
	}
	stock->n = 0;
}

/* A few nodes stay at hand, the others go back, so that a burst does not stay in memory.
 */
#define STOCK_KEPT 1024

static void stock_give(struct span_stock *stock, struct span *s)
{
	if (stock->n >= STOCK_KEPT) {
		free(s);
		return;
	}
	s->kid[0] = stock->spare;
	stock->spare = s;
	stock->n++;
}

static uint64_t numbers(const struct span *s)
{
	return s != NULL ? s->numbers : 0;
}

static uint64_t own(const struct span *s)
{
	return (uint64_t)s->hi - s->lo + 1;
}

static void recount(struct span *s)
{
	s->numbers = own(s) + numbers(s->kid[0]) + numbers(s->kid[1]);
}

/* The recursions below are as deep as the tree: the logarithm of its ranges. */
/* NOLINTBEGIN(misc-no-recursion) */

/* Into those that begin below lo and the others. */
static void split(struct span *s, uint32_t lo, struct span **below, struct span **above)
{
	if (s == NULL) {
		*below = *above = NULL;
	} else if (s->lo < lo) {
		split(s->kid[1], lo, &s->kid[1], above);
		recount(s);
		*below = s;
	} else {
		split(s->kid[0], lo, below, &s->kid[0]);
		recount(s);
		*above = s;
	}
}

static struct span *join(struct span *below, struct span *above)
{
	if (below == NULL)
		return above;
	if (above == NULL)
		return below;
	if (below->priority > above->priority) {
		below->kid[1] = join(below->kid[1], above);
		recount(below);
		return below;
	}
	above->kid[0] = join(below, above->kid[0]);
	recount(above);
	return above;
}

static void clear(struct span *s, struct span_stock *stock)
{
	if (s == NULL)
		return;
	clear(s->kid[0], stock);
	clear(s->kid[1], stock);
	stock_give(stock, s);
}

/* NOLINTEND(misc-no-recursion) */

void spans_add(
	struct spans *s, struct span_stock *stock, struct range r, uint32_t priority)
{
	struct span *node = stock->spare;

	assert(node != NULL);
	stock->spare = node->kid[0];
	stock->n--;
	*node = (struct span){ .lo = r.lo, .hi = r.hi, .priority = priority };

	struct span **at = &s->root;
	while (*at != NULL && (*at)->priority >= priority) {
		(*at)->numbers += own(node);
		at = &(*at)->kid[(*at)->lo < r.lo];
	}
	split(*at, r.lo, &node->kid[0], &node->kid[1]);
	recount(node);
	*at = node;
	s->n++;
}

void spans_del(struct spans *s, struct span_stock *stock, uint32_t lo)
{
	const struct span *gone = spans_overlap(s, (struct range){ lo, lo });
	struct span **at = &s->root;

	assert(gone != NULL && gone->lo == lo);
	while (*at != gone) {
		(*at)->numbers -= own(gone);
		at = &(*at)->kid[(*at)->lo < lo];
	}
	struct span *node = *at;
	*at = join(node->kid[0], node->kid[1]);
	s->n--;
	stock_give(stock, node);
}

void spans_clear(struct spans *s, struct span_stock *stock)
{
	clear(s->root, stock);
	*s = (struct spans){ 0 };
}

const struct span *spans_overlap(const struct spans *s, struct range r)
{
	const struct span *found = NULL;

	for (const struct span *at = s->root; at != NULL;) {
		if (at->hi >= r.lo) {
			found = at;
			at = at->kid[0];
		} else {
			at = at->kid[1];
		}
	}
	return found != NULL && found->lo <= r.hi ? found : NULL;
}

uint64_t spans_below(const struct spans *s, uint64_t x)
{
	uint64_t n = 0;

	for (const struct span *at = s->root; at != NULL;) {
		if (at->lo >= x) {
			at = at->kid[0];
		} else {
			uint64_t end = at->hi < x ? (uint64_t)at->hi + 1 : x;

			n += numbers(at->kid[0]) + (end - at->lo);
			at = at->kid[1];
		}
	}
	return n;
}

uint64_t spans_free_at(const struct spans *s, uint64_t k)
{
	uint64_t used = 0; /* numbers in ranges left of where we stand */

	for (const struct span *at = s->root; at != NULL;) {
		uint64_t left = used + numbers(at->kid[0]);

		if (k < at->lo - left) {
			at = at->kid[0];
		} else {
			used = left + own(at);
			at = at->kid[1];
		}
	}
	return k + used;
}
