/*
 * The data plane's fast path beside an empty XDP redirect (R), the kernel's forwarding
 * and nftables masquerade (K), in one run; how long leases take to install, and what is
 * lost while the programs are replaced.
 *
 *     ab [PAIRS [SLICE-MS [LEASES]]]
 *
 * X - N - Y are three network namespaces.  Frames are made by a program in X or Y, go
 * through N, and end in a sink: all in one thread on one processor, so its time divided
 * by the frames that arrived is the cost of a frame, and nothing is lost for want of a
 * processor.  The program on N's link is exchanged every slice, the order turned every
 * other pair; each pair gives one ratio.  The figures are medians with p10 and p90.
 */
#include "fast.h"
#include "netns.h"

#include <ab.skel.h> /* generated */
#include <bpf/bpf.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#define PAIRS       9
#define SLICE_MS    60
#define MOST        64 /* pairs */
#define SWAPS       400
#define SWAP_FRAMES 100000

struct bench {
	int n, x, y; /* network namespaces */
	struct ab_bpf *ab;
	struct fast fast;
	int link_lan, link_wan; /* BPF links on N */
	int pairs, slice_ms;
	bool lost; /* a frame, while programs were replaced */
};

static int put(int program, unsigned int interface)
{
	int fd = bpf_link_create(program, (int)interface, BPF_XDP, NULL);

	if (fd < 0)
		bench_fail("XDP on a veth");
	return fd;
}

/* A link of n to a namespace whose one machine swallows everything. */
static void join(struct bench *b, const char *near, const char *address, int far,
	const char *far_address, uint8_t mac[6], unsigned int *index)
{
	bench_netns_join(b->n, near, address, far, far_address, mac);
	bench_netns_enter(far);
	*index = if_nametoindex("eth0");
	(void)put(bpf_program__fd(b->ab->progs.ab_sink), *index);
	bench_netns_enter(b->n);
}

static void set_up(struct bench *b)
{
	b->x = bench_netns_new();
	b->y = bench_netns_new();
	b->n = bench_netns_new();
	join(b, "lan0", "10.0.0.1/16", b->x, "10.0.0.11", b->fast.mac_x, &b->fast.eth_x);
	join(b, "wan0", "198.51.100.1/24", b->y, "198.51.100.2", b->fast.mac_y,
		&b->fast.eth_y);
	bench_read_mac("lan0", b->fast.mac_lan);
	bench_read_mac("wan0", b->fast.mac_wan);
	b->fast.lan = if_nametoindex("lan0");
	b->fast.wan = if_nametoindex("wan0");
	bench_run("echo 1 >/proc/sys/net/ipv4/ip_forward");
	const uint32_t key[] = { 0, 1 }, to[] = { b->fast.lan, b->fast.wan };
	for (int i = 0; i < 2; i++)
		if (bpf_map_update_elem(
			    bpf_map__fd(b->ab->maps.tx), &key[i], &to[i], BPF_ANY))
			bench_fail("devmap");
	b->link_lan = put(bpf_program__fd(b->ab->progs.ab_pass), b->fast.lan);
	b->link_wan = put(bpf_program__fd(b->ab->progs.ab_pass), b->fast.wan);
}

/* --- frames --- */

static uint64_t delivered(const struct bench *b)
{
	int n = libbpf_num_possible_cpus();
	uint64_t value[256] = { 0 }, sum = 0;
	uint32_t zero = 0;

	if (n > 256 || bpf_map_lookup_elem(bpf_map__fd(b->ab->maps.sunk), &zero, value))
		bench_fail("counter");
	for (int i = 0; i < n; i++)
		sum += value[i];
	return sum;
}

/* What softirqs took that did not run in this thread, in seconds; 0 where not to be seen.
 */
static double softirq_s(void)
{
	static int fd = -2;
	char line[64] = "";

	for (int pid = 2; fd == -2 && pid < 200; pid++) {
		char path[64];
		(void)snprintf(path, sizeof path, "/proc/%d/comm", pid);
		FILE *f = fopen(path, "re");
		bool found = f && fgets(line, sizeof line, f) &&
			     strcmp(line, "ksoftirqd/0\n") == 0;
		if (f)
			(void)fclose(f);
		(void)snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
		if (found)
			fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0 || pread(fd, line, sizeof line - 1, 0) <= 0)
		return 0;
	return strtod(line, NULL) / 1e9;
}

static void generate(const struct bench *b, enum way way, uint32_t frames)
{
	bool out = fast_is_out(way);
	const struct bpf_program *p = way == WAY_OUT || way == WAY_OUT_ESP
					      ? b->ab->progs.ab_gen_out
					      : b->ab->progs.ab_gen_in;
	uint8_t in[AB_OUT] = { 0 };
	struct xdp_md ctx = { .data_end = way == WAY_OUT || way == WAY_OUT_ESP ? AB_OUT
									       : AB_IN,
		.ingress_ifindex = out ? b->fast.eth_x : b->fast.eth_y };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = ctx.data_end,
		.ctx_in = &ctx, .ctx_size_in = sizeof ctx, .repeat = (int)frames,
		.flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = 64);

	if (bpf_prog_test_run_opts(bpf_program__fd(p), &opts))
		bench_fail("live frames");
}

