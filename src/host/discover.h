#pragma once

#include "host/ops.h"

/*
 * The gateway of a command: the one that is named, or one that is there already, at once;
 * else one that is found (F-3.5-04) and registers us, the next one where it does not
 * (A-L-10).  done() is called once, perhaps before this returns; gw is NULL with an error
 * code and the reason.  `ask` is not used afterwards.
 */
void discover(struct host *h, const struct ask *ask,
	void (*done)(void *ctx, struct gw *gw, int err, const char *why), void *ctx);
