#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The keys that hosts and gateway share: a text file, one key a line, the name of a host
 * and 32 random bytes in base64.  `rsip genkey NAME` prints such a line.
 *
 *     # name  key
 *     x1      3bWKRRsQ4pLaVYtWzpNHYvS7Gdj8KS+qzrv0sBp0AZM=
 *
 * A name may have several keys, so that one replaces the other without a gap.  On the
 * gateway each host has a name; a host's own file has one line, or its first counts.
 */

#define AUTH_NAME_MAX   63
#define AUTH_SECRET_LEN 32
#define AUTH_KEYS_MAX   65536
#define AUTH_WHY        256
/* Base64 and its NUL. */
#define AUTH_SECRET_TEXT 45

struct auth_key {
	char name[AUTH_NAME_MAX + 1];
	uint64_t identity;               /* of the name: auth_identity() */
	int line;                        /* of the file */
	uint32_t id;                     /* of the key: the first bytes of a hash of it */
	uint8_t secret[AUTH_SECRET_LEN]; /* of TLS */
	uint8_t to_gateway[AUTH_SECRET_LEN], to_host[AUTH_SECRET_LEN]; /* of UDP */
};

struct auth_keys {
	struct auth_key *at; /* in the order of the file */
	size_t n;
	uint32_t *by_id; /* places in `at`, by the numbers of the keys */
};

/*
 * ERR_CONFIG with "FILE:LINE: what is wrong" in why, or -ENOMEM; *keys is empty then.  A
 * file that others may read is refused.
 */
int auth_keys_load(const char *file, struct auth_keys *keys, char *why, size_t why_size);
int auth_keys_parse(const char *file, const char *text, struct auth_keys *keys, char *why,
	size_t why_size);
/* Overwrites the secrets. */
void auth_keys_fini(struct auth_keys *keys);

const struct auth_key *auth_key_find(const struct auth_keys *keys, uint32_t id);
/* The first one of that name or identity. */
const struct auth_key *auth_key_named(const struct auth_keys *keys, const char *name);
const struct auth_key *auth_key_of(const struct auth_keys *keys, uint64_t identity);

/* A name as a number that is never 0; so the engine need not know names. */
uint64_t auth_identity(const char *name);
/* 1 to 63 of letters, digits, '.', '_', '-', '@', ':'. */
bool auth_name_is_legal(const char *name);
/* A new secret as base64; false when there are no random numbers. */
bool auth_secret_new(char text[static AUTH_SECRET_TEXT]);
