#pragma once

#include "base/limit.h"
#include "engine/engine.h"
#include "engine/ports.h"
#include "engine/spans.h"
#include "engine/table.h"
#include "engine/timers.h"
#include "wire/msg.h"

/* What the engine's files share: its tables.  Nothing outside src/engine includes this.
 */

#define REGISTRATIONS_MAX (1U << 20) /* then 304 */
#define RESTING_SPIS_MAX  (1U << 20) /* ranges; then the oldest ends early */
#define ADDRESSES_MAX     4          /* RSA-IP addresses of one host; then 308 */
#define TOMBS_MAX         65536
#define STRANGERS         16384 /* buckets of the rate of errors to unregistered sources */
#define MISUSE_ERRORS     7
#define ANSWER_SHORT      69    /* bytes; most answers are shorter */
#define DUPLICATE_MS      10000 /* how long REGISTER and DE-REGISTER may be repeated */
#define WAITING_MAX       1024  /* requests that wait for a name, one a host */
#define WAITING_BYTES     (1U << 20) /* of them and of what waits behind them */
#define BEHIND_MAX        16         /* messages behind one of them, over TCP */
#define WAIT_MS           3000
#define NAMES_MAX         8 /* of one QUERY; more are left unanswered */

/* What rests, longest resting first. */
struct rest_queue {
	struct rest *first, *last;
};

/* An address of a pool, or one that left its pool and still has holders. */
struct pool_addr {
	uint32_t address;
	const struct pool *pool; /* NULL: drains */
	bool dedicated;
	uint32_t place;     /* in engine.shared or engine.dedicated */
	struct bind *owner; /* RSA-IP: the whole address is his */
	struct ports *busy; /* held or resting; NULL before the first port */
	uint32_t ports_held, ports_resting;
	uint32_t free;     /* of the pool's ports */
	uint32_t free_any; /* of those that "any n" may get */
	struct spans spis; /* held or resting */
	uint64_t spis_held, spis_resting;
	uint32_t n_binds;
	struct rest_queue resting; /* ports */
	size_t n_rests;            /* all kinds */
};

struct pool {
	const struct engine_pool *conf;
	struct ports leasable, any; /* by name; by "any n", which is from 1024 up */
	uint32_t n_leasable, n_any;
};

/* A range that was released and waits (RFC 3102 6.1). */
struct rest {
	struct timer timer;
	struct pool_addr *addr;
	enum rest_kind kind;
	struct range range;
	struct rest *next, *prev; /* in its queue */
};

/* One binding.  Its ranges, ports then SPIs, stand behind it. */
struct bind {
	struct timer timer; /* at_ms is the expiry */
	struct reg *reg;
	struct pool_addr *addr;
	struct bind *next, *prev; /* of the host */
	uint64_t granted_ms;
	uint32_t id;
	uint32_t gateway;
	struct remote remote;
	struct named *named;   /* NULL when the remote was no name */
	struct bind *ike_next; /* of the same hash */
	uint32_t n_port_ranges, n_spi_ranges;
	uint32_t n_ports, n_spis;
	uint16_t ike_id_len; /* METHOD_IKE; the identity stands behind the ranges */
	uint8_t method, tunnel;
	bool note; /* holds no ports: its address is leased whole, to the same host */
	struct range ranges[];
};

static inline const struct range *bind_ports(const struct bind *b)
{
	return b->ranges;
}
static inline const struct range *bind_spis(const struct bind *b)
{
	return b->ranges + b->n_port_ranges;
}

static inline const uint8_t *bind_ike_id(const struct bind *b)
{
	return (const uint8_t *)(bind_spis(b) + b->n_spi_ranges);
}

/* The last request a host sent over UDP, and its answer. */
struct last {
	uint64_t hash;
	uint64_t at_ms;
	uint32_t len;
	uint32_t answer_len; /* 0: none */
	uint8_t *spill;      /* an answer longer than ANSWER_SHORT */
	uint16_t port;
	uint8_t type;
	uint8_t answer[ANSWER_SHORT];
};

