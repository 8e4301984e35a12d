#pragma once

#include "kx/name.h"

/*
 * RDATA of the types that we ask for, to structs, and the few that we write.  Pure; each
 * decoder takes one whole RDATA and refuses one byte too few or too many as
 * ERR_MALFORMED: such a record is ignored by the caller.
 */

enum kx_type {
	KX_T_A = 1,
	KX_T_CNAME = 5,
	KX_T_SOA = 6,
	KX_T_PTR = 12,
	KX_T_AAAA = 28,
	KX_T_SRV = 33,
	KX_T_KX = 36,
	KX_T_IPSECKEY = 45,
	KX_T_RRSIG = 46,
	KX_T_TSIG = 250,
	KX_T_ANY = 255,
};

/* "A", "KX", ...; "TYPE123" for one that is not above, in buf. */
const char *kx_type_text(uint16_t type, char buf[static 12]);

/* RFC 2230 section 3. */
struct kx_rr {
	uint16_t preference;
	struct kx_name exchanger;
};

/* RFC 2782. */
struct kx_srv {
	uint16_t priority, weight, port;
	struct kx_name target;
};

enum kx_gateway { KX_GATEWAY_NONE, KX_GATEWAY_4, KX_GATEWAY_6, KX_GATEWAY_NAME };

/* Longest public key that we take: RSA of 4096 bits and its exponent (RFC 3110). */
#define KX_KEY_MAX 520

/* RFC 4025; algorithm 1 DSA, 2 RSA, 3 ECDSA, 4 EdDSA (RFC 9373). */
struct kx_key {
	uint8_t precedence;
	uint8_t algorithm;
	enum kx_gateway gateway_kind;
	struct kx_addr gateway;      /* KX_GATEWAY_4 and _6 */
	struct kx_name gateway_name; /* KX_GATEWAY_NAME */
	uint16_t len;
	uint8_t bytes[KX_KEY_MAX]; /* as in the record */
};

int kx_rr_decode(const uint8_t *rdata, size_t len, struct kx_rr *rr);
int kx_ptr_decode(const uint8_t *rdata, size_t len, struct kx_name *name);
int kx_addr_decode(uint16_t type, const uint8_t *rdata, size_t len, struct kx_addr *addr);
int kx_srv_decode(const uint8_t *rdata, size_t len, struct kx_srv *srv);
int kx_key_decode(const uint8_t *rdata, size_t len, struct kx_key *key);

/* Text of one RDATA as in a zone file; what does not decode as RFC 3597 has it (\# ...).
 * Returns buf; cut when size is too small. */
char *kx_rdata_format(
	uint16_t type, const uint8_t *rdata, size_t len, char *buf, size_t size);
/*
 * The reverse, for KX, A, AAAA, PTR, SRV and IPSECKEY, and "\# LEN HEX" for any type.
 * ERR_MALFORMED, ERR_NOSPACE.
 */
int kx_rdata_parse(
	uint16_t type, const char *text, uint8_t *rdata, size_t size, size_t *len);

struct kx_packet {
	/*
	 * Seconds until the first of the signatures in the answer and its proofs ends: at
	 * least what the answer's TTL must be cut to (RFC 4035 section 5.3.3).
	 * UINT32_MAX when there is none; 0 when one has ended.
	 */
	uint32_t left_s;
	unsigned cnames; /* on the way to the answer */
};

/*
 * now_s is wall-clock time as RRSIG counts it (modulo 2^32).  ERR_MALFORMED when the
 * packet does not parse.
 */
int kx_packet_read(
	const uint8_t *packet, size_t len, uint32_t now_s, struct kx_packet *out);
