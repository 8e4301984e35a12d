/*
 * Seals: bytes at the end of a message, and the numbers in them.
 */
#include "auth/seal.h"

#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"
#include "wire/proto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define PARAM_HEADER 3

static void tag_make(const uint8_t *bytes, size_t len, const struct auth_key *key,
	const struct seal_path *path, uint8_t tag[static EVP_MAX_MD_SIZE])
{
	const uint8_t *secret =
		path->direction == SEAL_TO_GATEWAY ? key->to_gateway : key->to_host;
	uint8_t covered[8 + RSIP_UDP_MAX];
	struct wr w = wr_init(covered, sizeof(covered));
	unsigned int n = EVP_MAX_MD_SIZE;

	wr_u32(&w, path->host);
	wr_u32(&w, path->gateway);
	wr_bytes(&w, bytes, len);
	(void)HMAC(EVP_sha256(), secret, AUTH_SECRET_LEN, covered, wr_len(&w), tag, &n);
}

static void put_u64(struct wr *w, uint64_t n)
{
	wr_u32(w, (uint32_t)(n >> 32));
	wr_u32(w, (uint32_t)n);
}

static uint64_t read_u64(struct rd *r)
{
	uint64_t high = rd_u32(r);

	return high << 32 | rd_u32(r);
}

static void length_set(uint8_t *bytes, size_t len)
{
	bytes[2] = (uint8_t)(len >> 8);
	bytes[3] = (uint8_t)len;
}

int seal_put(uint8_t *bytes, size_t len, size_t size, const struct auth_key *key,
	const struct seal_path *path, const struct seal *seal)
{
	size_t sealed = len + SEAL_LEN;
	uint8_t tag[EVP_MAX_MD_SIZE];
	struct wr w;

	if (len < RSIP_HEADER_LEN)
		return ERR_MALFORMED;
	if (sealed > size || sealed > RSIP_UDP_MAX)
		return ERR_NOSPACE;
	w = wr_init(bytes + len, SEAL_LEN);
	wr_u8(&w, PARAM_VENDOR);
	wr_u16(&w, SEAL_LEN - PARAM_HEADER);
	wr_u16(&w, SEAL_VENDOR);
	wr_u16(&w, seal->subtype);
	wr_u32(&w, seal->key_id);
	put_u64(&w, seal->number);
	put_u64(&w, seal->epoch);
	put_u64(&w, seal->about);
	length_set(bytes, sealed);
	tag_make(bytes, sealed - SEAL_TAG_LEN, key, path, tag);
	wr_bytes(&w, tag, SEAL_TAG_LEN);
	return (int)sealed;
}

static bool is_seal(uint8_t type, struct rd value)
{
	uint16_t subtype;

	if (type != PARAM_VENDOR || rd_u16(&value) != SEAL_VENDOR)
		return false;
	subtype = rd_u16(&value);
	return !value.bad && (subtype == SEAL_MESSAGE || subtype == SEAL_CHALLENGE);
}

static bool seal_read(struct rd value, struct seal *s)
{
	(void)rd_u16(&value);
	s->subtype = rd_u16(&value);
	s->key_id = rd_u32(&value);
	s->number = read_u64(&value);
	s->epoch = read_u64(&value);
	s->about = read_u64(&value);
	return !value.bad && rd_left(&value) == SEAL_TAG_LEN && s->number != 0;
}

int seal_find(const uint8_t *bytes, size_t len, struct seal *seal)
{
	struct rd r = rd_init(bytes, len), value = { 0 };
	bool last = false, earlier = false;

	rd_take(&r, RSIP_HEADER_LEN);
	while (rd_left(&r) > 0) {
		uint8_t type = rd_u8(&r);

		value = rd_sub(&r, rd_u16(&r));
		if (r.bad)
			return ERR_NOTFOUND; /* its own fault, which others name */
		earlier |= last;
		last = is_seal(type, value);
	}
	if (!last && !earlier)
		return ERR_NOTFOUND;
	if (!last || earlier || r.bad || !seal_read(value, seal))
		return ERR_MALFORMED;
	return (size_t)(bytes[2] << 8 | bytes[3]) == len ? 0 : ERR_MALFORMED;
}

bool seal_is_good(const uint8_t *bytes, size_t len, const struct auth_key *key,
	const struct seal_path *path)
{
	uint8_t tag[EVP_MAX_MD_SIZE];

	if (len < RSIP_HEADER_LEN + SEAL_LEN || len > RSIP_UDP_MAX)
		return false;
	tag_make(bytes, len - SEAL_TAG_LEN, key, path, tag);
	return CRYPTO_memcmp(tag, bytes + len - SEAL_TAG_LEN, SEAL_TAG_LEN) == 0;
}

size_t seal_strip(uint8_t *bytes, size_t len)
{
	len -= SEAL_LEN;
	length_set(bytes, len);
	return len;
}

bool seal_window_take(struct seal_window *w, uint64_t number)
{
	uint64_t behind;

	if (number > w->highest) {
		uint64_t ahead = number - w->highest;

		w->bits = ahead < SEAL_WINDOW ? w->bits << ahead : 0;
		w->bits |= 1;
		w->highest = number;
		return true;
	}
	behind = w->highest - number;
	if (behind >= SEAL_WINDOW || (w->bits >> behind & 1) != 0)
		return false;
	w->bits |= (uint64_t)1 << behind;
	return true;
}
