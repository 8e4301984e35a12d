/*
 * Publishes leases to the programs.  A record is written while its generation is 0, then
 * the generation, then the keys; an end is one store of 0, and keys go after it.
 */
#include "dataplane/xdp/keep.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PORTS      65536U
#define MOST_ADDRS 65536U
#define MOST_PORTS 256U  /* addresses with ports: 512 KiB each */
#define CHECK_MOST 4096U /* hops that are asked for at once, each by netlink */

#define ONCE(x)    (*(volatile __typeof__(x) *)&(x))

/* NOLINTNEXTLINE(readability-non-const-parameter): the builtin writes there */
static void store_mark(maps_mark *at, maps_mark mark)
{
	__atomic_store_n(at, mark, __ATOMIC_RELEASE);
}

/* --- sizes --- */

static void measure_prefixes(struct keep *k, const struct forward *f)
{
	struct maps_conf *c = &k->measured;

	for (size_t i = 0; i < f->n_pools && c->n_prefixes < MAPS_PREFIXES; i++) {
		const struct prefix4 *p = &f->pools[i].addresses;
		uint32_t n = p->len == 0 ? UINT32_MAX : 1U << (32 - p->len);

		if (n > MOST_ADDRS - k->n_addrs)
			continue; /* left to the slow path */
		c->prefix[c->n_prefixes++] =
			(struct maps_prefix){ p->addr, prefix_mask(p->len), k->n_addrs };
		k->n_addrs += n;
	}
}

void keep_measure(struct keep *k, const struct forward *f, size_t leases)
{
	k->forward = f;
	k->n_leases = leases ? (uint32_t)leases : KEEP_LEASES;
	measure_prefixes(k, f);
	k->n_ports = k->n_addrs < MOST_PORTS ? k->n_addrs : MOST_PORTS;
	if (k->n_addrs == 0)
		k->n_addrs = k->n_ports = 1;
	k->n_buckets = 1024;
	while (k->n_buckets < k->n_leases / 2)
		k->n_buckets *= 2;
}

static bool place_of(const struct keep *k, uint32_t addr, uint32_t *place)
{
	const struct maps_conf *c = k->conf;

	for (uint32_t i = 0; i < c->n_prefixes; i++) {
		if ((addr & c->prefix[i].mask) == c->prefix[i].addr) {
			*place = c->prefix[i].place + (addr & ~c->prefix[i].mask);
			return true;
		}
	}
	return false;
}

/* --- SPIs --- */

static struct maps_bucket *bucket_of(const struct keep *k, uint64_t key)
{
	return &k->bucket[maps_spi_bucket(key, k->conf->seed, k->n_buckets - 1)];
}

/* False: the bucket is full. */
static bool spi_put(struct keep *k, uint64_t key, maps_mark mark)
{
	struct maps_bucket *b = bucket_of(k, key);
	struct maps_spi *room = NULL;

	for (int i = 0; i < MAPS_WAYS; i++) {
		if (b->way[i].key == key) {
			store_mark(&b->way[i].mark, mark);
			return true;
		}
		if (b->way[i].key == 0 && !room)
			room = &b->way[i];
	}
	if (!room)
		return false;
	store_mark(&room->mark, mark);
	__atomic_store_n(&room->key, key, __ATOMIC_RELEASE);
	return true;
}

static void spi_del(struct keep *k, uint64_t key, maps_mark mark)
{
	struct maps_bucket *b = bucket_of(k, key);

	for (int i = 0; i < MAPS_WAYS; i++) {
		if (b->way[i].key != key || b->way[i].mark != mark)
			continue;
		store_mark(&b->way[i].key, 0);
		store_mark(&b->way[i].mark, 0);
	}
}

/* Put (mark is the lease's) or delete each block; false when one found no room. */
static bool spis_each(struct keep *k, uint32_t place, const struct range *r, size_t n,
	maps_mark mark, bool there)
{
	bool all = true;

	for (size_t i = 0; i < n; i++) {
		for (uint64_t lo = r[i].lo, hi = r[i].hi; lo <= hi;) {
			unsigned int len = tables_block_at(lo, hi);
			uint64_t key = maps_spi_key((uint32_t)lo, place, len);

			if (there)
				all = spi_put(k, key, mark) && all;
			else
				spi_del(k, key, mark);
			lo += 1ULL << (32 - len);
		}
	}
	return all;
}

