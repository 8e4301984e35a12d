/*
 * Forwarding state: configuration, the gateway's own addresses, timers and counters.  The
 * procedures are in forward_out.c and forward_in.c.
 */
#include "dataplane/forward.h"

#include "dataplane/core/icmp.h"
#include "dataplane/pass.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_MS   1000
#define SWEEP_MOST 4096 /* learned entries a sweep, so that no sweep takes long */

static int compare_addr(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int compare_pool(const void *a, const void *b)
{
	return compare_addr(&((const struct forward_pool *)a)->addresses.addr,
		&((const struct forward_pool *)b)->addresses.addr);
}

static int copy_sorted(uint32_t **to, size_t *n_to, const uint32_t *from, size_t n)
{
	uint32_t *copy = calloc(n ? n : 1, sizeof *copy);

	if (!copy)
		return -ENOMEM;
	if (n)
		memcpy(copy, from, n * sizeof *copy);
	qsort(copy, n, sizeof *copy, compare_addr);
	free(*to);
	*to = copy;
	*n_to = n;
	return 0;
}

static bool has_addr(const uint32_t *set, size_t n, uint32_t addr)
{
	return n > 0 && bsearch(&addr, set, n, sizeof *set, compare_addr) != NULL;
}

/* One row a prefix, each with the ports of its pool. */
static int copy_pools(struct forward *f, const struct dp_conf *conf)
{
	size_t n = 0, n_ports = 0;

	for (size_t i = 0; i < conf->n_pools; i++) {
		n += conf->pools[i].n_addresses;
		n_ports += conf->pools[i].n_ports;
	}
	f->pools = calloc(n ? n : 1, sizeof *f->pools);
	f->ports = calloc(n_ports ? n_ports : 1, sizeof *f->ports);
	if (!f->pools || !f->ports)
		return -ENOMEM;
	struct range *ports = f->ports;
	for (size_t i = 0; i < conf->n_pools; i++) {
		const struct dp_pool *p = &conf->pools[i];

		for (size_t j = 0; j < p->n_addresses; j++)
			f->pools[f->n_pools++] = (struct forward_pool){ p->addresses[j],
				ports, p->n_ports };
		for (size_t j = 0; j < p->n_ports; j++)
			*ports++ = p->ports[j];
	}
	qsort(f->pools, f->n_pools, sizeof *f->pools, compare_pool);
	return 0;
}

static int copy_napt(struct forward *f, const struct dp_conf *conf)
{
	size_t n = conf->napt.n_hosts;
	struct prefix4 *hosts = calloc(n ? n : 1, sizeof *hosts);

	if (!hosts)
		return -ENOMEM;
	if (n)
		memcpy(hosts, conf->napt.hosts, n * sizeof *hosts);
	f->napt = conf->napt;
	f->napt.hosts = f->napt_hosts = hosts;
	return 0;
}

int forward_init(struct forward *f, const struct dp_conf *conf,
	const struct dp_events *events, const struct forward_out *out, uint64_t secret)
{
	memset(f, 0, sizeof *f);
	f->events = *events;
	f->out = *out;
	f->mtu[LINK_PRIVATE] = f->mtu[LINK_PUBLIC] = 1500;
	f->ike_only_host = conf->ike_only_host;
	f->next_id = (uint16_t)(secret >> 48);
	int err = copy_pools(f, conf);
	err = err ? err : copy_napt(f, conf);
	err = err ? err
		  : copy_sorted(&f->tunnel_ends, &f->n_tunnel_ends, conf->tunnel_ends,
			    conf->n_tunnel_ends);
	err = err ? err : tables_init(&f->tables, conf->ike_mappings, secret);
	err = err ? err : reasm_init(&f->outer, secret);
	err = err ? err : reasm_init(&f->inner, secret);
	if (err)
		forward_fini(f);
	return err;
}

void forward_fini(struct forward *f)
{
	tables_fini(&f->tables);
	reasm_fini(&f->outer);
	reasm_fini(&f->inner);
	free(f->pools);
	free(f->ports);
	free(f->napt_hosts);
	free(f->tunnel_ends);
	free(f->local);
	memset(f, 0, sizeof *f);
}

int forward_set_local(struct forward *f, const uint32_t *addresses, size_t n)
{
	return copy_sorted(&f->local, &f->n_local, addresses, n);
}

bool forward_is_local(const struct forward *f, uint32_t addr)
{
	return has_addr(f->local, f->n_local, addr);
}

bool forward_is_napt(const struct forward *f, uint32_t addr)
{
	return f->napt.n_hosts > 0 && f->napt.address == addr && addr != 0;
}

const struct forward_pool *forward_pool_of(const struct forward *f, uint32_t addr)
{
	size_t lo = 0, hi = f->n_pools;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (f->pools[mid].addresses.addr <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo > 0 && prefix_has(&f->pools[lo - 1].addresses, addr) ? &f->pools[lo - 1]
								       : NULL;
}

bool forward_is_tunnel_end(const struct forward *f, uint32_t addr)
{
	return f->n_tunnel_ends ? has_addr(f->tunnel_ends, f->n_tunnel_ends, addr)
				: forward_is_local(f, addr);
}

void forward_unsent(struct forward *f, enum forward_link link)
{
	enum dp_direction dir = link == LINK_PRIVATE ? DP_IN : DP_OUT;

	f->stats.dropped[dir][DP_NO_ROUTE]++;
}

/* Realm of a fragment: the host it came from, 0 for the public link. */
static void tell_timeout(
	struct forward *f, const struct reasm_gone *gone, uint64_t now_ms)
{
	struct pass s = { .f = f, .now_ms = now_ms, .dir = gone->realm ? DP_OUT : DP_IN };
	uint8_t head[68];

	pass_drop(&s, DP_FRAG_TIMEOUT);
	/* Only to the public side: a host's own fragments were lost on its own link. */
	if (gone->realm || !gone->head || gone->head_len > sizeof head)
		return;
	memcpy(head, gone->head, gone->head_len);
	s.p = head;
	if (ip4_parse(head, head + gone->head_len, true, &s.ip)) {
		s.ip.len = (uint16_t)gone->head_len;
		pass_icmp(&s, ICMP_TIME_EXCEEDED, ICMP_REASSEMBLY, 0);
	}
}

static void sweep_fragments(struct forward *f, struct reasm *r, uint64_t now_ms)
{
	struct reasm_gone gone;

	while (reasm_expire(r, now_ms, &gone))
		tell_timeout(f, &gone, now_ms);
}

void forward_sweep(struct forward *f, uint64_t now_ms)
{
	if (now_ms < f->swept_ms + SWEEP_MS)
		return;
	f->swept_ms = now_ms;
	sweep_fragments(f, &f->outer, now_ms);
	sweep_fragments(f, &f->inner, now_ms);
	for (int k = 0; k < LEARNED_KINDS; k++)
		learned_expire(&f->tables.learned[k], now_ms, SWEEP_MOST);
}

static bool has_timers(const struct forward *f)
{
	const struct learned_table *t = f->tables.learned;

	return reasm_deadline(&f->outer) != UINT64_MAX ||
	       reasm_deadline(&f->inner) != UINT64_MAX ||
	       !TAILQ_EMPTY(&t[LEARNED_IKE].young) ||
	       !TAILQ_EMPTY(&t[LEARNED_QUERY].young);
}

uint64_t forward_deadline(const struct forward *f)
{
	return has_timers(f) ? f->swept_ms + SWEEP_MS : UINT64_MAX;
}

void forward_stats(const struct forward *f, struct dp_stats *out)
{
	const struct learned_table *ike = &f->tables.learned[LEARNED_IKE];

	*out = f->stats;
	out->cookies_answered = ike->n_settled;
	out->cookies_halfopen = ike->keys.n - ike->n_settled;
	out->dropped[DP_IN][DP_FRAG_LIMIT] += f->inner.evicted;
	out->dropped[DP_OUT][DP_FRAG_LIMIT] += f->outer.evicted;
}
