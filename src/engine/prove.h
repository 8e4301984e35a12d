#pragma once

#include "engine/state.h"

/*
 * May who sent this speak for its source address, which `r` (or NULL) is registered for?
 * Judged by the configuration and by who registered.  False: its message is a stranger's,
 * who gets 304 and 301, and whose errors are rationed.
 */
bool prove_is_host(const struct engine *e, const struct reg *r, const struct peer *from);
/* A request that passed belongs to a session: from now on only this one may go on. */
void prove_settle(struct engine *e, struct reg *r, const struct peer *from);
/* May this host ask again already, by its policy's request rate? */
bool prove_may_ask(struct reg *r, uint64_t now_ms);
