/*
 * RDATA as a zone file writes it, both ways: what `rsip kx` prints, and what is typed
 * into it and into keys.  RFC 3597's form serves every type.
 */
#include "base/err.h"
#include "base/wr.h"
#include "kx/rr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 8

static const char base64[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* --- printing -------------------------------------------------------------------------
 */

struct out {
	char *buf;
	size_t size, at;
};

static void put(struct out *o, const char *text)
{
	size_t len = strlen(text), room = o->size - o->at;

	if (room == 0)
		return;
	len = len < room ? len : room - 1;
	memcpy(o->buf + o->at, text, len);
	o->at += len;
	o->buf[o->at] = 0;
}

static void put_number(struct out *o, unsigned n)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%u ", n);
	put(o, text);
}

static void put_name(struct out *o, const struct kx_name *name)
{
	char text[KX_NAME_TEXT];

	put(o, kx_name_format(name, text));
}

static void put_addr(struct out *o, const struct kx_addr *a)
{
	char text[KX_ADDR_TEXT];

	put(o, kx_addr_format(a, text));
}

static void put_base64(struct out *o, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t v = (uint32_t)bytes[i] << 16;
		char four[5] = "====";

		v |= n > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
		v |= n > 2 ? bytes[i + 2] : 0;
		for (size_t k = 0; k <= n; k++)
			four[k] = base64[v >> (18 - 6 * k) & 63];
		put(o, four);
	}
}

static void put_key(struct out *o, const struct kx_key *key)
{
	put_number(o, key->precedence);
	put_number(o, key->gateway_kind);
	put_number(o, key->algorithm);
	if (key->gateway_kind == KX_GATEWAY_NONE)
		put(o, ".");
	else if (key->gateway_kind == KX_GATEWAY_NAME)
		put_name(o, &key->gateway_name);
	else
		put_addr(o, &key->gateway);
	if (key->len > 0)
		put(o, " ");
	put_base64(o, key->bytes, key->len);
}

static void put_unknown(struct out *o, const uint8_t *rdata, size_t len)
{
	char text[4];

	put(o, "\\# ");
	put_number(o, (unsigned)len);
	for (size_t i = 0; i < len; i++) {
		(void)snprintf(text, sizeof(text), "%02x", rdata[i]);
		put(o, text);
	}
}

static bool put_known(struct out *o, uint16_t type, const uint8_t *rdata, size_t len)
{
	struct kx_name name;
	struct kx_addr addr;
	struct kx_srv srv;
	struct kx_key key;
	struct kx_rr kx;

	if (type == KX_T_KX && kx_rr_decode(rdata, len, &kx) == 0) {
		put_number(o, kx.preference);
		put_name(o, &kx.exchanger);
	} else if ((type == KX_T_PTR || type == KX_T_CNAME) &&
		   kx_ptr_decode(rdata, len, &name) == 0) {
		put_name(o, &name);
	} else if ((type == KX_T_A || type == KX_T_AAAA) &&
		   kx_addr_decode(type, rdata, len, &addr) == 0) {
		put_addr(o, &addr);
	} else if (type == KX_T_SRV && kx_srv_decode(rdata, len, &srv) == 0) {
		put_number(o, srv.priority);
		put_number(o, srv.weight);
		put_number(o, srv.port);
		put_name(o, &srv.target);
	} else if (type == KX_T_IPSECKEY && kx_key_decode(rdata, len, &key) == 0) {
		put_key(o, &key);
	} else {
		return false;
	}
	return true;
}

char *kx_rdata_format(
	uint16_t type, const uint8_t *rdata, size_t len, char *buf, size_t size)
{
	struct out o = { .buf = buf, .size = size };

	buf[0] = 0;
	if (!put_known(&o, type, rdata, len))
		put_unknown(&o, rdata, len);
	return buf;
}

/* --- reading --------------------------------------------------------------------------
 */

/* The words of a line, in a copy of it. */
struct words {
	char text[2048];
	char *at[WORDS_MAX];
	size_t n;
};

static int split(const char *text, struct words *w)
{
	char *save = NULL;

	*w = (struct words){ 0 };
	if (strlen(text) >= sizeof(w->text))
		return ERR_NOSPACE;
	memcpy(w->text, text, strlen(text));
	for (char *t = strtok_r(w->text, " \t", &save); t != NULL;
		t = strtok_r(NULL, " \t", &save)) {
		if (w->n == WORDS_MAX)
			return ERR_MALFORMED;
		w->at[w->n++] = t;
	}
	return 0;
}

static bool get_number(const char *text, unsigned long most, unsigned *n)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long value;

	if (digits == 0 || digits > 5 || text[digits] != 0)
		return false;
	value = strtoul(text, NULL, 10);
	*n = (unsigned)value;
	return value <= most;
}

