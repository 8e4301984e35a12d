#pragma once

#include "kxd/conf.h"
#include "kxd/spd.h"

/*
 * Which policies of the kernel say what the configuration says: a trap for each network
 * that we speak for and each rule of private and private-or-clear, openings for clear and
 * clear-or-private, walls for block; for private also walls against plaintext that comes
 * from there; openings for the machine's own traffic, or for its DNS, IKE and IPsec alone
 * where it protects itself.
 */

#define TRAPS_OWN_MAX 64

struct cover;

struct traps {
	struct spd *spd;
	const struct kxd_conf *conf; /* follows a reload */
	uint32_t own[TRAPS_OWN_MAX]; /* the machine's addresses */
	size_t n_own;
	struct cover *covers; /* addresses of rules by name */
};

/*
 * Make it so: what is wanted first, then what is not wanted any more goes, so that
 * nothing is open in between.  Shunts stay.  0, or a code with a sentence in why.
 */
int traps_sync(struct traps *t, char *why, size_t why_size);
/* A rule by name stands for these addresses from now on; n 0 forgets it. */
int traps_cover(struct traps *t, const struct kx_name *name, enum kx_group group,
	const struct kx_addr *addrs, size_t n, char *why, size_t why_size);

/* The pair passes, or is dropped, for so long at most. */
int traps_shunt(struct traps *t, uint32_t src, uint32_t dst, bool pass, uint32_t seconds);
/* No shunt between the two any more, in either direction. */
void traps_unshunt(struct traps *t, uint32_t a, uint32_t b);

/* Take everything of ours out of the kernel: traffic passes in clear then. */
int traps_open(struct traps *t, size_t *removed);

bool traps_is_own(const struct traps *t, uint32_t addr);
bool traps_protects(const struct traps *t, uint32_t addr);
void traps_fini(struct traps *t);
