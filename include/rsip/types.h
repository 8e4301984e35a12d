#pragma once

/*
 * The plain data of librsip: what the functions of <rsip/rsip.h> take and hand out.
 * Numbers that go over the wire have their values of RFC 3103 and the IANA registry.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rsip_transport { RSIP_UDP, RSIP_TCP };

/* What a request function returns. */
enum rsip_result {
	RSIP_OK = 0,
	RSIP_ERR_FULL = -1,    /* max_requests or max_bindings reached */
	RSIP_ERR_INVALID = -2, /* an argument that no request can carry */
	RSIP_ERR_MEMORY = -3,
	RSIP_ERR_STATE =
		-4, /* register while registered; what needs registration without */
	RSIP_ERR_NOTFOUND = -5, /* no binding of that ID */
};

/*
 * RFC 3103 appendix D, with what it leaves out: extension, and clearing a registration of
 * an earlier life (section 10.2.1).  BARE: no binding held; BOUND: at least one.
 */
enum rsip_state {
	RSIP_UNREGISTERED,
	RSIP_REGISTERING,
	RSIP_CLEARING,
	RSIP_REGISTERED, /* bare, nothing in work */
	RSIP_BARE_QUERYING,
	RSIP_BARE_DEREGISTERING,
	RSIP_BARE_ASSIGNING,
	RSIP_ASSIGNED, /* bound, nothing in work */
	RSIP_BOUND_QUERYING,
	RSIP_BOUND_DEREGISTERING,
	RSIP_BOUND_ASSIGNING,
	RSIP_EXTENDING,
	RSIP_FREEING,
	RSIP_STATES,
};

/* What is leased; 1 to 3 are the values of parameter RSIP Method. */
enum rsip_kind {
	RSIP_RSA_IP = 1,
	RSIP_RSAP_IP = 2,
	RSIP_RSIPSEC = 3,
	RSIP_LISTEN = 4,
	RSIP_LISTEN_IKE = 5, /* IKE that a peer begins; messages of private use */
};

enum rsip_tunnel { RSIP_IPIP = 1, RSIP_GRE = 2, RSIP_L2TP = 3 };

/* Parameter Flow Policy; the local one is never NONE. */
enum rsip_policy { RSIP_MACRO = 1, RSIP_MICRO = 2, RSIP_NO_POLICY = 3 };

/* Both ends belong to it. */
struct rsip_range {
	uint32_t lo, hi;
};

/* Which ports or SPIs are wanted. */
enum rsip_form {
	RSIP_DONT_NEED, /* none: RSIP_RSIPSEC's ports only, RSA-IP has no choice */
	RSIP_ANY,       /* any `count` of them */
	RSIP_BLOCK,     /* `count` in a row from `first` */
	RSIP_LIST,      /* the `count` numbers of `list` */
};

struct rsip_numbers {
	enum rsip_form form;
	uint32_t count; /* ports 1..255; SPIs 1..65535, in a list 1..16000 */
	uint32_t first;
	const uint32_t *list; /* different numbers, borrowed; SPIs are 256 or more */
};

/*
 * The identity of an IKE peer, for RSIP_LISTEN_IKE: ID type of RFC 2407 section 4.6.2.1
 * (1 to 11) and its data; type 0 without data is any peer.
 */
#define RSIP_IDENTITY_MAX 255
struct rsip_identity {
	uint8_t type;
	uint8_t len;         /* 1 to RSIP_IDENTITY_MAX; 4 for type 1, an IPv4 address */
	const uint8_t *data; /* borrowed */
};

#define RSIP_NAME_MAX 253

/* Both zero and name NULL: don't care.  Needed where the registration has a remote
 * policy. */
struct rsip_remote {
	uint32_t address;
	const char
		*name; /* instead of address; letters, digits, '-', '_', '.'; borrowed */
	uint16_t port;
};

#define RSIP_WANT_TUNNELS_MAX 3

/* Zero is a legal value of every member but kind (and ports, spis where the kind has
 * them). */
struct rsip_want {
	enum rsip_kind kind;
	uint32_t address;          /* 0: any */
	struct rsip_numbers ports; /* RSAP-IP, LISTEN, RSIPSEC */
	struct rsip_numbers spis;  /* RSIPSEC */
	struct rsip_remote remote;
	uint32_t lease_s; /* wish; 0: none.  Automatic extensions repeat it */
	/* Wish, best first; only LISTEN may have more than one. */
	enum rsip_tunnel tunnels[RSIP_WANT_TUNNELS_MAX];
	unsigned int n_tunnels;
	/* Free a grant of other numbers than asked for, or fewer (A-B-02). */
	bool exact;
	struct rsip_identity peer; /* RSIP_LISTEN_IKE */
};

