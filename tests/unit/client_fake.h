#pragma once

/*
 * A session with a clock of its own and the test as its gateway.  What the session sends
 * and reports is kept in order until the test takes it; `fake_done` fails when something
 * was not.
 */
#include "rsip/rsip.h"
#include "wire/msg.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define FAKE_CLIENT 0xc11e0001
#define FAKE_SENT   256
#define FAKE_EVENTS 256

struct fake_sent {
	uint64_t at_us;
	size_t len;
	uint8_t bytes[1400];
};

struct fake_event {
	struct rsip_event ev;
	struct rsip_grant grant; /* its ranges and name copied too */
	struct rsip_range ports[300], spis[300];
	char name[256];
	struct rsip_registration registration;
	struct rsip_answer answers[16];
	size_t n_answers;
};

struct fake {
	struct rsip_session *s;
	struct rsip_session_conf conf;
	uint64_t now_us;
	uint32_t client_id; /* what its gateway calls it */
	struct fake_sent sent[FAKE_SENT];
	size_t n_sent, sent_at;
	struct fake_event *events;
	size_t n_events, events_at;
	enum rsip_state trace[128];
	size_t n_trace, trace_at;
	struct wire_msg asked; /* the request taken last */
	void (*hook)(struct fake *f, const struct rsip_event *ev); /* in the callback */
};

/* Zeroed, then opened with this configuration (callbacks are filled in). */
void fake_open(struct fake *f, const struct rsip_session_conf *conf);
void fake_close(struct fake *f);

/* The clock goes on, with a tick at every deadline on the way and at the end. */
void fake_sleep(struct fake *f, uint64_t us);

/* The next message sent must be of this type; decoded into f->asked. */
const struct wire_msg *fake_asked(struct fake *f, uint8_t type);
/* The next event must be of this type. */
const struct fake_event *fake_event(struct fake *f, enum rsip_event_type type);
/* The next changes of state are these; RSIP_STATES ends the list. */
void fake_states(struct fake *f, ...);
/* Nothing sent, nothing reported since. */
void fake_quiet(struct fake *f);

void fake_input(struct fake *f, const uint8_t *bytes, size_t len);
/* Encodes and passes; version and length are filled in. */
void fake_say(struct fake *f, const struct wire_msg *m);
/* Common answers, with the counter of the request taken last. */
void fake_say_registered(struct fake *f, uint32_t lease_s);
void fake_say_error(struct fake *f, uint16_t error);
void fake_say_ended(struct fake *f, uint8_t type, uint32_t bind_id, uint32_t counter);
void fake_say_extended(struct fake *f, uint32_t lease_s);
/* A usual grant to f->asked, to be changed before it is said. */
struct wire_msg fake_grant(const struct fake *f, uint32_t bind_id);

/* The usual ways into a state; all they send and report is taken. */
void fake_register(struct fake *f);
void fake_bind(struct fake *f, uint32_t bind_id);
extern const struct rsip_want fake_want; /* four ports, whichever */
