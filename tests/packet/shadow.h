#pragma once

#include "dataplane/xdp/load.h"

/*
 * The programs of driver xdp beside the forwarding procedures: each packet goes through
 * both, and where the programs decide, verdict, counters and bytes must be the same.
 */

#define SHADOW_SENT 4

struct shadow_sent {
	enum forward_link link;
	size_t len;
	uint8_t bytes[2048];
};

struct shadow {
	struct load load;
	struct keep keep;
	struct forward *forward;
	/* what the procedures sent for the packet at hand; n may be more */
	struct shadow_sent sent[SHADOW_SENT];
	size_t n_sent;
	uint64_t packets, redirected,
		dropped; /* of these the programs decided the rest */
};

/* 0; 77 with a line on stdout when BPF is refused here. */
int shadow_open(struct shadow *s, struct forward *f);
void shadow_close(struct shadow *s);
/* After a change of MTUs, own addresses or the like. */
void shadow_conf(struct shadow *s);
/* Call it from forward's send: takes a copy, and tells the programs the hop. */
void shadow_send(struct shadow *s, enum forward_link link, uint32_t dst,
	const struct forward_piece *piece, int n);
/*
 * One packet through both; *taken: what the procedure returned.  NULL, or what differs
 * (valid until the next call).
 */
const char *shadow_packet(struct shadow *s, enum forward_link link, const uint8_t *p,
	size_t len, uint64_t now_ms, bool *taken);
