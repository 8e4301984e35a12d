#pragma once

#include "base/random.h"
#include "kx/answer.h"
#include "kx/policy.h"

/*
 * The decisions of RFC 2230: who may exchange keys for a destination, and whether a peer
 * may speak for a source.  One function from events to actions: no I/O, no clock, no
 * memory taken after kx_new().  now_ms is monotonic and never goes back.
 *
 * Outbound, for a packet from S to D (section 2.1): PTR of D, forward confirmation, KX of
 * the name, the most preferred exchanger's addresses, key and port, KX_CONNECT, the next
 * one when it does not answer.  Inbound: the peer must be a validated key exchanger of S,
 * else KX_REFUSE; a daemon refuses by default, so no SA ever exists before KX_AUTHORISE.
 */

/* --- configuration --------------------------------------------------------------------
 */

#define KX_SELF_MAX  8
#define KX_LOCAL_MAX 64

/* 0 takes the default in brackets. */
struct kx_limits {
	uint32_t lookup_ms;      /* one look-up [2000] */
	uint32_t decision_ms;    /* all look-ups of one destination [4000] */
	uint32_t ike_ms;         /* one exchanger's IKE_SA [3000] */
	uint32_t total_ms;       /* packet to SA [10000] */
	uint32_t stagger_ms;     /* between the exchangers' look-ups [250] */
	uint32_t lookups;        /* under way at a time [256, at most 1024] */
	uint32_t undecided;      /* destinations under look-up at a time [128] */
	uint32_t waiting;        /* pairs without a decision [4096] */
	uint32_t source_waiting; /* the same of one source [64] */
	uint32_t source_rate,
		source_burst; /* new pairs a second of one source [20, 100] */
	uint32_t rate, burst; /* in all [200, 400] */
	uint32_t decisions;   /* remembered, and pairs [16384] */
	uint32_t exchangers;  /* remembered [1024] */
	uint32_t peer_rate;   /* inbound checks a second of one peer [10] */
	uint32_t id_rate;     /* keys asked a second for one address [1] */
	uint32_t grace_s;     /* an SA outlives its authority by so much when DNS fails
				 [300] */
};

struct kx_conf {
	const struct kx_policy *policy;   /* borrowed; kx_set_policy() changes it */
	struct kx_name self[KX_SELF_MAX]; /* names of this gateway; the first is its
					     identity */
	size_t n_self;
	struct kx_prefix local[KX_LOCAL_MAX]; /* whom this gateway speaks for (inbound D)
					       */
	size_t n_local;
	bool no_forward;      /* do not ask for forward confirmation of a reverse name */
	bool key_needed;      /* an exchanger without IPSECKEY is skipped (no X.509) */
	bool direct_insecure; /* an unsigned answer about KX makes D its own exchanger
				 (A-K-03: `kx-insecure = direct`) */
	struct kx_limits limits;
	struct random random; /* shuffles equal preferences */
};

struct kx;

/* NULL: no memory, or limits out of range. */
struct kx *kx_new(const struct kx_conf *conf);
void kx_free(struct kx *kx);
/* From the next event on; what was decided is decided anew when it expires. */
void kx_set_policy(struct kx *kx, const struct kx_policy *policy);

/* --- events ---------------------------------------------------------------------------
 */

enum kx_event_kind {
	KX_PACKET,     /* a packet waits for a decision */
	KX_INBOUND_TS, /* an authenticated peer asks for an SA on behalf of S */
	KX_INBOUND_ID, /* a peer is not known: its key is wanted */
	KX_ANSWER,     /* what became of a KX_ASK */
	KX_IKE,        /* what became of a KX_CONNECT, or of its SA later */
	KX_TIMER,      /* the time of KX_WAKE, or any other */
	KX_HINT,       /* a name or address will be wanted soon */
	KX_FORGET,     /* the operator's flush: decisions without an SA, or one pair's;
			  with peer and source: an inbound peer's SAs have gone */
};

