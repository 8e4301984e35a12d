/*
 * Next hops of the programs: one for each host with a lease and each tunnel that it is
 * reached by, by its number in the lease's life, and one for each destination on the
 * public side, by the buckets of `route`.
 */
#include "dataplane/xdp/keep.h"

#include "dataplane/core/tunnel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_MOST 4096U /* hops that are asked for at once, each by netlink */

static struct keep_hop *hop_find(
	const struct keep *k, enum forward_link link, uint32_t dst)
{
	const uint32_t key[] = { link, dst };

	return htab_find(&k->hops, key);
}

/* --- records --- */

/* The link addresses; to NULL: not known. */
static void write_addresses(
	struct keep *k, uint32_t index, const uint8_t *to, const uint8_t *from)
{
	struct maps_hop *h = &k->hop[index];
	uint8_t valid = (uint8_t)(h->change + 1);

	if (to && h->valid && memcmp(h->to, to, sizeof h->to) == 0 &&
		memcmp(h->from, from, sizeof h->from) == 0)
		return;
	__atomic_store_n(&h->valid, 0, __ATOMIC_SEQ_CST);
	if (!to)
		return;
	memcpy(h->to, to, sizeof h->to);
	memcpy(h->from, from, sizeof h->from);
	h->change = valid ? valid : 1;
	__atomic_store_n(&h->valid, h->change, __ATOMIC_RELEASE);
}

/* What a tunnel's header has in every packet, and the sum of it. */
static void write_tunnel(
	struct keep *k, const struct keep_hop *e, const struct keep_way *w, uint16_t mtu)
{
	struct maps_hop *h = &k->hop[w->index];
	const struct ip4 ip = { .src = w->gateway,
		.dst = e->dst,
		.proto = w->tunnel == TUNNEL_GRE    ? IP4_GRE
			 : w->tunnel == TUNNEL_IPIP ? IP4_IPIP
						    : 0,
		.ttl = TUNNEL_TTL };

	h->frozen = 0;
	h->src = BE32(ip.src);
	h->dst = BE32(ip.dst);
	h->proto = ip.proto;
	h->mtu = mtu;
	h->sum = csum_fold_raw(
		(uint64_t)h->src + h->dst + BE16((uint16_t)(ip.ttl << 8 | ip.proto)));
}

static void forget_addresses(struct keep *k, const struct keep_hop *e)
{
	for (const struct keep_way *w = e->ways; w; w = w->next)
		write_addresses(k, w->index, NULL, NULL);
}

/* --- ways --- */

static struct keep_hop *hop_new(struct keep *k, enum forward_link link, uint32_t dst)
{
	struct keep_hop *e = calloc(1, sizeof *e);

	if (!e)
		return NULL;
	e->link = link;
	e->dst = dst;
	htab_add(&k->hops, e);
	k->n_public += link == LINK_PUBLIC;
	return e;
}

static void hop_drop(struct keep *k, struct keep_hop *e)
{
	k->n_public -= e->link == LINK_PUBLIC;
	htab_del(&k->hops, e);
	free(e);
}

static struct keep_way *way_find(
	const struct keep_hop *e, uint32_t gateway, uint8_t tunnel)
{
	struct keep_way *w = e->ways;

	while (w && (w->gateway != gateway || w->tunnel != tunnel))
		w = w->next;
	return w;
}

static struct keep_way *way_new(
	struct keep_hop *e, uint32_t index, uint32_t gateway, uint8_t tunnel)
{
	struct keep_way *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	w->index = index;
	w->gateway = gateway;
	w->tunnel = tunnel;
	w->next = e->ways;
	e->ways = w;
	return w;
}

/* A way that is new, with the addresses of its like. */
static struct keep_way *way_add(struct keep *k, struct keep_hop *e, uint32_t gateway,
	uint8_t tunnel, uint16_t mtu)
{
	const struct keep_way *like = e->ways;
	uint32_t index = keep_take(&k->free_hop);
	struct keep_way *w =
		index == UINT32_MAX ? NULL : way_new(e, index, gateway, tunnel);

	if (!w) {
		if (index != UINT32_MAX)
			keep_give(&k->free_hop, index);
		return NULL;
	}
	write_addresses(k, index, NULL, NULL);
	write_tunnel(k, e, w, mtu);
	if (like && k->hop[like->index].valid)
		write_addresses(
			k, index, k->hop[like->index].to, k->hop[like->index].from);
	return w;
}

