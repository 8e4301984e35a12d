/* The pool: which ports and SPIs a host gets, hold-down, whole addresses, reload. */
#include "base/err.h"
#include "engine/conf.h"
#include "engine/pool.h"
#include "engine/rest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NB 0xcb007101U /* 203.0.113.1 */

static const struct prefix4 one_address = { NB, 32 };
static const struct range all_ports = { 1024, 65535 }, all_spis = { 256, UINT32_MAX };
static const struct engine_pool plain_pool = { .name = "public",
	.shared = &one_address,
	.n_shared = 1,
	.ports = &all_ports,
	.n_ports = 1,
	.spis = &all_spis,
	.n_spis = 1,
	.hold_down_s = 120 };

struct seen {
	size_t kept, gone;
	struct resting last;
};

static void note(void *ctx, const struct effect *e)
{
	struct seen *s = ctx;

	if (e->kind != EFFECT_PERSIST || e->persist.kind != PERSIST_RESTING)
		return;
	if (e->persist.gone)
		s->gone++;
	else
		s->kept++;
	s->last = *e->persist.resting;
}

static struct seen seen;

static struct engine *engine_of(const struct engine_pool *pools, size_t n)
{
	struct engine_conf conf = { .pools = pools, .n_pools = n, .udp = true };
	struct engine *e;

	memset(&seen, 0, sizeof(seen));
	e = engine_new(&conf, random_seeded(7), note, &seen);
	assert_non_null(e);
	return e;
}

static void hold(struct pool_addr *a, uint32_t lo, uint32_t hi)
{
	assert_int_equal(pool_reserve_ports(a), 0);
	pool_hold_ports(a, (struct range){ lo, hi });
}

/* 500 lies below the pool, 4500 and 4555 do not: interfaces say 64510 are free. */
static void test_reserved_ports(void **state)
{
	struct engine *e = engine_of(&plain_pool, 1);
	const struct pool_addr *a = pool_find(e, NB);

	(void)state;
	assert_int_equal(a->free, 64510);
	assert_int_equal(a->free_any, 64510);
	assert_false(pool_has_port(a, 4500));
	assert_false(pool_has_port(a, 4555));
	assert_false(pool_has_port(a, 1023));
	assert_true(pool_has_port(a, 65535));
	engine_free(e);
}

/* Well-known ports of the pool can be named and are never chosen for "any n". */
static void test_low_ports(void **state)
{
	static const struct range low = { 1, 1025 };
	struct engine_pool p = plain_pool;
	struct range got[PORTS_MAX];

	(void)state;
	p.ports = &low;
	struct engine *e = engine_of(&p, 1);
	struct pool_addr *a = pool_find(e, NB);
	assert_true(pool_has_port(a, 80));
	assert_false(pool_has_port(a, 500));
	assert_int_equal(a->free, 1024);
	assert_int_equal(a->free_any, 2);
	assert_int_equal(ports_pick(&a->pool->any, a->busy, 3, &e->random, got), 0);
	assert_int_equal(ports_pick(&a->pool->any, a->busy, 2, &e->random, got), 1);
	assert_int_equal(got[0].lo, 1024);
	engine_free(e);
}

/*
 * P-9.8-14: "any n" is exactly n in one block that starts at a multiple of the smallest
 * power of two >= n, for every n, at many places.
 */
static void test_aligned_blocks(void **state)
{
	struct engine *e = engine_of(&plain_pool, 1);
	const struct pool_addr *a = pool_find(e, NB);

	(void)state;
	for (uint32_t n = 1; n <= PORTS_MAX; n++) {
		uint32_t size = 1, first_seen = 0, different = 0;
		struct range got[PORTS_MAX];

		while (size < n)
			size *= 2;
		for (int i = 0; i < 20; i++) {
			assert_int_equal(
				ports_pick(&a->pool->any, NULL, n, &e->random, got), 1);
			assert_int_equal(got[0].hi - got[0].lo + 1, n);
			assert_int_equal(got[0].lo % size, 0);
			for (uint32_t p = got[0].lo; p <= got[0].hi; p++)
				assert_true(pool_has_port(a, p));
			different += got[0].lo != first_seen;
			first_seen = got[0].lo;
		}
		assert_true(different > 10);
	}
	engine_free(e);
}

