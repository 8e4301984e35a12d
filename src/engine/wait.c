/*
 * Names have addresses only when somebody outside has looked them up.  Here is what
 * stands still until then: requests, each at most WAIT_MS, one a host; and here the
 * bindings that were granted for a name have it looked up again (RFC 3103 appendix C.3).
 */
#include "engine/wait.h"

#include "engine/emit.h"
#include "engine/policy.h"
#include "engine/query.h"
#include "engine/reg.h"
#include "engine/replay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_MIN_S 60
#define AGAIN_MAX_S 3600

/* --- what is kept ---------------------------------------------------------------------
 */

static struct kept *kept_new(const struct peer *from, const uint8_t *bytes, size_t len)
{
	struct kept *k = malloc(sizeof(*k) + len);

	if (k == NULL)
		return NULL;
	*k = (struct kept){ .from = *from, .len = len };
	memcpy(k->bytes, bytes, len);
	return k;
}

void wait_fini(struct waiting *w)
{
	free(w->request);
	for (size_t i = 0; i < w->n_behind; i++)
		free(w->behind[i]);
	w->n_behind = 0;
}

static bool has_room(const struct engine *e, size_t len)
{
	return e->waiting_bytes + len <= WAITING_BYTES;
}

/* --- waiting --------------------------------------------------------------------------
 */

static void ask(struct engine *e, struct waiting *w, const struct wire_addr *name)
{
	w->token = ++e->token;
	table_add(&e->asked, w->token, &w->timer);
	emit_resolve(e, w->token, name->fqdn, name->fqdn_len, true);
}

static struct waiting *wait_new(struct engine *e, const struct request *q)
{
	struct waiting *w;

	if (e->counters.waiting >= WAITING_MAX || !has_room(e, q->len) ||
		timers_reserve(&e->timers, 1) != 0 || table_reserve(&e->asked, 1) != 0)
		return NULL;
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return NULL;
	w->request = kept_new(q->from, q->bytes, q->len);
	if (w->request == NULL) {
		free(w);
		return NULL;
	}
	w->timer.kind = TIMER_WAIT;
	w->reg = q->reg;
	w->bytes = q->len;
	return w;
}

bool wait_begin(struct engine *e, struct request *q, const struct wire_addr *name)
{
	struct waiting *w;

	if (q->reg->waiting != NULL) { /* UDP; over TCP it would be behind the other */
		e->counters.udp_waiting++;
		return true;
	}
	w = wait_new(e, q);
	if (w == NULL) {
		e->counters.names_refused++;
		return false;
	}
	q->reg->waiting = w;
	e->waiting_bytes += w->bytes;
	e->counters.waiting++;
	timers_set(&e->timers, &w->timer, q->now_ms + WAIT_MS);
	replay_waits(e, q);
	ask(e, w, name);
	return true;
}

/* Out of every table; what it keeps is still there. */
static void detach(struct engine *e, struct waiting *w)
{
	timers_unset(&e->timers, &w->timer);
	table_del(&e->asked, w->token);
	w->reg->waiting = NULL;
	e->waiting_bytes -= w->bytes;
	e->counters.waiting--;
}

void wait_drop(struct engine *e, struct waiting *w)
{
	detach(e, w);
	wait_fini(w);
	free(w);
}

/* What came after it takes its turn; one of them may wait in its place. */
static void follow(struct engine *e, struct waiting *w, uint64_t now_ms)
{
	for (size_t i = 0; i < w->n_behind; i++) {
		struct kept *k = w->behind[i];

		engine_take(e, &k->from, k->bytes, k->len, now_ms);
		free(k);
	}
	w->n_behind = 0;
}

static void go_on(struct engine *e, struct waiting *w, const uint32_t *addresses,
	size_t n, uint64_t now_ms)
{
	struct request q = { .from = &w->request->from,
		.bytes = w->request->bytes,
		.len = w->request->len,
		.now_ms = now_ms,
		.reg = w->reg,
		.addresses = addresses,
		.n_addresses = n,
		.where = w->where,
		.n_where = w->n_names };

	detach(e, w);
	if (!w->gone)
		engine_resume(e, &q);
	follow(e, w, now_ms);
	wait_fini(w);
	free(w);
}

void wait_give_up(struct engine *e, struct waiting *w, uint64_t now_ms)
{
	go_on(e, w, NULL, 0, now_ms);
}

/* The names of a QUERY are looked up one after the other. */
static void query_name(struct engine *e, struct waiting *w, const uint32_t *addresses,
	size_t n, uint64_t now_ms)
{
	struct wire_msg m;
	struct wire_addr name;
	bool udp = w->request->from.transport == TRANSPORT_UDP;

	w->where[w->n_names++] = (uint8_t)query_where(e, addresses, n);
	if (w->n_names < NAMES_MAX &&
		wire_decode(w->request->bytes, w->request->len, SIDE_GATEWAY, udp, &m) ==
			0 &&
		query_name_at(&m, w->n_names, &name)) {
		table_del(&e->asked, w->token); /* which makes the room */
		ask(e, w, &name);
	} else {
		go_on(e, w, NULL, 0, now_ms);
	}
}

