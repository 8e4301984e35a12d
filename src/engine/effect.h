#pragma once

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the engine wants done, as plain data: the closed list that the store, the data
 * plane and the programs understand.  All pointers are borrowed for the call.
 *
 * Times are milliseconds of the engine's clock (the caller's monotonic clock that also
 * counts suspend: CLOCK_BOOTTIME).
 */

enum lease_method {
	METHOD_RSA_IP,
	METHOD_RSAP_IP,
	METHOD_RSIPSEC,
	METHOD_LISTEN,
	METHOD_IKE, /* IKE that a peer begins, by its identity */
	METHODS
};
enum tunnel_type { TUNNEL_IPIP = 1, TUNNEL_GRE = 2, TUNNEL_L2TP = 3 };
enum transport { TRANSPORT_UDP, TRANSPORT_TCP, TRANSPORTS };

/* The words of the interfaces: "rsa-ip", "ipip", "udp", ...; NULL for anything else. */
const char *lease_method_name(enum lease_method m);
const char *tunnel_type_name(enum tunnel_type t);
const char *transport_name(enum transport t);

/* How far it is proven who sent a message. */
enum peer_guard {
	PEER_PLAIN,  /* by its address alone */
	PEER_SEALED, /* UDP: by a seal (auth/seal.h) */
	PEER_TLS,
	PEER_BAD, /* it had a proof that is none */
};

/* Whom a message came from or goes to. */
struct peer {
	enum transport transport;
	uint32_t addr;  /* the host's private address */
	uint16_t port;  /* its port */
	uint32_t local; /* the gateway's address that was spoken to: Na, tunnel end */
	uint16_t local_port;
	uint64_t conn; /* TCP: the connection's number, never reused; 0 over UDP */
	enum peer_guard guard;
	uint64_t identity; /* SEALED and TLS: who (auth_identity()); else 0 */
	/* SEALED: by which key, and the number that an answer is about (0: unasked). */
	uint32_t key_id;
	uint64_t number;
};

/*
 * Remote flow policy of one lease (RFC 3103 section 7.2).  A name may have several
 * addresses, each of which is allowed; one that has more of them is cut off here.
 */
enum remote_flow { REMOTE_NONE, REMOTE_MACRO, REMOTE_MICRO };
#define REMOTE_MORE_MAX 7
struct remote {
	enum remote_flow flow;
	uint32_t addr;   /* macro and micro */
	uint16_t port;   /* micro */
	uint16_t n_more; /* beside addr, 0 to REMOTE_MORE_MAX */
	uint32_t more[REMOTE_MORE_MAX];
};

#define IKE_ID_MAX 256

/* A binding: what one host holds under one Bind ID. */
struct lease {
	uint32_t client_id;
	uint32_t bind_id;
	uint32_t host;    /* private address, also the tunnel's far end */
	uint32_t gateway; /* Na: the tunnel's near end */
	uint32_t address; /* Nb */
	enum lease_method method;
	enum tunnel_type tunnel;
	const struct range *ports; /* sorted, disjoint; 0 with RSA-IP or don't need */
	size_t n_ports;            /* ranges, not ports */
	const struct range *spis;
	size_t n_spis;
	struct remote remote;
	const char *remote_name; /* that was asked for in place of an address */
	uint8_t remote_name_len; /* 0: none; not terminated */
	/* May lie before the clock's start (a reboot since): its differences are signed.
	 */
	const uint8_t *ike_id; /* METHOD_IKE: ID type, then data (RFC 2407 4.6.2) */
	uint16_t ike_id_len;   /* 0 with every other method */
	uint64_t granted_ms;
	uint64_t expires_ms;
};

/* A registered host. */
struct registration {
	uint32_t client_id;
	uint32_t host;
	struct peer peer;  /* where asynchronous messages go */
	bool counters;     /* the host sends Message Counters (always over UDP) */
	uint32_t counter;  /* the last one processed; 0 over TCP without */
	uint64_t identity; /* who alone may speak for it; 0: the address */
	uint64_t expires_ms;
	size_t bindings;
	/* For show, and not kept over a restart. */
	uint32_t ports, spis;
	uint64_t requests, refused; /* answered; of these with an error */
	uint64_t misused;           /* packets that it may not send: told by the driver */
};

/* A released tuple set that rests before it may be leased again (RFC 3102 6.1). */
struct resting {
	uint32_t address;
	enum rest_kind { REST_ADDRESS, REST_PORT, REST_SPI } kind;
	struct range range;
	uint64_t until_ms;
};

enum effect_kind {
	EFFECT_REPLY,   /* send bytes to a peer */
	EFFECT_INSTALL, /* the data plane carries this lease from now on, or with new
			   values */
	EFFECT_REMOVE,  /* the data plane forgets it */
	EFFECT_PERSIST, /* the store keeps or forgets a record before replies leave */
	EFFECT_AUDIT,   /* somebody began, extended or ended holding something, or could
			   not have it */
	EFFECT_RESOLVE, /* find the IPv4 addresses of a name: engine_resolved() */
};

enum persist_kind { PERSIST_REGISTRATION, PERSIST_LEASE, PERSIST_RESTING };
enum audit_kind {
	AUDIT_REGISTER,
	AUDIT_DEREGISTER,
	AUDIT_QUOTA,     /* a registered host asked for more than its policy allows */
	AUDIT_EXHAUSTED, /* or than the pools have left */
	AUDIT_GRANT,
	AUDIT_EXTEND,
	AUDIT_END
};
/* Why a lease or registration ended. */
enum end_reason { END_FREED, END_DEREGISTERED, END_EXPIRED, END_OPERATOR };

struct effect {
	enum effect_kind kind;
	union {
		struct {
			struct peer to;
			const uint8_t *bytes;
			size_t len;
			bool async;     /* not the answer to a request */
			bool close;     /* TCP: close the connection after these bytes */
			uint16_t error; /* the RSIP error number it carries, or 0 */
		} reply;
		const struct lease *lease; /* install, remove */
		struct {
			enum persist_kind kind;
			bool gone; /* delete the record; else write it */
			union {
				const struct registration *reg;
				const struct lease *lease;
				const struct resting *resting;
			};
		} persist;
		struct {
			enum audit_kind kind;
			enum end_reason reason;
			uint64_t at_ms;
			const struct registration *reg; /* NULL with a lease event */
			const struct lease *lease; /* NULL with a registration event */
		} audit;
		struct {
			uint64_t token;   /* for engine_resolved(); never 0 */
			const char *name; /* as the host wrote it, not terminated */
			uint8_t len;
			bool waits; /* a request; else a lease whose addresses are due */
		} resolve;
	};
};

/* Called once for each effect, in order; must not call back into the engine. */
typedef void (*effect_sink)(void *ctx, const struct effect *e);
