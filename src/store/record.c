/*
 * Records of the lease store as bytes.  Answers for the layout written down in record.h
 * and for refusing every value that is not exactly of it; the file around the records is
 * store.c's.
 */
#include "store/record.h"

#include "base/err.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC     "rsip leases"
#define MAGIC_LEN (sizeof(MAGIC) - 1)
#define CRC_LEN   4
#define NEVER     UINT64_MAX
/* 255 listed ports or 16383 listed SPIs are the most that one request can ask for. */
#define RANGES_MAX 65536

/* --- CRC-32 (ISO 3309, reflected) -----------------------------------------------------
 */

/* crc_table[k][b]: what byte b does to the sum when k more bytes follow it. */
#define CRC_AT_ONCE 8
static uint32_t crc_table[CRC_AT_ONCE][256];

static void crc_prepare(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = (c >> 1) ^ ((c & 1) != 0 ? 0xedb88320U : 0);
		crc_table[0][i] = c;
	}
	for (int k = 1; k < CRC_AT_ONCE; k++)
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t c = crc_table[k - 1][i];

			crc_table[k][i] = (c >> 8) ^ crc_table[0][c & 0xff];
		}
}

/* Eight bytes at a time do not wait for each other. */
static uint32_t crc_add(uint32_t crc, const uint8_t *at, size_t n)
{
	for (; n >= CRC_AT_ONCE; n -= CRC_AT_ONCE, at += CRC_AT_ONCE)
		crc = crc_table[7][(crc ^ at[0]) & 0xff] ^
		      crc_table[6][(crc >> 8 ^ at[1]) & 0xff] ^
		      crc_table[5][(crc >> 16 ^ at[2]) & 0xff] ^
		      crc_table[4][(crc >> 24 ^ at[3]) & 0xff] ^ crc_table[3][at[4]] ^
		      crc_table[2][at[5]] ^ crc_table[1][at[6]] ^ crc_table[0][at[7]];
	for (; n > 0; n--, at++)
		crc = (crc >> 8) ^ crc_table[0][(crc ^ *at) & 0xff];
	return crc;
}

static uint32_t record_crc(
	const uint8_t *key, size_t key_len, const uint8_t *value, size_t n)
{
	if (crc_table[0][1] == 0)
		crc_prepare();
	return ~crc_add(crc_add(0xffffffffU, key, key_len), value, n);
}

/* --- writing --------------------------------------------------------------------------
 */

/* Sticky: after a failed growth nothing more is written and bad stays set. */
struct out {
	struct record_bytes *to;
	bool bad;
};

static void put(struct out *o, const void *bytes, size_t n)
{
	struct record_bytes *to = o->to;

	if (o->bad)
		return;
	if (to->size - to->len < n) {
		size_t size = (to->size + n) * 2;
		uint8_t *at = realloc(to->at, size);

		if (at == NULL) {
			o->bad = true;
			return;
		}
		to->at = at;
		to->size = size;
	}
	memcpy(to->at + to->len, bytes, n);
	to->len += n;
}

static void put_number(struct out *o, uint64_t value, size_t n)
{
	uint8_t bytes[8];

	for (size_t i = n; i > 0; i--) {
		bytes[i - 1] = (uint8_t)value;
		value >>= 8;
	}
	put(o, bytes, n);
}

static void put_ranges(struct out *o, const struct range *r, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		put_number(o, r[i].lo, 4);
		put_number(o, r[i].hi, 4);
	}
}

/* An engine time as one of the line: what lies before its start is its start. */
static uint64_t to_line(uint64_t ms, int64_t offset_ms)
{
	if (ms == NEVER)
		return NEVER;
	if (offset_ms < 0 && ms < (uint64_t)-offset_ms)
		return 0;
	return ms + (uint64_t)offset_ms; /* modulo: adding a negative subtracts */
}

static uint64_t from_line(uint64_t line_ms, int64_t offset_ms)
{
	if (line_ms == NEVER)
		return NEVER;
	if (offset_ms > 0 && line_ms < (uint64_t)offset_ms)
		return 0;
	return line_ms - (uint64_t)offset_ms;
}

/* A moment of the past may lie before this boot: modulo 2^64, as effect.h says. */
static uint64_t past_to_line(uint64_t ms, int64_t offset_ms)
{
	uint64_t line_ms = ms + (uint64_t)offset_ms;

	return (int64_t)line_ms < 0 ? 0 : line_ms;
}

