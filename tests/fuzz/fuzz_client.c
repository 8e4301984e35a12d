/*
 * A session under a script: the caller's requests, time, connections, and bytes from the
 * gateway, which are either raw or an answer that fits with some bytes changed, so that
 * every state is reached.  Whatever comes, each request ends by one event, what is sent
 * is a request that a gateway can read, and what is held is in order.
 */
#include "fuzz.h"
#include "rsip/rsip.h"
#include "wire/frame.h"
#include "wire/msg.h"

#include <string.h>

#define REQUESTS  64
#define STEPS_MAX 400

struct script {
	const uint8_t *at, *end;
	struct rsip_session *s;
	struct rsip_session_conf conf;
	uint64_t now_us;
	struct wire_msg asked; /* the message sent last */
	uint8_t sent[65535];
	uint32_t binds; /* Bind IDs given out so far */
	/* The tag of a request is its place here. */
	bool waits[REQUESTS];
	unsigned int asks;
};

static uint8_t next(struct script *f)
{
	return f->at < f->end ? *f->at++ : 0;
}

static void on_send(void *ctx, const uint8_t *bytes, size_t len)
{
	struct script *f = ctx;

	MUST(len <= sizeof(f->sent));
	memcpy(f->sent, bytes, len);
	MUST(wire_decode(f->sent, len, SIDE_GATEWAY, true, &f->asked) == 0);
}

static void check_grant(const struct rsip_grant *g)
{
	MUST(g->bind_id && g->address && g->lease_s && g->expires_us);
	for (size_t i = 0; i < g->n_ports; i++) {
		MUST(g->ports[i].lo && g->ports[i].lo <= g->ports[i].hi);
		MUST(g->ports[i].hi <= 65535);
		MUST(i == 0 || g->ports[i - 1].hi + 1 < g->ports[i].lo);
	}
	for (size_t i = 0; i < g->n_spis; i++) {
		MUST(g->spis[i].lo && g->spis[i].lo <= g->spis[i].hi);
		MUST(i == 0 || g->spis[i - 1].hi + 1 < g->spis[i].lo);
	}
	MUST(g->kind == RSIP_RSA_IP || g->kind == RSIP_RSIPSEC || g->n_ports);
}

static void on_event(void *ctx, const struct rsip_event *ev)
{
	struct script *f = ctx;
	bool *waits = ev->tag;
	struct rsip_answer answer;
	size_t at = 0;

	MUST((ev->request == RSIP_REQ_NONE) == (waits == NULL));
	if (waits) {
		MUST(*waits);
		*waits = false;
	}
	if (ev->type == RSIP_EVENT_GRANTED || ev->type == RSIP_EVENT_BINDING_LOST) {
		MUST(ev->grant);
		check_grant(ev->grant);
	}
	if (ev->type == RSIP_EVENT_FAILED)
		MUST(ev->failure);
	while (rsip_answer_next(ev, &at, &answer))
		MUST(answer.net.prefix <= 32);
	(void)rsip_session_export(f->s, NULL, 0);
}

static struct rsip_numbers some_numbers(struct script *f)
{
	static const uint32_t list[] = { 900, 700, 1000, 1001, 65535 };
	uint8_t form = next(f);

	return (struct rsip_numbers){ (enum rsip_form)(form & 3), 1 + form % 5, 1024,
		list };
}

static void ask(struct script *f, uint8_t what)
{
	bool *waits = &f->waits[f->asks];
	struct rsip_want want;
	struct rsip_net net = { 0x0a000000, 8, true };
	int rc;

	if (f->asks == REQUESTS)
		return;
	*waits = true;
	switch (what % 6) {
	case 0:
		rc = rsip_register(f->s, waits, f->now_us);
		break;
	case 1:
		rc = rsip_deregister(f->s, waits, f->now_us);
		break;
	case 2:
		rc = rsip_extend(f->s, next(f), next(f), waits, f->now_us);
		break;
	case 3:
		rc = rsip_free(f->s, next(f), waits, f->now_us);
		break;
	case 4:
		rc = rsip_query(f->s, &net, what & 1, waits, f->now_us);
		break;
	default:
		want = (struct rsip_want){ .kind = (enum rsip_kind)(1 + what / 6 % 4) };
		want.ports = some_numbers(f);
		want.spis = some_numbers(f);
		want.remote.name = what & 64 ? "y.example" : NULL;
		want.remote.port = what & 128 ? 443 : 0;
		want.exact = what & 1;
		rc = rsip_assign(f->s, &want, waits, f->now_us);
		break;
	}
	/* Refused at once: then no event came, nor will one. */
	if (rc) {
		MUST(*waits);
		*waits = false;
	}
	f->asks++;
}

