/*
 * Leases and their indexes.  Uniqueness is the engine's work; what is checked here only
 * keeps an index from pointing at two leases.
 */
#include "dataplane/tables.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PORTS            65536
#define MAX_LEASES       (1U << 21)
#define SPI_BLOCK_OF_ONE 32 /* prefix length */

struct spi_block {
	struct htab_node node;
	uint32_t address, first, len; /* key: Nb, first SPI, prefix length */
	struct tlease *lease;
};
/* An identity of IKE initiators that a host listens for. */
struct identity {
	struct htab_node node;
	uint32_t address, hash[2]; /* key */
	struct tlease *lease;
};
#define SPI_KEY  (3 * sizeof(uint32_t))
#define ID_KEY   (3 * sizeof(uint32_t))
#define PAIR_KEY (2 * sizeof(uint32_t))

int tables_init(struct tables *t, uint32_t max_ike, uint64_t secret)
{
	int err = 0;

	*t = (struct tables){ .max_leases = MAX_LEASES };
	err = htab_init(&t->leases, sizeof(uint32_t), secret);
	err = err ? err : htab_init(&t->pairs, PAIR_KEY, secret);
	err = err ? err : htab_init(&t->hosts, sizeof(uint32_t), secret);
	err = err ? err : htab_init(&t->addresses, sizeof(uint32_t), secret);
	err = err ? err : htab_init(&t->spis, SPI_KEY, secret);
	err = err ? err : htab_init(&t->identities, ID_KEY, secret);
	for (int k = 0; k < LEARNED_KINDS && !err; k++)
		err = learned_init(&t->learned[k], (enum learned_kind)k,
			k == LEARNED_IKE ? max_ike : 0, secret);
	if (err)
		tables_fini(t);
	return err;
}

struct tlease *tables_lease(const struct tables *t, uint32_t bind_id)
{
	return htab_find(&t->leases, &bind_id);
}

struct thost *tables_host(const struct tables *t, uint32_t host)
{
	return htab_find(&t->hosts, &host);
}

struct tpair *tables_pair(const struct tables *t, uint32_t host, uint32_t address)
{
	const uint32_t key[] = { host, address };

	return htab_find(&t->pairs, key);
}

struct taddr *tables_address(const struct tables *t, uint32_t address)
{
	return htab_find(&t->addresses, &address);
}

struct tlease *tables_by_port(const struct taddr *a, uint16_t port)
{
	return a->port ? a->port[port] : NULL;
}

/* A block of 2^(32 - len) SPIs holds spi and begins here. */
static uint32_t block_first(uint32_t spi, unsigned int len)
{
	return len == 0 ? 0 : spi & (UINT32_MAX << (32 - len));
}

static struct spi_block *block_find(
	const struct tables *t, uint32_t address, uint32_t first, uint32_t len)
{
	const uint32_t key[] = { address, first, len };

	return htab_find(&t->spis, key);
}

struct tlease *tables_by_spi(const struct tables *t, const struct taddr *a, uint32_t spi)
{
	for (uint64_t sizes = a->block_sizes; sizes; sizes &= sizes - 1) {
		unsigned int len = (unsigned int)__builtin_ctzll(sizes);
		struct spi_block *b =
			block_find(t, a->address, block_first(spi, len), len);

		if (b)
			return b->lease;
	}
	return NULL;
}

unsigned int tables_block_at(uint64_t lo, uint64_t hi)
{
	unsigned int bits = lo ? (unsigned int)__builtin_ctzll(lo) : 32;

	while (bits > 32 || lo + (1ULL << bits) - 1 > hi)
		bits--;
	return 32 - bits;
}

static int add_spis(struct tables *t, struct taddr *a, struct tlease *l)
{
	for (size_t i = 0; i < l->n_spis; i++) {
		uint64_t hi = l->spis[i].hi;

		for (uint64_t lo = l->spis[i].lo; lo <= hi;) {
			unsigned int len = tables_block_at(lo, hi);
			struct spi_block *b = calloc(1, sizeof *b);

			if (!b)
				return -ENOMEM;
			b->address = a->address;
			b->first = (uint32_t)lo;
			b->len = len;
			b->lease = l;
			htab_add(&t->spis, b);
			a->blocks[len]++;
			a->block_sizes |= 1ULL << len;
			lo += 1ULL << (SPI_BLOCK_OF_ONE - len);
		}
	}
	return 0;
}

