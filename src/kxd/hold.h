#pragma once

#include "kxd/traps.h"

#include <uv.h>

/*
 * Holding the first packets of a pair until it is decided (NFQUEUE at mangle/PREROUTING,
 * the one place from which a packet that is let go still meets the policy made
 * meanwhile). Only for latency: without it, or with nobody at the queue, the traps drop
 * those packets.
 */

#define HOLD_MAX 1024 /* packets; the next ones meet the trap at once */

struct hold_packet {
	uint32_t src, dst;
	uint8_t protocol;
	uint16_t sport, dport; /* ICMP: 0 */
};

struct hold_conf {
	uint16_t queue;
	uint32_t most_ms; /* a packet is let go (to the trap) then */
	void *ctx;
	/* Is it to be kept until hold_release()?  Else it goes on. */
	bool (*keep)(void *ctx, const struct hold_packet *p);
};

struct hold_counters {
	uint64_t seen, kept, released, dropped, late, full;
	uint32_t held; /* now */
};

struct hold;

/* 0, or a code with a sentence in why. */
int hold_new(uv_loop_t *loop, const struct hold_conf *conf, struct hold **hold, char *why,
	size_t why_size);
/* Packets still held are dropped by the kernel.  NULL is allowed. */
void hold_free(struct hold *h);

/* What is held of this pair goes on, or not. */
void hold_release(struct hold *h, uint32_t src, uint32_t dst, bool pass);
const struct hold_counters *hold_count(const struct hold *h);

/*
 * The rules that send packets there (iptables as a child process): the first ones of
 * connections from protected networks to the rules that want a decision.  conf NULL takes
 * them away.
 */
int hold_rules(const struct kxd_conf *conf, char *why, size_t why_size);

/* An IPv4 packet's pair, protocol and ports; false when it is none.  Pure. */
bool hold_parse(const uint8_t *bytes, size_t len, struct hold_packet *p);
