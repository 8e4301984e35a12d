/* DHCPINFORM: its bytes, and which answers are taken. */
#include "host/dhcp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OPTIONS 240 /* where they begin */

static const struct dhcp_ask ask = { .xid = 0x01020304,
	.address = 0x0a00000b,
	.mac = { 2, 0, 0, 0, 0, 1 },
	.option = 224 };

/* The answer to it, of `len` bytes of options behind the type. */
static size_t answer_make(uint8_t buf[static DHCP_MESSAGE_MAX], uint8_t type,
	const uint8_t *options, size_t len)
{
	size_t n = dhcp_inform(&ask, buf);

	assert_true(n > OPTIONS);
	buf[0] = 2;
	buf[OPTIONS] = 53;
	buf[OPTIONS + 1] = 1;
	buf[OPTIONS + 2] = type;
	memcpy(buf + OPTIONS + 3, options, len);
	return OPTIONS + 3 + len;
}

static void test_question(void **state)
{
	static const uint8_t options[] = { 0x63, 0x82, 0x53, 0x63, 53, 1, 8, 55, 3, 224,
		78, 79, 255 };
	uint8_t buf[DHCP_MESSAGE_MAX];

	(void)state;
	assert_int_equal(dhcp_inform(&ask, buf), OPTIONS - 4 + sizeof(options));
	assert_memory_equal(buf, "\1\1\6\0\1\2\3\4\0\0\0\0\12\0\0\13", 16);
	assert_memory_equal(buf + 28, ask.mac, 6);
	assert_memory_equal(buf + OPTIONS - 4, options, sizeof(options));
}

static void test_answer(void **state)
{
	static const uint8_t options[] = { 0, 224, 12, 10, 0, 0, 1, 0, 0, 0, 0, 10, 0, 0,
		2, 78, 5, 0, 10, 0, 0, 9, 79, 4, 1, 'a', ',', 'b', 255, 224, 4, 1, 1, 1,
		1 };
	uint8_t buf[DHCP_MESSAGE_MAX];
	size_t len = answer_make(buf, 5, options, sizeof(options));
	struct dhcp_answer a;

	(void)state;
	assert_true(dhcp_read(&ask, buf, len, &a));
	assert_int_equal(
		a.n_gateways, 2); /* 0.0.0.0 is none, and behind the end is none */
	assert_int_equal(a.gateways[0], 0x0a000001);
	assert_int_equal(a.gateways[1], 0x0a000002);
	assert_int_equal(a.slp_agent, 0x0a000009);
	assert_string_equal(a.slp_scopes, "a,b");
}

static void test_refused(void **state)
{
	static const uint8_t options[] = { 224, 4, 10, 0, 0, 1, 255 };
	uint8_t buf[DHCP_MESSAGE_MAX];
	struct dhcp_answer a;
	size_t len = answer_make(buf, 2, options, sizeof(options));

	(void)state;
	assert_false(dhcp_read(&ask, buf, len, &a)); /* an offer is no lease */
	len = answer_make(buf, 5, options, sizeof(options));
	assert_true(dhcp_read(&ask, buf, len, &a));
	buf[7]++;
	assert_false(dhcp_read(&ask, buf, len, &a)); /* to another question */
	buf[7]--;
	buf[33]++;
	assert_false(dhcp_read(&ask, buf, len, &a)); /* to another host */
	buf[33]--;
	buf[0] = 1;
	assert_false(dhcp_read(&ask, buf, len, &a));
	buf[0] = 2;
	/* cut within the option: no answer, and nothing is read beyond */
	for (size_t cut = 0; cut < OPTIONS + 5; cut++) {
		uint8_t *exact = malloc(cut + 1);

		memcpy(exact, buf, cut);
		if (dhcp_read(&ask, exact, cut, &a))
			assert_int_equal(cut, OPTIONS + 3);
		free(exact);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_question),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