static void wait_resolved(struct engine *e, struct waiting *w, const uint32_t *addresses,
	size_t n, uint64_t now_ms)
{
	if (w->request->bytes[1] == MSG_QUERY_REQUEST)
		query_name(e, w, addresses, n, now_ms);
	else
		go_on(e, w, addresses, n, now_ms);
}

/* Nobody is there to take the answer; what came after it may be of another connection. */
void wait_conn_closed(struct engine *e, uint64_t conn)
{
	const struct reg *r = table_find(&e->conns, conn);

	if (r == NULL || r->waiting == NULL || r->waiting->request->from.conn != conn)
		return;
	r->waiting->gone = true;
	timers_set(&e->timers, &r->waiting->timer, 0);
}

/* --- who comes after ------------------------------------------------------------------
 */

bool wait_is_duplicate(
	struct engine *e, const struct reg *r, const uint8_t *bytes, size_t len)
{
	const struct kept *k;

	if (r == NULL || r->waiting == NULL)
		return false;
	k = r->waiting->request;
	if (k->from.transport != TRANSPORT_UDP || k->len != len ||
		memcmp(k->bytes, bytes, len) != 0)
		return false;
	e->counters.udp_waiting++;
	return true;
}

static bool get_behind(struct engine *e, struct waiting *w, const struct peer *from,
	const uint8_t *bytes, size_t len)
{
	struct kept *k;

	if (w->n_behind >= BEHIND_MAX || !has_room(e, len))
		return false;
	k = kept_new(from, bytes, len);
	if (k == NULL)
		return false;
	w->behind[w->n_behind++] = k;
	w->bytes += len;
	e->waiting_bytes += len;
	return true;
}

bool wait_turn(struct engine *e, const struct peer *from, const uint8_t *bytes,
	size_t len, uint64_t now_ms)
{
	struct reg *r;

	if (from->transport != TRANSPORT_TCP)
		return false;
	/* Where nothing more can be kept, the first one has waited long enough. */
	while ((r = reg_find_host(e, from->addr)) != NULL && r->waiting != NULL &&
		r->waiting->request->from.transport == TRANSPORT_TCP) {
		if (get_behind(e, r->waiting, from, bytes, len))
			return true;
		wait_give_up(e, r->waiting, now_ms);
	}
	return false;
}

/* --- the names of bindings ------------------------------------------------------------
 */

int name_add(struct engine *e, struct bind *b, const char *name, uint8_t len)
{
	struct named *n;

	if (table_reserve(&e->asked, 1) != 0)
		return -ENOMEM;
	n = malloc(sizeof(*n) + len);
	if (n == NULL)
		return -ENOMEM;
	*n = (struct named){ .timer.kind = TIMER_NAME, .bind = b, .len = len };
	memcpy(n->name, name, len);
	b->named = n;
	return 0;
}

/* After a restart many begin at once, so not all are due at once. */
void name_start(struct engine *e, struct named *n, uint64_t now_ms)
{
	uint32_t spread = e->random.next(&e->random) % (AGAIN_MIN_S * 1000 / 4);

	n->token = ++e->token;
	table_add(&e->asked, n->token, &n->timer);
	timers_set(&e->timers, &n->timer, now_ms + AGAIN_MIN_S * 1000ULL - spread);
}

/* Again in a while, whether an answer comes or not. */
void name_ask(struct engine *e, struct named *n, uint64_t now_ms)
{
	timers_set(&e->timers, &n->timer, now_ms + AGAIN_MIN_S * 1000ULL);
	emit_resolve(e, n->token, n->name, n->len, false);
}

void name_drop(struct engine *e, struct named *n)
{
	timers_unset(&e->timers, &n->timer);
	table_del(&e->asked, n->token);
	n->bind->named = NULL;
	free(n);
}

/* Addresses that are new are added; what was allowed once is so until the binding ends.
 */
static void name_resolved(struct engine *e, struct named *n, const uint32_t *addresses,
	size_t count, uint32_t ttl_s, uint64_t now_ms)
{
	struct bind *b = n->bind;
	const struct engine_policy *p = b->reg->policy;

	if (ttl_s > AGAIN_MIN_S)
		timers_set(&e->timers, &n->timer,
			now_ms + (ttl_s < AGAIN_MAX_S ? ttl_s : AGAIN_MAX_S) * 1000ULL);
	/* After a reload another policy may hold the host, that has no say here. */
	if (p == NULL || p->remote_flow != b->remote.flow ||
		!policy_add_remotes(p, addresses, count, &b->remote))
		return;
	emit_keep_bind(e, b, false);
	emit_install(e, b);
}

void engine_resolved(struct engine *e, uint64_t token, const uint32_t *addresses,
	size_t n, uint32_t ttl_s, uint64_t now_ms)
{
	struct timer *t;

	engine_tick(e, now_ms);
	t = table_find(&e->asked, token);
	if (t == NULL)
		return;
	if (t->kind == TIMER_NAME)
		name_resolved(e, (struct named *)t, addresses, n, ttl_s, now_ms);
	else
		wait_resolved(e, (struct waiting *)t, addresses, n, now_ms);
}