/* --- addresses --- */

/* The block sizes of an address, the smallest blocks first; false when too many. */
static bool take_sizes(struct maps_addr *m, const struct taddr *a)
{
	uint8_t size[MAPS_SIZES];
	int n = 0;

	memset(size, MAPS_NO_SIZE, sizeof size);
	for (int len = 32; len >= 0; len--) {
		if (!(a->block_sizes >> len & 1))
			continue;
		if (n < MAPS_SIZES)
			size[n] = (uint8_t)len;
		n++;
	}
	for (int i = 0; i < MAPS_SIZES; i++)
		ONCE(m->size[i]) = size[i];
	return n <= MAPS_SIZES;
}

static void take_ports(struct keep *k, struct maps_addr *m, const struct taddr *a)
{
	if (a->port && m->ports == 0) {
		if (k->n_free_port)
			ONCE(m->ports) = k->free_port[--k->n_free_port] + 1;
		else
			m->flags |= MAPS_PARTIAL;
	} else if (!a->port && m->ports != 0) {
		k->free_port[k->n_free_port++] = m->ports - 1;
		ONCE(m->ports) = 0;
	}
}

/* An address as it is now. */
static void addr_take(struct keep *k, uint32_t place, uint32_t address)
{
	static const struct taddr nothing;
	const struct taddr *a = tables_address(&k->forward->tables, address);
	struct maps_addr *m = &k->addr[place];

	take_ports(k, m, a ? a : &nothing);
	if (!take_sizes(m, a ? a : &nothing))
		m->flags |= MAPS_PARTIAL;
	store_mark(&m->whole, a && a->whole ? a->whole->mark : 0);
	ONCE(m->flags) = a ? m->flags | MAPS_LEASED : m->flags & MAPS_LOCAL;
}

static void set_local(struct keep *k)
{
	const struct forward *f = k->forward;
	uint32_t place;

	for (uint32_t i = 0; i < k->n_addrs; i++)
		if (k->addr[i].flags & MAPS_LOCAL)
			ONCE(k->addr[i].flags) = k->addr[i].flags & ~(uint32_t)MAPS_LOCAL;
	for (size_t i = 0; i < f->n_local; i++)
		if (place_of(k, f->local[i], &place))
			ONCE(k->addr[place].flags) = k->addr[place].flags | MAPS_LOCAL;
	if (f->napt.n_hosts && place_of(k, f->napt.address, &place))
		ONCE(k->addr[place].flags) = k->addr[place].flags | MAPS_LOCAL;
}

void keep_conf(struct keep *k, const uint8_t mac[LINKS][6])
{
	const struct forward *f = k->forward;
	struct maps_conf *c = k->conf;
	const uint32_t *ends = f->n_tunnel_ends ? f->tunnel_ends : f->local;
	size_t n = f->n_tunnel_ends ? f->n_tunnel_ends : f->n_local;

	/* Those that find no room go the slow way. */
	ONCE(c->n_ends) = 0;
	for (size_t i = 0; i < n && i < MAPS_ENDS; i++)
		c->end[i] = ends[i];
	__atomic_store_n(
		&c->n_ends, n < MAPS_ENDS ? (uint32_t)n : MAPS_ENDS, __ATOMIC_RELEASE);
	for (int i = 0; i < LINKS; i++) {
		ONCE(c->mtu[i]) = f->mtu[i];
		memcpy(c->mac[i], mac[i], sizeof mac[i]);
	}
	set_local(k);
}

/* --- leases --- */

/* Ports of the pool only: on an address of its own the rest is the gateway's. */
static bool is_ours(const struct forward_pool *pool, uint32_t port)
{
	return pool && ranges_have(pool->ports, pool->n_ports, port);
}

