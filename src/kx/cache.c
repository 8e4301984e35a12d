/*
 * Fixed tables: chained buckets, and a list by use.
 */
#include "kx/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int cache_init(struct cache *c, uint32_t size)
{
	uint32_t buckets = 1;

	while (buckets < size)
		buckets *= 2;
	*c = (struct cache){ .size = size,
		.mask = buckets - 1,
		.oldest = CACHE_NONE,
		.newest = CACHE_NONE };
	c->buckets = malloc(buckets * sizeof(*c->buckets));
	c->links = calloc(size, sizeof(*c->links));
	if (c->buckets == NULL || c->links == NULL) {
		cache_fini(c);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < buckets; i++)
		c->buckets[i] = CACHE_NONE;
	for (uint32_t i = 0; i < size; i++)
		c->links[i].next = i + 1 < size ? i + 1 : CACHE_NONE;
	return 0;
}

void cache_fini(struct cache *c)
{
	free(c->buckets);
	free(c->links);
	c->buckets = NULL;
	c->links = NULL;
}

static void unlink_use(struct cache *c, uint32_t slot)
{
	const struct cache_link *l = &c->links[slot];

	if (l->older != CACHE_NONE)
		c->links[l->older].newer = l->newer;
	else
		c->oldest = l->newer;
	if (l->newer != CACHE_NONE)
		c->links[l->newer].older = l->older;
	else
		c->newest = l->older;
}

static void link_newest(struct cache *c, uint32_t slot)
{
	struct cache_link *l = &c->links[slot];

	l->older = c->newest;
	l->newer = CACHE_NONE;
	if (c->newest != CACHE_NONE)
		c->links[c->newest].newer = slot;
	else
		c->oldest = slot;
	c->newest = slot;
}

void cache_touch(struct cache *c, uint32_t slot)
{
	if (c->newest == slot)
		return;
	unlink_use(c, slot);
	link_newest(c, slot);
}

uint32_t cache_find(struct cache *c, uint64_t hash,
	bool (*same)(const void *ctx, uint32_t slot, const void *key), const void *ctx,
	const void *key)
{
	uint32_t i = c->buckets[hash & c->mask];

	for (; i != CACHE_NONE; i = c->links[i].next) {
		if (c->links[i].hash != hash || !same(ctx, i, key))
			continue;
		cache_touch(c, i);
		return i;
	}
	return CACHE_NONE;
}

uint32_t cache_add(struct cache *c, uint64_t hash)
{
	uint32_t slot = c->free, *bucket = &c->buckets[hash & c->mask];

	if (slot == CACHE_NONE)
		return CACHE_NONE;
	c->free = c->links[slot].next;
	c->links[slot] =
		(struct cache_link){ .hash = hash, .next = *bucket, .used = true };
	*bucket = slot;
	link_newest(c, slot);
	c->used++;
	return slot;
}

void cache_del(struct cache *c, uint32_t slot)
{
	struct cache_link *l = &c->links[slot];
	uint32_t *at = &c->buckets[l->hash & c->mask];

	while (*at != slot)
		at = &c->links[*at].next;
	*at = l->next;
	unlink_use(c, slot);
	l->used = false;
	l->next = c->free;
	c->free = slot;
	c->used--;
}

uint32_t cache_oldest(const struct cache *c)
{
	return c->oldest;
}

uint32_t cache_newer(const struct cache *c, uint32_t slot)
{
	return c->links[slot].newer;
}

uint64_t cache_hash(uint64_t seed, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	uint64_t h = seed ^ len * UINT64_C(0x9e3779b97f4a7c15);

	while (len > 0) {
		size_t n = len < 8 ? len : 8;
		uint64_t word = 0;

		memcpy(&word, at, n);
		h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
		h ^= h >> 32 ^ seed;
		at += n;
		len -= n;
	}
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ h >> 29;
}
