#pragma once

#include "dataplane/forward.h"
#include "dataplane/xdp/maps.h"

/*
 * The kernel's tables, kept equal to those of user space.  Written through mapped memory
 * where they are arrays, so a lease costs stores and no system calls.
 */

#define KEEP_LEASES 262144 /* by default */

struct keep_hop {
	struct htab_node node;
	uint32_t link, dst; /* key */
	uint32_t index, users;
};

enum keep_use { KEEP_FREE, KEEP_LEFT, KEEP_LIVE }; /* LEFT: by a predecessor */

struct keep {
	const struct forward *forward;
	struct maps_conf *conf; /* the programs' */
	struct maps_conf measured;
	/* mapped */
	struct maps_lease *lease;
	struct maps_addr *addr;
	maps_mark *port;
	struct maps_bucket *bucket;
	struct maps_hop *hop;
	/* hashes, by descriptor */
	int routes, out_spis;
	uint32_t n_leases, n_addrs, n_ports, n_buckets;
	uint8_t *use; /* enum keep_use of each record */
	uint32_t *free_lease, *free_port, *free_hop;
	uint32_t n_free_lease, n_free_port, n_free_hop;
	struct htab hops; /* struct keep_hop */
	struct maps_hop none;
};

/* Sizes for this pool and number of leases (0: KEEP_LEASES), and what conf says of it. */
void keep_measure(struct keep *k, const struct forward *f, size_t leases);
/*
 * The maps are open and mapped: take in what a predecessor left.  conf is the programs'.
 * 0 or -ENOMEM.
 */
int keep_init(struct keep *k, struct maps_conf *conf, uint64_t secret);
void keep_fini(struct keep *k);

/*
 * tables_install() and tables_remove(), and the kernel's tables with them.  For want of
 * room there a lease is the slow path's, which is no error.
 */
int keep_install(struct keep *k, struct tables *t, const struct lease *lease);
void keep_remove(struct keep *k, struct tables *t, uint32_t bind_id);
/* What a predecessor left and nobody installed again goes; what it learned is learned. */
void keep_settle(struct keep *k, struct tables *t, uint64_t now_ms);

/* Links, MTUs, tunnel ends, own addresses. */
void keep_conf(struct keep *k, const uint8_t mac[LINKS][6]);

/* A destination's link address: kept if it is of use. */
void keep_hop(struct keep *k, enum forward_link link, uint32_t dst, const uint8_t to[6]);
/* Is there still a way there?  If so, it called keep_hop(). */
typedef bool keep_find(void *ctx, enum forward_link link, uint32_t dst);
/*
 * Ways may have changed: each hop is found again, at once where they are few (a packet
 * then never waits for it), else with the next packet that needs it.
 */
void keep_check_hops(struct keep *k, keep_find *fn, void *ctx);
/* Find those that packets used since the last call, so that their neighbours are kept. */
void keep_used_hops(struct keep *k, keep_find *fn, void *ctx);

void keep_path(struct keep *k, uint32_t host, uint16_t mtu);
void keep_out_spi(struct keep *k, const struct learned *e, bool there);

/* --- between keep.c and keep_hops.c --- */

/* The hop of a lease's host, and an end of its use; 0: none left, the slow path has it.
 */
uint16_t keep_hop_take(struct keep *k, uint32_t host);
void keep_hop_leave(struct keep *k, uint32_t host);
/* A predecessor's hop, under its old number; NULL: there is none. */
struct keep_hop *keep_hop_left(
	struct keep *k, enum forward_link link, uint32_t dst, uint32_t index);
/* A predecessor's destinations. */
void keep_take_routes(struct keep *k);
