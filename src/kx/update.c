/*
 * Dynamic updates on the wire.  Names are written whole: a message of ours has a few
 * hundred bytes, and a TSIG's names must not be compressed anyway.
 */
#include "kx/update.h"

#include "base/err.h"
#include "base/wr.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define OPCODE_UPDATE (5U << 11)
#define FLAG_QR       0x8000U
#define CLASS_IN      1
#define CLASS_ANY     255
#define FUDGE_S       300
#define HEADER        12
#define RCODE_NOTAUTH 9

static const uint8_t algorithm[] = "\013hmac-sha256"; /* with the root label */

/* --- keys -----------------------------------------------------------------------------
 */

static int secret_parse(struct kx_tsig *key, const char *text)
{
	/* An unknown record's text is the one reader of base64 that there is. */
	char line[300];
	uint8_t rdata[KX_KEY_MAX + 3];
	size_t len;

	if ((size_t)snprintf(line, sizeof(line), "0 0 1 . %s", text) >= sizeof(line) ||
		kx_rdata_parse(KX_T_IPSECKEY, line, rdata, sizeof(rdata), &len) != 0 ||
		len <= 3 || len - 3 > sizeof(key->secret))
		return ERR_MALFORMED;
	key->secret_len = len - 3;
	memcpy(key->secret, rdata + 3, key->secret_len);
	return 0;
}

/* Quotes, braces and semicolons are only space here. */
static int words_read(char *text, char *words[static 8])
{
	char *save = NULL;
	int n = 0;

	for (char *t = strtok_r(text, " \t\r\n\"{};:", &save); t != NULL && n < 8;
		t = strtok_r(NULL, " \t\r\n\"{};:", &save))
		words[n++] = t;
	return n;
}

static int key_parse(struct kx_tsig *key, char *text)
{
	const char *name = NULL, *kind = NULL, *secret = NULL;
	char *words[8];
	int n = words_read(text, words);

	if (n == 3) { /* hmac-sha256:NAME:SECRET */
		kind = words[0];
		name = words[1];
		secret = words[2];
	} else if (n >= 6 && strcmp(words[0], "key") == 0) {
		name = words[1];
		for (int i = 2; i + 1 < n; i += 2) {
			if (strcmp(words[i], "algorithm") == 0)
				kind = words[i + 1];
			if (strcmp(words[i], "secret") == 0)
				secret = words[i + 1];
		}
	}
	if (kind == NULL || name == NULL || secret == NULL ||
		strcmp(kind, "hmac-sha256") != 0 || kx_name_parse(name, &key->name) != 0)
		return ERR_MALFORMED;
	return secret_parse(key, secret);
}

int kx_tsig_load(struct kx_tsig *key, const char *path, char *why, size_t why_size)
{
	FILE *file = fopen(path, "re");
	char text[1024];
	struct stat st;
	size_t len;
	int err;

	if (file == NULL || fstat(fileno(file), &st) != 0) {
		(void)snprintf(why, why_size, "%s: %s", path, strerror(errno));
		if (file != NULL)
			(void)fclose(file);
		return ERR_CONFIG;
	}
	len = fread(text, 1, sizeof(text) - 1, file);
	(void)fclose(file);
	text[len] = 0;
	if ((st.st_mode & 077) != 0) {
		(void)snprintf(why, why_size,
			"%s: others may read it; chmod 600 it, and make a new key", path);
		err = ERR_CONFIG;
	} else {
		err = key_parse(key, text);
	}
	OPENSSL_cleanse(text, sizeof(text));
	if (err == ERR_MALFORMED) {
		(void)snprintf(why, why_size,
			"%s: no TSIG key hmac-sha256 (tsig-keygen NAME makes one)", path);
		err = ERR_CONFIG;
	}
	return err;
}

/* --- messages -------------------------------------------------------------------------
 */

static void put_name(struct wr *w, const struct kx_name *name)
{
	wr_bytes(w, name->wire, name->len);
}

static void put_header(struct wr *w, uint16_t id, uint16_t flags, uint16_t updates)
{
	wr_u16(w, id);
	wr_u16(w, flags);
	wr_u16(w, 1); /* the zone, or the question */
	wr_u16(w, 0);
	wr_u16(w, updates);
	wr_u16(w, 0);
}

static void put_zone(struct wr *w, const struct kx_name *zone)
{
	put_name(w, zone);
	wr_u16(w, KX_T_SOA);
	wr_u16(w, CLASS_IN);
}

