/*
 * The engine's own copy of its configuration.
 */
#include "engine/conf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REGISTRATION_LEASE 3600
#define UNREGISTERED_RATE  20
#define UNREGISTERED_BURST 100
#define QUERY_MAX_UDP      1400

/* Duplicate an array; an empty one is NULL.  False when memory is short. */
static bool dup_array(void *to, const void *from, size_t n, size_t size)
{
	void *copy = NULL;

	if (n > 0) {
		copy = malloc(n * size);
		if (copy == NULL)
			return false;
		memcpy(copy, from, n * size);
	}
	memcpy(to, &copy, sizeof(copy));
	return true;
}

#define DUP(to, from, array, n) \
	dup_array(&(to)->array, (from)->array, (from)->n, sizeof(*(from)->array))

static bool dup_name(const char **to, const char *from)
{
	*to = from != NULL ? strdup(from) : NULL;
	return from == NULL || *to != NULL;
}

static bool pool_copy(struct engine_pool *to, const struct engine_pool *from)
{
	*to = (struct engine_pool){ .hold_down_s = from->hold_down_s,
		.address_hold_down_s = from->address_hold_down_s,
		.exclusive_500 = from->exclusive_500 };
	to->n_shared = from->n_shared;
	to->n_dedicated = from->n_dedicated;
	to->n_ports = from->n_ports;
	to->n_spis = from->n_spis;
	return dup_name(&to->name, from->name) && DUP(to, from, shared, n_shared) &&
	       DUP(to, from, dedicated, n_dedicated) && DUP(to, from, ports, n_ports) &&
	       DUP(to, from, spis, n_spis);
}

static bool policy_copy(struct engine_policy *to, const struct engine_policy *from)
{
	*to = *from;
	to->name = NULL;
	to->match = NULL;
	to->allow = to->deny = NULL;
	return dup_name(&to->name, from->name) && DUP(to, from, match, n_match) &&
	       DUP(to, from, allow, n_allow) && DUP(to, from, deny, n_deny);
}

static bool host_copy(struct engine_host *to, const struct engine_host *from)
{
	*to = *from;
	to->identities = NULL;
	return DUP(to, from, identities, n_identities);
}

static bool hosts_copy(struct engine_conf *to, const struct engine_conf *from)
{
	struct engine_host *hosts = calloc(from->n_hosts + 1, sizeof(*hosts));

	to->hosts = hosts;
	if (hosts == NULL)
		return false;
	for (; to->n_hosts < from->n_hosts; to->n_hosts++)
		if (!host_copy(&hosts[to->n_hosts], &from->hosts[to->n_hosts]))
			return false;
	return true;
}

static bool conf_arrays(struct engine_conf *to, const struct engine_conf *from)
{
	struct engine_pool *pools = calloc(from->n_pools + 1, sizeof(*pools));
	struct engine_policy *policies = calloc(from->n_policies + 1, sizeof(*policies));

	to->pools = pools;
	to->policies = policies;
	if (pools == NULL || policies == NULL ||
		!DUP(to, from, local_networks, n_local_networks))
		return false;
	for (; to->n_pools < from->n_pools; to->n_pools++)
		if (!pool_copy(&pools[to->n_pools], &from->pools[to->n_pools])) {
			to->n_pools++; /* its parts are freed too */
			return false;
		}
	for (; to->n_policies < from->n_policies; to->n_policies++)
		if (!policy_copy(
			    &policies[to->n_policies], &from->policies[to->n_policies])) {
			to->n_policies++;
			return false;
		}
	return hosts_copy(to, from) && DUP(to, from, bound, n_bound);
}

int conf_copy(struct engine_conf *to, const struct engine_conf *from)
{
	*to = *from;
	to->pools = NULL;
	to->policies = NULL;
	to->local_networks = NULL;
	to->hosts = NULL;
	to->bound = NULL;
	to->n_pools = to->n_policies = to->n_hosts = 0;
	if (!conf_arrays(to, from)) {
		conf_fini(to);
		return -ENOMEM;
	}
	if (to->registration_lease_s == 0)
		to->registration_lease_s = REGISTRATION_LEASE;
	if (to->unregistered_rate == 0)
		to->unregistered_rate = UNREGISTERED_RATE;
	if (to->unregistered_burst == 0)
		to->unregistered_burst = UNREGISTERED_BURST;
	if (to->query_max_udp == 0)
		to->query_max_udp = QUERY_MAX_UDP;
	return 0;
}

/* What we allocated, though the struct shows it as const. */
static void give(const void *p)
{
	void *ours;

	memcpy(&ours, &p, sizeof(ours));
	free(ours);
}

void conf_fini(struct engine_conf *c)
{
	for (size_t i = 0; i < c->n_pools; i++) {
		const struct engine_pool *p = &c->pools[i];

		give(p->name);
		give(p->shared);
		give(p->dedicated);
		give(p->ports);
		give(p->spis);
	}
	for (size_t i = 0; i < c->n_policies; i++) {
		const struct engine_policy *p = &c->policies[i];

		give(p->name);
		give(p->match);
		give(p->allow);
		give(p->deny);
	}
	for (size_t i = 0; i < c->n_hosts; i++)
		give(c->hosts[i].identities);
	give(c->hosts);
	give(c->bound);
	give(c->pools);
	give(c->policies);
	give(c->local_networks);
	*c = (struct engine_conf){ 0 };
}
