/*
 * SPIs in the kernel: one entry an aligned block, in the buckets that maps.h describes.
 */
#include "dataplane/xdp/keep.h"

#include <errno.h>
#include <stdlib.h>

/* NOLINTNEXTLINE(readability-non-const-parameter): the builtin writes there */
static void store(uint64_t *at, uint64_t entry)
{
	__atomic_store_n(at, entry, __ATOMIC_RELEASE);
}

/* --- the block sizes there are --- */

/* The most frequent first; written as one word, so no program sees half of a change. */
static void write_sizes(struct keep *k)
{
	uint64_t sizes = 0;
	uint32_t taken[33] = { 0 };
	int n = 0;

	for (;; n++) {
		int most = 0;

		for (int len = 32; len > 0; len--)
			if (!taken[len] && k->blocks[len] > (most ? k->blocks[most] : 0))
				most = len;
		if (!most)
			break;
		taken[most] = 1;
		if (n < MAPS_SIZES)
			sizes |= (uint64_t)(unsigned int)most << (8 * n);
	}
	if (n > MAPS_SIZES)
		KEEP_ONCE(k->conf->partial) = 1;
	if (k->conf->sizes != sizes)
		store(&k->conf->sizes, sizes);
	if (n <= MAPS_SIZES)
		KEEP_ONCE(k->conf->partial) = 0;
}

static bool is_listed(const struct keep *k, uint32_t len)
{
	for (uint64_t sizes = k->conf->sizes; sizes; sizes >>= 8)
		if ((sizes & 0xff) == len)
			return true;
	return false;
}

/* A size that comes or goes, and from time to time, as what is frequent changes. */
static void count_block(struct keep *k, uint32_t len, bool there)
{
	uint32_t n = there ? ++k->blocks[len] : --k->blocks[len];

	if (n == 0 || (there && !is_listed(k, len)) || (n & (n - 1)) == 0)
		write_sizes(k);
}

/* --- entries --- */

static uint32_t bucket_of(const struct keep *k, uint64_t key, uint32_t which)
{
	return maps_spi_bucket(key, k->conf->odd, k->n_buckets, which);
}

static bool has_overflowed(const struct keep *k, uint32_t bucket)
{
	return k->overflowed[bucket / 8] >> (bucket % 8) & 1;
}

static void set_overflowed(struct keep *k, uint32_t bucket)
{
	k->overflowed[bucket / 8] |= (uint8_t)(1U << (bucket % 8));
}

/* An entry: where it is. */
struct at {
	struct maps_spis *bucket;
	int way; /* -1: nowhere */
};

/* With key 0, a free place. */
static struct at find_in(const struct keep *k, uint32_t bucket, uint64_t key)
{
	struct maps_spis *b = &k->spi[bucket];

	for (int i = 0; i < MAPS_SPI_WAYS; i++)
		if (b->key[i] == key)
			return (struct at){ b, i };
	return (struct at){ b, -1 };
}

static struct at find(const struct keep *k, uint64_t key)
{
	uint32_t bucket = bucket_of(k, key, 0);
	struct at at = find_in(k, bucket, key);

	return at.way < 0 && has_overflowed(k, bucket)
		       ? find_in(k, bucket_of(k, key, 1), key)
		       : at;
}

static void write_entry(struct at at, uint64_t key, maps_life life)
{
	uint64_t *here = &at.bucket->key[at.way];

	if (*here != key) {
		store(&at.bucket->life[at.way], 0);
		store(here, key);
	}
	store(&at.bucket->life[at.way], life);
}

/* A place in the second bucket of a key. */
static struct at second_place(struct keep *k, uint64_t key)
{
	uint32_t first = bucket_of(k, key, 0);
	struct at at = find_in(k, bucket_of(k, key, 1), 0);

	if (at.way >= 0)
		set_overflowed(k, first);
	return at;
}

/*
 * Both are full: one that is at home in the first bucket goes to its second one.  It is
 * there before it is gone here, so a program that looks here first finds it.
 */
static struct at make_room(struct keep *k, uint32_t bucket)
{
	struct maps_spis *b = &k->spi[bucket];

	for (int i = 0; i < MAPS_SPI_WAYS; i++) {
		if (bucket_of(k, b->key[i], 0) != bucket)
			continue;
		struct at to = second_place(k, b->key[i]);
		if (to.way < 0)
			continue;
		write_entry(to, b->key[i], b->life[i]);
		store(&b->life[i], 0);
		store(&b->key[i], 0);
		return (struct at){ b, i };
	}
	return (struct at){ b, -1 };
}

/* False: there is no room. */
static bool put(struct keep *k, uint64_t key, uint32_t len, maps_life life)
{
	struct at at = find(k, key);
	uint32_t bucket = bucket_of(k, key, 0);

	if (at.way < 0) {
		at = find_in(k, bucket, 0);
		if (at.way < 0)
			at = second_place(k, key);
		if (at.way < 0)
			at = make_room(k, bucket);
		if (at.way < 0) {
			at = make_room(k, bucket_of(k, key, 1));
			set_overflowed(k, bucket);
		}
		if (at.way < 0)
			return false;
		count_block(k, len, true);
	}
	write_entry(at, key, life);
	return true;
}

