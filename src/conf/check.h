#pragma once

#include "conf/conf.h"
#include "conf/value.h"

/*
 * The sections together: what each value may be beside the others, and the configuration
 * that they make.  Everything is put into the arena.
 */
struct conf_pieces {
	struct conf_gateway gateway;
	struct conf_dataplane dataplane;
	struct conf_audit audit;
	struct conf_ipfix ipfix;
	struct conf_slp slp;
	struct conf_security security;
	struct conf_metrics metrics;
	struct conf_pool *pools;
	const char **pool_names;
	size_t n_pools;
	struct conf_policy *policies;
	const char **policy_names;
	size_t n_policies;
	struct conf_host *hosts;
	const char **host_names;
	size_t n_hosts;
};

int conf_check(struct arena *a, const struct conf_pieces *p, const struct conf_where *w,
	struct conf *conf);
/* Its parts in check_hosts.c. */
int conf_check_security(
	const struct conf_security *s, const struct conf_where *w, struct conf *conf);
int conf_check_hosts(struct arena *a, const struct conf_pieces *p,
	const struct conf_where *w, struct conf *conf);
