/* Every request against every error, time-outs, and lost synchronisation. */
#include "client_fake.h"

#include <string.h>

#define SECOND 1000000ULL
#define FAILED 1587500

static const uint16_t errors[] = { 101, 102, 103, 104, 105, 106, 201, 202, 203, 204, 205,
	206, 207, 208, 301, 302, 303, 304, 305, 306, 307, 308, 309, 310, 311, 312, 313,
	314, 315, 401, 402, 403, 999 };
#define N_ERRORS (sizeof errors / sizeof *errors)

static const struct rsip_net item = { .address = 0x0a000001 };

/* One request of a kind, with binding 1 held where it needs one. */
static void ask(struct fake *f, enum rsip_request kind)
{
	static const uint8_t types[] = {
		[RSIP_REQ_DEREGISTER] = MSG_DEREGISTER_REQUEST,
		[RSIP_REQ_ASSIGN] = MSG_ASSIGN_REQUEST_RSAP_IP,
		[RSIP_REQ_EXTEND] = MSG_EXTEND_REQUEST,
		[RSIP_REQ_FREE] = MSG_FREE_REQUEST,
		[RSIP_REQ_QUERY] = MSG_QUERY_REQUEST,
	};
	int rc = -1;

	if (kind == RSIP_REQ_DEREGISTER)
		rc = rsip_deregister(f->s, f, f->now_us);
	else if (kind == RSIP_REQ_ASSIGN)
		rc = rsip_assign(f->s, &fake_want, f, f->now_us);
	else if (kind == RSIP_REQ_EXTEND)
		rc = rsip_extend(f->s, 1, 0, f, f->now_us);
	else if (kind == RSIP_REQ_FREE)
		rc = rsip_free(f->s, 1, f, f->now_us);
	else if (kind == RSIP_REQ_QUERY)
		rc = rsip_query(f->s, &item, 1, f, f->now_us);
	assert_int_equal(rc, 0);
	fake_asked(f, types[kind]);
}

static void open_bound(struct fake *f, const struct rsip_session_conf *conf)
{
	fake_open(f, conf);
	fake_register(f);
	fake_bind(f, 1);
	fake_bind(f, 2);
}

/* P-9.2-01: refused registrations are the caller's business; nothing is tried again. */
static void test_register_refused(void **state)
{
	struct fake f;

	(void)state;
	for (size_t i = 0; i < N_ERRORS; i++) {
		if (errors[i] == RSIP_ALREADY_REGISTERED)
			continue;
		fake_open(&f, NULL);
		assert_int_equal(rsip_register(f.s, &f, f.now_us), 0);
		assert_int_equal(rsip_assign(f.s, &fake_want, NULL, f.now_us), 0);
		fake_asked(&f, MSG_REGISTER_REQUEST);
		fake_say_error(&f, errors[i]);
		assert_int_equal(fake_event(&f, RSIP_EVENT_FAILED)->ev.error, errors[i]);
		/* What waited for the registration fails with it. */
		assert_int_equal(fake_event(&f, RSIP_EVENT_FAILED)->ev.failure,
			RSIP_FAIL_UNREGISTERED);
		fake_states(&f, RSIP_REGISTERING, RSIP_UNREGISTERED, RSIP_STATES);
		fake_sleep(&f, 1000 * SECOND);
		fake_quiet(&f);
		assert_int_equal(rsip_register(f.s, &f, f.now_us), 0);
		fake_close(&f);
	}
}

/* P-10.2.1-05: 302 names the registration of an earlier life; it is cleared. */
static void test_already_registered(void **state)
{
	struct fake f;

	(void)state;
	fake_open(&f, NULL);
	f.client_id = 77;
	assert_int_equal(rsip_register(f.s, &f, f.now_us), 0);
	fake_asked(&f, MSG_REGISTER_REQUEST);
	fake_say_error(&f, RSIP_ALREADY_REGISTERED);
	assert_int_equal(fake_asked(&f, MSG_DEREGISTER_REQUEST)->client_id, 77);
	assert_int_equal(f.asked.counter, 2);
	fake_say_ended(&f, MSG_DEREGISTER_RESPONSE, 0, 2);
	assert_int_equal(fake_asked(&f, MSG_REGISTER_REQUEST)->counter, 1);
	f.client_id = 78;
	fake_say_registered(&f, 60);
	assert_ptr_equal(fake_event(&f, RSIP_EVENT_REGISTERED)->ev.tag, &f);
	fake_states(&f, RSIP_REGISTERING, RSIP_UNREGISTERED, RSIP_CLEARING,
		RSIP_UNREGISTERED, RSIP_REGISTERING, RSIP_REGISTERED, RSIP_STATES);
	fake_quiet(&f);
	fake_close(&f);
}

