/* The test as gateway and clock of a session. */
#include "client_fake.h"

#include <stdlib.h>
#include <string.h>

const struct rsip_want fake_want = {
	.kind = RSIP_RSAP_IP,
	.ports = { .form = RSIP_ANY, .count = 4 },
};

static void on_send(void *ctx, const uint8_t *bytes, size_t len)
{
	struct fake *f = ctx;
	struct fake_sent *sent = &f->sent[f->n_sent++ % FAKE_SENT];

	assert_true(f->n_sent - f->sent_at <= FAKE_SENT);
	assert_true(len <= sizeof sent->bytes);
	sent->at_us = f->now_us;
	sent->len = len;
	memcpy(sent->bytes, bytes, len);
}

static void copy_grant(struct fake_event *e, const struct rsip_grant *g)
{
	e->grant = *g;
	memcpy(e->ports, g->ports, g->n_ports * sizeof *g->ports);
	memcpy(e->spis, g->spis, g->n_spis * sizeof *g->spis);
	e->grant.ports = e->ports;
	e->grant.spis = e->spis;
	if (g->remote_name)
		e->grant.remote_name = strcpy(e->name, g->remote_name);
}

static void on_event(void *ctx, const struct rsip_event *ev)
{
	struct fake *f = ctx;
	struct fake_event *e = &f->events[f->n_events++ % FAKE_EVENTS];
	size_t at = 0;

	assert_true(f->n_events - f->events_at <= FAKE_EVENTS);
	*e = (struct fake_event){ .ev = *ev };
	if (ev->grant)
		copy_grant(e, ev->grant);
	if (ev->registration)
		e->registration = *ev->registration;
	while (ev->answer && e->n_answers < 16 &&
		rsip_answer_next(ev, &at, &e->answers[e->n_answers]))
		e->n_answers++;
	if (f->hook)
		f->hook(f, ev);
}

static void on_state(void *ctx, enum rsip_state from, enum rsip_state to)
{
	struct fake *f = ctx;

	assert_true(f->n_trace < 128);
	if (f->n_trace)
		assert_int_equal(f->trace[f->n_trace - 1], from);
	f->trace[f->n_trace++] = to;
}

void fake_open(struct fake *f, const struct rsip_session_conf *conf)
{
	struct rsip_session_conf c = conf ? *conf : (struct rsip_session_conf){ 0 };

	*f = (struct fake){ .now_us = 1000000, .client_id = FAKE_CLIENT };
	f->events = calloc(FAKE_EVENTS, sizeof *f->events);
	c.send = on_send;
	c.event = on_event;
	c.state = on_state;
	c.ctx = f;
	f->conf = c;
	f->s = rsip_session_new(&c);
	assert_non_null(f->s);
}

void fake_close(struct fake *f)
{
	rsip_session_free(f->s);
	free(f->events);
}

void fake_sleep(struct fake *f, uint64_t us)
{
	uint64_t end = f->now_us + us;

	while (rsip_session_deadline(f->s) <= end) {
		if (rsip_session_deadline(f->s) > f->now_us)
			f->now_us = rsip_session_deadline(f->s);
		rsip_session_tick(f->s, f->now_us);
		assert_true(rsip_session_deadline(f->s) > f->now_us);
	}
	f->now_us = end;
	rsip_session_tick(f->s, f->now_us);
}

const struct wire_msg *fake_asked(struct fake *f, uint8_t type)
{
	const struct fake_sent *sent = &f->sent[f->sent_at % FAKE_SENT];

	if (f->sent_at == f->n_sent)
		fail_msg("%s was not sent", rsip_msg_name(type));
	f->sent_at++;
	assert_int_equal(wire_decode_private(sent->bytes, sent->len, SIDE_GATEWAY,
				 f->conf.transport == RSIP_UDP, &f->asked),
		0);
	if (f->asked.type != type)
		fail_msg("%s was sent, not %s", rsip_msg_name(f->asked.type),
			rsip_msg_name(type));
	return &f->asked;
}

const struct fake_event *fake_event(struct fake *f, enum rsip_event_type type)
{
	const struct fake_event *e = &f->events[f->events_at % FAKE_EVENTS];

	if (f->events_at == f->n_events)
		fail_msg("event %d did not come", type);
	f->events_at++;
	assert_int_equal(e->ev.type, type);
	return e;
}

void fake_states(struct fake *f, ...)
{
	va_list list;
	enum rsip_state want;

	va_start(list, f);
	while ((want = (enum rsip_state)va_arg(list, int)) != RSIP_STATES) {
		assert_true(f->trace_at < f->n_trace);
		assert_string_equal(
			rsip_state_text(f->trace[f->trace_at++]), rsip_state_text(want));
	}
	va_end(list);
	assert_int_equal(f->trace_at, f->n_trace);
}

void fake_quiet(struct fake *f)
{
	if (f->sent_at != f->n_sent)
		fail_msg("message %d was sent too",
			f->sent[f->sent_at % FAKE_SENT].bytes[1]);
	if (f->events_at != f->n_events)
		fail_msg("event %d came too",
			f->events[f->events_at % FAKE_EVENTS].ev.type);
}

