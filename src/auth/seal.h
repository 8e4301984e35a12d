#pragma once

#include "auth/key.h"

/*
 * The seal of a UDP message: a Vendor Specific parameter (RFC 3103 section 8.12) at its
 * very end with an HMAC-SHA-256 over the whole message and both addresses.  The format is
 * that of docs/protocol.md, "Protection".
 *
 * Freshness without clocks.  A gateway has an epoch, a random number of its start; what
 * it seals names it, and a host names the epoch it last heard of.  Each end numbers its
 * messages; a number grows over those that it has seen of the other end, so a host that
 * has lost its memory is brought up by one answer.  A gateway takes each number of its
 * epoch once; to anything else that is sealed by the right key it says a challenge, with
 * epoch and number, and the host seals its request anew.
 */

#define SEAL_VENDOR    241 /* of the private range of the registry of RSIP vendors */
#define SEAL_MESSAGE   1   /* subtypes */
#define SEAL_CHALLENGE 2
#define SEAL_TAG_LEN   16
#define SEAL_LEN       51 /* the parameter with its header */
#define SEAL_WINDOW    64 /* numbers that may come out of order */

enum seal_direction { SEAL_TO_GATEWAY, SEAL_TO_HOST };

struct seal {
	uint16_t subtype;
	uint32_t key_id;
	uint64_t number; /* of this message; never 0 */
	uint64_t epoch;  /* the gateway's, as far as known; 0: not known */
	uint64_t about;  /* to the host: number of the request answered; 0: unasked */
};

/* The ends, which the tag covers: a seal is of no use from another address. */
struct seal_path {
	enum seal_direction direction;
	uint32_t host, gateway;
};

/*
 * Append a seal to a message and count it into the Overall length.  The new length, or
 * ERR_NOSPACE (of size, or of what UDP can carry), ERR_MALFORMED.
 */
int seal_put(uint8_t *bytes, size_t len, size_t size, const struct auth_key *key,
	const struct seal_path *path, const struct seal *seal);
/*
 * Is there a seal at the end?  0 and what it says, ERR_NOTFOUND, or ERR_MALFORMED: a seal
 * that is not one, or not the only one.  Nothing is believed yet.
 */
int seal_find(const uint8_t *bytes, size_t len, struct seal *seal);
/* In constant time. */
bool seal_is_good(const uint8_t *bytes, size_t len, const struct auth_key *key,
	const struct seal_path *path);
/* Take it off: Overall length too; the new length. */
size_t seal_strip(uint8_t *bytes, size_t len);

/* Numbers that have been seen. */
struct seal_window {
	uint64_t highest, bits; /* bit i: highest - i */
};
/* False: seen before, or too old to know. */
bool seal_window_take(struct seal_window *w, uint64_t number);