static void way_drop(struct keep *k, struct keep_hop *e, struct keep_way *w)
{
	struct keep_way **at = &e->ways;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	write_addresses(k, w->index, NULL, NULL);
	KEEP_ONCE(k->hop[w->index].dst) = 0;
	keep_give(&k->free_hop, w->index);
	free(w);
	if (!e->ways)
		hop_drop(k, e);
}

uint32_t keep_way_take(struct keep *k, uint32_t host, uint32_t gateway,
	enum tunnel_type tunnel, uint16_t mtu)
{
	struct keep_hop *e = hop_find(k, LINK_PRIVATE, host);

	if (!e)
		e = hop_new(k, LINK_PRIVATE, host);
	if (!e)
		return 0;
	struct keep_way *w = way_find(e, gateway, (uint8_t)tunnel);
	if (!w)
		w = way_add(k, e, gateway, (uint8_t)tunnel, mtu);
	if (!w) {
		if (!e->ways)
			hop_drop(k, e);
		return 0;
	}
	KEEP_ONCE(k->hop[w->index].mtu) = mtu;
	w->users++;
	return w->index;
}

/* The entry of a private way. */
static struct keep_way *way_at(
	const struct keep *k, uint32_t index, struct keep_hop **hop)
{
	struct keep_hop *e =
		index ? hop_find(k, LINK_PRIVATE, BE32(k->hop[index].dst)) : NULL;
	struct keep_way *w = e ? e->ways : NULL;

	while (w && w->index != index)
		w = w->next;
	*hop = e;
	return w;
}

void keep_way_leave(struct keep *k, uint32_t index)
{
	struct keep_hop *e;
	struct keep_way *w = way_at(k, index, &e);

	if (w && --w->users == 0)
		way_drop(k, e, w);
}

void keep_freeze(struct keep *k, uint32_t index, bool frozen)
{
	if (index)
		__atomic_store_n(&k->hop[index].frozen, frozen, __ATOMIC_SEQ_CST);
}

void keep_path(struct keep *k, uint32_t host, uint16_t mtu)
{
	const struct keep_hop *e = hop_find(k, LINK_PRIVATE, host);

	for (const struct keep_way *w = e ? e->ways : NULL; w; w = w->next)
		KEEP_ONCE(k->hop[w->index].mtu) = mtu;
}

/* --- destinations --- */

static struct maps_routes *route_bucket(const struct keep *k, uint32_t dst)
{
	return &k->route[maps_route_bucket(dst, k->conf->seed)];
}

static void route_del(struct keep *k, uint32_t dst)
{
	struct maps_routes *b = route_bucket(k, dst);

	for (int i = 0; i < MAPS_ROUTE_WAYS; i++)
		if (b->way[i] && b->way[i] >> 32 == dst)
			__atomic_store_n(&b->way[i], 0, __ATOMIC_RELEASE);
}

static void public_drop(struct keep *k, struct keep_hop *e)
{
	route_del(k, e->dst);
	way_drop(k, e, e->ways);
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
	for (uint32_t i = 0; i < l.n; i++)
		public_drop(k, l.at[i]);
	free(l.at);
}

/* A place in the bucket; in a full one that of a destination that is not in use. */
static uint64_t *route_place(struct keep *k, uint32_t dst)
{
	struct maps_routes *b = route_bucket(k, dst);
	int at = (int)(dst % MAPS_ROUTE_WAYS);

	for (int i = 0; i < MAPS_ROUTE_WAYS; i++)
		if (b->way[i] == 0)
			return &b->way[i];
	for (int i = 0; i < MAPS_ROUTE_WAYS; i++)
		if (!k->hop[(uint32_t)b->way[i] % MAPS_HOPS].used)
			at = i;
	struct keep_hop *e = hop_find(k, LINK_PUBLIC, (uint32_t)(b->way[at] >> 32));
	if (e)
		public_drop(k, e);
	return &b->way[at];
}

static struct keep_hop *public_hop(struct keep *k, uint32_t dst)
{
	if (k->n_public >= MAPS_ROUTES)
		public_flush(k);
	struct keep_hop *e = hop_new(k, LINK_PUBLIC, dst);
	if (!e)
		return NULL;
	const struct keep_way *w = way_add(k, e, 0, 0, 0);
	if (!w) {
		hop_drop(k, e);
		return NULL;
	}
	__atomic_store_n(
		route_place(k, dst), (uint64_t)dst << 32 | w->index, __ATOMIC_RELEASE);
	return e;
}