/* P-10.2.1-05: a gateway that says 302 for ever is not asked for ever. */
static void test_already_registered_always(void **state)
{
	struct fake f;
	unsigned int cleared = 0;

	(void)state;
	fake_open(&f, NULL);
	assert_int_equal(rsip_register(f.s, &f, f.now_us), 0);
	while (f.events_at == f.n_events) {
		fake_asked(&f, MSG_REGISTER_REQUEST);
		fake_say_error(&f, RSIP_ALREADY_REGISTERED);
		if (f.sent_at == f.n_sent)
			break;
		fake_asked(&f, MSG_DEREGISTER_REQUEST);
		fake_say_error(&f, RSIP_BAD_CLIENT_ID);
		cleared++;
	}
	assert_int_equal(cleared, 3);
	assert_int_equal(
		fake_event(&f, RSIP_EVENT_FAILED)->ev.error, RSIP_ALREADY_REGISTERED);
	fake_quiet(&f);
	fake_close(&f);
}

/* P-D-01: an error brings ASSIGN and QUERY back to where they came from; an unknown
 * number is an error like others (P-8.8-01). */
static void test_refused(void **state)
{
	static const enum rsip_request kinds[] = { RSIP_REQ_ASSIGN, RSIP_REQ_QUERY };
	struct fake f;

	(void)state;
	for (size_t i = 0; i < N_ERRORS * 2; i++) {
		uint16_t error = errors[i / 2];

		if (error == 301 || error == 303 || error == 305)
			continue;
		open_bound(&f, NULL);
		ask(&f, kinds[i % 2]);
		fake_say_error(&f, error);
		assert_int_equal(fake_event(&f, RSIP_EVENT_FAILED)->ev.error, error);
		assert_int_equal(rsip_session_state(f.s), RSIP_ASSIGNED);
		fake_sleep(&f, 10 * SECOND);
		fake_quiet(&f);
		assert_non_null(rsip_grant_find(f.s, 1));
		fake_close(&f);
	}
}

/* P-10.2.2-03, P-10.2.2-04, A-R-10: 301, 303 (and 305) end everything; then
 * DE-REGISTER_REQUEST with the old ID at once, whose error is ignored; then anew. */
static void test_out_of_step(void **state)
{
	static const uint16_t lost[] = { 301, 303, 305 };
	static const enum rsip_request kinds[] = { RSIP_REQ_ASSIGN, RSIP_REQ_QUERY,
		RSIP_REQ_EXTEND, RSIP_REQ_FREE };
	struct fake f;

	(void)state;
	for (size_t i = 0; i < 12; i++) {
		const struct fake_event *e;
		enum rsip_request kind = kinds[i % 4];

		open_bound(&f, NULL);
		ask(&f, kind);
		fake_say_error(&f, lost[i / 4]);
		if (kind != RSIP_REQ_FREE) /* what is being freed is not lost */
			fake_event(&f, RSIP_EVENT_BINDING_LOST);
		e = fake_event(&f, RSIP_EVENT_BINDING_LOST);
		assert_int_equal(e->grant.bind_id, 2);
		assert_int_equal(e->ev.cause, RSIP_CAUSE_UNKNOWN);
		e = fake_event(&f, RSIP_EVENT_REGISTRATION_LOST);
		assert_int_equal(e->ev.error, lost[i / 4]);
		e = fake_event(&f, RSIP_EVENT_FAILED);
		assert_int_equal(e->ev.failure, RSIP_FAIL_LOST);
		assert_ptr_equal(e->ev.tag, &f);
		assert_int_equal(
			fake_asked(&f, MSG_DEREGISTER_REQUEST)->client_id, FAKE_CLIENT);
		fake_say_error(&f, RSIP_REGISTER_FIRST);
		fake_sleep(&f, SECOND - 1);
		fake_quiet(&f);
		fake_sleep(&f, 1);
		fake_asked(&f, MSG_REGISTER_REQUEST);
		fake_say_registered(&f, 60);
		assert_int_equal(
			fake_event(&f, RSIP_EVENT_REGISTERED)->ev.request, RSIP_REQ_NONE);
		fake_quiet(&f);
		fake_close(&f);
	}
}

