/*
 * What a session does next.  One message is in work at a time (RFC 3103 section 10.1),
 * and this is the only file that sends one: the session's own needs first, then the
 * caller's requests in their order.
 */
#include "client/session.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

void run_emit(struct rsip_session *s, struct rsip_event ev)
{
	s->conf.event(s->conf.ctx, &ev);
}

void run_finish(struct rsip_session *s, const struct rsip_event *ev)
{
	struct request *r = s->work;
	struct rsip_event out = ev ? *ev : (struct rsip_event){ 0 };

	s->work = NULL;
	if (ev && ev->type == RSIP_EVENT_REGISTERED)
		step_take(s, STEP_REGISTERED);
	else
		step_take(s, s->n_held ? STEP_DONE_BOUND : STEP_DONE_BARE);
	if (!r->own) {
		out.request = r->kind;
		out.tag = r->tag;
		request_unqueue(s, r);
		free(r);
	}
	if (ev)
		run_emit(s, out);
}

void run_fail(struct rsip_session *s, enum rsip_failure why, uint16_t error)
{
	struct rsip_event ev = { .type = RSIP_EVENT_FAILED,
		.failure = why,
		.error = error,
		.bind_id = s->work->bind_id };

	run_finish(s, &ev);
}

/* A waiting request that is not sent at all. */
static void refuse(struct rsip_session *s, struct request *r, enum rsip_failure why)
{
	struct rsip_event ev = { .type = RSIP_EVENT_FAILED,
		.request = r->kind,
		.tag = r->tag,
		.failure = why,
		.error = why == RSIP_FAIL_POLICY ? RSIP_FLOW_POLICY_VIOLATION : 0,
		.bind_id = r->bind_id };

	/* What was to be freed is gone: that is what was asked for. */
	if (r->kind == RSIP_REQ_FREE && why == RSIP_FAIL_LOST) {
		ev.type = RSIP_EVENT_FREED;
		ev.failure = RSIP_FAIL_NONE;
	}
	request_unqueue(s, r);
	if (r->kind == RSIP_REQ_REGISTER &&
		!request_fail_waiting(s, RSIP_FAIL_UNREGISTERED))
		s->wanted = false;
	free(r);
	run_emit(s, ev);
}

static bool refuse_waiting(struct rsip_session *s)
{
	for (struct request *r = s->queue; r; r = r->next) {
		if (r != s->work && r->fail) {
			refuse(s, r, r->fail);
			return true;
		}
	}
	return false;
}

void run_transmit(struct rsip_session *s, uint64_t now_us)
{
	if (s->conf.transport == RSIP_UDP)
		s->due_us = now_us + ((uint64_t)s->conf.first_timeout_us << s->tries);
	else
		s->due_us = now_us + s->conf.answer_timeout_us;
	if (s->tries++)
		s->count.retransmitted++;
	else
		s->count.sent++;
	s->conf.send(s->conf.ctx, s->out, s->out_len);
}

/*
 * The counter goes on only after an answer.  The message after one that was given up has
 * its counter again: the gateway knows it by its other bytes (RFC 3103 section 10.1).
 */
static uint32_t next_counter(const struct rsip_session *s, enum rsip_request kind)
{
	if (kind == RSIP_REQ_REGISTER)
		return 1;
	/* Over TCP an answer may still come, so its counter stays its own. */
	if (!s->answered && s->conf.transport == RSIP_UDP)
		return s->counter;
	return s->counter == UINT32_MAX ? 1 : s->counter + 1;
}

/* Sends it, or ends it; in both cases something happened. */
static bool start(struct rsip_session *s, struct request *r, uint64_t now_us)
{
	uint32_t counter = next_counter(s, r->kind);
	enum rsip_failure failure = r->probe ? RSIP_FAIL_NONE : ask_encode(s, r, counter);

	if (failure == RSIP_FAIL_POLICY && !r->own) {
		refuse(s, r, failure);
		return true;
	}
	s->work = r;
	step_take(s, step_of(r->kind));
	if (failure) {
		loss_request(s, failure, now_us);
		return true;
	}
	s->counter = counter;
	s->answered = false;
	s->tries = 0;
	if (!r->probe)
		s->sent_us = now_us;
	run_transmit(s, now_us);
	return true;
}

