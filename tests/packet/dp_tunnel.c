/*
 * A host's end of a tunnel without our host program and without the kernel's driver,
 * which not every kernel has: a TUN device and a raw socket.
 *
 *     dp_tunnel DEVICE HOST NA [gre]     until it is ended; prints "ready"
 */
#include "base/addr.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define GRE 4 /* bytes of header */

static _Noreturn void fail(const char *what)
{
	perror(what);
	exit(2);
}

static int open_tun(const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	(void)snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr))
		fail("TUN");
	return fd;
}

static struct sockaddr_in to_sockaddr(const char *text)
{
	uint32_t addr = 0;

	if (addr_parse(text, &addr))
		fail(text);
	return (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(addr) };
}

/* Out of the tunnel: what stands behind the outer header (and that of GRE). */
static void inward(int raw, int tun, size_t gre)
{
	static uint8_t packet[65536];
	ssize_t n = recv(raw, packet, sizeof packet, 0);
	ssize_t hdr = (packet[0] & 15) * 4 + (ssize_t)gre;

	/* A packet that the device refuses is lost, as on any link. */
	if (n > hdr && write(tun, packet + hdr, (size_t)(n - hdr)) < 0)
		perror("write");
}

static void outward(int tun, int raw, size_t gre)
{
	static uint8_t packet[65536] = { 0, 0, 8, 0 }; /* version 0, IPv4 */
	ssize_t n = read(tun, packet + GRE, sizeof packet - GRE);

	if (n > 0 && send(raw, packet + GRE - gre, (size_t)n + gre, 0) < 0)
		perror("send");
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	size_t gre = argc > 4 && strcmp(argv[4], "gre") == 0 ? GRE : 0;
	struct sockaddr_in host = to_sockaddr(argv[2]), na = to_sockaddr(argv[3]);
	int raw = socket(
		AF_INET, SOCK_RAW | SOCK_CLOEXEC, gre ? IPPROTO_GRE : IPPROTO_IPIP);
	int big = 8 << 20;

	if (raw < 0 || bind(raw, (struct sockaddr *)&host, sizeof host) ||
		connect(raw, (struct sockaddr *)&na, sizeof na))
		fail("raw socket");
	(void)setsockopt(raw, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big);
	struct pollfd p[] = { { open_tun(argv[1]), POLLIN, 0 }, { raw, POLLIN, 0 } };
	(void)puts("ready");
	(void)fflush(stdout);
	while (poll(p, 2, -1) > 0) {
		if (p[0].revents)
			outward(p[0].fd, raw, gre);
		if (p[1].revents)
			inward(raw, p[0].fd, gre);
	}
	return 0;
}