/* P-9.10-03: 306 for an extension ends that binding alone; others change nothing. */
static void test_extend_refused(void **state)
{
	struct fake f;

	(void)state;
	for (size_t i = 0; i < N_ERRORS; i++) {
		if (errors[i] == 301 || errors[i] == 303 || errors[i] == 305)
			continue;
		open_bound(&f, NULL);
		ask(&f, RSIP_REQ_EXTEND);
		fake_say_error(&f, errors[i]);
		if (errors[i] == RSIP_BAD_BIND_ID)
			assert_int_equal(
				fake_event(&f, RSIP_EVENT_BINDING_LOST)->ev.cause,
				RSIP_CAUSE_UNKNOWN);
		assert_int_equal(fake_event(&f, RSIP_EVENT_FAILED)->ev.failure,
			errors[i] == RSIP_BAD_BIND_ID ? RSIP_FAIL_LOST
						      : RSIP_FAIL_REFUSED);
		assert_int_equal(
			rsip_grant_find(f.s, 1) != NULL, errors[i] != RSIP_BAD_BIND_ID);
		assert_non_null(rsip_grant_find(f.s, 2));
		fake_close(&f);
	}
}

/* P-9.12-03, P-D-03: after an error the session is Assigned again; 306 means that both
 * sides agree; 104 is the gateway's trouble; any other one makes it register anew. */
static void test_free_refused(void **state)
{
	struct fake f;

	(void)state;
	for (size_t i = 0; i < N_ERRORS; i++) {
		if (errors[i] == 301 || errors[i] == 303 || errors[i] == 305)
			continue;
		open_bound(&f, NULL);
		ask(&f, RSIP_REQ_FREE);
		fake_say_error(&f, errors[i]);
		assert_int_equal(fake_event(&f, RSIP_EVENT_FAILED)->ev.error, errors[i]);
		assert_int_equal(
			rsip_grant_find(f.s, 1) != NULL, errors[i] != RSIP_BAD_BIND_ID);
		if (errors[i] != RSIP_BAD_BIND_ID &&
			errors[i] != RSIP_INTERNAL_SERVER_ERROR) {
			fake_states(&f, RSIP_FREEING, RSIP_ASSIGNED,
				RSIP_BOUND_DEREGISTERING, RSIP_STATES);
			fake_asked(&f, MSG_DEREGISTER_REQUEST);
			fake_say_ended(&f, MSG_DEREGISTER_RESPONSE, 0, f.asked.counter);
			assert_int_equal(
				fake_event(&f, RSIP_EVENT_BINDING_LOST)->ev.cause,
				RSIP_CAUSE_RENEWED);
			fake_event(&f, RSIP_EVENT_BINDING_LOST);
			fake_event(&f, RSIP_EVENT_REGISTRATION_LOST);
			fake_sleep(&f, SECOND);
			fake_asked(&f, MSG_REGISTER_REQUEST);
		} else {
			fake_states(&f, RSIP_FREEING, RSIP_ASSIGNED, RSIP_STATES);
		}
		fake_quiet(&f);
		fake_close(&f);
	}
}

/* P-D-01: refused de-registration; the session goes on. */
static void test_deregister_refused(void **state)
{
	struct fake f;

	(void)state;
	for (size_t i = 0; i < N_ERRORS; i++) {
		bool gone = errors[i] == 301 || errors[i] == 303 || errors[i] == 305;

		open_bound(&f, NULL);
		ask(&f, RSIP_REQ_DEREGISTER);
		fake_say_error(&f, errors[i]);
		if (gone) {
			fake_event(&f, RSIP_EVENT_BINDING_LOST);
			fake_event(&f, RSIP_EVENT_BINDING_LOST);
			fake_event(&f, RSIP_EVENT_DEREGISTERED);
		} else {
			fake_event(&f, RSIP_EVENT_FAILED);
			assert_int_equal(rsip_session_state(f.s), RSIP_ASSIGNED);
			assert_int_equal(rsip_deregister(f.s, NULL, f.now_us), 0);
			fake_asked(&f, MSG_DEREGISTER_REQUEST);
		}
		fake_quiet(&f);
		fake_close(&f);
	}
}

