/* The same session over a stream. */
#include "client_fake.h"

#include <string.h>

#define SECOND 1000000ULL

static const struct rsip_session_conf tcp = { .transport = RSIP_TCP };

/* P-5-03, P-10.1-20: counters over TCP too; nothing is resent; ten seconds. */
static void test_counters(void **state)
{
	struct fake f;

	(void)state;
	fake_open(&f, &tcp);
	/* Without a connection nothing can be sent. */
	assert_int_equal(rsip_register(f.s, NULL, f.now_us), 0);
	fake_quiet(&f);
	rsip_session_connected(f.s, f.now_us);
	assert_int_equal(fake_asked(&f, MSG_REGISTER_REQUEST)->counter, 1);
	fake_say_registered(&f, 7200);
	fake_event(&f, RSIP_EVENT_REGISTERED);
	assert_int_equal(rsip_query(f.s, NULL, 0, NULL, f.now_us), 0);
	assert_int_equal(fake_asked(&f, MSG_QUERY_REQUEST)->counter, 2);
	fake_sleep(&f, 10 * SECOND - 1);
	fake_quiet(&f);
	fake_sleep(&f, 1);
	assert_int_equal(
		fake_event(&f, RSIP_EVENT_FAILED)->ev.failure, RSIP_FAIL_TIMEOUT);
	/* Its answer may still come, so the counter goes on. */
	assert_int_equal(rsip_query(f.s, NULL, 0, NULL, f.now_us), 0);
	assert_int_equal(fake_asked(&f, MSG_QUERY_REQUEST)->counter, 3);
	fake_close(&f);
}

/* P-10.1-17: a gateway that does not return the counter is understood by types and IDs.
 */
static void test_no_counter(void **state)
{
	struct fake f;
	struct wire_msg m = { .type = MSG_FREE_RESPONSE,
		.has = HAS_CLIENT_ID | HAS_BIND_ID,
		.client_id = FAKE_CLIENT };
	struct wire_msg grant;

	(void)state;
	fake_open(&f, &tcp);
	fake_register(&f);
	assert_int_equal(rsip_assign(f.s, &fake_want, NULL, f.now_us), 0);
	fake_asked(&f, MSG_ASSIGN_REQUEST_RSAP_IP);
	grant = fake_grant(&f, 1);
	grant.has &= ~(uint32_t)HAS_COUNTER;
	fake_say(&f, &grant);
	fake_event(&f, RSIP_EVENT_GRANTED);
	fake_bind(&f, 2);
	assert_int_equal(rsip_free(f.s, 1, NULL, f.now_us), 0);
	fake_asked(&f, MSG_FREE_REQUEST);
	m.bind_id = 2;
	fake_say(&f, &m);
	assert_int_equal(fake_event(&f, RSIP_EVENT_BINDING_LOST)->grant.bind_id, 2);
	m.bind_id = 1;
	fake_say(&f, &m);
	assert_int_equal(fake_event(&f, RSIP_EVENT_FREED)->ev.bind_id, 1);
	m = (struct wire_msg){
		.type = MSG_ERROR_RESPONSE, .has = HAS_ERROR, .error = 312
	};
	fake_say(&f, &m);
	fake_event(&f, RSIP_EVENT_NOTICE);
	assert_int_equal(rsip_query(f.s, NULL, 0, NULL, f.now_us), 0);
	fake_asked(&f, MSG_QUERY_REQUEST);
	fake_say(&f, &m);
	assert_int_equal(fake_event(&f, RSIP_EVENT_FAILED)->ev.error, 312);
	fake_close(&f);
}

