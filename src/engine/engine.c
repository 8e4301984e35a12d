/*
 * The way of a message through the validation table of docs/protocol.md, and of time.
 * Each step that refuses names the one error that answers; what it means and which IDs go
 * with it is in reply.c.
 */
#include "engine/engine.h"

#include "base/err.h"
#include "engine/assign.h"
#include "engine/bind.h"
#include "engine/conf.h"
#include "engine/emit.h"
#include "engine/policy.h"
#include "engine/pool.h"
#include "engine/prove.h"
#include "engine/query.h"
#include "engine/reg.h"
#include "engine/replay.h"
#include "engine/reply.h"
#include "engine/rest.h"
#include "engine/wait.h"

#include <errno.h>
#include <stdlib.h>

#define TICK_MOST 4096 /* what one call ends at most */

uint32_t engine_random_id(struct engine *e)
{
	uint32_t id;

	do {
		id = e->random.next(&e->random);
	} while (id == 0);
	return id;
}

/* --- life --- */

struct engine *engine_new(
	const struct engine_conf *conf, struct random random, effect_sink sink, void *ctx)
{
	struct engine *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->random = random;
	e->sink = sink;
	e->ctx = ctx;
	e->resting_spis_most = RESTING_SPIS_MAX;
	e->strangers_seed = e->random.next(&e->random);
	e->regs.seed = e->random.next(&e->random);
	e->hosts.seed = e->conns.seed = e->binds.seed = e->tombs.seed = e->regs.seed;
	e->addrs.seed = e->asked.seed = e->ike.seed = e->regs.seed;
	e->queries = malloc(QUERIES_MAX * sizeof(*e->queries));
	if (e->queries == NULL || conf_copy(&e->conf, conf) != 0 ||
		pool_reload(e, &e->conf) != 0) {
		engine_free(e);
		return NULL;
	}
	return e;
}

/* The timer is the first member of what it ends. */
static void row_free(struct timer *t)
{
	if (t->kind == TIMER_REG) {
		replay_last_fini(&((struct reg *)t)->last);
		free(((struct reg *)t)->misuse);
	} else if (t->kind == TIMER_TOMB) {
		replay_last_fini(&((struct tomb *)t)->last);
	} else if (t->kind == TIMER_WAIT) {
		wait_fini((struct waiting *)t);
	}
	free(t);
}

void engine_free(struct engine *e)
{
	if (e == NULL)
		return;
	table_fini(&e->regs);
	table_fini(&e->hosts);
	table_fini(&e->conns);
	table_fini(&e->binds);
	table_fini(&e->tombs);
	table_fini(&e->asked);
	table_fini(&e->ike);
	/* Every row has a timer. */
	for (size_t i = 0; i < timers_count(&e->timers); i++)
		row_free(timers_at(&e->timers, i));
	timers_fini(&e->timers);
	pool_fini(e);
	span_stock_fini(&e->spans);
	conf_fini(&e->conf);
	free(e->queries);
	free(e);
}

/* --- time --- */

/* The host is told after the store is. */
static void reg_end_loudly(
	struct engine *e, struct reg *r, enum end_reason reason, uint64_t now_ms)
{
	struct reg was = *r;

	reg_end(e, r, reason, now_ms);
	reply_async_deregister(e, &was);
}

/* When a registration ends with its last binding, only that is said. */
static void bind_expire(struct engine *e, struct bind *b, uint64_t now_ms)
{
	if (b->reg->timer.at_ms <= now_ms)
		reg_end_loudly(e, b->reg, END_EXPIRED, now_ms);
	else
		bind_end(e, b, END_EXPIRED, true, now_ms);
}

static void timer_fire(struct engine *e, struct timer *t, uint64_t now_ms)
{
	switch (t->kind) {
	case TIMER_REG:
		reg_end_loudly(e, (struct reg *)t, END_EXPIRED, now_ms);
		break;
	case TIMER_BIND:
		bind_expire(e, (struct bind *)t, now_ms);
		break;
	case TIMER_REST:
		rest_end(e, (struct rest *)t);
		break;
	case TIMER_TOMB:
		replay_tomb_end(e, (struct tomb *)t);
		break;
	case TIMER_WAIT:
		wait_give_up(e, (struct waiting *)t, now_ms);
		break;
	case TIMER_NAME:
		name_ask(e, (struct named *)t, now_ms);
		break;
	}
}

void engine_tick(struct engine *e, uint64_t now_ms)
{
	for (int i = 0; i < TICK_MOST; i++) {
		struct timer *t = timers_first(&e->timers);

		if (t == NULL || t->at_ms > now_ms)
			return;
		timer_fire(e, t, now_ms);
	}
}

uint64_t engine_deadline(const struct engine *e)
{
	const struct timer *t = timers_first(&e->timers);

	return t != NULL ? t->at_ms : UINT64_MAX;
}

/* --- messages --- */

