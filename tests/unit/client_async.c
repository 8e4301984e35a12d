/* Whatever the gateway may send unasked, in every state; and what is not its answer. */
#include "client_fake.h"

#include <string.h>

#define SECOND 1000000ULL

/* Into a state, with the request that leads there in f->asked. */
static void enter(struct fake *f, enum rsip_state state)
{
	fake_open(f, NULL);
	if (state == RSIP_UNREGISTERED)
		return;
	if (state == RSIP_REGISTERING || state == RSIP_CLEARING) {
		assert_int_equal(rsip_register(f->s, NULL, f->now_us), 0);
		fake_asked(f, MSG_REGISTER_REQUEST);
		if (state == RSIP_CLEARING) {
			fake_say_error(f, RSIP_ALREADY_REGISTERED);
			fake_asked(f, MSG_DEREGISTER_REQUEST);
		}
		return;
	}
	fake_register(f);
	if (state >= RSIP_ASSIGNED)
		fake_bind(f, 1);
	if (state == RSIP_BARE_QUERYING || state == RSIP_BOUND_QUERYING) {
		assert_int_equal(rsip_query(f->s, NULL, 0, NULL, f->now_us), 0);
		fake_asked(f, MSG_QUERY_REQUEST);
	} else if (state == RSIP_BARE_DEREGISTERING ||
		   state == RSIP_BOUND_DEREGISTERING) {
		assert_int_equal(rsip_deregister(f->s, NULL, f->now_us), 0);
		fake_asked(f, MSG_DEREGISTER_REQUEST);
	} else if (state == RSIP_BARE_ASSIGNING || state == RSIP_BOUND_ASSIGNING) {
		assert_int_equal(rsip_assign(f->s, &fake_want, NULL, f->now_us), 0);
		fake_asked(f, MSG_ASSIGN_REQUEST_RSAP_IP);
	} else if (state == RSIP_EXTENDING) {
		assert_int_equal(rsip_extend(f->s, 1, 0, NULL, f->now_us), 0);
		fake_asked(f, MSG_EXTEND_REQUEST);
	} else if (state == RSIP_FREEING) {
		assert_int_equal(rsip_free(f->s, 1, NULL, f->now_us), 0);
		fake_asked(f, MSG_FREE_REQUEST);
	}
	assert_int_equal(rsip_session_state(f->s), state);
	f->trace_at = f->n_trace;
}

static bool is_registered(enum rsip_state state)
{
	return state >= RSIP_REGISTERED;
}

static bool is_pending(enum rsip_state state)
{
	return state != RSIP_UNREGISTERED && state != RSIP_REGISTERED &&
	       state != RSIP_ASSIGNED;
}

/* P-9.5-04, P-10.1-16, A-U-13: DE-REGISTER_RESPONSE with counter 0 in every state. */
static void test_deregister_response(void **state)
{
	struct fake f;

	(void)state;
	for (int st = 0; st < RSIP_STATES; st++) {
		bool dereg =
			st == RSIP_BARE_DEREGISTERING || st == RSIP_BOUND_DEREGISTERING;

		enter(&f, (enum rsip_state)st);
		fake_say_ended(&f, MSG_DEREGISTER_RESPONSE, 0, 0);
		if (!is_registered((enum rsip_state)st)) {
			assert_int_equal(rsip_session_state(f.s), st);
			assert_int_equal(rsip_session_counters(f.s)->drop_type, 1);
			fake_quiet(&f);
			fake_close(&f);
			continue;
		}
		if (st >= RSIP_ASSIGNED && st != RSIP_FREEING)
			fake_event(&f, RSIP_EVENT_BINDING_LOST);
		if (dereg) {
			fake_event(&f, RSIP_EVENT_DEREGISTERED);
		} else {
			assert_int_equal(
				fake_event(&f, RSIP_EVENT_REGISTRATION_LOST)->ev.cause,
				RSIP_CAUSE_REVOKED);
			if (is_pending((enum rsip_state)st))
				assert_int_equal(
					fake_event(&f, RSIP_EVENT_FAILED)->ev.failure,
					RSIP_FAIL_LOST);
		}
		fake_states(&f, RSIP_UNREGISTERED, RSIP_STATES);
		fake_quiet(&f);
		fake_sleep(&f, SECOND);
		if (!dereg)
			assert_int_equal(
				fake_asked(&f, MSG_REGISTER_REQUEST)->counter, 1);
		fake_quiet(&f);
		fake_close(&f);
	}
}

/* P-9.13-02, P-10.1-16: FREE_RESPONSE with counter 0 ends that binding and completes
 * nothing. */
static void test_free_response(void **state)
{
	struct fake f;

	(void)state;
	for (int st = 0; st < RSIP_STATES; st++) {
		enter(&f, (enum rsip_state)st);
		fake_say_ended(&f, MSG_FREE_RESPONSE, 1, 0);
		assert_null(rsip_grant_find(f.s, 1));
		if (st >= RSIP_ASSIGNED && st != RSIP_FREEING)
			assert_int_equal(
				fake_event(&f, RSIP_EVENT_BINDING_LOST)->ev.cause,
				RSIP_CAUSE_REVOKED);
		fake_quiet(&f);
		/* What is in work goes on: its copy leaves when due. */
		if (is_pending((enum rsip_state)st)) {
			fake_sleep(&f, 12500);
			fake_asked(&f, f.asked.type);
		}
		fake_quiet(&f);
		fake_close(&f);
	}
}

