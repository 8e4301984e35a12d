#pragma once

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/*
 * The kernel's IPsec policies (XFRM) as triggers and shunts.
 *
 * A trap is an outbound policy that asks for an SA nobody has: the kernel drops the
 * packet and tells us.  It stays when the daemon dies, so that nothing passes then.  A
 * shunt is a policy for one pair with an end of its own, kept by the kernel.  All of them
 * stand behind those that charon makes for real SAs, and never in the place of one of
 * them: ours carry a mark of origin that the kernel compares but does not act on.
 */

enum spd_action { SPD_TRAP, SPD_ALLOW, SPD_DENY };
enum spd_dir { SPD_IN, SPD_OUT, SPD_FWD };

/* What a policy is about; ports need a protocol that has them. */
struct spd_selector {
	struct prefix4 src, dst;
	uint8_t protocol;      /* 0: any */
	uint16_t sport, dport; /* 0: any */
};

/* Numerically lower wins.  charon's reach up to about 571,327. */
#define SPD_EXEMPT 900000  /* own traffic: DNS, IKE, ESP */
#define SPD_SHUNT  1000000 /* one pair, for a while */
#define SPD_GROUP  3000000 /* less 10,000 a bit of prefix: SPD_SHUNT < x <= this */

/* Of a group's rule, in the order of kx_policy_find(); narrow: how many of protocol and
 * ports it names (0..3). */
uint32_t spd_group_priority(uint8_t prefix_len, unsigned int narrow);

struct spd_policy {
	struct spd_selector sel;
	enum spd_dir dir;
	enum spd_action action;
	uint32_t priority;
	uint32_t lifetime_s; /* the kernel deletes it then; 0: stays */
};

/* A packet met a trap. */
struct spd_acquire {
	uint32_t src, dst;
	uint8_t protocol;
	uint16_t sport, dport;
	uint32_t seq; /* of the kernel's waiting state, for spd_forget() */
};

struct spd_conf {
	void *ctx;
	void (*acquire)(void *ctx, const struct spd_acquire *a);
	void (*overrun)(void *ctx); /* some were lost: their packets try again later */
};

struct spd;

/* 0, or a code with a sentence in why.  Needs CAP_NET_ADMIN; the loop outlives it. */
int spd_new(uv_loop_t *loop, const struct spd_conf *conf, struct spd **spd, char *why,
	size_t why_size);
/* Policies stay.  Memory goes when the loop has run.  NULL is allowed. */
void spd_free(struct spd *s);

/* Replaces ours of the same selector and direction. */
int spd_put(struct spd *s, const struct spd_policy *p);
/* ERR_NOTFOUND when there is none (any more). */
int spd_del(struct spd *s, const struct spd_selector *sel, enum spd_dir dir);

/*
 * Those of ours, from whichever run of the daemon.  *policies is the caller's to free;
 * the time that is left of a lifetime is not told.
 */
int spd_list(struct spd *s, struct spd_policy **policies, size_t *n);

/*
 * Ends the kernel's waiting state behind an ACQUIRE.  While it lives (net.core.
 * xfrm_acq_expires) no second one comes for its pair, so that a decision which is no SA
 * must not leave it.
 */
int spd_forget(struct spd *s, uint32_t seq, uint32_t dst);