/* Nanoseconds for a frame with this program on N's link. */
static double slice(const struct bench *b, enum way way, int program, double *rate)
{
	bool out = fast_is_out(way);

	if (bpf_link_update(out ? b->link_lan : b->link_wan, program, NULL))
		bench_fail("exchange of programs");
	bench_netns_enter(out ? b->x : b->y);
	generate(b, way, (uint32_t)(*rate * 0.02) + 64);
	uint64_t before = delivered(b);
	double soft = softirq_s(), cpu = bench_now_s(CLOCK_THREAD_CPUTIME_ID);
	double wall = bench_now_s(CLOCK_MONOTONIC);
	uint32_t frames = (uint32_t)(*rate * b->slice_ms / 1e3) + 64;
	generate(b, way, frames);
	cpu = bench_now_s(CLOCK_THREAD_CPUTIME_ID) - cpu + softirq_s() - soft;
	wall = bench_now_s(CLOCK_MONOTONIC) - wall;
	uint64_t got = delivered(b) - before;
	*rate = frames / wall;
	if (got < frames - frames / 100)
		(void)printf("  only %llu of %u frames arrived\n",
			(unsigned long long)got, frames);
	return got ? cpu * 1e9 / (double)got : 1e9;
}

/* --- figures --- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void print_ratio(const char *what, double *ratio, double ns_a, double ns_b, int n)
{
	qsort(ratio, (size_t)n, sizeof *ratio, compare);
	(void)printf("%-44s %5.2f  [%.2f-%.2f]  %4.0f / %4.0f ns\n", what, ratio[n / 2],
		ratio[n / 10], ratio[n - 1 - n / 10], ns_a, ns_b);
	(void)fflush(stdout);
}

struct side {
	enum way way;
	int program;
	uint32_t n;
};

/* a's cost in b's: above 1, b is the faster one. */
static void pairs(struct bench *b, const char *what, struct side a, struct side g)
{
	double ratio[MOST], ns[2][MOST], rate[2] = { 3e5, 3e5 };
	const struct side *side[] = { &a, &g };

	for (int i = -1; i < b->pairs; i++) {
		double got[2];

		for (int j = 0; j < 2; j++) {
			int at = (i & 1) ? 1 - j : j;

			fast_frame(
				&b->fast, &b->ab->bss->gen, side[at]->way, side[at]->n);
			got[at] = slice(b, side[at]->way, side[at]->program, &rate[at]);
		}
		if (i < 0)
			continue; /* its rate was a guess */
		ratio[i] = got[0] / got[1];
		ns[0][i] = got[0];
		ns[1][i] = got[1];
	}
	qsort(ns[0], (size_t)b->pairs, sizeof(double), compare);
	qsort(ns[1], (size_t)b->pairs, sizeof(double), compare);
	print_ratio(what, ratio, ns[0][b->pairs / 2], ns[1][b->pairs / 2], b->pairs);
}

/* --- replacement --- */

struct swaps {
	struct bench *b;
	int program[2];
	int link;
	volatile bool stop;
	int done;
};

/* On the other processor, as often as the kernel does it. */
static void *swap(void *ctx)
{
	struct swaps *s = ctx;
	cpu_set_t other;

	CPU_ZERO(&other);
	CPU_SET(1, &other);
	(void)sched_setaffinity(0, sizeof other, &other);
	while (!s->stop && s->done < SWAPS) {
		if (bpf_link_update(s->link, s->program[s->done & 1], NULL))
			bench_fail("exchange of programs");
		s->done++;
	}
	return NULL;
}

/* Frames at the full rate while a successor's program takes the place of another. */
static void replace(
	struct bench *b, const struct load *next, enum way way, const char *what)
{
	enum forward_link link = fast_is_out(way) ? LINK_PRIVATE : LINK_PUBLIC;
	struct swaps s = { .b = b,
		.program = { load_program(next, link),
			load_program(&b->fast.load, link) },
		.link = fast_is_out(way) ? b->link_lan : b->link_wan };
	pthread_t thread;
	uint64_t sent = 0, before = delivered(b);

	if (bpf_link_update(s.link, s.program[1], NULL))
		bench_fail("exchange of programs");
	fast_frame(&b->fast, &b->ab->bss->gen, way, b->fast.n_leases);
	bench_netns_enter(fast_is_out(way) ? b->x : b->y);
	if (pthread_create(&thread, NULL, swap, &s))
		bench_fail("thread");
	while (__atomic_load_n(&s.done, __ATOMIC_RELAXED) < SWAPS) {
		generate(b, way, SWAP_FRAMES);
		sent += SWAP_FRAMES;
	}
	s.stop = true;
	(void)pthread_join(thread, NULL);
	(void)printf("  replaced %d times, %s: %llu frames sent, %lld lost\n", s.done,
		what, (unsigned long long)sent,
		(long long)(sent - (delivered(b) - before)));
	b->lost |= sent != delivered(b) - before;
}

