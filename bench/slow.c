/*
 * What a packet costs on its way from XDP to user space: passed on to the driver's packet
 * socket and then dropped by the rule that silences the kernel, as it is built, beside
 * redirected to a TAP device and read there.
 *
 *     near0 --- far0 (XDP) ---> packet socket | TAP      one network namespace of this
 * process
 *
 *     slow [PAIRS]
 *
 * One thread sends bursts and reads them, so that nothing waits for anybody; its CPU time
 * has sender, link and reader.  The ways alternate; prints medians [p10-p90] in ns and of
 * the ratios of pairs.
 */
#include "dataplane/core/ip4.h"
#include "dataplane/packet/link.h"

#include "slow.skel.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BURST  64
#define ROUNDS 400 /* bursts a slice */
#define FRAME  (ETH_HLEN + 64)
#define MOST   101

enum way { WAY_SOCKET, WAY_TAP, WAYS };

struct bench {
	struct link link;
	int tap, sender;
	struct slow_bpf *skel;
	unsigned int b;
	uint8_t frame[FRAME];
	struct mmsghdr message[BURST];
	struct iovec piece;
	uint64_t got, seen; /* packets, and of one byte of each the sum */
};

static _Noreturn void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void run(const char *command)
{
	if (system(command) != 0)
		fail(command);
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void open_tap(struct bench *b)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };

	(void)snprintf(ifr.ifr_name, IFNAMSIZ, "slow0");
	b->tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (b->tap < 0 || ioctl(b->tap, TUNSETIFF, &ifr)) {
		(void)puts("skipped: needs /dev/net/tun");
		exit(77);
	}
	run("ip link set slow0 txqueuelen 1000 up");
}

static void open_sender(struct bench *b)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
		.sll_ifindex = (int)if_nametoindex("near0") };
	struct ifreq ifr = { 0 };
	struct ip4 ip = { .src = 1U << 24 | 1,
		.dst = 0xc633640aU,
		.len = 64,
		.proto = IP4_ESP,
		.ttl = 64 };
	int one = 1;

	b->sender = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	(void)snprintf(ifr.ifr_name, IFNAMSIZ, "far0");
	if (b->sender < 0 || bind(b->sender, (struct sockaddr *)&to, sizeof to) ||
		ioctl(b->sender, SIOCGIFHWADDR, &ifr))
		fail("sender");
	(void)setsockopt(b->sender, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
	memcpy(b->frame, ifr.ifr_hwaddr.sa_data, 6);
	be_put16(b->frame + 12, ETH_P_IP);
	ip4_write(b->frame + ETH_HLEN, &ip);
	b->piece = (struct iovec){ b->frame, FRAME };
	for (int i = 0; i < BURST; i++)
		b->message[i].msg_hdr =
			(struct msghdr){ .msg_iov = &b->piece, .msg_iovlen = 1 };
}

static void set_up(struct bench *b)
{
	const char *what = "";

	if (unshare(CLONE_NEWNET)) {
		(void)puts("skipped: needs root");
		exit(77);
	}
	run("ip link add near0 type veth peer name far0; ip link set near0 up; ip link "
	    "set far0 up");
	run("printf 'table netdev slow {\\n chain c {\\n type filter hook ingress device "
	    "\"far0\" priority -500;\\n ip daddr 198.51.100.10 drop\\n}\\n}\\n' | nft -f "
	    "-");
	open_tap(b);
	open_sender(b);
	b->b = if_nametoindex("far0");
	b->skel = slow_bpf__open_and_load();
	if (!b->skel)
		fail("BPF");
	b->skel->bss->tap = if_nametoindex("slow0");
	if (link_open(&b->link, b->b, 1500, NULL, &what))
		fail(what);
}

static void on_frame(void *ctx, struct link_frame *f)
{
	struct bench *b = ctx;

	b->got++;
	b->seen += f->l3[9]; /* looked at, as a forwarder would */
}

static void read_tap(struct bench *b)
{
	uint8_t frame[2048];

	while (read(b->tap, frame, sizeof frame) > 0) {
		b->got++;
		b->seen += frame[ETH_HLEN + 9];
	}
}

static void take(struct bench *b, enum way way)
{
	if (way == WAY_TAP)
		read_tap(b);
	else
		(void)link_receive(&b->link, BURST * 4, on_frame, b);
}

static void attach(struct bench *b, enum way way)
{
	const struct bpf_program *p =
		way == WAY_TAP ? b->skel->progs.slow_tap : b->skel->progs.slow_pass;

	if (bpf_xdp_attach((int)b->b, bpf_program__fd(p), XDP_FLAGS_DRV_MODE, NULL))
		fail("native XDP");
}

/* CPU time of a packet; what was lost on the way costs those that came. */
static double slice(struct bench *b, enum way way)
{
	uint64_t begin = 0;

	attach(b, way);
	for (int i = -20; i < ROUNDS; i++) {
		if (i == 0) {
			b->got = 0;
			begin = cpu_ns();
		}
		if (sendmmsg(b->sender, b->message, BURST, 0) < 0 && errno != ENOBUFS)
			fail("send");
		take(b, way);
	}
	return b->got ? (double)(cpu_ns() - begin) / (double)b->got : 0;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void print(const char *what, double *v, int n, const char *unit)
{
	qsort(v, (size_t)n, sizeof *v, compare);
	(void)printf("%s %.2f%s [%.2f-%.2f]\n", what, v[n / 2], unit, v[n / 10],
		v[n - 1 - n / 10]);
}

int main(int argc, char **argv)
{
	static struct bench b;
	double cost[WAYS][MOST], ratio[MOST];
	int pairs = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 21;
	cpu_set_t one;

	if (pairs < 1 || pairs > MOST)
		return 2;
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	(void)sched_setaffinity(0, sizeof one, &one);
	set_up(&b);
	for (int i = 0; i < pairs; i++) {
		for (int k = 0; k < WAYS; k++) {
			enum way way = (enum way)(k ^ (i & 1));

			cost[way][i] = slice(&b, way);
			if (b.got == 0)
				fail("nothing arrived");
		}
		ratio[i] = cost[WAY_TAP][i] / cost[WAY_SOCKET][i];
	}
	print("packet socket and rule", cost[WAY_SOCKET], pairs, " ns");
	print("TAP                   ", cost[WAY_TAP], pairs, " ns");
	print("TAP / packet socket   ", ratio, pairs, "");
	return 0;
}
