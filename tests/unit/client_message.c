/* What messages of a gateway may look like, byte by byte; and two gateways at once. */
#include "client_fake.h"

#include <stdlib.h>
#include <string.h>

#define SECOND 1000000ULL

/* REGISTER_RESPONSE to counter 1, with its optional parameters in this order. */
static size_t response(uint8_t *to, const uint8_t *optional, size_t len)
{
	static const uint8_t head[] = { 1, 3, 0, 0, 4, 0, 4, 0, 0, 0, 9, 3, 0, 4, 0, 0, 0,
		60, 9, 0, 2, 1, 3 };

	memcpy(to, head, sizeof head);
	memcpy(to + sizeof head, optional, len);
	to[3] = (uint8_t)(sizeof head + len);
	return sizeof head + len;
}

#define COUNTER  11, 0, 4, 0, 0, 0, 1
#define METHOD_1 7, 0, 1, 1
#define METHOD_3 7, 0, 1, 3
#define TUNNEL_1 6, 0, 1, 1
#define TUNNEL_2 6, 0, 1, 2
#define VENDOR   12, 0, 6, 0, 241, 0, 1, 0xab, 0xcd

#define ROW(...)                                                 \
	{                                                        \
		(const uint8_t[]){ __VA_ARGS__ },                \
			sizeof((const uint8_t[]){ __VA_ARGS__ }) \
	}

struct row {
	const uint8_t *optional;
	size_t len;
};

static void say_response(struct fake *f, const struct row *row)
{
	uint8_t bytes[128];

	fake_input(f, bytes, response(bytes, row->optional, row->len));
}

static void open_registering(struct fake *f)
{
	fake_open(f, NULL);
	assert_int_equal(rsip_register(f->s, NULL, f->now_us), 0);
	fake_asked(f, MSG_REGISTER_REQUEST);
}

/* P-9-06, P-8.12-01, P-8.12-02, A-W-09: optional parameters in any order, with vendors'
 * own among them. */
static void test_optional(void **state)
{
	const struct row rows[] = {
		ROW(COUNTER, METHOD_1, METHOD_3, TUNNEL_1, TUNNEL_2),
		ROW(TUNNEL_1, TUNNEL_2, METHOD_1, METHOD_3, COUNTER),
		ROW(METHOD_1, TUNNEL_1, COUNTER, METHOD_3, TUNNEL_2),
		ROW(VENDOR, METHOD_1, TUNNEL_1, VENDOR, COUNTER, METHOD_3, TUNNEL_2),
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct fake_event *e;
		struct fake f;

		open_registering(&f);
		say_response(&f, &rows[i]);
		e = fake_event(&f, RSIP_EVENT_REGISTERED);
		assert_int_equal(e->registration.client_id, 9);
		assert_int_equal(e->registration.methods, 1 << 1 | 1 << 2 | 1 << 3);
		assert_int_equal(e->registration.tunnels, 1 << 1 | 1 << 2);
		fake_close(&f);
	}
}

/* P-9-05, P-9-07, P-8.11-01, P-8-01, P-9.1-04: without a counter over UDP, a parameter
 * twice, unknown, not of this message, cut short, of another length: dropped. */
static void test_dropped(void **state)
{
	const struct row rows[] = {
		ROW(METHOD_1),
		ROW(COUNTER, COUNTER),
		ROW(COUNTER, 99, 0, 0),
		ROW(COUNTER, 5, 0, 4, 0, 0, 0, 1),
		ROW(COUNTER, 7, 0, 2, 1, 1),
		ROW(COUNTER, 7, 0, 9, 1),
		ROW(COUNTER, 12, 0, 3, 0, 241, 0),
		ROW(COUNTER, 0),
	};
	const struct row good = ROW(COUNTER);
	struct fake f;

	(void)state;
	open_registering(&f);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		say_response(&f, &rows[i]);
		fake_quiet(&f);
		assert_int_equal(rsip_session_counters(f.s)->drop_malformed, i + 1);
		assert_int_equal(rsip_session_deadline(f.s), f.now_us + 12500);
	}
	say_response(&f, &good);
	fake_event(&f, RSIP_EVENT_REGISTERED);
	fake_close(&f);
}