/* RFC 2136 section 2.5.3: all of a name; with a type (2.5.2) one RRset. */
static void put_delete(struct wr *w, const struct kx_name *name, uint16_t type)
{
	put_name(w, name);
	wr_u16(w, type);
	wr_u16(w, CLASS_ANY);
	wr_u32(w, 0);
	wr_u16(w, 0);
}

/* Up to RDATA; its length is filled in by put_end(). */
static size_t put_begin(
	struct wr *w, const struct kx_name *name, uint16_t type, uint32_t ttl_s)
{
	put_name(w, name);
	wr_u16(w, type);
	wr_u16(w, CLASS_IN);
	wr_u32(w, ttl_s);
	wr_u16(w, 0);
	return wr_len(w);
}

static void put_end(struct wr *w, size_t at)
{
	wr_patch_u16(w, at - 2, wr_len(w) - at);
}

static int finish(const struct wr *w, size_t *len)
{
	if (w->bad)
		return ERR_NOSPACE;
	*len = wr_len(w);
	return 0;
}

int kx_update_encode(const struct kx_publish *p, const struct kx_name *zone, uint16_t id,
	uint8_t *buf, size_t size, size_t *len)
{
	struct wr w = wr_init(buf, size);
	uint16_t updates = 2;
	struct kx_name service;
	size_t at;

	if (kx_name_prefix("_isakmp._udp", &p->name, &service) != 0)
		return ERR_NOSPACE;
	if (p->present)
		updates = (uint16_t)(4 + (p->port != 0) + (p->key_len != 0));
	put_header(&w, id, OPCODE_UPDATE, updates);
	put_zone(&w, zone);
	put_delete(&w, &p->name, KX_T_ANY);
	put_delete(&w, &service, KX_T_ANY);
	if (!p->present)
		return finish(&w, len);
	at = put_begin(&w, &p->name, KX_T_A, p->ttl_s);
	wr_u32(&w, p->addr);
	put_end(&w, at);
	at = put_begin(&w, &p->name, KX_T_KX, p->ttl_s);
	wr_u16(&w, 10);
	put_name(&w, &p->name);
	put_end(&w, at);
	if (p->port != 0) {
		at = put_begin(&w, &service, KX_T_SRV, p->ttl_s);
		wr_u16(&w, 0);
		wr_u16(&w, 0);
		wr_u16(&w, p->port);
		put_name(&w, &p->name);
		put_end(&w, at);
	}
	if (p->key_len != 0) {
		at = put_begin(&w, &p->name, KX_T_IPSECKEY, p->ttl_s);
		wr_bytes(&w, p->key, p->key_len);
		put_end(&w, at);
	}
	return finish(&w, len);
}

int kx_update_encode_ptr(const struct kx_publish *p, const struct kx_name *zone,
	uint16_t id, uint8_t *buf, size_t size, size_t *len)
{
	const struct kx_addr addr = kx_addr_from4(p->addr);
	struct wr w = wr_init(buf, size);
	struct kx_name reverse;
	size_t at;

	kx_addr_reverse(&addr, &reverse);
	put_header(&w, id, OPCODE_UPDATE, p->present ? 2 : 1);
	put_zone(&w, zone);
	put_delete(&w, &reverse, KX_T_PTR);
	if (p->present) {
		at = put_begin(&w, &reverse, KX_T_PTR, p->ttl_s);
		put_name(&w, &p->name);
		put_end(&w, at);
	}
	return finish(&w, len);
}

int kx_soa_encode(
	const struct kx_name *name, uint16_t id, uint8_t *buf, size_t size, size_t *len)
{
	struct wr w = wr_init(buf, size);

	put_header(&w, id, 0, 0);
	put_zone(&w, name);
	return finish(&w, len);
}

/* --- reading --------------------------------------------------------------------------
 */

/* A name that may be compressed.  Pointers lead back only, so this ends. */
static int name_read(
	const uint8_t *packet, size_t len, struct rd *r, struct kx_name *name)
{
	uint8_t flat[KX_NAME_MAX];
	size_t n = 0, limit = (size_t)(r->p - packet);
	struct rd at = *r;
	bool jumped = false;

	for (;;) {
		uint8_t l = rd_u8(&at);

		if (l >= 0xc0) {
			size_t to = (size_t)(l & 0x3f) << 8 | rd_u8(&at);

			if (!jumped)
				*r = at;
			if (at.bad || to >= limit)
				return ERR_MALFORMED;
			jumped = true;
			limit = to;
			at = rd_init(packet, len);
			(void)rd_take(&at, to);
			continue;
		}
		if (at.bad || n + 1 + l > sizeof(flat))
			return ERR_MALFORMED;
		flat[n++] = l;
		rd_bytes(&at, flat + n, l);
		n += l;
		if (l == 0)
			break;
	}
	if (!jumped)
		*r = at;
	at = rd_init(flat, n);
	return kx_name_decode(&at, name);
}

