#pragma once

#include "rig.h"

/*
 * A crowd of hosts that do mostly what they should, and things that happen to a gateway:
 * time, restarts, reloads, operators, lost connections.  Each choice comes from a stream
 * of numbers, which is a seed in a test and the input of a fuzzer.
 */

#define CROWD_MAX 64

struct crowd_host {
	struct peer peer;
	uint32_t client_id; /* as it believes; 0: none */
	uint32_t counter;
	uint8_t last[600]; /* its last request */
	size_t last_len;
};

struct crowd {
	struct rig rig;
	struct crowd_host hosts[CROWD_MAX];
	size_t n_hosts;
	uint64_t conns;                          /* TCP connections so far */
	uint32_t (*pick)(void *ctx, uint32_t n); /* the next number below n */
	void *ctx;
	uint64_t pace_ms; /* how far time goes at once, at most */
	/* NULL, or how to make the n-th allocation of a step fail; 0: none. */
	void (*starve)(unsigned long n);
	bool starving;
	/* What was done, for the report. */
	unsigned long grants, refusals, silences, restarts, reloads;
};

void crowd_init(struct crowd *c, size_t n_hosts, uint64_t seed,
	uint32_t (*pick_below)(void *ctx, uint32_t n), void *ctx);
void crowd_fini(struct crowd *c);
/* One thing happens; the log holds its replies.  False when the rig found a fault. */
bool crowd_step(struct crowd *c);
/* Bytes of a host's choice, right or wrong. */
bool crowd_bytes(struct crowd *c, const uint8_t *bytes, size_t len);