enum kx_ike {
	KX_IKE_UP,      /* the SA for the pair is there */
	KX_IKE_TIMEOUT, /* no answer */
	KX_IKE_AUTH,    /* AUTHENTICATION_FAILED: perhaps it looks us up just now */
	KX_IKE_TS,      /* TS_UNACCEPTABLE: the same */
	KX_IKE_FAILED,  /* any other failure */
	KX_IKE_DOWN,    /* an SA that was up has gone */
};

struct kx_event {
	enum kx_event_kind kind;
	uint64_t now_ms;
	/*
	 * KX_ANSWER: the action's id.  KX_IKE: the action's pair.  KX_INBOUND_*: the
	 * caller's token, given back in the action that ends it.
	 */
	uint32_t id;
	struct kx_addr source, destination; /* KX_PACKET; KX_HINT: destination;
					       KX_FORGET: both or none */
	struct kx_flow flow;                /* KX_PACKET: destination may stay empty */
	/* KX_INBOUND_*: the peer's identity (FQDN; len 0: an address identity), and the
	 * address that it speaks from. */
	struct kx_name peer; /* KX_HINT: a name of a rule, or none */
	struct kx_addr peer_addr;
	struct kx_prefix remote, local; /* KX_INBOUND_TS: S and D */
	const struct kx_answer *answer; /* KX_ANSWER */
	enum kx_ike ike;                /* KX_IKE */
};

/* --- actions --------------------------------------------------------------------------
 */

enum kx_action_kind {
	KX_ASK,       /* look name and type up until deadline_ms, answer by id */
	KX_CANCEL,    /* the answer to id is of no use any more and must not come */
	KX_CONNECT,   /* bring an SA up for pair: exchanger below, S/32 to D/32 */
	KX_AUTHORISE, /* token: allow peer the SA for S and D until until_ms */
	KX_TRUST,     /* token: the keys of peer, valid until until_ms */
	KX_REFUSE,    /* token: no; why */
	KX_PASS,      /* shunt of pair, until until_ms (the kernel ends it by itself) */
	KX_DROP,      /* the same, dropping */
	KX_UNSHUNT,   /* delete shunts between S and D, both directions */
	KX_TERMINATE, /* end what there is for S and D with peer (SA or negotiation) */
	KX_COVER,     /* the addresses that a rule by name stands for now (trap them) */
	KX_WAKE,      /* event KX_TIMER at until_ms; replaces the former */
	KX_LOG,       /* for the operator: why; bad: loudly */
};

/* Why something was decided as it was; each is a counter and a word in `rsip kx show`. */
enum kx_why {
	KX_WHY_NONE,          /* undecided */
	KX_WHY_EXCHANGER,     /* KX records name it */
	KX_WHY_SELF,          /* proof that there is no KX: its own exchanger */
	KX_WHY_OURS,          /* we are the exchanger */
	KX_WHY_GROUP,         /* the group alone says so (clear, block, ...) */
	KX_WHY_REVERSE,       /* proof that the address has no name, or more than 4 */
	KX_WHY_FORWARD,       /* no name of the address has that address */
	KX_WHY_NAME,          /* proof that the name does not exist */
	KX_WHY_NULL,          /* the exchanger is ".": wants no key exchange */
	KX_WHY_UNUSABLE,      /* no exchanger has a secure address and key */
	KX_WHY_INSECURE,      /* an unsigned zone on the way */
	KX_WHY_BOGUS,         /* a signature does not hold */
	KX_WHY_ERROR,         /* no answer */
	KX_WHY_LIMIT,         /* too much at once; the next packet tries again */
	KX_WHY_IKE,           /* no exchanger answered or agreed */
	KX_WHY_NOT_EXCHANGER, /* inbound: the peer is none of S */
	KX_WHY_NOT_LOCAL,     /* inbound: D is not one of ours */
	KX_WHY_RANGE,         /* inbound: more than single addresses */
	KX_WHY_WITHDRAWN,     /* the owner took the authority back */
	KX_WHYS,
};

