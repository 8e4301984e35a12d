#pragma once

#include "base/random.h"
#include "engine/effect.h"

/*
 * The gateway's decisions: (state, event, now) -> effects.  Opens nothing, logs nothing,
 * reads no clock.  The order of checks and the answers are those of the validation table
 * in docs/protocol.md (RFC 3103 sections 9 and 10, RFC 3104 section 6).
 */

struct engine;

struct engine_pool {
	const char *name;
	const struct prefix4 *shared; /* RSAP-IP, LISTEN and RSIPSEC */
	size_t n_shared;
	const struct prefix4 *dedicated; /* RSA-IP, whole addresses */
	size_t n_dedicated;
	const struct range *ports; /* leasable ports */
	size_t n_ports;
	const struct range *spis; /* leasable SPIs, 256 and up */
	size_t n_spis;
	bool exclusive_500;           /* one host of an address may lease port 500 */
	uint32_t hold_down_s;         /* of ports and SPIs */
	uint32_t address_hold_down_s; /* of whole addresses; usually 0 */
};

/* An entry of remote-allow and remote-deny. */
struct engine_remote_rule {
	struct prefix4 prefix;
	uint16_t port_lo, port_hi; /* 0..65535: any */
};

enum local_flow { LOCAL_MACRO, LOCAL_MICRO };

struct engine_policy {
	const char *name;
	const struct prefix4 *match;
	size_t n_match;
	uint32_t methods; /* bits 1 << METHOD_RSA_IP, RSAP_IP, RSIPSEC */
	uint32_t tunnels; /* bits 1 << TUNNEL_IPIP, ... in the order ipip, gre */
	enum local_flow local_flow;
	enum remote_flow remote_flow;
	uint32_t lease_default_s, lease_max_s;
	uint32_t max_bindings, max_ports, max_spis;
	const struct engine_remote_rule *allow, *deny; /* none allowed = all; deny wins */
	size_t n_allow, n_deny;
	bool listen;
	/* Requests of one host, a second and at once; 0: any number. */
	uint32_t request_rate, request_burst;
};

/* One host of whom more is known than its address. */
struct engine_host {
	uint32_t addr;
	const uint64_t *identities; /* who may speak for it; none: as `guards` says */
	size_t n_identities;
};

struct engine_conf {
	const struct engine_pool *pools;
	size_t n_pools;
	const struct engine_policy *policies; /* the first that matches a host applies */
	size_t n_policies;
	const struct prefix4 *local_networks; /* for QUERY */
	size_t n_local_networks;
	bool query_authoritative; /* what lies outside of them is remote */
	uint32_t tunnel_endpoint; /* 0: not sent */
	bool udp, tcp;            /* transports served */
	bool listen_rsip_ike;     /* LISTEN_RSIP_IKE, of private use, is served */
	/* Bits 1 << PEER_SEALED, PEER_TLS: what a message must have one of; 0: nothing.
	 */
	uint32_t guards;
	const struct engine_host *hosts; /* sorted by address, none twice */
	size_t n_hosts;
	const uint64_t *bound; /* all identities of `hosts`, sorted */
	size_t n_bound;
	/* 0 in one of these means its default. */
	uint32_t registration_lease_s;                  /* 3600 */
	uint32_t unregistered_rate, unregistered_burst; /* errors to strangers: 20, 100 */
	uint32_t query_max_udp; /* longest QUERY_RESPONSE over UDP: 1400 bytes */
};

/*
 * The configuration is copied.  Returns NULL when memory is short.  `random` names new
 * IDs, ports and SPIs; `sink` gets every effect of every call below, before it returns.
 */
struct engine *engine_new(const struct engine_conf *conf, struct random random,
	effect_sink sink, void *ctx);
void engine_free(struct engine *e);

/*
 * One datagram, or one message cut from a stream by wire_frame().  Where wire_frame()
 * says ERR_MALFORMED, hand over the four header bytes: the answer carries `close`.
 */
void engine_message(struct engine *e, const struct peer *from, const uint8_t *bytes,
	size_t len, uint64_t now_ms);

/*
 * Expiry of leases, registrations, resting tuples and tombstones that are due.  Ends at
 * most 4096 of them a call, so that a mass expiry does not stop the program; what is left
 * shows in engine_deadline().
 */
void engine_tick(struct engine *e, uint64_t now_ms);
/* When engine_tick() has work next, in the past too; UINT64_MAX for never. */
uint64_t engine_deadline(const struct engine *e);