void fake_input(struct fake *f, const uint8_t *bytes, size_t len)
{
	/* A copy of just the bytes, so that a sanitizer sees the end. */
	uint8_t *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	if (len)
		memcpy(copy, bytes, len);
	rsip_session_input(f->s, copy, len, f->now_us);
	free(copy);
}

void fake_say(struct fake *f, const struct wire_msg *m)
{
	uint8_t bytes[65535];
	struct wire_msg out = *m;
	int len;

	out.version = RSIP_VERSION_1;
	len = wire_encode(&out, bytes, sizeof bytes);
	assert_true(len > 0);
	fake_input(f, bytes, (size_t)len);
}

void fake_say_registered(struct fake *f, uint32_t lease_s)
{
	fake_say(f, &(struct wire_msg){ .type = MSG_REGISTER_RESPONSE,
			    .has = HAS_CLIENT_ID | HAS_LEASE | HAS_FLOW | HAS_COUNTER,
			    .client_id = f->client_id,
			    .lease_s = lease_s,
			    .flow_local = FLOW_MACRO,
			    .flow_remote = FLOW_NONE,
			    .counter = f->asked.counter });
}

void fake_say_error(struct fake *f, uint16_t error)
{
	fake_say(f, &(struct wire_msg){ .type = MSG_ERROR_RESPONSE,
			    .has = HAS_ERROR | HAS_CLIENT_ID | HAS_COUNTER,
			    .error = error,
			    .client_id = f->client_id,
			    .counter = f->asked.counter });
}

void fake_say_ended(struct fake *f, uint8_t type, uint32_t bind_id, uint32_t counter)
{
	fake_say(f, &(struct wire_msg){ .type = type,
			    .has = HAS_CLIENT_ID | HAS_COUNTER |
				   (type == MSG_FREE_RESPONSE ? HAS_BIND_ID : 0),
			    .client_id = f->client_id,
			    .bind_id = bind_id,
			    .counter = counter });
}

void fake_say_extended(struct fake *f, uint32_t lease_s)
{
	fake_say(f, &(struct wire_msg){ .type = MSG_EXTEND_RESPONSE,
			    .has = HAS_CLIENT_ID | HAS_BIND_ID | HAS_LEASE | HAS_COUNTER,
			    .client_id = f->client_id,
			    .bind_id = f->asked.bind_id,
			    .lease_s = lease_s,
			    .counter = f->asked.counter });
}

static const struct {
	uint8_t ask, grant;
	uint32_t has;
} grants[] = {
	{ MSG_ASSIGN_REQUEST_RSA_IP, MSG_ASSIGN_RESPONSE_RSA_IP, 0 },
	{ MSG_ASSIGN_REQUEST_RSAP_IP, MSG_ASSIGN_RESPONSE_RSAP_IP, HAS_LOCAL_PORTS },
	{ MSG_LISTEN_REQUEST, MSG_LISTEN_RESPONSE, HAS_LOCAL_PORTS },
	{ MSG_ASSIGN_REQUEST_RSIPSEC, MSG_ASSIGN_RESPONSE_RSIPSEC,
		HAS_LOCAL_PORTS | HAS_SPI },
};

struct wire_msg fake_grant(const struct fake *f, uint32_t bind_id)
{
	struct wire_msg m = {
		.has = HAS_CLIENT_ID | HAS_BIND_ID | HAS_LOCAL | HAS_REMOTE |
		       HAS_REMOTE_PORTS | HAS_LEASE | HAS_TUNNEL | HAS_COUNTER,
		.client_id = f->client_id,
		.bind_id = bind_id,
		.local = { .type = ADDR_IPV4, .v4 = 0xcb007101 },
		.local_ports = { .form = FORM_BLOCK, .number = 4, .first = 20480 },
		.remote = { .type = ADDR_IPV4, .dont_care = true },
		.remote_ports = { .form = FORM_DONT_CARE, .number = 1 },
		.spis = { .form = FORM_BLOCK, .number = 16, .first = 0xc0010000 },
		.lease_s = 3600,
		.tunnels = { RSIP_IPIP },
		.n_tunnels = 1,
		.counter = f->asked.counter,
	};

	for (size_t i = 0; i < sizeof grants / sizeof *grants; i++) {
		if (grants[i].ask == f->asked.type) {
			m.type = grants[i].grant;
			m.has |= grants[i].has;
		}
	}
	return m;
}

void fake_register(struct fake *f)
{
	if (f->conf.transport == RSIP_TCP)
		rsip_session_connected(f->s, f->now_us);
	assert_int_equal(rsip_register(f->s, NULL, f->now_us), 0);
	fake_asked(f, MSG_REGISTER_REQUEST);
	fake_say_registered(f, 7200);
	fake_event(f, RSIP_EVENT_REGISTERED);
	f->trace_at = f->n_trace;
}

void fake_bind(struct fake *f, uint32_t bind_id)
{
	struct wire_msg grant;

	assert_int_equal(rsip_assign(f->s, &fake_want, NULL, f->now_us), 0);
	fake_asked(f, MSG_ASSIGN_REQUEST_RSAP_IP);
	grant = fake_grant(f, bind_id);
	grant.local_ports.first = (uint16_t)(20480 + 4 * bind_id);
	fake_say(f, &grant);
	fake_event(f, RSIP_EVENT_GRANTED);
	f->trace_at = f->n_trace;
}
