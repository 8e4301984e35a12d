#pragma once

#include <stdint.h>

/*
 * A source of random numbers, handed to code that must stay pure.  `next` returns 32
 * unpredictable bits (production: random_system; tests: random_seeded).
 */
struct random {
	uint32_t (*next)(struct random *self);
	uint64_t state[2]; /* of the seeded source */
};

/* The kernel's generator, read in blocks; never fails (aborts if the kernel has none). */
struct random random_system(void);
/* A reproducible source for tests and simulations; not for secrets. */
struct random random_seeded(uint64_t seed);

/* Uniform in 0..n-1 without modulo bias; n >= 1. */
uint32_t random_below(struct random *r, uint32_t n);
