#pragma once

#include "conf/conf.h"
#include "engine/engine.h"
#include "gateway/events.h"

#include <uv.h>

/*
 * Water marks: a pool, or one of its shared addresses, is high once so much of its ports
 * is in use or rests, and low again only below another mark.  Of whole addresses what
 * counts is how many of them are leased.
 */
struct water_address;

struct water_pool {
	const char *name;
	uint32_t high_mark, low_mark; /* percent */
	uint64_t used, all, addresses;
	uint32_t percent;
	uint32_t high_addresses; /* of its addresses, how many are high */
	bool high;
};

struct water {
	const struct engine *engine;
	struct events *events;
	struct water_pool *pools; /* in the order of the configuration */
	size_t n_pools;
	struct water_address *high; /* the addresses that are */
	uint64_t due_ms;            /* the next look */
};

/* conf must outlive it, or be followed by water_conf().  -ENOMEM. */
int water_conf(struct water *w, const struct conf *conf);
void water_fini(struct water *w);
/* Look when it is time: at most once a second, with many addresses less often. */
void water_look(struct water *w, uint64_t now_ms);