static void del_spis(struct tables *t, struct taddr *a, const struct tlease *l)
{
	for (size_t i = 0; i < l->n_spis; i++) {
		uint64_t hi = l->spis[i].hi;

		for (uint64_t lo = l->spis[i].lo; lo <= hi;) {
			unsigned int len = tables_block_at(lo, hi);
			struct spi_block *b =
				block_find(t, a->address, (uint32_t)lo, len);

			if (b && b->lease == l) {
				htab_del(&t->spis, b);
				free(b);
				if (--a->blocks[len] == 0)
					a->block_sizes &= ~(1ULL << len);
			}
			lo += 1ULL << (SPI_BLOCK_OF_ONE - len);
		}
	}
}

static int add_ports(struct taddr *a, struct tlease *l)
{
	if (l->n_ports && !a->port) {
		a->port = calloc(PORTS, sizeof(struct tlease *));
		if (!a->port)
			return -ENOMEM;
	}
	for (size_t i = 0; i < l->n_ports; i++) {
		for (uint32_t p = l->ports[i].lo; p <= l->ports[i].hi; p++) {
			if (a->port[p]) {
				l->shares = a->port[p]->shares = true;
				continue;
			}
			a->port[p] = l;
			a->ports++;
		}
	}
	return 0;
}

struct tlease *tables_next_by_port(
	const struct tpair *pair, const struct tlease *l, uint16_t port)
{
	struct tlease *next = l ? LIST_NEXT(l, of_pair) : LIST_FIRST(&pair->leases);

	while (next && !ranges_have(next->ports, next->n_ports, port))
		next = LIST_NEXT(next, of_pair);
	return next;
}

/* Whose the port is when l has gone. */
static struct tlease *heir(
	const struct tpair *pair, const struct tlease *l, uint16_t port)
{
	struct tlease *next = NULL;

	if (!l->shares || !pair)
		return NULL;
	do {
		next = tables_next_by_port(pair, next, port);
	} while (next == l);
	return next;
}

static void del_ports(struct taddr *a, const struct tpair *pair, const struct tlease *l)
{
	for (size_t i = 0; a->port && i < l->n_ports; i++) {
		for (uint32_t p = l->ports[i].lo; p <= l->ports[i].hi; p++) {
			if (a->port[p] != l)
				continue;
			a->port[p] = heir(pair, l, (uint16_t)p);
			if (!a->port[p])
				a->ports--;
		}
	}
	if (a->ports == 0) {
		free(a->port);
		a->port = NULL;
	}
}

/* --- identities ----------------------------------------------------------------------
 */

#define ID_FQDN      2 /* RFC 2407 section 4.6.2.1 */
#define ID_USER_FQDN 3

/* Names are the same in upper and lower case. */
static uint8_t plain(uint8_t type, uint8_t byte)
{
	bool name = type == ID_FQDN || type == ID_USER_FQDN;

	return name && byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + ('a' - 'A')) : byte;
}

/* Keyed: hosts and peers choose identities.  Whose it is decides same_identity(). */
static struct identity *identity_find(const struct tables *t, uint32_t address,
	const uint8_t *id, size_t len, uint32_t key[3])
{
	uint64_t h = t->identities.secret;

	for (size_t i = 0; i < len; i++) {
		h = (h ^ plain(id[0], id[i])) * 0x9e3779b97f4a7c15;
		h ^= h >> 29;
	}
	key[0] = address;
	key[1] = (uint32_t)(h >> 32);
	key[2] = (uint32_t)h;
	return htab_find(&t->identities, key);
}

static bool same_identity(const struct tlease *l, const uint8_t *id, size_t len)
{
	if (l->ike_id_len != len || l->ike_id[0] != id[0])
		return false;
	for (size_t i = 1; i < len; i++)
		if (plain(id[0], l->ike_id[i]) != plain(id[0], id[i]))
			return false;
	return true;
}

struct tlease *tables_by_identity(
	const struct tables *t, uint32_t address, const uint8_t *id, size_t len)
{
	uint32_t key[3];
	const struct identity *i = identity_find(t, address, id, len, key);

	return i && same_identity(i->lease, id, len) ? i->lease : NULL;
}

static int add_identity(struct tables *t, struct tlease *l)
{
	struct identity *i = l->ike_id_len ? calloc(1, sizeof *i) : NULL;
	uint32_t key[3];

	if (!l->ike_id_len)
		return 0;
	if (!i)
		return -ENOMEM;
	(void)identity_find(t, l->address, l->ike_id, l->ike_id_len, key);
	memcpy(&i->address, key, sizeof key);
	i->lease = l;
	htab_add(&t->identities, i);
	return 0;
}