static struct out begin(struct record_bytes *to, unsigned int version)
{
	struct out o = { .to = to };

	put_number(&o, version, 1);
	return o;
}

/* Seals what was put since `start`, or takes it back. */
static int end(struct out *o, size_t start, const struct record_key *key)
{
	if (!o->bad)
		put_number(o,
			record_crc(key->bytes, key->len, o->to->at + start,
				o->to->len - start),
			CRC_LEN);
	if (o->bad) {
		o->to->len = start;
		return -ENOMEM;
	}
	return 0;
}

int record_meta_encode(struct record_bytes *to, const struct record_key *key,
	const struct record_meta *m)
{
	size_t start = to->len;
	struct out o = begin(to, 1);

	put(&o, MAGIC, MAGIC_LEN);
	put_number(&o, m->format, 4);
	put(&o, m->boot_id, sizeof(m->boot_id));
	put_number(&o, (uint64_t)m->offset_ms, 8);
	put_number(&o, m->line_ms, 8);
	put_number(&o, m->wall_ms, 8);
	return end(&o, start, key);
}

int record_registration_encode(struct record_bytes *to, const struct record_key *key,
	const struct registration *r, int64_t offset_ms)
{
	size_t start = to->len;
	struct out o = begin(to, r->identity != 0 ? 2 : 1);

	put_number(&o, r->host, 4);
	put_number(&o, r->peer.transport, 1);
	put_number(&o, r->peer.addr, 4);
	put_number(&o, r->peer.port, 2);
	put_number(&o, r->peer.local, 4);
	put_number(&o, r->peer.local_port, 2);
	put_number(&o, r->counters, 1);
	put_number(&o, r->counter, 4);
	if (r->identity != 0)
		put_number(&o, r->identity, 8);
	put_number(&o, to_line(r->expires_ms, offset_ms), 8);
	return end(&o, start, key);
}

static void put_names(struct out *o, const struct lease *l)
{
	put_number(o, l->remote.n_more, 1);
	for (size_t i = 0; i < l->remote.n_more; i++)
		put_number(o, l->remote.more[i], 4);
	put_number(o, l->remote_name_len, 1);
	if (l->remote_name_len > 0)
		put(o, l->remote_name, l->remote_name_len);
}

int record_lease_encode(struct record_bytes *to, const struct record_key *key,
	const struct lease *l, int64_t offset_ms)
{
	bool names = l->remote.n_more > 0 || l->remote_name_len > 0;
	size_t start = to->len;
	struct out o = begin(to, l->ike_id_len > 0 ? 3 : names ? 2 : 1);

	put_number(&o, l->client_id, 4);
	put_number(&o, l->host, 4);
	put_number(&o, l->gateway, 4);
	put_number(&o, l->address, 4);
	put_number(&o, l->method, 1);
	put_number(&o, l->tunnel, 1);
	put_number(&o, l->remote.flow, 1);
	put_number(&o, l->remote.addr, 4);
	put_number(&o, l->remote.port, 2);
	if (names || l->ike_id_len > 0)
		put_names(&o, l);
	if (l->ike_id_len > 0) {
		put_number(&o, l->ike_id_len, 2);
		put(&o, l->ike_id, l->ike_id_len);
	}
	put_number(&o, past_to_line(l->granted_ms, offset_ms), 8);
	put_number(&o, to_line(l->expires_ms, offset_ms), 8);
	put_number(&o, l->n_ports, 4);
	put_number(&o, l->n_spis, 4);
	put_ranges(&o, l->ports, l->n_ports);
	put_ranges(&o, l->spis, l->n_spis);
	return end(&o, start, key);
}

int record_resting_encode(
	struct record_bytes *to, const struct record_key *key, const struct resting *r)
{
	size_t start = to->len;
	struct out o = begin(to, 2);

	put_number(&o, r->range.hi, 4);
	return end(&o, start, key);
}

static void key_number(struct record_key *key, uint64_t value, size_t n)
{
	while (n-- > 0)
		key->bytes[key->len++] = (uint8_t)(value >> (8 * n));
}

static struct record_key key_of(enum record_kind kind)
{
	return (struct record_key){ .bytes = { (uint8_t)kind }, .len = 1 };
}

struct record_key record_key_meta(void)
{
	return key_of(RECORD_META);
}

