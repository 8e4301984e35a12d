/*
 * What the answer to the message in work does.  A message that can't be the answer is
 * counted and changes nothing: the timer goes on (RFC 3103 section 9.1.3).
 */
#include "client/session.h"

#include <stdlib.h>

/* REGISTER_RESPONSE: values that no registration can have. */
static bool is_registration_legal(const struct wire_msg *m)
{
	if (!m->client_id || !m->lease_s || m->flow_local < FLOW_MACRO ||
		m->flow_local > FLOW_MICRO || m->flow_remote < FLOW_MACRO ||
		m->flow_remote > FLOW_NONE)
		return false;
	for (unsigned int i = 0; i < m->n_tunnels; i++) {
		if (m->tunnels[i] == 0)
			return false;
	}
	return true;
}

static void take_registered(
	struct rsip_session *s, const struct wire_msg *m, uint64_t now_us)
{
	struct rsip_registration *reg = &s->reg;
	struct rsip_event ev = { .type = RSIP_EVENT_REGISTERED, .registration = reg };

	(void)now_us;
	*reg = (struct rsip_registration){
		.client_id = m->client_id,
		.lease_s = m->lease_s,
		.expires_us = s->sent_us + m->lease_s * 1000000ULL,
		.local = (enum rsip_policy)m->flow_local,
		.remote = (enum rsip_policy)m->flow_remote,
		.methods = 1 << RSIP_RSAP_IP,
	};
	for (unsigned int i = 0; i < m->n_methods; i++) {
		if (m->methods[i] >= RSIP_RSA_IP && m->methods[i] <= RSIP_RSIPSEC)
			reg->methods |= 1U << m->methods[i];
	}
	for (unsigned int i = 0; i < m->n_tunnels; i++) {
		if (m->tunnels[i] <= RSIP_L2TP)
			reg->tunnels |= 1U << m->tunnels[i];
	}
	if (!m->n_tunnels)
		reg->tunnels = 1 << RSIP_IPIP;
	s->registered = true;
	s->lost = false;
	s->clears = 0;
	grant_keep(s);
	run_finish(s, &ev);
}

static void take_deregistered(
	struct rsip_session *s, const struct wire_msg *m, uint64_t now_us)
{
	(void)m;
	if (s->work->own)
		loss_registration(s, RSIP_CAUSE_RENEWED, 0, now_us);
	else
		loss_deregistered(s, RSIP_FAIL_NONE, 0, now_us);
}

static void take_cleared(
	struct rsip_session *s, const struct wire_msg *m, uint64_t now_us)
{
	(void)m;
	(void)now_us;
	s->clear_id = 0;
	run_finish(s, NULL);
}

void answer_unusable(struct rsip_session *s, uint32_t bind_id, uint64_t now_us)
{
	s->answered = true;
	s->count.unusable++;
	/* One of an ID that is held stays: freeing it would end the other. */
	if (bind_id && !grant_by_id(s, bind_id))
		loss_orphan(s, bind_id, 0, now_us);
	if (s->work->probe) {
		s->lost_assign = false;
		run_finish(s, NULL);
		return;
	}
	s->work->bind_id = bind_id;
	run_fail(s, RSIP_FAIL_UNUSABLE, 0);
}

/*
 * SPIs of one address tell apart what comes in, so no two bindings may share one (RFC
 * 3104 section 5).  Ports may be shared: a LISTEN for a port that is held is a second
 * binding.
 */
static bool has_clash(const struct rsip_session *s, const struct rsip_grant *g)
{
	for (size_t i = 0; i < s->n_held; i++) {
		const struct rsip_grant *held = &s->held[i]->grant;

		for (size_t j = 0; held->address == g->address && j < held->n_spis; j++) {
			for (size_t k = 0; k < g->n_spis; k++) {
				if (g->spis[k].lo <= held->spis[j].hi &&
					held->spis[j].lo <= g->spis[k].hi)
					return true;
			}
		}
	}
	return false;
}

static void take_granted(
	struct rsip_session *s, const struct wire_msg *m, uint64_t now_us)
{
	struct rsip_event ev = { .type = RSIP_EVENT_GRANTED, .bind_id = m->bind_id };
	struct binding *b = NULL;
	enum grant_verdict verdict = GRANT_UNUSABLE;

	if (!s->work->probe && !grant_by_id(s, m->bind_id))
		verdict = grant_from(m, s->work, &b);
	if (verdict == GRANT_GOOD && has_clash(s, &b->grant)) {
		free(b);
		verdict = GRANT_UNUSABLE;
	}
	if (verdict == GRANT_UNUSABLE) {
		answer_unusable(s, m->bind_id, now_us);
		return;
	}
	if (verdict == GRANT_MEMORY) {
		loss_orphan(s, m->bind_id, 0, now_us);
		run_fail(s, RSIP_FAIL_MEMORY, 0);
		return;
	}
	loss_orphan_del(s, m->bind_id);
	grant_add(s, b);
	grant_lease(s, b, m->lease_s, s->sent_us, now_us);
	ev.grant = &b->grant;
	run_finish(s, &ev);
}

