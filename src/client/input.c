/*
 * Received bytes: cut into messages, checked, and brought to the request or the event
 * that they belong to.  Nothing received is ever answered by an error.
 */
#include "client/session.h"

#include "wire/frame.h"

#include <stdlib.h>
#include <string.h>

/* TCP: what a message of unknown length may need at first. */
#define IN_FIRST 512

static bool is_grant_type(uint8_t type)
{
	return type == MSG_ASSIGN_RESPONSE_RSA_IP ||
	       type == MSG_ASSIGN_RESPONSE_RSAP_IP || type == MSG_LISTEN_RESPONSE ||
	       type == MSG_LISTEN_RESPONSE_IKE || type == MSG_ASSIGN_RESPONSE_RSIPSEC;
}

/*
 * A message with a fault is dropped.  A grant whose Client ID, counter and Bind ID can be
 * read is an answer all the same, and the binding goes back to the gateway (A-R-17).
 */
static void take_faulty(struct rsip_session *s, const uint8_t *bytes, size_t len,
	uint8_t type, uint64_t now_us)
{
	bool has_counter, has_client, has_bind;
	uint32_t counter = wire_find_counter(bytes, len, &has_counter);
	uint32_t client = wire_find_u32(bytes, len, PARAM_CLIENT_ID, &has_client);
	uint32_t bind = wire_find_u32(bytes, len, PARAM_BIND_ID, &has_bind);
	bool answers =
		has_counter ? counter == s->counter : s->conf.transport == RSIP_TCP;

	if (s->work && s->work->kind == RSIP_REQ_ASSIGN &&
		type == ask_answer_type(s->work) && answers && has_client && has_bind &&
		client == s->reg.client_id && bind && !grant_by_id(s, bind))
		answer_unusable(s, bind, now_us);
	else
		s->count.drop_malformed++;
}

/* Without a counter (TCP only) the type has to tell. */
static void take_uncounted(
	struct rsip_session *s, const struct wire_msg *m, uint64_t now_us)
{
	if (s->work && (m->type == MSG_ERROR_RESPONSE ||
			       (m->type == ask_answer_type(s->work) &&
				       (m->type != MSG_FREE_RESPONSE ||
					       m->bind_id == s->work->bind_id))))
		answer_take(s, m, now_us);
	else
		async_take(s, m, now_us);
}

static void take_good(struct rsip_session *s, const struct wire_msg *m, uint64_t now_us)
{
	if (!(m->has & HAS_COUNTER))
		take_uncounted(s, m, now_us);
	else if (m->counter == 0)
		async_take(s, m, now_us);
	else if (s->work && m->counter == s->counter)
		answer_take(s, m, now_us);
	else if (s->registered && s->lost_assign && m->counter == s->lost_counter &&
		 is_grant_type(m->type))
		async_late(s, m, now_us);
	else
		s->count.drop_counter++;
}

static void take_message(
	struct rsip_session *s, const uint8_t *bytes, size_t len, uint64_t now_us)
{
	struct wire_msg m;
	uint8_t type;
	uint16_t fault = wire_header(bytes, len, &type);

	if (fault) {
		s->count.drop_malformed++;
		return;
	}
	s->count.received++;
	fault = wire_decode_private(
		bytes, len, SIDE_HOST, s->conf.transport == RSIP_UDP, &m);
	if (fault == RSIP_ILLEGAL_MESSAGE)
		s->count.drop_type++;
	else if (fault)
		take_faulty(s, bytes, len, type, now_us);
	else
		take_good(s, &m, now_us);
}

static void stream_break(struct rsip_session *s)
{
	s->broken = true;
	s->in_len = 0;
	s->count.drop_malformed++;
	run_emit(s, (struct rsip_event){ .type = RSIP_EVENT_STREAM_BROKEN });
}

/* Room for `want` bytes more, never beyond the longest message and what follows it. */
static bool stream_room(struct rsip_session *s, size_t want)
{
	size_t size = s->in_size ? s->in_size : IN_FIRST;
	uint8_t *in;

	while (size < s->in_len + want)
		size *= 2;
	if (size == s->in_size)
		return true;
	in = realloc(s->in, size);
	if (!in)
		return false;
	s->in = in;
	s->in_size = size;
	return true;
}

/* Takes the whole messages at the front of what has come; false: the stream is lost. */
static bool stream_cut(struct rsip_session *s, uint64_t now_us)
{
	size_t at = 0;
	int len;

	while ((len = wire_frame(s->in + at, s->in_len - at)) > 0) {
		take_message(s, s->in + at, (size_t)len, now_us);
		at += (size_t)len;
	}
	s->in_len -= at;
	memmove(s->in, s->in + at, s->in_len);
	return len == 0;
}

/* In pieces, so that the buffer holds one message and a piece at most. */
static void take_stream(
	struct rsip_session *s, const uint8_t *bytes, size_t len, uint64_t now_us)
{
	while (len > 0 && !s->broken && s->connected) {
		size_t piece = len < IN_FIRST ? len : IN_FIRST;

		if (!stream_room(s, piece)) {
			stream_break(s);
			return;
		}
		memcpy(s->in + s->in_len, bytes, piece);
		s->in_len += piece;
		bytes += piece;
		len -= piece;
		if (!stream_cut(s, now_us))
			stream_break(s);
	}
}

void rsip_session_input(
	struct rsip_session *s, const uint8_t *bytes, size_t len, uint64_t now_us)
{
	run_enter(s);
	if (s->conf.transport == RSIP_UDP)
		take_message(s, bytes, len, now_us);
	else
		take_stream(s, bytes, len, now_us);
	run_leave(s, now_us);
}
