/*
 * DER by hand: each algorithm but RSA is a fixed head in front of the record's bytes.
 */
#include "ike/spki.h"

#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"

#define RSA_BYTES_MIN 128
#define RSA_BYTES_MAX 512
#define EXPONENT_MAX  64

static const uint8_t ed25519[] = { 0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70,
	0x03, 0x21, 0x00 };
static const uint8_t ed448[] = { 0x30, 0x43, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x71,
	0x03, 0x3a, 0x00 };
/* id-ecPublicKey with the curve, and the mark of an uncompressed point. */
static const uint8_t p256[] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
	0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01,
	0x07, 0x03, 0x42, 0x00, 0x04 };
static const uint8_t p384[] = { 0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48,
	0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62,
	0x00, 0x04 };
/* rsaEncryption, NULL */
static const uint8_t rsa[] = { 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d,
	0x01, 0x01, 0x01, 0x05, 0x00 };

static const struct {
	uint8_t algorithm;
	size_t len;
	const uint8_t *head;
	size_t head_len;
} fixed[] = {
	{ SPKI_EDDSA, 32, ed25519, sizeof(ed25519) },
	{ SPKI_EDDSA, 57, ed448, sizeof(ed448) },
	{ SPKI_ECDSA, 64, p256, sizeof(p256) },
	{ SPKI_ECDSA, 96, p384, sizeof(p384) },
};

static size_t length_size(size_t len)
{
	return len < 0x80 ? 1 : len < 0x100 ? 2 : 3;
}

static void put_head(struct wr *w, uint8_t tag, size_t len)
{
	wr_u8(w, tag);
	if (len >= 0x100)
		wr_u8(w, 0x82);
	else if (len >= 0x80)
		wr_u8(w, 0x81);
	if (len >= 0x100)
		wr_u16(w, (uint16_t)len);
	else
		wr_u8(w, (uint8_t)len);
}

/* Of a positive number without leading zeros. */
static size_t integer_len(const uint8_t *bytes, size_t len)
{
	return len + (bytes[0] >> 7);
}

static void put_integer(struct wr *w, const uint8_t *bytes, size_t len)
{
	put_head(w, 0x02, integer_len(bytes, len));
	if (bytes[0] >> 7)
		wr_u8(w, 0);
	wr_bytes(w, bytes, len);
}

static size_t whole(size_t len)
{
	return 1 + length_size(len) + len;
}

/* RFC 3110 section 2: length of the exponent in one byte or, behind a zero, in two. */
static int rsa_encode(const uint8_t *key, size_t len, uint8_t *out)
{
	struct rd r = rd_init(key, len);
	struct wr w = wr_init(out, SPKI_MAX);
	size_t e_len = rd_u8(&r), n_len, numbers, bits;
	const uint8_t *e, *n;

	if (e_len == 0)
		e_len = rd_u16(&r);
	e = rd_take(&r, e_len);
	n_len = rd_left(&r);
	n = rd_take(&r, n_len);
	if (r.bad || e == NULL || n == NULL || e_len == 0 || e_len > EXPONENT_MAX ||
		e[0] == 0 || n_len < RSA_BYTES_MIN || n_len > RSA_BYTES_MAX || n[0] == 0)
		return ERR_MALFORMED;
	numbers = whole(integer_len(n, n_len)) + whole(integer_len(e, e_len));
	bits = 1 + whole(numbers);
	put_head(&w, 0x30, sizeof(rsa) + whole(bits));
	wr_bytes(&w, rsa, sizeof(rsa));
	put_head(&w, 0x03, bits);
	wr_u8(&w, 0); /* no unused bits */
	put_head(&w, 0x30, numbers);
	put_integer(&w, n, n_len);
	put_integer(&w, e, e_len);
	return w.bad ? ERR_MALFORMED : (int)wr_len(&w);
}

int spki_encode(
	uint8_t algorithm, const uint8_t *key, size_t len, uint8_t out[static SPKI_MAX])
{
	if (algorithm == SPKI_RSA)
		return rsa_encode(key, len, out);
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		if (fixed[i].algorithm != algorithm || fixed[i].len != len)
			continue;
		memcpy(out, fixed[i].head, fixed[i].head_len);
		memcpy(out + fixed[i].head_len, key, len);
		return (int)(fixed[i].head_len + len);
	}
	return algorithm == SPKI_ECDSA || algorithm == SPKI_EDDSA ? ERR_MALFORMED
								  : ERR_UNSUPPORTED;
}
