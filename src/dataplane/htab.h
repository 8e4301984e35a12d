#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Hash table of entries that their owner keeps: an entry begins with a struct htab_node
 * and its key follows at once (whole 32-bit words, no padding).  The hash is keyed, as
 * hosts and peers choose some of the keys.
 */

struct htab_node {
	struct htab_node *next;
	uint64_t hash;
};

struct htab {
	struct htab_node **bucket;
	uint32_t buckets; /* a power of two */
	uint32_t n;
	uint32_t key_size;
	uint64_t secret;
};

/* 0 or -ENOMEM. */
int htab_init(struct htab *t, uint32_t key_size, uint64_t secret);
/* Frees the buckets, not the entries. */
void htab_fini(struct htab *t);

/* The entry with this key, or NULL. */
void *htab_find(const struct htab *t, const void *key);
/*
 * Puts an entry whose key is set and not there yet; grows the table, and where memory is
 * short only makes chains longer, so it can't fail.
 */
void htab_add(struct htab *t, void *entry);
void htab_del(struct htab *t, void *entry);
/* Takes every entry out and hands each to release: for tearing down. */
void htab_clear(struct htab *t, void (*release)(void *entry));
/* Calls fn for every entry; fn must not add or delete. */
void htab_each(const struct htab *t, void (*fn)(void *entry, void *ctx), void *ctx);
