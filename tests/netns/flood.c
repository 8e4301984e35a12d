/*
 * flood KIND DEVICE TO_MAC TO_ADDRESS PORT COUNT: sends COUNT frames as fast as it can,
 * each from another address of 10.128.0.0/9, and prints how many left a second.  KIND is
 * syn (TCP), junk (UDP, 64 bytes of nothing) or register (UDP, a REGISTER_REQUEST).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH   64
#define FRAME   160
#define SOURCES 1000000U

struct frame {
	struct ether_header eth;
	struct iphdr ip;
	union {
		struct tcphdr tcp;
		struct {
			struct udphdr udp;
			uint8_t data[64];
		};
	};
} __attribute__((packed));

static uint16_t sum(const void *bytes, size_t len, uint32_t start)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i + 1 < len; i += 2)
		start += (uint32_t)(b[i] << 8 | b[i + 1]);
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return htons((uint16_t)~start);
}

static size_t udp_fill(struct frame *f, const char *kind, uint16_t port)
{
	static const uint8_t ask[] = { 1, 2, 0, 11, 11, 0, 4, 0, 0, 0, 1 };
	size_t len = sizeof(f->data);

	if (strcmp(kind, "register") == 0) {
		len = sizeof(ask);
		memcpy(f->data, ask, len);
	} else {
		memset(f->data, 0x55, len);
	}
	f->ip.protocol = IPPROTO_UDP;
	f->udp.source = htons(40000);
	f->udp.dest = htons(port);
	f->udp.len = htons((uint16_t)(sizeof(f->udp) + len)); /* no checksum: allowed */
	return sizeof(f->udp) + len;
}

static size_t syn_fill(struct frame *f, uint16_t port)
{
	f->ip.protocol = IPPROTO_TCP;
	f->tcp.dest = htons(port);
	f->tcp.doff = 5;
	f->tcp.syn = 1;
	f->tcp.window = htons(1024);
	return sizeof(f->tcp);
}

/* The n-th frame: source address, source port and checksums. */
static void vary(struct frame *f, uint32_t n)
{
	f->ip.saddr = htonl(0x0a800000U + n % SOURCES);
	f->ip.check = 0;
	f->ip.check = sum(&f->ip, sizeof(f->ip), 0);
	if (f->ip.protocol != IPPROTO_TCP)
		return;
	f->tcp.source = htons((uint16_t)(1024 + n % 60000));
	f->tcp.seq = htonl(n);
	f->tcp.check = 0;
	f->tcp.check = sum(&f->tcp, sizeof(f->tcp),
		(uint32_t)sizeof(f->tcp) + IPPROTO_TCP + (ntohl(f->ip.saddr) >> 16) +
			(ntohl(f->ip.saddr) & 0xffff) + (ntohl(f->ip.daddr) >> 16) +
			(ntohl(f->ip.daddr) & 0xffff));
}

static double now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int device_open(const char *device)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
		.sll_protocol = htons(ETHERTYPE_IP),
		.sll_ifindex = (int)if_nametoindex(device) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0), size = 1 << 20;

	if (fd < 0 || bind(fd, (const struct sockaddr *)&to, sizeof(to)) != 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return fd;
}

static size_t first_frame(struct frame *f, char **argv)
{
	uint16_t port = (uint16_t)strtoul(argv[5], NULL, 10);
	char *at = argv[3];
	size_t len;

	memset(f, 0, sizeof(*f));
	for (int i = 0; i < 6; i++, at += *at != 0)
		f->eth.ether_dhost[i] = (uint8_t)strtoul(at, &at, 16);
	memcpy(f->eth.ether_shost, "\x02\xff\0\0\0\x01", 6);
	f->eth.ether_type = htons(ETHERTYPE_IP);
	f->ip.version = 4;
	f->ip.ihl = 5;
	f->ip.ttl = 64;
	f->ip.daddr = inet_addr(argv[4]);
	len = strcmp(argv[1], "syn") == 0 ? syn_fill(f, port)
					  : udp_fill(f, argv[1], port);
	f->ip.tot_len = htons((uint16_t)(sizeof(f->ip) + len));
	return sizeof(f->eth) + sizeof(f->ip) + len;
}

int main(int argc, char **argv)
{
	static struct frame frames[BATCH];
	static struct mmsghdr m[BATCH];
	static struct iovec at[BATCH];
	uint32_t sent = 0, count = argc == 7 ? (uint32_t)strtoul(argv[6], NULL, 10) : 0;
	int fd = count > 0 ? device_open(argv[2]) : -1;
	size_t len = fd >= 0 ? first_frame(&frames[0], argv) : 0;
	double start = now_s();

	if (len == 0) {
		(void)fprintf(stderr, "usage: see the source, or: %s\n", strerror(errno));
		return 2;
	}
	for (size_t i = 0; i < BATCH; i++) {
		frames[i] = frames[0];
		at[i] = (struct iovec){ &frames[i], len };
		m[i].msg_hdr.msg_iov = &at[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	while (sent < count) {
		int n;

		for (uint32_t i = 0; i < BATCH; i++)
			vary(&frames[i], sent + i);
		n = sendmmsg(fd, m, BATCH, 0);
		if (n < 0 && errno != ENOBUFS && errno != EINTR)
			return 1;
		sent += n > 0 ? (uint32_t)n : 0;
	}
	(void)printf("%u %.0f\n", sent, sent / (now_s() - start));
	return 0;
}
