#pragma once

#include "engine/engine.h"

/*
 * For tests: does everything in the engine tell the same story?  Nothing held twice or
 * held and resting at once; held + resting + free = pool; every lease's client registered
 * and his registration not shorter than his lease; quotas, counters and timers add up.
 * 0, or -1 and the first contradiction in `why`.  Slow: addresses times leases.
 */
int engine_invariants(const struct engine *e, char *why, size_t why_size);
