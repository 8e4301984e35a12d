/*
 * Driver `packet` beside the kernel's own forwarding, in the same run: the highest rate
 * at which at most one frame in a thousand is lost, for ESP of 64 bytes in and out, and
 * for plain UDP of that size forwarded by the kernel over the same links.
 *
 *     y --- wan0 n lan0 --- x      network namespaces of this process alone
 *
 * Prints kilopackets a second (median of the rounds, least and most) and the driver's own
 * CPU time a packet.  The sender, the links and the driver share this machine's cores, so
 * the ratios say more than the rates.
 */
#include "base/addr.h"
#include "dataplane/core/ip4.h"
#include "dataplane/dp.h"
#include "netns.h"

#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS    3
#define BATCH     64
#define SLICE_MS  300
#define FIRST_PPS 50000
#define X1        0x0a00000bU
#define NA        0x0a000001U
#define NB        0xc633640aU
#define Y         0xc6336402U
#define SPI       0xc0010000U
#define FRAME     (ETH_HLEN + 20 + 64)

enum mode { MODE_IN, MODE_OUT, MODE_KERNEL, MODES };
static const char *const mode_words[MODES] = { "ESP in", "ESP out", "kernel forwarding" };

struct bench {
	int n, x, y; /* network namespaces */
	uint8_t lan[6], wan[6];
};

static void set_up(struct bench *b)
{
	uint8_t far[6];

	b->x = bench_netns_new();
	b->y = bench_netns_new();
	b->n = bench_netns_new();
	bench_netns_join(b->n, "lan0", "10.0.0.1/24", b->x, "10.0.0.11", far);
	bench_netns_join(b->n, "wan0", "198.51.100.1/24", b->y, "198.51.100.2", far);
	bench_read_mac("lan0", b->lan);
	bench_read_mac("wan0", b->wan);
	bench_run("echo 1 >/proc/sys/net/ipv4/ip_forward");
}

/* Frames that eth0 of a namespace has received. */
static uint64_t received(int netns)
{
	char line[512];
	unsigned long long bytes, packets = 0;

	bench_netns_enter(netns);
	FILE *f = fopen("/proc/thread-self/net/dev", "re");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, " eth0: %llu %llu", &bytes, &packets) == 2)
			break;
	if (f)
		(void)fclose(f);
	return packets;
}

static void put_packet(uint8_t *p, enum mode mode, uint16_t len, uint32_t index)
{
	struct ip4 ip = { .src = Y, .dst = NB, .len = len, .proto = IP4_ESP, .ttl = 64 };

	if (mode == MODE_OUT) {
		ip.src = NB;
		ip.dst = Y;
	} else if (mode == MODE_KERNEL) {
		ip.dst = X1;
		ip.proto = IP4_UDP;
	}
	ip4_write(p, &ip);
	be_put32(p + IP4_HDR, SPI + (index & 255));
}

static size_t put_frame(const struct bench *b, uint8_t *f, enum mode mode, uint32_t index)
{
	uint8_t *p = f + ETH_HLEN;

	memcpy(f, mode == MODE_OUT ? b->lan : b->wan, 6);
	be_put16(f + 12, ETH_P_IP);
	if (mode == MODE_OUT) {
		const struct ip4 outer = { .src = X1,
			.dst = NA,
			.len = IP4_HDR + 64,
			.proto = IP4_IPIP,
			.ttl = 64 };

		ip4_write(p, &outer);
		p += IP4_HDR;
	}
	put_packet(p, mode, 64, index);
	return (size_t)(p - f) + 64;
}

static int sender(int netns)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET };
	int one = 1;

	bench_netns_enter(netns);
	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	to.sll_ifindex = (int)if_nametoindex("eth0");
	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof to))
		bench_fail("packet socket");
	(void)setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
	return fd;
}

/* Send for a slice at this rate; how many were sent. */
static uint64_t send_slice(const struct bench *b, int fd, enum mode mode, double pps)
{
	static uint8_t frame[256][FRAME];
	struct mmsghdr m[BATCH];
	struct iovec piece[BATCH];
	uint64_t sent = 0;
	double start = bench_now_s(CLOCK_MONOTONIC), end = start + SLICE_MS / 1e3, now;

	for (uint32_t i = 0; i < 256; i++)
		(void)put_frame(b, frame[i], mode, i);
	memset(m, 0, sizeof m);
	while ((now = bench_now_s(CLOCK_MONOTONIC)) < end) {
		if ((double)sent > (now - start) * pps)
			continue;
		for (unsigned int i = 0; i < BATCH; i++) {
			uint8_t *f = frame[(sent + i) & 255];

			piece[i] = (struct iovec){ f,
				ETH_HLEN + 64U + (mode == MODE_OUT ? 20 : 0) };
			m[i].msg_hdr.msg_iov = &piece[i];
			m[i].msg_hdr.msg_iovlen = 1;
		}
		int n = sendmmsg(fd, m, BATCH, 0);
		if (n > 0)
			sent += (uint64_t)n;
	}
	return sent;
}