static bool start_own(struct rsip_session *s, enum rsip_request kind, uint32_t bind_id,
	uint32_t lease_s, uint64_t now_us)
{
	s->own = (struct request){
		.kind = kind, .own = true, .bind_id = bind_id, .lease_s = lease_s
	};
	return start(s, &s->own, now_us);
}

/* Resends, or gives up. */
static bool wait_answer(struct rsip_session *s, uint64_t now_us)
{
	if (now_us < s->due_us)
		return false;
	if (s->conf.transport == RSIP_UDP && s->tries < s->conf.transmissions) {
		run_transmit(s, now_us);
		return true;
	}
	s->count.timeouts++;
	loss_request(s, RSIP_FAIL_TIMEOUT, now_us);
	return true;
}

/* No connection: what waits for it does so for as long as for an answer. */
static bool wait_connection(struct rsip_session *s, uint64_t now_us)
{
	struct request *head = s->queue;

	if (!head)
		return false;
	if (head->kind == RSIP_REQ_DEREGISTER && !s->registered) {
		s->work = head;
		loss_deregistered(s, RSIP_FAIL_NONE, 0, now_us);
		return true;
	}
	if (now_us < head->made_us + s->conf.answer_timeout_us)
		return false;
	s->count.timeouts++;
	if (head->kind == RSIP_REQ_DEREGISTER) {
		s->work = head;
		loss_deregistered(s, RSIP_FAIL_TIMEOUT, 0, now_us);
	} else {
		refuse(s, head, RSIP_FAIL_TIMEOUT);
	}
	return true;
}

static bool expire(struct rsip_session *s, uint64_t now_us)
{
	if (!s->registered)
		return false;
	if (now_us >= s->reg.expires_us) {
		loss_registration(s, RSIP_CAUSE_EXPIRED, 0, now_us);
		return true;
	}
	for (size_t i = 0; i < s->n_held; i++) {
		const struct rsip_grant *g = &s->held[i]->grant;

		if (now_us >= g->expires_us) {
			loss_binding(s, g->bind_id, RSIP_CAUSE_EXPIRED, 0, now_us);
			return true;
		}
	}
	return false;
}

static bool run_unregistered(struct rsip_session *s, uint64_t now_us)
{
	struct request *head = s->queue;

	if (s->clear_id)
		return start_own(s, REQ_CLEAR, 0, 0, now_us);
	if (head && head->kind == RSIP_REQ_REGISTER) {
		s->lost = false;
		return start(s, head, now_us);
	}
	if (head && head->kind == RSIP_REQ_DEREGISTER) {
		s->work = head;
		loss_deregistered(s, RSIP_FAIL_NONE, 0, now_us);
		return true;
	}
	if (s->lost)
		return now_us >= s->pause_until_us &&
		       start_own(s, RSIP_REQ_REGISTER, 0, 0, now_us);
	if (!head)
		return false;
	refuse(s, head, RSIP_FAIL_UNREGISTERED);
	return true;
}

static struct orphan *orphan_due(struct rsip_session *s, uint64_t now_us)
{
	for (size_t i = 0; i < s->n_orphans; i++) {
		if (now_us >= s->orphans[i].at_us)
			return &s->orphans[i];
	}
	return NULL;
}

static struct binding *extension_due(struct rsip_session *s, uint64_t now_us)
{
	for (size_t i = 0; i < s->n_held; i++) {
		if (now_us >= s->held[i]->extend_us)
			return s->held[i];
	}
	return NULL;
}

/* The pause after a loss holds requests for new bindings (RFC 3103 has no other brake).
 */
static bool is_held_back(
	const struct rsip_session *s, const struct request *r, uint64_t now_us)
{
	return r->kind == RSIP_REQ_ASSIGN && now_us < s->pause_until_us;
}

/* Are its bytes still there, and its counter the last one? */
static bool may_probe(const struct rsip_session *s)
{
	return s->lost_assign && s->conf.transport == RSIP_UDP && s->out_len &&
	       !s->answered && s->counter == s->lost_counter;
}

