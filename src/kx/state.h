#pragma once

#include "base/limit.h"
#include "kx/cache.h"
#include "kx/decide.h"
#include "kx/heap.h"

/*
 * The inside of decide.h.
 *
 *   pair  (S, D)        what packets of it get; waits on a dest, then on IKE
 *   dest  D             name and exchangers of a destination, shared by its pairs
 *   exch  name          addresses, key and port of an exchanger, shared by dests
 *   check (peer, S)     may the peer speak for S
 *   walk                the look-ups of one address: PTR, forward, KX; for a dest or a
 *                       check; there are few, the rest queues up
 *   named               the addresses of a rule by name
 *   ask                 one look-up of a walk, exch or named
 *
 * Everything sits in arrays of fixed size.  What one event can cause without bound (pairs
 * of a dest, askers of a check) goes through the ready lists, which are served as long as
 * there is room for actions.
 */

#define NONE      CACHE_NONE

#define NAMES_MAX 4  /* PTR records of one address */
#define LIST_MAX  16 /* KX records used */
#define TRY_MAX   4  /* exchangers tried */
#define NAMED_MAX 256

enum owner { OWNER_DEST, OWNER_CHECK, OWNER_EXCH, OWNER_NAMED, OWNER_WALK };

/* What a look-up is for. */
enum role {
	ROLE_REVERSE,
	ROLE_FORWARD,
	ROLE_KX,
	ROLE_ALIAS, /* does an exchanger's name or address lead to the peer? */
	ROLE_A,
	ROLE_AAAA,
	ROLE_KEY,
	ROLE_SRV,
	ROLES,
};

struct ask {
	uint32_t id;               /* 0: free or queued */
	uint32_t next;             /* of the queue or of the free ones */
	uint8_t owner, role, part; /* part: name of a walk, exchanger of an alias */
	bool queued, dead;         /* dead: nobody wants it while it is queued */
	uint32_t index;            /* of the owner */
	struct kx_name name;
	uint64_t deadline_ms;
};

struct walk_name {
	struct kx_name name;
	enum kx_status forward, kx; /* KX_STATUSES: not there yet */
	bool confirmed;
	bool names_peer; /* a check: some record is the peer */
	uint8_t n;       /* records, sorted */
	struct kx_rr list[LIST_MAX];
};

enum walk_stage { WALK_REVERSE, WALK_NAMES, WALK_ALIASES };

struct walk {
	enum owner owner;
	uint32_t index;
	bool used;
	enum walk_stage stage;
	struct kx_addr addr;
	struct kx_name peer; /* a check: whom the records should name */
	bool own;            /* a check: the peer speaks from the address itself */
	uint32_t ttl_s;      /* the least so far */
	enum kx_why why;     /* of a failed reverse look-up */
	uint8_t n_names, pending;
	bool alias; /* an exchanger leads to the peer */
	enum kx_why alias_why;
	struct walk_name names[NAMES_MAX];
	struct heap_timer timer;
};

enum dest_state { DEST_QUEUED, DEST_WALK, DEST_EXCH, DEST_FOUND, DEST_FAILED };

struct dest {
	struct kx_addr addr;
	enum dest_state state;
	enum kx_why why;
	struct kx_name name;
	uint32_t walk, named;
	bool refresh; /* the walk is only to see whether all still holds */
	bool self;    /* D is its own exchanger: speak to D itself */
	uint8_t n_exch;
	uint32_t exch[TRY_MAX];
	uint64_t exch_from_ms;
	uint64_t until_ms; /* of what was found */
	uint32_t ttl_s, errors;
	uint32_t pairs; /* first of those that wait, negotiate or are up */
	uint32_t queue; /* next that waits for a walk */
	uint32_t active_next;
	bool queued, active; /* active: waits for exchangers, or a pair of it does */
	struct heap_timer timer;
};

enum exch_state { EXCH_IDLE, EXCH_ASKING, EXCH_USABLE, EXCH_FAILED };

struct exch {
	struct kx_exchanger x; /* x.name: what certificates say; key: `name` */
	struct kx_name name, canon;
	enum exch_state state;
	enum kx_why why;
	uint8_t pending;
	bool srv_again; /* the port is looked up once more, below the canonical name */
	bool ready;
	uint32_t refs;               /* of dests and pairs */
	uint32_t askers, ready_next; /* who waits for its key */
	uint32_t ttl_s, errors;
	uint64_t until_ms;
};