/* P-9.8-14: the one aligned block that is left is found; else a run; else a list. */
static void test_fallbacks(void **state)
{
	static const struct range narrow = { 2048, 2079 };
	struct engine_pool p = plain_pool;
	struct range got[PORTS_MAX];

	(void)state;
	p.ports = &narrow;
	struct engine *e = engine_of(&p, 1);
	struct pool_addr *a = pool_find(e, NB);
	hold(a, 2048, 2063);
	assert_int_equal(ports_pick(&a->pool->any, a->busy, 16, &e->random, got), 1);
	assert_int_equal(got[0].lo, 2064);
	/* 2064-2065 taken: 13 of 14 are still a run, though not aligned. */
	hold(a, 2064, 2065);
	assert_int_equal(ports_pick(&a->pool->any, a->busy, 13, &e->random, got), 1);
	assert_int_equal(got[0].hi - got[0].lo, 12);
	assert_true(got[0].lo >= 2066 && got[0].hi <= 2079);
	/* A hole in the middle: all that is left, as two ranges. */
	hold(a, 2070, 2070);
	assert_int_equal(ports_pick(&a->pool->any, a->busy, 13, &e->random, got), 2);
	assert_int_equal(got[0].lo, 2066);
	assert_int_equal(got[0].hi, 2069);
	assert_int_equal(got[1].lo, 2071);
	assert_int_equal(got[1].hi, 2079);
	assert_int_equal(ports_pick(&a->pool->any, a->busy, 14, &e->random, got), 0);
	engine_free(e);
}

/* A run does not go around the end of the port space. */
static void test_run_does_not_wrap(void **state)
{
	static const struct range ends[] = { { 1024, 1030 }, { 65530, 65535 } };
	struct engine_pool p = plain_pool;
	struct range got[PORTS_MAX];

	(void)state;
	p.ports = ends;
	p.n_ports = 2;
	struct engine *e = engine_of(&p, 1);
	const struct pool_addr *a = pool_find(e, NB);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(ports_pick(&a->pool->any, NULL, 7, &e->random, got), 1);
		assert_int_equal(got[0].lo, 1024);
		assert_int_equal(ports_pick(&a->pool->any, NULL, 8, &e->random, got), 2);
	}
	engine_free(e);
}

/* F-6.1-01: released ports rest for the hold-down, and the store hears of it. */
static void test_rest(void **state)
{
	struct engine *e = engine_of(&plain_pool, 1);
	struct pool_addr *a = pool_find(e, NB);

	(void)state;
	hold(a, 2000, 2009);
	rest_add(e, a, REST_PORT, (struct range){ 2000, 2009 }, 5000);
	assert_int_equal(seen.kept, 1);
	assert_int_equal(seen.last.until_ms, 125000);
	assert_int_equal(engine_deadline(e), 125000);
	assert_true(pool_is_busy(a, 2000));
	assert_int_equal(a->ports_resting, 10);
	engine_tick(e, 124999);
	assert_true(pool_is_busy(a, 2009));
	engine_tick(e, 125000);
	assert_false(pool_is_busy(a, 2009));
	assert_int_equal(a->free, 64510);
	assert_int_equal(seen.gone, 1);
	assert_int_equal(engine_counters(e)->holding[REST_PORT], 0);
	engine_free(e);
}

static void test_no_hold_down(void **state)
{
	struct engine_pool p = plain_pool;

	(void)state;
	p.hold_down_s = 0;
	struct engine *e = engine_of(&p, 1);
	struct pool_addr *a = pool_find(e, NB);
	hold(a, 2000, 2000);
	rest_add(e, a, REST_PORT, (struct range){ 2000, 2000 }, 0);
	assert_false(pool_is_busy(a, 2000));
	assert_int_equal(seen.kept + seen.gone, 0);
	engine_free(e);
}

