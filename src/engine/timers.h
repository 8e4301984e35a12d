#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Everything that ends by itself, soonest first.  A timer is embedded in what it ends;
 * setting and unsetting cost the logarithm of their number, the first one nothing.
 */

enum timer_kind { TIMER_REG, TIMER_BIND, TIMER_REST, TIMER_TOMB, TIMER_WAIT, TIMER_NAME };

struct timer {
	uint64_t at_ms;
	uint32_t place; /* in the heap, counted from 1; 0: not running */
	enum timer_kind kind;
};

struct timers {
	struct timer_slot *slots;
	uint32_t n, size;
};

/* Room for `more` new timers, so that as many timers_set() cannot fail; 0 or -ENOMEM. */
int timers_reserve(struct timers *ts, uint32_t more);
void timers_fini(struct timers *ts);

/* Start, or move when it runs.  Starting needs room. */
void timers_set(struct timers *ts, struct timer *t, uint64_t at_ms);
/* Nothing when it does not run. */
void timers_unset(struct timers *ts, struct timer *t);

/* The one that ends next, NULL when none runs. */
struct timer *timers_first(const struct timers *ts);

/* How many run, and each of them, in no order. */
size_t timers_count(const struct timers *ts);
struct timer *timers_at(const struct timers *ts, size_t i);