/* A binding held.  Ranges are sorted, joined, and live as long as the binding. */
struct rsip_grant {
	uint32_t bind_id;
	enum rsip_kind kind;
	uint32_t address;  /* ours in the outer realm */
	uint32_t endpoint; /* where packets are tunnelled to; 0: the gateway itself */
	enum rsip_tunnel tunnel;
	const struct rsip_range *ports; /* none: RSA-IP (all are ours), or not needed */
	size_t n_ports;
	const struct rsip_range *spis;
	size_t n_spis;
	uint32_t remote_address; /* 0: any */
	const char *remote_name; /* NULL: none */
	uint16_t remote_port;    /* 0: any */
	uint32_t lease_s;        /* as granted last */
	uint64_t expires_us; /* counted from the request's first transmission (A-R-07) */
	void *tag;           /* of the rsip_assign(); NULL after an import */
	struct rsip_identity peer; /* RSIP_LISTEN_IKE */
};

struct rsip_registration {
	uint32_t client_id;
	uint32_t lease_s;
	uint64_t expires_us; /* moves with the latest binding (P-6-07) */
	enum rsip_policy local, remote;
	uint32_t methods; /* bits 1 << RSIP_RSA_IP .. RSIP_RSIPSEC; RSAP_IP is always set
			   */
	uint32_t tunnels; /* bits 1 << RSIP_IPIP .. RSIP_L2TP */
};

#define RSIP_QUERY_MAX 64

/* An address (prefix 32 and not network) or a network; never address 0. */
struct rsip_net {
	uint32_t address;
	uint8_t prefix; /* networks: 1..32 */
	bool network;
};

struct rsip_answer {
	struct rsip_net net;
	bool local; /* reached without the tunnel */
};

enum rsip_request {
	RSIP_REQ_NONE,
	RSIP_REQ_REGISTER,
	RSIP_REQ_DEREGISTER,
	RSIP_REQ_ASSIGN,
	RSIP_REQ_EXTEND,
	RSIP_REQ_FREE,
	RSIP_REQ_QUERY,
};

enum rsip_event_type {
	/* Complete a request.  Without one (request NONE, tag NULL) the session acted
	   alone. */
	RSIP_EVENT_REGISTERED,   /* registration */
	RSIP_EVENT_DEREGISTERED, /* failure: TIMEOUT if it went without an answer */
	RSIP_EVENT_GRANTED,      /* grant */
	RSIP_EVENT_EXTENDED,     /* grant; automatic ones have no request */
	RSIP_EVENT_FREED,        /* bind_id; failure as above */
	RSIP_EVENT_ANSWER,       /* rsip_answer_next() */
	RSIP_EVENT_FAILED,       /* failure; error; bind_id of an extend or free */
	/* Not asked for. */
	RSIP_EVENT_REGISTRATION_LOST, /* cause; error.  The bindings' events come first */
	RSIP_EVENT_BINDING_LOST,      /* grant, for the last time; cause; error */
	RSIP_EVENT_NOTICE,        /* asynchronous ERROR_RESPONSE: error; bind_id or 0 */
	RSIP_EVENT_STREAM_BROKEN, /* TCP: message boundaries lost; close the connection */
};

enum rsip_failure {
	RSIP_FAIL_NONE,
	RSIP_FAIL_REFUSED,  /* error has the gateway's reason */
	RSIP_FAIL_TIMEOUT,  /* no answer */
	RSIP_FAIL_LOST,     /* the registration or binding ended meanwhile */
	RSIP_FAIL_UNUSABLE, /* a grant that was freed again */
	RSIP_FAIL_POLICY, /* not sent: the registration's flow policy forbids it; error */
	RSIP_FAIL_UNREGISTERED, /* not sent: there is no registration */
	RSIP_FAIL_CANCELLED,    /* not sent: a rsip_deregister() came before */
	RSIP_FAIL_MEMORY,
};

enum rsip_cause {
	RSIP_CAUSE_NONE,
	RSIP_CAUSE_EXPIRED,      /* its lease ran out */
	RSIP_CAUSE_REVOKED,      /* the gateway took it */
	RSIP_CAUSE_UNKNOWN,      /* the gateway does not know it: error */
	RSIP_CAUSE_DEREGISTERED, /* with the registration */
	RSIP_CAUSE_RENEWED,      /* the session registers anew to be in step again */
};

struct rsip_event {
	enum rsip_event_type type;
	enum rsip_request request;
	void *tag;
	enum rsip_failure failure;
	enum rsip_cause cause;
	uint16_t error; /* RFC 3103 appendix A; 0: none */
	uint32_t bind_id;
	const struct rsip_grant *grant;
	const struct rsip_registration *registration;
	const void *answer; /* for rsip_answer_next() */
};

/* All that a session saw; nothing is dropped without one of them. */
struct rsip_session_counters {
	uint64_t sent; /* messages, retransmissions not among them */
	uint64_t retransmitted;
	uint64_t received;       /* whole messages */
	uint64_t asynchronous;   /* counter 0, accepted */
	uint64_t timeouts;       /* requests given up */
	uint64_t losses;         /* registrations and bindings lost */
	uint64_t unusable;       /* grants freed at once */
	uint64_t drop_malformed; /* version, length, grammar, values */
	uint64_t drop_counter;   /* duplicates, late answers, counters never used */
	uint64_t drop_client;    /* another Client ID, or Bind ID than asked about */
	uint64_t drop_type;      /* a message that answers nothing in work */
};
