#pragma once

#include "engine/state.h"

/* Names: requests that wait for their addresses, and the addresses of bindings. */

/*
 * Let the request wait for this name, the first in it that matters; or drop it, when
 * another request of its host waits already, and the host will repeat it.  False when it
 * can't wait: too many do.
 */
bool wait_begin(struct engine *e, struct request *q, const struct wire_addr *name);
/* Its deadline: what is not known by now counts as a name without addresses. */
void wait_give_up(struct engine *e, struct waiting *w, uint64_t now_ms);
/* Its registration ends, and nothing of it is answered. */
void wait_drop(struct engine *e, struct waiting *w);
void wait_fini(struct waiting *w);
void wait_conn_closed(struct engine *e, uint64_t conn);

/* A repetition of the request that waits: counted and dropped (RFC 3103 10.1). */
bool wait_is_duplicate(
	struct engine *e, const struct reg *r, const uint8_t *bytes, size_t len);
/* Over TCP: does it have to wait behind another?  It was kept then. */
bool wait_turn(struct engine *e, const struct peer *from, const uint8_t *bytes,
	size_t len, uint64_t now_ms);

/* The name of a new binding's remote; needs room for a timer.  0 or -ENOMEM. */
int name_add(struct engine *e, struct bind *b, const char *name, uint8_t len);
void name_start(struct engine *e, struct named *n, uint64_t now_ms);
void name_ask(struct engine *e, struct named *n, uint64_t now_ms);
void name_drop(struct engine *e, struct named *n);