/* P-9-04: cut anywhere, several at once, in order. */
static void test_stream(void **state)
{
	struct fake f;
	uint8_t bytes[512];
	struct wire_msg m = { .type = MSG_REGISTER_RESPONSE,
		.has = HAS_CLIENT_ID | HAS_LEASE | HAS_FLOW | HAS_COUNTER,
		.client_id = FAKE_CLIENT,
		.lease_s = 60,
		.flow_local = FLOW_MACRO,
		.flow_remote = FLOW_NONE,
		.counter = 1 };
	int len = wire_encode(&m, bytes, sizeof bytes), more;

	(void)state;
	m = (struct wire_msg){
		.type = MSG_ERROR_RESPONSE, .has = HAS_ERROR | HAS_COUNTER, .error = 104
	};
	more = wire_encode(&m, bytes + len, sizeof bytes - (size_t)len);
	assert_true(len > 0 && more > 0);
	for (int piece = 1; piece <= len + more; piece++) {
		fake_open(&f, &tcp);
		rsip_session_connected(f.s, f.now_us);
		assert_int_equal(rsip_register(f.s, NULL, f.now_us), 0);
		for (int at = 0; at < len + more; at += piece)
			fake_input(&f, bytes + at,
				(size_t)(len + more - at < piece ? len + more - at
								 : piece));
		fake_event(&f, RSIP_EVENT_REGISTERED);
		fake_event(&f, RSIP_EVENT_NOTICE);
		assert_int_equal(rsip_session_counters(f.s)->received, 2);
		fake_close(&f);
	}
}

/* A-W-17, P-9-02: a length under 4 or another version loses the boundaries. */
static void test_broken(void **state)
{
	static const uint8_t broken[2][4] = { { 1, 3, 0, 3 }, { 2, 3, 0, 4 } };
	struct fake f;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		fake_open(&f, &tcp);
		fake_register(&f);
		fake_input(&f, broken[i], 4);
		fake_event(&f, RSIP_EVENT_STREAM_BROKEN);
		/* Nothing more is read from it. */
		fake_say_ended(&f, MSG_DEREGISTER_RESPONSE, 0, 0);
		fake_quiet(&f);
		rsip_session_disconnected(f.s, f.now_us);
		rsip_session_connected(f.s, f.now_us);
		fake_say_ended(&f, MSG_DEREGISTER_RESPONSE, 0, 0);
		fake_event(&f, RSIP_EVENT_REGISTRATION_LOST);
		fake_close(&f);
	}
}

/* P-6-14: the connection's end ends nothing else; what was in work is sent again. */
static void test_reconnect(void **state)
{
	struct fake f;

	(void)state;
	fake_open(&f, &tcp);
	fake_register(&f);
	fake_bind(&f, 1);
	assert_int_equal(rsip_free(f.s, 1, NULL, f.now_us), 0);
	fake_asked(&f, MSG_FREE_REQUEST);
	rsip_session_disconnected(f.s, f.now_us);
	fake_sleep(&f, SECOND);
	fake_quiet(&f);
	assert_non_null(rsip_session_registration(f.s));
	rsip_session_connected(f.s, f.now_us);
	fake_asked(&f, MSG_FREE_REQUEST);
	/* It was executed the first time. */
	fake_say_error(&f, RSIP_BAD_BIND_ID);
	fake_event(&f, RSIP_EVENT_FREED);
	fake_quiet(&f);
	fake_close(&f);
}

/* Half a message of the old connection is not joined with the new one's first. */
static void test_reconnect_half(void **state)
{
	static const uint8_t half[] = { 1, 5, 0, 18, 4, 0 };
	struct fake f;

	(void)state;
	fake_open(&f, &tcp);
	fake_register(&f);
	fake_input(&f, half, sizeof half);
	rsip_session_disconnected(f.s, f.now_us);
	rsip_session_connected(f.s, f.now_us);
	fake_say_ended(&f, MSG_DEREGISTER_RESPONSE, 0, 0);
	fake_event(&f, RSIP_EVENT_REGISTRATION_LOST);
	fake_close(&f);
}

/* An assign is not sent twice, since it might be granted twice; a bare session registers
 * anew (A-U-05), a bound one lives on. */
static void test_reconnect_assign(void **state)
{
	struct fake f;

	(void)state;
	for (int bound = 0; bound < 2; bound++) {
		fake_open(&f, &tcp);
		fake_register(&f);
		if (bound)
			fake_bind(&f, 1);
		assert_int_equal(rsip_assign(f.s, &fake_want, NULL, f.now_us), 0);
		fake_asked(&f, MSG_ASSIGN_REQUEST_RSAP_IP);
		rsip_session_disconnected(f.s, f.now_us);
		assert_int_equal(
			fake_event(&f, RSIP_EVENT_FAILED)->ev.failure, RSIP_FAIL_TIMEOUT);
		rsip_session_connected(f.s, f.now_us);
		if (!bound)
			fake_asked(&f, MSG_DEREGISTER_REQUEST);
		fake_quiet(&f);
		fake_close(&f);
	}
}

