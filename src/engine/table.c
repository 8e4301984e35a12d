/*
 * Open addressing with linear probing.  bench/engine is why this is not uthash: with a
 * million leases its handles and its list of all rows made a request wait for memory
 * several times more, and took 56 bytes a row.
 */
#include "engine/table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define SIZE_LEAST 64U

struct table_slot {
	uint64_t key;
	void *row; /* NULL: empty */
};

static uint32_t home(const struct table *t, uint64_t key)
{
	uint64_t h = (key ^ t->seed) * 0x9e3779b97f4a7c15ULL;

	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ULL;
	return (uint32_t)(h >> 32) & (t->size - 1);
}

static void put(struct table *t, uint64_t key, void *row)
{
	uint32_t i = home(t, key);

	while (t->slots[i].row != NULL)
		i = (i + 1) & (t->size - 1);
	t->slots[i] = (struct table_slot){ key, row };
}

int table_reserve(struct table *t, uint32_t more)
{
	uint64_t need = ((uint64_t)t->n + more) * 4 / 3 + 1;
	struct table grown = { .size = t->size, .seed = t->seed };

	if (need <= t->size)
		return 0;
	if (grown.size == 0)
		grown.size = SIZE_LEAST;
	while (grown.size < need)
		grown.size *= 2;
	grown.slots = calloc(grown.size, sizeof(*grown.slots));
	if (grown.slots == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->size; i++)
		if (t->slots[i].row != NULL)
			put(&grown, t->slots[i].key, t->slots[i].row);
	grown.n = t->n;
	free(t->slots);
	*t = grown;
	return 0;
}

void table_fini(struct table *t)
{
	free(t->slots);
	*t = (struct table){ .seed = t->seed };
}

void *table_find(const struct table *t, uint64_t key)
{
	if (t->n == 0)
		return NULL;
	for (uint32_t i = home(t, key); t->slots[i].row != NULL;
		i = (i + 1) & (t->size - 1))
		if (t->slots[i].key == key)
			return t->slots[i].row;
	return NULL;
}

void table_add(struct table *t, uint64_t key, void *row)
{
	assert(t->n < t->size);
	put(t, key, row);
	t->n++;
}

/*
 * Close the hole: a later row of the run moves into it unless its home lies behind the
 * hole, where a search would not pass the hole.
 */
static void close_hole(struct table *t, uint32_t hole)
{
	uint32_t mask = t->size - 1;

	for (uint32_t i = (hole + 1) & mask; t->slots[i].row != NULL;
		i = (i + 1) & mask) {
		uint32_t from_home = (i - home(t, t->slots[i].key)) & mask;

		if (from_home >= ((i - hole) & mask)) {
			t->slots[hole] = t->slots[i];
			hole = i;
		}
	}
	t->slots[hole].row = NULL;
}

void table_del(struct table *t, uint64_t key)
{
	if (t->n == 0)
		return;
	for (uint32_t i = home(t, key); t->slots[i].row != NULL;
		i = (i + 1) & (t->size - 1))
		if (t->slots[i].key == key) {
			t->n--;
			close_hole(t, i);
			return;
		}
}

void *table_next(const struct table *t, size_t *at)
{
	while (*at < t->size) {
		void *row = t->slots[(*at)++].row;

		if (row != NULL)
			return row;
	}
	return NULL;
}