/* Ports as the tables have them now, whoever held them. */
static void ports_take(
	struct keep *k, uint32_t place, uint32_t address, const struct range *r, size_t n)
{
	const struct taddr *a = tables_address(&k->forward->tables, address);
	const struct forward_pool *pool = forward_pool_of(k->forward, address);
	uint32_t ports = k->addr[place].ports;

	if (ports == 0)
		return;
	maps_mark *at = k->port + (size_t)(ports - 1) * PORTS;
	for (size_t i = 0; i < n; i++) {
		for (uint32_t p = r[i].lo; p <= r[i].hi; p++) {
			const struct tlease *l =
				a ? tables_by_port(a, (uint16_t)p) : NULL;

			store_mark(&at[p], l && is_ours(pool, p) ? l->mark : 0);
		}
	}
}

static uint32_t next_generation(struct keep *k)
{
	uint32_t *last = &k->addr[0].generation;

	*last = *last + 1 ? *last + 1 : 1;
	return *last;
}

static uint32_t expiry(uint64_t ms)
{
	return ms >> 6 >= UINT32_MAX ? UINT32_MAX : (uint32_t)(ms >> 6);
}

/* Of a name's addresses a record has the first; user space knows the others. */
static uint8_t flags_of(const struct tlease *l)
{
	bool more = l->shares || l->remote.n_more > 0;
	unsigned int flags = (l->method == METHOD_RSIPSEC ? MAPS_IPSEC : 0U) |
			     (more ? MAPS_SHARES : 0U);

	return (uint8_t)(flags << 4 | (unsigned int)l->tunnel);
}

/* Write a record unless it is so already. */
static void record_write(struct keep *k, uint32_t at, struct maps_lease want)
{
	struct maps_lease *r = &k->lease[at];

	if (memcmp(r, &want, sizeof want) == 0)
		return;
	__atomic_store_n(&r->generation, 0, __ATOMIC_SEQ_CST);
	uint32_t generation = want.generation;
	want.generation = 0;
	memcpy(r, &want, sizeof want);
	__atomic_store_n(&r->generation, generation, __ATOMIC_RELEASE);
}

static void record_end(struct keep *k, uint32_t at)
{
	uint32_t host = k->lease[at].host;

	__atomic_store_n(&k->lease[at].generation, 0, __ATOMIC_SEQ_CST);
	k->use[at] = KEEP_FREE;
	k->free_lease[k->n_free_lease++] = at;
	keep_hop_leave(k, host);
}

/* Where a predecessor had this lease's first key, a record of the same holder. */
static maps_mark left_mark(struct keep *k, uint32_t place, const struct tlease *l)
{
	const struct maps_addr *m = &k->addr[place];
	maps_mark mark = 0;

	if (l->method == METHOD_RSA_IP) {
		mark = m->whole;
	} else if (l->n_spis) {
		uint32_t lo = l->spis[0].lo;
		uint64_t key =
			maps_spi_key(lo, place, tables_block_at(lo, l->spis[0].hi));
		const struct maps_bucket *b = bucket_of(k, key);

		for (int i = 0; i < MAPS_WAYS; i++)
			if (b->way[i].key == key)
				mark = b->way[i].mark;
	} else if (l->n_ports && m->ports) {
		mark = k->port[(size_t)(m->ports - 1) * PORTS + l->ports[0].lo];
	}
	uint32_t at = (uint32_t)mark;
	const struct maps_lease *r = &k->lease[at < k->n_leases ? at : 0];
	bool same = mark && at < k->n_leases && k->use[at] == KEEP_LEFT &&
		    MAPS_MARK(at, r->generation) == mark && r->host == l->host &&
		    r->address == l->address;
	return same ? mark : 0;
}

/* A record for a lease that has none: a predecessor's, or a free one; 0: no room. */
static maps_mark record_take(struct keep *k, uint32_t place, const struct tlease *l)
{
	maps_mark mark = left_mark(k, place, l);

	if (mark) {
		k->use[(uint32_t)mark] = KEEP_LIVE;
		return mark;
	}
	if (k->n_free_lease == 0)
		return 0;
	uint32_t at = k->free_lease[--k->n_free_lease];
	k->use[at] = KEEP_LIVE;
	k->lease[at].host = l->host;
	k->lease[at].hop = keep_hop_take(k, l->host);
	return MAPS_MARK(at, next_generation(k));
}

