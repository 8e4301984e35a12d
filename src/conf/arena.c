/*
 * An arena for a configuration: a few hundred small pieces, made together, gone together.
 */
#include "conf/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 4096

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	alignas(max_align_t) unsigned char bytes[];
};

static struct arena_block *block_add(struct arena *a, size_t size)
{
	struct arena_block *b;

	if (size < BLOCK)
		size = BLOCK;
	if (size > SIZE_MAX - sizeof(*b))
		return NULL;
	b = calloc(1, sizeof(*b) + size);
	if (b == NULL)
		return NULL;
	b->size = size;
	b->next = a->blocks;
	a->blocks = b;
	return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
	const size_t align = alignof(max_align_t);
	struct arena_block *b = a->blocks;
	void *at;

	if (size > SIZE_MAX / 2)
		return NULL;
	size = size == 0 ? align : (size + align - 1) / align * align;
	if (b == NULL || b->size - b->used < size)
		b = block_add(a, size);
	if (b == NULL)
		return NULL;
	at = b->bytes + b->used;
	b->used += size;
	return at;
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
	return size > 0 && n > SIZE_MAX / size ? NULL : arena_alloc(a, n * size);
}

char *arena_text(struct arena *a, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = arena_alloc(a, size);

	if (copy != NULL)
		memcpy(copy, text, size);
	return copy;
}

void arena_fini(struct arena *a)
{
	while (a->blocks != NULL) {
		struct arena_block *next = a->blocks->next;

		free(a->blocks);
		a->blocks = next;
	}
}
