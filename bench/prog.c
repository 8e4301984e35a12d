/*
 * What the programs of driver xdp cost by themselves: BPF_PROG_TEST_RUN, each with a new
 * random flow every time, beside a program that only makes that frame.
 *
 *     prog [ROUNDS [LEASES]]
 *
 * Rounds go over the programs in turn; the figure is the median of what a round has more
 * than the base of the same round, which restores the room in front of a frame as well.
 */
#include "fast.h"
#include "netns.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <prog.skel.h> /* generated */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS 7
#define MOST   31
#define REPEAT 1000000

enum row { ROW_BASE_IN, ROW_BASE_OUT, ROW_REDIRECT, ROW_IN, ROW_OUT, ROW_OUT_ESP, ROWS };
static const struct {
	const char *name;
	enum way way;
	enum row base;
} rows[ROWS] = {
	{ "base, in", WAY_IN, ROW_BASE_IN },
	{ "base, out", WAY_OUT, ROW_BASE_OUT },
	{ "empty redirect", WAY_IN, ROW_BASE_IN },
	{ "in, ESP", WAY_IN, ROW_BASE_IN },
	{ "out, UDP", WAY_OUT, ROW_BASE_OUT },
	{ "out, ESP", WAY_OUT_ESP, ROW_BASE_OUT },
};

struct prog {
	struct fast fast;
	struct prog_bpf *skel;
	int rounds;
};

static int program_of(const struct prog *p, enum row row)
{
	const struct bpf_program *of[ROWS] = { p->skel->progs.prog_base_in,
		p->skel->progs.prog_base_out, p->skel->progs.prog_redirect,
		p->skel->progs.prog_in, p->skel->progs.prog_out,
		p->skel->progs.prog_out };

	return bpf_program__fd(of[row]);
}

/* The programs stand on the tables of the driver's. */
static void open_programs(struct prog *p)
{
	struct bpf_map *m;

	p->skel = prog_bpf__open();
	if (!p->skel)
		bench_fail("BPF object");
	bpf_object__for_each_map(m, p->skel->obj)
	{
		if (!bpf_map__is_internal(m) &&
			bpf_map__reuse_fd(m, load_map(&p->fast.load, bpf_map__name(m))))
			bench_fail(bpf_map__name(m));
	}
	if (prog_bpf__load(p->skel))
		bench_fail("programs");
	p->skel->bss->conf = *load_conf(&p->fast.load);
}

static double run(const struct prog *p, enum row row)
{
	uint32_t n = p->fast.n_leases;
	uint8_t in[AB_OUT] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in,
		.data_size_in = rows[row].way == WAY_IN ? AB_IN : AB_OUT,
		.repeat = REPEAT);

	fast_frame(&p->fast, &p->skel->bss->gen, rows[row].way,
		row == ROW_OUT_ESP ? fast_peers_of(n) : n);
	if (bpf_prog_test_run_opts(program_of(p, row), &opts))
		bench_fail("BPF_PROG_TEST_RUN");
	if (opts.retval != XDP_REDIRECT)
		(void)printf("  %s: verdict %u\n", rows[row].name, opts.retval);
	return opts.duration;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void at_size(struct prog *p, uint32_t n)
{
	double ns[ROWS][MOST];

	fast_install(&p->fast, n);
	open_programs(p);
	for (int i = -1; i < p->rounds; i++) {
		for (int row = 0; row < ROWS; row++) {
			double took = run(p, (enum row)row);

			if (i >= 0)
				ns[row][i] = took;
		}
	}
	for (int row = ROW_REDIRECT; row < ROWS; row++)
		for (int i = 0; i < p->rounds; i++)
			ns[row][i] -= ns[rows[row].base][i];
	for (int row = 0; row < ROWS; row++) {
		qsort(ns[row], (size_t)p->rounds, sizeof(double), compare);
		(void)printf("  %-16s %5.0f ns  [%.0f-%.0f]\n", rows[row].name,
			ns[row][p->rounds / 2], ns[row][0], ns[row][p->rounds - 1]);
	}
	prog_bpf__destroy(p->skel);
	fast_uninstall(&p->fast);
}

int main(int argc, char **argv)
{
	static struct prog p;
	cpu_set_t one;

	p.rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : ROUNDS;
	if (p.rounds < 1 || p.rounds > MOST) {
		(void)fprintf(stderr, "prog [ROUNDS (1-%d) [LEASES]]\n", MOST);
		return 2;
	}
	struct prog_bpf *may = geteuid() == 0 ? prog_bpf__open_and_load() : NULL;
	if (!may) {
		(void)puts("skipped: needs root and BPF");
		return 77;
	}
	prog_bpf__destroy(may);
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	(void)sched_setaffinity(0, sizeof one, &one);
	p.fast.lan = p.fast.wan = 1; /* never sent */
	memset(p.fast.mac_lan, 2, 6);
	memset(p.fast.mac_wan, 4, 6);
	uint32_t only = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
	for (uint32_t n = only ? only : 1000; n <= (only ? only : 1000000);
		n *= n == 1000 ? 100 : 10)
		at_size(&p, n);
	return 0;
}
