#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where a host's packets must come from: a filter of the kernel's at the sockets, which
 * sees the Ethernet header that they do not.  Of an address that stands in no row
 * everything passes.
 */
#define NET_PLACES_MAX 128 /* what fits into the memory that a socket may have for it */

struct net_place {
	uint32_t addr;
	unsigned int ifindex; /* 0: any */
	bool has_mac;
	uint8_t mac[6];
};

/* Attach, or with n 0 detach; -errno. */
int place_attach(int fd, const struct net_place *places, size_t n);
/* Messages that the kernel dropped at this socket. */
uint64_t place_dropped(int fd);