static void take_extended(
	struct rsip_session *s, const struct wire_msg *m, uint64_t now_us)
{
	struct binding *b = grant_by_id(s, s->work->bind_id);
	struct rsip_event ev = { .type = RSIP_EVENT_EXTENDED, .bind_id = m->bind_id };

	/* The binding may have ended while the extension was under way. */
	if (!b) {
		run_fail(s, RSIP_FAIL_LOST, 0);
		return;
	}
	/* Lease 0 is an end, whatever the message is called (A-R-06). */
	if (!m->lease_s) {
		loss_binding(s, m->bind_id, RSIP_CAUSE_REVOKED, 0, now_us);
		loss_orphan(s, m->bind_id, 0, now_us);
		run_fail(s, RSIP_FAIL_LOST, 0);
		return;
	}
	grant_lease(s, b, m->lease_s, s->sent_us, now_us);
	ev.grant = &b->grant;
	run_finish(s, &ev);
}

static void take_freed(struct rsip_session *s, const struct wire_msg *m, uint64_t now_us)
{
	struct rsip_event ev = { .type = RSIP_EVENT_FREED, .bind_id = m->bind_id };

	(void)now_us;
	loss_orphan_del(s, m->bind_id);
	free(grant_pull(s, m->bind_id));
	run_finish(s, s->work->own ? NULL : &ev);
}

static void take_answer(struct rsip_session *s, const struct wire_msg *m, uint64_t now_us)
{
	struct rsip_event ev = { .type = RSIP_EVENT_ANSWER, .answer = m };

	(void)now_us;
	run_finish(s, &ev);
}

typedef void (*taker)(struct rsip_session *s, const struct wire_msg *m, uint64_t now_us);

static const taker takers[REQ_KINDS] = {
	[RSIP_REQ_REGISTER] = take_registered,
	[RSIP_REQ_DEREGISTER] = take_deregistered,
	[RSIP_REQ_ASSIGN] = take_granted,
	[RSIP_REQ_EXTEND] = take_extended,
	[RSIP_REQ_FREE] = take_freed,
	[RSIP_REQ_QUERY] = take_answer,
	[REQ_CLEAR] = take_cleared,
};

/* Another life of ours is registered: clear it, then ask again (section 10.2.1). */
static void error_register(struct rsip_session *s, const struct wire_msg *m)
{
	s->clear_id = m->client_id;
	s->clears++;
	/* The caller's request stays first in the queue. */
	s->work = NULL;
	step_take(s, STEP_DONE_BARE);
}

/* A binding that was to be given back without the caller. */
static void error_orphan(struct rsip_session *s, uint16_t error, uint64_t now_us)
{
	uint32_t bind_id = s->work->bind_id;

	if (error == RSIP_INTERNAL_SERVER_ERROR)
		loss_orphan_again(s, bind_id, now_us);
	else
		loss_orphan_del(s, bind_id);
	if (error != RSIP_INTERNAL_SERVER_ERROR && error != RSIP_BAD_BIND_ID)
		s->renew = true;
	run_finish(s, NULL);
}

/*
 * FREE_REQUEST.  306 puts both sides in step: neither has the binding.  104 is the
 * gateway's own trouble.  Anything else shows two ideas of who holds what, so the session
 * registers anew (RFC 3103 section 9.12.3).
 */
static void error_free(struct rsip_session *s, uint16_t error, uint64_t now_us)
{
	uint32_t bind_id = s->work->bind_id;
	struct rsip_event ev = { .type = RSIP_EVENT_FREED, .bind_id = bind_id };
	struct binding *b = grant_by_id(s, bind_id);
	bool again = s->work->again;

	if (b && error == RSIP_BAD_BIND_ID)
		free(grant_pull(s, bind_id));
	if (!b || (again && error == RSIP_BAD_BIND_ID)) {
		run_finish(s, &ev);
		return;
	}
	if (error != RSIP_BAD_BIND_ID) {
		b->leaving = false;
		grant_later(s, b, now_us);
		if (error != RSIP_INTERNAL_SERVER_ERROR)
			s->renew = true;
	}
	run_fail(s, RSIP_FAIL_REFUSED, error);
}

