#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Public keys of IPSECKEY records (RFC 4025 section 2.6, RFC 9373) as the
 * SubjectPublicKeyInfo that IKE daemons and TLS libraries read (RFC 5280 section 4.1,
 * RFC 8410).  Pure.
 */

#define SPKI_MAX 600 /* of an RSA key of 4,096 bits */

/* Algorithms of IPSECKEY. */
enum { SPKI_RSA = 2, SPKI_ECDSA = 3, SPKI_EDDSA = 4 };

/*
 * key: the record's public key field.  Returns the length written, ERR_UNSUPPORTED for an
 * algorithm or curve that is not known, ERR_MALFORMED for a key that is none of its
 * algorithm (RSA: 1,024 to 4,096 bits).
 */
int spki_encode(
	uint8_t algorithm, const uint8_t *key, size_t len, uint8_t out[static SPKI_MAX]);
