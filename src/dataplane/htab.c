/*
 * Chained hash table.  Own instead of a macro library because the packet path wants keyed
 * hashing, keys of whole words and no allocation per lookup or per entry.
 */
#include "dataplane/htab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BUCKETS 64

static uint64_t hash_key(const struct htab *t, const void *key)
{
	const uint8_t *p = key;
	uint64_t h = t->secret;

	for (uint32_t i = 0; i < t->key_size; i += 4) {
		uint32_t word;

		memcpy(&word, p + i, sizeof word);
		h = (h ^ word) * 0x9e3779b97f4a7c15;
		h ^= h >> 29;
	}
	return h ^ h >> 32;
}

int htab_init(struct htab *t, uint32_t key_size, uint64_t secret)
{
	*t = (struct htab){ .key_size = key_size, .secret = secret };
	t->bucket = calloc(FIRST_BUCKETS, sizeof(struct htab_node *));
	if (!t->bucket)
		return -ENOMEM;
	t->buckets = FIRST_BUCKETS;
	return 0;
}

void htab_fini(struct htab *t)
{
	free(t->bucket);
	*t = (struct htab){ 0 };
}

static struct htab_node **chain(const struct htab *t, uint64_t hash)
{
	return &t->bucket[hash & (t->buckets - 1)];
}

void *htab_find(const struct htab *t, const void *key)
{
	uint64_t hash = hash_key(t, key);

	for (struct htab_node *e = *chain(t, hash); e; e = e->next)
		if (e->hash == hash && memcmp(e + 1, key, t->key_size) == 0)
			return e;
	return NULL;
}

static void grow(struct htab *t)
{
	struct htab bigger = *t;

	bigger.buckets *= 2;
	bigger.bucket = calloc(bigger.buckets, sizeof(struct htab_node *));
	if (!bigger.bucket)
		return;
	for (uint32_t i = 0; i < t->buckets; i++) {
		for (struct htab_node *e = t->bucket[i], *next; e; e = next) {
			struct htab_node **to = chain(&bigger, e->hash);

			next = e->next;
			e->next = *to;
			*to = e;
		}
	}
	free(t->bucket);
	*t = bigger;
}

void htab_add(struct htab *t, void *entry)
{
	struct htab_node *e = entry;

	if (t->n >= t->buckets && t->buckets < UINT32_MAX / 2)
		grow(t);
	e->hash = hash_key(t, e + 1);
	struct htab_node **to = chain(t, e->hash);
	e->next = *to;
	*to = e;
	t->n++;
}

void htab_del(struct htab *t, void *entry)
{
	struct htab_node *e = entry, **at = chain(t, e->hash);

	while (*at && *at != e)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = e->next;
	t->n--;
}

void htab_clear(struct htab *t, void (*release)(void *entry))
{
	for (uint32_t i = 0; i < t->buckets; i++) {
		for (struct htab_node *e = t->bucket[i], *next; e; e = next) {
			next = e->next;
			release(e);
		}
		t->bucket[i] = NULL;
	}
	t->n = 0;
}

void htab_each(const struct htab *t, void (*fn)(void *entry, void *ctx), void *ctx)
{
	for (uint32_t i = 0; i < t->buckets; i++)
		for (struct htab_node *e = t->bucket[i]; e; e = e->next)
			fn(e, ctx);
}