/* P-9-01, P-9-03: a datagram is one message, whole and with nothing behind it. */
static void test_datagram(void **state)
{
	const struct row good = ROW(COUNTER);
	uint8_t bytes[128] = { 0 };
	size_t len = response(bytes, good.optional, good.len);
	struct fake f;

	(void)state;
	open_registering(&f);
	fake_input(&f, bytes, len + 1);
	fake_input(&f, bytes, len - 1);
	for (size_t n = 0; n < 4; n++)
		fake_input(&f, bytes, n);
	assert_int_equal(rsip_session_counters(f.s)->drop_malformed, 6);
	fake_quiet(&f);
	fake_input(&f, bytes, len);
	fake_event(&f, RSIP_EVENT_REGISTERED);
	fake_close(&f);
}

/* P-6-09, F-2-02, F-2-06, F-2-10: two gateways, each with its own state, counters, Client
 * ID; the loss of one is not the other's. */
static void test_two_gateways(void **state)
{
	struct fake *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);

	(void)state;
	assert_true(a && b);
	fake_open(a, NULL);
	fake_open(b, &(struct rsip_session_conf){ .transport = RSIP_TCP });
	b->client_id = 77;
	fake_register(a);
	fake_register(b);
	fake_bind(a, 1);
	fake_bind(b, 1);
	fake_bind(b, 2);
	assert_int_equal(rsip_query(a->s, NULL, 0, NULL, a->now_us), 0);
	assert_int_equal(fake_asked(a, MSG_QUERY_REQUEST)->counter, 3);
	fake_say_error(a, RSIP_REGISTER_FIRST);
	fake_event(a, RSIP_EVENT_BINDING_LOST);
	fake_event(a, RSIP_EVENT_REGISTRATION_LOST);
	fake_event(a, RSIP_EVENT_FAILED);
	assert_int_equal(rsip_session_registration(b->s)->client_id, 77);
	assert_non_null(rsip_grant_find(b->s, 1));
	assert_int_equal(rsip_free(b->s, 1, NULL, b->now_us), 0);
	assert_int_equal(fake_asked(b, MSG_FREE_REQUEST)->counter, 4);
	fake_say_ended(b, MSG_FREE_RESPONSE, 1, 4);
	fake_event(b, RSIP_EVENT_FREED);
	fake_quiet(b);
	fake_close(a);
	fake_close(b);
	free(a);
	free(b);
}

/* S-5-01: SPIs that are held already on that address make the grant unusable; on another
 * address they do not. */
static void test_clash(void **state)
{
	static const struct rsip_want want = { .kind = RSIP_RSIPSEC,
		.ports = { .form = RSIP_ANY, .count = 4 },
		.spis = { .form = RSIP_ANY, .count = 16 } };
	struct fake f;

	(void)state;
	fake_open(&f, NULL);
	fake_register(&f);
	for (uint32_t i = 0; i < 4; i++) {
		struct wire_msg grant;

		assert_int_equal(rsip_assign(f.s, &want, NULL, f.now_us), 0);
		fake_asked(&f, MSG_ASSIGN_REQUEST_RSIPSEC);
		grant = fake_grant(&f, 1 + i);
		if (i == 1)
			grant.spis.first += 15;
		if (i == 2)
			grant.spis.first += 16;
		if (i == 3)
			grant.local.v4++;
		fake_say(&f, &grant);
		if (i != 1) {
			fake_event(&f, RSIP_EVENT_GRANTED);
			continue;
		}
		assert_int_equal(fake_event(&f, RSIP_EVENT_FAILED)->ev.failure,
			RSIP_FAIL_UNUSABLE);
		assert_int_equal(fake_asked(&f, MSG_FREE_REQUEST)->bind_id, 2);
		fake_say_ended(&f, MSG_FREE_RESPONSE, 2, f.asked.counter);
	}
	fake_quiet(&f);
	fake_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_optional),
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_datagram),
		cmocka_unit_test(test_two_gateways),
		cmocka_unit_test(test_clash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
