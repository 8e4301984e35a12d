#pragma once

#include "dataplane/htab.h"

#include <stdbool.h>

/*
 * Which hosts talk with a peer through a public address, as far as one question needs it:
 * is it one host only, and which?  Answered in constant time, because strangers may ask.
 */
struct peers {
	struct htab talks; /* Nb, peer, host: how often it was added */
	struct htab peers; /* Nb, peer: how many hosts, and the exclusive or of them */
};

/* 0 or -ENOMEM. */
int peers_init(struct peers *p, uint64_t secret);
void peers_fini(struct peers *p);

/* Counted: each needs its peers_del().  False: no memory, nothing changed. */
bool peers_add(struct peers *p, uint32_t nb, uint32_t peer, uint32_t host);
void peers_del(struct peers *p, uint32_t nb, uint32_t peer, uint32_t host);

/* The only host that talks with the peer; 0 for none or several. */
uint32_t peers_only(const struct peers *p, uint32_t nb, uint32_t peer);
