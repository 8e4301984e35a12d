/*
 * Token bucket.  Counts what is spent, not what is left, so that zeroed storage is full.
 */
#include "base/limit.h"

bool limit_take(struct limit *l, uint32_t per_s, uint32_t burst, uint64_t now_ms)
{
	uint64_t elapsed_ms = now_ms > l->last_ms ? now_ms - l->last_ms : 0;
	uint64_t cap = (uint64_t)burst * 1000;
	/* Bounded first: a long pause times a high rate would overflow. */
	uint64_t refill = elapsed_ms > cap ? cap : elapsed_ms * per_s;

	l->spent_milli =
		refill >= l->spent_milli ? 0 : (uint32_t)(l->spent_milli - refill);
	l->last_ms = now_ms;
	if (l->spent_milli + 1000ULL > cap)
		return false;
	l->spent_milli += 1000;
	return true;
}
