#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/*
 * Names to IPv4 addresses, by the system's resolver and so with /etc/hosts, in threads of
 * the loop's pool.  At most 2 are looked up at once; of those that queue up behind,
 * hosts' requests go first, and what is too much is forgotten: the engine has a deadline
 * for it.
 */
struct resolve_job;

struct resolve_queue {
	struct resolve_job *first, *last;
	size_t n;
};

struct resolve {
	uv_loop_t *loop;
	void *ctx;
	/* In the loop.  n is 0 when there is no such name, or no answer. */
	void (*found)(void *ctx, uint64_t token, const uint32_t *addresses, size_t n);
	struct resolve_queue requests, leases; /* who waits */
	struct resolve_job *busy[2];
	bool closed;
	uint64_t asked, failed, forgotten; /* counters */
};

/* The loop outlives it; ctx and found are set by the caller. */
void resolve_open(struct resolve *r, uv_loop_t *loop);
/* `request`: a host's request waits for it.  The name is copied. */
void resolve_ask(
	struct resolve *r, uint64_t token, const char *name, size_t len, bool request);
/* Nothing is found any more; what is busy ends with the next run of the loop. */
void resolve_close(struct resolve *r);
