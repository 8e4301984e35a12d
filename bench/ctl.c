/*
 * The control protocol over UDP: EXTEND, and ASSIGN with FREE, each answered only when it
 * is on the disk, beside two bare echo servers that get the same requests in the same
 * run.  Server and hosts have a core each; short slices follow each other in turn, so
 * that what else the machine does meets all of them.
 *
 *     ctl [ROUNDS [RSIPD]]
 */
#include "ctl.h"

#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS     8
#define ROUNDS_MAX 100
#define SLICE_S    0.4
#define SINGLE_S   0.1

enum slice { ECHO, ECHO_BATCHED, EXTEND, PAIR, SINGLE_ECHO, SINGLE_EXTEND, SLICES };

static const struct {
	const char *name;
	enum load_kind kind;
	size_t hosts;
	double seconds;
} slices[SLICES] = {
	[ECHO] = { "echo, recvfrom and sendto", LOAD_EXTEND, CTL_HOSTS, SLICE_S },
	[ECHO_BATCHED] = { "echo, recvmmsg and sendmmsg", LOAD_EXTEND, CTL_HOSTS,
		SLICE_S },
	[EXTEND] = { "EXTEND", LOAD_EXTEND, CTL_HOSTS, SLICE_S },
	[PAIR] = { "ASSIGN+FREE", LOAD_PAIR, CTL_HOSTS, SLICE_S },
	[SINGLE_ECHO] = { "one host: echo", LOAD_EXTEND, 1, SINGLE_S },
	[SINGLE_EXTEND] = { "one host: EXTEND", LOAD_EXTEND, 1, SINGLE_S },
};