struct pair {
	struct kx_addr source, destination;
	enum kx_pair_state state;
	enum kx_why why;
	enum kx_group group;
	enum kx_shunt negotiation, failure;
	bool bogus_drop;
	bool collided;                /* the other end negotiates the same pair */
	bool ready, flush, withdrawn; /* to be done when taken from the list */
	uint8_t tried, attempt;
	uint32_t id;
	uint32_t exch;       /* being tried, or that of the SA; a reference; NONE */
	uint32_t dest, next; /* only while it waits, negotiates or is up */
	uint32_t ready_next, source_slot;
	uint32_t failures, failure_ttl_s, failure_most_s;
	uint64_t since_ms, until_ms;
	uint64_t safe_until_ms; /* after a success: no clear text before that */
	struct heap_timer timer;
};

struct asker {
	uint32_t next, token;
	struct kx_addr destination;
};

struct check {
	struct kx_name peer;
	struct kx_addr peer_addr, source;
	enum kx_pair_state state; /* LOOKUP, INBOUND, REFUSED */
	bool held;                /* was authorised: an SA may exist */
	bool own;                 /* it speaks from S itself */
	bool ready, queued;
	enum kx_why why;
	struct kx_name name;
	uint32_t walk, askers, queue, errors, ready_next;
	uint64_t until_ms; /* of the authority, or of the refusal */
	struct heap_timer timer;
};

struct source {
	struct kx_addr addr;
	struct limit rate;        /* of new pairs */
	struct limit checks, ids; /* as a peer: authorities and keys asked for */
	uint32_t waiting;
};

struct named {
	uint32_t rule;
	struct kx_name name;
	uint8_t pending, n;
	bool failed, covered;
	uint32_t ttl_s, errors;
	struct kx_addr addrs[KX_ADDRS_MAX], fresh[KX_ADDRS_MAX];
	uint8_t n_fresh;
	uint64_t until_ms; /* of what is known */
	struct heap_timer timer;
};

struct kx {
	struct kx_conf conf;
	struct kx_limits limit;
	const struct kx_policy *policy;
	struct kx_counters count;
	uint64_t now_ms, wake_ms, seed;
	struct limit rate;
	bool policy_new;

	struct kx_action *out, nowhere;
	size_t n_out, max_out;

	struct cache pair_index, dest_index, exch_index, check_index, source_index;
	struct pair *pairs;
	struct dest *dests;
	struct exch *exchs;
	struct check *checks;
	struct source *sources;
	struct walk *walks;
	struct named *named;
	uint32_t n_walks, n_checks, n_named;

	struct ask *asks;
	uint32_t n_asks, free_ask, ask_first, ask_last, ask_serial;
	uint32_t *flight; /* asks under way by the low bits of their id; NONE */
	uint16_t *flight_free;
	uint32_t n_flight_free;

	struct asker *askers;
	uint32_t n_askers, free_asker;
	uint32_t pair_serial;

	/* Queues: waiting for a walk; something to be done for them. */
	uint32_t dest_first, dest_last, check_first, check_last;
	uint32_t ready_pair, ready_check, ready_exch, active;

	struct heap heap;
};

enum timer_kind { TIMER_PAIR, TIMER_DEST, TIMER_WALK, TIMER_CHECK, TIMER_NAMED };

/* decide.c */
/* The next action, zeroed; there always is one within what kx_step() promises. */
struct kx_action *emit(struct kx *kx, enum kx_action_kind kind);
bool ask_new(struct kx *kx, enum owner owner, uint32_t index, enum role role,
	uint8_t part, const struct kx_name *name, uint64_t deadline_ms);
/* Nobody wants the look-ups of that owner any more: cancelled, at most 16. */
void ask_drop(struct kx *kx, enum owner owner, uint32_t index);
uint32_t asker_new(struct kx *kx, uint32_t token, uint32_t next);
void asker_free(struct kx *kx, uint32_t asker);
enum kx_why why_of(enum kx_status status);
/* The worse of two reasons for a failure. */
enum kx_why why_worse(enum kx_why a, enum kx_why b);
/* How long that is remembered, and no longer than what DNS allows. */
uint64_t keep_until(struct kx *kx, enum kx_why why, uint32_t ttl_s, uint32_t errors);
uint64_t hash_addr(const struct kx *kx, const struct kx_addr *a);
void log_it(struct kx *kx, enum kx_why why, bool bad, const struct kx_name *name,
	const struct kx_addr *source, const struct kx_addr *destination);

