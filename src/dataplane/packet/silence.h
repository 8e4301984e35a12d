#pragma once

#include "dataplane/forward.h"

/*
 * Keeps the kernel from answering, forwarding or translating the packets that the data
 * plane takes: nftables rules at the ingress of the two links, which come after packet
 * sockets and before everything else.  Has it translate those of other hosts, where that
 * is configured (napt.h).  One pair of tables per pair of links; that of a predecessor
 * which was killed is replaced.
 */

struct silence {
	char table[64];
	const char *private_interface, *public_interface; /* borrowed */
	char *rules; /* as they stand; NULL before the first */
};

/* Names the table. */
void silence_init(
	struct silence *s, const char *private_interface, const char *public_interface);
/*
 * Put or replace the rules for what f takes now, unless they stand already; `anew` when
 * an interface was made anew and took its rules with it.  On failure a negative code and
 * one sentence in why.  Runs nft and waits for it.
 */
int silence_set(
	struct silence *s, const struct forward *f, bool anew, char *why, size_t size);
/* Take the rules away. */
void silence_end(struct silence *s);
/* The rules stay for a successor; only memory goes. */
void silence_leave(struct silence *s);
