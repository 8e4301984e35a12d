/*
 * The data plane's fast path beside an empty XDP redirect (R), the kernel's forwarding
 * and nftables masquerade (K), in one run.
 *
 *     ab [PAIRS [SLICE-MS]]
 *
 * X - N - Y are three network namespaces.  Frames are made by a program in X or Y, go
 * through N, and end in a sink: all in one thread on one processor, so its time divided
 * by the frames that arrived is the cost of a frame, and nothing is lost for want of a
 * processor.  The program on N's link is exchanged every slice, the order turned every
 * other pair; each pair gives one ratio.  The figures are medians with p10 and p90.
 */
#include "dataplane/xdp/load.h"

#include "bench/ab.h"
#include "dataplane/core/ip4.h"

#include <ab.skel.h> /* generated */
#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAIRS    9
#define SLICE_MS 60
#define MOST     64 /* pairs */
#define X1       0x0a00000bU
#define NA       0x0a000001U
#define NB       0xc6121000U /* 198.18.16.0 and the next ones */
#define Y        0xc6336402U

struct bench {
	int n, x, y; /* network namespaces */
	unsigned int lan, wan, eth_x, eth_y;
	uint8_t mac_lan[6], mac_wan[6], mac_x[6], mac_y[6];
	struct ab_bpf *ab;
	struct forward f;
	struct load load;
	struct keep keep;
	int link_lan, link_wan; /* BPF links on N */
	int pairs, slice_ms;
};

static _Noreturn void fail(const char *what)
{
	perror(what);
	exit(1);
}