static const struct {
	uint16_t (*on)(struct engine *e, struct request *q);
} handlers[256] = {
	[MSG_REGISTER_REQUEST] = { reg_on_register },
	[MSG_DEREGISTER_REQUEST] = { reg_on_deregister },
	[MSG_ASSIGN_REQUEST_RSA_IP] = { assign_on_request },
	[MSG_ASSIGN_REQUEST_RSAP_IP] = { assign_on_request },
	[MSG_EXTEND_REQUEST] = { bind_on_extend },
	[MSG_FREE_REQUEST] = { bind_on_free },
	[MSG_QUERY_REQUEST] = { query_on_request },
	[MSG_LISTEN_REQUEST] = { assign_on_request },
	[MSG_ASSIGN_REQUEST_RSIPSEC] = { assign_on_request },
	[MSG_LISTEN_REQUEST_IKE] = { assign_on_request },
};

/* V2, V3: is it one message of our version? */
static uint16_t check_frame(struct request *q)
{
	bool tcp = q->from->transport == TRANSPORT_TCP;
	size_t overall = (size_t)(q->bytes[2] << 8 | q->bytes[3]);

	q->close = tcp;
	if (q->bytes[0] != RSIP_VERSION_1)
		return RSIP_UNSUPPORTED_RSIP_VERSION;
	if (overall != q->len)
		return RSIP_BAD_MESSAGE;
	q->close = false;
	return 0;
}

/* The counter of a message that is refused before it is decoded. */
static void find_counter(struct request *q)
{
	bool found;

	q->counter = wire_find_counter(q->bytes, q->len, &found);
	q->counted = found || q->from->transport == TRANSPORT_UDP;
}

/* V5 to V10 */
static uint16_t decode(struct engine *e, struct request *q)
{
	bool udp = q->from->transport == TRANSPORT_UDP;
	uint16_t error = 0;

	if (!policy_serves(e, policy_find(&e->conf, q->from->addr), q->bytes[1]))
		error = RSIP_UNSUPPORTED_MESSAGE;
	if (error == 0)
		error = (e->conf.listen_rsip_ike ? wire_decode_private : wire_decode)(
			q->bytes, q->len, SIDE_GATEWAY, udp, &q->msg);
	if (error != 0) {
		find_counter(q);
		return error;
	}
	q->counter = q->msg.counter;
	q->counted = udp || (q->msg.has & HAS_COUNTER);
	return 0;
}

static bool is_session_change(const struct request *q)
{
	return q->msg.type == MSG_REGISTER_REQUEST ||
	       q->msg.type == MSG_DEREGISTER_REQUEST;
}

/* V11: a late copy of an old request? */
static bool is_stale(struct engine *e, const struct request *q)
{
	if (q->reg == NULL || is_session_change(q) ||
		q->from->transport != TRANSPORT_UDP ||
		q->reg->peer.transport != TRANSPORT_UDP)
		return false;
	return replay_judge(e, q) == REPLAY_STALE;
}

/* V12, V13: whose request is it? */
static uint16_t check_session(struct engine *e, struct request *q)
{
	bool moved = q->reg != NULL && q->from->transport != q->reg->peer.transport;

	if (q->unproven)
		return q->msg.type == MSG_REGISTER_REQUEST ? RSIP_REGISTRATION_DENIED
							   : RSIP_REGISTER_FIRST;
	if (moved && !is_session_change(q))
		return q->from->transport == TRANSPORT_UDP ? RSIP_USE_TCP
							   : RSIP_UNKNOWN_ERROR;
	if (q->msg.type == MSG_REGISTER_REQUEST)
		return q->reg != NULL ? RSIP_ALREADY_REGISTERED : 0;
	if (q->reg == NULL)
		return RSIP_REGISTER_FIRST;
	if (q->msg.client_id != q->reg->client_id)
		return RSIP_BAD_CLIENT_ID;
	/* From here on it is this session's request, and moves it also when refused. */
	q->settled = true;
	prove_settle(e, q->reg, q->from);
	return 0;
}

/* A name became known: the rest of the way, with the answer to come now. */
void engine_resume(struct engine *e, struct request *q)
{
	uint16_t error;

	q->settled = q->waited = q->known = true;
	error = decode(e, q); /* it did before, but the configuration may be a new one */
	if (error == 0)
		error = handlers[q->msg.type].on(e, q);
	if (error != 0)
		reply_error(e, q, error);
}

static uint16_t serve(struct engine *e, struct request *q)
{
	uint16_t error = decode(e, q);

	if (error != 0)
		return error;
	if (is_stale(e, q))
		return 0;
	error = check_session(e, q);
	return error != 0 ? error : handlers[q->msg.type].on(e, q);
}

