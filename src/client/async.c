/*
 * What the gateway sends unasked (Message Counter 0): the end of a binding or of the
 * registration, and errors about data.  It never completes a request (RFC 3103 section
 * 10.1).
 */
#include "client/session.h"

static bool is_ours(struct rsip_session *s, const struct wire_msg *m)
{
	if (!s->registered) {
		s->count.drop_type++;
		return false;
	}
	if ((m->has & HAS_CLIENT_ID) && m->client_id != s->reg.client_id) {
		s->count.drop_client++;
		return false;
	}
	return true;
}

static void take_error(struct rsip_session *s, const struct wire_msg *m, uint64_t now_us)
{
	struct rsip_event ev = {
		.type = RSIP_EVENT_NOTICE, .error = m->error, .bind_id = m->bind_id
	};

	s->count.asynchronous++;
	if (m->error == RSIP_REGISTER_FIRST || m->error == RSIP_ALREADY_UNREGISTERED)
		loss_of_step(s, m->error, now_us);
	else
		run_emit(s, ev);
}

static void take_free(struct rsip_session *s, const struct wire_msg *m, uint64_t now_us)
{
	if (!grant_by_id(s, m->bind_id)) {
		s->count.drop_client++;
		loss_orphan_del(s, m->bind_id);
		return;
	}
	s->count.asynchronous++;
	loss_binding(s, m->bind_id, RSIP_CAUSE_REVOKED, 0, now_us);
}

void async_take(struct rsip_session *s, const struct wire_msg *m, uint64_t now_us)
{
	if (m->type != MSG_ERROR_RESPONSE && m->type != MSG_DEREGISTER_RESPONSE &&
		m->type != MSG_FREE_RESPONSE) {
		s->count.drop_type++;
		return;
	}
	if (!is_ours(s, m))
		return;
	if (m->type == MSG_ERROR_RESPONSE) {
		take_error(s, m, now_us);
	} else if (m->type == MSG_FREE_RESPONSE) {
		take_free(s, m, now_us);
	} else {
		s->count.asynchronous++;
		loss_registration(s, RSIP_CAUSE_REVOKED, 0, now_us);
	}
}

void async_late(struct rsip_session *s, const struct wire_msg *m, uint64_t now_us)
{
	if (m->client_id != s->reg.client_id || grant_by_id(s, m->bind_id)) {
		s->count.drop_client++;
		return;
	}
	s->lost_assign = false;
	if (s->counter == s->lost_counter)
		s->answered = true;
	s->count.unusable++;
	loss_orphan(s, m->bind_id, 0, now_us);
}
