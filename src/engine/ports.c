/*
 * Which ports a host gets.  Aligned blocks first: kernels turn a port selector into a
 * value and a mask, and an aligned block of a power of two is one selector.  The place is
 * random so that a stranger cannot guess a host's ports (RFC 3102 6.1 gives the hold-down
 * for the rest).
 */
#include "engine/ports.h"

#define PORTS 65536U

uint32_t ports_count(const struct ports *p)
{
	uint32_t n = 0;

	for (size_t i = 0; i < PORTS_WORDS; i++)
		n += (uint32_t)__builtin_popcountll(p->word[i]);
	return n;
}

static uint64_t free_word(
	const struct ports *usable, const struct ports *busy, uint32_t i)
{
	return usable->word[i] & (busy != NULL ? ~busy->word[i] : ~0ULL);
}

static uint32_t power_of_two(uint32_t n)
{
	uint32_t size = 1;

	while (size < n)
		size *= 2;
	return size;
}

/* Bits of a word at which n free ports begin on a multiple of size; n <= size <= 64. */
static uint64_t aligned_starts(uint64_t free, uint32_t n, uint32_t size)
{
	uint64_t starts = free;
	uint64_t multiples = 0;

	for (uint32_t i = 1; i < n; i++)
		starts &= free >> i;
	for (uint32_t i = 0; i < 64; i += size)
		multiples |= 1ULL << i;
	return starts & multiples;
}

/* One of the set bits, each as likely. */
static uint32_t any_bit(uint64_t bits, struct random *random)
{
	uint32_t skip = random_below(random, (uint32_t)__builtin_popcountll(bits));

	while (skip-- > 0)
		bits &= bits - 1;
	return (uint32_t)__builtin_ctzll(bits);
}

static bool all_free(
	const struct ports *usable, const struct ports *busy, uint32_t first, uint32_t n)
{
	for (uint32_t p = first; p < first + n;) {
		uint32_t bits = 64 - p % 64;

		if (bits > first + n - p)
			bits = first + n - p;
		uint64_t want = (bits == 64 ? ~0ULL : (1ULL << bits) - 1) << (p % 64);
		if ((free_word(usable, busy, p / 64) & want) != want)
			return false;
		p += bits;
	}
	return true;
}

static uint32_t words_used(const struct ports *p)
{
	uint32_t n = 0;

	for (size_t i = 0; i < PORTS_WORDS; i++)
		n += p->word[i] != 0;
	return n;
}

/*
 * A random word to begin at, of those that have usable ports: a search that begins where
 * nothing is leased ends at the same first port again and again.
 */
static uint32_t begin_word(const struct ports *usable, struct random *random)
{
	uint32_t word, skip;

	for (int i = 0; i < 4; i++) { /* enough where most ports are usable */
		word = random_below(random, PORTS_WORDS);
		if (usable->word[word] != 0)
			return word;
	}
	skip = words_used(usable);
	skip = skip > 0 ? random_below(random, skip) : 0;
	for (word = 0; word < PORTS_WORDS - 1; word++)
		if (usable->word[word] != 0 && skip-- == 0)
			break;
	return word;
}

static bool pick_aligned(const struct ports *usable, const struct ports *busy, uint32_t n,
	struct random *random, uint32_t *first)
{
	uint32_t size = power_of_two(n);
	uint32_t step = size <= 64 ? 1 : size / 64; /* words a step */
	uint32_t steps = PORTS_WORDS / step;
	uint32_t start = begin_word(usable, random) / step;

	for (uint32_t i = 0; i < steps; i++) {
		uint32_t word = (start + i) % steps * step;

		if (size <= 64) {
			uint64_t at =
				aligned_starts(free_word(usable, busy, word), n, size);

			if (at == 0)
				continue;
			*first = word * 64 + any_bit(at, random);
			return true;
		}
		if (all_free(usable, busy, word * 64, n)) {
			*first = word * 64;
			return true;
		}
	}
	return false;
}

/* The first run of n free ports at or after a random port, wrapping around once. */
static bool pick_run(const struct ports *usable, const struct ports *busy, uint32_t n,
	struct random *random, uint32_t *first)
{
	uint32_t start = begin_word(usable, random) * 64 + random_below(random, 64);
	uint32_t run = 0;

	for (uint32_t i = 0; i < PORTS + n; i++) {
		uint32_t port = (start + i) % PORTS;

		if (port == 0)
			run = 0; /* a run does not wrap */
		uint64_t free = free_word(usable, busy, port / 64);
		if (port % 64 == 0 && free == 0) {
			i += 63;
			run = 0;
			continue;
		}
		run = (free >> (port % 64)) & 1 ? run + 1 : 0;
		if (run == n) {
			*first = port + 1 - n;
			return true;
		}
	}
	return false;
}

static size_t pick_list(const struct ports *usable, const struct ports *busy, uint32_t n,
	struct random *random, struct range *out)
{
	uint32_t start = begin_word(usable, random);
	uint32_t got = 0;

	for (uint32_t i = 0; i < PORTS_WORDS && got < n; i++) {
		uint32_t word = (start + i) % PORTS_WORDS;
		uint64_t free = free_word(usable, busy, word);

		for (; free != 0 && got < n; free &= free - 1) {
			uint32_t port = word * 64 + (uint32_t)__builtin_ctzll(free);

			out[got++] = (struct range){ port, port };
		}
	}
	return got == n ? ranges_normalise(out, got) : 0;
}

size_t ports_pick(const struct ports *usable, const struct ports *busy, uint32_t n,
	struct random *random, struct range *out)
{
	uint32_t first;

	if (pick_aligned(usable, busy, n, random, &first) ||
		(n > 1 && pick_run(usable, busy, n, random, &first))) {
		out[0] = (struct range){ first, first + n - 1 };
		return 1;
	}
	return n > 1 ? pick_list(usable, busy, n, random, out) : 0;
}
