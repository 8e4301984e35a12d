#pragma once

#include "dataplane/forward.h"
#include "dataplane/xdp/maps.h"

/*
 * The kernel's tables, kept equal to those of user space.  Written through mapped memory
 * where they are arrays, so a lease costs stores and no system calls.
 */

#define KEEP_LEASES      262144 /* by default */
#define KEEP_LEASES_MOST MAPS_LEASES

/* A way to one destination by one tunnel (by none on the public side). */
struct keep_way {
	struct keep_way *next; /* to the same destination */
	uint32_t index, users;
	uint32_t gateway;
	uint8_t tunnel;
};

struct keep_hop {
	struct htab_node node;
	uint32_t link, dst; /* key */
	struct keep_way *ways;
};

enum keep_use { KEEP_FREE, KEEP_LEFT, KEEP_LIVE }; /* LEFT: by a predecessor */

/* Numbers to be given; the one that was given back longest ago comes first. */
struct keep_free {
	uint32_t *at;
	uint32_t size, first, n;
};

struct keep {
	const struct forward *forward;
	struct maps_conf *conf; /* the programs' */
	struct maps_conf measured;
	/* mapped */
	struct maps_lease *lease;
	struct maps_addr *addr;
	maps_life *port;
	struct maps_spis *spi;
	struct maps_hop *hop;
	struct maps_routes *route;
	struct maps_sender *sender;
	struct maps_peers *peer;
	int cookies; /* a hash, by descriptor */
	uint32_t n_leases, n_addrs, n_ports, n_buckets;
	uint8_t *use; /* enum keep_use of each record */
	uint32_t n_left;
	struct keep_free free_lease, free_port, free_hop;
	struct htab hops; /* struct keep_hop */
	uint32_t n_public;
	uint32_t *held;      /* leases, by the sender's hash */
	bool settled;        /* what a predecessor left is gone */
	uint32_t blocks[33]; /* SPI blocks by prefix length */
	uint8_t *overflowed; /* a bit a bucket: it may have entries in the other one */
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
/* The part of keep_install() that is for the kernel, for a lease that the tables have. */
void keep_publish(struct keep *k, struct tlease *l, uint64_t expires_ms);
/*
 * What these keys need of the tables will be written soon: fetched meanwhile, as it is
 * cold.  Only the first block and range.
 */
void keep_ahead(const struct keep *k, uint32_t address, const struct range *spis,
	size_t n_spis, const struct range *ports, size_t n_ports);
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
/* One that is answered; else it is not for the programs. */
void keep_cookie(struct keep *k, const struct learned *e, bool there);

/* --- between keep.c and the other keep_*.c --- */

#define KEEP_ONCE(x) (*(volatile __typeof__(x) *)&(x))

int keep_free_init(struct keep_free *f, uint32_t size);
void keep_give(struct keep_free *f, uint32_t number);
/* UINT32_MAX: none left. */
uint32_t keep_take(struct keep_free *f);

/* The place of a pool address, and back; false, or 0: it has none. */
bool keep_place_of(const struct keep *k, uint32_t addr, uint32_t *place);
uint32_t keep_address_at(const struct keep *k, uint32_t place);

/* The hop that a life leads to; 0: none. */
uint32_t keep_hop_of(const struct keep *k, maps_life life);

/* What a lease learned of its peers' SPIs, with its life of now. */
void keep_out_spis(struct keep *k, const struct tlease *l);
/* What a predecessor learned is learned; what belongs to no lease goes. */
void keep_settle_peers(struct keep *k, struct tables *t, uint64_t now_ms);

/* The cookies of a lease have another life. */
void keep_cookies_of(struct keep *k, const struct tlease *l);
/* What a predecessor knew of cookies is learned; what belongs to no lease goes. */
void keep_settle_cookies(struct keep *k, struct tables *t, uint64_t now_ms);
/*
 * The lease to which a predecessor's way leads, or one as good, that may do IPsec with
 * this peer; NULL: none.
 */
struct tlease *keep_owner_of(const struct keep *k, const struct tables *t, uint32_t nb,
	uint32_t peer, maps_life life);

/* The tables of SPIs: begin with what a predecessor left; 0 or -ENOMEM. */
int keep_spis_init(struct keep *k, uint32_t seed);
/* Put the blocks of a lease; false: one found no room. */
bool keep_spis_put(struct keep *k, uint32_t place, const struct tlease *l);
/* Blocks as the tables have them now, whoever has had them. */
bool keep_spis_take(struct keep *k, uint32_t place, uint32_t address,
	const struct range *r, size_t n);
/* The bucket of the block at lo will be written. */
void keep_spis_ahead(const struct keep *k, uint32_t place, const struct range *r);
/* The life of the block at lo in a range that ends at hi; 0: none. */
maps_life keep_spi_life(const struct keep *k, uint32_t place, uint32_t lo, uint32_t hi);
/* What stands for no lease goes. */
void keep_settle_spis(struct keep *k);

/*
 * The way of a lease to its host, and an end of its use; 0: none left, the slow path has
 * it.
 */
uint32_t keep_way_take(struct keep *k, uint32_t host, uint32_t gateway,
	enum tunnel_type tunnel, uint16_t mtu);
void keep_way_leave(struct keep *k, uint32_t index);
/* Until it thaws, packets of this way are user space's. */
void keep_freeze(struct keep *k, uint32_t index, bool frozen);
/* A predecessor's ways, under their old numbers, and what of it nobody uses now. */
void keep_take_ways(struct keep *k);
void keep_settle_ways(struct keep *k);
/* The numbers of ways that nobody has. */
int keep_free_hops(struct keep *k);
