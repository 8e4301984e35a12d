/* Everything that happens by the clock, to the microsecond. */
#include "client_fake.h"

#include <string.h>

static const uint64_t transmissions[] = { 0, 12500, 37500, 87500, 187500, 387500,
	787500 };
#define SECOND 1000000ULL
#define FAILED 1587500

static int tag;

/* All copies of the message sent last are there, at their times, byte for byte. */
static void check_copies(struct fake *f, uint8_t type, uint64_t start_us)
{
	const struct fake_sent *first = &f->sent[f->sent_at];

	for (size_t i = 0; i < 7; i++) {
		const struct fake_sent *copy = &f->sent[f->sent_at];

		fake_asked(f, type);
		assert_int_equal(copy->at_us, start_us + transmissions[i]);
		assert_int_equal(copy->len, first->len);
		assert_memory_equal(copy->bytes, first->bytes, first->len);
	}
}

/* P-5-07, P-5-08, P-10.1-05: seven transmissions, failure 1587.5 ms after the first. */
static void test_retransmission(void **state)
{
	struct fake f;

	(void)state;
	fake_open(&f, NULL);
	fake_register(&f);
	assert_int_equal(rsip_query(f.s, NULL, 0, &tag, f.now_us), 0);
	assert_int_equal(rsip_session_deadline(f.s), f.now_us + 12500);
	fake_sleep(&f, FAILED - 1);
	check_copies(&f, MSG_QUERY_REQUEST, 1000000);
	fake_quiet(&f);
	assert_int_equal(rsip_session_deadline(f.s), f.now_us + 1);
	fake_sleep(&f, 1);
	assert_int_equal(
		fake_event(&f, RSIP_EVENT_FAILED)->ev.failure, RSIP_FAIL_TIMEOUT);
	fake_states(&f, RSIP_BARE_QUERYING, RSIP_REGISTERED, RSIP_STATES);
	fake_sleep(&f, SECOND);
	fake_quiet(&f);
	assert_int_equal(rsip_session_counters(f.s)->timeouts, 1);
	assert_int_equal(rsip_session_counters(f.s)->sent, 2);
	assert_int_equal(rsip_session_counters(f.s)->retransmitted, 6);
	fake_close(&f);
}

/* P-5-09: both numbers can be chosen. */
static void test_configured(void **state)
{
	struct fake f;

	(void)state;
	fake_open(&f, &(struct rsip_session_conf){
			      .first_timeout_us = 1000, .transmissions = 3 });
	assert_int_equal(rsip_register(f.s, &tag, f.now_us), 0);
	fake_sleep(&f, 6999);
	for (size_t i = 0; i < 3; i++)
		fake_asked(&f, MSG_REGISTER_REQUEST);
	assert_int_equal(f.sent[2].at_us, 1003000);
	fake_quiet(&f);
	fake_sleep(&f, 1);
	fake_event(&f, RSIP_EVENT_FAILED);
	fake_close(&f);
}

/* P-D-01: an answer stops the timer, however late it is; then it may not come again. */
static void test_late_answer(void **state)
{
	struct fake f;

	(void)state;
	fake_open(&f, NULL);
	assert_int_equal(rsip_register(f.s, NULL, f.now_us), 0);
	fake_sleep(&f, FAILED - 1);
	check_copies(&f, MSG_REGISTER_REQUEST, 1000000);
	fake_say_registered(&f, 100);
	/* P-6-08 (A-R-07): the lease counts from the first transmission. */
	assert_int_equal(fake_event(&f, RSIP_EVENT_REGISTERED)->registration.expires_us,
		101 * SECOND);
	fake_say_registered(&f, 200);
	assert_int_equal(rsip_session_counters(f.s)->drop_counter, 1);
	assert_int_equal(rsip_session_registration(f.s)->lease_s, 100);
	fake_quiet(&f);
	fake_close(&f);
}

