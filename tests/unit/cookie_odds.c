/*
 * RFC 3104 section 6.1 says that among 640 million hosts the chance of a first collision
 * of initiator cookies is one per cent.  Computed for 64 bits; and, on cookies cut to 20
 * bits, where chance allows it, played with the gateway's own table.
 */
#include "base/random.h"
#include "dataplane/tables.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* That n cookies of so many bits are not all different. */
static double odds(double n, double bits)
{
	return -expm1(-n * (n - 1) / exp2(bits + 1));
}

/* S-6.1-03, F-5.1-01: n^2/2^65 is 1.11 %, the chance itself 1.104 %. */
static void test_rfc(void **state)
{
	const double hosts = 640e6;

	(void)state;
	assert_true(fabs(hosts * hosts / exp2(65) - 0.0111) < 0.00005);
	assert_true(fabs(odds(hosts, 64) - 0.01104) < 0.00005);
	/* What one gateway holds by default, all with new cookies. */
	assert_true(odds(1 << 20, 64) < 1e-7);
}

#define BITS    20
#define COOKIES 153 /* as many as give 1.1 % of 20 bits */
#define HOSTS   9   /* a host's own repetition is no collision: each draws few */
#define TRIALS  30000

struct crowd {
	struct tables t;
	struct tlease *host[HOSTS * 2];
	struct random random;
};

/* Does a host meet a cookie of another one before all have drawn theirs? */
static bool collides(struct crowd *c, uint64_t now_ms)
{
	for (uint32_t i = 0; i < COOKIES; i++) {
		const struct learned_key key = { 1, 0,
			1 + random_below(&c->random, 1U << BITS), 0 };

		if (!learned_refresh(&c->t.learned[LEARNED_IKE], &key,
			    c->host[i % (HOSTS * 2)], 5, now_ms))
			return true;
	}
	return false;
}

/* S-6.1-05: the table refuses exactly as often as chance has two hosts draw the same. */
static void test_simulation(void **state)
{
	struct crowd c = { .random = random_seeded(640) };
	double pairs = COOKIES * (COOKIES - 1) / 2.0, own = 0, met = 0;

	(void)state;
	assert_int_equal(tables_init(&c.t, 0, 7), 0);
	for (uint32_t i = 0; i < HOSTS * 2; i++) {
		const struct range spi = { 256 + i, 256 + i };
		const struct lease l = { .bind_id = 1 + i,
			.host = 100 + i,
			.gateway = 1,
			.address = 1,
			.method = METHOD_RSIPSEC,
			.tunnel = TUNNEL_IPIP,
			.spis = &spi,
			.n_spis = 1 };

		assert_int_equal(tables_install(&c.t, &l), 0);
		c.host[i] = tables_lease(&c.t, 1 + i);
		double n = COOKIES / (HOSTS * 2) + (i < COOKIES % (HOSTS * 2));
		own += n * (n - 1) / 2; /* pairs of one host, which do not count */
	}
	for (uint64_t i = 0; i < TRIALS; i++) {
		met += collides(&c, i);
		for (uint32_t k = 0; k < HOSTS * 2; k++)
			learned_owner_end(&c.t.learned[LEARNED_IKE], c.host[k]);
	}
	double chance = -expm1(-(pairs - own) / exp2(BITS));
	double deviation = sqrt(TRIALS * chance * (1 - chance));
	print_message("%.0f of %d met, %.1f expected (+-%.1f)\n", met, TRIALS,
		TRIALS * chance, deviation);
	assert_true(fabs(odds(COOKIES, BITS) - 0.0111) < 0.0005);
	assert_true(fabs(met - TRIALS * chance) < 4 * deviation);
	tables_fini(&c.t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc),
		cmocka_unit_test(test_simulation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
