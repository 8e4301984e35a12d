#pragma once

#include "engine/effect.h"

/*
 * The one interface of every data plane driver.  A driver carries the leases it was told;
 * it decides per packet, the engine per request.
 */

/* Why a packet was dropped: the reasons of rsip_drops_total, in the words of the metrics.
 */
enum dp_reason {
	DP_OK,
	DP_UNREGISTERED, /* tunnel packet from a host without any lease here */
	DP_OUTER_SRC,    /* inner source is leased, but not to this outer source */
	DP_TUNNEL_TYPE,
	DP_ADDR_UNALLOWED,       /* 312 */
	DP_ADDRPORT_UNALLOWED,   /* 313 */
	DP_REMOTE_UNALLOWED,     /* 314 */
	DP_REMOTEPORT_UNALLOWED, /* 315 */
	DP_IPSEC_UNALLOWED,      /* 401 */
	DP_NO_BIND,
	DP_NO_SPI,
	DP_NO_COOKIE,
	DP_COOKIE_INUSE,
	DP_COOKIE_FULL, /* no room for another IKE mapping */
	DP_IKE_SHORT,
	DP_INGRESS_POLICY,
	DP_NOT_CONTACTED,
	DP_ICMP_UNMATCHED,
	DP_ICMP_REQUEST,
	DP_FRAG_TIMEOUT,
	DP_FRAG_LIMIT,
	DP_FRAG_OVERLAP,
	DP_TTL,
	DP_MARTIAN,  /* not a well-formed IPv4 packet */
	DP_TOO_BIG,  /* DF set and too large: answered by fragmentation needed */
	DP_NO_ROUTE, /* could not be sent on */
	DP_FLOOD, /* of a host that sends too much of what it may not, or that is new */
	DP_REASONS
};
const char *dp_reason_name(enum dp_reason r); /* "unregistered", ... */

enum dp_direction { DP_IN, DP_OUT, DP_DIRECTIONS }; /* in: to the host */

struct dp_stats {
	uint64_t forwarded[DP_DIRECTIONS];
	uint64_t forwarded_bytes[DP_DIRECTIONS];
	uint64_t dropped[DP_DIRECTIONS][DP_REASONS];
	uint64_t cookies_halfopen, cookies_answered; /* gauges */
	uint64_t reassembled, arp_answered, icmp_answered;
	uint64_t lost;     /* frames that came while the driver was behind, or unusable */
	uint64_t fast;     /* packets decided in the kernel, forwarded or dropped */
	uint64_t segments; /* packets cut from larger ones, for want of hardware */
};

/* What a driver tells the program; called from dp_service(). */
struct dp_events {
	void *ctx;
	/* A host misused the data plane: RSIP error number, lease concerned or 0. */
	void (*misuse)(void *ctx, uint32_t host, uint16_t error, uint32_t bind_id);
	/* Something an operator should know, one sentence; also from open.  Or NULL. */
	void (*note)(void *ctx, const char *text);
	/*
	 * While *wants_packets: what became of a packet that is judged in this process
	 * (driver xdp judges most in the kernel).  The IPv4 packet without its tunnel, or
	 * what there is of it; reason DP_OK: forwarded.  NULL: never.
	 */
	const bool *wants_packets;
	void (*packet)(void *ctx, enum dp_direction direction, enum dp_reason reason,
		const uint8_t *packet, size_t len);
};

/*
 * Addresses whose packets the driver takes from the kernel.  On an address that is also
 * the gateway's own, only `ports`, UDP 500 and 4500, ESP, AH and ICMP that belongs to a
 * lease are taken; on any other address everything is.
 */
struct dp_pool {
	const struct prefix4 *addresses; /* shared and dedicated */
	size_t n_addresses;
	const struct range *ports;
	size_t n_ports;
};

/*
 * Hosts that know nothing of RSIP: the kernel translates their addresses (NAPT).  Of an
 * address that is in a pool as well, packets to these ports are the kernel's.
 */
struct dp_napt {
	const struct prefix4 *hosts; /* n 0: no translation */
	size_t n_hosts;
	uint32_t address; /* 0: the public interface's own */
	struct range ports;
};

struct dp_conf {
	const char *private_interface;
	const char *public_interface;
	const uint32_t *tunnel_ends; /* addresses taken as Na; n 0: every local address */
	size_t n_tunnel_ends;
	const struct dp_pool *pools;
	size_t n_pools;
	struct dp_napt napt;
	/*
	 * A folder in a BPF file system where the kernel's part may outlive the process,
	 * or NULL (driver xdp).
	 */
	const char *pins;
	size_t room; /* leases to have room for in the kernel; 0: the usual number */
	uint32_t ike_mappings; /* at once; 0: the usual number */
	/*
	 * IKE that a peer begins (RFC 3104 appendix E) goes to the host that talks with
	 * it, when exactly one does; else it is dropped.
	 */
	bool ike_only_host;
};

struct dp;

struct dp_driver {
	const char *name;
	bool by_service; /* all packets go through service(), not only odd ones */
	/*
	 * Opens sockets, silences the kernel for what the driver takes.  On error writes
	 * one sentence for the operator (what failed, what to do) to why.
	 */
	int (*open)(const struct dp_conf *conf, const struct dp_events *events,
		struct dp **dp, char *why, size_t why_size);
	/* Add or replace by bind_id.  Copies.  ERR_NOSPACE when full. */
	int (*install)(struct dp *dp, const struct lease *lease);
	void (*remove)(struct dp *dp, uint32_t bind_id);
	/*
	 * After open: every lease there is has been installed, so what a predecessor left
	 * in the kernel may go.  NULL where nothing outlives the process.
	 */
	void (*settled)(struct dp *dp);
	void (*stats)(struct dp *dp, struct dp_stats *out);
	/*
	 * Descriptors to poll for reading (at most 4); returns how many.  They stay the
	 * same until close and never report an error.
	 */
	int (*fds)(struct dp *dp, int fds[4]);
	/* Handle what is ready, then timers; never blocks.  Bounded work per call. */
	void (*service)(struct dp *dp, uint64_t now_ms);
	/* When service() has timer work; UINT64_MAX for never. */
	uint64_t (*deadline)(const struct dp *dp);
	void (*close)(struct dp *dp);
};

/* "packet", "none", "fake", "xdp"; NULL for an unknown name. */
const struct dp_driver *dp_driver_find(const char *name);