/* P-10.1-02 (A-U-05): what was given up leaves its counter to the next request. */
static void test_counter_again(void **state)
{
	struct fake f;

	(void)state;
	fake_open(&f, NULL);
	fake_register(&f);
	fake_bind(&f, 1);
	assert_int_equal(rsip_query(f.s, NULL, 0, NULL, f.now_us), 0);
	assert_int_equal(fake_asked(&f, MSG_QUERY_REQUEST)->counter, 3);
	fake_sleep(&f, FAILED);
	f.sent_at = f.n_sent;
	fake_event(&f, RSIP_EVENT_FAILED);
	assert_int_equal(rsip_extend(f.s, 1, 0, NULL, f.now_us), 0);
	assert_int_equal(fake_asked(&f, MSG_EXTEND_REQUEST)->counter, 3);
	fake_say_extended(&f, 3600);
	fake_event(&f, RSIP_EVENT_EXTENDED);
	assert_int_equal(rsip_query(f.s, NULL, 0, NULL, f.now_us), 0);
	assert_int_equal(fake_asked(&f, MSG_QUERY_REQUEST)->counter, 4);
	fake_close(&f);
}

static void start_registered(struct fake *f, const struct rsip_session_conf *conf)
{
	fake_open(f, conf);
	fake_register(f);
	fake_bind(f, 1);
}

/* P-10.2.2-08: extension at half of what remains, and again, before the lease ends. */
static void test_extends(void **state)
{
	struct fake f;
	struct rsip_want want = fake_want;
	struct wire_msg grant;

	(void)state;
	want.lease_s = 500;
	fake_open(&f, NULL);
	fake_register(&f);
	assert_int_equal(rsip_assign(f.s, &want, NULL, f.now_us), 0);
	assert_int_equal(fake_asked(&f, MSG_ASSIGN_REQUEST_RSAP_IP)->lease_s, 500);
	grant = fake_grant(&f, 1);
	grant.lease_s = 400;
	fake_say(&f, &grant);
	fake_event(&f, RSIP_EVENT_GRANTED);
	assert_int_equal(rsip_session_deadline(f.s), f.now_us + 200 * SECOND);
	fake_sleep(&f, 200 * SECOND - 1);
	fake_quiet(&f);
	fake_sleep(&f, 1);
	/* The caller's wish is repeated. */
	assert_int_equal(fake_asked(&f, MSG_EXTEND_REQUEST)->lease_s, 500);
	fake_say_extended(&f, 1000);
	assert_int_equal(fake_event(&f, RSIP_EVENT_EXTENDED)->ev.request, RSIP_REQ_NONE);
	assert_int_equal(rsip_grant_find(f.s, 1)->expires_us, 1201 * SECOND);
	assert_int_equal(rsip_session_deadline(f.s), f.now_us + 500 * SECOND);
	fake_close(&f);
}

/* P-10.2.2-08: a gateway that is gone is noticed: tried at half again, then the end. */
static void test_extension_fails(void **state)
{
	struct fake f;
	unsigned int tries = 0;

	(void)state;
	start_registered(&f, NULL);
	fake_sleep(&f, 3599 * SECOND);
	while (f.events_at < f.n_events) {
		const struct fake_event *e = fake_event(&f, RSIP_EVENT_FAILED);

		assert_int_equal(e->ev.failure, RSIP_FAIL_TIMEOUT);
		assert_int_equal(e->ev.request, RSIP_REQ_NONE);
		assert_int_equal(e->ev.bind_id, 1);
		tries++;
	}
	assert_in_range(tries, 8, 12);
	assert_non_null(rsip_grant_find(f.s, 1));
	fake_sleep(&f, SECOND);
	while (f.events[f.events_at].ev.type == RSIP_EVENT_FAILED)
		f.events_at++;
	assert_int_equal(
		fake_event(&f, RSIP_EVENT_BINDING_LOST)->ev.cause, RSIP_CAUSE_EXPIRED);
	assert_int_equal(rsip_session_counters(f.s)->losses, 1);
	fake_close(&f);
}

