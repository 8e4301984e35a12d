/* The leases that have ended: what is remembered, and in how much memory. */
#include "gateway/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct seen {
	uint32_t n, first, last; /* Bind IDs */
	uint32_t number;         /* of the first */
};

static bool see(void *ctx, uint32_t number, const struct lease *l)
{
	struct seen *s = ctx;

	if (s->n++ == 0) {
		s->first = l->bind_id;
		s->number = number;
	}
	s->last = l->bind_id;
	return true;
}

static struct seen seen_in(const struct history *h)
{
	struct seen s = { 0 };

	history_each(h, see, &s);
	return s;
}

static void test_copies(void **state)
{
	struct history h = { 0 };
	struct range ports[] = { { 1024, 1031 }, { 2000, 2000 } },
		     spis[] = { { 256, 511 } };
	struct lease l = { .bind_id = 7,
		.ports = ports,
		.n_ports = 2,
		.spis = spis,
		.n_spis = 1,
		.expires_ms = 9000 };
	const struct lease *found;

	(void)state;
	assert_int_equal(seen_in(&h).n, 0);
	assert_null(history_find(&h, 0));
	history_add(&h, &l, 5000);
	ports[0].lo = ports[1].lo = spis[0].lo = 1;
	found = history_find(&h, seen_in(&h).number);
	assert_non_null(found);
	assert_int_equal(found->expires_ms, 5000);
	assert_int_equal(found->ports[0].lo, 1024);
	assert_int_equal(found->ports[1].lo, 2000);
	assert_int_equal(found->spis[0].lo, 256);
	assert_null(history_find(&h, 1));
	history_fini(&h);
	history_fini(&h); /* nothing is left */
}

static void test_forgets_the_oldest(void **state)
{
	struct history h = { .next = UINT32_MAX - 10 }; /* numbers wrap on the way */
	struct range port = { 1024, 1024 };
	struct lease l = { .ports = &port, .n_ports = 1 };
	struct seen s;

	(void)state;
	for (l.bind_id = 1; l.bind_id <= HISTORY_LEASES + 3; l.bind_id++)
		history_add(&h, &l, 1);
	s = seen_in(&h);
	assert_int_equal(s.n, HISTORY_LEASES);
	assert_int_equal(s.first, 4);
	assert_int_equal(s.last, HISTORY_LEASES + 3);
	assert_null(history_find(&h, s.number - 1));
	assert_int_equal(history_find(&h, s.number)->bind_id, 4);
	assert_int_equal(h.ranges, HISTORY_LEASES);
	history_fini(&h);
}

static void test_ranges_are_bounded(void **state)
{
	static struct range spis[HISTORY_RANGES / 4 + 1];
	struct history h = { 0 };
	struct lease l = { .spis = spis, .n_spis = sizeof(spis) / sizeof(spis[0]) };

	(void)state;
	for (l.bind_id = 1; l.bind_id <= 9; l.bind_id++) {
		history_add(&h, &l, 1);
		assert_true(h.ranges <= HISTORY_RANGES);
	}
	assert_int_equal(seen_in(&h).n, 3);
	assert_int_equal(seen_in(&h).first, 7);
	history_fini(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_forgets_the_oldest),
		cmocka_unit_test(test_ranges_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
