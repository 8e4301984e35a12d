#pragma once

#include "dataplane/forward.h"

#include <stdio.h>

/*
 * NAPT by the kernel for hosts that do not speak RSIP, on an address that may be leased
 * too: nftables rules, as text.  Translated ports are napt.ports only, so that they and
 * the pool's never meet.  f->napt has hosts.
 */

/* What of the shared address the kernel gets, for the ingress chain of the public link.
 */
void napt_print_ingress(FILE *out, const struct forward *f);
/* The table that translates. */
void napt_print(FILE *out, const struct forward *f, const char *table,
	const char *private_interface, const char *public_interface);