/* --- the links' news --- */

void keep_hop(struct keep *k, enum forward_link link, uint32_t dst, const uint8_t to[6])
{
	struct keep_hop *e = hop_find(k, link, dst);
	const uint8_t *from = (const uint8_t *)&k->conf->mac[link];

	if (!e && link == LINK_PUBLIC)
		e = public_hop(k, dst);
	for (const struct keep_way *w = e ? e->ways : NULL; w; w = w->next)
		write_addresses(k, w->index, to, from);
}

static void on_no_hop(void *entry, void *ctx)
{
	forget_addresses(ctx, entry);
}

struct find_call {
	struct keep *k;
	keep_find *fn;
	void *ctx;
};

static void find_again(const struct find_call *c, const struct keep_hop *e)
{
	if (!c->fn(c->ctx, (enum forward_link)e->link, e->dst))
		forget_addresses(c->k, e);
}

static void on_check(void *entry, void *ctx)
{
	const struct keep_hop *e = entry;
	const struct find_call *c = ctx;

	if (e->ways && c->k->hop[e->ways->index].valid)
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
	bool used = false;

	for (const struct keep_way *w = e->ways; w; w = w->next) {
		struct maps_hop *h = &c->k->hop[w->index];

		used |= h->valid && KEEP_ONCE(h->used);
		KEEP_ONCE(h->used) = 0;
	}
	if (used)
		find_again(c, e);
}

void keep_used_hops(struct keep *k, keep_find *fn, void *ctx)
{
	struct find_call c = { k, fn, ctx };

	htab_each(&k->hops, on_used, &c);
}

/* --- what a predecessor left --- */

static void way_left(struct keep *k, enum forward_link link, uint32_t index)
{
	struct maps_hop *h = &k->hop[index];
	uint32_t dst = BE32(h->dst), gateway = BE32(h->src);
	uint8_t tunnel = (uint8_t)tunnel_of_proto(h->proto);
	struct keep_hop *e = hop_find(k, link, dst);

	if (!e)
		e = hop_new(k, link, dst);
	if (!e || way_find(e, gateway, tunnel) || !way_new(e, index, gateway, tunnel))
		KEEP_ONCE(h->valid) = 0; /* as if it had never been known */
	if (e && !e->ways)
		hop_drop(k, e);
	KEEP_ONCE(h->frozen) = 0;
}

static void take_routes(struct keep *k)
{
	for (uint32_t i = 0; i < 1U << MAPS_ROUTE_BITS; i++) {
		for (int j = 0; j < MAPS_ROUTE_WAYS; j++) {
			uint64_t *at = &k->route[i].way[j];
			uint32_t index = (uint32_t)*at, dst = (uint32_t)(*at >> 32);

			if (*at && index && index < MAPS_HOPS &&
				k->hop[index].dst == BE32(dst) &&
				!hop_find(k, LINK_PUBLIC, dst))
				way_left(k, LINK_PUBLIC, index);
			else if (*at)
				__atomic_store_n(at, 0, __ATOMIC_RELEASE);
		}
	}
}

void keep_take_ways(struct keep *k)
{
	for (uint32_t i = 1; i < MAPS_HOPS; i++)
		if (k->hop[i].dst && k->hop[i].proto)
			way_left(k, LINK_PRIVATE, i);
	take_routes(k);
}

void keep_settle_ways(struct keep *k)
{
	for (uint32_t i = 1; i < MAPS_HOPS; i++) {
		struct keep_hop *e;
		struct keep_way *w = k->hop[i].proto ? way_at(k, i, &e) : NULL;

		if (w && w->users == 0)
			way_drop(k, e, w);
	}
}

static void on_taken(void *entry, void *ctx)
{
	const struct keep_hop *e = entry;
	uint8_t *taken = ctx;

	for (const struct keep_way *w = e->ways; w; w = w->next)
		taken[w->index] = 1;
}

int keep_free_hops(struct keep *k)
{
	uint8_t *taken = calloc(MAPS_HOPS, 1);

	if (!taken)
		return -ENOMEM;
	htab_each(&k->hops, on_taken, taken);
	for (uint32_t i = 1; i < MAPS_HOPS; i++)
		if (!taken[i])
			keep_give(&k->free_hop, i);
	free(taken);
	return 0;
}
