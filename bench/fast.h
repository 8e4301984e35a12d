#pragma once

#include "dataplane/xdp/load.h"

#include "ab.h"

/* The fast path of driver xdp with leases, and frames for it. */

enum way { WAY_IN, WAY_OUT, WAY_OUT_ESP, WAY_KERNEL, WAY_MASQUERADE };

struct fast {
	struct forward f;
	struct load load;
	struct keep keep;
	const char *pins; /* or NULL */
	uint8_t mac_lan[6], mac_wan[6], mac_x[6], mac_y[6];
	unsigned int lan, wan;     /* where it redirects to */
	unsigned int eth_x, eth_y; /* where frames are made */
	uint32_t n_leases;
	uint32_t hosts; /* a power of two, less one */
};

/* How many of n flows have a peer's SPI or are the kernel's: those are bounded. */
uint32_t fast_peers_of(uint32_t n);
/* The hosts of n leases, less one. */
uint32_t fast_hosts_of(uint32_t n);

/* Open and fill the tables; prints how long it took and what a lease needs. */
void fast_install(struct fast *b, uint32_t n);
void fast_uninstall(struct fast *b);

/* From the hosts? */
bool fast_is_out(enum way way);
/* What the generator makes n flows from. */
void fast_frame(const struct fast *b, struct ab_gen *g, enum way way, uint32_t n);
