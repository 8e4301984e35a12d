#pragma once

#include "kx/decide.h"

#include <jansson.h>

/*
 * The control socket of rsip-kxd (framing and errors: ipc/ipc.h), as rsip(1) uses it.
 *
 *   Show    {} => { "pairs": [ PAIR ... ], "counters": { NAME: NUMBER ... },
 *                   "uptime": SECONDS }
 *   Explain { "target": NAME or ADDRESS } => EXPLANATION: fresh look-ups, nothing is
 *           changed by it
 *   Flush   { ["source": ADDRESS, "destination": ADDRESS] } => { "forgotten": NUMBER }
 *   Open    {} => { "removed": NUMBER }: takes the traps and shunts out of the kernel,
 *           so that traffic passes in clear until the daemon is started anew
 *
 * PAIR = { "source", "destination", "state", "group" or null, "name" or null,
 *          "exchanger" or null, "reason": word, "text": sentence, "remaining": SECONDS,
 *          "failures": NUMBER }
 * EXPLANATION: kx/explain.h.
 */
#define KXD_SOCKET  "/run/rsip/rsip-kxd.sock"
#define KXD_SHOW    "org.rsipsec.kx.Show"
#define KXD_EXPLAIN "org.rsipsec.kx.Explain"
#define KXD_FLUSH   "org.rsipsec.kx.Flush"
#define KXD_OPEN    "org.rsipsec.kx.Open"

/* The answer to Show; NULL: no memory.  Owned by the caller. */
json_t *kx_control_show(const struct kx *kx, uint64_t now_ms, uint64_t started_ms);
