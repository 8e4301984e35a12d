/* What a held packet is about: its pair, and its ports where it has any. */
#include "kxd/hold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* IPv4, TCP 198.51.100.10:4660 > 203.0.113.10:80, header of 24 bytes. */
static const uint8_t tcp[] = { 0x46, 0, 0, 44, 0, 0, 0x40, 0, 64, 6, 0, 0, 198, 51, 100,
	10, 203, 0, 113, 10, 1, 1, 1, 1, 0x12, 0x34, 0, 80 };

static void test_tcp(void **state)
{
	struct hold_packet p;

	(void)state;
	assert_true(hold_parse(tcp, sizeof(tcp), &p));
	assert_int_equal(p.src, 0xc633640a);
	assert_int_equal(p.dst, 0xcb00710a);
	assert_int_equal(p.protocol, 6);
	assert_int_equal(p.sport, 0x1234);
	assert_int_equal(p.dport, 80);
	/* Cut in its ports it is still a packet of the pair; in its header it is none. */
	assert_true(hold_parse(tcp, sizeof(tcp) - 1, &p));
	assert_int_equal(p.sport | p.dport, 0);
	for (size_t n = 0; n < 24; n++)
		assert_false(hold_parse(tcp, n, &p));
}

static void test_others(void **state)
{
	uint8_t bytes[sizeof(tcp)];
	struct hold_packet p;

	(void)state;
	memcpy(bytes, tcp, sizeof(tcp));
	bytes[7] = 1; /* a later fragment: payload, no ports */
	assert_true(hold_parse(bytes, sizeof(bytes), &p));
	assert_int_equal(p.sport | p.dport, 0);
	memcpy(bytes, tcp, sizeof(tcp));
	bytes[9] = 1; /* ICMP */
	assert_true(hold_parse(bytes, sizeof(bytes), &p));
	assert_int_equal(p.sport | p.dport, 0);
	bytes[0] = 0x66; /* another version */
	assert_false(hold_parse(bytes, sizeof(bytes), &p));
	bytes[0] = 0x44; /* a header shorter than one can be */
	assert_false(hold_parse(bytes, sizeof(bytes), &p));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
