#pragma once

#include <stddef.h>

/* Memory that goes in one call.  Zeroed storage is an empty arena. */
struct arena_block;
struct arena {
	struct arena_block *blocks; /* the newest first */
};

/* size zeroed bytes, aligned for any type; NULL when memory is short.  size 0 is 1. */
void *arena_alloc(struct arena *a, size_t size);
/* n elements; NULL also when the product overflows. */
void *arena_array(struct arena *a, size_t n, size_t size);
char *arena_text(struct arena *a, const char *text);
void arena_fini(struct arena *a);
