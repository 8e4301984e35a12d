#pragma once

#include "ike/enfy.h"

#include <uv.h>

/*
 * A reader of charon's error-notify socket on the program's loop; where nobody listens it
 * tries again each second.
 */

struct notify;

struct notify_conf {
	const char *path; /* must outlive the reader */
	void *ctx;
	void (*said)(void *ctx, const struct enfy *e);
	void (*rubbish)(void *ctx); /* a record that does not read as one */
	void (*state)(void *ctx, bool up);
};

/* 0 or -ENOMEM. */
int notify_new(uv_loop_t *loop, const struct notify_conf *conf, struct notify **notify);
/* No call-back comes afterwards; memory goes with the loop's close call-backs. */
void notify_free(struct notify *n);
