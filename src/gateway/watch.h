#pragma once

#include "base/limit.h"

/*
 * Who held the loop: each piece of work between two waits is timed, and the longest of a
 * turn that took too long is named in the log.
 */
#define WATCH_SLOW_MS 100

struct watch {
	const char *current; /* NULL: none of ours */
	uint64_t began_ns;   /* of the current piece */
	const char *longest; /* of this turn */
	uint64_t longest_ns;
	uint64_t slow; /* turns that took too long */
	struct limit log;
};

void watch_begin(struct watch *w, const char *what);
void watch_end(struct watch *w);
/* A piece that was timed elsewhere. */
void watch_note(struct watch *w, const char *what, uint64_t took_ns);
/*
 * The work since the loop woke up is done.  woke_ms: uv_now(), which the loop reads when
 * it wakes and before its timers.
 */
void watch_turn(struct watch *w, uint64_t woke_ms);