struct record {
	struct kx_name name;
	uint16_t type;
	size_t begin; /* of the record, in the packet */
	struct rd rdata;
};

static int record_read(
	const uint8_t *packet, size_t len, struct rd *r, struct record *record)
{
	record->begin = (size_t)(r->p - packet);
	if (name_read(packet, len, r, &record->name) != 0)
		return ERR_MALFORMED;
	record->type = rd_u16(r);
	(void)rd_take(r, 6);
	record->rdata = rd_sub(r, rd_u16(r));
	return r->bad ? ERR_MALFORMED : 0;
}

struct header {
	uint16_t id, flags, counts[4];
};

static void header_read(struct rd *r, struct header *h)
{
	h->id = rd_u16(r);
	h->flags = rd_u16(r);
	for (int i = 0; i < 4; i++)
		h->counts[i] = rd_u16(r);
}

/* Past the questions. */
static int questions_skip(
	const uint8_t *packet, size_t len, struct rd *r, const struct header *h)
{
	struct kx_name name;

	if (h->counts[0] > 1)
		return ERR_MALFORMED;
	if (h->counts[0] == 1 && name_read(packet, len, r, &name) != 0)
		return ERR_MALFORMED;
	(void)rd_take(r, h->counts[0] * 4UL);
	return r->bad ? ERR_MALFORMED : 0;
}

int kx_soa_decode(const uint8_t *packet, size_t len, uint16_t id,
	const struct kx_name *name, struct kx_name *zone)
{
	struct rd r = rd_init(packet, len);
	struct record record;
	struct header h;

	header_read(&r, &h);
	if (r.bad || h.id != id || !(h.flags & FLAG_QR) ||
		questions_skip(packet, len, &r, &h) != 0)
		return ERR_MALFORMED;
	for (unsigned i = 0; i < (unsigned)h.counts[1] + h.counts[2]; i++) {
		if (record_read(packet, len, &r, &record) != 0)
			return ERR_MALFORMED;
		if (record.type != KX_T_SOA || !kx_name_within(name, &record.name))
			continue;
		*zone = record.name;
		return 0;
	}
	return ERR_NOTFOUND;
}

/* --- TSIG -----------------------------------------------------------------------------
 */

static void put_variables(struct wr *w, const struct kx_tsig *key, uint64_t time_s,
	uint16_t fudge_s, uint16_t error, const uint8_t *other, uint16_t other_len)
{
	put_name(w, &key->name);
	wr_u16(w, CLASS_ANY);
	wr_u32(w, 0);
	wr_bytes(w, algorithm, sizeof(algorithm));
	wr_u16(w, (uint16_t)(time_s >> 32));
	wr_u32(w, (uint32_t)time_s);
	wr_u16(w, fudge_s);
	wr_u16(w, error);
	wr_u16(w, other_len);
	wr_bytes(w, other, other_len);
}

static int mac_of(
	const struct kx_tsig *key, const struct wr *what, uint8_t mac[static KX_MAC])
{
	unsigned len = KX_MAC;

	if (what->bad || HMAC(EVP_sha256(), key->secret, (int)key->secret_len,
				 what->start, wr_len(what), mac, &len) == NULL)
		return ERR_NOSPACE;
	return 0;
}

int kx_tsig_sign(const struct kx_tsig *key, uint64_t now_s, uint8_t *buf, size_t size,
	size_t *len, uint8_t mac[static KX_MAC])
{
	uint8_t room[KX_UPDATE_MAX + 1024];
	struct wr digest = wr_init(room, sizeof(room)), w = wr_init(buf, size);
	size_t at;
	int err;

	wr_bytes(&digest, buf, *len);
	put_variables(&digest, key, now_s, FUDGE_S, 0, NULL, 0);
	err = mac_of(key, &digest, mac);
	if (err != 0)
		return err;
	(void)wr_take(&w, *len);
	put_name(&w, &key->name);
	wr_u16(&w, KX_T_TSIG);
	wr_u16(&w, CLASS_ANY);
	wr_u32(&w, 0);
	wr_u16(&w, 0);
	at = wr_len(&w);
	wr_bytes(&w, algorithm, sizeof(algorithm));
	wr_u16(&w, (uint16_t)(now_s >> 32));
	wr_u32(&w, (uint32_t)now_s);
	wr_u16(&w, FUDGE_S);
	wr_u16(&w, KX_MAC);
	wr_bytes(&w, mac, KX_MAC);
	wr_u16(&w, (uint16_t)(buf[0] << 8 | buf[1]));
	wr_u16(&w, 0);
	wr_u16(&w, 0);
	put_end(&w, at);
	wr_patch_u16(&w, HEADER - 2, 1);
	return finish(&w, len);
}