/*
 * walk.c: name NULL begins at the address.  peer NULL: for a dest.  NONE: no walk is
 * free.
 */
uint32_t walk_start(struct kx *kx, enum owner owner, uint32_t index,
	const struct kx_addr *addr, const struct kx_name *name,
	const struct kx_name *peer, bool own);
void walk_answer(struct kx *kx, const struct ask *ask, const struct kx_answer *a);
void walk_late(struct kx *kx, uint32_t walk);
/* After the owner has taken what it needs. */
void walk_end(struct kx *kx, uint32_t walk);
/*
 * What the names of an address come to for a packet towards it: KX_WHY_EXCHANGER,
 * _SELF, or the failure.  *name is the one that counts (also for a failure, if there is
 * one), NULL: none.
 */
enum kx_why walk_judge(
	const struct kx *kx, const struct walk *w, const struct walk_name **name);

/* exch.c */
uint32_t exch_get(struct kx *kx, const struct kx_name *name); /* NONE: too many */
void exch_put(struct kx *kx, uint32_t exch);
/* Look it up unless that is known; how it stands then. */
enum exch_state exch_want(struct kx *kx, uint32_t exch);
void exch_answer(struct kx *kx, const struct ask *ask, const struct kx_answer *a);
void exch_trust(struct kx *kx, const struct kx_event *ev);
void exch_step(struct kx *kx, uint32_t exch);

/* dest.c */
uint32_t dest_get(struct kx *kx, const struct kx_addr *addr, uint32_t named);
void dest_pump(struct kx *kx);
void dest_walked(struct kx *kx, uint32_t dest);
void dest_timer(struct kx *kx, uint32_t dest);
void dest_poke(struct kx *kx, uint32_t dest);
/* An exchanger is known now: whoever waits for it. */
void dest_exch_done(struct kx *kx, uint32_t exch);
/* The exchanger to try next; NONE: none now; *pending: perhaps later. */
uint32_t dest_next(struct kx *kx, uint32_t dest, uint8_t *tried, bool *pending);
/* Make room, unless somebody needs it. */
void dest_forget(struct kx *kx, uint32_t dest);
/* An SA begins to count on it. */
void dest_watch(struct kx *kx, uint32_t dest);

/* pair.c */
void pair_packet(struct kx *kx, const struct kx_event *ev);
void pair_ike(struct kx *kx, const struct kx_event *ev);
void pair_timer(struct kx *kx, uint32_t pair);
void pair_forget(struct kx *kx, const struct kx_event *ev);
void pair_ready(struct kx *kx, uint32_t pair); /* put on the list */
void pair_step(struct kx *kx, uint32_t pair);  /* taken from the list */
void pair_withdraw(struct kx *kx, uint32_t pair);
void pair_unshunt(struct kx *kx, const struct kx_addr *s, const struct kx_addr *d);
void pair_collide(struct kx *kx, const struct kx_addr *s, const struct kx_addr *d);

/* inbound.c */
void check_ask(struct kx *kx, const struct kx_event *ev);
void check_pump(struct kx *kx);
void check_walked(struct kx *kx, uint32_t check);
void check_timer(struct kx *kx, uint32_t check);
void check_forget(struct kx *kx, const struct kx_event *ev);
void check_step(struct kx *kx, uint32_t check);

/* named.c */
void named_load(struct kx *kx);
void named_answer(struct kx *kx, const struct ask *a, const struct kx_answer *answer);
void named_timer(struct kx *kx, uint32_t i);
/* The rule by name that this address belongs to; NONE. */
uint32_t named_find(const struct kx *kx, const struct kx_addr *addr);

/* For an explanation: this address is taken for the name's, without a look-up. */
void kx_vouch(struct kx *kx, const struct kx_name *name, const struct kx_addr *addr);

/* source.c */
/* May a new pair of this source begin?  *slot is counted as waiting then. */
bool source_take(struct kx *kx, const struct kx_addr *addr, uint32_t *slot);
void source_give(struct kx *kx, uint32_t slot); /* NONE is allowed */
/* May that peer ask for a check, or for a key (id), once more? */
bool source_peer(struct kx *kx, const struct kx_addr *addr, bool id);
