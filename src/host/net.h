#pragma once

#include "host/hold.h"
#include "host/tunnel.h"

#include <net/if.h>

/* Interfaces, routes and settings that follow from what is held. */

#define HOST_ADDRESSES_MAX 16 /* leased addresses of one interface */

struct iface {
	struct iface *next;
	struct gw *gw;
	enum rsip_tunnel type;
	uint32_t local, remote;
	char name[IFNAMSIZ];
	int index;
	bool kernel;
	struct tunnel_owner owner; /* TUN, with the two below */
	struct carrier *carrier;
	struct tunnel_end *end;
	uint32_t table; /* of the rule for its addresses; 0: the main table's */
	uint32_t addrs[HOST_ADDRESSES_MAX]; /* on it now */
	size_t n_addrs;
};

/* Tunnel ends of this process, one a (gateway, type, endpoint). */
struct carrier {
	struct carrier *next;
	struct gw *gw;
	enum rsip_tunnel type;
	uint32_t local, remote;
	struct tunnel *tunnel;
	size_t ends;
};

/* Interfaces, routes, sysctls as the holds demand. */
int net_sync(struct host *h, char *why, size_t why_size);
/* Everything as it was; also what a killed daemon left. */
void net_restore(struct host *h);
/* The gateway is about to go: its interfaces go at once. */
void net_forget(struct host *h, const struct gw *gw);
struct carrier *carrier_get(struct gw *gw, enum rsip_tunnel type, uint32_t remote,
	char *why, size_t why_size);
void carrier_put(struct carrier *c);
/* What a hold lets an end claim; borrowed from the grant. */
bool net_claim(const struct hold *hold, struct tunnel_claim *claim);
struct iface *iface_find(const struct host *h, const struct gw *gw);

/* Local ports as leased, or as they were. */
int settings_ports(struct host *h);
/* No link answers for a leased address; or as it was. */
int settings_arp(struct host *h);