/* F-6.1-02: the ports that rest longest are used first; a range is split when needed. */
static void test_reclaim_oldest(void **state)
{
	struct engine *e = engine_of(&plain_pool, 1);
	struct pool_addr *a = pool_find(e, NB);

	(void)state;
	hold(a, 2000, 2009);
	hold(a, 3000, 3009);
	rest_add(e, a, REST_PORT, (struct range){ 3000, 3009 }, 0);
	rest_add(e, a, REST_PORT, (struct range){ 2000, 2009 }, 1);
	assert_true(rest_has(a, 20));
	assert_false(rest_has(a, 21));
	rest_reclaim(e, a, 12);
	assert_false(pool_is_busy(a, 3000));
	assert_false(pool_is_busy(a, 3009));
	assert_false(pool_is_busy(a, 2001));
	assert_true(pool_is_busy(a, 2002));
	/* The store has the first range and the split one no more, but its remainder. */
	assert_int_equal(seen.gone, 2);
	assert_int_equal(seen.kept, 3);
	assert_int_equal(seen.last.range.lo, 2002);
	assert_int_equal(seen.last.until_ms, 120001);
	assert_int_equal(a->ports_resting, 8);
	engine_tick(e, 120001);
	assert_false(pool_is_busy(a, 2009));
	engine_free(e);
}

static void spi_take(struct engine *e, struct pool_addr *a, uint32_t lo, uint32_t hi)
{
	assert_int_equal(span_stock_reserve(&e->spans, 1), 0);
	spans_add(&a->spis, &e->spans, (struct range){ lo, hi },
		e->random.next(&e->random));
}

/* S-5-14: released SPIs rest; when their ranges are too many the oldest ends early. */
static void test_spi_rest_is_bounded(void **state)
{
	struct engine *e = engine_of(&plain_pool, 1);
	struct pool_addr *a = pool_find(e, NB);

	(void)state;
	e->resting_spis_most = 3;
	for (uint32_t i = 0; i < 4; i++) {
		spi_take(e, a, 1000 + i * 2, 1000 + i * 2);
		rest_add(e, a, REST_SPI, (struct range){ 1000 + i * 2, 1000 + i * 2 }, i);
	}
	assert_int_equal(engine_counters(e)->holding[REST_SPI], 3);
	assert_null(spans_overlap(&a->spis, (struct range){ 1000, 1001 }));
	assert_non_null(spans_overlap(&a->spis, (struct range){ 1002, 1002 }));
	assert_int_equal(seen.gone, 1);
	engine_tick(e, 120003);
	assert_int_equal(a->spis.n, 0);
	assert_int_equal(a->spis_resting, 0);
	engine_free(e);
}

/* S-6.2-15, S-8-01: under 16 SPIs are single numbers from all over the range. */
static void test_spi_singles(void **state)
{
	struct engine *e = engine_of(&plain_pool, 1);
	const struct pool_addr *a = pool_find(e, NB);
	size_t quarters[4] = { 0 };

	(void)state;
	for (int i = 0; i < 1000; i++) {
		struct range got[16];

		assert_int_equal(pool_pick_spis(e, a, 15, got), 15);
		assert_int_equal(ranges_count(got, 15), 15);
		for (int k = 0; k < 15; k++) {
			assert_true(got[k].lo >= 256);
			quarters[got[k].lo >> 30]++;
		}
	}
	for (int i = 0; i < 4; i++)
		assert_in_range(quarters[i], 3400, 4100); /* 3750 expected */
	engine_free(e);
}

/* From 16 on: one block, aligned to the next power of two, inside of the pool. */
static void test_spi_blocks(void **state)
{
	struct engine *e = engine_of(&plain_pool, 1);
	const struct pool_addr *a = pool_find(e, NB);
	static const uint32_t sizes[] = { 16, 17, 64, 255, 256, 65535 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint32_t size = 1;
		struct range got[16];

		while (size < sizes[i])
			size *= 2;
		for (int k = 0; k < 100; k++) {
			assert_int_equal(pool_pick_spis(e, a, sizes[i], got), 1);
			assert_int_equal(got[0].hi - got[0].lo + 1, sizes[i]);
			assert_int_equal(got[0].lo % size, 0);
			assert_true(got[0].lo >= 256);
		}
	}
	engine_free(e);
}