static void del(struct keep *k, uint64_t key, uint32_t len)
{
	struct at at = find(k, key);

	if (at.way < 0)
		return;
	store(&at.bucket->life[at.way], 0);
	store(&at.bucket->key[at.way], 0);
	count_block(k, len, false);
}

/* --- blocks --- */

/* Does the lease have this very block, and not a larger or smaller one? */
static bool has_block(const struct tlease *l, uint32_t first, uint32_t len)
{
	for (size_t i = 0; i < l->n_spis; i++) {
		for (uint64_t lo = l->spis[i].lo, hi = l->spis[i].hi; lo <= first;) {
			unsigned int here = lo <= hi ? tables_block_at(lo, hi) : 0;

			if (lo == first && here == len)
				return true;
			if (lo >= hi || here == 0)
				break;
			lo += 1ULL << (32 - here);
		}
	}
	return false;
}

/* What the tables say of a block now. */
static maps_life life_of(
	const struct keep *k, uint32_t address, uint32_t first, uint32_t len)
{
	const struct taddr *a = tables_address(&k->forward->tables, address);
	const struct tlease *l = a ? tables_by_spi(&k->forward->tables, a, first) : NULL;

	return l && has_block(l, first, len) ? l->mark : 0;
}

bool keep_spis_take(
	struct keep *k, uint32_t place, uint32_t address, const struct range *r, size_t n)
{
	bool all = true;

	for (size_t i = 0; i < n; i++) {
		for (uint64_t lo = r[i].lo, hi = r[i].hi; lo <= hi;) {
			unsigned int len = tables_block_at(lo, hi);
			maps_life life = life_of(k, address, (uint32_t)lo, len);
			uint64_t key = maps_spi_key((uint32_t)lo, place, len);

			if (len == 0) /* all there are: sizes have no such one */
				return false;
			if (life)
				all = put(k, key, len, life) && all;
			else
				del(k, key, len);
			lo += 1ULL << (32 - len);
		}
	}
	return all;
}

bool keep_spis_put(struct keep *k, uint32_t place, const struct tlease *l)
{
	bool all = true;

	for (size_t i = 0; i < l->n_spis; i++) {
		for (uint64_t lo = l->spis[i].lo, hi = l->spis[i].hi; lo <= hi;) {
			unsigned int len = tables_block_at(lo, hi);

			if (len == 0)
				return false;
			all = put(k, maps_spi_key((uint32_t)lo, place, len), len,
				      l->mark) &&
			      all;
			lo += 1ULL << (32 - len);
		}
	}
	return all;
}

void keep_spis_ahead(const struct keep *k, uint32_t place, const struct range *r)
{
	uint64_t key = maps_spi_key(r->lo, place, tables_block_at(r->lo, r->hi));

	__builtin_prefetch(&k->spi[bucket_of(k, key, 0)], 1);
}

maps_life keep_spi_life(const struct keep *k, uint32_t place, uint32_t lo, uint32_t hi)
{
	const struct at at = find(k, maps_spi_key(lo, place, tables_block_at(lo, hi)));

	return at.way < 0 ? 0 : at.bucket->life[at.way];
}

/* --- what a predecessor left --- */

void keep_settle_spis(struct keep *k)
{
	for (uint32_t i = 0; i < k->n_buckets; i++) {
		for (int j = 0; j < MAPS_SPI_WAYS; j++) {
			struct at at = { &k->spi[i], j };
			uint64_t key = at.bucket->key[j];
			uint32_t place = (uint32_t)(key >> 8) & 0xffffff,
				 len = (uint32_t)(key & 0xff) - 1;

			if (key == 0)
				continue;
			maps_life life = life_of(
				k, keep_address_at(k, place), (uint32_t)(key >> 32), len);
			if (life && at.bucket->life[j] != life)
				write_entry(at, key, life);
			else if (!life)
				del(k, key, len);
		}
	}
}

static uint64_t spread(uint32_t seed)
{
	uint64_t x = (seed + 0x9e3779b97f4a7c15ULL) * 0xbf58476d1ce4e5b9ULL;

	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return (x ^ x >> 31) | 1;
}

int keep_spis_init(struct keep *k, uint32_t seed)
{
	k->conf->seed = seed;
	k->conf->odd = spread(seed);
	k->conf->n_buckets = k->n_buckets;
	k->overflowed = calloc(k->n_buckets / 8 + 1, 1);
	if (!k->overflowed)
		return -ENOMEM;
	for (uint32_t i = 0; i < k->n_buckets; i++) {
		for (int j = 0; j < MAPS_SPI_WAYS; j++) {
			uint64_t key = k->spi[i].key[j];
			uint32_t len = (uint32_t)(key & 0xff) - 1;

			if (key == 0)
				continue;
			uint32_t first = bucket_of(k, key, 0);
			if (first != i)
				set_overflowed(k, first);
			k->blocks[len <= 32 ? len : 0]++;
		}
	}
	write_sizes(k);
	return 0;
}
