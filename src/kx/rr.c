/*
 * RDATA to structs.  What does not decode exactly is refused whole: a record that we
 * would have to guess at is no authority for anything.
 */
#include "kx/rr.h"

#include "base/err.h"

#include <stdio.h>

static const struct {
	uint16_t type;
	const char *text;
} types[] = {
	{ KX_T_A, "A" },
	{ KX_T_CNAME, "CNAME" },
	{ KX_T_SOA, "SOA" },
	{ KX_T_PTR, "PTR" },
	{ KX_T_AAAA, "AAAA" },
	{ KX_T_SRV, "SRV" },
	{ KX_T_KX, "KX" },
	{ KX_T_IPSECKEY, "IPSECKEY" },
	{ KX_T_RRSIG, "RRSIG" },
	{ KX_T_TSIG, "TSIG" },
	{ KX_T_ANY, "ANY" },
};

const char *kx_type_text(uint16_t type, char buf[static 12])
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].type == type)
			return types[i].text;
	(void)snprintf(buf, 12, "TYPE%u", type);
	return buf;
}

/* Nothing failed and nothing is left. */
static bool is_done(const struct rd *r)
{
	return !r->bad && rd_left(r) == 0;
}

int kx_rr_decode(const uint8_t *rdata, size_t len, struct kx_rr *rr)
{
	struct rd r = rd_init(rdata, len);
	struct kx_rr got = { .preference = rd_u16(&r) };

	if (kx_name_decode(&r, &got.exchanger) != 0 || !is_done(&r))
		return ERR_MALFORMED;
	*rr = got;
	return 0;
}

int kx_ptr_decode(const uint8_t *rdata, size_t len, struct kx_name *name)
{
	struct rd r = rd_init(rdata, len);
	struct kx_name got;

	if (kx_name_decode(&r, &got) != 0 || !is_done(&r))
		return ERR_MALFORMED;
	*name = got;
	return 0;
}

int kx_addr_decode(uint16_t type, const uint8_t *rdata, size_t len, struct kx_addr *addr)
{
	struct rd r = rd_init(rdata, len);
	struct kx_addr got = { .len = type == KX_T_A ? 4 : 16 };

	rd_bytes(&r, got.b, got.len);
	if (!is_done(&r))
		return ERR_MALFORMED;
	*addr = got;
	return 0;
}

int kx_srv_decode(const uint8_t *rdata, size_t len, struct kx_srv *srv)
{
	struct rd r = rd_init(rdata, len);
	struct kx_srv got = { .priority = rd_u16(&r) };

	got.weight = rd_u16(&r);
	got.port = rd_u16(&r);
	if (kx_name_decode(&r, &got.target) != 0 || !is_done(&r))
		return ERR_MALFORMED;
	*srv = got;
	return 0;
}

static int gateway_decode(struct rd *r, struct kx_key *key)
{
	switch (key->gateway_kind) {
	case KX_GATEWAY_NONE:
		return 0;
	case KX_GATEWAY_4:
	case KX_GATEWAY_6:
		key->gateway.len = key->gateway_kind == KX_GATEWAY_4 ? 4 : 16;
		rd_bytes(r, key->gateway.b, key->gateway.len);
		return r->bad ? ERR_MALFORMED : 0;
	case KX_GATEWAY_NAME:
		return kx_name_decode(r, &key->gateway_name);
	}
	return ERR_MALFORMED;
}

int kx_key_decode(const uint8_t *rdata, size_t len, struct kx_key *key)
{
	struct rd r = rd_init(rdata, len);
	struct kx_key got = { .precedence = rd_u8(&r) };
	uint8_t kind = rd_u8(&r);

	got.algorithm = rd_u8(&r);
	if (r.bad || kind > KX_GATEWAY_NAME)
		return ERR_MALFORMED;
	got.gateway_kind = (enum kx_gateway)kind;
	if (gateway_decode(&r, &got) != 0)
		return ERR_MALFORMED;
	/* Algorithm 0 is "no key" and has none; every other has one. */
	if (rd_left(&r) > KX_KEY_MAX || (rd_left(&r) == 0) != (got.algorithm == 0))
		return ERR_MALFORMED;
	got.len = (uint16_t)rd_left(&r);
	rd_bytes(&r, got.bytes, got.len);
	*key = got;
	return 0;
}

/* --- packets -----------------------------------------------------------------------
 */

#define PACKET_RECORDS 4096 /* more does not fit into 64 KiB with signatures */

/* Past a name that may end in a pointer; where it points to does not matter here. */
static void name_skip(struct rd *r)
{
	for (int i = 0; i < 128; i++) {
		uint8_t len = rd_u8(r);

		if (len == 0)
			return;
		if (len >= 0xc0) {
			(void)rd_u8(r);
			return;
		}
		if (len > 63)
			break;
		(void)rd_take(r, len);
	}
	r->bad = true;
}

/* RFC 4034 section 3.1: expiration is the fifth field. */
static uint32_t signature_left(struct rd rdata, uint32_t now_s)
{
	int32_t left;

	(void)rd_take(&rdata, 8); /* type covered, algorithm, labels, original TTL */
	/* Serial number arithmetic: of two 32-bit times the nearer one is meant. */
	left = (int32_t)(rd_u32(&rdata) - now_s);
	return rdata.bad || left < 0 ? 0 : (uint32_t)left;
}

int kx_packet_read(
	const uint8_t *packet, size_t len, uint32_t now_s, struct kx_packet *out)
{
	struct kx_packet got = { .left_s = UINT32_MAX };
	struct rd r = rd_init(packet, len);
	unsigned questions, records;

	(void)rd_take(&r, 4);
	questions = rd_u16(&r);
	records = rd_u16(&r);
	records += rd_u16(&r); /* authority: proofs of denial and their signatures */
	(void)rd_u16(&r);      /* additional: not used, so not counted */
	if (r.bad || questions > 1 || records > PACKET_RECORDS)
		return ERR_MALFORMED;
	if (questions == 1) {
		name_skip(&r);
		(void)rd_take(&r, 4);
	}
	for (unsigned i = 0; i < records && !r.bad; i++) {
		struct rd rdata;
		uint16_t type;

		name_skip(&r);
		type = rd_u16(&r);
		(void)rd_take(&r, 6); /* class, TTL */
		rdata = rd_sub(&r, rd_u16(&r));
		got.cnames += type == KX_T_CNAME;
		if (!r.bad && type == KX_T_RRSIG) {
			uint32_t left = signature_left(rdata, now_s);

			got.left_s = left < got.left_s ? left : got.left_s;
		}
	}
	if (r.bad)
		return ERR_MALFORMED;
	*out = got;
	return 0;
}
