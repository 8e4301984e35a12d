#pragma once

#include "dataplane/dp.h"

/*
 * What the programs in the kernel and their keeper in user space share: the records of
 * the tables.  Addresses, ports and SPIs are in host order.
 *
 * Every key leads to a mark, one aligned word that names a lease record and its
 * generation; a mark whose generation is not the record's leads to nothing.  So one store
 * to a record's generation ends a lease with all its keys at once, in both directions.
 */

#define MAPS_LAYOUT   2 /* of these records; another one does not reuse pinned tables */

#define MAPS_PREFIXES 8
#define MAPS_ENDS     8
#define MAPS_WAYS     4 /* entries of a bucket, which is one cache line */
#define MAPS_SIZES    8 /* block sizes in use on one address */
#define MAPS_NO_SIZE  0xff
#define MAPS_HOPS     65536
#define MAPS_ROUTES   16384
#define MAPS_OUT_SPIS 65536

typedef uint64_t maps_mark; /* generation in the upper half, record in the lower */

#define MAPS_MARK(record, generation) ((maps_mark)(generation) << 32 | (record))

enum maps_lease_flag {
	MAPS_IPSEC = 1, /* holds SPIs: IKE is judged by address alone */
	MAPS_SHARES = 2 /* a port is another lease's as well, or there are more remotes: a
			   refusal is not final */
};

/* Half a cache line, so that none lies in two. */
struct maps_lease {
	uint32_t generation; /* 0: no lease */
	uint32_t host;
	uint32_t gateway; /* Na */
	uint32_t address; /* Nb */
	uint32_t remote_addr;
	uint16_t remote_port;
	uint8_t remote_flow;
	uint8_t flags_tunnel; /* enum maps_lease_flag << 4 | enum tunnel_type */
	uint32_t expires;     /* boot time in units of 64 ms; UINT32_MAX: never */
	uint16_t hop;         /* to the host */
	uint16_t mtu;         /* of the way there; 0: the link's */
};

enum maps_addr_flag {
	MAPS_LEASED = 1, /* somebody holds something of it */
	MAPS_LOCAL = 2,  /* also the gateway's own, or of translated hosts */
	MAPS_PARTIAL =
		4, /* not every key is here: what is not found is not yet refused */
};

/* A pool address, by its place in the pool. */
struct maps_addr {
	maps_mark whole;
	uint8_t size[MAPS_SIZES]; /* of SPI blocks, as prefix lengths; MAPS_NO_SIZE ends
				   */
	uint32_t ports;           /* its place in the ports, from 1; 0: none */
	uint32_t flags;
	/* of the first address only: the last generation given, and of the buckets */
	uint32_t generation, seed;
};

/* An aligned block of SPIs. */
struct maps_spi {
	uint64_t key; /* maps_spi_key(), 0: free */
	maps_mark mark;
};
struct maps_bucket {
	struct maps_spi way[MAPS_WAYS];
};

static inline uint64_t maps_spi_key(uint32_t first, uint32_t place, uint32_t len)
{
	return (uint64_t)first << 32 | (uint64_t)(place & 0xffffff) << 8 | (len + 1);
}

static inline uint32_t maps_spi_bucket(uint64_t key, uint32_t seed, uint32_t mask)
{
	uint64_t h = (key ^ seed) * 0x9e3779b97f4a7c15ULL;

	return (uint32_t)(h >> 32) & mask;
}

struct maps_hop {
	uint8_t to[6], from[6];
	uint8_t valid; /* changes with every change; 0: not known */
	uint8_t used;  /* set by the program */
	uint16_t reserved;
};

/* A peer's SPI that a host sends to; a hit authorises. */
struct maps_out_spi {
	uint32_t nb, peer, proto, spi;
};

struct maps_prefix {
	uint32_t addr, mask, place; /* of its first address */
};

struct maps_conf {
	struct maps_prefix prefix[MAPS_PREFIXES];
	uint32_t end[MAPS_ENDS]; /* tunnel ends */
	uint32_t n_prefixes, n_ends;
	uint32_t mtu[2]; /* private, public */
	uint8_t mac[2][8];
	uint32_t seed, mask; /* of the buckets */
};

/* What pinned tables are reused for: another one means others. */
struct maps_layout {
	uint32_t version, n_prefixes;
	struct maps_prefix prefix[MAPS_PREFIXES];
	uint32_t n_leases, n_addrs, n_ports, n_buckets;
};

/* One for each processor. */
struct maps_state {
	uint64_t jiffies, now; /* boot time in units of 64 ms, read once a jiffy */
	uint64_t id;
	uint64_t forwarded[DP_DIRECTIONS], bytes[DP_DIRECTIONS];
	uint64_t dropped[DP_DIRECTIONS][DP_REASONS];
};