/*
 * What an EFFECT_RESOLVE asked for: n IPv4 addresses in any order, none when there is no
 * such name, valid for ttl_s (0: not known).  An answer that comes late, or never, is no
 * fault: a request waits for 3 s, then the name counts as one without addresses.
 */
void engine_resolved(struct engine *e, uint64_t token, const uint32_t *addresses,
	size_t n, uint32_t ttl_s, uint64_t now_ms);

/* A TCP connection ended: no asynchronous message goes there any more. */
void engine_conn_closed(struct engine *e, uint64_t conn);

/*
 * The data plane dropped a packet of this host (RFC 3103 10.4): ERROR_RESPONSE `error`
 * with the Bind ID when not 0, at most one a second per host and number, burst 5.
 */
void engine_misuse(struct engine *e, uint32_t host, uint16_t error, uint32_t bind_id,
	uint64_t now_ms);

/* The operator's verbs; ERR_NOTFOUND when there is no such thing. */
int engine_release(struct engine *e, uint32_t bind_id, uint64_t now_ms);
int engine_deregister(struct engine *e, uint32_t client_id, uint64_t now_ms);

/*
 * Take a new configuration.  Leases stay, also where the new one would not grant them;
 * addresses no longer in a pool drain: leases there are not extended.  Only a host all of
 * whose leases stand on such addresses can no longer be served; it is deregistered and
 * told (RFC 3103 9.5).  0, or a negative code with nothing changed: -ENOMEM, or
 * ERR_NOSPACE for more than 2^20 addresses.
 */
int engine_reload(struct engine *e, const struct engine_conf *conf, uint64_t now_ms);

/*
 * Put back what the store kept, before the first message; emits EFFECT_INSTALL for
 * leases.  Records that are past their time or make no sense (ERR_RANGE), that clash with
 * one already there (ERR_EXISTS), or whose registration is missing (ERR_NOTFOUND) are
 * refused.
 */
int engine_restore_registration(
	struct engine *e, const struct registration *r, uint64_t now_ms);
int engine_restore_lease(struct engine *e, const struct lease *l, uint64_t now_ms);
int engine_restore_resting(struct engine *e, const struct resting *r, uint64_t now_ms);

/* Walks for `show`; each stops when the callback returns false. */
void engine_each_registration(const struct engine *e,
	bool (*fn)(void *ctx, const struct registration *r), void *ctx);
void engine_each_lease(
	const struct engine *e, bool (*fn)(void *ctx, const struct lease *l), void *ctx);

/*
 * One of them by its ID, for a long list that is sent in pieces while the engine goes on:
 * 0 or ERR_NOTFOUND.  The ranges are borrowed until the next call into the engine.
 */
int engine_registration_find(
	const struct engine *e, uint32_t client_id, struct registration *r);
int engine_lease_find(const struct engine *e, uint32_t bind_id, struct lease *l);

struct engine_address {
	const char *pool; /* "draining" when it left its pool and still has holders */
	uint32_t address;
	bool dedicated;
	uint32_t ports_free, ports_held, ports_resting;
	uint64_t spis_held, spis_resting;
};
void engine_each_address(const struct engine *e,
	bool (*fn)(void *ctx, const struct engine_address *a), void *ctx);

/* What the policy of a host allows it to hold; 0 without a policy. */
uint32_t engine_max_ports(const struct engine *e, uint32_t host);

/* Counters of the control protocol; the engine adds, the programs read. */
struct engine_counters {
	uint64_t requests[256]; /* by message type that arrived */
	uint64_t errors[512];   /* by error number sent */
	uint64_t udp_duplicates, udp_stale, udp_counter_gap;
	uint64_t udp_waiting;   /* dropped: it, or one before it, waits for a name */
	uint64_t names_refused; /* names not asked for: too many requests wait */
	uint64_t waiting;       /* gauge: requests that wait for a name */
	uint64_t dropped_short, dropped_error_response,
		dropped_rate;       /* silent by the rules */
	uint64_t dropped_busy;      /* requests beyond request_rate */
	uint64_t unproven;          /* messages of who could not prove to be that host */
	uint64_t bindings[METHODS]; /* gauges */
	uint64_t registrations;
	uint64_t holding[3]; /* resting records by kind: address, port, spi */
};
const struct engine_counters *engine_counters(const struct engine *e);
