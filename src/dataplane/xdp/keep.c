/*
 * Publishes leases to the programs: what the tables of user space say of a key is written
 * beside it.  While the keys of a lease are written one after the other, its hop is
 * frozen.
 */
#include "dataplane/xdp/keep.h"

#include "dataplane/core/flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PORTS      65536U
#define MOST_ADDRS 65536U
#define MOST_PORTS 256U /* addresses with ports: 512 KiB each */

/* NOLINTNEXTLINE(readability-non-const-parameter): the builtin writes there */
static void store_life(maps_life *at, maps_life life)
{
	if (*at != life)
		__atomic_store_n(at, life, __ATOMIC_RELEASE);
}

/* --- numbers to be given --- */

int keep_free_init(struct keep_free *f, uint32_t size)
{
	*f = (struct keep_free){ .size = size };
	f->at = calloc(size ? size : 1, sizeof *f->at);
	return f->at ? 0 : -ENOMEM;
}

void keep_give(struct keep_free *f, uint32_t number)
{
	uint32_t at = f->first + f->n++;

	f->at[at < f->size ? at : at - f->size] = number;
}

uint32_t keep_take(struct keep_free *f)
{
	if (f->n == 0)
		return UINT32_MAX;
	uint32_t number = f->at[f->first];

	f->n--;
	f->first = f->first + 1 < f->size ? f->first + 1 : 0;
	return number;
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

/* Seven buckets in ten are filled: few keys need their second one. */
static uint32_t buckets_for(uint32_t leases)
{
	uint64_t n = (uint64_t)leases * 10 / (7ULL * MAPS_SPI_WAYS);

	return n < 1024 ? 1024 : (uint32_t)n;
}

void keep_measure(struct keep *k, const struct forward *f, size_t leases)
{
	k->forward = f;
	k->n_leases = leases == 0                 ? KEEP_LEASES
		      : leases < KEEP_LEASES_MOST ? (uint32_t)leases
						  : KEEP_LEASES_MOST;
	measure_prefixes(k, f);
	k->n_ports = k->n_addrs < MOST_PORTS ? k->n_addrs : MOST_PORTS;
	if (k->n_addrs == 0)
		k->n_addrs = k->n_ports = 1;
	k->n_buckets = buckets_for(k->n_leases);
}

bool keep_place_of(const struct keep *k, uint32_t addr, uint32_t *place)
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

uint32_t keep_address_at(const struct keep *k, uint32_t place)
{
	const struct maps_conf *c = k->conf;

	for (uint32_t i = 0; i < c->n_prefixes; i++) {
		uint32_t n = ~c->prefix[i].mask;

		if (place >= c->prefix[i].place && place - c->prefix[i].place <= n)
			return c->prefix[i].addr + (place - c->prefix[i].place);
	}
	return 0;
}

/* --- addresses --- */

static void take_ports(struct keep *k, struct maps_addr *m, const struct taddr *a)
{
	if (a->port && m->ports == 0) {
		uint32_t at = keep_take(&k->free_port);

		if (at != UINT32_MAX)
			KEEP_ONCE(m->ports) = at + 1;
		else
			m->flags |= MAPS_PARTIAL;
	} else if (!a->port && m->ports != 0) {
		keep_give(&k->free_port, m->ports - 1);
		KEEP_ONCE(m->ports) = 0;
	}
}

/* An address as it is now. */
static void addr_take(struct keep *k, uint32_t place, const struct taddr *a)
{
	static const struct taddr nothing;
	struct maps_addr *m = &k->addr[place];

	take_ports(k, m, a ? a : &nothing);
	store_life(&m->whole, a && a->whole ? a->whole->mark : 0);
	KEEP_ONCE(m->flags) = a ? m->flags | MAPS_LEASED : m->flags & MAPS_LOCAL;
}

static void set_local(struct keep *k)
{
	const struct forward *f = k->forward;
	uint32_t place;

	for (uint32_t i = 0; i < k->n_addrs; i++)
		if (k->addr[i].flags & MAPS_LOCAL)
			KEEP_ONCE(k->addr[i].flags) =
				k->addr[i].flags & ~(uint32_t)MAPS_LOCAL;
	for (size_t i = 0; i < f->n_local; i++)
		if (keep_place_of(k, f->local[i], &place))
			KEEP_ONCE(k->addr[place].flags) =
				k->addr[place].flags | MAPS_LOCAL;
	if (f->napt.n_hosts && keep_place_of(k, f->napt.address, &place))
		KEEP_ONCE(k->addr[place].flags) = k->addr[place].flags | MAPS_LOCAL;
}

void keep_conf(struct keep *k, const uint8_t mac[LINKS][6])
{
	const struct forward *f = k->forward;
	struct maps_conf *c = k->conf;
	const uint32_t *ends = f->n_tunnel_ends ? f->tunnel_ends : f->local;
	size_t n = f->n_tunnel_ends ? f->n_tunnel_ends : f->n_local;

	/* Those that find no room go the slow way. */
	KEEP_ONCE(c->n_ends) = 0;
	for (size_t i = 0; i < n && i < MAPS_ENDS; i++)
		c->end[i] = ends[i];
	__atomic_store_n(
		&c->n_ends, n < MAPS_ENDS ? (uint32_t)n : MAPS_ENDS, __ATOMIC_RELEASE);
	for (int i = 0; i < LINKS; i++) {
		KEEP_ONCE(c->mtu[i]) = f->mtu[i];
		memcpy(&c->mac[i], mac[i], sizeof mac[i]);
	}
	set_local(k);
}

/* --- leases --- */

/*
 * Ports of the pool only: on an address of its own the rest is the gateway's.  Who leases
 * port 500 shares it with the cookies of others, which user space knows.
 */
static bool is_ours(const struct forward_pool *pool, uint32_t port)
{
	return pool && port != FLOW_IKE_PORT &&
	       ranges_have(pool->ports, pool->n_ports, port);
}

/* Ports as the tables have them now, whoever held them. */
static void ports_take(struct keep *k, uint32_t place, const struct taddr *a,
	const struct range *r, size_t n)
{
	const struct forward_pool *pool =
		a ? forward_pool_of(k->forward, a->address) : NULL;
	uint32_t ports = k->addr[place].ports;

	if (ports == 0)
		return;
	maps_life *at = k->port + (size_t)(ports - 1) * PORTS;
	for (size_t i = 0; i < n; i++) {
		for (uint32_t p = r[i].lo; p <= r[i].hi; p++) {
			const struct tlease *l =
				a ? tables_by_port(a, (uint16_t)p) : NULL;

			store_life(&at[p], l && is_ours(pool, p) ? l->mark : 0);
		}
	}
}

/* 0 is a lease that has ended. */
static uint32_t expiry(uint64_t ms)
{
	return ms >> 6 >= UINT32_MAX ? UINT32_MAX : ms >> 6 ? (uint32_t)(ms >> 6) : 1;
}

/* --- records of those with a policy --- */

static void record_end(struct keep *k, uint32_t at)
{
	KEEP_ONCE(k->lease[at].version) = k->lease[at].version + 1;
	KEEP_ONCE(k->lease[at].host) = 0;
	k->use[at] = KEEP_FREE;
	keep_give(&k->free_lease, at);
}

/* Where a predecessor had this lease's first key, a record of the same holder. */
static uint32_t record_left(const struct keep *k, uint32_t place, const struct tlease *l)
{
	const struct maps_addr *m = &k->addr[place];
	maps_life life = 0;

	if (l->method == METHOD_RSA_IP)
		life = m->whole;
	else if (l->n_spis)
		life = keep_spi_life(k, place, l->spis[0].lo, l->spis[0].hi);
	else if (l->n_ports && m->ports)
		life = k->port[(size_t)(m->ports - 1) * PORTS + l->ports[0].lo];
	uint32_t at = MAPS_LIFE_INDEX(life);
	bool same = life & MAPS_REMOTE && at < k->n_leases && k->use[at] == KEEP_LEFT &&
		    k->lease[at].host == l->host && k->lease[at].address == l->address;
	return same ? at : UINT32_MAX;
}

/* A record for a lease that has none: a predecessor's, or a free one. */
static uint32_t record_take(struct keep *k, uint32_t place, const struct tlease *l)
{
	uint32_t at = k->n_left ? record_left(k, place, l) : UINT32_MAX;

	if (at == UINT32_MAX)
		at = keep_take(&k->free_lease);
	else
		k->n_left--;
	if (at != UINT32_MAX)
		k->use[at] = KEEP_LIVE;
	return at;
}

static void record_write(struct keep *k, uint32_t at, struct maps_lease want)
{
	struct maps_lease *r = &k->lease[at];

	want.version = r->version;
	if (memcmp(r, &want, sizeof want) == 0)
		return;
	/* A program that reads meanwhile sees another version behind than before. */
	KEEP_ONCE(r->version) = want.version + 1;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	want.version += 2;
	memcpy((uint8_t *)r + sizeof r->version,
		(const uint8_t *)&want + sizeof want.version,
		sizeof want - sizeof want.version);
	__atomic_store_n(&r->version, want.version, __ATOMIC_RELEASE);
}

/* Of a name's addresses a record has the first; user space knows the others. */
static struct maps_lease record_of(const struct tlease *l, uint32_t hop)
{
	bool more = l->shares || l->remote.n_more > 0;

	return (struct maps_lease){
		.host = l->host,
		.address = l->address,
		.remote_addr = l->remote.addr,
		.remote_port = l->remote.port,
		.remote_flow = (uint8_t)l->remote.flow,
		.flags = (uint8_t)((l->method == METHOD_RSIPSEC ? MAPS_IPSEC : 0) |
				   (more ? MAPS_SHARES : 0)),
		.hop = hop,
	};
}

/* --- lives --- */

uint32_t keep_hop_of(const struct keep *k, maps_life life)
{
	uint32_t at = MAPS_LIFE_INDEX(life);

	if (life & MAPS_REMOTE)
		at = at < k->n_leases ? k->lease[at].hop : 0;
	return at < MAPS_HOPS ? at : 0;
}

/*
 * A new life for a lease; 0: there is no room.  What the one before led to is still in
 * use.
 */
static maps_life life_new(
	struct keep *k, uint32_t place, const struct tlease *l, uint64_t expires_ms)
{
	const struct thost *h = tables_host(&k->forward->tables, l->host);
	uint32_t hop = keep_way_take(k, l->host, l->gateway, l->tunnel, h ? h->mtu : 0);

	if (!hop)
		return 0;
	if (l->remote.flow == REMOTE_NONE)
		return MAPS_LIFE(expiry(expires_ms), hop);
	uint32_t at = l->mark & MAPS_REMOTE ? MAPS_LIFE_INDEX(l->mark)
					    : record_take(k, place, l);
	if (at == UINT32_MAX) {
		keep_way_leave(k, hop);
		return 0;
	}
	record_write(k, at, record_of(l, hop));
	return MAPS_LIFE(expiry(expires_ms), MAPS_REMOTE | at);
}

/* What a life led to is no longer used by it; `now` is the one in its place. */
static void life_end(struct keep *k, maps_life was, uint32_t hop, maps_life now)
{
	if (!was)
		return;
	if (was & MAPS_REMOTE && (uint32_t)was != (uint32_t)now)
		record_end(k, MAPS_LIFE_INDEX(was));
	keep_way_leave(k, hop);
}

/* The leases of the same host on this address: one of them may share a port from now. */
static void mark_shares(struct keep *k, const struct tlease *l)
{
	const struct tpair *pair =
		l->shares ? tables_pair(&k->forward->tables, l->host, l->address) : NULL;

	if (!pair)
		return;
	for (const struct tlease *o = LIST_FIRST(&pair->leases); o;
		o = LIST_NEXT(o, of_pair))
		if (o->mark & MAPS_REMOTE)
			record_write(k, MAPS_LIFE_INDEX(o->mark),
				record_of(o, keep_hop_of(k, o->mark)));
}

/* --- leases --- */

/* The keys of a lease as they are now. */
static void write_keys(struct keep *k, uint32_t place, const struct tlease *l)
{
	const struct taddr *a = tables_address(&k->forward->tables, l->address);

	addr_take(k, place, a);
	ports_take(k, place, a, l->ports, l->n_ports);
	if (!l->mark || !keep_spis_put(k, place, l))
		KEEP_ONCE(k->addr[place].flags) = k->addr[place].flags | MAPS_PARTIAL;
}

void keep_ahead(const struct keep *k, uint32_t address, const struct range *spis,
	size_t n_spis, const struct range *ports, size_t n_ports)
{
	uint32_t place, at;

	if (!keep_place_of(k, address, &place))
		return;
	at = k->addr[place].ports;
	if (n_spis)
		keep_spis_ahead(k, place, spis);
	if (n_ports && at)
		__builtin_prefetch(&k->port[(size_t)(at - 1) * PORTS + ports->lo], 1);
}

void keep_publish(struct keep *k, struct tlease *l, uint64_t expires_ms)
{
	maps_life was = l->mark;
	uint32_t place, hop = was ? keep_hop_of(k, was) : 0;

	if (!keep_place_of(k, l->address, &place))
		return;
	l->mark = life_new(k, place, l, expires_ms);
	/* An extension changes nothing but the time. */
	bool frozen = was && (uint32_t)was != (uint32_t)l->mark;
	keep_freeze(k, frozen ? hop : 0, true);
	write_keys(k, place, l);
	if (was && !l->mark)
		(void)keep_spis_take(k, place, l->address, l->spis, l->n_spis);
	if (was != l->mark) {
		keep_out_spis(k, l);
		keep_cookies_of(k, l);
	}
	mark_shares(k, l);
	keep_freeze(k, frozen ? hop : 0, false);
	life_end(k, was, hop, l->mark);
}

/* After the tables changed: the keys of what is gone. */
static void withdraw(struct keep *k, const struct lease *was)
{
	const struct taddr *a = tables_address(&k->forward->tables, was->address);
	uint32_t place;

	if (!keep_place_of(k, was->address, &place))
		return;
	ports_take(k, place, a, was->ports, was->n_ports);
	(void)keep_spis_take(k, place, was->address, was->spis, was->n_spis);
	addr_take(k, place, a);
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

/* One lease more or less of a host; before all are installed none less than there were.
 */
static void hold(struct keep *k, uint32_t host, int change)
{
	uint32_t at = maps_sender_of(host, k->conf->seed);

	k->held[at] += (uint32_t)change;
	if (k->settled || k->held[at] > k->sender[at].leases)
		KEEP_ONCE(k->sender[at].leases) = k->held[at];
}

static void settle_senders(struct keep *k)
{
	for (uint32_t i = 0; i < 1U << MAPS_SENDER_BITS; i++)
		if (k->sender[i].leases != k->held[i])
			KEEP_ONCE(k->sender[i].leases) = k->held[i];
	k->settled = true;
}

int keep_install(struct keep *k, struct tables *t, const struct lease *lease)
{
	struct tlease *l = tables_lease(t, lease->bind_id);
	bool held = l != NULL;
	uint32_t holder = l ? l->host : 0;
	maps_life before = l ? l->mark : 0;
	uint32_t hop = before ? keep_hop_of(k, before) : 0;
	struct range *ranges = NULL;
	struct lease was;

	if (l && !copy_keys(l, &was, &ranges))
		return -ENOMEM;
	keep_ahead(k, lease->address, lease->spis, lease->n_spis, lease->ports,
		lease->n_ports);
	int err = tables_install(t, lease);
	l = tables_lease(t, lease->bind_id);
	if (l)
		hold(k, l->host, 1);
	if (held)
		hold(k, holder, -1);
	bool changed = before && (!l || !l->mark); /* it has other keys, or none */
	keep_freeze(k, changed ? hop : 0, true);
	if (!err && l)
		keep_publish(k, l, lease->expires_ms);
	if (changed) {
		withdraw(k, &was);
		keep_freeze(k, hop, false);
		life_end(k, before, hop, 0);
	}
	free(ranges);
	return err;
}

void keep_remove(struct keep *k, struct tables *t, uint32_t bind_id)
{
	struct tlease *l = tables_lease(t, bind_id);
	maps_life before = l ? l->mark : 0;
	uint32_t hop = before ? keep_hop_of(k, before) : 0;
	struct range *ranges = NULL;
	struct lease was;

	if (!l)
		return;
	bool copied = copy_keys(l, &was, &ranges);
	keep_freeze(k, hop, true);
	hold(k, l->host, -1);
	tables_remove(t, bind_id);
	if (copied)
		withdraw(k, &was);
	/* Without memory its keys stay, and so the way that they lead to is not given to
	 * another; it stays frozen. */
	if (!copied)
		return;
	keep_freeze(k, hop, false);
	life_end(k, before, hop, 0);
	free(ranges);
}

/* --- begin and end --- */

static void take_records(struct keep *k)
{
	for (uint32_t i = 0; i < k->n_leases; i++) {
		if (k->lease[i].host == 0) {
			keep_give(&k->free_lease, i);
			continue;
		}
		k->use[i] = KEEP_LEFT;
		k->n_left++;
	}
}

/* The numbers of port tables that no address has. */
static int find_free_ports(struct keep *k)
{
	uint8_t *taken = calloc(k->n_ports, 1);

	if (!taken)
		return -ENOMEM;
	for (uint32_t i = 0; i < k->n_addrs; i++)
		if (k->addr[i].ports && k->addr[i].ports <= k->n_ports)
			taken[k->addr[i].ports - 1] = 1;
	for (uint32_t i = 0; i < k->n_ports; i++)
		if (!taken[i])
			keep_give(&k->free_port, i);
	free(taken);
	return 0;
}

int keep_init(struct keep *k, struct maps_conf *conf, uint64_t secret)
{
	int err = htab_init(&k->hops, 2 * sizeof(uint32_t), secret);

	if (err)
		return err;
	*conf = k->measured;
	k->conf = conf;
	conf->most[MAPS_STRANGERS] = MAPS_MOST_STRANGERS;
	conf->most[MAPS_REFUSED] = MAPS_MOST_REFUSED;
	conf->most[MAPS_NEW] = MAPS_MOST_NEW;
	if (k->addr[0].seed == 0)
		k->addr[0].seed = (uint32_t)(secret >> 32) | 1;
	k->use = calloc(k->n_leases, 1);
	k->held = calloc((size_t)1 << MAPS_SENDER_BITS, sizeof *k->held);
	err = k->use && k->held ? 0 : -ENOMEM;
	err = err ? err : keep_spis_init(k, k->addr[0].seed);
	err = err ? err : keep_free_init(&k->free_lease, k->n_leases);
	err = err ? err : keep_free_init(&k->free_port, k->n_ports);
	err = err ? err : keep_free_init(&k->free_hop, MAPS_HOPS);
	if (err)
		return err;
	take_records(k);
	keep_take_ways(k);
	err = keep_free_hops(k);
	return err ? err : find_free_ports(k);
}

void keep_settle(struct keep *k, struct tables *t, uint64_t now_ms)
{
	static const struct range every = { 0, PORTS - 1 };

	keep_settle_peers(k, t, now_ms);
	keep_settle_cookies(k, t, now_ms);
	for (uint32_t i = 0; i < k->n_leases; i++)
		if (k->use[i] == KEEP_LEFT)
			record_end(k, i);
	k->n_left = 0;
	for (uint32_t place = 0; place < k->n_addrs; place++) {
		const struct taddr *a =
			tables_address(&k->forward->tables, keep_address_at(k, place));

		if (k->addr[place].flags == 0 && k->addr[place].ports == 0)
			continue;
		ports_take(k, place, a, &every, 1);
		addr_take(k, place, a);
	}
	keep_settle_spis(k);
	keep_settle_ways(k);
	settle_senders(k);
}

static void free_hop(void *entry)
{
	struct keep_hop *e = entry;

	for (struct keep_way *w = e->ways, *next; w; w = next) {
		next = w->next;
		free(w);
	}
	free(e);
}

void keep_fini(struct keep *k)
{
	if (k->hops.bucket)
		htab_clear(&k->hops, free_hop);
	htab_fini(&k->hops);
	free(k->use);
	free(k->held);
	free(k->overflowed);
	free(k->free_lease.at);
	free(k->free_port.at);
	free(k->free_hop.at);
}