/* The requests about a binding that ended so: an extension fails, freeing is done. */
static void test_ended_meanwhile(void **state)
{
	struct fake f;

	(void)state;
	enter(&f, RSIP_EXTENDING);
	fake_say_ended(&f, MSG_FREE_RESPONSE, 1, 0);
	fake_event(&f, RSIP_EVENT_BINDING_LOST);
	fake_say_error(&f, RSIP_BAD_BIND_ID);
	assert_int_equal(fake_event(&f, RSIP_EVENT_FAILED)->ev.failure, RSIP_FAIL_LOST);
	fake_states(&f, RSIP_REGISTERED, RSIP_STATES);
	fake_close(&f);
	enter(&f, RSIP_FREEING);
	fake_say_ended(&f, MSG_FREE_RESPONSE, 1, 0);
	fake_say_error(&f, RSIP_BAD_BIND_ID);
	assert_int_equal(fake_event(&f, RSIP_EVENT_FREED)->ev.failure, 0);
	fake_states(&f, RSIP_REGISTERED, RSIP_STATES);
	fake_close(&f);
	/* Still waiting: neither is sent. */
	enter(&f, RSIP_BOUND_QUERYING);
	assert_int_equal(rsip_extend(f.s, 1, 0, NULL, f.now_us), 0);
	assert_int_equal(rsip_free(f.s, 1, NULL, f.now_us), 0);
	fake_say_ended(&f, MSG_FREE_RESPONSE, 1, 0);
	assert_int_equal(fake_event(&f, RSIP_EVENT_FAILED)->ev.failure, RSIP_FAIL_LOST);
	fake_event(&f, RSIP_EVENT_FREED);
	fake_quiet(&f);
	fake_close(&f);
}

/* P-10.4-08 (A-D-18), P-10.1-16: an error with counter 0 is told and changes nothing. */
static void test_notice(void **state)
{
	struct fake f;

	(void)state;
	for (int st = 0; st < RSIP_STATES; st++) {
		struct wire_msg m = { .type = MSG_ERROR_RESPONSE,
			.has = HAS_ERROR | HAS_CLIENT_ID | HAS_BIND_ID | HAS_COUNTER,
			.error = RSIP_REMOTE_ADDR_UNALLOWED,
			.client_id = FAKE_CLIENT,
			.bind_id = 1 };

		enter(&f, (enum rsip_state)st);
		fake_say(&f, &m);
		assert_int_equal(rsip_session_state(f.s), st);
		if (is_registered((enum rsip_state)st)) {
			const struct fake_event *e = fake_event(&f, RSIP_EVENT_NOTICE);

			assert_int_equal(e->ev.error, RSIP_REMOTE_ADDR_UNALLOWED);
			assert_int_equal(e->ev.bind_id, 1);
		}
		m.error = RSIP_INTERNAL_SERVER_ERROR;
		m.has &= ~(uint32_t)(HAS_CLIENT_ID | HAS_BIND_ID);
		fake_say(&f, &m);
		if (is_registered((enum rsip_state)st))
			fake_event(&f, RSIP_EVENT_NOTICE);
		/* P-10.2.1-01: nobody's session is nobody's business. */
		m.has |= HAS_CLIENT_ID;
		m.client_id++;
		fake_say(&f, &m);
		assert_int_equal(rsip_session_state(f.s), st);
		fake_quiet(&f);
		fake_close(&f);
	}
}

/* P-10.2.2-03: 301 with counter 0 is the loss of synchronisation too. */
static void test_register_first(void **state)
{
	struct fake f;

	(void)state;
	for (int st = RSIP_REGISTERED; st < RSIP_STATES; st++) {
		enter(&f, (enum rsip_state)st);
		f.asked.counter = 0;
		fake_say_error(&f, RSIP_REGISTER_FIRST);
		if (st >= RSIP_ASSIGNED && st != RSIP_FREEING)
			fake_event(&f, RSIP_EVENT_BINDING_LOST);
		if (st != RSIP_BARE_DEREGISTERING && st != RSIP_BOUND_DEREGISTERING) {
			fake_event(&f, RSIP_EVENT_REGISTRATION_LOST);
			if (is_pending((enum rsip_state)st))
				fake_event(&f, RSIP_EVENT_FAILED);
		} else {
			fake_event(&f, RSIP_EVENT_DEREGISTERED);
		}
		fake_asked(&f, MSG_DEREGISTER_REQUEST);
		assert_int_equal(rsip_session_state(f.s), RSIP_CLEARING);
		fake_quiet(&f);
		fake_close(&f);
	}
}

/* P-10.2.1-06, P-10.1-16, P-9.1-04: what is not the answer changes nothing and is
 * counted; the timer goes on. */