/* A small range is given out to the last number, and to the last block. */
static void test_spi_exhaustion(void **state)
{
	static const struct range few[] = { { 1000, 1009 }, { 4096, 4096 + 63 } };
	struct engine_pool p = plain_pool;
	struct range got[16];

	(void)state;
	p.spis = few;
	p.n_spis = 2;
	struct engine *e = engine_of(&p, 1);
	struct pool_addr *a = pool_find(e, NB);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(pool_pick_spis(e, a, 16, got), 1);
		spi_take(e, a, got[0].lo, got[0].hi);
	}
	assert_int_equal(pool_pick_spis(e, a, 16, got), 0);
	assert_int_equal(pool_pick_spis(e, a, 11, got), 0);
	for (uint32_t i = 0; i < 10; i++) {
		assert_int_equal(pool_pick_spis(e, a, 1, got), 1);
		assert_in_range(got[0].lo, 1000, 1009);
		spi_take(e, a, got[0].lo, got[0].lo);
	}
	assert_int_equal(pool_pick_spis(e, a, 1, got), 0);
	spans_del(&a->spis, &e->spans, 1004);
	assert_int_equal(pool_pick_spis(e, a, 1, got), 1);
	assert_int_equal(got[0].lo, 1004);
	engine_free(e);
}

/* The treap against a plain array, through thousands of changes. */
static void test_spans_model(void **state)
{
	enum { N = 4096 };
	static uint8_t taken[N]; /* 1: in a range; 2: and begins one */
	struct random random = random_seeded(11);
	struct span_stock stock = { 0 };
	struct spans s = { 0 };

	(void)state;
	memset(taken, 0, sizeof(taken));
	for (int step = 0; step < 20000; step++) {
		uint32_t lo = random_below(&random, N - 40);
		uint32_t hi = lo + random_below(&random, 40);
		bool clash = false;

		for (uint32_t i = lo; i <= hi; i++)
			clash = clash || taken[i];
		assert_int_equal(
			spans_overlap(&s, (struct range){ lo, hi }) != NULL, clash);
		if (!clash) {
			assert_int_equal(span_stock_reserve(&stock, 1), 0);
			spans_add(&s, &stock, (struct range){ lo, hi },
				random.next(&random));
			memset(taken + lo, 1, hi - lo + 1);
			taken[lo] = 2;
		} else if (taken[lo] == 2) {
			spans_del(&s, &stock, lo);
			do
				taken[lo++] = 0;
			while (taken[lo] == 1);
		}
		if (step % 100 == 0) {
			uint64_t below = 0, free = 0;

			for (uint32_t i = 0; i < N; i++) {
				assert_int_equal(spans_below(&s, i), below);
				below += taken[i] != 0;
				if (!taken[i])
					assert_int_equal(spans_free_at(&s, free++), i);
			}
		}
	}
	spans_clear(&s, &stock);
	span_stock_fini(&stock);
}

/* The table against a plain array, full enough that runs meet and wrap around. */
static void test_table_model(void **state)
{
	enum { KEYS = 96 };
	static int rows[KEYS];
	bool in[KEYS] = { false };
	struct random random = random_seeded(13);
	struct table t = { .seed = 1 };
	uint32_t n = 0;

	(void)state;
	assert_null(table_find(&t, 1));
	for (int step = 0; step < 20000; step++) {
		uint32_t key = random_below(&random, KEYS);

		if (in[key]) {
			table_del(&t, key);
		} else if (n < 48) { /* three quarters of the smallest size */
			assert_int_equal(table_reserve(&t, 1), 0);
			table_add(&t, key, &rows[key]);
		} else {
			continue;
		}
		in[key] = !in[key];
		n += in[key] ? 1U : -1U;
		for (uint32_t k = 0; k < KEYS; k++)
			assert_ptr_equal(table_find(&t, k), in[k] ? &rows[k] : NULL);
	}
	/* A walk that deletes what it meets misses nothing. */
	for (size_t at = 0; table_next(&t, &at) != NULL;)
		n--;
	assert_int_equal(n, 0);
	int *row;
	for (size_t at = 0; (row = table_next(&t, &at)) != NULL; at--)
		table_del(&t, (uint64_t)(row - rows));
	assert_int_equal(t.n, 0);
	table_fini(&t);
}

