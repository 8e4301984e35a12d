#pragma once

#include "engine/state.h"

/* What the engine says: answers, errors, and messages of its own. */

/*
 * Answer a request: puts in the counter, encodes, remembers the bytes for duplicates when
 * the request moves the session, sends.  `m` has all else.
 */
void reply_send(struct engine *e, struct request *q, struct wire_msg *m);

/* ERROR_RESPONSE with the IDs that belong to this number (RFC 3103 9.1). */
void reply_error(struct engine *e, struct request *q, uint16_t error);

/*
 * A message nobody asked for: counter 0 where the host uses counters (RFC 3103 10.1);
 * nothing over TCP without a connection.
 */
void reply_async(struct engine *e, const struct reg *r, struct wire_msg *m);
void reply_async_free(struct engine *e, const struct reg *r, uint32_t bind_id);
void reply_async_deregister(struct engine *e, const struct reg *r);
