/* Port discipline: what the two sysctls must say of leases.  F-3.1-03 */
#include "base/err.h"
#include "host/discipline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

static void expect(const struct discipline *d, uint16_t lo, uint16_t hi, const char *gaps)
{
	char text[128];

	assert_true(d->confine);
	assert_int_equal(d->lo, lo);
	assert_int_equal(d->hi, hi);
	(void)ranges_format(d->reserved, d->n_reserved, false, text, sizeof(text));
	assert_string_equal(text, gaps);
}

static void test_one_block(void **state)
{
	static const struct range leased[] = { { 20480, 20543 } };
	struct discipline d;

	(void)state;
	assert_int_equal(discipline_plan(leased, N(leased), NULL, 0, 1024, &d), 0);
	expect(&d, 20480, 20543, "");
	discipline_fini(&d);
}

/* Every leased range is drawn from, and nothing between them. */
static void test_gaps(void **state)
{
	static const struct range leased[] = { { 2000, 2000 }, { 2002, 2010 },
		{ 65535, 65535 } };
	struct discipline d;

	(void)state;
	assert_int_equal(discipline_plan(leased, N(leased), NULL, 0, 1024, &d), 0);
	expect(&d, 2000, 65535, "2001,2011-65534");
	discipline_fini(&d);
}

static void test_kept(void **state)
{
	static const struct range leased[] = { { 2000, 2009 }, { 2020, 2029 } };
	/* An administrator's, one that touches a gap, and an IKE daemon's. */
	static const struct range kept[] = { { 8080, 8080 }, { 2018, 2021 },
		{ 2000, 2000 } };
	struct discipline d;

	(void)state;
	assert_int_equal(discipline_plan(leased, N(leased), kept, N(kept), 1024, &d), 0);
	expect(&d, 2000, 2029, "2000,2010-2021,8080");
	discipline_fini(&d);
}

static void test_floor(void **state)
{
	static const struct range leased[] = { { 600, 700 }, { 1000, 1030 },
		{ 1040, 1050 } };
	struct discipline d;

	(void)state;
	assert_int_equal(discipline_plan(leased, N(leased), NULL, 0, 1024, &d), 0);
	expect(&d, 1024, 1050, "1031-1039");
	discipline_fini(&d);
	assert_int_equal(discipline_plan(leased, 1, NULL, 0, 1024, &d), 0);
	assert_false(d.confine);
	discipline_fini(&d);
}

static void test_nothing(void **state)
{
	struct discipline d;

	(void)state;
	assert_int_equal(discipline_plan(NULL, 0, NULL, 0, 1024, &d), 0);
	assert_false(d.confine);
	discipline_fini(&d);
}

static void test_parse(void **state)
{
	static const char *const bad[] = { "x", "1,", "70000", "1-2-3", ",1", "5-3" };
	struct range *r;
	size_t n;

	(void)state;
	assert_int_equal(discipline_parse("", &r, &n), 0);
	assert_int_equal(n, 0);
	free(r);
	assert_int_equal(discipline_parse("1000-1010,2000\n", &r, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(r[0].hi, 1010);
	assert_int_equal(r[1].lo, 2000);
	free(r);
	for (size_t i = 0; i < N(bad); i++)
		if (i != 1) /* the kernel's own text may end in a comma */
			assert_int_equal(discipline_parse(bad[i], &r, &n), ERR_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_block),
		cmocka_unit_test(test_gaps),
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_floor),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