/* P-D-02: the seventh time-out of DE-REGISTER_REQUEST leads to Unregistered. */
static void test_deregister_timeout(void **state)
{
	struct fake f;

	(void)state;
	open_bound(&f, NULL);
	ask(&f, RSIP_REQ_DEREGISTER);
	fake_sleep(&f, FAILED);
	fake_event(&f, RSIP_EVENT_BINDING_LOST);
	fake_event(&f, RSIP_EVENT_BINDING_LOST);
	assert_int_equal(
		fake_event(&f, RSIP_EVENT_DEREGISTERED)->ev.failure, RSIP_FAIL_TIMEOUT);
	fake_states(&f, RSIP_BOUND_DEREGISTERING, RSIP_UNREGISTERED, RSIP_STATES);
	fake_close(&f);
}

/* P-D-03: the seventh time-out of FREE_REQUEST frees; Registered if nothing is left.  The
 * session asks the gateway once more later, since it may still hold it. */
static void test_free_timeout(void **state)
{
	struct fake f;

	(void)state;
	fake_open(&f, NULL);
	fake_register(&f);
	fake_bind(&f, 1);
	ask(&f, RSIP_REQ_FREE);
	fake_sleep(&f, FAILED);
	f.sent_at = f.n_sent;
	assert_int_equal(fake_event(&f, RSIP_EVENT_FREED)->ev.failure, RSIP_FAIL_TIMEOUT);
	fake_states(&f, RSIP_FREEING, RSIP_REGISTERED, RSIP_STATES);
	fake_sleep(&f, SECOND);
	assert_int_equal(fake_asked(&f, MSG_FREE_REQUEST)->bind_id, 1);
	fake_say_ended(&f, MSG_FREE_RESPONSE, 1, f.asked.counter);
	fake_states(&f, RSIP_FREEING, RSIP_REGISTERED, RSIP_STATES);
	fake_sleep(&f, 10 * SECOND);
	fake_quiet(&f);
	fake_close(&f);
}

/* A-U-05: an assign without an answer may have been executed.  A bare session registers
 * anew, which ends what it was granted. */
static void test_assign_timeout_bare(void **state)
{
	struct fake f;

	(void)state;
	fake_open(&f, NULL);
	fake_register(&f);
	ask(&f, RSIP_REQ_ASSIGN);
	fake_sleep(&f, FAILED);
	for (size_t i = 0; i < 6; i++)
		fake_asked(&f, MSG_ASSIGN_REQUEST_RSAP_IP);
	assert_int_equal(
		fake_event(&f, RSIP_EVENT_FAILED)->ev.failure, RSIP_FAIL_TIMEOUT);
	fake_states(&f, RSIP_BARE_ASSIGNING, RSIP_REGISTERED, RSIP_BARE_DEREGISTERING,
		RSIP_STATES);
	fake_asked(&f, MSG_DEREGISTER_REQUEST);
	fake_say_ended(&f, MSG_DEREGISTER_RESPONSE, 0, f.asked.counter);
	assert_int_equal(fake_event(&f, RSIP_EVENT_REGISTRATION_LOST)->ev.cause,
		RSIP_CAUSE_RENEWED);
	fake_sleep(&f, SECOND);
	fake_asked(&f, MSG_REGISTER_REQUEST);
	fake_quiet(&f);
	fake_close(&f);
}

/* A-U-05: a bound session keeps its bindings; it asks with the same bytes again before
 * its next request, and frees what that shows. */
static void test_assign_timeout_bound(void **state)
{
	struct fake f;
	const struct fake_sent *first;
	struct wire_msg grant;

	(void)state;
	open_bound(&f, NULL);
	ask(&f, RSIP_REQ_ASSIGN);
	first = &f.sent[f.sent_at - 1];
	fake_sleep(&f, FAILED);
	f.sent_at = f.n_sent;
	fake_event(&f, RSIP_EVENT_FAILED);
	fake_sleep(&f, 10 * SECOND);
	fake_quiet(&f);
	assert_int_equal(rsip_query(f.s, NULL, 0, NULL, f.now_us), 0);
	assert_memory_equal(f.sent[f.sent_at].bytes, first->bytes, first->len);
	fake_asked(&f, MSG_ASSIGN_REQUEST_RSAP_IP);
	grant = fake_grant(&f, 3);
	fake_say(&f, &grant);
	assert_int_equal(fake_asked(&f, MSG_FREE_REQUEST)->bind_id, 3);
	fake_say_ended(&f, MSG_FREE_RESPONSE, 3, f.asked.counter);
	fake_asked(&f, MSG_QUERY_REQUEST);
	fake_quiet(&f);
	fake_close(&f);
}