/* A late grant is given back. */
static void test_late(void **state)
{
	struct fake f;
	struct wire_msg grant;

	(void)state;
	fake_open(&f, &tcp);
	fake_register(&f);
	fake_bind(&f, 1);
	assert_int_equal(rsip_assign(f.s, &fake_want, NULL, f.now_us), 0);
	fake_asked(&f, MSG_ASSIGN_REQUEST_RSAP_IP);
	grant = fake_grant(&f, 2);
	fake_sleep(&f, 10 * SECOND);
	fake_event(&f, RSIP_EVENT_FAILED);
	assert_int_equal(rsip_query(f.s, NULL, 0, NULL, f.now_us), 0);
	fake_asked(&f, MSG_QUERY_REQUEST);
	fake_say(&f, &grant);
	fake_say(&f, &(struct wire_msg){ .type = MSG_QUERY_RESPONSE,
			     .has = HAS_CLIENT_ID | HAS_COUNTER,
			     .client_id = FAKE_CLIENT,
			     .counter = f.asked.counter });
	fake_event(&f, RSIP_EVENT_ANSWER);
	assert_int_equal(fake_asked(&f, MSG_FREE_REQUEST)->bind_id, 2);
	fake_close(&f);
}

/* What waits for a connection waits as long as for an answer. */
static void test_no_connection(void **state)
{
	struct fake f;

	(void)state;
	fake_open(&f, &tcp);
	assert_int_equal(rsip_register(f.s, NULL, f.now_us), 0);
	assert_int_equal(rsip_assign(f.s, &fake_want, NULL, f.now_us), 0);
	fake_sleep(&f, 10 * SECOND - 1);
	fake_quiet(&f);
	fake_sleep(&f, 1);
	assert_int_equal(
		fake_event(&f, RSIP_EVENT_FAILED)->ev.failure, RSIP_FAIL_TIMEOUT);
	assert_int_equal(
		fake_event(&f, RSIP_EVENT_FAILED)->ev.failure, RSIP_FAIL_UNREGISTERED);
	assert_int_equal(rsip_register(f.s, NULL, f.now_us), 0);
	assert_int_equal(rsip_deregister(f.s, NULL, f.now_us), 0);
	assert_int_equal(
		fake_event(&f, RSIP_EVENT_FAILED)->ev.failure, RSIP_FAIL_CANCELLED);
	/* P-9.4-02: nothing to de-register from. */
	fake_event(&f, RSIP_EVENT_DEREGISTERED);
	fake_quiet(&f);
	fake_close(&f);
	fake_open(&f, &tcp);
	fake_register(&f);
	rsip_session_disconnected(f.s, f.now_us);
	assert_int_equal(rsip_deregister(f.s, NULL, f.now_us), 0);
	fake_sleep(&f, 10 * SECOND);
	assert_int_equal(
		fake_event(&f, RSIP_EVENT_DEREGISTERED)->ev.failure, RSIP_FAIL_TIMEOUT);
	fake_close(&f);
}

/* P-5-05: 102 says that this transport does not serve; the caller makes a session over
 * the other one. */
static void test_use_tcp(void **state)
{
	struct fake f;

	(void)state;
	fake_open(&f, NULL);
	assert_int_equal(rsip_register(f.s, NULL, f.now_us), 0);
	fake_asked(&f, MSG_REGISTER_REQUEST);
	fake_say_error(&f, RSIP_USE_TCP);
	assert_int_equal(fake_event(&f, RSIP_EVENT_FAILED)->ev.error, RSIP_USE_TCP);
	fake_sleep(&f, 1000 * SECOND);
	fake_quiet(&f);
	fake_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counters),
		cmocka_unit_test(test_no_counter),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_reconnect),
		cmocka_unit_test(test_reconnect_half),
		cmocka_unit_test(test_reconnect_assign),
		cmocka_unit_test(test_late),
		cmocka_unit_test(test_no_connection),
		cmocka_unit_test(test_use_tcp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
