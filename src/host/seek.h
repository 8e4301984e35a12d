#pragma once

#include "host/conf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Looking for a gateway (RFC 3102 3.5, F-3.5-04), one way after the other.  Blocks for a
 * few seconds at most: for a thread of its own.
 */

#define SEEK_MAX 16
#define SEEK_WHY 160

enum seek_way { SEEK_DHCP, SEEK_SLP, SEEK_DNS, SEEK_ROUTE, SEEK_WAYS };

struct seek_found {
	uint32_t addr;
	uint16_t port;
};

struct seek {
	/* Given.  Scopes and agent may come from DHCP, for SLP. */
	unsigned int option; /* of DHCP; 0: not asked */
	char scopes[HOST_SCOPES];
	uint32_t agent;
	bool rsipsec, udp; /* needed */
	enum rsip_tunnel tunnel;
	uint32_t next_hop; /* of the default route; 0: none */
	/* Found, in the order of preference. */
	struct seek_found found[SEEK_MAX];
	size_t n;
	char why[SEEK_WHY]; /* it found nothing */
};

const char *seek_name(enum seek_way way);
void seek_run(struct seek *s, enum seek_way way);

/* A link of ours to ask on. */
struct seek_link {
	char name[16];
	int index;
	uint32_t address;
};
#define SEEK_LINKS 4
size_t seek_links(struct seek_link links[SEEK_LINKS]);

/* seek_slp.c: hosts ask a directory agent, or all service agents. */
void seek_slp(struct seek *s);
/* Append; false when there is no room or it is there. */
bool seek_add(struct seek *s, uint32_t addr, uint16_t port);
