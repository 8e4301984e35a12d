#pragma once

#include "auth/seal.h"

/*
 * The gateway's end of seals: every key with the numbers that it has seen.  What it holds
 * is bounded by the key file, whatever arrives.
 */
struct guard;

/* epoch: random, of this start. */
int guard_new(uint64_t epoch, struct guard **guard);
void guard_free(struct guard *g);
/*
 * These keys from now on; takes them over and leaves *keys empty.  A key that was there
 * before keeps its numbers.  -ENOMEM with nothing changed.
 */
int guard_set_keys(struct guard *g, struct auth_keys *keys);
/* Borrowed until the next guard_set_keys(). */
const struct auth_keys *guard_keys(const struct guard *g);

enum guard_verdict {
	GUARD_PLAIN, /* no seal */
	GUARD_GOOD,
	GUARD_BAD,   /* a seal that is not of any key, or not of this message */
	GUARD_STALE, /* of a key, but a number or epoch of before: challenge it */
};

/* What a seal proves; for the answer, too. */
struct guard_from {
	uint64_t identity, number;
	uint32_t key_id;
};

/* GOOD takes the seal off: *len and the Overall length become shorter. */
enum guard_verdict guard_open(struct guard *g, uint32_t host, uint32_t gateway,
	uint8_t *bytes, size_t *len, struct guard_from *from);
/*
 * Seal an answer, or with number 0 an unasked message, for who is in `to`: by the key,
 * or where that is 0 or gone by another key of the identity.  The new length,
 * ERR_NOTFOUND: no such key any more, ERR_NOSPACE.
 */
int guard_seal(struct guard *g, uint32_t host, uint32_t gateway,
	const struct guard_from *to, uint8_t *bytes, size_t len, size_t size);
/*
 * The challenge to a stale message (`counter`: its Message Counter); its length, or
 * ERR_REFUSED: too many of this key a second.
 */
int guard_challenge(struct guard *g, uint32_t host, uint32_t gateway,
	const struct guard_from *to, uint32_t counter, uint64_t now_ms, uint8_t *buf,
	size_t size);
