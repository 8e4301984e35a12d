#pragma once

#include "kx/name.h"

/*
 * What the operator wants for a destination.  The words are those of libreswan's
 * opportunistic groups.  The longest prefix wins; of equal ones the rule with more of
 * protocol and ports; of equal rules the first.  Pure; storage is taken at kx_policy_new.
 */
enum kx_group {
	KX_PRIVATE,          /* protect or drop */
	KX_PRIVATE_OR_CLEAR, /* try, else clear */
	KX_CLEAR_OR_PRIVATE, /* do not initiate, accept if asked */
	KX_CLEAR,            /* never */
	KX_BLOCK,            /* no packet */
	KX_GROUPS,
};

/* "private-or-clear"; and back, ERR_NOTFOUND. */
const char *kx_group_text(enum kx_group group);
int kx_group_parse(const char *text, enum kx_group *group);

/* What a pair gets while it is undecided, or when it failed. */
enum kx_shunt {
	KX_SHUNT_DEFAULT, /* negotiation: drop (hold when packets are held); failure: by
			     group, private drop and private-or-clear pass */
	KX_SHUNT_DROP,
	KX_SHUNT_HOLD, /* negotiation only */
	KX_SHUNT_PASS,
	KX_SHUNT_NONE, /* failure only: as drop, but the next packet tries again at once
			*/
};

struct kx_rule {
	enum kx_group group;
	struct kx_prefix prefix;    /* of the destination */
	uint8_t protocol;           /* IP protocol; 0: any */
	uint16_t source_port, port; /* 0: any; need TCP, UDP or SCTP */
	/*
	 * Set: the rule stands for the addresses of this name, which the operator vouches
	 * for: no reverse look-up (it could not tell the hosts of a shared address
	 * apart).  The prefix is then not used.
	 */
	struct kx_name name;
	enum kx_shunt negotiation, failure;
	bool bogus_drop;         /* private-or-clear: drop, not pass, after BOGUS */
	uint32_t failure_ttl_s;  /* first shunt after a failure; 0: 60 s */
	uint32_t failure_most_s; /* it doubles up to this; 0: 15 min */
	uint32_t line;           /* of the file, for messages; 0: none */
};

#define KX_RULES_MAX 4096

struct kx_policy;

struct kx_policy *kx_policy_new(void); /* NULL: no memory */
void kx_policy_free(struct kx_policy *p);
/*
 * ERR_NOSPACE over KX_RULES_MAX; ERR_EXISTS when the same destination is there already in
 * another group, *other is then that rule's line; ERR_RANGE for ports without a protocol
 * that has them.
 */
int kx_policy_add(struct kx_policy *p, const struct kx_rule *rule, uint32_t *other);

/* A packet's destination; ports in host order, 0 where there are none. */
struct kx_flow {
	struct kx_addr destination;
	uint8_t protocol;
	uint16_t source_port, port;
};

/* The rule of a packet, borrowed; NULL: no rule, not ours (leave it alone). */
const struct kx_rule *kx_policy_find(const struct kx_policy *p, const struct kx_flow *f);

size_t kx_policy_count(const struct kx_policy *p);
const struct kx_rule *kx_policy_at(const struct kx_policy *p, size_t i);
