/*
 * Thousands of random requests of many hosts, with time, restarts, reloads and operators
 * in between; after each the whole state is compared.
 *
 *     crowd short            many small crowds, checked after every step
 *     crowd hungry           the same, with memory short at one allocation in every tenth
 *     crowd weeks            one large crowd for simulated weeks, checked now and then
 *     crowd SEED HOSTS STEPS [FROM]   one crowd again, checked at each step from this one
 * on
 *
 * Proves F-3.1-01, F-2-08, F-5.1-03, F-2-03, F-3.3-01, P-6-07, P-6-01, P-9.3-01,
 * P-8.5-01, P-10.1-10 and P-10.2.2-01 for whatever comes: nothing is held twice, nothing
 * by a host that is not registered, held + resting + free is the pool, store and data
 * plane hold what the engine holds, and no answer speaks of another host's.
 */
#include "crowd.h"

#include "base/random.h"
#include "short.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WEEKS_CPU_S 12 /* of this machine, for the long one */

static uint32_t choose(void *ctx, uint32_t n)
{
	return random_below(ctx, n);
}

static double cpu_s(void)
{
	return (double)clock() / CLOCKS_PER_SEC;
}

static void (*starve)(unsigned long n);
static unsigned long grants, refusals, silences, restarts, reloads, done;

/* Stops after `steps`, or when the processor time is over. */
static int run(uint64_t seed, size_t hosts, unsigned long steps, unsigned long every,
	unsigned long from, double until_s)
{
	struct random random = random_seeded(seed);
	struct crowd *c = malloc(sizeof(*c));
	bool whole = true;
	unsigned long i;
	double days;

	if (c == NULL)
		abort();
	crowd_init(c, hosts, seed, choose, &random);
	c->starve = starve;
	for (i = 0; i < steps && whole; i++) {
		c->rig.words = every == 1 && from > 0 && i >= from;
		whole = crowd_step(c);
		for (size_t k = 0; c->rig.words && k < c->rig.n_log; k++)
			(void)printf("%lu at %llu ms: %s\n", i,
				(unsigned long long)c->rig.now_ms - 1000000,
				c->rig.log[k].text);
		if (whole && i >= from && (i + 1) % every == 0)
			whole = rig_check(&c->rig) && cpu_s() < until_s;
	}
	whole = rig_check(&c->rig);
	days = (double)(c->rig.now_ms - 1000000) / 86400000.0;
	grants += c->grants;
	refusals += c->refusals;
	silences += c->silences;
	restarts += c->restarts;
	reloads += c->reloads;
	done += i;
	if (!whole)
		(void)fprintf(stderr, "crowd %llu %zu %lu: at step %lu: %s\n",
			(unsigned long long)seed, hosts, steps, i, c->rig.fault);
	else if (steps > 100000)
		(void)printf("%.1f simulated days\n", days);
	crowd_fini(c);
	free(c);
	return whole ? 0 : 1;
}

static int report(int failed)
{
	(void)printf("%lu steps: %lu grants, %lu refusals, %lu silences, %lu restarts, "
		     "%lu reloads\n",
		done, grants, refusals, silences, restarts, reloads);
	/* A crowd that gets nothing tests nothing. */
	return failed != 0 || grants < done / 50 || refusals < done / 50 ? 1 : 0;
}

int main(int argc, char **argv)
{
	int failed = 0;

	if (argc == 4 || argc == 5)
		return run(strtoull(argv[1], NULL, 0), strtoul(argv[2], NULL, 0),
			strtoul(argv[3], NULL, 0), 1,
			argc == 5 ? strtoul(argv[4], NULL, 0) : 0, 1e9);
	if (argc == 2 && strcmp(argv[1], "hungry") == 0)
		starve = short_at;
	if (argc == 2 && (starve != NULL || strcmp(argv[1], "short") == 0)) {
		/* Sanitizers make it ten times as long. */
		for (uint64_t seed = 1; seed <= 20 && failed == 0; seed++)
			failed = run(seed, 3 + seed % 20, 250, 1, 0, 1e9);
		return report(failed);
	}
	if (argc == 2 && strcmp(argv[1], "weeks") == 0)
		return report(run(99, CROWD_MAX, 3000000, 500, 0, WEEKS_CPU_S));
	(void)fprintf(stderr, "usage: crowd short | hungry | weeks | SEED HOSTS STEPS\n");
	return 2;
}