/* Wait until no more arrives. */
static uint64_t settle(int netns, uint64_t before)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	uint64_t last = received(netns), now;

	for (int quiet = 0; quiet < 3; quiet++) {
		(void)nanosleep(&pause, NULL);
		now = received(netns);
		if (now != last)
			quiet = 0;
		last = now;
	}
	return last - before;
}

/* Does it carry this rate? */
static bool carries(
	const struct bench *b, int fd, enum mode mode, double pps, uint64_t *total)
{
	int far = mode == MODE_OUT ? b->y : b->x;
	uint64_t before = received(far);
	uint64_t sent = send_slice(b, fd, mode, pps), got = settle(far, before);

	*total += got;
	/* A sender that can't keep the rate proves nothing about it. */
	return (double)sent > pps * SLICE_MS / 1e3 * 0.98 && got * 1000 >= sent * 999;
}

static double highest(const struct bench *b, enum mode mode, uint64_t *total)
{
	int fd = sender(mode == MODE_OUT ? b->x : b->y);
	double good = 0, bad = FIRST_PPS;

	while (carries(b, fd, mode, bad, total) && bad < 1e7) {
		good = bad;
		bad *= 2;
	}
	for (int i = 0; i < 5; i++) {
		double middle = (good + bad) / 2;

		if (carries(b, fd, mode, middle, total))
			good = middle;
		else
			bad = middle;
	}
	(void)close(fd);
	return good / 1e3;
}

static void drive(const struct bench *b, int ready, int until)
{
	const struct dp_driver *d = dp_driver_find("packet");
	const struct prefix4 address = { NB, 32 };
	const struct range ports = { 1024, 65535 }, spis = { SPI, SPI + 255 };
	const uint32_t na = NA;
	const struct dp_pool pool = { &address, 1, &ports, 1 };
	const struct dp_conf conf = {
		.private_interface = "lan0",
		.public_interface = "wan0",
		.tunnel_ends = &na,
		.n_tunnel_ends = 1,
		.pools = &pool,
		.n_pools = 1,
	};
	const struct dp_events events = { 0 };
	const struct lease lease = { .bind_id = 1,
		.host = X1,
		.gateway = NA,
		.address = NB,
		.method = METHOD_RSIPSEC,
		.tunnel = TUNNEL_IPIP,
		.spis = &spis,
		.n_spis = 1 };
	struct dp *dp;
	char why[256];
	int fds[4];

	bench_netns_enter(b->n);
	if (d->open(&conf, &events, &dp, why, sizeof why) || d->install(dp, &lease)) {
		(void)fprintf(stderr, "%s\n", why);
		exit(1);
	}
	(void)d->fds(dp, fds);
	struct pollfd p[] = { { fds[0], POLLIN, 0 }, { until, POLLIN, 0 } };
	(void)!write(ready, "r", 1);
	while (p[1].revents == 0 && poll(p, 2, 1000) >= 0)
		d->service(dp, (uint64_t)(bench_now_s(CLOCK_BOOTTIME) * 1e3));
	d->close(dp);
	exit(0);
}

/* One round of a mode; the driver is a process of its own, so that its time is known. */
static double round_of(const struct bench *b, enum mode mode, double *ns)
{
	int ready[2], until[2], status;
	uint64_t total = 0;
	struct rusage used;
	char byte;

	if (mode == MODE_KERNEL)
		return highest(b, mode, &total);
	if (pipe(ready) || pipe(until))
		bench_fail("pipe");
	pid_t child = fork();
	if (child == 0) {
		(void)close(until[1]);
		drive(b, ready[1], until[0]);
	}
	(void)close(ready[1]);
	(void)close(until[0]);
	if (read(ready[0], &byte, 1) != 1)
		bench_fail("driver");
	double kpps = highest(b, mode, &total);
	(void)close(until[1]);
	(void)close(ready[0]);
	(void)wait4(child, &status, 0, &used);
	double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e9 +
		     (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e3;
	*ns = total ? cpu / (double)total : 0;
	return kpps;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

int main(void)
{
	double kpps[MODES][ROUNDS], ns[MODES][ROUNDS] = { { 0 } };
	struct bench b;

	if (geteuid() != 0) {
		(void)puts("skipped: needs root for network namespaces");
		return 0;
	}
	set_up(&b);
	for (int r = 0; r < ROUNDS; r++)
		for (int m = 0; m < MODES; m++)
			kpps[m][r] = round_of(&b, (enum mode)m, &ns[m][r]);
	for (int m = 0; m < MODES; m++) {
		qsort(kpps[m], ROUNDS, sizeof(double), compare);
		qsort(ns[m], ROUNDS, sizeof(double), compare);
		(void)printf("%-18s %7.0f kpps [%.0f-%.0f]", mode_words[m],
			kpps[m][ROUNDS / 2], kpps[m][0], kpps[m][ROUNDS - 1]);
		if (m == MODE_KERNEL)
			(void)printf("\n");
		else
			(void)printf("  driver %5.0f ns/packet\n", ns[m][ROUNDS / 2]);
	}
	for (int m = 0; m < MODE_KERNEL; m++)
		(void)printf("ratio %s / %s: %.2f\n", mode_words[m],
			mode_words[MODE_KERNEL],
			kpps[m][ROUNDS / 2] / kpps[MODE_KERNEL][ROUNDS / 2]);
	return 0;
}
