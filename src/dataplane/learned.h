#pragma once

#include "dataplane/htab.h"
#include "dataplane/peers.h"

#include <stdbool.h>
#include <sys/queue.h>

/*
 * What the data plane learns from packets that hosts send, and needs to route answers:
 * IKE initiator cookies, outbound SPIs, ICMP queries.  Everything learned belongs to a
 * lease and dies with it, is bounded per lease and in total, and is never learned from
 * outside.
 */

struct tlease;

enum learned_kind { LEARNED_IKE, LEARNED_SPI, LEARNED_QUERY, LEARNED_KINDS };

/* IKE: Nb, cookie.  SPI: Nb, Y, protocol, SPI.  Query: Nb, Y, type, identifier+sequence.
 */
struct learned_key {
	uint32_t nb, a, b, c;
};

#define LEARNED_PEERS 4

struct learned {
	struct htab_node node;
	struct learned_key key;
	struct tlease *owner;
	TAILQ_ENTRY(learned) by_owner; /* oldest first */
	TAILQ_ENTRY(learned) by_age;
	uint64_t seen_ms; /* last packet from the host */
	bool settled;     /* answered: no longer aged or evicted for its age */
	bool begun;       /* by the peer, and the host has said nothing yet */
	uint8_t n_peers;
	uint32_t peer[LEARNED_PEERS];
};
TAILQ_HEAD(learned_list, learned);

/* The part of a lease that this module keeps. */
struct learned_owner {
	struct learned_list list;
	uint32_t n;
};

struct learned_table {
	struct htab keys;
	struct peers peers;                 /* of IKE and SPIs */
	struct learned_list young, settled; /* oldest first */
	struct learned_list spare;
	struct learned *storage;
	uint32_t max, used, n_settled;
	uint32_t max_per_owner;
	uint64_t ttl_ms; /* of an entry that is not settled; 0: no limit */
	enum learned_kind kind;
	/* Told of what is learned, refreshed or answered (there), and of what is
	 * forgotten, or NULL. */
	void (*watch)(void *ctx, const struct learned *e, bool there);
	void *watch_ctx;
};

/* max: entries at once, 0 for the usual number. */
int learned_init(
	struct learned_table *t, enum learned_kind kind, uint32_t max, uint64_t secret);
void learned_fini(struct learned_table *t);

/* The live entry of this key, or NULL. */
struct learned *learned_find(
	struct learned_table *t, const struct learned_key *key, uint64_t now_ms);
/*
 * A host sent a packet with this key.  Refreshes or makes the entry for `owner`; an entry
 * of another lease of the same host moves.  peer is added (the oldest is dropped for it).
 * NULL: another host has it (learned_find() then does find it), or there is no room;
 * nothing is changed then.  A full table of IKE cookies forgets nothing that lives.
 */
struct learned *learned_refresh(struct learned_table *t, const struct learned_key *key,
	struct tlease *owner, uint32_t peer, uint64_t now_ms);
/* An answer came. */
void learned_settle(struct learned_table *t, struct learned *e);
bool learned_has_peer(const struct learned *e, uint32_t peer);

void learned_owner_init(struct learned_owner *o);
/* The lease ends: everything it learned goes. */
void learned_owner_end(struct learned_table *t, struct tlease *owner);

/* Forget what is past its time; at most `most` entries. */
void learned_expire(struct learned_table *t, uint64_t now_ms, uint32_t most);

/* The only host that has entries with this Nb and peer; 0 for none or several. */
uint32_t learned_only_host(const struct learned_table *t, uint32_t nb, uint32_t peer);