struct tsig {
	struct record record;
	uint64_t time_s;
	uint16_t fudge_s, error, other_len;
	const uint8_t *mac, *other;
	uint16_t mac_len;
};

/* The last record, which must be a TSIG of our algorithm. */
static int tsig_read(const uint8_t *packet, size_t len, struct tsig *t)
{
	struct rd r = rd_init(packet, len), *d = &t->record.rdata;
	unsigned records = 0;
	struct kx_name alg;
	struct header h;

	header_read(&r, &h);
	if (r.bad || h.counts[3] == 0 || questions_skip(packet, len, &r, &h) != 0)
		return ERR_MALFORMED;
	for (int i = 1; i < 4; i++)
		records += h.counts[i];
	for (unsigned i = 0; i < records; i++)
		if (record_read(packet, len, &r, &t->record) != 0)
			return ERR_MALFORMED;
	if (t->record.type != KX_T_TSIG || rd_left(&r) != 0 ||
		kx_name_decode(d, &alg) != 0 || alg.len != sizeof(algorithm) ||
		memcmp(alg.wire, algorithm, alg.len) != 0)
		return ERR_MALFORMED;
	t->time_s = (uint64_t)rd_u16(d) << 32;
	t->time_s |= rd_u32(d);
	t->fudge_s = rd_u16(d);
	t->mac_len = rd_u16(d);
	t->mac = rd_take(d, t->mac_len);
	(void)rd_u16(d); /* original id */
	t->error = rd_u16(d);
	t->other_len = rd_u16(d);
	t->other = rd_take(d, t->other_len);
	return d->bad || rd_left(d) != 0 ? ERR_MALFORMED : 0;
}

/* Is the answer what the holder of the key made of our request? */
static bool holds(const struct kx_tsig *key, const uint8_t *packet, const struct tsig *t,
	const uint8_t mac[static KX_MAC], uint64_t now_s)
{
	uint8_t room[KX_UPDATE_MAX + 1024], want[KX_MAC];
	struct wr w = wr_init(room, sizeof(room));
	uint64_t apart = t->time_s > now_s ? t->time_s - now_s : now_s - t->time_s;
	unsigned records = (unsigned)(packet[HEADER - 2] << 8 | packet[HEADER - 1]);
	size_t start;

	wr_u16(&w, KX_MAC);
	wr_bytes(&w, mac, KX_MAC);
	start = wr_len(&w);
	wr_bytes(&w, packet, t->record.begin);
	wr_patch_u16(&w, start + HEADER - 2, records - 1);
	put_variables(&w, key, t->time_s, t->fudge_s, t->error, t->other, t->other_len);
	return kx_name_same(&t->record.name, &key->name) && t->mac_len == KX_MAC &&
	       apart <= t->fudge_s && mac_of(key, &w, want) == 0 &&
	       CRYPTO_memcmp(want, t->mac, KX_MAC) == 0;
}

int kx_tsig_check(const struct kx_tsig *key, const uint8_t *packet, size_t len,
	uint16_t id, const uint8_t mac[static KX_MAC], uint64_t now_s, uint8_t *rcode,
	uint16_t *tsig_error)
{
	struct rd r = rd_init(packet, len);
	struct header h;
	struct tsig t = { 0 };
	int read;

	header_read(&r, &h);
	if (r.bad || h.id != id || !(h.flags & FLAG_QR) || len > KX_UPDATE_MAX)
		return ERR_MALFORMED;
	read = tsig_read(packet, len, &t);
	*rcode = (uint8_t)(h.flags & 15);
	*tsig_error = read == 0 ? t.error : 0;
	if (read == 0 && t.mac_len != 0)
		return holds(key, packet, &t, mac, now_s) ? 0 : ERR_MALFORMED;
	/* A server that does not know the key cannot sign that it does not. */
	return *rcode == RCODE_NOTAUTH ? 0 : ERR_MALFORMED;
}

const char *kx_rcode_text(uint8_t rcode, char buf[static 12])
{
	static const char *const texts[] = { "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN",
		"NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
		"NOTZONE" };

	if (rcode < sizeof(texts) / sizeof(texts[0]))
		return texts[rcode];
	(void)snprintf(buf, 12, "RCODE%u", rcode);
	return buf;
}