static double now_s(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

__attribute__((format(printf, 1, 2))) static void run(const char *format, ...)
{
	char command[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(command, sizeof command, format, args);
	va_end(args);
	if (system(command) != 0)
		fail(command);
}

static void enter(int netns)
{
	if (setns(netns, CLONE_NEWNET))
		fail("setns");
}

static int new_netns(void)
{
	if (unshare(CLONE_NEWNET))
		fail("unshare");
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail("network namespace");
	return fd;
}

static void read_mac(const char *interface, uint8_t mac[6])
{
	struct ifreq ifr = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	(void)snprintf(ifr.ifr_name, IFNAMSIZ, "%s", interface);
	if (ioctl(fd, SIOCGIFHWADDR, &ifr))
		fail(interface);
	memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
	(void)close(fd);
}

static int put(int program, unsigned int interface)
{
	int fd = bpf_link_create(program, (int)interface, BPF_XDP, NULL);

	if (fd < 0)
		fail("XDP on a veth");
	return fd;
}

/* A link of n to a namespace whose one machine swallows everything. */
static void join(struct bench *b, const char *near, const char *address, int far,
	const char *far_address, uint8_t mac[6], unsigned int *index)
{
	enter(b->n);
	run("ip link add %s type veth peer name eth0 netns /proc/%d/fd/%d", near,
		getpid(), far);
	run("ip link set %s up; ip addr add %s dev %s", near, address, near);
	enter(far);
	run("ip link set eth0 up");
	read_mac("eth0", mac);
	*index = if_nametoindex("eth0");
	(void)put(bpf_program__fd(b->ab->progs.ab_sink), *index);
	enter(b->n);
	run("ip neigh add %s lladdr %02x:%02x:%02x:%02x:%02x:%02x dev %s", far_address,
		mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], near);
}

static void set_up(struct bench *b)
{
	b->x = new_netns();
	b->y = new_netns();
	b->n = new_netns();
	join(b, "lan0", "10.0.0.1/24", b->x, "10.0.0.11", b->mac_x, &b->eth_x);
	join(b, "wan0", "198.51.100.1/24", b->y, "198.51.100.2", b->mac_y, &b->eth_y);
	read_mac("lan0", b->mac_lan);
	read_mac("wan0", b->mac_wan);
	b->lan = if_nametoindex("lan0");
	b->wan = if_nametoindex("wan0");
	run("echo 1 >/proc/sys/net/ipv4/ip_forward");
	const uint32_t key[] = { 0, 1 }, to[] = { b->lan, b->wan };
	for (int i = 0; i < 2; i++)
		if (bpf_map_update_elem(
			    bpf_map__fd(b->ab->maps.tx), &key[i], &to[i], BPF_ANY))
			fail("devmap");
	b->link_lan = put(bpf_program__fd(b->ab->progs.ab_pass), b->lan);
	b->link_wan = put(bpf_program__fd(b->ab->progs.ab_pass), b->wan);
}

/* --- leases --- */

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

/* n leases, each one port and one SPI.  Seconds that it took. */
static double install(struct bench *b, uint32_t n)
{
	static const struct prefix4 addresses = { NB, 28 };
	static const struct range every = { 0, 65535 };
	static const uint32_t na = NA;
	const struct dp_pool pool = { &addresses, 1, &every, 1 };
	const struct dp_conf conf = {
		.tunnel_ends = &na, .n_tunnel_ends = 1, .pools = &pool, .n_pools = 1
	};
	const struct dp_events events = { 0 };
	const struct forward_out out = { b, no_send };
	uint8_t mac[LINKS][6];
	char why[256];

	enter(b->n);
	memset(&b->keep, 0, sizeof b->keep);
	if (forward_init(&b->f, &conf, &events, &out, 1))
		fail("memory");
	keep_measure(&b->keep, &b->f, n);
	if (load_open(&b->load, &b->keep, NULL, &events, why, sizeof why) ||
		keep_init(&b->keep, load_conf(&b->load), 0x1234567800000001) ||
		load_set_link(&b->load, LINK_PRIVATE, b->lan) ||
		load_set_link(&b->load, LINK_PUBLIC, b->wan))
		fail(why);
	memcpy(mac[LINK_PRIVATE], b->mac_lan, 6);
	memcpy(mac[LINK_PUBLIC], b->mac_wan, 6);
	keep_conf(&b->keep, mac);
	double start = now_s(CLOCK_MONOTONIC);
	for (uint32_t i = 0; i < n; i++) {
		const struct range port = { i & 0xffff, i & 0xffff },
				   spi = { ab_spi(i), ab_spi(i) };
		const struct lease l = { .bind_id = i + 1,
			.host = X1,
			.gateway = NA,
			.address = NB + (i >> 16),
			.method = METHOD_RSIPSEC,
			.tunnel = TUNNEL_IPIP,
			.ports = &port,
			.n_ports = 1,
			.spis = &spi,
			.n_spis = 1,
			.expires_ms = UINT64_MAX };

		if (keep_install(&b->keep, &b->f.tables, &l))
			fail("lease");
	}
	double took = now_s(CLOCK_MONOTONIC) - start;
	keep_hop(&b->keep, LINK_PRIVATE, X1, b->mac_x);
	keep_hop(&b->keep, LINK_PUBLIC, Y, b->mac_y);
	return took;
}

static void uninstall(struct bench *b)
{
	keep_fini(&b->keep);
	load_close(&b->load);
	forward_fini(&b->f);
}

/* --- frames --- */

enum way { WAY_IN, WAY_OUT, WAY_KERNEL, WAY_MASQUERADE };

static void put_frame(struct bench *b, enum way way, uint32_t n)
{
	struct ab_gen *g = &b->ab->bss->gen;
	bool out = way == WAY_OUT || way == WAY_MASQUERADE;
	uint8_t *p = g->frame + ETH_HLEN;
	struct ip4 ip = { .src = Y, .dst = NB, .len = AB_IN - ETH_HLEN, .ttl = 64 };

	memset(g, 0, sizeof *g);
	memcpy(g->frame, out ? b->mac_lan : b->mac_wan, 6);
	memcpy(g->frame + 6, out ? b->mac_x : b->mac_y, 6);
	be_put16(g->frame + 12, ETH_P_IP);
	g->n = n;
	g->interface = out ? b->eth_x : b->eth_y;
	g->vary = way == WAY_IN ? AB_SPI : way == WAY_OUT ? AB_INNER_PORT : AB_PORT;
	ip.proto = way == WAY_IN ? IP4_ESP : IP4_UDP;
	if (way == WAY_OUT) {
		const struct ip4 outer = { .src = X1,
			.dst = NA,
			.len = AB_OUT - ETH_HLEN,
			.proto = IP4_IPIP,
			.ttl = 64 };
		ip4_write(p, &outer);
		p += IP4_HDR;
		ip.len = AB_OUT - ETH_HLEN - IP4_HDR;
	}
	if (out)
		ip.src = way == WAY_OUT ? NB : X1;
	ip.dst = out ? Y : way == WAY_KERNEL ? X1 : NB;
	ip4_write(p, &ip);
	if (way != WAY_IN) {
		be_put16(p + IP4_HDR + 2, 4500);
		be_put16(p + IP4_HDR + 4, (uint16_t)(ip.len - IP4_HDR));
	}
}

static uint64_t delivered(const struct bench *b)
{
	int n = libbpf_num_possible_cpus();
	uint64_t value[256] = { 0 }, sum = 0;
	uint32_t zero = 0;

	if (n > 256 || bpf_map_lookup_elem(bpf_map__fd(b->ab->maps.sunk), &zero, value))
		fail("counter");
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
	bool out = way == WAY_OUT || way == WAY_MASQUERADE;
	const struct bpf_program *p =
		way == WAY_OUT ? b->ab->progs.ab_gen_out : b->ab->progs.ab_gen_in;
	uint8_t in[AB_OUT] = { 0 };
	struct xdp_md ctx = { .data_end = way == WAY_OUT ? AB_OUT : AB_IN,
		.ingress_ifindex = out ? b->eth_x : b->eth_y };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = ctx.data_end,
		.ctx_in = &ctx, .ctx_size_in = sizeof ctx, .repeat = (int)frames,
		.flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = 64);

	if (bpf_prog_test_run_opts(bpf_program__fd(p), &opts))
		fail("live frames");
}