/* "exchanger", ...: one word. */
const char *kx_why_text(enum kx_why why);
/* A sentence. */
const char *kx_why_sentence(enum kx_why why);

#define KX_ADDRS_MAX 8
#define KX_KEYS_MAX  2

/* Whom to speak to; borrowed until the next kx_step(). */
struct kx_exchanger {
	struct kx_name name; /* its identity, FQDN */
	struct kx_addr addrs[KX_ADDRS_MAX];
	size_t n_addrs;
	uint16_t port; /* 0: 500 and 4500 as usual; else that of its SRV record */
	struct kx_key keys[KX_KEYS_MAX];
	size_t n_keys; /* 0: no IPSECKEY (proved): X.509 */
};

struct kx_action {
	enum kx_action_kind kind;
	uint32_t id; /* KX_ASK, KX_CANCEL: of the look-up; token; pair of the others */
	enum kx_why why;
	enum kx_group group;                  /* KX_COVER */
	uint64_t until_ms;                    /* deadline, end of validity, wake-up */
	const struct kx_exchanger *exchanger; /* KX_CONNECT, KX_TRUST: name and keys */
	size_t n_addrs;                       /* of addrs below */
	uint16_t type;                        /* KX_ASK */
	bool bad;                             /* KX_LOG: an attack or a broken zone */
	struct kx_addr source, destination;   /* S and D of the packet's direction */
	struct kx_addr addrs[KX_ADDRS_MAX];   /* KX_CONNECT: where to; KX_COVER */
	struct kx_name name; /* KX_ASK: qname; KX_COVER: the rule's; KX_LOG: or none */
	struct kx_name peer; /* KX_AUTHORISE, KX_TERMINATE */
};

/*
 * `max` must be at least KX_ACTIONS_MIN; what does not fit comes with the next call, for
 * which there is then a KX_WAKE at once.  Returns how many.
 */
#define KX_ACTIONS_MIN 32
size_t kx_step(
	struct kx *kx, const struct kx_event *event, struct kx_action *out, size_t max);

/* --- what there is --------------------------------------------------------------------
 */

enum kx_pair_state {
	KX_PAIR_LOOKUP,  /* waits for DNS */
	KX_PAIR_IKE,     /* negotiates */
	KX_PAIR_RETRY,   /* between two tries */
	KX_PAIR_UP,      /* SA */
	KX_PAIR_PASSED,  /* in clear until ... */
	KX_PAIR_DROPPED, /* dropped until ... */
	KX_PAIR_INBOUND, /* authorised for a peer */
	KX_PAIR_REFUSED, /* refused to a peer, remembered */
	KX_PAIR_STATES,
};

const char *kx_pair_state_text(enum kx_pair_state state);

/* One line of `rsip kx show`. */
struct kx_view {
	uint32_t id;
	enum kx_pair_state state;
	struct kx_addr source, destination;
	struct kx_name name;      /* of the other end's host; len 0: none found */
	struct kx_name exchanger; /* or the inbound peer */
	enum kx_why why;
	enum kx_group group;
	uint64_t until_ms; /* when it is looked at again */
	uint32_t failures;
};

/* Calls fn for each, until it returns false.  Nothing may be changed meanwhile. */
void kx_show(const struct kx *kx, bool (*fn)(void *ctx, const struct kx_view *view),
	void *ctx);

struct kx_counters {
	uint64_t packets, asks, answers[KX_STATUSES], decisions[KX_WHYS];
	uint64_t connects, ups, passed, dropped, authorised, refused, terminated;
	uint64_t limited_source, limited_all, limited_lookups, limited_peer, evicted;
	uint32_t lookups, undecided, waiting, remembered; /* now */
};

const struct kx_counters *kx_count(const struct kx *kx);
