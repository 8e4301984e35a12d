/*
 * UDP loses, repeats and reorders; a host repeats a request until it is answered.  One
 * answer a session is remembered, found by source port, length and hash of the request;
 * only the host itself could find two requests with one hash, and would hurt nobody else.
 */
#include "engine/replay.h"

#include "engine/emit.h"

#include <stdlib.h>
#include <string.h>

#define COUNTER_HALF 0x7fffffffU

static uint64_t hash_of(const uint8_t *bytes, size_t len)
{
	uint64_t h = 0xcbf29ce484222325ULL; /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		h = (h ^ bytes[i]) * 0x100000001b3ULL;
	return h;
}

static const uint8_t *answer_of(const struct last *l)
{
	return l->answer_len > ANSWER_SHORT ? l->spill : l->answer;
}

static bool is_same(
	const struct last *l, const struct peer *from, const uint8_t *bytes, size_t len)
{
	return l->answer_len > 0 && l->port == from->port && l->len == len &&
	       l->hash == hash_of(bytes, len);
}

/*
 * A REGISTER_RESPONSE is repeated for 10 s only: later, the same bytes come from a host
 * that has started again and must hear that it is registered (RFC 3103 10.2.1).
 */
static bool is_fresh(const struct last *l, uint64_t now_ms)
{
	return l->type != MSG_REGISTER_REQUEST || now_ms - l->at_ms <= DUPLICATE_MS;
}

static uint16_t error_of(const struct last *l)
{
	const uint8_t *b = answer_of(l);

	/* Error is the first parameter of an ERROR_RESPONSE: header, type, length. */
	return b[1] == MSG_ERROR_RESPONSE ? (uint16_t)(b[7] << 8 | b[8]) : 0;
}

bool replay_is_duplicate(struct engine *e, const struct reg *r, const struct peer *from,
	const uint8_t *bytes, size_t len, uint64_t now_ms)
{
	const struct last *l = NULL;

	if (r != NULL && is_same(&r->last, from, bytes, len) &&
		is_fresh(&r->last, now_ms))
		l = &r->last;
	if (l == NULL) {
		const struct tomb *t = table_find(&e->tombs, from->addr);

		if (t != NULL && is_same(&t->last, from, bytes, len))
			l = &t->last;
	}
	if (l == NULL)
		return false;
	e->counters.udp_duplicates++;
	emit_reply(e, from, answer_of(l), l->answer_len, error_of(l), false, false);
	return true;
}

/* How far `counter` is ahead, on the circle 1..2^32-1 that leaves 0 out. */
static uint32_t ahead(uint32_t counter, uint32_t last)
{
	return counter >= last ? counter - last : counter - last - 1;
}

enum replay_verdict replay_judge(struct engine *e, const struct request *q)
{
	uint32_t distance;

	if (!q->reg->counters || q->reg->counter == 0)
		return REPLAY_NEW;
	distance = ahead(q->counter, q->reg->counter);
	if (distance > COUNTER_HALF) {
		e->counters.udp_stale++;
		return REPLAY_STALE;
	}
	if (distance > 1)
		e->counters.udp_counter_gap++;
	return REPLAY_NEW;
}

/* Where an answer of this length goes; NULL when memory is short. */
static uint8_t *last_room(struct last *l, size_t len)
{
	if (len <= ANSWER_SHORT)
		return l->answer;
	free(l->spill);
	l->spill = malloc(len);
	return l->spill;
}

static bool last_store(
	struct last *l, const struct request *q, const uint8_t *answer, size_t len)
{
	uint8_t *to;

	l->hash = hash_of(q->bytes, q->len);
	l->len = (uint32_t)q->len;
	l->port = q->from->port;
	l->type = q->msg.type;
	l->at_ms = q->now_ms;
	to = last_room(l, len);
	l->answer_len = to != NULL ? (uint32_t)len : 0;
	if (to == NULL)
		return false; /* a repetition is taken for a new request then */
	memcpy(to, answer, len);
	return true;
}

void replay_last_fini(struct last *l)
{
	free(l->spill);
	*l = (struct last){ 0 };
}

static void conn_set(struct engine *e, struct reg *r, uint64_t conn)
{
	if (r->peer.conn == conn)
		return;
	if (r->peer.conn != 0)
		table_del(&e->conns, r->peer.conn);
	r->peer.conn = 0;
	/* Without memory it gets no asynchronous messages. */
	if (conn == 0 || table_reserve(&e->conns, 1) != 0)
		return;
	r->peer.conn = conn;
	table_add(&e->conns, conn, r);
}

void replay_conn_closed(struct engine *e, uint64_t conn)
{
	struct reg *r = table_find(&e->conns, conn);

	if (r != NULL)
		conn_set(e, r, 0);
}

void replay_follow(struct engine *e, struct reg *r, const struct peer *from)
{
	if (from->transport != r->peer.transport)
		return;
	if (from->transport == TRANSPORT_TCP && from->conn < r->peer.conn)
		return; /* asynchronous messages go to the newest connection */
	uint64_t conn = r->peer.conn;

	r->peer = *from;
	r->peer.conn = conn;
	conn_set(e, r, from->conn);
}

void replay_waits(struct engine *e, struct request *q)
{
	struct reg *r = q->reg;
	bool same = (q->msg.has & HAS_COUNTER) && q->counter == r->counter;
	bool counters = r->counters;
	struct peer was = r->peer;

	/* Another port takes the session only with a newer request. */
	if (!same || q->from->transport == TRANSPORT_TCP)
		replay_follow(e, r, q->from);
	if (q->msg.has & HAS_COUNTER) {
		r->counters = true;
		r->counter = q->counter;
	}
	/* Where and how the host is told of losses holds after a restart as well. */
	if (r->counters != counters ||
		(r->peer.transport == TRANSPORT_UDP &&
			(r->peer.port != was.port || r->peer.local != was.local)))
		emit_keep_reg(e, r, false);
}

void replay_moved(struct engine *e, struct request *q, const uint8_t *answer, size_t len)
{
	if (!q->waited)
		replay_waits(e, q);
	/* A newer request may have been answered while this one waited; its answer stays,
	 * and a repetition of this one is stale. */
	else if (q->counter != q->reg->counter)
		return;
	if (q->from->transport == TRANSPORT_UDP)
		(void)last_store(&q->reg->last, q, answer, len);
}

void replay_tomb_end(struct engine *e, struct tomb *t)
{
	timers_unset(&e->timers, &t->timer);
	table_del(&e->tombs, t->host);
	replay_last_fini(&t->last);
	free(t);
}

/* One for this host, in place of its former one. */
static struct tomb *tomb_new(struct engine *e, uint32_t host)
{
	struct tomb *t = table_find(&e->tombs, host);

	if (t != NULL)
		replay_tomb_end(e, t);
	if (e->tombs.n >= TOMBS_MAX || timers_reserve(&e->timers, 1) != 0 ||
		table_reserve(&e->tombs, 1) != 0)
		return NULL;
	t = calloc(1, sizeof(*t));
	if (t != NULL) {
		t->timer.kind = TIMER_TOMB;
		t->host = host;
	}
	return t;
}

void replay_bury(
	struct engine *e, const struct request *q, const uint8_t *answer, size_t len)
{
	struct tomb *t = tomb_new(e, q->from->addr);

	if (t == NULL)
		return; /* a repetition gets 301 then, which ends the session as well */
	if (!last_store(&t->last, q, answer, len)) {
		free(t);
		return;
	}
	table_add(&e->tombs, t->host, t);
	timers_set(&e->timers, &t->timer, q->now_ms + DUPLICATE_MS);
}
