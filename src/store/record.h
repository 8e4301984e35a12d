#pragma once

#include "engine/effect.h"
#include "store/store.h"

/*
 * The bytes of leases.mdb.  Numbers are big-endian, so that keys sort by kind and number.
 *
 * Key:   kind (1), then  meta: nothing
 *                        registration: client ID (4)
 *                        lease: bind ID (4)
 *                        resting: address (4), kind (1), lowest number (4)
 * Value: record version (1), body, CRC-32 (4) over key, version and body.
 *
 * Times are on the store's line ("line_ms", see store.h), all ones is never.
 *
 * Version 2 of a lease has, behind the remote port, the number of further remote
 * addresses (1), these (4 each), the length of the remote's name (1) and the name.  A
 * lease that has neither is written as version 1, which an older program reads too.
 * Version 3 has behind that the length of the identity of a METHOD_IKE lease (2) and it.
 *
 * Version 2 of a resting record has its time in the key, so that what comes to rest is
 * written side by side and what has rested is removed side by side; version 1 had it
 * behind the value's number, and is read still.
 *
 * Version 2 of a registration has the identity (8) behind the counter; one without is
 * version 1.
 */

#define RECORD_VERSION 3 /* the newest that is known */

enum record_kind { RECORD_META, RECORD_REGISTRATION, RECORD_LEASE, RECORD_RESTING };

#define RECORD_KEY_MAX 18
struct record_key {
	uint8_t bytes[RECORD_KEY_MAX];
	size_t len;
};

/* The file's head: what it is, and where the time line stood at the last commit. */
struct record_meta {
	uint32_t format;
	uint8_t boot_id[16];
	int64_t offset_ms; /* line = boot clock + offset, in that boot */
	uint64_t line_ms;
	uint64_t wall_ms;
};

/* Growing bytes: the encoded records of a batch. */
struct record_bytes {
	uint8_t *at;
	size_t len, size;
};

/*
 * Append a value to `to`; -ENOMEM leaves it as it was.  `offset_ms` turns the engine's
 * times into those of the line.
 */
int record_meta_encode(struct record_bytes *to, const struct record_key *key,
	const struct record_meta *m);
int record_registration_encode(struct record_bytes *to, const struct record_key *key,
	const struct registration *r, int64_t offset_ms);
int record_lease_encode(struct record_bytes *to, const struct record_key *key,
	const struct lease *l, int64_t offset_ms);
int record_resting_encode(
	struct record_bytes *to, const struct record_key *key, const struct resting *r);

struct record_key record_key_meta(void);
struct record_key record_key_registration(uint32_t client_id);
struct record_key record_key_lease(uint32_t bind_id);
struct record_key record_key_resting(const struct resting *r, int64_t offset_ms);

/*
 * One record of the file.  `ranges` (a growing buffer of the caller, freed by it) holds a
 * lease's ranges until the next call; its name stands in the
 * value.
 */
struct record {
	enum record_kind kind;
	union {
		struct record_meta meta;
		struct registration registration;
		struct lease lease;
		struct resting resting;
	};
};
struct record_ranges {
	struct range *at;
	size_t size;
};

/* Does the value belong to the key and say what was written?  ERR_CORRUPT, ERR_VERSION.
 */
int record_verify(const uint8_t *key, size_t key_len, const uint8_t *value, size_t len);
/*
 * Verifies and decodes; times come back on the engine's clock (a moment before its start
 * is 0, but for granted_ms: see effect.h).  ERR_CORRUPT, ERR_VERSION, -ENOMEM.
 */
int record_decode(const uint8_t *key, size_t key_len, const uint8_t *value, size_t len,
	int64_t offset_ms, struct record_ranges *ranges, struct record *r);
