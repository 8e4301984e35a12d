#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Token bucket on the caller's clock.  Zeroed storage is a full bucket. */
struct limit {
	uint64_t last_ms;
	uint32_t spent_milli; /* tokens used and not yet refilled, in thousandths */
};

/* May one more pass, at per_s tokens a second and at most burst at once? */
bool limit_take(struct limit *l, uint32_t per_s, uint32_t burst, uint64_t now_ms);
