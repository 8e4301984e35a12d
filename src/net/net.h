#pragma once

#include "auth/guard.h"
#include "auth/tls.h"
#include "engine/effect.h"
#include "net/place.h"

#include <uv.h>

/*
 * The gateway's RSIP sockets: UDP and TCP on every listen endpoint.  Messages come out
 * whole (a datagram; a piece of a stream cut by its Overall length, RFC 3103 section 9);
 * what is sent leaves from the address and port that `peer` names as the gateway's.
 *
 * A turn: messages are handed up as they come, answers are queued by net_send() and leave
 * at net_flush().  One thread; handlers must not call net_free().
 */

#define NET_WHY 512 /* room that every sentence written to `why` fits in */

struct net_endpoint {
	uint32_t addr; /* 0: every address */
	uint16_t port;
};

struct net_limits {
	uint32_t connections;          /* over it new ones are refused */
	uint32_t connections_per_host; /* over it the host's longest idle one is closed */
	uint64_t idle_ms;              /* a connection without a whole message */
	uint64_t stall_ms; /* a message that does not end, answers nobody reads, a
			      connection without a first message */
};

/*
 * What proves who a message is from.  Without keys seals are not looked at; without
 * tls a connection that begins as one is a plain one with a bad version.  Borrowed, and
 * taken back by net_secure() or net_free().
 */
struct net_proof {
	struct guard *guard; /* NULL: no keys */
	struct tls_ctx *tls; /* NULL: plain TCP alone */
};

struct net_conf {
	const struct net_endpoint *endpoints; /* copied */
	size_t n_endpoints;
	/* TCP is listened to; UDP always is, as a gateway without UDP answers 102 there.
	 */
	bool tcp;
	struct net_limits limits;
	struct net_proof proof;
	const struct net_place *places; /* copied */
	size_t n_places;
	void *ctx; /* for the functions below */
	/* One message, borrowed for the call.  Over TCP conn is its connection's number.
	 */
	void (*message)(
		void *ctx, const struct peer *from, const uint8_t *bytes, size_t len);
	/* A connection ended, whichever end closed it. */
	void (*closed)(void *ctx, uint64_t conn);
};

/* Why a connection was ended by us. */
enum net_close {
	NET_CLOSE_TOTAL, /* refused: as many as may be are open */
	NET_CLOSE_HOST,  /* the host opened more than it may have */
	NET_CLOSE_IDLE,
	NET_CLOSE_STALL,    /* unfinished request, or answers not read */
	NET_CLOSE_PROTOCOL, /* message boundaries lost, or another version */
	NET_CLOSE_MEMORY,
	NET_CLOSES
};
const char *net_close_name(enum net_close c); /* "total", "host", ... */

struct net_counters {
	uint64_t udp_received, udp_sent;
	uint64_t udp_unsent; /* the kernel did not take it, or no such socket any more */
	uint64_t tcp_accepted, tcp_received, tcp_sent;
	uint64_t tcp_unsent; /* the connection was gone */
	uint64_t tcp_open;   /* gauge */
	uint64_t tcp_closed[NET_CLOSES];
	uint64_t seals_good, seals_bad;
	uint64_t seals_stale; /* old, or of before our start: challenged, so far as may be
			       */
	uint64_t tls_good, tls_failed; /* handshakes */
};

struct net;

/* Binds and listens.  On error the sentence with the endpoint goes to why. */
int net_new(uv_loop_t *loop, const struct net_conf *conf, struct net **net, char *why,
	size_t why_size);
/* Closes everything; memory goes when the loop has run the close callbacks. */
void net_free(struct net *n);

/*
 * Queue one message, copied.  close: end the TCP connection behind it.  ERR_UNREACHABLE
 * when the connection or socket is gone (counted), ERR_NOSPACE, -ENOMEM.
 */
int net_send(struct net *n, const struct peer *to, const uint8_t *bytes, size_t len,
	bool close);
/*
 * Announce answers that will be queued later, or (negative) take back as many when they
 * have been: a connection that is to end is not ended before them.
 */
void net_owe(struct net *n, const struct peer *to, int answers);
/* What was queued leaves; the end of a turn. */
void net_flush(struct net *n);

/*
 * Other endpoints from now on: what is new is opened first, what is not named any more is
 * closed then; connections stay open.  On error nothing has changed and the sentence is
 * in why.
 */
int net_listen(struct net *n, const struct net_endpoint *endpoints, size_t n_endpoints,
	char *why, size_t why_size);

/* Other bounds from now on; open connections stay. */
void net_set_limits(struct net *n, const struct net_limits *limits);

/* From now on these; connections that are open keep what they have. */
void net_secure(struct net *n, const struct net_proof *proof);

/*
 * From now on hosts must be at these places; n up to NET_PLACES_MAX.  Connections that
 * are open keep theirs.  -errno, with some sockets changed: try again, or give up.
 */
int net_set_places(struct net *n, const struct net_place *places, size_t n_places);

/*
 * Messages that the kernel dropped at our sockets: from a wrong place, or for want of
 * room (of TCP: at the listeners).
 */
uint64_t net_kernel_dropped(const struct net *n, enum transport transport);

const struct net_counters *net_counters(const struct net *n);