static void record_fill(struct keep *k, const struct tlease *l, uint64_t expires_ms)
{
	uint32_t at = (uint32_t)l->mark;
	const struct thost *h = tables_host(&k->forward->tables, l->host);

	record_write(k, at,
		(struct maps_lease){
			.generation = (uint32_t)(l->mark >> 32),
			.host = l->host,
			.gateway = l->gateway,
			.address = l->address,
			.remote_addr = l->remote.addr,
			.remote_port = l->remote.port,
			.remote_flow = (uint8_t)l->remote.flow,
			.flags_tunnel = flags_of(l),
			.expires = expiry(expires_ms),
			.hop = k->lease[at].hop,
			.mtu = h ? h->mtu : 0,
		});
}

/* The leases of the same host on this address: one of them may share a port from now. */
static void mark_shares(struct keep *k, const struct tlease *l)
{
	const struct tpair *pair = tables_pair(&k->forward->tables, l->host, l->address);

	if (!l->shares || !pair)
		return;
	for (const struct tlease *o = LIST_FIRST(&pair->leases); o;
		o = LIST_NEXT(o, of_pair))
		if (o->mark)
			ONCE(k->lease[(uint32_t)o->mark].flags_tunnel) = flags_of(o);
}

/* A lease as the tables have it now.  Without room it stays the slow path's. */
static void publish(struct keep *k, struct tlease *l, const struct lease *from)
{
	uint32_t place;

	if (!place_of(k, l->address, &place))
		return;
	if (!l->mark)
		l->mark = record_take(k, place, l);
	if (l->mark)
		record_fill(k, l, from->expires_ms);
	addr_take(k, place, l->address);
	ports_take(k, place, l->address, l->ports, l->n_ports);
	if (!l->mark || !spis_each(k, place, l->spis, l->n_spis, l->mark, true))
		ONCE(k->addr[place].flags) = k->addr[place].flags | MAPS_PARTIAL;
	mark_shares(k, l);
}

/* After the tables changed: the mark and the keys of what is gone. */
static void withdraw(struct keep *k, maps_mark mark, const struct lease *was)
{
	uint32_t place;

	if (!place_of(k, was->address, &place))
		return;
	if (mark)
		record_end(k, (uint32_t)mark);
	ports_take(k, place, was->address, was->ports, was->n_ports);
	if (mark)
		(void)spis_each(k, place, was->spis, was->n_spis, mark, false);
	addr_take(k, place, was->address);
}

/* The keys of a lease, kept over a change of the tables. */
static bool copy_keys(const struct tlease *l, struct lease *to, struct range **ranges)
{
	struct range *r = malloc((l->n_ports + l->n_spis + 1) * sizeof *r);

	if (!r)
		return false;
	memcpy(r, l->ports, l->n_ports * sizeof *r);
	memcpy(r + l->n_ports, l->spis, l->n_spis * sizeof *r);
	*ranges = r;
	*to = (struct lease){ .bind_id = l->bind_id,
		.host = l->host,
		.address = l->address,
		.ports = r,
		.n_ports = l->n_ports,
		.spis = r + l->n_ports,
		.n_spis = l->n_spis };
	return true;
}

int keep_install(struct keep *k, struct tables *t, const struct lease *lease)
{
	struct tlease *l = tables_lease(t, lease->bind_id);
	maps_mark before = l ? l->mark : 0;
	struct range *ranges = NULL;
	struct lease was;

	if (l && !copy_keys(l, &was, &ranges))
		return -ENOMEM;
	int err = tables_install(t, lease);
	l = tables_lease(t, lease->bind_id);
	if (!err)
		publish(k, l, lease);
	if (ranges && (!l || l->mark != before))
		withdraw(k, before, &was);
	free(ranges);
	return err;
}

