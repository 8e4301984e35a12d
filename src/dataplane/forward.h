#pragma once

#include "base/limit.h"
#include "dataplane/dp.h"
#include "dataplane/reasm.h"
#include "dataplane/tables.h"

/*
 * What happens to a packet: the outbound (O1-O9) and inbound (I1-I10) procedures of
 * docs/protocol.md on IPv4 packets in memory.  No sockets and no clock: a driver hands
 * packets in and sends what comes out, so every row can be tested with bytes.
 */

enum forward_link { LINK_PRIVATE, LINK_PUBLIC, LINKS };

/* A part of a packet; borrowed. */
struct forward_piece {
	const void *at;
	size_t len;
};

struct forward_out {
	void *ctx;
	/*
	 * Send one IPv4 packet, in n pieces (at most 3), to the next hop of its
	 * destination.  The pieces are borrowed for the call.  false: there is no way
	 * there; a packet that waits for a neighbour's address counts as sent.
	 */
	bool (*send)(void *ctx, enum forward_link link, uint32_t dst,
		const struct forward_piece *piece, int n);
};

struct forward_pool {
	struct prefix4 addresses;
	const struct range *ports; /* in forward.ports */
	size_t n_ports;
};

struct forward {
	struct tables tables;
	struct reasm outer; /* tunnel packets */
	struct reasm inner; /* what was in them, and public packets */
	struct dp_stats stats;
	struct dp_events events;
	struct forward_out out;
	struct forward_pool *pools; /* sorted by address, disjoint */
	size_t n_pools;
	struct range *ports;
	uint32_t *tunnel_ends; /* sorted */
	size_t n_tunnel_ends;
	struct dp_napt napt;
	struct prefix4 *napt_hosts;
	uint32_t *local; /* the gateway's own addresses, sorted */
	size_t n_local;
	uint32_t mtu[LINKS];
	uint32_t address[LINKS]; /* source of ICMP errors; 0: none */
	/* Told of a path MTU to a host that was learned, or NULL. */
	void (*path)(void *ctx, uint32_t host, uint16_t mtu);
	void *path_ctx;
	struct limit errors, echoes, walks;
	bool ike_only_host; /* see dp_conf */
	uint64_t swept_ms;
	uint16_t next_id;
	uint8_t scratch[65536]; /* one outer packet about to be fragmented */
};

/* conf is copied; secret seeds hashes and identifications.  0, -ENOMEM. */
int forward_init(struct forward *f, const struct dp_conf *conf,
	const struct dp_events *events, const struct forward_out *out, uint64_t secret);
void forward_fini(struct forward *f);

/* The gateway's own addresses from now on; copied.  0 or -ENOMEM. */
int forward_set_local(struct forward *f, const uint32_t *addresses, size_t n);
bool forward_is_local(const struct forward *f, uint32_t addr);
/* Is it the address that other hosts' are translated to, where that is no own one? */
bool forward_is_napt(const struct forward *f, uint32_t addr);
/* Are tunnel packets to this address ours? */
bool forward_is_tunnel_end(const struct forward *f, uint32_t addr);
/* The pool an address belongs to, or NULL. */
const struct forward_pool *forward_pool_of(const struct forward *f, uint32_t addr);

/*
 * A packet from a link: p is changed in place.  False: it is none of the data plane's
 * packets, the kernel has it; true: sent, kept or dropped, and counted.
 */
bool forward_private(struct forward *f, uint8_t *p, size_t len, uint64_t now_ms);
bool forward_public(struct forward *f, uint8_t *p, size_t len, uint64_t now_ms);

/* A packet that was taken for sent could not be sent after all. */
void forward_unsent(struct forward *f, enum forward_link link);

/* Timers: what is past its time is forgotten. */
void forward_sweep(struct forward *f, uint64_t now_ms);
uint64_t forward_deadline(const struct forward *f);
/* Counters, with the gauges brought up to date. */
void forward_stats(const struct forward *f, struct dp_stats *out);