/* Exactly when its lease ends, whatever is in work then. */
static void test_expiry(void **state)
{
	struct fake f;

	(void)state;
	start_registered(&f, &(struct rsip_session_conf){ .no_extend = true });
	fake_bind(&f, 2);
	assert_int_equal(rsip_session_deadline(f.s), 3601 * SECOND);
	fake_sleep(&f, 3600 * SECOND - 5000);
	assert_int_equal(rsip_query(f.s, NULL, 0, NULL, f.now_us), 0);
	fake_asked(&f, MSG_QUERY_REQUEST);
	fake_sleep(&f, 4999);
	fake_quiet(&f);
	fake_sleep(&f, 1);
	assert_int_equal(fake_event(&f, RSIP_EVENT_BINDING_LOST)->grant.bind_id, 1);
	assert_int_equal(fake_event(&f, RSIP_EVENT_BINDING_LOST)->grant.bind_id, 2);
	fake_states(&f, RSIP_BOUND_QUERYING, RSIP_BARE_QUERYING, RSIP_STATES);
	fake_say(&f, &(struct wire_msg){ .type = MSG_QUERY_RESPONSE,
			     .has = HAS_CLIENT_ID | HAS_COUNTER,
			     .client_id = FAKE_CLIENT,
			     .counter = f.asked.counter });
	fake_event(&f, RSIP_EVENT_ANSWER);
	fake_states(&f, RSIP_REGISTERED, RSIP_STATES);
	fake_close(&f);
}

/* A-R-09: a bare registration is renewed before its end; not when told so. */
static void test_keep(void **state)
{
	struct fake f;

	(void)state;
	fake_open(&f, NULL);
	fake_register(&f);
	assert_int_equal(rsip_session_deadline(f.s), 7171 * SECOND);
	fake_sleep(&f, 7170 * SECOND - 1);
	fake_quiet(&f);
	fake_sleep(&f, 1);
	fake_asked(&f, MSG_DEREGISTER_REQUEST);
	fake_say_ended(&f, MSG_DEREGISTER_RESPONSE, 0, f.asked.counter);
	assert_int_equal(fake_event(&f, RSIP_EVENT_REGISTRATION_LOST)->ev.cause,
		RSIP_CAUSE_RENEWED);
	/* At once: nothing was lost. */
	assert_int_equal(fake_asked(&f, MSG_REGISTER_REQUEST)->counter, 1);
	f.client_id++;
	fake_say_registered(&f, 100);
	assert_int_equal(
		fake_event(&f, RSIP_EVENT_REGISTERED)->ev.request, RSIP_REQ_NONE);
	/* A short one at three quarters. */
	assert_int_equal(rsip_session_deadline(f.s), f.now_us + 75 * SECOND);
	fake_states(&f, RSIP_BARE_DEREGISTERING, RSIP_UNREGISTERED, RSIP_REGISTERING,
		RSIP_REGISTERED, RSIP_STATES);
	fake_close(&f);
	fake_open(&f, &(struct rsip_session_conf){ .no_keep = true });
	fake_register(&f);
	assert_int_equal(rsip_session_deadline(f.s), 7201 * SECOND);
	fake_close(&f);
}

/* P-6-08, A-R-08: the registration lives as long as the latest binding, and ends by
 * itself. */
