/*
 * Answers.  Which IDs an error carries and when it carries a counter stands here, for all
 * errors in one table.
 */
#include "engine/reply.h"

#include "engine/emit.h"
#include "engine/replay.h"

/* --- errors to strangers are rationed: a spoofed source must not be flooded --- */

static uint32_t bucket_of(const struct engine *e, uint32_t addr)
{
	uint32_t h = (addr ^ e->strangers_seed) * 0x9e3779b1U;

	h ^= h >> 15;
	h *= 0x85ebca6bU;
	return (h ^ (h >> 13)) % STRANGERS;
}

/* Sources that meet in a bucket share its rate, so memory and answers stay bounded. */
static bool may_answer_stranger(struct engine *e, uint32_t addr, uint64_t now_ms)
{
	struct limit *l = &e->strangers[bucket_of(e, addr)];

	if (limit_take(l, e->conf.unregistered_rate, e->conf.unregistered_burst, now_ms))
		return true;
	e->counters.dropped_rate++;
	return false;
}

/* --- answers --- */

void reply_send(struct engine *e, struct request *q, struct wire_msg *m)
{
	int len;

	m->version = RSIP_VERSION_1;
	if (q->counted) {
		m->has |= HAS_COUNTER;
		m->counter = q->counter;
	}
	len = wire_encode(m, e->out, sizeof(e->out));
	if (len < 0) /* grants are measured before they are made; nothing else is long */
		return;
	if (m->has & HAS_ERROR)
		e->counters.errors[m->error % 512]++;
	if (q->reg != NULL) {
		q->reg->asked++;
		q->reg->refused += (m->has & HAS_ERROR) != 0;
	}
	if (q->settled && q->reg != NULL)
		replay_moved(e, q, e->out, (size_t)len);
	if (q->buried)
		replay_bury(e, q, e->out, (size_t)len);
	emit_reply(e, q->from, e->out, (size_t)len, m->error, false, q->close);
}

/* Which IDs go with an error; numbers that are not here have the registered Client ID. */
enum error_ids { IDS_REGISTERED, IDS_NONE, IDS_ECHO_CLIENT, IDS_ECHO_BIND };

static enum error_ids ids_of(uint16_t error)
{
	switch (error) {
	case RSIP_UNSUPPORTED_RSIP_VERSION:
	case RSIP_REGISTRATION_DENIED:
		return IDS_NONE;
	case RSIP_REGISTER_FIRST:
	case RSIP_BAD_CLIENT_ID:
		return IDS_ECHO_CLIENT;
	case RSIP_BAD_BIND_ID:
		return IDS_ECHO_BIND;
	default:
		return IDS_REGISTERED;
	}
}

static void put_ids(const struct request *q, uint16_t error, struct wire_msg *m)
{
	enum error_ids ids = ids_of(error);

	if (ids == IDS_NONE)
		return;
	if (ids != IDS_REGISTERED) {
		m->has |= HAS_CLIENT_ID;
		m->client_id = q->msg.client_id;
	} else if (q->reg != NULL) {
		m->has |= HAS_CLIENT_ID;
		m->client_id = q->reg->client_id;
	}
	if (ids == IDS_ECHO_BIND) {
		m->has |= HAS_BIND_ID;
		m->bind_id = q->msg.bind_id;
	}
}

void reply_error(struct engine *e, struct request *q, uint16_t error)
{
	struct wire_msg m = {
		.type = MSG_ERROR_RESPONSE, .has = HAS_ERROR, .error = error
	};

	if (q->reg == NULL && !may_answer_stranger(e, q->from->addr, q->now_ms))
		return;
	put_ids(q, error, &m);
	reply_send(e, q, &m);
}

/* --- messages of our own accord --- */

void reply_async(struct engine *e, const struct reg *r, struct wire_msg *m)
{
	struct peer unasked = r->peer;
	const struct peer *to = &unasked;
	int len;

	unasked.number = 0;
	if (to->transport == TRANSPORT_TCP && to->conn == 0)
		return;
	m->version = RSIP_VERSION_1;
	m->has |= HAS_CLIENT_ID;
	m->client_id = r->client_id;
	if (r->counters || to->transport == TRANSPORT_UDP) {
		m->has |= HAS_COUNTER;
		m->counter = 0;
	}
	len = wire_encode(m, e->out, sizeof(e->out));
	if (len < 0)
		return;
	if (m->has & HAS_ERROR)
		e->counters.errors[m->error % 512]++;
	emit_reply(e, to, e->out, (size_t)len, m->error, true, false);
}

void reply_async_free(struct engine *e, const struct reg *r, uint32_t bind_id)
{
	struct wire_msg m = {
		.type = MSG_FREE_RESPONSE, .has = HAS_BIND_ID, .bind_id = bind_id
	};

	reply_async(e, r, &m);
}

void reply_async_deregister(struct engine *e, const struct reg *r)
{
	struct wire_msg m = { .type = MSG_DEREGISTER_RESPONSE };

	reply_async(e, r, &m);
}