static void del_identity(struct tables *t, const struct tlease *l)
{
	uint32_t key[3];
	struct identity *i = l->ike_id_len ? identity_find(t, l->address, l->ike_id,
						     l->ike_id_len, key)
					   : NULL;

	if (!i || i->lease != l)
		return;
	htab_del(&t->identities, i);
	free(i);
}

/* Find by key or make an entry of this size. */
static void *find_or_new(struct htab *t, const uint32_t *key, size_t size)
{
	void *e = htab_find(t, key);

	if (e)
		return e;
	e = calloc(1, size);
	if (!e)
		return NULL;
	memcpy((struct htab_node *)e + 1, key, t->key_size);
	htab_add(t, e);
	return e;
}

static void put(struct htab *t, void *entry, uint32_t users)
{
	if (users == 0) {
		htab_del(t, entry);
		free(entry);
	}
}

/* Take a lease out of every index that it is in. */
static void unindex(struct tables *t, struct tlease *l)
{
	struct taddr *a = tables_address(t, l->address);
	struct tpair *p = tables_pair(t, l->host, l->address);
	struct thost *h = tables_host(t, l->host);

	if (a) {
		del_ports(a, p, l);
		del_spis(t, a, l);
		del_identity(t, l);
		if (a->whole == l)
			a->whole = NULL;
		a->n--;
		put(&t->addresses, a, a->n);
	}
	if (p) {
		LIST_REMOVE(l, of_pair);
		p->n--;
		put(&t->pairs, p, p->n);
	}
	if (h) {
		h->tunnels[l->tunnel]--;
		h->n--;
		put(&t->hosts, h, h->n);
	}
}

static int index_lease(struct tables *t, struct tlease *l)
{
	const uint32_t pair_key[] = { l->host, l->address };
	struct taddr *a = find_or_new(&t->addresses, &l->address, sizeof *a);
	struct tpair *p = find_or_new(&t->pairs, pair_key, sizeof *p);
	struct thost *h = find_or_new(&t->hosts, &l->host, sizeof *h);

	if (a)
		a->n++;
	if (p) {
		p->n++;
		LIST_INSERT_HEAD(&p->leases, l, of_pair);
	}
	if (h) {
		h->n++;
		h->tunnels[l->tunnel]++;
	}
	int err = a && p && h ? 0 : -ENOMEM;
	err = err ? err : add_ports(a, l);
	err = err ? err : add_spis(t, a, l);
	err = err ? err : add_identity(t, l);
	if (!err && l->method == METHOD_RSA_IP)
		a->whole = l;
	if (err)
		unindex(t, l);
	return err;
}

static void lease_free(struct tlease *l)
{
	free(l->ports);
	free(l->spis);
	free(l->ike_id);
	free(l);
}

static struct range *copy_ranges(const struct range *r, size_t n)
{
	struct range *copy = calloc(n ? n : 1, sizeof *copy);

	if (copy && n)
		memcpy(copy, r, n * sizeof *r);
	return copy;
}

static struct tlease *lease_new(const struct lease *from)
{
	struct tlease *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	l->bind_id = from->bind_id;
	l->host = from->host;
	l->gateway = from->gateway;
	l->address = from->address;
	l->method = from->method;
	l->tunnel = from->tunnel;
	l->remote = from->remote;
	l->ports = copy_ranges(from->ports, from->n_ports);
	l->n_ports = from->n_ports;
	l->spis = copy_ranges(from->spis, from->n_spis);
	l->n_spis = from->n_spis;
	l->ike_id = malloc(from->ike_id_len ? from->ike_id_len : 1);
	l->ike_id_len = from->ike_id_len;
	if (l->ike_id && from->ike_id_len)
		memcpy(l->ike_id, from->ike_id, from->ike_id_len);
	for (int k = 0; k < LEARNED_KINDS; k++)
		learned_owner_init(&l->learned[k]);
	if (!l->ports || !l->spis || !l->ike_id) {
		lease_free(l);
		return NULL;
	}
	return l;
}

static bool ranges_fit(const struct range *r, size_t n, uint32_t max)
{
	for (size_t i = 0; i < n; i++)
		if (r[i].lo > r[i].hi || r[i].hi > max)
			return false;
	return true;
}

