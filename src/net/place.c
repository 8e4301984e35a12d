/*
 * Classic BPF: it needs no rights, and its loads reach back to the headers of IP and
 * Ethernet.
 */
#include "net/place.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

#define LOAD(size, at) \
	(struct sock_filter) BPF_STMT(BPF_LD | (size) | BPF_ABS, (uint32_t)(at))
#define IF_NOT(value, skip) \
	(struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (skip))
#define RETURN(value) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, (value))

#define IP_SOURCE     (SKF_NET_OFF + 12)
#define MAC_SOURCE    (SKF_LL_OFF + 6)

static uint32_t number(const uint8_t *bytes, size_t n)
{
	uint32_t value = 0;

	while (n-- > 0)
		value = value << 8 | *bytes++;
	return value;
}

/* What is asked of a packet from that address; the last instruction of a row drops. */
static size_t row_put(struct sock_filter *at, const struct net_place *p)
{
	size_t n = 2; /* the address first, once it is known how far to jump */

	if (p->ifindex != 0) {
		at[n++] = LOAD(BPF_W, SKF_AD_OFF + SKF_AD_IFINDEX);
		at[n++] = IF_NOT(p->ifindex, 0);
	}
	if (p->has_mac) {
		at[n++] = LOAD(BPF_H, MAC_SOURCE);
		at[n++] = IF_NOT(number(p->mac, 2), 0);
		at[n++] = LOAD(BPF_W, MAC_SOURCE + 2);
		at[n++] = IF_NOT(number(p->mac + 2, 4), 0);
	}
	at[n++] = RETURN(UINT32_MAX);
	at[n++] = RETURN(0);
	/* Those that compare jump to the drop. */
	for (size_t i = 3; i < n - 2; i += 2)
		at[i].jf = (uint8_t)(n - 1 - (i + 1));
	at[0] = LOAD(BPF_W, IP_SOURCE);
	at[1] = IF_NOT(p->addr, (uint8_t)(n - 2));
	return n;
}

int place_attach(int fd, const struct net_place *places, size_t n)
{
	struct sock_filter code[NET_PLACES_MAX * 10 + 1];
	struct sock_fprog program = { .filter = code };
	size_t len = 0;
	int none = 0;

	if (n == 0) {
		(void)setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none,
			sizeof(none)); /* if any */
		return 0;
	}
	if (n > NET_PLACES_MAX)
		return -E2BIG;
	for (size_t i = 0; i < n; i++)
		len += row_put(code + len, &places[i]);
	code[len++] = RETURN(UINT32_MAX);
	program.len = (unsigned short)len;
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ==
			       0
		       ? 0
		       : -errno;
}

uint64_t place_dropped(int fd)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(info);

	return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) == 0
		       ? info[SK_MEMINFO_DROPS]
		       : 0;
}