void keep_remove(struct keep *k, struct tables *t, uint32_t bind_id)
{
	struct tlease *l = tables_lease(t, bind_id);
	maps_mark before = l ? l->mark : 0;
	struct range *ranges = NULL;
	struct lease was;

	if (!l)
		return;
	bool copied = copy_keys(l, &was, &ranges);
	tables_remove(t, bind_id);
	if (copied)
		withdraw(k, before, &was);
	else if (before)
		record_end(k, (uint32_t)before);
	free(ranges);
}

void keep_path(struct keep *k, uint32_t host, uint16_t mtu)
{
	for (uint32_t i = 0; i < k->n_leases; i++)
		if (k->use[i] == KEEP_LIVE && k->lease[i].host == host)
			ONCE(k->lease[i].mtu) = mtu;
}

void keep_out_spi(struct keep *k, const struct learned *e, bool there)
{
	const struct maps_out_spi key = { e->key.nb, e->key.a, e->key.b, e->key.c };
	maps_mark mark = e->owner->mark;

	if (there && mark)
		(void)bpf_map_update_elem(k->out_spis, &key, &mark, BPF_ANY);
	else
		(void)bpf_map_delete_elem(k->out_spis, &key);
}

/* --- begin and end --- */

static void take_records(struct keep *k)
{
	for (uint32_t i = k->n_leases; i-- > 0;) {
		const struct maps_lease *r = &k->lease[i];

		if (r->generation == 0) {
			k->free_lease[k->n_free_lease++] = i;
			continue;
		}
		struct keep_hop *e = keep_hop_left(k, LINK_PRIVATE, r->host, r->hop);
		k->use[i] = KEEP_LEFT;
		if (e)
			e->users++;
	}
}

static void on_taken_hop(void *entry, void *ctx)
{
	uint8_t *taken = ctx;

	taken[((struct keep_hop *)entry)->index] = 1;
}

/* The numbers that are not taken, the lowest last. */
static int find_free(struct keep *k)
{
	uint8_t *taken = calloc(MAPS_HOPS, 1);

	if (!taken)
		return -ENOMEM;
	htab_each(&k->hops, on_taken_hop, taken);
	for (uint32_t i = MAPS_HOPS - 1; i > 0; i--)
		if (!taken[i])
			k->free_hop[k->n_free_hop++] = i;
	memset(taken, 0, MAPS_HOPS);
	for (uint32_t i = 0; i < k->n_addrs; i++)
		if (k->addr[i].ports && k->addr[i].ports <= k->n_ports)
			taken[k->addr[i].ports - 1] = 1;
	for (uint32_t i = k->n_ports; i-- > 0;)
		if (!taken[i])
			k->free_port[k->n_free_port++] = i;
	free(taken);
	return 0;
}

int keep_init(struct keep *k, struct maps_conf *conf, uint64_t secret)
{
	int err = htab_init(&k->hops, 2 * sizeof(uint32_t), secret);

	if (err)
		return err;
	*conf = k->measured;
	conf->mask = k->n_buckets - 1;
	if (k->addr[0].seed == 0)
		k->addr[0].seed = (uint32_t)(secret >> 32) | 1;
	conf->seed = k->addr[0].seed;
	k->conf = conf;
	k->use = calloc(k->n_leases, 1);
	k->free_lease = calloc(k->n_leases, sizeof *k->free_lease);
	k->free_port = calloc(k->n_ports, sizeof *k->free_port);
	k->free_hop = calloc(MAPS_HOPS, sizeof *k->free_hop);
	if (!k->use || !k->free_lease || !k->free_port || !k->free_hop)
		return -ENOMEM;
	take_records(k);
	keep_take_routes(k);
	return find_free(k);
}

