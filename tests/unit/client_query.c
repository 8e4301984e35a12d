/* QUERY: what is asked, and which answers are understood. */
#include "client_fake.h"

#include <string.h>

static const struct rsip_net items[] = {
	{ .address = 0x0a000005 },
	{ .address = 0x0a010203, .prefix = 16, .network = true },
	{ .address = 0x0a000000, .prefix = 8, .network = true },
};

static void open_registered(struct fake *f)
{
	fake_open(f, NULL);
	fake_register(f);
}

/* P-9-10, P-8.10-01, P-8.10-02: tuples of Indicator (Length 2) and addresses. */
static void test_ask(void **state)
{
	struct fake f;
	struct wire_query q;
	size_t at = 0;

	(void)state;
	open_registered(&f);
	assert_int_equal(rsip_query(f.s, items, 3, NULL, f.now_us), 0);
	fake_asked(&f, MSG_QUERY_REQUEST);
	assert_true(wire_query_next(&f.asked, &at, &q));
	assert_int_equal(q.indicator, INDICATOR_ADDRESS);
	assert_int_equal(q.indicator_len, 2);
	assert_int_equal(q.addr.v4, 0x0a000005);
	assert_true(wire_query_next(&f.asked, &at, &q));
	assert_int_equal(q.indicator, INDICATOR_NETWORK);
	assert_int_equal(q.addr.v4, 0x0a010000);
	assert_int_equal(q.mask.v4, 0xffff0000);
	assert_true(wire_query_next(&f.asked, &at, &q));
	assert_int_equal(q.mask.v4, 0xff000000);
	assert_false(wire_query_next(&f.asked, &at, &q));
	fake_close(&f);
}

static struct wire_query tuple(uint8_t indicator, uint32_t addr, uint32_t mask)
{
	return (struct wire_query){ .indicator = indicator,
		.indicator_len = 2,
		.addr = { .type = ADDR_IPV4, .v4 = addr },
		.mask = { .type = ADDR_NETMASK, .v4 = mask } };
}

/* F-6.5-01, F-6.5-03, P-9.15-04: asked as often as the caller likes; local and remote,
 * addresses and networks; what is not IPv4 is passed over. */
static void test_answers(void **state)
{
	struct wire_query tuples[6] = {
		tuple(INDICATOR_ADDRESS, 0x0a000005, 0),
		tuple(INDICATOR_REMOTE_ADDRESS, 0x08080808, 0),
		tuple(INDICATOR_NETWORK, 0x0a000000, 0xff000000),
		tuple(INDICATOR_REMOTE_NETWORK, 0x08000000, 0xff000000),
		{ .indicator = INDICATOR_ADDRESS,
			.indicator_len = 2,
			.addr = { .type = ADDR_FQDN, .fqdn = "a.b", .fqdn_len = 3 } },
		{ .indicator = INDICATOR_ADDRESS,
			.indicator_len = 2,
			.addr = { .type = ADDR_IPV6, .v6 = { 0x20 } } },
	};
	struct wire_msg m = { .type = MSG_QUERY_RESPONSE,
		.has = HAS_CLIENT_ID | HAS_COUNTER | HAS_QUERY,
		.client_id = FAKE_CLIENT,
		.queries = tuples,
		.n_queries = 6 };
	struct fake f;
	const struct fake_event *e;

	(void)state;
	open_registered(&f);
	assert_int_equal(rsip_query(f.s, NULL, 0, NULL, f.now_us), 0);
	assert_false(fake_asked(&f, MSG_QUERY_REQUEST)->has & HAS_QUERY);
	m.counter = f.asked.counter;
	fake_say(&f, &m);
	e = fake_event(&f, RSIP_EVENT_ANSWER);
	assert_int_equal(e->n_answers, 4);
	assert_true(e->answers[0].local && !e->answers[0].net.network);
	assert_int_equal(e->answers[0].net.address, 0x0a000005);
	assert_false(e->answers[1].local);
	assert_true(e->answers[2].local && e->answers[2].net.network);
	assert_int_equal(e->answers[2].net.prefix, 8);
	assert_false(e->answers[3].local);
	/* P-9.15-04: no answer at all is an answer too. */
	assert_int_equal(rsip_query(f.s, items, 3, NULL, f.now_us), 0);
	fake_asked(&f, MSG_QUERY_REQUEST);
	m.n_queries = 0;
	m.has &= ~(uint32_t)HAS_QUERY;
	m.counter = f.asked.counter;
	fake_say(&f, &m);
	assert_int_equal(fake_event(&f, RSIP_EVENT_ANSWER)->n_answers, 0);
	fake_close(&f);
}

static void test_invalid(void **state)
{
	struct rsip_net bad = { .address = 0x0a000000, .prefix = 33, .network = true };
	struct rsip_net many[RSIP_QUERY_MAX + 1];
	struct fake f;

	(void)state;
	open_registered(&f);
	assert_int_equal(rsip_query(f.s, &bad, 1, NULL, f.now_us), RSIP_ERR_INVALID);
	bad = (struct rsip_net){ 0 };
	assert_int_equal(rsip_query(f.s, &bad, 1, NULL, f.now_us), RSIP_ERR_INVALID);
	bad = (struct rsip_net){ .address = 0x00100000, .prefix = 8, .network = true };
	assert_int_equal(rsip_query(f.s, &bad, 1, NULL, f.now_us), RSIP_ERR_INVALID);
	bad = (struct rsip_net){ .address = 0x0a000000, .network = true };
	assert_int_equal(rsip_query(f.s, &bad, 1, NULL, f.now_us), RSIP_ERR_INVALID);
	for (size_t i = 0; i <= RSIP_QUERY_MAX; i++)
		many[i] = items[0];
	assert_int_equal(rsip_query(f.s, many, RSIP_QUERY_MAX + 1, NULL, f.now_us),
		RSIP_ERR_INVALID);
	assert_int_equal(rsip_query(f.s, many, RSIP_QUERY_MAX, NULL, f.now_us), 0);
	fake_asked(&f, MSG_QUERY_REQUEST);
	fake_quiet(&f);
	fake_close(&f);
}

/* Names for every value, and for none. */
static void test_texts(void **state)
{
	(void)state;
	assert_string_equal(rsip_kind_name(RSIP_RSIPSEC), "rsipsec");
	assert_string_equal(rsip_kind_name((enum rsip_kind)9), "unknown");
	assert_string_equal(rsip_tunnel_name(RSIP_GRE), "gre");
	for (int i = 0; i < RSIP_STATES; i++)
		assert_string_not_equal(rsip_state_text((enum rsip_state)i), "unknown");
	for (int i = 0; i <= RSIP_FAIL_MEMORY; i++)
		assert_string_not_equal(
			rsip_failure_text((enum rsip_failure)i), "unknown");
	for (int i = RSIP_ERR_NOTFOUND; i <= 0; i++)
		assert_string_not_equal(rsip_result_text(i), "unknown");
	assert_string_equal(rsip_result_text(1), "unknown");
	assert_string_equal(rsip_error_text(308), "LOCAL_ADDR_UNAVAILABLE");
	assert_string_equal(rsip_error_text(999), "unknown error");
	assert_string_equal(rsip_lib_version(), "0.1.0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ask),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_invalid),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