/* An answer that fits the message sent last, or with `unasked` one that fits anyway. */
static struct wire_msg answer_to(struct script *f, bool unasked)
{
	static const struct {
		uint8_t ask, answer;
		uint32_t has;
	} rows[] = {
		{ MSG_REGISTER_REQUEST, MSG_REGISTER_RESPONSE,
			HAS_LEASE | HAS_FLOW | HAS_METHOD | HAS_TUNNEL },
		{ MSG_DEREGISTER_REQUEST, MSG_DEREGISTER_RESPONSE, 0 },
		{ MSG_ASSIGN_REQUEST_RSA_IP, MSG_ASSIGN_RESPONSE_RSA_IP, HAS_LOCAL },
		{ MSG_ASSIGN_REQUEST_RSAP_IP, MSG_ASSIGN_RESPONSE_RSAP_IP,
			HAS_LOCAL | HAS_LOCAL_PORTS },
		{ MSG_ASSIGN_REQUEST_RSIPSEC, MSG_ASSIGN_RESPONSE_RSIPSEC,
			HAS_LOCAL | HAS_LOCAL_PORTS | HAS_SPI },
		{ MSG_LISTEN_REQUEST, MSG_LISTEN_RESPONSE, HAS_LOCAL | HAS_LOCAL_PORTS },
		{ MSG_EXTEND_REQUEST, MSG_EXTEND_RESPONSE, HAS_BIND_ID | HAS_LEASE },
		{ MSG_FREE_REQUEST, MSG_FREE_RESPONSE, HAS_BIND_ID },
		{ MSG_QUERY_REQUEST, MSG_QUERY_RESPONSE, 0 },
	};
	const struct wire_msg *asked = &f->asked;
	struct wire_msg m = { .version = 1,
		.client_id = 7,
		.bind_id = asked->bind_id,
		.counter = unasked ? 0 : asked->counter,
		.lease_s = next(f),
		.flow_local = FLOW_MACRO,
		.flow_remote = FLOW_NONE,
		.methods = { 3, 1 },
		.n_methods = 2,
		.tunnels = { 1 },
		.n_tunnels = 1,
		.local = { .type = ADDR_IPV4, .v4 = 0xcb007101 },
		.local_ports = asked->local_ports,
		.remote = { .type = ADDR_IPV4, .dont_care = true },
		.remote_ports = { .form = FORM_DONT_CARE, .number = 1 },
		.spis = asked->spis };

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (rows[i].ask == asked->type) {
			m.type = rows[i].answer;
			m.has = HAS_CLIENT_ID | HAS_COUNTER | rows[i].has;
		}
	}
	if (m.has & HAS_LOCAL) {
		m.has |= HAS_BIND_ID | HAS_REMOTE | HAS_REMOTE_PORTS | HAS_LEASE |
			 HAS_TUNNEL;
		m.bind_id = 1 + f->binds++ % 200;
		if (m.local_ports.form == FORM_DONT_CARE)
			m.local_ports.form = FORM_BLOCK;
		if (m.spis.form == FORM_DONT_CARE)
			m.spis.form = FORM_BLOCK;
		m.local_ports.first = m.local_ports.first ? m.local_ports.first : 2000;
		m.spis.first = m.spis.first ? m.spis.first : 3000;
	}
	return m;
}

static void give(struct script *f, const uint8_t *bytes, size_t len)
{
	uint8_t *exact = malloc(len ? len : 1);

	MUST(exact);
	if (len)
		memcpy(exact, bytes, len);
	rsip_session_input(f->s, exact, len, f->now_us);
	free(exact);
}