struct ctl {
	struct server echo, batched, rsipd;
	struct load *load;
	char dir[512];
	unsigned int rounds;
	struct sample samples[SLICES];
	struct load_result results[SLICES][ROUNDS_MAX];
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

struct spread {
	double p10, p50, p90;
};

static struct spread spread_of(double *values, size_t n)
{
	qsort(values, n, sizeof(*values), compare);
	return (struct spread){ values[n / 10], values[n / 2], values[n - 1 - n / 10] };
}

static double rate(const struct load_result *r)
{
	return (double)r->answers / r->seconds;
}

/* Seconds of the server's core for one answer. */
static double cost(const struct load_result *r)
{
	return r->answers ? r->cpu_s / (double)r->answers : 0;
}

static void print_ratio(
	const struct ctl *c, const char *what, enum slice of, enum slice peer, double aim)
{
	double wall[ROUNDS_MAX], cpu[ROUNDS_MAX];
	struct spread w, p;

	for (unsigned int i = 0; i < c->rounds; i++) {
		wall[i] = rate(&c->results[of][i]) / rate(&c->results[peer][i]);
		cpu[i] = cost(&c->results[peer][i]) / cost(&c->results[of][i]);
	}
	w = spread_of(wall, c->rounds);
	p = spread_of(cpu, c->rounds);
	(void)printf("%-44s %5.2f (p10 %.2f, p90 %.2f)   by CPU time %5.2f (%.2f, %.2f)",
		what, w.p50, w.p10, w.p90, p.p50, p.p10, p.p90);
	if (aim > 0)
		(void)printf("   aim %.2f", aim);
	(void)printf("\n");
}

static void print_slice(const struct ctl *c, enum slice of)
{
	double per_s[ROUNDS_MAX], busy[ROUNDS_MAX], us[ROUNDS_MAX];
	uint64_t resent = 0, refused = 0;
	unsigned int requests = slices[of].kind == LOAD_PAIR ? 2 : 1;
	struct spread r, b, u;

	for (unsigned int i = 0; i < c->rounds; i++) {
		const struct load_result *x = &c->results[of][i];

		per_s[i] = rate(x) / requests;
		busy[i] = 100 * x->cpu_s / x->seconds;
		us[i] = 1e6 * cost(x) * requests;
		resent += x->resent;
		refused += x->refused;
	}
	r = spread_of(per_s, c->rounds);
	b = spread_of(busy, c->rounds);
	u = spread_of(us, c->rounds);
	(void)printf("%-28s %8.0f /s (%.0f, %.0f)  %5.2f us CPU each, busy %3.0f %%  "
		     "latency us p50 %llu p99 %llu  resent %llu refused %llu\n",
		slices[of].name, r.p50, r.p10, r.p90, u.p50, b.p50,
		(unsigned long long)sample_quantile(&c->samples[of], 0.5),
		(unsigned long long)sample_quantile(&c->samples[of], 0.99),
		(unsigned long long)resent, (unsigned long long)refused);
}

static void print_all(const struct ctl *c)
{
	print_ratio(c, "EXTEND / echo (recvfrom, sendto)", EXTEND, ECHO, 0.6);
	print_ratio(c, "EXTEND / echo (recvmmsg, sendmmsg)", EXTEND, ECHO_BATCHED, 0);
	print_ratio(c, "ASSIGN+FREE answers / echo (recvfrom, sendto)", PAIR, ECHO, 0);
	print_ratio(c, "one host: EXTEND / echo", SINGLE_EXTEND, SINGLE_ECHO, 0);
	(void)printf("aims: ASSIGN+FREE 30000 pairs/s; p99 under 12500 us\n");
	for (int i = 0; i < SLICES; i++)
		print_slice(c, (enum slice)i);
}

static const struct server *server_of(const struct ctl *c, enum slice s)
{
	if (s == ECHO || s == SINGLE_ECHO)
		return &c->echo;
	return s == ECHO_BATCHED ? &c->batched : &c->rsipd;
}

static void run(struct ctl *c)
{
	struct sample *warm = calloc(1, sizeof(*warm));
	struct load_result r;

	if (!warm)
		return;
	load_run(c->load, &c->rsipd, LOAD_PAIR, CTL_HOSTS, 0.2, warm, &r);
	load_run(c->load, &c->echo, LOAD_EXTEND, CTL_HOSTS, 0.2, warm, &r);
	free(warm);
	for (unsigned int i = 0; i < c->rounds; i++) {
		for (int s = 0; s < SLICES; s++)
			load_run(c->load, server_of(c, (enum slice)s), slices[s].kind,
				slices[s].hosts, slices[s].seconds, &c->samples[s],
				&c->results[s][i]);
	}
}

/* The first two cores that we may use. */
static int cores(int cpu[2])
{
	cpu_set_t set;
	int n = 0;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return -1;
	for (int i = 0; i < CPU_SETSIZE && n < 2; i++) {
		if (CPU_ISSET((size_t)i, &set))
			cpu[n++] = i;
	}
	if (n == 2)
		return 0;
	(void)fprintf(stderr, "ctl: skipped: needs two cores\n");
	return 77;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int open_all(struct ctl *c, const char *rsipd)
{
	int cpu[2], rc = cores(cpu);
	const char *tmp = getenv("TMPDIR");

	if (rc)
		return rc;
	/* Often in memory, /tmp would make durable commits look cheap. */
	(void)snprintf(
		c->dir, sizeof(c->dir), "%s/rsip-ctl.XXXXXX", tmp ? tmp : "/var/tmp");
	if (!mkdtemp(c->dir)) {
		perror(c->dir);
		c->dir[0] = 0;
		return 1;
	}
	if (server_echo(&c->echo, false, cpu[0]) ||
		server_echo(&c->batched, true, cpu[0]) ||
		server_rsipd(&c->rsipd, rsipd, c->dir, cpu[0]))
		return 1;
	c->load = load_new(cpu[1]);
	return c->load && load_prepare(c->load, &c->rsipd) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	static struct ctl c;
	char self[PATH_MAX], rsipd[PATH_MAX + 16];
	int rc;

	(void)snprintf(self, sizeof(self), "%s", argv[0]);
	(void)snprintf(rsipd, sizeof(rsipd), "%s/../bin/rsipd", dirname(self));
	c.rounds = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 10) : ROUNDS;
	if (c.rounds < 1 || c.rounds > ROUNDS_MAX) {
		(void)fprintf(stderr, "usage: ctl [ROUNDS [RSIPD]]\n");
		return 2;
	}
	rc = open_all(&c, argc > 2 ? argv[2] : rsipd);
	if (rc == 0) {
		run(&c);
		print_all(&c);
	}
	load_free(c.load);
	server_end(&c.rsipd);
	server_end(&c.batched);
	server_end(&c.echo);
	if (c.dir[0])
		(void)nftw(c.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return rc;
}
