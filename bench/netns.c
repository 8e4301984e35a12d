/*
 * What the benchmarks of the data plane share: namespaces, links, commands and clocks.
 */
#include "netns.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

void bench_fail(const char *what)
{
	perror(what);
	exit(1);
}

double bench_now_s(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void bench_run(const char *format, ...)
{
	char command[512];
	va_list args;

	va_start(args, format);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is, the line before */
	(void)vsnprintf(command, sizeof command, format, args);
	va_end(args);
	if (system(command) != 0)
		bench_fail(command);
}

void bench_netns_enter(int netns)
{
	if (setns(netns, CLONE_NEWNET))
		bench_fail("setns");
}

int bench_netns_new(void)
{
	if (unshare(CLONE_NEWNET))
		bench_fail("unshare");
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		bench_fail("network namespace");
	/* No frames but those that are counted. */
	bench_run("echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6");
	bench_run("ip link set lo up");
	return fd;
}

void bench_read_mac(const char *interface, uint8_t mac[6])
{
	struct ifreq ifr = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)snprintf(ifr.ifr_name, IFNAMSIZ, "%s", interface);
	if (ioctl(fd, SIOCGIFHWADDR, &ifr))
		bench_fail(interface);
	memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
	(void)close(fd);
}

void bench_netns_join(int n, const char *near, const char *address, int far,
	const char *far_address, uint8_t mac[6])
{
	bench_netns_enter(n);
	/* By this process's own number, as `ip` opens the descriptor in another one. */
	bench_run("ip link add %s type veth peer name eth0 netns /proc/%d/fd/%d", near,
		getpid(), far);
	bench_run("ip link set %s up; ip addr add %s dev %s", near, address, near);
	bench_netns_enter(far);
	bench_run("ip link set eth0 up");
	bench_read_mac("eth0", mac);
	bench_netns_enter(n);
	bench_run("ip neigh add %s lladdr %02x:%02x:%02x:%02x:%02x:%02x dev %s",
		far_address, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], near);
}
