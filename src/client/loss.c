/*
 * How requests, bindings and registrations end without the answer they were waiting for:
 * time-outs, expiry, revocation, lost synchronisation; and what the session then does by
 * itself (RFC 3103 sections 9.5, 9.12.3, 9.13 and 10.2).
 */
#include "client/session.h"

#include <stdlib.h>

/*
 * A binding nobody wants is freed this often, each time after twice the pause: some
 * quarter of an hour.  Then its lease ends it.
 */
#define ORPHAN_TRIES 10

/*
 * A loss within the pause of an earlier one belongs to it.  One that comes soon after the
 * pause doubles it; after a long quiet time it starts anew.
 */
void loss_pause(struct rsip_session *s, uint64_t now_us)
{
	uint64_t quiet = s->pause_until_us + 2 * (uint64_t)s->conf.backoff_max_us;

	if (s->pause_us && now_us < s->pause_until_us)
		return;
	if (!s->pause_us || now_us > quiet)
		s->pause_us = s->conf.backoff_min_us;
	else if (s->pause_us > s->conf.backoff_max_us / 2)
		s->pause_us = s->conf.backoff_max_us;
	else
		s->pause_us *= 2;
	s->pause_until_us = now_us + s->pause_us;
}

void loss_orphan_del(struct rsip_session *s, uint32_t bind_id)
{
	for (size_t i = 0; i < s->n_orphans; i++) {
		if (s->orphans[i].bind_id == bind_id) {
			s->orphans[i] = s->orphans[--s->n_orphans];
			return;
		}
	}
}

void loss_orphan(
	struct rsip_session *s, uint32_t bind_id, unsigned int tries, uint64_t at_us)
{
	loss_orphan_del(s, bind_id);
	if (tries >= ORPHAN_TRIES)
		return;
	if (s->n_orphans == ORPHANS_MAX) {
		s->renew = true; /* frees them all at once */
		return;
	}
	s->orphans[s->n_orphans++] = (struct orphan){ bind_id, tries, at_us };
}

void loss_orphan_again(struct rsip_session *s, uint32_t bind_id, uint64_t now_us)
{
	unsigned int tries = 1;

	for (size_t i = 0; i < s->n_orphans; i++) {
		if (s->orphans[i].bind_id == bind_id)
			tries = s->orphans[i].tries + 1;
	}
	loss_orphan(s, bind_id, tries,
		now_us + ((uint64_t)s->conf.backoff_min_us << (tries - 1)));
}

void loss_binding(struct rsip_session *s, uint32_t bind_id, enum rsip_cause cause,
	uint16_t error, uint64_t now_us)
{
	struct binding *b = grant_pull(s, bind_id);
	struct rsip_event ev = { .type = RSIP_EVENT_BINDING_LOST,
		.cause = cause,
		.error = error,
		.bind_id = bind_id };

	if (!b)
		return;
	if (s->registered && !s->n_held)
		step_take(s, STEP_EMPTIED);
	request_forget(s, bind_id);
	if (cause != RSIP_CAUSE_DEREGISTERED && cause != RSIP_CAUSE_RENEWED)
		loss_pause(s, now_us);
	/* One that the caller gave up already is not lost. */
	if (!b->leaving) {
		ev.grant = &b->grant;
		s->count.losses++;
		run_emit(s, ev);
	}
	free(b);
}

/* The registration is over, with all that was held under it. */
static void end_registration(
	struct rsip_session *s, enum rsip_cause cause, uint16_t error, uint64_t now_us)
{
	s->registered = s->renew = s->lost_assign = false;
	s->n_orphans = 0;
	step_take(s, STEP_GONE);
	while (s->n_held)
		loss_binding(s, s->held[0]->grant.bind_id, cause, error, now_us);
}

void loss_deregistered(struct rsip_session *s, enum rsip_failure failure, uint16_t error,
	uint64_t now_us)
{
	struct rsip_event ev = { .type = RSIP_EVENT_DEREGISTERED,
		.failure = failure,
		.cause = RSIP_CAUSE_DEREGISTERED,
		.error = error };

	if (s->registered)
		end_registration(s, RSIP_CAUSE_DEREGISTERED, error, now_us);
	run_finish(s, &ev);
}

