#pragma once

#include "engine/engine.h"

/*
 * A gateway's configuration from words, with the names and defaults of rsipd.conf:
 *
 *     pool   public addresses=203.0.113.1 ports=1024-65535 hold-down=120
 *     policy guests match=10.0.9.0/24 methods=rsap-ip max-ports=16 listen=no
 *     gateway transports=tcp local-networks=10.0.0.0/24
 */

#define SETUP_PARTS 6  /* pools, policies */
#define SETUP_LIST  16 /* entries of one list */

struct setup_pool {
	char name[32];
	struct prefix4 shared[SETUP_LIST], dedicated[SETUP_LIST];
	struct range ports[SETUP_LIST], spis[SETUP_LIST];
};

struct setup_policy {
	char name[32];
	struct prefix4 match[SETUP_LIST];
	struct engine_remote_rule allow[SETUP_LIST], deny[SETUP_LIST];
};

struct setup {
	struct engine_conf conf;
	struct engine_pool pools[SETUP_PARTS];
	struct engine_policy policies[SETUP_PARTS];
	struct setup_pool pool_lists[SETUP_PARTS];
	struct setup_policy policy_lists[SETUP_PARTS];
	struct prefix4 networks[SETUP_LIST];
};

/* Everything at its default, without pool and policy. */
void setup_init(struct setup *s);
/* Take one line; 0, or -1 with the reason in why. */
int setup_line(struct setup *s, char *const *words, size_t n, char *why, size_t why_size);
/* The same from text, for tests in C; aborts on a fault. */
void setup_text(struct setup *s, const char *line);
/* Adds the default pool (203.0.113.1) and policy where none is, and joins the parts. */
void setup_seal(struct setup *s);

/* Ports that this pool may lease: its ranges without 500, 4500 and 4555 (A-B-16). */
bool setup_port_leasable(const struct engine_pool *p, uint32_t port);
uint32_t setup_ports_count(const struct engine_pool *p);
/* The pool that lists this address, NULL for none. */
const struct engine_pool *setup_pool_of(
	const struct setup *s, uint32_t addr, bool *dedicated);
const struct engine_policy *setup_policy_of(const struct setup *s, uint32_t host);