static void test_not_the_answer(void **state)
{
	struct fake f;

	(void)state;
	for (int st = 0; st < RSIP_STATES; st++) {
		const struct rsip_session_counters *c;
		uint64_t deadline;

		enter(&f, (enum rsip_state)st);
		c = rsip_session_counters(f.s);
		deadline = rsip_session_deadline(f.s);
		f.client_id++;
		fake_say_ended(&f, MSG_DEREGISTER_RESPONSE, 0, 0);
		fake_say_ended(&f, MSG_DEREGISTER_RESPONSE, 0, f.asked.counter);
		fake_say_ended(&f, MSG_FREE_RESPONSE, 1, 0);
		fake_say_ended(&f, MSG_FREE_RESPONSE, 1, f.asked.counter);
		f.client_id--;
		fake_say_ended(&f, MSG_FREE_RESPONSE, 99, 0);
		fake_say_ended(&f, MSG_FREE_RESPONSE, 1, f.asked.counter + 1);
		fake_say_ended(&f, MSG_DEREGISTER_RESPONSE, 0, f.asked.counter + 1);
		f.asked.counter++;
		fake_say_error(&f, RSIP_REGISTER_FIRST);
		/* P-B-04: requests are for gateways. */
		fake_say(&f, &(struct wire_msg){ .type = MSG_REGISTER_REQUEST,
				     .has = HAS_COUNTER,
				     .counter = 1 });
		assert_int_equal(rsip_session_state(f.s), st);
		assert_int_equal(rsip_session_deadline(f.s), deadline);
		assert_int_equal(c->drop_counter + c->drop_client + c->drop_type, 9);
		fake_quiet(&f);
		fake_close(&f);
	}
}

/* An answer of another type with the right counter answers nothing. */
static void test_other_answer(void **state)
{
	struct fake f;

	(void)state;
	for (int st = RSIP_REGISTERED; st < RSIP_STATES; st++) {
		if (!is_pending((enum rsip_state)st))
			continue;
		enter(&f, (enum rsip_state)st);
		fake_say_registered(&f, 60);
		if (st != RSIP_FREEING && st != RSIP_EXTENDING)
			fake_say_ended(&f, MSG_FREE_RESPONSE, 1, f.asked.counter);
		f.asked.bind_id = 1;
		if (st != RSIP_EXTENDING)
			fake_say_extended(&f, 60);
		assert_int_equal(rsip_session_state(f.s), st);
		fake_quiet(&f);
		fake_close(&f);
	}
}

/* An extension may be answered by the end of the binding (RFC 3103 section 9.11.3). */
static void test_extend_ends(void **state)
{
	struct fake f;

	(void)state;
	enter(&f, RSIP_EXTENDING);
	/* Of another binding: not the answer. */
	fake_say_ended(&f, MSG_FREE_RESPONSE, 2, f.asked.counter);
	fake_quiet(&f);
	fake_say_ended(&f, MSG_FREE_RESPONSE, 1, f.asked.counter);
	assert_int_equal(
		fake_event(&f, RSIP_EVENT_BINDING_LOST)->ev.cause, RSIP_CAUSE_REVOKED);
	assert_int_equal(fake_event(&f, RSIP_EVENT_FAILED)->ev.failure, RSIP_FAIL_LOST);
	fake_states(&f, RSIP_REGISTERED, RSIP_STATES);
	fake_close(&f);
}

/* A-R-06: a lease of 0 is no lease. */
static void test_extend_zero(void **state)
{
	struct fake f;

	(void)state;
	enter(&f, RSIP_EXTENDING);
	fake_say_extended(&f, 0);
	fake_event(&f, RSIP_EVENT_BINDING_LOST);
	fake_event(&f, RSIP_EVENT_FAILED);
	assert_int_equal(fake_asked(&f, MSG_FREE_REQUEST)->bind_id, 1);
	fake_close(&f);
}

static void again(struct fake *f, const struct rsip_event *ev)
{
	/* Requests in the callback are taken, and sent when it is over. */
	if (ev->type == RSIP_EVENT_BINDING_LOST)
		assert_int_equal(rsip_assign(f->s, &fake_want, NULL, f->now_us), 0);
}

static void test_callback_asks(void **state)
{
	struct fake f;

	(void)state;
	enter(&f, RSIP_ASSIGNED);
	f.hook = again;
	fake_say_ended(&f, MSG_FREE_RESPONSE, 1, 0);
	fake_event(&f, RSIP_EVENT_BINDING_LOST);
	fake_quiet(&f);
	fake_sleep(&f, SECOND);
	fake_asked(&f, MSG_ASSIGN_REQUEST_RSAP_IP);
	fake_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deregister_response),
		cmocka_unit_test(test_free_response),
		cmocka_unit_test(test_ended_meanwhile),
		cmocka_unit_test(test_notice),
		cmocka_unit_test(test_register_first),
		cmocka_unit_test(test_not_the_answer),
		cmocka_unit_test(test_other_answer),
		cmocka_unit_test(test_extend_ends),
		cmocka_unit_test(test_extend_zero),
		cmocka_unit_test(test_callback_asks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
