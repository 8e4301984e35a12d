/*
 * Which SPIs a host gets: unpredictable ones (RFC 3104 section 8), and for many one block
 * that starts on a power of two, so that it is one range for the host's IKE daemon and
 * one entry here.
 */
#include "engine/pool.h"

#define SPI_LEAST   256 /* 0-255 are reserved (RFC 2406) */
#define SPI_SINGLES 16  /* fewer than this are single numbers */
#define SPI_TRIES   32  /* random blocks before looking one after another */
#define SPI_STEPS   8192

bool pool_has_spis(const struct pool_addr *a, struct range r)
{
	const struct engine_pool *conf = a->pool->conf;

	for (size_t i = 0; i < conf->n_spis; i++)
		if (conf->spis[i].lo <= r.lo && r.hi <= conf->spis[i].hi)
			return r.lo >= SPI_LEAST;
	return false;
}

static uint64_t free_between(const struct pool_addr *a, struct range r)
{
	return (uint64_t)r.hi - r.lo + 1 -
	       (spans_below(&a->spis, (uint64_t)r.hi + 1) - spans_below(&a->spis, r.lo));
}

static struct range spi_range(const struct pool_addr *a, size_t i)
{
	struct range r = a->pool->conf->spis[i];

	if (r.lo < SPI_LEAST)
		r.lo = SPI_LEAST;
	return r;
}

static uint64_t random_below64(struct random *r, uint64_t n)
{
	if (n <= UINT32_MAX)
		return random_below(r, (uint32_t)n);
	uint64_t high = r->next(r);

	return ((high << 32) | r->next(r)) % n; /* n < 2^33: no bias to speak of */
}

/* Any free SPI, each as likely.  False when none is. */
static bool pick_spi(struct engine *e, const struct pool_addr *a, uint32_t *spi)
{
	size_t n = a->pool->conf->n_spis;
	uint64_t free = 0;

	for (size_t i = 0; i < n; i++)
		free += free_between(a, spi_range(a, i));
	if (free == 0)
		return false;
	uint64_t k = random_below64(&e->random, free);
	for (size_t i = 0; i < n; i++) {
		struct range r = spi_range(a, i);
		uint64_t here = free_between(a, r);

		if (k < here) {
			uint64_t before = r.lo - spans_below(&a->spis, r.lo);

			*spi = (uint32_t)spans_free_at(&a->spis, before + k);
			return true;
		}
		k -= here;
	}
	return false;
}

/* Is spi among those chosen already? */
static bool chosen(const struct range *out, size_t n, uint32_t spi)
{
	for (size_t i = 0; i < n; i++)
		if (out[i].lo == spi)
			return true;
	return false;
}

static size_t pick_singles(
	struct engine *e, const struct pool_addr *a, uint32_t n, struct range *out)
{
	uint64_t free = 0;
	uint32_t got = 0;

	for (size_t i = 0; i < a->pool->conf->n_spis; i++)
		free += free_between(a, spi_range(a, i));
	if (free < n)
		return 0;
	while (got < n) {
		uint32_t spi;

		if (!pick_spi(e, a, &spi))
			return 0;
		/* Few of many: that it is drawn twice is rare, unless all free ones are
		 * wanted, and then n is under 16. */
		if (!chosen(out, got, spi))
			out[got++] = (struct range){ spi, spi };
	}
	return ranges_normalise(out, got);
}

/* Blocks of `size` that lie in r: the first one's number and how many. */
static uint64_t blocks_of(struct range r, uint64_t size, uint32_t n, uint64_t *first)
{
	*first = (r.lo + size - 1) / size;
	uint64_t end = (uint64_t)r.hi + 1;

	return end >= n && (end - n) / size >= *first ? (end - n) / size - *first + 1 : 0;
}

/* From block `at` upwards, jumping over what is in the way; wraps around once. */
static bool find_block(const struct pool_addr *a, struct range r, uint64_t size,
	uint32_t n, uint64_t at, struct range *out)
{
	uint64_t first;
	uint64_t count = blocks_of(r, size, n, &first);
	uint64_t gone = 0; /* blocks looked at or jumped over */

	for (uint32_t step = 0; step < SPI_STEPS && gone < count; step++) {
		uint64_t block = first + (at + gone) % count;
		uint32_t lo = (uint32_t)(block * size);
		struct range want = { lo, lo + n - 1 };
		const struct span *taken = spans_overlap(&a->spis, want);

		if (taken == NULL) {
			*out = want;
			return true;
		}
		uint64_t next = taken->hi / size + 1;
		if (next > first + count)
			next = first + count;
		gone += next - block;
	}
	return false;
}

static bool random_block(struct engine *e, const struct pool_addr *a, uint64_t size,
	uint32_t n, uint64_t blocks, struct range *out)
{
	uint64_t k = random_below64(&e->random, blocks);

	for (size_t i = 0; i < a->pool->conf->n_spis; i++) {
		uint64_t first;
		uint64_t here = blocks_of(spi_range(a, i), size, n, &first);

		if (k < here) {
			uint32_t lo = (uint32_t)((first + k) * size);

			*out = (struct range){ lo, lo + n - 1 };
			return spans_overlap(&a->spis, *out) == NULL;
		}
		k -= here;
	}
	return false;
}

static size_t pick_block(
	struct engine *e, const struct pool_addr *a, uint32_t n, struct range *out)
{
	size_t n_ranges = a->pool->conf->n_spis;
	uint64_t size = 1, blocks = 0, first;

	while (size < n)
		size *= 2;
	for (size_t i = 0; i < n_ranges; i++)
		blocks += blocks_of(spi_range(a, i), size, n, &first);
	if (blocks == 0)
		return 0;
	for (int tries = 0; tries < SPI_TRIES; tries++)
		if (random_block(e, a, size, n, blocks, out))
			return 1;
	for (size_t i = 0; i < n_ranges; i++) {
		uint64_t here = blocks_of(spi_range(a, i), size, n, &first);

		if (here > 0 && find_block(a, spi_range(a, i), size, n,
					random_below64(&e->random, here), out))
			return 1;
	}
	return 0;
}

size_t pool_pick_spis(
	struct engine *e, const struct pool_addr *a, uint32_t n, struct range *out)
{
	return n < SPI_SINGLES ? pick_singles(e, a, n, out) : pick_block(e, a, n, out);
}
