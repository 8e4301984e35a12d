/*
 * The tables of driver xdp without a kernel: what a program would find, after many leases
 * came, changed and went.
 */
#include "dataplane/xdp/keep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above. */
#include <cmocka.h>

#define NB    0xc6121000U
#define HOST  0x0a00000bU
#define NA    0x0a000001U
#define ROOM  5000U
#define UNITS 6400U /* of 64 ms */

struct rig {
	struct forward f;
	struct keep k;
	struct maps_conf conf;
};

static bool no_send(void *ctx, enum forward_link link, uint32_t dst,
	const struct forward_piece *piece, int n)
{
	(void)ctx;
	(void)link;
	(void)dst;
	(void)piece;
	(void)n;
	return true;
}

static void *zeroed(size_t n, size_t size)
{
	void *p = calloc(n, size);

	assert_non_null(p);
	return p;
}

static int set_up(void **state)
{
	static const struct prefix4 addresses = { NB, 28 };
	static const struct range every = { 0, 65535 };
	static const uint32_t na = NA;
	const struct dp_pool pool = { &addresses, 1, &every, 1 };
	const struct dp_conf conf = {
		.tunnel_ends = &na, .n_tunnel_ends = 1, .pools = &pool, .n_pools = 1
	};
	const struct dp_events events = { 0 };
	struct rig *r = zeroed(1, sizeof *r);
	const struct forward_out out = { r, no_send };
	struct keep *k = &r->k;

	assert_int_equal(forward_init(&r->f, &conf, &events, &out, 1), 0);
	keep_measure(k, &r->f, ROOM);
	k->lease = zeroed(k->n_leases, sizeof *k->lease);
	k->addr = zeroed(k->n_addrs, sizeof *k->addr);
	k->port = zeroed((size_t)k->n_ports * 65536, sizeof *k->port);
	k->spi = zeroed(k->n_buckets, sizeof *k->spi);
	k->hop = zeroed(MAPS_HOPS, sizeof *k->hop);
	k->route = zeroed((size_t)1 << MAPS_ROUTE_BITS, sizeof *k->route);
	k->sender = zeroed((size_t)1 << MAPS_SENDER_BITS, sizeof *k->sender);
	k->peer = zeroed((size_t)1 << MAPS_PEER_BITS, sizeof *k->peer);
	k->cookies = -1;
	assert_int_equal(keep_init(k, &r->conf, 0x1234567800000001), 0);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;
	struct keep *k = &r->k;

	keep_fini(k);
	free(k->lease);
	free(k->addr);
	free(k->port);
	free(k->spi);
	free(k->hop);
	free(k->route);
	free(k->sender);
	free(k->peer);
	forward_fini(&r->f);
	free(r);
	return 0;
}

/* As the program looks: every size there is, the first bucket, then the second. */
static maps_life by_spi(const struct rig *r, uint32_t nb, uint32_t spi)
{
	for (uint64_t sizes = r->conf.sizes; sizes; sizes >>= 8) {
		uint32_t len = sizes & 0xff;
		uint32_t first = spi & (uint32_t)(0xffffffffULL << (32 - len));
		uint64_t key = maps_spi_key(first, nb - NB, len);

		for (uint32_t which = 0; which < 2; which++) {
			const struct maps_spis *b = &r->k.spi[maps_spi_bucket(
				key, r->conf.odd, r->conf.n_buckets, which)];

			for (int i = 0; i < MAPS_SPI_WAYS; i++)
				if (b->key[i] == key)
					return b->life[i];
		}
	}
	return 0;
}

static uint32_t spi_of(uint32_t i)
{
	return i * 2654435761U + 0x10000;
}

static int install(struct rig *r, uint32_t i, struct range spi, enum remote_flow flow)
{
	const struct lease l = { .bind_id = i + 1,
		.host = HOST + i % 50,
		.gateway = NA,
		.address = NB + i % 16,
		.method = METHOD_RSIPSEC,
		.tunnel = i % 3 ? TUNNEL_IPIP : TUNNEL_GRE,
		.spis = &spi,
		.n_spis = 1,
		.remote = { .flow = flow, .addr = 1, .port = 2 },
		.expires_ms = (uint64_t)UNITS * 64 };

	return keep_install(&r->k, &r->f.tables, &l);
}

