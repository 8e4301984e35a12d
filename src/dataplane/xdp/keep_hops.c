/*
 * Next hops of the programs: one for each host with a lease, by its number in the lease's
 * record, and one for each destination on the public side, by the hash `routes`.
 */
#include "dataplane/xdp/keep.h"

#include <bpf/bpf.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_MOST 4096U /* hops that are asked for at once, each by netlink */

#define ONCE(x)    (*(volatile __typeof__(x) *)&(x))

static struct keep_hop *hop_find(
	const struct keep *k, enum forward_link link, uint32_t dst)
{
	const uint32_t key[] = { link, dst };

	return htab_find(&k->hops, key);
}

static void hop_write(struct keep *k, uint32_t index, const struct maps_hop *to)
{
	struct maps_hop *h = &k->hop[index];
	uint8_t valid = (uint8_t)(h->reserved + 1);

	if (to->valid && h->valid && memcmp(h, to, sizeof h->to + sizeof h->from) == 0)
		return;
	__atomic_store_n(&h->valid, 0, __ATOMIC_SEQ_CST);
	memcpy(h, to, sizeof h->to + sizeof h->from);
	h->reserved = valid ? valid : 1;
	if (to->valid)
		__atomic_store_n(&h->valid, (uint8_t)h->reserved, __ATOMIC_RELEASE);
}

static struct keep_hop *hop_new(struct keep *k, enum forward_link link, uint32_t dst)
{
	struct keep_hop *e = k->n_free_hop ? calloc(1, sizeof *e) : NULL;

	if (!e)
		return NULL;
	e->link = link;
	e->dst = dst;
	e->index = k->free_hop[--k->n_free_hop];
	hop_write(k, e->index, &k->none);
	htab_add(&k->hops, e);
	return e;
}

static void hop_free(struct keep *k, struct keep_hop *e)
{
	hop_write(k, e->index, &k->none);
	k->free_hop[k->n_free_hop++] = e->index;
	htab_del(&k->hops, e);
	free(e);
}

uint16_t keep_hop_take(struct keep *k, uint32_t host)
{
	struct keep_hop *e = hop_find(k, LINK_PRIVATE, host);

	if (!e)
		e = hop_new(k, LINK_PRIVATE, host);
	if (!e)
		return 0;
	e->users++;
	return (uint16_t)e->index;
}

void keep_hop_leave(struct keep *k, uint32_t host)
{
	struct keep_hop *e = hop_find(k, LINK_PRIVATE, host);

	if (e && --e->users == 0)
		hop_free(k, e);
}

struct hop_list {
	struct keep_hop **at;
	uint32_t n;
};

static void on_public(void *entry, void *ctx)
{
	struct keep_hop *e = entry;
	struct hop_list *l = ctx;

	if (e->link == LINK_PUBLIC)
		l->at[l->n++] = e;
}

/* Too many destinations: all are learned anew. */
static void public_flush(struct keep *k)
{
	struct hop_list l = { calloc(k->hops.n + 1, sizeof(struct keep_hop *)), 0 };

	if (!l.at)
		return;
	htab_each(&k->hops, on_public, &l);
	for (uint32_t i = 0; i < l.n; i++) {
		(void)bpf_map_delete_elem(k->routes, &l.at[i]->dst);
		hop_free(k, l.at[i]);
	}
	free(l.at);
}

static struct keep_hop *public_hop(struct keep *k, uint32_t dst)
{
	struct keep_hop *e = hop_new(k, LINK_PUBLIC, dst);

	if (!e || bpf_map_update_elem(k->routes, &dst, &e->index, BPF_ANY)) {
		if (e)
			hop_free(k, e);
		public_flush(k);
		return NULL; /* the next packet */
	}
	return e;
}

void keep_hop(struct keep *k, enum forward_link link, uint32_t dst, const uint8_t to[6])
{
	struct keep_hop *e = hop_find(k, link, dst);
	struct maps_hop hop = { .valid = 1 };

	if (!e && link == LINK_PUBLIC)
		e = public_hop(k, dst);
	if (!e)
		return;
	memcpy(hop.to, to, sizeof hop.to);
	memcpy(hop.from, k->conf->mac[link], sizeof hop.from);
	hop_write(k, e->index, &hop);
}

static void on_no_hop(void *entry, void *ctx)
{
	struct keep *k = ctx;

	hop_write(k, ((struct keep_hop *)entry)->index, &k->none);
}

struct find_call {
	struct keep *k;
	keep_find *fn;
	void *ctx;
};

static void find_again(const struct find_call *c, const struct keep_hop *e)
{
	if (!c->fn(c->ctx, (enum forward_link)e->link, e->dst))
		hop_write(c->k, e->index, &c->k->none);
}

static void on_check(void *entry, void *ctx)
{
	const struct keep_hop *e = entry;
	const struct find_call *c = ctx;

	if (c->k->hop[e->index].valid)
		find_again(c, e);
}

void keep_check_hops(struct keep *k, keep_find *fn, void *ctx)
{
	struct find_call c = { k, fn, ctx };

	if (k->hops.n > CHECK_MOST)
		htab_each(&k->hops, on_no_hop, k);
	else
		htab_each(&k->hops, on_check, &c);
}

static void on_used(void *entry, void *ctx)
{
	const struct keep_hop *e = entry;
	const struct find_call *c = ctx;
	struct maps_hop *h = &c->k->hop[e->index];

	if (!h->valid || !ONCE(h->used))
		return;
	ONCE(h->used) = 0;
	find_again(c, e);
}

void keep_used_hops(struct keep *k, keep_find *fn, void *ctx)
{
	struct find_call c = { k, fn, ctx };

	htab_each(&k->hops, on_used, &c);
}

struct keep_hop *keep_hop_left(
	struct keep *k, enum forward_link link, uint32_t dst, uint32_t index)
{
	struct keep_hop *e = hop_find(k, link, dst);

	if (e || index == 0 || index >= MAPS_HOPS)
		return e;
	e = calloc(1, sizeof *e);
	if (!e)
		return NULL;
	e->link = link;
	e->dst = dst;
	e->index = index;
	htab_add(&k->hops, e);
	return e;
}

void keep_take_routes(struct keep *k)
{
	uint32_t dst, next, index, *before = NULL;

	while (bpf_map_get_next_key(k->routes, before, &next) == 0) {
		dst = next;
		before = &dst;
		if (bpf_map_lookup_elem(k->routes, &dst, &index) == 0)
			(void)keep_hop_left(k, LINK_PUBLIC, dst, index);
	}
}