static bool spi_stands(const struct keep *k, uint32_t address, const struct maps_spi *w)
{
	const struct taddr *a = tables_address(&k->forward->tables, address);
	uint32_t first = (uint32_t)(w->key >> 32), len = (uint32_t)(w->key & 0xff) - 1;
	uint64_t last = first + (1ULL << (32 - len)) - 1;
	const struct tlease *l = a ? tables_by_spi(&k->forward->tables, a, first) : NULL;

	if (!l || l->mark != w->mark)
		return false;
	for (size_t i = 0; i < l->n_spis; i++)
		if (l->spis[i].lo <= first && last <= l->spis[i].hi)
			return true;
	return false;
}

static uint32_t address_at(const struct keep *k, uint32_t place)
{
	const struct maps_conf *c = k->conf;

	for (uint32_t i = 0; i < c->n_prefixes; i++) {
		uint32_t n = ~c->prefix[i].mask;

		if (place >= c->prefix[i].place && place - c->prefix[i].place <= n)
			return c->prefix[i].addr + (place - c->prefix[i].place);
	}
	return 0;
}

static void settle_spis(struct keep *k)
{
	for (uint32_t i = 0; i < k->n_buckets; i++) {
		for (int j = 0; j < MAPS_WAYS; j++) {
			struct maps_spi *w = &k->bucket[i].way[j];
			uint32_t place = (uint32_t)(w->key >> 8) & 0xffffff;

			if (w->key && !spi_stands(k, address_at(k, place), w)) {
				store_mark(&w->key, 0);
				store_mark(&w->mark, 0);
			}
		}
	}
}

static struct tlease *lease_of_mark(
	struct tables *t, uint32_t host, uint32_t nb, maps_mark mark)
{
	const struct tpair *pair = tables_pair(t, host, nb);
	struct tlease *l = pair ? LIST_FIRST(&pair->leases) : NULL;

	while (l && l->mark != mark)
		l = LIST_NEXT(l, of_pair);
	return l;
}

/* What a predecessor learned is learned again, so that errors that quote it find their
 * host; what belongs to no lease goes. */
static void settle_out_spi(
	struct keep *k, struct tables *t, const struct maps_out_spi *spi, uint64_t now_ms)
{
	const struct learned_key key = { spi->nb, spi->peer, spi->proto, spi->spi };
	maps_mark mark;

	if (bpf_map_lookup_elem(k->out_spis, spi, &mark))
		return;
	uint32_t at = (uint32_t)mark;
	struct tlease *l = at < k->n_leases
				   ? lease_of_mark(t, k->lease[at].host, spi->nb, mark)
				   : NULL;
	if (!l || !learned_refresh(&t->learned[LEARNED_SPI], &key, l, spi->peer, now_ms))
		(void)bpf_map_delete_elem(k->out_spis, spi);
}

/* The keys first: the walk would not survive changes. */
static void settle_out_spis(struct keep *k, struct tables *t, uint64_t now_ms)
{
	struct maps_out_spi *key = calloc(MAPS_OUT_SPIS, sizeof *key);
	uint32_t n = 0;

	if (!key)
		return;
	while (n < MAPS_OUT_SPIS &&
		bpf_map_get_next_key(k->out_spis, n ? &key[n - 1] : NULL, &key[n]) == 0)
		n++;
	for (uint32_t i = 0; i < n; i++)
		settle_out_spi(k, t, &key[i], now_ms);
	free(key);
}

void keep_settle(struct keep *k, struct tables *t, uint64_t now_ms)
{
	static const struct range every = { 0, PORTS - 1 };

	for (uint32_t i = 0; i < k->n_leases; i++)
		if (k->use[i] == KEEP_LEFT)
			record_end(k, i);
	for (uint32_t place = 0; place < k->n_addrs; place++) {
		uint32_t address = address_at(k, place);

		if (k->addr[place].flags == 0 && k->addr[place].ports == 0)
			continue;
		ports_take(k, place, address, &every, 1);
		addr_take(k, place, address);
	}
	settle_spis(k);
	settle_out_spis(k, t, now_ms);
}

void keep_fini(struct keep *k)
{
	if (k->hops.bucket)
		htab_clear(&k->hops, free);
	htab_fini(&k->hops);
	free(k->use);
	free(k->free_lease);
	free(k->free_port);
	free(k->free_hop);
}
