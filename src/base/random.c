/*
 * Random numbers: the kernel's, and a seeded generator (splitmix64) for what must repeat.
 */
#include "base/random.h"

#include <stdlib.h>
#include <sys/random.h>

#define BLOCK 64

static uint32_t system_next(struct random *self)
{
	/* Shared by all system sources: they have no state of their own to tell apart. */
	static _Thread_local uint32_t block[BLOCK];
	static _Thread_local unsigned int left;

	(void)self;
	if (left == 0) {
		if (getrandom(block, sizeof block, 0) != (ssize_t)sizeof block)
			abort();
		left = BLOCK;
	}
	uint32_t value = block[--left];
	block[left] = 0; /* what was handed out can't be read again later */
	return value;
}

struct random random_system(void)
{
	return (struct random){ .next = system_next };
}

static uint32_t seeded_next(struct random *self)
{
	uint64_t z = self->state[0] += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (uint32_t)((z ^ (z >> 31)) >> 32);
}

struct random random_seeded(uint64_t seed)
{
	return (struct random){ .next = seeded_next, .state = { seed, 0 } };
}

uint32_t random_below(struct random *r, uint32_t n)
{
	/* Values below this one would make the first residues more likely. */
	uint32_t skip = (UINT32_MAX - n + 1) % n;
	uint32_t value;

	do {
		value = r->next(r);
	} while (value < skip);
	return value % n;
}
