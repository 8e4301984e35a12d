#pragma once

#include "kx/answer.h"

#include <uv.h>

/*
 * Look-ups through libunbound: validation in this process from a trust anchor, in one
 * worker thread, answers in the loop.  Never blocks.  The process must not fork without
 * exec while a resolver exists, so open it after going to the background.
 */

struct kx_resolve_conf {
	const char *config;  /* unbound.conf(5) syntax, read over our settings; NULL: none
			      */
	const char *anchor;  /* trust anchors (zone file form); NULL: Debian's
				/usr/share/dns/root.key; "" : none, and everything is
				insecure */
	const char *forward; /* "ADDRESS[@PORT]" of a resolver that hands on DNSSEC
				records; NULL: ask the authoritative servers */
	const char *zones;   /* directory of signed zone files ("root.zone", "NAME.zone"):
				answer from these alone, without a socket (tests); NULL */
	const char *now;     /* fixed time of validation, YYYYMMDDHHMMSS; NULL: the clock
			      */
	uint32_t in_flight;  /* look-ups at a time; 0: 384 */
};

struct kx_resolve;

/* Called once in the loop, unless cancelled before. */
typedef void (*kx_resolve_done)(void *ctx, uint32_t id, const struct kx_answer *answer);

/* 0, or a code with the sentence in why. */
int kx_resolve_new(uv_loop_t *loop, const struct kx_resolve_conf *conf,
	struct kx_resolve **resolve, char *why, size_t why_size);
/* Nothing is called any more; the memory goes when the loop has run. NULL is allowed. */
void kx_resolve_free(struct kx_resolve *r);

/*
 * One look-up, over at deadline_ms (uv_now() of the loop) at the latest with KX_ERROR; id
 * is the caller's, unique among those under way.  ERR_NOSPACE: too many are under way;
 * done is then not called.
 */
int kx_resolve_ask(struct kx_resolve *r, uint32_t id, const struct kx_name *name,
	uint16_t type, uint64_t deadline_ms, kx_resolve_done done, void *ctx);
/* Not known any more: nothing happens. */
void kx_resolve_cancel(struct kx_resolve *r, uint32_t id);
size_t kx_resolve_count(const struct kx_resolve *r);
/* For callers that share a resolver: an id that kx_step() never uses (those are below
 * 2^31) and nobody else got. */
uint32_t kx_resolve_id(struct kx_resolve *r);