static uint32_t host_at(const struct rig *r, maps_life life)
{
	return BE32(r->k.hop[keep_hop_of(&r->k, life)].dst);
}

/* Every lease that there is room for is found, whichever bucket it had to go to. */
static void test_full(void **state)
{
	struct rig *r = *state;

	for (uint32_t i = 0; i < ROOM; i++)
		assert_int_equal(
			install(r, i, (struct range){ spi_of(i), spi_of(i) }, i % 7 == 0),
			0);
	for (uint32_t i = 0; i < ROOM; i++) {
		maps_life life = by_spi(r, NB + i % 16, spi_of(i));

		assert_int_equal(MAPS_LIFE_EXPIRES(life), UNITS);
		assert_int_equal(host_at(r, life), HOST + i % 50);
	}
	for (uint32_t i = 0; i < ROOM; i += 2)
		keep_remove(&r->k, &r->f.tables, i + 1);
	for (uint32_t i = 0; i < ROOM; i++)
		assert_int_equal(by_spi(r, NB + i % 16, spi_of(i)) != 0, i % 2);
	for (uint32_t i = 1; i < ROOM; i += 2)
		keep_remove(&r->k, &r->f.tables, i + 1);
	assert_int_equal(r->conf.sizes, 0);
	for (uint32_t i = 0; i < r->k.n_buckets; i++)
		for (int j = 0; j < MAPS_SPI_WAYS; j++)
			assert_int_equal(r->k.spi[i].key[j], 0);
}

/* More than there is room for: what is there is right, and the rest is not refused. */
static void test_overfull(void **state)
{
	struct rig *r = *state;
	uint32_t most = r->k.n_buckets * MAPS_SPI_WAYS + 100, found = 0;

	for (uint32_t i = 0; i < most; i++)
		assert_int_equal(
			install(r, i, (struct range){ spi_of(i), spi_of(i) }, 0), 0);
	for (uint32_t i = 0; i < most; i++) {
		maps_life life = by_spi(r, NB + i % 16, spi_of(i));

		if (life)
			assert_int_equal(host_at(r, life), HOST + i % 50);
		else
			assert_true(r->k.addr[i % 16].flags & MAPS_PARTIAL);
		found += life != 0;
	}
	assert_in_range(found, most * 9 / 10, most - 100);
}

/* A block's end in one moment: the hop is frozen while keys go, and thaws. */
static void test_change(void **state)
{
	struct rig *r = *state;

	assert_int_equal(install(r, 1, (struct range){ 0x2000, 0x2fff }, 0), 0);
	maps_life life = by_spi(r, NB + 1, 0x2345);
	assert_int_equal(host_at(r, life), HOST + 1);
	/* Another policy: by a record from now, and back. */
	assert_int_equal(
		install(r, 1, (struct range){ 0x2000, 0x2fff }, REMOTE_MICRO), 0);
	life = by_spi(r, NB + 1, 0x2345);
	assert_true(life & MAPS_REMOTE);
	assert_int_equal(host_at(r, life), HOST + 1);
	assert_int_equal(
		r->k.lease[MAPS_LIFE_INDEX(life)].remote_flow, (uint8_t)REMOTE_MICRO);
	assert_int_equal(install(r, 1, (struct range){ 0x2000, 0x2fff }, 0), 0);
	assert_int_equal(r->k.lease[MAPS_LIFE_INDEX(life)].host, 0);
	/* Other keys: half of the block stays, under another size. */
	assert_int_equal(install(r, 1, (struct range){ 0x2000, 0x27ff }, 0), 0);
	assert_int_not_equal(by_spi(r, NB + 1, 0x2345), 0);
	assert_int_equal(by_spi(r, NB + 1, 0x2800), 0);
	uint32_t hop = keep_hop_of(&r->k, by_spi(r, NB + 1, 0x2345));
	assert_int_equal(r->k.hop[hop].frozen, 0);
	keep_remove(&r->k, &r->f.tables, 2);
	assert_int_equal(by_spi(r, NB + 1, 0x2345), 0);
	assert_int_equal(r->k.hop[hop].dst, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_overfull, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_change, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