/* Nanoseconds for a frame with this program on N's link. */
static double slice(const struct bench *b, enum way way, int program, double *rate)
{
	bool out = way == WAY_OUT || way == WAY_MASQUERADE;

	if (bpf_link_update(out ? b->link_lan : b->link_wan, program, NULL))
		fail("exchange of programs");
	enter(out ? b->x : b->y);
	generate(b, way, (uint32_t)(*rate * 0.02) + 64);
	uint64_t before = delivered(b);
	double soft = softirq_s(), cpu = now_s(CLOCK_THREAD_CPUTIME_ID);
	double wall = now_s(CLOCK_MONOTONIC);
	uint32_t frames = (uint32_t)(*rate * b->slice_ms / 1e3) + 64;
	generate(b, way, frames);
	cpu = now_s(CLOCK_THREAD_CPUTIME_ID) - cpu + softirq_s() - soft;
	wall = now_s(CLOCK_MONOTONIC) - wall;
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

			put_frame(b, side[at]->way, side[at]->n);
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

static void at_size(struct bench *b, uint32_t n)
{
	double took = install(b, n);
	int in = load_program(&b->load, LINK_PUBLIC),
	    out = load_program(&b->load, LINK_PRIVATE);
	int to_private = bpf_program__fd(b->ab->progs.ab_to_private),
	    to_public = bpf_program__fd(b->ab->progs.ab_to_public),
	    pass = bpf_program__fd(b->ab->progs.ab_pass);
	uint32_t flows = n < 60000 ? n : 60000;

	(void)printf("%u leases, installed in %.3f s (both tables), %zu bytes of kernel "
		     "tables a lease\n",
		n, took,
		(b->load.mapped_size[0] + b->load.mapped_size[2] +
			b->load.mapped_size[3]) /
			n);
	pairs(b, "  empty redirect / gateway, in", (struct side){ WAY_IN, to_private, n },
		(struct side){ WAY_IN, in, n });
	pairs(b, "  empty redirect / gateway, out",
		(struct side){ WAY_OUT, to_public, n }, (struct side){ WAY_OUT, out, n });
	pairs(b, "  kernel forwarding / gateway, in",
		(struct side){ WAY_KERNEL, pass, flows }, (struct side){ WAY_IN, in, n });
	enter(b->n);
	run("nft 'add table ip ab; add chain ip ab post { type nat hook postrouting "
	    "priority 100; }; add rule ip ab post oifname wan0 masquerade'");
	pairs(b, "  nft masquerade / gateway, out",
		(struct side){ WAY_MASQUERADE, pass, flows },
		(struct side){ WAY_OUT, out, n });
	enter(b->n);
	run("nft delete table ip ab");
	if (bpf_link_update(b->link_lan, pass, NULL) ||
		bpf_link_update(b->link_wan, pass, NULL))
		fail("exchange of programs");
	uninstall(b);
}

int main(int argc, char **argv)
{
	static struct bench b;
	cpu_set_t one;

	b.pairs = argc > 1 ? (int)strtol(argv[1], NULL, 10) : PAIRS;
	b.slice_ms = argc > 2 ? (int)strtol(argv[2], NULL, 10) : SLICE_MS;
	if (b.pairs < 1 || b.pairs > MOST || b.slice_ms < 1) {
		(void)fprintf(stderr, "ab [PAIRS (1-%d) [SLICE-MS]]\n", MOST);
		return 2;
	}
	b.ab = geteuid() == 0 ? ab_bpf__open_and_load() : NULL;
	if (!b.ab) {
		(void)puts("skipped: needs root and BPF");
		return 77;
	}
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	(void)sched_setaffinity(0, sizeof one, &one);
	set_up(&b);
	(void)printf("64-byte frames, random flows; ratio [p10-p90] of %d pairs, "
		     "ns a frame with generator and sink\n",
		b.pairs);
	at_size(&b, 1000);
	at_size(&b, 100000);
	at_size(&b, 1000000);
	return 0;
}