void engine_take(struct engine *e, const struct peer *from, const uint8_t *bytes,
	size_t len, uint64_t now_ms)
{
	struct request q = { .from = from,
		.bytes = bytes,
		.len = len,
		.now_ms = now_ms,
		.counted = from->transport == TRANSPORT_UDP };
	uint16_t error;

	if (len < RSIP_HEADER_LEN) { /* V1 */
		e->counters.dropped_short++;
		return;
	}
	q.reg = reg_find_host(e, from->addr);
	q.unproven = !prove_is_host(e, q.reg, from);
	if (q.unproven) {
		e->counters.unproven++;
		q.reg = NULL;
	} else if (q.reg != NULL && !prove_may_ask(q.reg, now_ms)) {
		e->counters.dropped_busy++;
		return;
	} else if (wait_turn(e, from, bytes, len, now_ms)) {
		return;
	} else {
		q.reg = reg_find_host(e, from->addr); /* one that waited was served */
	}
	e->counters.requests[bytes[1]]++;
	error = check_frame(&q);
	if (error == 0 && bytes[1] == MSG_ERROR_RESPONSE) {
		e->counters.dropped_error_response++; /* V4, V5: errors never loop */
		return;
	}
	if (error == 0 && from->transport == TRANSPORT_UDP) {
		if (!e->conf.udp) { /* V4 */
			find_counter(&q);
			error = RSIP_USE_TCP;
		} else if (!q.unproven && (wait_is_duplicate(e, q.reg, bytes, len) ||
						  replay_is_duplicate(e, q.reg, from,
							  bytes, len, now_ms))) {
			return; /* V11 */
		}
	}
	if (error == 0)
		error = serve(e, &q);
	if (error != 0)
		reply_error(e, &q, error);
}

void engine_message(struct engine *e, const struct peer *from, const uint8_t *bytes,
	size_t len, uint64_t now_ms)
{
	engine_tick(e, now_ms);
	engine_take(e, from, bytes, len, now_ms);
}

void engine_conn_closed(struct engine *e, uint64_t conn)
{
	wait_conn_closed(e, conn);
	replay_conn_closed(e, conn);
}

/* --- misuse of the data plane (RFC 3103 10.4) --- */

#define MISUSE_RATE  1
#define MISUSE_BURST 5

static bool may_complain(struct engine *e, struct reg *r, uint16_t error, uint64_t now_ms)
{
	static const uint16_t errors[MISUSE_ERRORS] = { RSIP_BAD_TUNNEL_TYPE,
		RSIP_LOCAL_ADDR_UNALLOWED, RSIP_LOCAL_ADDRPORT_UNALLOWED,
		RSIP_REMOTE_ADDR_UNALLOWED, RSIP_REMOTE_ADDRPORT_UNALLOWED,
		RSIP_IPSEC_UNALLOWED, RSIP_INTERNAL_SERVER_ERROR };
	size_t i = 0;

	while (i < MISUSE_ERRORS && errors[i] != error)
		i++;
	if (i == MISUSE_ERRORS)
		return false;
	if (r->misuse == NULL)
		r->misuse = calloc(MISUSE_ERRORS, sizeof(*r->misuse));
	if (r->misuse != NULL &&
		limit_take(&r->misuse[i], MISUSE_RATE, MISUSE_BURST, now_ms))
		return true;
	e->counters.dropped_rate++;
	return false;
}

void engine_misuse(struct engine *e, uint32_t host, uint16_t error, uint32_t bind_id,
	uint64_t now_ms)
{
	struct reg *r = reg_find_host(e, host);
	struct wire_msg m = { .type = MSG_ERROR_RESPONSE,
		.has = HAS_ERROR | (bind_id != 0 ? HAS_BIND_ID : 0U),
		.error = error,
		.bind_id = bind_id };

	if (r != NULL)
		r->misused++;
	if (r != NULL && may_complain(e, r, error, now_ms))
		reply_async(e, r, &m);
}

/* --- the operator --- */

int engine_release(struct engine *e, uint32_t bind_id, uint64_t now_ms)
{
	struct bind *b = bind_find(e, bind_id);

	if (b == NULL)
		return ERR_NOTFOUND;
	bind_end(e, b, END_OPERATOR, true, now_ms);
	return 0;
}

int engine_deregister(struct engine *e, uint32_t client_id, uint64_t now_ms)
{
	struct reg *r = reg_find(e, client_id);

	if (r == NULL)
		return ERR_NOTFOUND;
	reg_end_loudly(e, r, END_OPERATOR, now_ms);
	return 0;
}

/*
 * Can the host no longer be served?  All that it holds, or all that there was, has left
 * the pools (RFC 3103 9.5).  One that holds something that stays is not cut off.
 */
static bool is_stranded(const struct engine *e, const struct reg *r)
{
	if (e->n_shared + e->n_dedicated == 0)
		return true;
	for (const struct bind *b = r->binds; b != NULL; b = b->next)
		if (b->addr->pool != NULL)
			return false;
	return r->binds != NULL;
}

int engine_reload(struct engine *e, const struct engine_conf *conf, uint64_t now_ms)
{
	struct engine_conf copy;
	struct reg *r;
	size_t at = 0;
	int rc = conf_copy(&copy, conf);

	if (rc != 0)
		return rc;
	rc = pool_reload(e, &copy);
	if (rc != 0) {
		conf_fini(&copy);
		return rc;
	}
	conf_fini(&e->conf);
	e->conf = copy;
	while ((r = table_next(&e->regs, &at)) != NULL) {
		r->policy = policy_find(&e->conf, r->host);
		if (is_stranded(e, r)) {
			reg_end_loudly(e, r, END_OPERATOR, now_ms);
			at--;
		}
	}
	return 0;
}

const struct engine_counters *engine_counters(const struct engine *e)
{
	return &e->counters;
}
