#pragma once

#include "engine/state.h"

/* Duplicates, counters and last answers over UDP (RFC 3103 section 10.1). */

/* A byte-identical repetition of the last request: answered again from memory. */
bool replay_is_duplicate(struct engine *e, const struct reg *r, const struct peer *from,
	const uint8_t *bytes, size_t len, uint64_t now_ms);

enum replay_verdict { REPLAY_NEW, REPLAY_STALE };
/* Is the counter of a request newer than the session's?  Counts gaps and stale ones. */
enum replay_verdict replay_judge(struct engine *e, const struct request *q);

/*
 * The session moves to this request: its counter, its port, and over UDP its answer for
 * a repetition.
 */
void replay_moved(struct engine *e, struct request *q, const uint8_t *answer, size_t len);
/* Likewise before the answer is known, when the request has to wait. */
void replay_waits(struct engine *e, struct request *q);
/* The host follows a new port or connection. */
void replay_follow(struct engine *e, struct reg *r, const struct peer *from);
void replay_conn_closed(struct engine *e, uint64_t conn);

/* Keep the answer to a DE-REGISTER_REQUEST, whose session is gone, for 10 s. */
void replay_bury(
	struct engine *e, const struct request *q, const uint8_t *answer, size_t len);
void replay_tomb_end(struct engine *e, struct tomb *t);
void replay_last_fini(struct last *l);
