#pragma once

#include "dataplane/dp.h"

/*
 * What the programs in the kernel and their keeper in user space share: the records of
 * the tables.  Addresses, ports and SPIs are in host order where nothing else is said.
 *
 * A packet costs the cold memory that it touches, one line after the other, so there is
 * one: every key (a port, a block of SPIs, a whole address, a peer's SPI) has its lease's
 * life beside it, one aligned word that says until when and by which hop, or which record
 * says more.  A lease with several keys is changed and ended in one moment all the same:
 * its hop, which every packet of the host reads, is frozen meanwhile, and what finds a
 * frozen hop is left to user space.
 */

#define MAPS_LAYOUT   7 /* of these records; another one does not reuse pinned tables */

#define MAPS_PREFIXES 8
#define MAPS_ENDS     8
#define MAPS_SIZES    8 /* SPI block sizes that are looked for */
#define MAPS_HOPS     65536
#define MAPS_LEASES   (1U << 21)

/* --- leases --- */

/*
 * 0: none.  From the top: boot time of its end in units of 64 ms (32; UINT32_MAX: never,
 * else at least 1), MAPS_REMOTE, and the hop to the host, or with MAPS_REMOTE the record.
 */
typedef uint64_t maps_life;

#define MAPS_REMOTE             (1U << 31) /* has a remote flow policy */
#define MAPS_LIFE(expires, low) ((maps_life)(expires) << 32 | (low))
#define MAPS_LIFE_EXPIRES(life) ((uint32_t)((life) >> 32))
#define MAPS_LIFE_INDEX(life)   ((uint32_t)(life) & ~MAPS_REMOTE)

enum maps_lease_flag {
	MAPS_IPSEC = 1, /* holds SPIs: IKE is judged by address alone */
	MAPS_SHARES = 2 /* a port is another lease's as well, or there are more remotes: a
			   refusal is not final */
};

/* A lease with a remote flow policy. */
struct maps_lease {
	uint32_t version; /* another one after every change */
	uint32_t host;    /* 0: free */
	uint32_t address; /* Nb */
	uint32_t remote_addr;
	uint16_t remote_port;
	uint8_t remote_flow;
	uint8_t flags;
	uint32_t hop;
};

/* --- addresses --- */

enum maps_addr_flag {
	MAPS_LEASED = 1, /* somebody holds something of it */
	MAPS_LOCAL = 2,  /* also the gateway's own, or of translated hosts */
	MAPS_PARTIAL =
		4, /* not every key is here: what is not found is not yet refused */
};

/* A pool address, by its place in the pool. */
struct maps_addr {
	maps_life whole;
	uint32_t ports; /* its place in the ports, from 1; 0: none */
	uint32_t flags;
	uint32_t seed; /* of the first address only: of all buckets */
	uint32_t reserved;
};

/* --- SPIs --- */

/*
 * Aligned blocks of SPIs, each in one of two buckets, the first if it had room.  A bucket
 * is one cache line.  An entry's life is 0 while its key is written.
 */
#define MAPS_SPI_WAYS 4
struct maps_spis {
	uint64_t key[MAPS_SPI_WAYS]; /* 0: free */
	maps_life life[MAPS_SPI_WAYS];
};

static inline uint64_t maps_spi_key(uint32_t first, uint32_t place, uint32_t len)
{
	return (uint64_t)first << 32 | (uint64_t)(place & 0xffffff) << 8 | (len + 1);
}

/* Bucket 0 or 1 of a key among n. */
static inline uint32_t maps_spi_bucket(
	uint64_t key, uint64_t odd, uint32_t n, uint32_t which)
{
	uint64_t h = key * odd;

	/* Numbers with a pattern, which hosts may choose, must not meet in few buckets.
	 */
	h = (h ^ h >> 29) * 0xbf58476d1ce4e5b9ULL;
	return (uint32_t)((which ? h & 0xffffffff : h >> 32) * n >> 32);
}

/* --- next hops --- */

/*
 * A way to a host or to a destination on the public side.  The first 12 bytes are those
 * of the frame, the words at 16 those of the tunnel's header: ready to be stored.
 */
struct maps_hop {
	uint8_t to[6], from[6];
	uint8_t valid;   /* changes with every change; 0: link addresses not known */
	uint8_t used;    /* set by the program */
	uint16_t mtu;    /* of the way there; 0: the link's */
	uint32_t src;    /* network order: Na, or 0 on the public side */
	uint32_t dst;    /* network order: the host, or the destination; 0: free */
	uint16_t sum;    /* in memory order, of the header's words that never change */
	uint8_t proto;   /* of the tunnel */
	uint8_t change;  /* last value of valid */
	uint32_t frozen; /* the lives of this host are being changed */
};

/* Destinations: destination in the upper half, hop in the lower; 0: free. */
#define MAPS_ROUTES     16384
#define MAPS_ROUTE_BITS 12 /* buckets */
#define MAPS_ROUTE_WAYS 8
struct maps_routes {
	uint64_t way[MAPS_ROUTE_WAYS];
};

