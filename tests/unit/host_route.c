/* The route decision of `rsip up`: what stays off the tunnel.  F-6.5-01 */
#include "host/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N(a)   (sizeof(a) / sizeof((a)[0]))
#define NA     0x0a000001u /* 10.0.0.1 */
#define HOP    0x0a0000feu
#define LEASED 0xcb007101u
#define ETH    2
#define TUN    7

static const struct route4 near_gateway[] = {
	{ .dst = { 0, 0 }, .oif = ETH, .via = HOP },
	{ .dst = { 0x0a000000, 24 }, .oif = ETH, .src = 0x0a00000b },
};

static void is_default(const struct route4 *r, uint32_t src)
{
	assert_int_equal(r->dst.len, 0);
	assert_int_equal(r->oif, TUN);
	assert_int_equal(r->via, 0);
	assert_int_equal(r->src, src);
	assert_int_equal(r->metric, 0);
}

/* Connected networks hold the gateway: only the default is added. */
static void test_connected(void **state)
{
	static const uint32_t ends[] = { NA };
	static const struct prefix4 locals[] = { { 0x0a000000, 24 } };
	const struct route_wish wish = { ends, 1, locals, 1, TUN, LEASED };
	struct route4 out[8];

	(void)state;
	assert_int_equal(route_plan(near_gateway, N(near_gateway), &wish, out), 1);
	is_default(&out[0], LEASED);
}

/* Networks that only the default route carried get that way spelled out. */
static void test_local_behind_hop(void **state)
{
	static const uint32_t ends[] = { 0x0a010001, 0x0a010002 };
	static const struct prefix4 locals[] = { { 0xac100000, 12 }, { 0x0a010001, 32 } };
	const struct route_wish wish = { ends, 2, locals, 2, TUN, LEASED };
	struct route4 out[8];

	(void)state;
	assert_int_equal(route_plan(near_gateway, N(near_gateway), &wish, out), 4);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(out[i].oif, ETH);
		assert_int_equal(out[i].via, HOP);
		assert_int_equal(out[i].src, 0);
	}
	assert_int_equal(out[0].dst.addr, 0x0a010001);
	assert_int_equal(out[0].dst.len, 32);
	assert_int_equal(out[2].dst.len, 12);
	is_default(&out[3], LEASED);
}

/* The source that the default route had stays theirs; its metric does not. */
static void test_metric_and_source(void **state)
{
	static const struct route4 now[] = {
		{ .dst = { 0, 0 }, .oif = 5, .via = 1, .metric = 600 },
		{ .dst = { 0, 0 },
			.oif = ETH,
			.via = HOP,
			.metric = 100,
			.src = 0x0a00000b },
	};
	static const uint32_t ends[] = { 0x0a010001 };
	const struct route_wish wish = { ends, 1, NULL, 0, TUN, LEASED };
	struct route4 out[4];

	(void)state;
	assert_int_equal(route_plan(now, N(now), &wish, out), 2);
	assert_int_equal(out[0].via, HOP);
	assert_int_equal(out[0].src, 0x0a00000b);
	assert_int_equal(out[0].metric, 0);
}

/* Without a lease the tunnel keeps the rest, from no address of ours. */
static void test_no_lease(void **state)
{
	static const uint32_t ends[] = { NA };
	const struct route_wish wish = { ends, 1, NULL, 0, TUN, 0 };
	struct route4 out[4];

	(void)state;
	assert_int_equal(route_plan(near_gateway, N(near_gateway), &wish, out), 1);
	is_default(&out[0], 0);
}

/* A network that is wider than a more specific route, and nothing at all. */
static void test_edges(void **state)
{
	static const struct prefix4 wide[] = { { 0x0a000000, 8 }, { 0, 0 } };
	const struct route_wish wish = { NULL, 0, wide, 2, 0, 0 };
	struct route4 out[4];

	(void)state;
	/* 10/8 takes the default's way; 10.0.0/24 inside it stays on its link. */
	assert_int_equal(route_plan(near_gateway, N(near_gateway), &wish, out), 1);
	assert_int_equal(out[0].dst.len, 8);
	assert_int_equal(out[0].via, HOP);
	assert_int_equal(route_plan(NULL, 0, &wish, out), 0);
}

static void test_find(void **state)
{
	static const struct route4 now[] = {
		{ .dst = { 0, 0 }, .oif = 1, .metric = 5 },
		{ .dst = { 0, 0 }, .oif = 2, .metric = 1 },
		{ .dst = { 0x0a000000, 8 }, .oif = 3, .metric = 9 },
	};

	(void)state;
	assert_int_equal(route_find(now, N(now), 0x08080808)->oif, 2);
	assert_int_equal(route_find(now, N(now), 0x0a080808)->oif, 3);
	assert_null(route_find(now + 2, 1, 0x08080808));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connected),
		cmocka_unit_test(test_local_behind_hop),
		cmocka_unit_test(test_metric_and_source),
		cmocka_unit_test(test_no_lease),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