/* A-U-05: its answer, late, is understood as well. */
static void test_assign_late(void **state)
{
	struct fake f;
	struct wire_msg grant;

	(void)state;
	open_bound(&f, NULL);
	ask(&f, RSIP_REQ_ASSIGN);
	fake_sleep(&f, FAILED);
	f.sent_at = f.n_sent;
	fake_event(&f, RSIP_EVENT_FAILED);
	grant = fake_grant(&f, 3);
	grant.client_id++;
	fake_say(&f, &grant);
	fake_quiet(&f);
	grant.client_id--;
	fake_say(&f, &grant);
	assert_int_equal(fake_asked(&f, MSG_FREE_REQUEST)->bind_id, 3);
	assert_int_equal(f.asked.counter, grant.counter + 1);
	fake_say_ended(&f, MSG_FREE_RESPONSE, 3, f.asked.counter);
	fake_say(&f, &grant);
	fake_quiet(&f);
	fake_close(&f);
}

/* The gateway is gone: each request fails in its turn, and the session stays. */
static void test_silence(void **state)
{
	struct fake f;

	(void)state;
	open_bound(&f, NULL);
	ask(&f, RSIP_REQ_ASSIGN);
	assert_int_equal(rsip_query(f.s, NULL, 0, NULL, f.now_us), 0);
	assert_int_equal(rsip_query(f.s, NULL, 0, NULL, f.now_us), 0);
	fake_sleep(&f, 3 * FAILED);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(
			fake_event(&f, RSIP_EVENT_FAILED)->ev.failure, RSIP_FAIL_TIMEOUT);
	f.sent_at = f.n_sent;
	fake_sleep(&f, 10 * SECOND);
	fake_quiet(&f);
	assert_int_equal(rsip_session_state(f.s), RSIP_ASSIGNED);
	fake_close(&f);
}

/* P-9.1-03, P-9.1-05: whatever happens, no ERROR_RESPONSE leaves; requests that wait for
 * a de-registration are not sent. */
static void test_cancelled(void **state)
{
	struct fake f;

	(void)state;
	open_bound(&f, NULL);
	ask(&f, RSIP_REQ_QUERY);
	assert_int_equal(rsip_assign(f.s, &fake_want, NULL, f.now_us), 0);
	assert_int_equal(rsip_free(f.s, 2, NULL, f.now_us), 0);
	assert_int_equal(rsip_deregister(f.s, NULL, f.now_us), 0);
	assert_int_equal(rsip_assign(f.s, &fake_want, NULL, f.now_us), RSIP_ERR_STATE);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(fake_event(&f, RSIP_EVENT_FAILED)->ev.failure,
			RSIP_FAIL_CANCELLED);
	fake_say_error(&f, 101);
	assert_int_equal(fake_event(&f, RSIP_EVENT_FAILED)->ev.request, RSIP_REQ_QUERY);
	fake_asked(&f, MSG_DEREGISTER_REQUEST);
	/* The caller may want to come back at once. */
	assert_int_equal(rsip_register(f.s, NULL, f.now_us), 0);
	assert_int_equal(rsip_assign(f.s, &fake_want, NULL, f.now_us), 0);
	fake_say_ended(&f, MSG_DEREGISTER_RESPONSE, 0, f.asked.counter);
	fake_event(&f, RSIP_EVENT_BINDING_LOST);
	fake_event(&f, RSIP_EVENT_DEREGISTERED);
	fake_asked(&f, MSG_REGISTER_REQUEST);
	fake_say_registered(&f, 60);
	fake_event(&f, RSIP_EVENT_REGISTERED);
	fake_asked(&f, MSG_ASSIGN_REQUEST_RSAP_IP);
	fake_quiet(&f);
	fake_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_register_refused),
		cmocka_unit_test(test_already_registered),
		cmocka_unit_test(test_already_registered_always),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_out_of_step),
		cmocka_unit_test(test_extend_refused),
		cmocka_unit_test(test_free_refused),
		cmocka_unit_test(test_deregister_refused),
		cmocka_unit_test(test_deregister_timeout),
		cmocka_unit_test(test_free_timeout),
		cmocka_unit_test(test_assign_timeout_bare),
		cmocka_unit_test(test_assign_timeout_bound),
		cmocka_unit_test(test_assign_late),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