static void answer(struct script *f, uint8_t how)
{
	static const uint16_t errors[] = { 102, 104, 301, 302, 303, 305, 306, 309 };
	static uint8_t bytes[65535];
	struct wire_msg m = answer_to(f, how & 1);
	int len;

	if (how & 2) {
		m.type = MSG_ERROR_RESPONSE;
		m.has = HAS_ERROR | HAS_CLIENT_ID | HAS_COUNTER;
		m.error = errors[next(f) % 8];
	} else if (how & 4) {
		m.type = how & 8 ? MSG_FREE_RESPONSE : MSG_DEREGISTER_RESPONSE;
		m.has = HAS_CLIENT_ID | HAS_COUNTER | (how & 8 ? HAS_BIND_ID : 0);
		m.bind_id = how & 8 ? 1U + next(f) : 0;
	}
	len = wire_encode(&m, bytes, sizeof(bytes));
	if (len <= 0)
		return;
	for (uint8_t n = how >> 4; n > 12; n--) {
		size_t at = next(f);

		bytes[at % (size_t)len] = next(f);
	}
	give(f, bytes, (size_t)len);
}

static void raw(struct script *f)
{
	size_t len = next(f), left = (size_t)(f->end - f->at);

	len = len < left ? len : left;
	give(f, f->at, len);
	f->at += len;
}

static void sleep_for(struct script *f, uint8_t how)
{
	uint64_t deadline = rsip_session_deadline(f->s);

	if (how & 1)
		f->now_us += (uint64_t)1 << (how / 2 % 36);
	else if (deadline != UINT64_MAX && deadline > f->now_us)
		f->now_us = deadline;
	rsip_session_tick(f->s, f->now_us);
	MUST(rsip_session_deadline(f->s) > f->now_us);
}

static bool count(void *ctx, const struct rsip_grant *g)
{
	check_grant(g);
	++*(size_t *)ctx;
	return true;
}

/* What is exported is taken back, and holds no more than there was. */
static void restart(struct script *f)
{
	static uint8_t bytes[1 << 16];
	struct rsip_session *s;
	size_t len = rsip_session_export(f->s, bytes, sizeof(bytes)), before = 0,
	       after = 0;

	if (len == 0 || len > sizeof(bytes))
		return;
	s = rsip_session_new(&f->conf);
	MUST(s);
	MUST(rsip_session_import(s, bytes, len, f->now_us) == 0);
	rsip_grant_each(f->s, count, &before);
	rsip_grant_each(s, count, &after);
	MUST(after <= before);
	rsip_session_free(s);
}

static void play(struct script *f)
{
	for (unsigned int i = 0; i < STEPS_MAX && f->at < f->end; i++) {
		uint8_t what = next(f), how = next(f);

		if (what < 90)
			answer(f, how);
		else if (what < 170)
			ask(f, how);
		else if (what < 200)
			raw(f);
		else if (what < 235)
			sleep_for(f, how);
		else if (what < 243)
			restart(f);
		else if (what < 248)
			rsip_session_disconnected(f->s, f->now_us);
		else
			rsip_session_connected(f->s, f->now_us);
	}
}

/* A gateway that is silent from now on: all that waits ends. */
static void finish(struct script *f)
{
	for (unsigned int i = 0; i < 2000; i++) {
		bool waits = false;

		for (unsigned int j = 0; j < f->asks; j++)
			waits = waits || f->waits[j];
		if (!waits)
			return;
		sleep_for(f, 0);
	}
	MUST(false); /* a request never ended */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct script f;
	uint8_t flags;

	f = (struct script){ .at = data, .end = data + size, .now_us = 1000000 };
	flags = next(&f);
	f.conf = (struct rsip_session_conf){
		.transport = flags & 1 ? RSIP_TCP : RSIP_UDP,
		.send = on_send,
		.event = on_event,
		.ctx = &f,
		.no_extend = flags & 2,
		.no_keep = flags & 4,
	};
	f.s = rsip_session_new(&f.conf);
	MUST(f.s);
	if (flags & 8) {
		rsip_session_connected(f.s, f.now_us);
		ask(&f, 0);
		answer(&f, 0);
	}
	play(&f);
	finish(&f);
	rsip_session_free(f.s);
	return 0;
}
