/* A binary heap whose members know their place. */
#include "kx/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int heap_init(struct heap *h, uint32_t size)
{
	*h = (struct heap){ .size = size };
	h->timers = calloc(size + 1UL, sizeof(struct heap_timer *));
	return h->timers != NULL ? 0 : -ENOMEM;
}

void heap_fini(struct heap *h)
{
	free(h->timers);
	h->timers = NULL;
}

static void put(struct heap *h, struct heap_timer *t, uint32_t place)
{
	h->timers[place] = t;
	t->place = place;
}

/* t goes where it belongs, from a hole at place on. */
static void settle(struct heap *h, struct heap_timer *t, uint32_t place)
{
	while (place > 1 && h->timers[place / 2]->at_ms > t->at_ms) {
		put(h, h->timers[place / 2], place);
		place /= 2;
	}
	for (;;) {
		uint32_t child = 2 * place;

		if (child > h->n)
			break;
		if (child < h->n && h->timers[child + 1]->at_ms < h->timers[child]->at_ms)
			child++;
		if (h->timers[child]->at_ms >= t->at_ms)
			break;
		put(h, h->timers[child], place);
		place = child;
	}
	put(h, t, place);
}

void heap_set(struct heap *h, struct heap_timer *t, uint64_t at_ms)
{
	uint32_t place = t->place;

	t->at_ms = at_ms;
	if (place == 0) {
		assert(h->n < h->size);
		place = ++h->n;
	}
	settle(h, t, place);
}

void heap_stop(struct heap *h, struct heap_timer *t)
{
	uint32_t place = t->place;
	struct heap_timer *last;

	if (place == 0)
		return;
	t->place = 0;
	last = h->timers[h->n--];
	if (last != t)
		settle(h, last, place);
}

struct heap_timer *heap_first(const struct heap *h)
{
	return h->n > 0 ? h->timers[1] : NULL;
}
