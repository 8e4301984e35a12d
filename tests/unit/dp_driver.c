/* The drivers by name, reasons by the names of the metrics, the recording driver. */
#include "dataplane/dp.h"
#include "dataplane/fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_names(void **state)
{
	(void)state;
	for (int r = 0; r < DP_REASONS; r++) {
		const char *name = dp_reason_name((enum dp_reason)r);

		assert_non_null(name);
		for (int other = 0; other < r; other++)
			assert_string_not_equal(
				name, dp_reason_name((enum dp_reason)other));
	}
	assert_string_equal(dp_reason_name(DP_COOKIE_INUSE), "cookie_inuse");
	assert_string_equal(dp_reason_name(DP_REASONS), "unknown");
}

static void test_find(void **state)
{
	static const char *const names[] = { "packet", "none", "fake" };

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		assert_string_equal(dp_driver_find(names[i])->name, names[i]);
	assert_null(dp_driver_find("no such driver"));
	assert_null(dp_driver_find(""));
}

/* An interface that is not there is named, and how to name another. */
static void test_no_interface(void **state)
{
	const struct dp_driver *d = dp_driver_find("packet");
	const struct dp_events events = { 0 };
	const struct dp_conf conf = { .private_interface = "nowhere0",
		.public_interface = "lo" };
	struct dp *dp = NULL;
	char why[200] = "";

	(void)state;
	assert_int_not_equal(d->open(&conf, &events, &dp, why, sizeof why), 0);
	assert_null(dp);
	assert_non_null(strstr(why, "nowhere0"));
	assert_non_null(strstr(why, "private-interface"));
}

static void test_fake(void **state)
{
	const struct dp_driver *d = dp_driver_find("fake");
	const struct dp_conf conf = { 0 };
	const struct dp_events events = { 0 };
	struct range ports = { 5, 9 };
	struct lease l = { .bind_id = 7, .ports = &ports, .n_ports = 1 };
	const struct fake_call *calls;
	struct dp *dp;
	char why[8];

	(void)state;
	assert_int_equal(d->open(&conf, &events, &dp, why, sizeof why), 0);
	assert_int_equal(d->install(dp, &l), 0);
	ports.lo = 6; /* it keeps a copy */
	assert_int_equal(fake_lease(dp, 7)->ports[0].lo, 5);
	assert_int_equal(d->install(dp, &l), 0);
	assert_int_equal(fake_lease(dp, 7)->ports[0].lo, 6);
	assert_int_equal(fake_leases(dp), 1);
	fake_fail(dp, 1, -5);
	assert_int_equal(d->install(dp, &l), -5);
	d->remove(dp, 7);
	d->remove(dp, 7);
	assert_null(fake_lease(dp, 7));
	assert_int_equal(fake_calls(dp, &calls), 4);
	assert_int_equal(calls[3].kind, FAKE_REMOVE);
	d->close(dp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_no_interface),
		cmocka_unit_test(test_fake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
