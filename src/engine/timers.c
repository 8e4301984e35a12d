/*
 * Timers: a heap with four children a node.  The times stand in the heap itself and four
 * of them share a cache line, so that a million leases cost ten lines to walk, not
 * twenty.
 */
#include "engine/timers.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define KIDS       4U
#define SIZE_LEAST 64U

struct timer_slot {
	uint64_t at_ms;
	struct timer *timer;
};

int timers_reserve(struct timers *ts, uint32_t more)
{
	uint32_t need = ts->n + more;
	uint32_t size = ts->size > 0 ? ts->size : SIZE_LEAST;

	if (need <= ts->size)
		return 0;
	while (size < need)
		size *= 2;
	struct timer_slot *slots = realloc(ts->slots, size * sizeof(*slots));
	if (slots == NULL)
		return -ENOMEM;
	ts->slots = slots;
	ts->size = size;
	return 0;
}

void timers_fini(struct timers *ts)
{
	free(ts->slots);
	*ts = (struct timers){ 0 };
}

static void put(struct timers *ts, uint32_t i, struct timer_slot slot)
{
	ts->slots[i] = slot;
	slot.timer->place = i + 1;
}

static void rise(struct timers *ts, uint32_t i, struct timer_slot slot)
{
	while (i > 0) {
		uint32_t parent = (i - 1) / KIDS;

		if (ts->slots[parent].at_ms <= slot.at_ms)
			break;
		put(ts, i, ts->slots[parent]);
		i = parent;
	}
	put(ts, i, slot);
}

static uint32_t least_kid(const struct timers *ts, uint32_t i)
{
	uint32_t first = i * KIDS + 1;
	uint32_t least = first;

	for (uint32_t k = first + 1; k < first + KIDS && k < ts->n; k++)
		if (ts->slots[k].at_ms < ts->slots[least].at_ms)
			least = k;
	return least;
}

static void sink(struct timers *ts, uint32_t i, struct timer_slot slot)
{
	while (i * KIDS + 1 < ts->n) {
		uint32_t kid = least_kid(ts, i);

		if (ts->slots[kid].at_ms >= slot.at_ms)
			break;
		put(ts, i, ts->slots[kid]);
		i = kid;
	}
	put(ts, i, slot);
}

static void place(struct timers *ts, uint32_t i, struct timer_slot slot)
{
	if (i > 0 && ts->slots[(i - 1) / KIDS].at_ms > slot.at_ms)
		rise(ts, i, slot);
	else
		sink(ts, i, slot);
}

void timers_set(struct timers *ts, struct timer *t, uint64_t at_ms)
{
	t->at_ms = at_ms;
	if (t->place == 0) {
		assert(ts->n < ts->size);
		t->place = ++ts->n;
	}
	place(ts, t->place - 1, (struct timer_slot){ at_ms, t });
}

void timers_unset(struct timers *ts, struct timer *t)
{
	if (t->place == 0)
		return;
	uint32_t hole = t->place - 1;
	struct timer_slot last = ts->slots[--ts->n];

	t->place = 0;
	if (hole < ts->n)
		place(ts, hole, last);
}

struct timer *timers_first(const struct timers *ts)
{
	return ts->n > 0 ? ts->slots[0].timer : NULL;
}

size_t timers_count(const struct timers *ts)
{
	return ts->n;
}

struct timer *timers_at(const struct timers *ts, size_t i)
{
	return ts->slots[i].timer;
}
