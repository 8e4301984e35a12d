#pragma once

#include "kx/rr.h"

/*
 * DNS UPDATE (RFC 2136) signed with TSIG (RFC 8945, hmac-sha256): bytes only, no I/O.
 */

#define KX_UPDATE_MAX 4096 /* room for every message of ours */
#define KX_SECRET_MAX 64
#define KX_MAC        32

struct kx_tsig {
	struct kx_name name;
	uint8_t secret[KX_SECRET_MAX];
	size_t secret_len;
};

/*
 * A key from a file that only its owner can read: `key "NAME" { algorithm hmac-sha256;
 * secret "BASE64"; };` as tsig-keygen writes it, or a line hmac-sha256:NAME:BASE64.
 * ERR_CONFIG with the sentence in why.
 */
int kx_tsig_load(struct kx_tsig *key, const char *path, char *why, size_t why_size);

/* What a name is to have, all of it; without `present` the name goes. */
struct kx_publish {
	struct kx_name name;
	bool present;
	uint32_t addr;               /* A; host order */
	uint16_t port;               /* SRV _isakmp._udp; 0: none, IKE is on 500 */
	uint8_t key[3 + KX_KEY_MAX]; /* RDATA of IPSECKEY */
	size_t key_len;              /* 0: none */
	uint32_t ttl_s;
};

/*
 * One transaction: the whole of the name and of _isakmp._udp below it goes, and A, KX 10
 * (itself), SRV and IPSECKEY come.  Deleting KX alone would say "I exchange keys myself".
 */
int kx_update_encode(const struct kx_publish *p, const struct kx_name *zone, uint16_t id,
	uint8_t *buf, size_t size, size_t *len);
/* The PTR record of a whole address, alone (present), or none. */
int kx_update_encode_ptr(const struct kx_publish *p, const struct kx_name *zone,
	uint16_t id, uint8_t *buf, size_t size, size_t *len);
/* A question for the zone that a name is in. */
int kx_soa_encode(
	const struct kx_name *name, uint16_t id, uint8_t *buf, size_t size, size_t *len);
/* From its answer: the owner of the SOA record.  ERR_MALFORMED, ERR_NOTFOUND. */
int kx_soa_decode(const uint8_t *packet, size_t len, uint16_t id,
	const struct kx_name *name, struct kx_name *zone);

/* Append TSIG to a message of *len bytes; mac is needed to check the answer. */
int kx_tsig_sign(const struct kx_tsig *key, uint64_t now_s, uint8_t *buf, size_t size,
	size_t *len, uint8_t mac[static KX_MAC]);
/*
 * An answer to what was signed: 0 with its rcode; ERR_MALFORMED when it is none of ours
 * (another id, or its signature does not hold: wait on); with an rcode of NOTAUTH the
 * answer may be unsigned, *tsig_error then says why (RFC 8945: 16 BADSIG, 17 BADKEY, 18
 * BADTIME).
 */
int kx_tsig_check(const struct kx_tsig *key, const uint8_t *packet, size_t len,
	uint16_t id, const uint8_t mac[static KX_MAC], uint64_t now_s, uint8_t *rcode,
	uint16_t *tsig_error);
/* "NOTZONE", ...; a number's text for one unknown, in buf. */
const char *kx_rcode_text(uint8_t rcode, char buf[static 12]);