struct record_key record_key_registration(uint32_t client_id)
{
	struct record_key key = key_of(RECORD_REGISTRATION);

	key_number(&key, client_id, 4);
	return key;
}

struct record_key record_key_lease(uint32_t bind_id)
{
	struct record_key key = key_of(RECORD_LEASE);

	key_number(&key, bind_id, 4);
	return key;
}

struct record_key record_key_resting(const struct resting *r, int64_t offset_ms)
{
	struct record_key key = key_of(RECORD_RESTING);

	key_number(&key, to_line(r->until_ms, offset_ms), 8);
	key_number(&key, r->address, 4);
	key_number(&key, r->kind, 1);
	key_number(&key, r->range.lo, 4);
	return key;
}

/* --- reading --------------------------------------------------------------------------
 */

/* Sticky as well: zeros after the end, looked at once with in_done(). */
struct in {
	const uint8_t *at, *end;
	bool bad;
};

static uint64_t get_number(struct in *i, size_t n)
{
	uint64_t value = 0;

	if (i->bad || (size_t)(i->end - i->at) < n) {
		i->bad = true;
		return 0;
	}
	while (n-- > 0)
		value = (value << 8) | *i->at++;
	return value;
}

static uint32_t get_u32(struct in *i)
{
	return (uint32_t)get_number(i, 4);
}

static uint64_t get_time(struct in *i, int64_t offset_ms)
{
	return from_line(get_number(i, 8), offset_ms);
}

/* A number that names one of n things. */
static unsigned int get_below(struct in *i, unsigned int n)
{
	uint64_t value = get_number(i, 1);

	if (value >= n) {
		i->bad = true;
		return 0;
	}
	return (unsigned int)value;
}

static bool in_done(const struct in *i)
{
	return !i->bad && i->at == i->end;
}

int record_verify(const uint8_t *key, size_t key_len, const uint8_t *value, size_t len)
{
	struct in crc;

	if (len < 1 + CRC_LEN)
		return ERR_CORRUPT;
	crc = (struct in){ .at = value + len - CRC_LEN, .end = value + len };
	if (record_crc(key, key_len, value, len - CRC_LEN) != get_u32(&crc))
		return ERR_CORRUPT;
	return value[0] > RECORD_VERSION ? ERR_VERSION : 0;
}

static int get_meta(struct in *i, struct record_meta *m)
{
	if ((size_t)(i->end - i->at) < MAGIC_LEN || memcmp(i->at, MAGIC, MAGIC_LEN) != 0)
		return ERR_CORRUPT;
	i->at += MAGIC_LEN;
	m->format = get_u32(i);
	for (size_t n = 0; n < sizeof(m->boot_id); n++)
		m->boot_id[n] = (uint8_t)get_number(i, 1);
	m->offset_ms = (int64_t)get_number(i, 8);
	m->line_ms = get_number(i, 8);
	m->wall_ms = get_number(i, 8);
	/* A later format may add to its head. */
	return i->bad ? ERR_CORRUPT : 0;
}

static int get_registration(
	struct in *i, uint64_t version, int64_t offset_ms, struct registration *r)
{
	r->host = get_u32(i);
	r->peer.transport = get_below(i, TRANSPORTS);
	r->peer.addr = get_u32(i);
	r->peer.port = (uint16_t)get_number(i, 2);
	r->peer.local = get_u32(i);
	r->peer.local_port = (uint16_t)get_number(i, 2);
	r->counters = get_below(i, 2) == 1;
	r->counter = get_u32(i);
	if (version > 1) {
		r->identity = r->peer.identity = get_number(i, 8);
		r->peer.guard =
			r->peer.transport == TRANSPORT_UDP ? PEER_SEALED : PEER_TLS;
	}
	r->expires_ms = get_time(i, offset_ms);
	return in_done(i) ? 0 : ERR_CORRUPT;
}

static int ranges_reserve(struct record_ranges *ranges, size_t n)
{
	struct range *at;

	if (n <= ranges->size)
		return 0;
	at = realloc(ranges->at, n * sizeof(*at));
	if (at == NULL)
		return -ENOMEM;
	ranges->at = at;
	ranges->size = n;
	return 0;
}