static void error_deregister(
	struct rsip_session *s, uint16_t error, uint64_t now_us, bool unknown)
{
	if (s->work->own) {
		loss_registration(s, RSIP_CAUSE_RENEWED, error, now_us);
	} else if (unknown) {
		loss_deregistered(s, RSIP_FAIL_NONE, error, now_us);
	} else {
		s->wanted = true; /* still registered, so still the session's to keep */
		run_fail(s, RSIP_FAIL_REFUSED, error);
	}
}

static void error_extend(struct rsip_session *s, uint16_t error, uint64_t now_us)
{
	struct binding *b = grant_by_id(s, s->work->bind_id);

	if (b && error == RSIP_BAD_BIND_ID) {
		loss_binding(s, s->work->bind_id, RSIP_CAUSE_UNKNOWN, error, now_us);
		b = NULL;
	}
	if (b)
		grant_later(s, b, now_us);
	run_fail(s, b ? RSIP_FAIL_REFUSED : RSIP_FAIL_LOST, error);
}

/* 301 and 303 (A-R-10), or a registration of ours with another Client ID. */
static bool is_unknown(uint16_t error)
{
	return error == RSIP_REGISTER_FIRST || error == RSIP_ALREADY_UNREGISTERED ||
	       error == RSIP_BAD_CLIENT_ID;
}

static void take_error(struct rsip_session *s, const struct wire_msg *m, uint64_t now_us)
{
	uint16_t error = m->error;
	enum rsip_request kind = s->work->kind;

	if (kind == RSIP_REQ_REGISTER) {
		if (error == RSIP_ALREADY_REGISTERED && m->client_id &&
			s->clears < CLEARS_MAX)
			error_register(s, m);
		else
			loss_refused(s, RSIP_FAIL_REFUSED, error, now_us);
		return;
	}
	if (kind == REQ_CLEAR) {
		take_cleared(s, m, now_us);
		return;
	}
	if (kind == RSIP_REQ_DEREGISTER) {
		error_deregister(s, error, now_us, is_unknown(error));
		return;
	}
	if (is_unknown(error)) {
		loss_of_step(s, error, now_us);
		return;
	}
	if (kind == RSIP_REQ_EXTEND) {
		error_extend(s, error, now_us);
	} else if (kind == RSIP_REQ_FREE) {
		if (s->work->own)
			error_orphan(s, error, now_us);
		else
			error_free(s, error, now_us);
	} else if (s->work->probe) {
		s->lost_assign = false;
		run_finish(s, NULL);
	} else {
		run_fail(s, RSIP_FAIL_REFUSED, error);
	}
}

/* Is the ID that of the registration the request was about? */
static bool is_client(const struct rsip_session *s, const struct wire_msg *m)
{
	enum rsip_request kind = s->work->kind;

	if (kind == RSIP_REQ_REGISTER || !(m->has & HAS_CLIENT_ID))
		return true;
	if (kind == REQ_CLEAR)
		return m->type == MSG_ERROR_RESPONSE || m->client_id == s->clear_id;
	return m->client_id == s->reg.client_id;
}

static bool is_bind(const struct rsip_session *s, const struct wire_msg *m)
{
	enum rsip_request kind = s->work->kind;

	if (kind != RSIP_REQ_EXTEND && kind != RSIP_REQ_FREE)
		return true;
	return !(m->has & HAS_BIND_ID) || m->bind_id == s->work->bind_id;
}

void answer_take(struct rsip_session *s, const struct wire_msg *m, uint64_t now_us)
{
	enum rsip_request kind = s->work->kind;
	bool error = m->type == MSG_ERROR_RESPONSE;
	bool ended =
		s->registered &&
		((m->type == MSG_DEREGISTER_RESPONSE && kind != RSIP_REQ_DEREGISTER) ||
			(m->type == MSG_FREE_RESPONSE && kind == RSIP_REQ_EXTEND));

	if (!error && !ended && m->type != ask_answer_type(s->work)) {
		s->count.drop_type++;
		return;
	}
	if (!is_client(s, m) || !is_bind(s, m)) {
		s->count.drop_client++;
		return;
	}
	if (m->type == MSG_REGISTER_RESPONSE && !is_registration_legal(m)) {
		s->count.drop_malformed++;
		return;
	}
	s->answered = true;
	if (error) {
		take_error(s, m, now_us);
	} else if (ended && m->type == MSG_DEREGISTER_RESPONSE) {
		loss_registration(s, RSIP_CAUSE_REVOKED, 0, now_us);
	} else if (ended) {
		/* An extension may be answered by the end (RFC 3103 section 9.11.3). */
		loss_binding(s, m->bind_id, RSIP_CAUSE_REVOKED, 0, now_us);
		run_fail(s, RSIP_FAIL_LOST, 0);
	} else {
		takers[kind](s, m, now_us);
	}
}