static bool take_numbers(
	struct wr *to, const struct words *w, size_t from, size_t n, bool wide)
{
	for (size_t i = from; i < from + n; i++) {
		unsigned value;

		if (i >= w->n ||
			!get_number(w->at[i], wide ? UINT16_MAX : UINT8_MAX, &value))
			return false;
		if (wide)
			wr_u16(to, (uint16_t)value);
		else
			wr_u8(to, (uint8_t)value);
	}
	return true;
}

static bool take_name(struct wr *to, const char *text)
{
	struct kx_name name;

	if (kx_name_parse(text, &name) != 0)
		return false;
	wr_bytes(to, name.wire, name.len);
	return true;
}

static bool take_addr(struct wr *to, const char *text, uint8_t len)
{
	struct kx_addr addr;

	if (kx_addr_parse(text, &addr) != 0 || addr.len != len)
		return false;
	wr_bytes(to, addr.b, addr.len);
	return true;
}

static bool take_base64(struct wr *to, const char *text)
{
	uint32_t v = 0;
	size_t n = 0, len = strcspn(text, "=");

	if (strlen(text) % 4 != 0 || strlen(text) - len > 2 ||
		strspn(text + len, "=") != strlen(text) - len || len == 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		const char *at = strchr(base64, text[i]);

		if (at == NULL)
			return false;
		v = v << 6 | (uint32_t)(at - base64);
		n += 6;
		if (n >= 8) {
			n -= 8;
			wr_u8(to, (uint8_t)(v >> n));
		}
	}
	return true;
}

/* PRECEDENCE GATEWAY-TYPE ALGORITHM GATEWAY [KEY] */
static bool take_key(struct wr *to, const struct words *w)
{
	const char *gateway = w->n >= 4 ? w->at[3] : "";

	if (w->n < 4 || w->n > 5 || !take_numbers(to, w, 0, 3, false))
		return false;
	switch (strtoul(w->at[1], NULL, 10)) {
	case KX_GATEWAY_NONE:
		if (strcmp(gateway, ".") != 0)
			return false;
		break;
	case KX_GATEWAY_4:
	case KX_GATEWAY_6:
		if (!take_addr(to, gateway, *w->at[1] == '1' ? 4 : 16))
			return false;
		break;
	case KX_GATEWAY_NAME:
		if (!take_name(to, gateway))
			return false;
		break;
	default:
		return false;
	}
	return w->n == 4 || take_base64(to, w->at[4]);
}

static bool take_unknown(struct wr *to, const struct words *w)
{
	const char digits[] = "0123456789abcdef";
	unsigned len;

	if (w->n < 2 || w->n > 3 || !get_number(w->at[1], UINT16_MAX, &len) ||
		(w->n == 3 ? strlen(w->at[2]) : 0) != 2UL * len)
		return false;
	for (unsigned i = 0; i < 2 * len; i += 2) {
		const char *hi = strchr(digits, w->at[2][i] | 0x20);
		const char *lo = strchr(digits, w->at[2][i + 1] | 0x20);

		if (hi == NULL || lo == NULL)
			return false;
		wr_u8(to, (uint8_t)((hi - digits) << 4 | (lo - digits)));
	}
	return true;
}

static bool take_known(struct wr *to, uint16_t type, const struct words *w)
{
	switch (type) {
	case KX_T_KX:
		return w->n == 2 && take_numbers(to, w, 0, 1, true) &&
		       take_name(to, w->at[1]);
	case KX_T_PTR:
	case KX_T_CNAME:
		return w->n == 1 && take_name(to, w->at[0]);
	case KX_T_A:
	case KX_T_AAAA:
		return w->n == 1 && take_addr(to, w->at[0], type == KX_T_A ? 4 : 16);
	case KX_T_SRV:
		return w->n == 4 && take_numbers(to, w, 0, 3, true) &&
		       take_name(to, w->at[3]);
	case KX_T_IPSECKEY:
		return take_key(to, w);
	default:
		return false;
	}
}

int kx_rdata_parse(
	uint16_t type, const char *text, uint8_t *rdata, size_t size, size_t *len)
{
	struct wr to = wr_init(rdata, size);
	struct words w;
	int err = split(text, &w);
	bool ok;

	if (err != 0)
		return err;
	ok = w.n > 0 && strcmp(w.at[0], "\\#") == 0 ? take_unknown(&to, &w)
						    : take_known(&to, type, &w);
	if (!ok)
		return ERR_MALFORMED;
	if (to.bad)
		return ERR_NOSPACE;
	*len = wr_len(&to);
	return 0;
}
