#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Index of a fixed array: slots are found by hash, and the one that was not used for
 * longest can be taken for something new.  The array itself is the caller's; slot i is
 * its element i.  No memory is taken after cache_init().
 */

#define CACHE_NONE UINT32_MAX

struct cache_link {
	uint64_t hash;
	uint32_t next;         /* of the bucket, or of the free ones */
	uint32_t older, newer; /* by use */
	bool used;
};

struct cache {
	uint32_t size, used, mask;
	uint32_t *buckets;
	struct cache_link *links;
	uint32_t oldest, newest, free;
};

/* 0 or -ENOMEM. */
int cache_init(struct cache *c, uint32_t size);
void cache_fini(struct cache *c);

/*
 * The slot with that hash for which same() holds; it becomes the newest.  key is handed
 * through.
 */
uint32_t cache_find(struct cache *c, uint64_t hash,
	bool (*same)(const void *ctx, uint32_t slot, const void *key), const void *ctx,
	const void *key);
/* An unused slot, used from now on; CACHE_NONE when all are. */
uint32_t cache_add(struct cache *c, uint64_t hash);
void cache_del(struct cache *c, uint32_t slot);
void cache_touch(struct cache *c, uint32_t slot);
/* The used slot that was not touched for longest; CACHE_NONE: none is used. */
uint32_t cache_oldest(const struct cache *c);
/* For walks over what is used: begin with cache_oldest(). */
uint32_t cache_newer(const struct cache *c, uint32_t slot);

/* Keyed: who does not know seed cannot choose keys that collide. */
uint64_t cache_hash(uint64_t seed, const void *bytes, size_t len);
