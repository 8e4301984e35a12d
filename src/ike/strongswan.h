#pragma once

#include "base/addr.h"

#include <stddef.h>
#include <stdint.h>

/*
 * What strongSwan's charon must be told of a lease, as a drop-in for strongswan.d: one
 * charon { } section.  Pure text; writing the file is the caller's.
 */

/*
 * Fewer and charon's allocation fails now and then: an old SA keeps its SPI for seconds
 * after a rekeying, and the kernel probes the block at random.
 */
#define STRONGSWAN_SPIS_MIN 16

struct strongswan {
	uint32_t address; /* leased; named in the comment only */
	uint32_t bind_id; /* the same */
	struct range spis;
	uint16_t port, port_nat_t; /* local ports of IKE; 0: charon draws one */
};

/*
 * The longest range of at least STRONGSWAN_SPIS_MIN, since charon takes one; 0 or
 * ERR_NOTFOUND.
 */
int strongswan_spis(const struct range *spis, size_t n, struct range *block);
/*
 * The two IKE ports: the first two that are leased; a single one leaves port_nat_t 0,
 * none at all is 500 and 4500, where the gateway tells hosts apart by cookie.
 */
void strongswan_ports(
	const struct range *ports, size_t n, uint16_t *port, uint16_t *port_nat_t);

/* Returns the length it would need, as snprintf does. */
int strongswan_format(const struct strongswan *s, char *buf, size_t size);