void loss_registration(
	struct rsip_session *s, enum rsip_cause cause, uint16_t error, uint64_t now_us)
{
	struct rsip_event ev = {
		.type = RSIP_EVENT_REGISTRATION_LOST, .cause = cause, .error = error
	};
	struct request *work = s->work;

	if (work && !work->own && work->kind == RSIP_REQ_DEREGISTER) {
		loss_deregistered(s, RSIP_FAIL_NONE, error, now_us);
		return;
	}
	if (work && work->own)
		s->work = NULL;
	s->lost = s->wanted;
	s->count.losses++;
	/* Renewing a bare registration before its end (A-R-09) is nothing to brake. */
	if (cause != RSIP_CAUSE_RENEWED || s->renew || s->lost_assign)
		loss_pause(s, now_us);
	end_registration(s, cause, error, now_us);
	run_emit(s, ev);
	if (s->work)
		run_fail(s, RSIP_FAIL_LOST, error);
}

void loss_of_step(struct rsip_session *s, uint16_t error, uint64_t now_us)
{
	s->clear_id = s->reg.client_id;
	loss_registration(s, RSIP_CAUSE_UNKNOWN, error, now_us);
}

void loss_refused(
	struct rsip_session *s, enum rsip_failure why, uint16_t error, uint64_t now_us)
{
	struct rsip_event ev = {
		.type = RSIP_EVENT_FAILED, .failure = why, .error = error
	};
	bool own = s->work->own;

	s->clears = 0;
	if (own)
		loss_pause(s, now_us);
	/* Nothing waits longer than one pause and one attempt. */
	if (!request_fail_waiting(s, RSIP_FAIL_UNREGISTERED) && !own)
		s->wanted = false;
	run_finish(s, &ev);
}

/* The gateway may have granted what nobody will use. */
static void lose_assign(struct rsip_session *s, enum rsip_failure why, uint64_t now_us)
{
	if (s->work->probe) {
		/* As silent as before: what waited for it has no better chance. */
		if (s->queue && s->queue->kind != RSIP_REQ_DEREGISTER)
			s->queue->fail = RSIP_FAIL_TIMEOUT;
		for (size_t i = 0; i < s->n_held; i++) {
			if (s->held[i]->extend_us <= now_us)
				grant_later(s, s->held[i], now_us);
		}
		return;
	}
	s->lost_assign = why == RSIP_FAIL_TIMEOUT;
	s->lost_counter = s->counter;
	s->lost_kind = s->work->want.kind;
}

static void lose_extend(struct rsip_session *s, uint64_t now_us)
{
	struct binding *b = grant_by_id(s, s->work->bind_id);

	if (b)
		grant_later(s, b, now_us);
}

/* The seventh time-out of FREE_REQUEST counts as its answer (RFC 3103 appendix D). */
static void lose_free(struct rsip_session *s, enum rsip_failure why, uint64_t now_us)
{
	uint32_t bind_id = s->work->bind_id;
	struct rsip_event ev = {
		.type = RSIP_EVENT_FREED, .failure = why, .bind_id = bind_id
	};

	free(grant_pull(s, bind_id));
	loss_orphan_again(s, bind_id, now_us);
	run_finish(s, s->work->own ? NULL : &ev);
}

void loss_request(struct rsip_session *s, enum rsip_failure why, uint64_t now_us)
{
	bool own = s->work->own;

	switch ((int)s->work->kind) {
	case RSIP_REQ_REGISTER:
		loss_refused(s, why, 0, now_us);
		return;
	case REQ_CLEAR:
		s->clear_id = 0;
		if (s->queue && s->queue->kind == RSIP_REQ_REGISTER)
			s->queue->fail = why;
		run_finish(s, NULL);
		return;
	case RSIP_REQ_DEREGISTER:
		if (own)
			loss_registration(s, RSIP_CAUSE_RENEWED, 0, now_us);
		else
			loss_deregistered(s, why, 0, now_us);
		return;
	case RSIP_REQ_ASSIGN:
		lose_assign(s, why, now_us);
		break;
	case RSIP_REQ_EXTEND:
		lose_extend(s, now_us);
		break;
	case RSIP_REQ_FREE:
		lose_free(s, why, now_us);
		return;
	default:
		break;
	}
	if (s->work->probe)
		run_finish(s, NULL);
	else
		run_fail(s, why, 0);
}