/* Timers come out in order, wherever they were put, moved and stopped. */
static void test_timers(void **state)
{
	enum { TIMERS = 500 };
	static struct timer t[TIMERS];
	struct random random = random_seeded(17);
	struct timers ts = { 0 };
	uint64_t last_ms = 0;

	(void)state;
	memset(t, 0, sizeof(t));
	assert_null(timers_first(&ts));
	assert_int_equal(timers_reserve(&ts, TIMERS), 0);
	for (int step = 0; step < 5000; step++) {
		struct timer *x = &t[random_below(&random, TIMERS)];

		if (random_below(&random, 3) == 0)
			timers_unset(&ts, x);
		else
			timers_set(&ts, x, random_below(&random, 1000));
	}
	while (timers_first(&ts) != NULL) {
		struct timer *first = timers_first(&ts);

		assert_true(first->at_ms >= last_ms);
		last_ms = first->at_ms;
		timers_unset(&ts, first);
	}
	for (int i = 0; i < TIMERS; i++)
		assert_int_equal(t[i].place, 0);
	timers_fini(&ts);
}

/* F-4.2-07 */
static void test_network_and_broadcast(void **state)
{
	static const struct prefix4 net = { 0xcb007100, 29 }, pair = { 0xcb007110, 31 };
	struct engine_pool pools[2] = { plain_pool, plain_pool };

	(void)state;
	pools[0].shared = &net;
	pools[1].shared = NULL;
	pools[1].n_shared = 0;
	pools[1].dedicated = &pair;
	pools[1].n_dedicated = 1;
	struct engine *e = engine_of(pools, 2);
	assert_int_equal(e->n_shared, 6);
	assert_null(pool_find(e, 0xcb007100));
	assert_null(pool_find(e, 0xcb007107));
	assert_non_null(pool_find(e, 0xcb007106));
	assert_int_equal(e->n_dedicated, 2);
	assert_int_equal(e->n_dedicated_free, 2);
	assert_true(pool_find(e, 0xcb007111)->dedicated);
	engine_free(e);
}

/* An address that left the configuration stays while something of it rests or is held. */
static void test_reload(void **state)
{
	static const struct prefix4 other = { 0xc6336401, 32 };
	struct engine_pool p = plain_pool;
	struct engine *e = engine_of(&plain_pool, 1);
	struct engine_conf conf = { .pools = &p, .n_pools = 1 };
	struct pool_addr *a = pool_find(e, NB);

	(void)state;
	hold(a, 2000, 2000);
	rest_add(e, a, REST_PORT, (struct range){ 2000, 2000 }, 0);
	p.shared = &other;
	assert_int_equal(engine_reload(e, &conf, 1), 0);
	a = pool_find(e, NB);
	assert_non_null(a);
	assert_null(a->pool);
	assert_int_equal(a->free, 0);
	assert_int_equal(e->n_shared, 1);
	/* Back again: what rests is not free. */
	p.shared = &one_address;
	assert_int_equal(engine_reload(e, &conf, 2), 0);
	assert_ptr_equal(pool_find(e, NB), a);
	assert_int_equal(a->free, 64509);
	p.shared = &other;
	assert_int_equal(engine_reload(e, &conf, 3), 0);
	engine_tick(e, 120000);
	assert_null(pool_find(e, NB));
	engine_free(e);
}

static void test_too_many_addresses(void **state)
{
	static const struct prefix4 wide = { 0x0a000000, 8 };
	struct engine_pool p = plain_pool;
	struct engine *e = engine_of(&plain_pool, 1);
	struct engine_conf conf = { .pools = &p, .n_pools = 1 };

	(void)state;
	p.shared = &wide;
	assert_int_equal(engine_reload(e, &conf, 1), ERR_NOSPACE);
	assert_int_equal(e->n_shared, 1);
	engine_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reserved_ports),
		cmocka_unit_test(test_low_ports),
		cmocka_unit_test(test_aligned_blocks),
		cmocka_unit_test(test_fallbacks),
		cmocka_unit_test(test_run_does_not_wrap),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_no_hold_down),
		cmocka_unit_test(test_reclaim_oldest),
		cmocka_unit_test(test_spi_singles),
		cmocka_unit_test(test_spi_blocks),
		cmocka_unit_test(test_spi_exhaustion),
		cmocka_unit_test(test_spi_rest_is_bounded),
		cmocka_unit_test(test_spans_model),
		cmocka_unit_test(test_table_model),
		cmocka_unit_test(test_timers),
		cmocka_unit_test(test_network_and_broadcast),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_too_many_addresses),
	};

	return cmocka_run_group_tests_name("engine_pool", tests, NULL, NULL);
}