/* Does another lease than `but` hold something of this one? */
static bool clashes(
	const struct tables *t, const struct lease *l, const struct tlease *but)
{
	const struct taddr *a = tables_address(t, l->address);
	const struct tlease *at;
	uint32_t key[3];

	if (!a)
		return false;
	const struct identity *id = l->ike_id_len ? identity_find(t, l->address,
							    l->ike_id, l->ike_id_len, key)
						  : NULL;
	if (id && id->lease != but)
		return true;
	if (l->method == METHOD_RSA_IP && a->whole && a->whole != but)
		return true;
	for (size_t i = 0; i < l->n_ports; i++) {
		for (uint32_t p = l->ports[i].lo; p <= l->ports[i].hi; p++) {
			at = tables_by_port(a, (uint16_t)p);
			if (at && at != but && at->host != l->host)
				return true;
		}
	}
	for (size_t i = 0; i < l->n_spis; i++) {
		at = tables_by_spi(t, a, l->spis[i].lo);
		if (at && at != but)
			return true;
		at = tables_by_spi(t, a, l->spis[i].hi);
		if (at && at != but)
			return true;
	}
	return false;
}

static bool same_ranges(
	const struct range *a, size_t n_a, const struct range *b, size_t n_b)
{
	return n_a == n_b && (n_a == 0 || memcmp(a, b, n_a * sizeof *a) == 0);
}

static bool same_keys(const struct tlease *old, const struct lease *l)
{
	return old->host == l->host && old->address == l->address &&
	       old->method == l->method &&
	       same_ranges(old->ports, old->n_ports, l->ports, l->n_ports) &&
	       same_ranges(old->spis, old->n_spis, l->spis, l->n_spis) &&
	       old->ike_id_len == l->ike_id_len &&
	       (l->ike_id_len == 0 || memcmp(old->ike_id, l->ike_id, l->ike_id_len) == 0);
}

static void drop(struct tables *t, struct tlease *l)
{
	for (int k = 0; k < LEARNED_KINDS; k++)
		learned_owner_end(&t->learned[k], l);
	unindex(t, l);
	htab_del(&t->leases, l);
	lease_free(l);
}

static void extend(struct tables *t, struct tlease *old, const struct lease *l)
{
	struct thost *h = tables_host(t, old->host);

	h->tunnels[old->tunnel]--;
	h->tunnels[l->tunnel]++;
	old->tunnel = l->tunnel;
	old->gateway = l->gateway;
	old->remote = l->remote;
}

int tables_install(struct tables *t, const struct lease *lease)
{
	struct tlease *old = htab_find(&t->leases, &lease->bind_id);

	if ((unsigned int)lease->tunnel >= TABLES_TUNNELS ||
		!ranges_fit(lease->ports, lease->n_ports, PORTS - 1) ||
		!ranges_fit(lease->spis, lease->n_spis, UINT32_MAX))
		return ERR_RANGE;
	if (old && same_keys(old, lease)) {
		extend(t, old, lease);
		return 0;
	}
	if (clashes(t, lease, old))
		return ERR_EXISTS;
	if (!old && t->leases.n >= t->max_leases)
		return ERR_NOSPACE;
	struct tlease *l = lease_new(lease);
	if (!l)
		return -ENOMEM;
	if (old)
		drop(t, old);
	int err = index_lease(t, l);
	if (err) {
		lease_free(l);
		return err;
	}
	htab_add(&t->leases, l);
	return 0;
}

void tables_remove(struct tables *t, uint32_t bind_id)
{
	struct tlease *l = htab_find(&t->leases, &bind_id);

	if (l)
		drop(t, l);
}

static void release_lease(void *entry)
{
	lease_free(entry);
}

static void release_address(void *entry)
{
	struct taddr *a = entry;

	free(a->port);
	free(a);
}

void tables_fini(struct tables *t)
{
	htab_clear(&t->leases, release_lease);
	htab_clear(&t->addresses, release_address);
	htab_clear(&t->pairs, free);
	htab_clear(&t->hosts, free);
	htab_clear(&t->spis, free);
	htab_clear(&t->identities, free);
	htab_fini(&t->leases);
	htab_fini(&t->pairs);
	htab_fini(&t->hosts);
	htab_fini(&t->addresses);
	htab_fini(&t->spis);
	htab_fini(&t->identities);
	for (int k = 0; k < LEARNED_KINDS; k++)
		learned_fini(&t->learned[k]);
}