static inline uint32_t maps_route_bucket(uint32_t dst, uint32_t seed)
{
	return ((dst ^ seed) * 0x9e3779b1U) >> (32 - MAPS_ROUTE_BITS);
}

/* --- peers' SPIs --- */

/*
 * Peers' SPIs that hosts send to; a hit authorises.  As with SPIs: two buckets, each one
 * cache line, and a life of 0 while a key is written.
 */
#define MAPS_PEER_WAYS 3
#define MAPS_PEER_BITS 16 /* buckets */
struct maps_peers {
	uint64_t peer_spi[MAPS_PEER_WAYS]; /* the peer in the upper half; 0: free */
	maps_life life[MAPS_PEER_WAYS];
	uint32_t place_proto[MAPS_PEER_WAYS];
	uint32_t reserved;
};

#define MAPS_PEER_SPI(peer, spi)       ((uint64_t)(peer) << 32 | (spi))
#define MAPS_PLACE_PROTO(place, proto) ((uint32_t)(place) << 8 | (proto))

static inline uint32_t maps_peer_bucket(
	uint64_t peer_spi, uint32_t place_proto, uint64_t odd, uint32_t which)
{
	uint64_t h = (peer_spi + place_proto * 0x9e3779b97f4a7c15ULL) * odd;

	if (which)
		h = (h ^ h >> 32) * 0x9e3779b97f4a7c15ULL;
	return (uint32_t)(h >> (64 - MAPS_PEER_BITS));
}

/*
 * An IKE cookie that a host uses and a peer has answered (RFC 3104 6.1).  A host's packet
 * goes to user space once in a while, so that there, too, the cookie is in use.
 */
#define MAPS_COOKIES      65536
#define MAPS_COOKIE_PEERS 4
#define MAPS_COOKIE_FRESH 156 /* units of 64 ms: 10 s */
struct maps_cookie {
	uint32_t nb, cookie[2];
};
struct maps_known {
	struct maps_cookie key; /* again, as a value may be read while it is another's */
	uint32_t seen;          /* boot time in units of 64 ms */
	maps_life life;
	uint32_t peer[MAPS_COOKIE_PEERS]; /* 0: none */
};

/* --- who may take user space's time --- */

/*
 * Hosts, by a hash of their address: how many leases they have, and how many packets went
 * up in this window, which is a unit of time (64 ms).
 */
#define MAPS_SENDER_BITS 16
struct maps_sender {
	uint32_t leases;
	uint32_t window, count;
	uint32_t reserved;
};
static inline uint32_t maps_sender_of(uint32_t host, uint32_t seed)
{
	return ((host ^ seed) * 0x9e3779b1U) >> (32 - MAPS_SENDER_BITS);
}

/* Most packets a window of... */
enum maps_most {
	MAPS_STRANGERS, /* all that hold nothing together, a processor: 250/s */
	MAPS_REFUSED,   /* one host, that it may not send: 1000/s */
	MAPS_NEW,       /* one host, that may be the first of a flow: 16000/s */
	MAPS_MOSTS
};
#define MAPS_MOST_STRANGERS 16
#define MAPS_MOST_REFUSED   64
#define MAPS_MOST_NEW       1024

/* --- the rest --- */

struct maps_prefix {
	uint32_t addr, mask, place; /* of its first address */
};

struct maps_conf {
	uint64_t mac[2]; /* private, public: as the first 6 bytes of a frame */
	uint64_t odd;    /* secret, of the SPIs' buckets */
	/*
	 * Sizes of the SPI blocks that there are, most frequent first, as prefix lengths,
	 * the first in the lowest byte; 0 ends.
	 */
	uint64_t sizes;
	uint32_t partial;   /* there are more sizes */
	uint32_t n_buckets; /* of SPIs */
	uint32_t seed;      /* of the destinations' buckets */
	uint32_t mtu[2];    /* private, public */
	uint32_t n_prefixes, n_ends;
	uint32_t most[MAPS_MOSTS];
	struct maps_prefix prefix[MAPS_PREFIXES];
	uint32_t end[MAPS_ENDS]; /* tunnel ends */
};

/* What pinned tables are reused for: another one means others. */
struct maps_layout {
	uint32_t version, n_prefixes;
	struct maps_prefix prefix[MAPS_PREFIXES];
	uint32_t n_leases, n_addrs, n_ports, n_buckets;
};

/* One for each processor. */
struct maps_state {
	uint64_t jiffies;
	uint32_t now; /* boot time in units of 64 ms, read once a jiffy */
	uint32_t id;
	uint32_t strangers_at, strangers; /* window, and how many went up in it */
	uint64_t forwarded[DP_DIRECTIONS], bytes[DP_DIRECTIONS];
	uint64_t dropped[DP_DIRECTIONS][DP_REASONS];
};
