#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/*
 * A configuration on trial: taken from a text, not from the file, and given up again for
 * the former one unless somebody confirms it in time.  rsipd writes no configuration: who
 * confirms it puts it into the file.
 */
struct rsipd;

struct trial {
	uv_timer_t timer;
	char *former; /* the text to go back to; NULL: nothing is on trial */
};

#define TRIAL_MAX_S 86400

void trial_init(struct trial *t, struct rsipd *d, uv_loop_t *loop);
/*
 * Take this text for `seconds`; a trial under way goes on with it, and back to where that
 * began.  0, or a negative code with nothing changed and the sentence in why.
 */
int trial_begin(
	struct rsipd *d, const char *text, uint32_t seconds, char *why, size_t why_size);
/* Now it holds.  ERR_NOTFOUND: nothing is on trial. */
int trial_confirm(struct rsipd *d);
/* The file was read again, which ends a trial. */
void trial_forget(struct trial *t);
/* Seconds left; 0: nothing is on trial. */
uint32_t trial_left(const struct trial *t);
