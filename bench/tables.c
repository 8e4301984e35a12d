/*
 * What a packet asks the data plane's tables: an IKE cookie, an SPI; with 1, 10000 and a
 * million entries.  And what an IKE mapping costs in memory.
 *
 *     tables [ROUNDS]      rounds of a second in all; median [p10-p90] of their ns
 *
 * Keys are asked in random order, so that a million of them do not stand in the cache.
 */
#include "dataplane/tables.h"
#include "base/random.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NB         1U
#define MILLION    1000000U
#define PER_LEASE  64U
#define ASKS       20000U
#define ROUNDS_MAX 1000

static const uint32_t sizes[] = { 1, 10000, MILLION };

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static size_t allocated(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* n leases of so many SPIs each, one a host. */
static void fill_leases(struct tables *t, uint32_t n, uint32_t spis)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct range r = { 256 + i * spis, 256 + i * spis + spis - 1 };
		const struct lease l = { .bind_id = 1 + i,
			.host = 0x0a000000 + i,
			.gateway = 1,
			.address = NB,
			.method = METHOD_RSIPSEC,
			.tunnel = TUNNEL_IPIP,
			.spis = &r,
			.n_spis = 1 };

		if (tables_install(t, &l))
			abort();
	}
}

/* The i-th cookie: any bits will do, as the table's hash is keyed. */
static struct learned_key cookie(uint32_t i)
{
	return (struct learned_key){ NB, i * 2654435761U, i + 1, 0 };
}

static void fill_cookies(struct tables *t, uint32_t n)
{
	struct learned_table *ike = &t->learned[LEARNED_IKE];

	for (uint32_t i = 0; i < n; i++) {
		const struct learned_key key = cookie(i);
		/* Each mapping with a peer of its own: the most that one can cost. */
		struct learned *e = learned_refresh(
			ike, &key, tables_lease(t, 1 + i / PER_LEASE), 0x0b000000 + i, 0);

		if (!e)
			abort();
		learned_settle(ike, e);
	}
}

static uint64_t ask(struct tables *t, struct random *r, uint32_t n, bool spis)
{
	const struct taddr *a = tables_address(t, NB);
	uint64_t found = 0, start = now_ns();

	for (uint32_t i = 0; i < ASKS; i++) {
		uint32_t k = random_below(r, n);

		if (spis) {
			found += tables_by_spi(t, a, 256 + k) != NULL;
		} else {
			const struct learned_key key = cookie(k);

			found += learned_find(&t->learned[LEARNED_IKE], &key, 1) != NULL;
		}
	}
	if (found != ASKS)
		abort();
	return now_ns() - start;
}

static void measure(struct tables *t, uint32_t n, bool spis, unsigned int rounds)
{
	static double ns[ROUNDS_MAX];
	struct random r = random_seeded(n);

	for (unsigned int i = 0; i < rounds; i++)
		ns[i] = (double)ask(t, &r, n, spis) / ASKS;
	qsort(ns, rounds, sizeof ns[0], compare);
	(void)printf("%-8s %8u entries  %6.1f ns [%.1f-%.1f]\n", spis ? "SPI" : "cookie",
		n, ns[rounds / 2], ns[rounds / 10], ns[rounds * 9 / 10]);
}

int main(int argc, char **argv)
{
	unsigned int rounds = argc > 1 ? (unsigned int)atoi(argv[1]) : 101;

	if (rounds < 1 || rounds > ROUNDS_MAX)
		rounds = 101;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct tables t;
		uint32_t n = sizes[i];

		if (tables_init(&t, 0, 7))
			return 1;
		fill_leases(&t, (n + PER_LEASE - 1) / PER_LEASE, PER_LEASE);
		size_t before = allocated();
		fill_cookies(&t, n);
		size_t index = allocated() - before;
		measure(&t, n, false, rounds);
		if (n == MILLION)
			(void)printf(
				"an IKE mapping takes %zu bytes: %zu of its own, %zu of "
				"indexes; at most %u at once\n",
				sizeof(struct learned) + index / n,
				sizeof(struct learned), index / n,
				t.learned[LEARNED_IKE].max);
		tables_fini(&t);
		if (tables_init(&t, 0, 7))
			return 1;
		fill_leases(&t, n, 1);
		measure(&t, n, true, rounds);
		tables_fini(&t);
	}
	return 0;
}
