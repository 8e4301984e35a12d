#pragma once

#include "ike/vici.h"
#include "kx/decide.h"
#include "kxd/conf.h"

/*
 * The peers as strongSwan knows them: one connection a key exchanger ("kx-NAME"), in it
 * one child a pair of hosts.  A pair without a child gets no SA, whoever asks: that is
 * the veto of RFC 2230 section 2.1.  A further connection ("kx-any") lets no stranger in;
 * it only makes charon tell us who knocked.
 */

#define PEERS_MAX    1000
#define CHILDREN_MAX 64 /* of one peer: charon's time for a load grows with them */

struct peers;

struct peers_conf {
	const struct kxd_conf *conf; /* of the start; address, key, proposals */
	void *ctx;
	/* Of a peers_connect(), or of its SA later. */
	void (*ike)(void *ctx, uint32_t pair, enum kx_ike result);
	/* The first SA for local and remote is there, or the last one has gone. */
	void (*sa)(void *ctx, bool up, uint32_t local, uint32_t remote,
		const struct kx_name *peer);
	/* charon answers and knows our connections, or does not any more. */
	void (*state)(void *ctx, bool ready, const char *why);
};

struct peers_counters {
	uint64_t loads, initiates, terminates, strays; /* SAs that nobody authorised */
	uint32_t peers, children, sas;                 /* now */
};

/* Reads the key, certificate and CA files.  0, or a code with a sentence in why. */
int peers_new(uv_loop_t *loop, const struct peers_conf *conf, struct peers **peers,
	char *why, size_t why_size);
/* SAs stay in charon.  Memory goes when the loop has run.  NULL is allowed. */
void peers_free(struct peers *p);
/* Read the files anew and use another configuration from the next load on. */
int peers_reload(
	struct peers *p, const struct kxd_conf *conf, char *why, size_t why_size);

/* What a KX_CONNECT says. */
struct peers_want {
	uint32_t pair;
	const struct kx_exchanger *exchanger; /* its name, port and keys */
	const struct kx_addr *addrs;          /* where to speak to it */
	size_t n_addrs;
	uint32_t local, remote, timeout_ms;
};

/*
 * Bring an SA up for local and remote; the result comes by ike(), never from inside.  All
 * is copied.
 */
void peers_connect(struct peers *p, const struct peers_want *want);
/* The peer may authenticate with these keys. */
int peers_trust(struct peers *p, const struct kx_exchanger *e);
/* The peer may have an SA for local and remote. */
int peers_authorise(
	struct peers *p, const struct kx_name *name, uint32_t local, uint32_t remote);
/*
 * No longer: what there is ends, in either direction of the pair.  b 0: all with a at the
 * far end.  Nothing is reported of it.
 */
void peers_terminate(struct peers *p, const struct kx_name *name, uint32_t a, uint32_t b);
/* Is there an SA, by whichever peer? */
bool peers_has(const struct peers *p, uint32_t local, uint32_t remote);

bool peers_is_ready(const struct peers *p);
const struct peers_counters *peers_count(const struct peers *p);