static bool run_binding_work(struct rsip_session *s, uint64_t now_us)
{
	struct binding *b = extension_due(s, now_us);
	struct request *head = s->queue;

	if (!b && (!head || is_held_back(s, head, now_us)))
		return false;
	/*
	 * Before the counter goes on, the assign that was given up is asked about once
	 * more: the same bytes get the answer it got then, so that what was granted can
	 * be freed.
	 */
	if (may_probe(s)) {
		s->own = (struct request){ .kind = RSIP_REQ_ASSIGN,
			.own = true,
			.probe = true,
			.want.kind = s->lost_kind };
		return start(s, &s->own, now_us);
	}
	if (b)
		return start_own(s, RSIP_REQ_EXTEND, b->grant.bind_id, b->wish_s, now_us);
	return start(s, head, now_us);
}

static bool run_registered(struct rsip_session *s, uint64_t now_us)
{
	struct request *head = s->queue;
	struct orphan *o;

	if (head && head->kind == RSIP_REQ_DEREGISTER)
		return start(s, head, now_us);
	if (head && head->kind == RSIP_REQ_REGISTER) {
		struct rsip_event ev = { .type = RSIP_EVENT_REGISTERED,
			.request = RSIP_REQ_REGISTER,
			.tag = head->tag,
			.registration = &s->reg };

		request_unqueue(s, head);
		free(head);
		run_emit(s, ev);
		return true;
	}
	/* A lost assign costs a bare session nothing but registering anew (A-U-05). */
	if (s->renew || (s->lost_assign && !s->n_held))
		return start_own(s, RSIP_REQ_DEREGISTER, 0, 0, now_us);
	o = orphan_due(s, now_us);
	if (o)
		return start_own(s, RSIP_REQ_FREE, o->bind_id, 0, now_us);
	if (run_binding_work(s, now_us))
		return true;
	return !s->n_held && !head && now_us >= s->keep_us &&
	       start_own(s, RSIP_REQ_DEREGISTER, 0, 0, now_us);
}

/* One thing that is due; false when there is nothing left. */
static bool run_once(struct rsip_session *s, uint64_t now_us)
{
	if (refuse_waiting(s) || expire(s, now_us))
		return true;
	if (s->work)
		return wait_answer(s, now_us);
	if (s->conf.transport == RSIP_TCP && !s->connected)
		return wait_connection(s, now_us);
	return s->registered ? run_registered(s, now_us) : run_unregistered(s, now_us);
}

static void sooner(uint64_t *deadline, uint64_t at_us)
{
	if (at_us < *deadline)
		*deadline = at_us;
}

/* When there is work that is not about the message in work. */
static uint64_t idle_deadline(const struct rsip_session *s)
{
	uint64_t at = NEVER;

	if (s->conf.transport == RSIP_TCP && !s->connected)
		return s->queue ? s->queue->made_us + s->conf.answer_timeout_us : NEVER;
	if (!s->registered)
		return s->lost ? s->pause_until_us : NEVER;
	for (size_t i = 0; i < s->n_held; i++)
		sooner(&at, s->held[i]->extend_us);
	for (size_t i = 0; i < s->n_orphans; i++)
		sooner(&at, s->orphans[i].at_us);
	if (s->queue)
		sooner(&at, s->pause_until_us);
	else if (!s->n_held)
		sooner(&at, s->keep_us);
	return at;
}

static uint64_t next_deadline(const struct rsip_session *s)
{
	uint64_t at = s->work ? s->due_us : idle_deadline(s);

	if (!s->registered)
		return at;
	sooner(&at, s->reg.expires_us);
	for (size_t i = 0; i < s->n_held; i++)
		sooner(&at, s->held[i]->grant.expires_us);
	return at;
}

void run_enter(struct rsip_session *s)
{
	s->depth++;
}

void run_leave(struct rsip_session *s, uint64_t now_us)
{
	if (s->depth == 1) {
		while (run_once(s, now_us))
			;
		s->deadline_us = next_deadline(s);
	}
	s->depth--;
}
