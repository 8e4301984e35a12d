/* A ring of copies, bounded by its places and by the ranges that hang on them. */
#include "gateway/history.h"

#include <stdlib.h>
#include <string.h>

struct ended {
	struct lease lease; /* its ranges are behind `ports`, one allocation */
	struct range *ranges;
};

/* HISTORY_LEASES divides 2^32, so that a number's place survives the wrap. */
static struct ended *place(const struct history *h, uint32_t number)
{
	return &h->ring[number % HISTORY_LEASES];
}

static size_t ranges_of(const struct lease *l)
{
	return l->n_ports + l->n_spis;
}

static void forget_oldest(struct history *h)
{
	struct ended *e = place(h, h->next - h->n);

	h->ranges -= ranges_of(&e->lease);
	h->n--;
	free(e->ranges);
	e->ranges = NULL;
}

static struct range *ranges_copy(const struct lease *l)
{
	struct range *copy = calloc(ranges_of(l), sizeof(*copy));

	if (copy == NULL)
		return NULL;
	if (l->n_ports > 0)
		memcpy(copy, l->ports, l->n_ports * sizeof(*copy));
	if (l->n_spis > 0)
		memcpy(copy + l->n_ports, l->spis, l->n_spis * sizeof(*copy));
	return copy;
}

void history_add(struct history *h, const struct lease *l, uint64_t ended_ms)
{
	size_t ranges = ranges_of(l);
	struct ended e = { .lease = *l };

	if (h->ring == NULL)
		h->ring = calloc(HISTORY_LEASES, sizeof(*h->ring));
	if (h->ring == NULL || ranges > HISTORY_RANGES)
		return;
	if (ranges > 0) {
		e.ranges = ranges_copy(l);
		if (e.ranges == NULL)
			return;
		e.lease.ports = e.ranges;
		e.lease.spis = e.ranges + l->n_ports;
	}
	while (h->n == HISTORY_LEASES || h->ranges + ranges > HISTORY_RANGES)
		forget_oldest(h);
	e.lease.expires_ms = ended_ms;
	*place(h, h->next++) = e;
	h->n++;
	h->ranges += ranges;
}

void history_each(const struct history *h,
	bool (*each)(void *ctx, uint32_t number, const struct lease *l), void *ctx)
{
	for (uint32_t i = h->n; i > 0; i--)
		if (!each(ctx, h->next - i, &place(h, h->next - i)->lease))
			return;
}

const struct lease *history_find(const struct history *h, uint32_t number)
{
	/* How long ago it ended, in leases: 1 is the latest. */
	uint32_t ago = h->next - number;

	return ago >= 1 && ago <= h->n ? &place(h, number)->lease : NULL;
}

void history_fini(struct history *h)
{
	while (h->n > 0)
		forget_oldest(h);
	free(h->ring);
	h->ring = NULL;
}