/* The name that a binding's remote addresses come from. */
struct named {
	struct timer timer; /* when they are looked for again */
	struct bind *bind;
	uint64_t token;
	uint8_t len;
	char name[];
};

enum where { WHERE_UNKNOWN, WHERE_LOCAL, WHERE_REMOTE };

/* A message in memory of its own. */
struct kept {
	struct peer from;
	size_t len;
	uint8_t bytes[];
};

/* A request that waits for a name. */
struct waiting {
	struct timer timer; /* at_ms is the deadline */
	struct reg *reg;
	uint64_t token;
	struct kept *request;
	struct kept *behind[BEHIND_MAX]; /* over TCP, in order */
	size_t n_behind, bytes;
	bool gone; /* its connection ended */
	uint8_t n_names;
	uint8_t where[NAMES_MAX]; /* QUERY: of the names that are known */
};

struct reg {
	struct timer timer;
	uint32_t client_id, host;
	uint64_t identity;
	struct limit requests;
	struct peer peer;
	bool counters;
	uint32_t counter;
	const struct engine_policy *policy; /* NULL: no policy matches any more */
	struct bind *binds;                 /* newest first */
	uint32_t n_binds, n_listens, n_addresses;
	uint32_t n_ports, n_spis;
	struct last last;
	uint64_t asked, refused, misused; /* for show */
	struct limit *misuse; /* MISUSE_ERRORS of them; NULL before the first */
	struct waiting *waiting;
};

/* The last answer of a session that ended, for repeated requests. */
struct tomb {
	struct timer timer;
	uint32_t host;
	struct last last;
};

struct engine {
	struct engine_conf conf; /* our copy */
	struct pool *pools;
	struct random random;
	effect_sink sink;
	void *ctx;
	struct timers timers;
	struct table regs, hosts, conns; /* registrations by ID, address, connection */
	struct table binds, tombs;       /* by ID; by host */
	struct table addrs;              /* struct pool_addr */
	struct table asked;              /* struct timer of who waits, by token */
	struct table ike;                /* struct bind, by address and identity */
	uint64_t token;                  /* the last one */
	size_t waiting_bytes;
	struct pool_addr **shared;    /* RSAP-IP, LISTEN, RSIPSEC */
	struct pool_addr **dedicated; /* the free ones first */
	uint32_t n_shared, n_dedicated, n_dedicated_free;
	struct rest_queue resting_spis; /* of all addresses */
	uint32_t resting_spis_most;     /* RESTING_SPIS_MAX; tests take less */
	struct span_stock spans;
	struct limit strangers[STRANGERS];
	uint32_t strangers_seed;
	struct engine_counters counters;
	struct range port_scratch[PORTS_MAX], spi_scratch[RSIP_LENGTH_MAX / 4];
	uint8_t port_bytes[PORTS_MAX * 2], spi_bytes[64];
	struct wire_query *queries; /* QUERIES_MAX */
	uint8_t out[RSIP_LENGTH_MAX];
};

/* A request on its way through the validation table. */
struct request {
	const struct peer *from;
	const uint8_t *bytes;
	size_t len;
	uint64_t now_ms;
	struct reg *reg; /* of the source, NULL when unregistered */
	bool unproven;   /* not of that host: `reg` is NULL then */
	bool settled;    /* passed V13: it moves the session */
	bool counted;    /* the answer has a Message Counter */
	bool buried;     /* the session is gone, its last answer stays a while */
	bool close;      /* TCP: the stream is lost, close it after the answer */
	uint32_t counter;
	/* Of the names in it; before they are known, `known` is false. */
	bool known;
	bool waited; /* the session has moved to it before */
	const uint32_t *addresses;
	size_t n_addresses;
	const uint8_t *where; /* QUERY: by the order of names */
	size_t n_where;
	struct wire_msg msg;
};

/* A message without the tick; the rest of a request that waited. */
void engine_take(struct engine *e, const struct peer *from, const uint8_t *bytes,
	size_t len, uint64_t now_ms);
void engine_resume(struct engine *e, struct request *q);
/* (random, not 0) */
uint32_t engine_random_id(struct engine *e);
