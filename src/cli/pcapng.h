#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* IPv4 packets into a pcapng file, each with a comment. */

/* Section and interface; false when it cannot be written. */
bool pcapng_begin(FILE *to);
/* inbound: to the hosts.  cap_len bytes of a packet of len. */
bool pcapng_packet(FILE *to, uint64_t wall_us, bool inbound, const uint8_t *bytes,
	uint32_t cap_len, uint32_t len, const char *comment);
