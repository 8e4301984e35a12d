/*
 * The loop's watchdog.  One thread serves everybody, so a piece of work that takes 100 ms
 * has cost some host its third retransmission; it is named, but not more than once in ten
 * seconds.
 */
#include "gateway/watch.h"

#include "base/log.h"

#include <inttypes.h>
#include <stddef.h>
#include <uv.h>

#define NS_A_MS 1000000

void watch_begin(struct watch *w, const char *what)
{
	w->current = what;
	w->began_ns = uv_hrtime();
}

void watch_note(struct watch *w, const char *what, uint64_t took_ns)
{
	if (took_ns <= w->longest_ns)
		return;
	w->longest_ns = took_ns;
	w->longest = what;
}

void watch_end(struct watch *w)
{
	if (w->current != NULL)
		watch_note(w, w->current, uv_hrtime() - w->began_ns);
	w->current = NULL;
}

void watch_turn(struct watch *w, uint64_t woke_ms)
{
	uint64_t now_ns = uv_hrtime(), woke_ns = woke_ms * NS_A_MS;
	uint64_t took = now_ns > woke_ns ? now_ns - woke_ns : 0;

	if (took > (uint64_t)WATCH_SLOW_MS * NS_A_MS) {
		/* Control and metrics are not timed one by one. */
		const char *what =
			w->longest_ns > took / 2 ? w->longest : "control or metrics";

		w->slow++;
		/* One a second on a clock ten times as slow. */
		if (limit_take(&w->log, 1, 1, now_ns / NS_A_MS / 10))
			log_warn("slow turn of the loop",
				"ms=%" PRIu64 " most_in=\"%s\" so_far=%" PRIu64,
				took / NS_A_MS, what, w->slow);
	}
	w->longest = NULL;
	w->longest_ns = 0;
}