/* As an upgrade does it: other programs, the tables of before by their pins. */
static void replacements(struct bench *b)
{
	const struct dp_events events = { 0 };
	struct load next;
	struct keep keep = b->fast.keep;
	char why[256] = "successor";

	bench_netns_enter(b->n);
	if (load_open(&next, &keep, b->fast.pins, &events, why, sizeof why) ||
		!next.reused || load_set_link(&next, LINK_PRIVATE, b->fast.lan) ||
		load_set_link(&next, LINK_PUBLIC, b->fast.wan))
		bench_fail(why);
	*load_conf(&next) = *load_conf(&b->fast.load);
	replace(b, &next, WAY_IN, "in");
	replace(b, &next, WAY_OUT, "out");
	load_close(&next);
}

static void beside_masquerade(struct bench *b, struct side k, struct side g)
{
	bench_netns_enter(b->n);
	bench_run("nft 'add table ip ab; add chain ip ab post { type nat hook "
		  "postrouting priority 100; }; add rule ip ab post oifname wan0 "
		  "masquerade'");
	pairs(b, "  nft masquerade / gateway, out", k, g);
	bench_netns_enter(b->n);
	bench_run("nft delete table ip ab");
}

static void at_size(struct bench *b, uint32_t n)
{
	bench_netns_enter(b->n);
	fast_install(&b->fast, n);
	int in = load_program(&b->fast.load, LINK_PUBLIC),
	    out = load_program(&b->fast.load, LINK_PRIVATE);
	int to_private = bpf_program__fd(b->ab->progs.ab_to_private),
	    to_public = bpf_program__fd(b->ab->progs.ab_to_public),
	    pass = bpf_program__fd(b->ab->progs.ab_pass);
	uint32_t flows = fast_peers_of(n);
	const struct side g_in = { WAY_IN, in, n }, g_out = { WAY_OUT, out, n };

	pairs(b, "  empty redirect / gateway, in", (struct side){ WAY_IN, to_private, n },
		g_in);
	pairs(b, "  empty redirect / gateway, out",
		(struct side){ WAY_OUT, to_public, n }, g_out);
	pairs(b, "  empty redirect / gateway, out, ESP",
		(struct side){ WAY_OUT_ESP, to_public, flows },
		(struct side){ WAY_OUT_ESP, out, flows });
	pairs(b, "  kernel forwarding / gateway, in",
		(struct side){ WAY_KERNEL, pass, flows }, g_in);
	beside_masquerade(b, (struct side){ WAY_MASQUERADE, pass, flows }, g_out);
	if (n == 1000)
		replacements(b);
	if (bpf_link_update(b->link_lan, pass, NULL) ||
		bpf_link_update(b->link_wan, pass, NULL))
		bench_fail("exchange of programs");
	fast_uninstall(&b->fast);
}

/* A BPF file system of this process's own, so that nothing stays. */
static const char *private_bpffs(void)
{
	static char dir[] = "/tmp/rsip-ab-XXXXXX", pins[64];

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		!mkdtemp(dir) || mount("bpf", dir, "bpf", 0, NULL))
		bench_fail("BPF file system");
	(void)snprintf(pins, sizeof pins, "%s/ab", dir);
	return pins;
}

int main(int argc, char **argv)
{
	static struct bench b;
	cpu_set_t one;

	b.pairs = argc > 1 ? (int)strtol(argv[1], NULL, 10) : PAIRS;
	b.slice_ms = argc > 2 ? (int)strtol(argv[2], NULL, 10) : SLICE_MS;
	if (b.pairs < 1 || b.pairs > MOST || b.slice_ms < 1) {
		(void)fprintf(stderr, "ab [PAIRS (1-%d) [SLICE-MS [LEASES]]]\n", MOST);
		return 2;
	}
	uint32_t only = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
	b.ab = geteuid() == 0 ? ab_bpf__open_and_load() : NULL;
	if (!b.ab) {
		(void)puts("skipped: needs root and BPF");
		return 77;
	}
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	(void)sched_setaffinity(0, sizeof one, &one);
	b.fast.pins = private_bpffs();
	set_up(&b);
	(void)printf("64-byte frames, random flows; ratio [p10-p90] of %d pairs, "
		     "ns a frame with generator and sink\n",
		b.pairs);
	if (only) {
		at_size(&b, only);
	} else {
		at_size(&b, 1000);
		at_size(&b, 100000);
		at_size(&b, 1000000);
	}
	return b.lost ? 1 : 0;
}
