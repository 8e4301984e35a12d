#pragma once

#include "engine/effect.h"

/*
 * The leases that have ended, for the question who had something at a time of the past.
 * In memory, the oldest forgotten first: a host can neither fill the memory nor stop the
 * gateway by leasing and freeing.
 */
#define HISTORY_LEASES 65536UL   /* remembered at most */
#define HISTORY_RANGES 1048576UL /* of ports and SPIs, in all of them */

struct ended;

struct history {
	struct ended *ring; /* HISTORY_LEASES, made with the first */
	uint32_t next;      /* number of the next one to end; numbers wrap */
	uint32_t n;
	size_t ranges;
};

/* What is short of memory is not remembered. */
void history_add(struct history *h, const struct lease *l, uint64_t ended_ms);
/*
 * Each that is remembered, the oldest first, until the function says false.  A lease's
 * expires_ms is when it ended.
 */
void history_each(const struct history *h,
	bool (*each)(void *ctx, uint32_t number, const struct lease *l), void *ctx);
/* NULL when that one is forgotten. */
const struct lease *history_find(const struct history *h, uint32_t number);
void history_fini(struct history *h);
