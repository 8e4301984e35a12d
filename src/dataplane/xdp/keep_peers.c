/*
 * Peers' SPIs in the kernel: what the slow path learned and forgot, in the buckets that
 * maps.h describes.  One that finds both of its buckets full stays the slow path's.
 */
#include "dataplane/xdp/keep.h"

#include "dataplane/core/tunnel.h"
#include "dataplane/core/verdict.h"

#include <stdlib.h>

/* NOLINTNEXTLINE(readability-non-const-parameter): the builtin writes there */
static void store(uint64_t *at, uint64_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

struct key {
	uint64_t peer_spi;
	uint32_t place_proto;
};

static struct maps_peers *bucket_of(
	const struct keep *k, const struct key *key, uint32_t which)
{
	return &k->peer[maps_peer_bucket(
		key->peer_spi, key->place_proto, k->conf->odd, which)];
}

/* The way of a key, or of a free place (key NULL); -1: none. */
static int find_in(const struct maps_peers *b, const struct key *key)
{
	for (int i = 0; i < MAPS_PEER_WAYS; i++) {
		if (!key ? b->peer_spi[i] == 0
			 : b->peer_spi[i] == key->peer_spi &&
					b->place_proto[i] == key->place_proto)
			return i;
	}
	return -1;
}

static struct maps_peers *find(const struct keep *k, const struct key *key, int *way)
{
	struct maps_peers *b = bucket_of(k, key, 0);

	*way = find_in(b, key);
	if (*way < 0) {
		b = bucket_of(k, key, 1);
		*way = find_in(b, key);
	}
	return b;
}

static void put(struct keep *k, const struct key *key, maps_life life)
{
	int way;
	struct maps_peers *b = find(k, key, &way);

	for (uint32_t which = 0; which < 2 && way < 0; which++) {
		b = bucket_of(k, key, which);
		way = find_in(b, NULL);
		if (way < 0)
			continue;
		store(&b->life[way], 0);
		KEEP_ONCE(b->place_proto[way]) = key->place_proto;
		store(&b->peer_spi[way], key->peer_spi);
	}
	if (way >= 0)
		store(&b->life[way], life);
}

static void clear(struct maps_peers *b, int way)
{
	store(&b->life[way], 0);
	store(&b->peer_spi[way], 0);
}

void keep_out_spi(struct keep *k, const struct learned *e, bool there)
{
	uint32_t place;
	int way;

	if (!keep_place_of(k, e->key.nb, &place))
		return;
	const struct key key = { MAPS_PEER_SPI(e->key.a, e->key.c),
		MAPS_PLACE_PROTO(place, e->key.b) };
	struct maps_peers *b = find(k, &key, &way);
	if (there && e->owner->mark)
		put(k, &key, e->owner->mark);
	else if (way >= 0)
		clear(b, way);
}

void keep_out_spis(struct keep *k, const struct tlease *l)
{
	const struct learned *e;

	for (e = TAILQ_FIRST(&l->learned[LEARNED_SPI].list); e;
		e = TAILQ_NEXT(e, by_owner))
		keep_out_spi(k, e, true);
}

/* --- what a predecessor left --- */

struct tlease *keep_owner_of(const struct keep *k, const struct tables *t, uint32_t nb,
	uint32_t peer, maps_life life)
{
	const struct flow flow = { .kind = FLOW_SPI };
	const struct maps_hop *h = &k->hop[keep_hop_of(k, life)];
	const struct tpair *pair = tables_pair(t, BE32(h->dst), nb);
	struct tlease *l = pair ? LIST_FIRST(&pair->leases) : NULL;

	while (l && ((l->method != METHOD_RSIPSEC && l->method != METHOD_RSA_IP) ||
			    l->tunnel != tunnel_of_proto(h->proto) ||
			    verdict_remote(&l->remote, peer, &flow, 0) != DP_OK))
		l = LIST_NEXT(l, of_pair);
	return l;
}

/* Learned again, so that errors that quote it find their host; else it goes. */
static void settle(
	struct keep *k, struct tables *t, struct maps_peers *b, int way, uint64_t now_ms)
{
	const struct learned_key key = {
		keep_address_at(k, b->place_proto[way] >> 8),
		(uint32_t)(b->peer_spi[way] >> 32),
		b->place_proto[way] & 0xff,
		(uint32_t)b->peer_spi[way],
	};
	struct tlease *l = keep_owner_of(k, t, key.nb, key.a, b->life[way]);

	if (!l || !learned_refresh(&t->learned[LEARNED_SPI], &key, l, key.a, now_ms))
		clear(b, way);
}

void keep_settle_peers(struct keep *k, struct tables *t, uint64_t now_ms)
{
	for (uint32_t i = 0; i < 1U << MAPS_PEER_BITS; i++)
		for (int way = 0; way < MAPS_PEER_WAYS; way++)
			if (k->peer[i].peer_spi[way])
				settle(k, t, &k->peer[i], way, now_ms);
}
