#pragma once

#include <stdint.h>

/*
 * Timers: a heap of structs that live in what they are for.  No memory is taken after
 * heap_init().
 */
struct heap_timer {
	uint64_t at_ms;
	uint32_t place; /* in the heap, from 1; 0: not running */
	uint32_t kind;  /* the caller's: what it is for */
	uint32_t index;
};

struct heap {
	struct heap_timer **timers; /* from 1 */
	uint32_t n, size;
};

int heap_init(struct heap *h, uint32_t size); /* 0 or -ENOMEM */
void heap_fini(struct heap *h);
/* Run until at_ms, again or anew.  At most `size` may run. */
void heap_set(struct heap *h, struct heap_timer *t, uint64_t at_ms);
void heap_stop(struct heap *h, struct heap_timer *t);
/* Borrowed; NULL: none runs. */
struct heap_timer *heap_first(const struct heap *h);
