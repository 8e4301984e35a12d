/* The drop-in for charon.  S-3-05, S-6.1-01, F-5.1-01 */
#include "base/err.h"
#include "ike/libreswan.h"
#include "ike/strongswan.h"
#include "ike/swanctl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

static void test_text(void **state)
{
	static const char want[] =
		"# Written by `rsip ike strongswan` from binding 77 of "
		"203.0.113.1;\n"
		"# write it again when the binding changes.\n"
		"charon {\n"
		"    port = 20480\n"
		"    port_nat_t = 20481\n"
		"    spi_min = 0xc0010000\n"
		"    spi_max = 0xc001003f\n"
		"    spi_label = 0xc001000000000000\n"
		"    spi_mask = 0xffffffff00000000\n"
		"}\n";
	const struct strongswan s = {
		.address = 0xcb007101,
		.bind_id = 77,
		.spis = { 0xc0010000, 0xc001003f },
		.port = 20480,
		.port_nat_t = 20481,
	};
	char buf[1024];

	(void)state;
	assert_int_equal(strongswan_format(&s, buf, sizeof(buf)), (int)strlen(want));
	assert_string_equal(buf, want);
	/* A buffer that is too small is filled and the length needed told. */
	assert_int_equal(strongswan_format(&s, buf, 10), (int)strlen(want));
	assert_int_equal(strlen(buf), 9);
}

static void test_spis(void **state)
{
	static const struct range few[] = { { 256, 270 }, { 300, 300 } },
				  enough[] = { { 256, 300 }, { 0x1000, 0x100f },
					  { 0x2000, 0x203f } },
				  sixteen[] = { { 0x1000, 0x100f } };
	struct range block;

	(void)state;
	assert_int_equal(strongswan_spis(NULL, 0, &block), ERR_NOTFOUND);
	assert_int_equal(strongswan_spis(few, N(few), &block), ERR_NOTFOUND);
	assert_int_equal(strongswan_spis(sixteen, 1, &block), 0);
	assert_int_equal(block.lo, 0x1000);
	assert_int_equal(strongswan_spis(enough, N(enough), &block), 0);
	assert_int_equal(block.lo, 0x2000);
	assert_int_equal(block.hi, 0x203f);
}

static void test_ports(void **state)
{
	static const struct range block[] = { { 20480, 20543 } },
				  list[] = { { 2000, 2000 }, { 3000, 3000 } },
				  one[] = { { 2000, 2000 } };
	uint16_t port, nat_t;

	(void)state;
	strongswan_ports(block, 1, &port, &nat_t);
	assert_int_equal(port, 20480);
	assert_int_equal(nat_t, 20481);
	strongswan_ports(list, 2, &port, &nat_t);
	assert_int_equal(port, 2000);
	assert_int_equal(nat_t, 3000);
	strongswan_ports(one, 1, &port, &nat_t);
	assert_int_equal(port, 2000);
	assert_int_equal(nat_t, 0);
	strongswan_ports(NULL, 0, &port, &nat_t);
	assert_int_equal(port, 500);
	assert_int_equal(nat_t, 4500);
}

static void on_setting(
	void *ctx, const char *connection, const char *key, const char *value)
{
	char *said = ctx;

	(void)snprintf(said + strlen(said), 256 - strlen(said), "%s|%s|%s;", connection,
		key, value);
}

/* Settings directly in a connection, whatever stands around them. */
static void test_swanctl(void **state)
{
	char said[256] = "";

	(void)state;
	swanctl_walk("# connections { no { a = b } }\n"
		     "pools { x { mobike = yes } }\n"
		     "connections {\n a { mobike = no # why\n local { mobike = 1\n}\n"
		     " version = 2 }\n b {\n }\n c { send_cert=never}\n}\n"
		     "authorities { y { a = b } }}}} connections { d { e = f",
		on_setting, said);
	assert_string_equal(
		said, "a||;a|mobike|no;a|version|2;b||;c||;c|send_cert|never;d||;d|e|f;");
	said[0] = 0;
	swanctl_walk("", on_setting, said);
	swanctl_walk("= {", on_setting, said);
	assert_string_equal(said, "");
}

static void test_libreswan(void **state)
{
	const struct libreswan by_port = { 0xcb007101, 20480 },
			       by_cookie = { 0xcb007101, 0 };
	char text[512];

	(void)state;
	assert_true(libreswan_format(&by_port, text, sizeof(text)) < (int)sizeof(text));
	assert_non_null(strstr(text, "    left=203.0.113.1\n    leftikeport=20480\n"));
	(void)libreswan_format(&by_cookie, text, sizeof(text));
	assert_null(strstr(text, "ikeport"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_spis),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_swanctl),
		cmocka_unit_test(test_libreswan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
