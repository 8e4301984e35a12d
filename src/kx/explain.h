#pragma once

#include "kx/decide.h"
#include "kx/resolve.h"

#include <jansson.h>

/*
 * What would be decided about a name or an address, and on what: one run of the decision
 * with real look-ups and no effect.  `rsip kx` and rsip-kxd share it.
 *
 * EXPLANATION = { "target", "lookups": [ { "name", "type", "status", "ttl", "records": [
 *   text ... ], "canonical": NAME or null, "why": text, "ms": NUMBER } ... ],
 *   "status": "secure" | "failed" | "insecure" | "bogus", "decision": "connect" |
 * "direct" | "none", "reason": word, "text": sentence, "exchangers": [ { "name",
 * "addresses", "port" or null, "keys": [ { "algorithm", "key" } ] } ... ] in the order of
 * trial, "policy": group or null }
 *
 * A name is taken as one that the operator vouches for (no reverse look-up); its KX
 * records are then the question.
 */
struct kx_explain;

typedef void (*kx_explain_done)(void *ctx, json_t *explanation);

/*
 * done is called once, from the loop, and owns the explanation (NULL: no memory).  conf
 * gives what a gateway knows about itself, or is zero.  ERR_MALFORMED: target is neither.
 */
int kx_explain_new(uv_loop_t *loop, struct kx_resolve *r, const struct kx_conf *conf,
	const char *target, struct kx_explain **explain, kx_explain_done done, void *ctx);
/* Stops and frees; NULL is allowed.  Not called from done, which frees by itself. */
void kx_explain_free(struct kx_explain *e);
