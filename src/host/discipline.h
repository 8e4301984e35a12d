#pragma once

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Which local ports the kernel may draw: from the lowest to the highest leased one
 * (ip_local_port_range), without the gaps between (ip_local_reserved_ports).  Pure.
 */
struct discipline {
	bool confine; /* false: no port is leased, the sysctls stay as they are */
	uint16_t lo, hi;
	struct range *reserved; /* gaps, and what was reserved before; sorted, joined */
	size_t n_reserved;
};

/*
 * leased: sorted, disjoint.  kept: further ports that nothing may draw, in any order:
 * those reserved before we came, those given to an IKE daemon.  Leased ports below floor
 * (ip_unprivileged_port_start) can't be drawn and are left out.  0 or -ENOMEM; the plan
 * is the caller's to _fini.
 */
int discipline_plan(const struct range *leased, size_t n, const struct range *kept,
	size_t n_kept, uint32_t floor, struct discipline *d);
void discipline_fini(struct discipline *d);

/*
 * "1000-1010,2000" as the kernel prints it; empty text gives none.  *ranges is the
 * caller's to free.  0, -ENOMEM or ERR_MALFORMED.
 */
int discipline_parse(const char *text, struct range **ranges, size_t *n);