static int get_ranges(struct in *i, struct record_ranges *ranges, struct lease *l)
{
	size_t n = l->n_ports + l->n_spis;
	int err;

	if (i->bad || l->n_ports > RANGES_MAX || l->n_spis > RANGES_MAX ||
		(size_t)(i->end - i->at) != n * 8)
		return ERR_CORRUPT;
	err = ranges_reserve(ranges, n);
	if (err != 0)
		return err;
	for (size_t r = 0; r < n; r++) {
		ranges->at[r].lo = get_u32(i);
		ranges->at[r].hi = get_u32(i);
		if (ranges->at[r].lo > ranges->at[r].hi)
			return ERR_CORRUPT;
	}
	l->ports = ranges->at;
	l->spis = l->n_spis > 0 ? ranges->at + l->n_ports : ranges->at;
	return 0;
}

static void get_names(struct in *i, struct lease *l)
{
	size_t n = get_below(i, REMOTE_MORE_MAX + 1);

	l->remote.n_more = (uint16_t)n;
	for (size_t k = 0; k < n; k++)
		l->remote.more[k] = get_u32(i);
	n = get_number(i, 1);
	if (i->bad || (size_t)(i->end - i->at) < n) {
		i->bad = true;
		return;
	}
	l->remote_name = (const char *)i->at;
	l->remote_name_len = (uint8_t)n;
	i->at += n;
}

static void get_identity(struct in *i, struct lease *l)
{
	size_t n = get_number(i, 2);

	if (i->bad || (size_t)(i->end - i->at) < n) {
		i->bad = true;
		return;
	}
	l->ike_id = i->at;
	l->ike_id_len = (uint16_t)n;
	i->at += n;
}

static int get_lease(struct in *i, uint64_t version, int64_t offset_ms,
	struct record_ranges *ranges, struct lease *l)
{
	l->client_id = get_u32(i);
	l->host = get_u32(i);
	l->gateway = get_u32(i);
	l->address = get_u32(i);
	l->method = get_below(i, METHODS);
	l->tunnel = get_below(i, TUNNEL_L2TP + 1);
	l->remote.flow = get_below(i, REMOTE_MICRO + 1);
	l->remote.addr = get_u32(i);
	l->remote.port = (uint16_t)get_number(i, 2);
	if (version > 1)
		get_names(i, l);
	if (version > 2)
		get_identity(i, l);
	l->granted_ms = get_number(i, 8) - (uint64_t)offset_ms;
	l->expires_ms = get_time(i, offset_ms);
	l->n_ports = get_u32(i);
	l->n_spis = get_u32(i);
	return get_ranges(i, ranges, l);
}

static int get_resting(struct in *i, struct in *key, uint64_t version, int64_t offset_ms,
	struct resting *r)
{
	if (version > 1)
		r->until_ms = get_time(key, offset_ms);
	r->address = get_u32(key);
	r->kind = get_below(key, REST_SPI + 1);
	r->range.lo = get_u32(key);
	r->range.hi = get_u32(i);
	if (version == 1)
		r->until_ms = get_time(i, offset_ms);
	return in_done(i) && in_done(key) && r->range.lo <= r->range.hi ? 0 : ERR_CORRUPT;
}

int record_decode(const uint8_t *key_bytes, size_t key_len, const uint8_t *value,
	size_t len, int64_t offset_ms, struct record_ranges *ranges, struct record *r)
{
	struct in key = { .at = key_bytes, .end = key_bytes + key_len };
	struct in i = { .at = value, .end = value + len };
	uint64_t version;
	int err = ERR_CORRUPT;

	if (len < 1 + CRC_LEN)
		return ERR_CORRUPT;
	i.end -= CRC_LEN;
	version = get_number(&i, 1);
	if (version > RECORD_VERSION)
		return ERR_VERSION;
	*r = (struct record){ .kind = get_below(&key, RECORD_RESTING + 1) };
	if (key.bad || version == 0)
		return ERR_CORRUPT;
	switch (r->kind) {
	case RECORD_META:
		err = get_meta(&i, &r->meta);
		break;
	case RECORD_REGISTRATION:
		r->registration.client_id = get_u32(&key);
		err = get_registration(&i, version, offset_ms, &r->registration);
		break;
	case RECORD_LEASE:
		r->lease.bind_id = get_u32(&key);
		err = get_lease(&i, version, offset_ms, ranges, &r->lease);
		break;
	case RECORD_RESTING:
		err = get_resting(&i, &key, version, offset_ms, &r->resting);
		break;
	}
	return err == 0 && !in_done(&key) ? ERR_CORRUPT : err;
}