static void test_registration_expires(void **state)
{
	struct fake f;
	struct wire_msg grant;

	(void)state;
	fake_open(&f, &(struct rsip_session_conf){ .no_keep = true, .no_extend = true });
	fake_register(&f);
	assert_int_equal(rsip_assign(f.s, &fake_want, NULL, f.now_us), 0);
	fake_asked(&f, MSG_ASSIGN_REQUEST_RSAP_IP);
	grant = fake_grant(&f, 1);
	grant.lease_s = 10000;
	fake_say(&f, &grant);
	fake_event(&f, RSIP_EVENT_GRANTED);
	assert_int_equal(rsip_session_registration(f.s)->expires_us, 10001 * SECOND);
	assert_int_equal(rsip_free(f.s, 1, NULL, f.now_us), 0);
	fake_asked(&f, MSG_FREE_REQUEST);
	fake_say_ended(&f, MSG_FREE_RESPONSE, 1, f.asked.counter);
	fake_event(&f, RSIP_EVENT_FREED);
	fake_sleep(&f, 10000 * SECOND - 1);
	fake_quiet(&f);
	fake_sleep(&f, 1);
	assert_int_equal(fake_event(&f, RSIP_EVENT_REGISTRATION_LOST)->ev.cause,
		RSIP_CAUSE_EXPIRED);
	fake_quiet(&f);
	/* P-9.5-06: and registers anew, but not at once. */
	fake_sleep(&f, SECOND - 1);
	fake_quiet(&f);
	fake_sleep(&f, 1);
	fake_asked(&f, MSG_REGISTER_REQUEST);
	fake_close(&f);
}

/* P-9.5-06: pauses of 1, 2, 4 ... 60 s between attempts, from 1 s again after quiet. */
static void test_pauses(void **state)
{
	static const unsigned int pauses[] = { 1, 2, 4, 8, 16, 32, 60, 60 };
	struct fake f;

	(void)state;
	fake_open(&f, NULL);
	fake_register(&f);
	fake_say_ended(&f, MSG_DEREGISTER_RESPONSE, 0, 0);
	assert_int_equal(fake_event(&f, RSIP_EVENT_REGISTRATION_LOST)->ev.cause,
		RSIP_CAUSE_REVOKED);
	for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++) {
		fake_sleep(&f, pauses[i] * SECOND - 1);
		fake_quiet(&f);
		fake_sleep(&f, 1);
		fake_asked(&f, MSG_REGISTER_REQUEST);
		fake_say_error(&f, RSIP_REGISTRATION_DENIED);
		assert_int_equal(fake_event(&f, RSIP_EVENT_FAILED)->ev.error,
			RSIP_REGISTRATION_DENIED);
	}
	fake_sleep(&f, 60 * SECOND);
	fake_asked(&f, MSG_REGISTER_REQUEST);
	fake_say_registered(&f, 7200);
	fake_event(&f, RSIP_EVENT_REGISTERED);
	fake_sleep(&f, 200 * SECOND);
	fake_say_ended(&f, MSG_DEREGISTER_RESPONSE, 0, 0);
	fake_event(&f, RSIP_EVENT_REGISTRATION_LOST);
	fake_sleep(&f, SECOND);
	fake_asked(&f, MSG_REGISTER_REQUEST);
	fake_close(&f);
}

/* P-9.5-06: the caller's requests for new bindings wait too; others do not. */
static void test_pause_holds(void **state)
{
	struct fake f;

	(void)state;
	start_registered(&f, NULL);
	fake_bind(&f, 2);
	fake_say_ended(&f, MSG_FREE_RESPONSE, 1, 0);
	fake_event(&f, RSIP_EVENT_BINDING_LOST);
	assert_int_equal(rsip_extend(f.s, 2, 0, NULL, f.now_us), 0);
	fake_asked(&f, MSG_EXTEND_REQUEST);
	assert_int_equal(rsip_assign(f.s, &fake_want, NULL, f.now_us), 0);
	fake_say_extended(&f, 3600);
	fake_event(&f, RSIP_EVENT_EXTENDED);
	fake_sleep(&f, SECOND - 1);
	fake_quiet(&f);
	fake_sleep(&f, 1);
	fake_asked(&f, MSG_ASSIGN_REQUEST_RSAP_IP);
	fake_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_retransmission),
		cmocka_unit_test(test_configured),
		cmocka_unit_test(test_late_answer),
		cmocka_unit_test(test_counter_again),
		cmocka_unit_test(test_extends),
		cmocka_unit_test(test_extension_fails),
		cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_registration_expires),
		cmocka_unit_test(test_pauses),
		cmocka_unit_test(test_pause_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
