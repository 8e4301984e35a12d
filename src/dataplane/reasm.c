/*
 * Reassembly.  Each datagram has a buffer of its own for the largest packet there is, so
 * a fragment is copied once and nothing is allocated while packets come.  The pages are
 * touched only as far as fragments reach.
 */
#include "dataplane/reasm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HDR_MAX   60
#define DATA_MAX  (65535 - IP4_HDR)
#define UNITS     8192 /* of 8 bytes: what 13 bits of offset can name */
#define WORD_BITS 64

struct reasm_entry {
	struct htab_node node;
	uint32_t key[4]; /* realm, source, destination, protocol and identification */
	TAILQ_ENTRY(reasm_entry) link;
	uint64_t since_ms;
	uint64_t have[UNITS / WORD_BITS];
	uint32_t n_have;   /* units */
	uint32_t data_len; /* 0: the last fragment is missing */
	uint32_t highest;  /* end of what came, in bytes */
	uint8_t hdr;       /* 0: the first fragment is missing */
	uint8_t ecn;
	bool dead;
	uint8_t room[HDR_MAX + DATA_MAX + 8];
};
#define KEY_SIZE (4 * sizeof(uint32_t))

int reasm_init(struct reasm *r, uint64_t secret)
{
	*r = (struct reasm){ 0 };
	TAILQ_INIT(&r->waiting);
	TAILQ_INIT(&r->spare);
	r->storage = calloc(REASM_MAX, sizeof *r->storage);
	if (!r->storage)
		return -ENOMEM;
	return htab_init(&r->keys, KEY_SIZE, secret);
}

void reasm_fini(struct reasm *r)
{
	htab_fini(&r->keys);
	free(r->storage);
	*r = (struct reasm){ 0 };
}

static void release(struct reasm *r, struct reasm_entry *e)
{
	htab_del(&r->keys, e);
	TAILQ_REMOVE(&r->waiting, e, link);
	TAILQ_INSERT_TAIL(&r->spare, e, link);
}

/* The oldest datagram of this source if it has too many, the oldest of all if none fit.
 */
static void make_room(struct reasm *r, uint32_t realm, uint32_t src)
{
	struct reasm_entry *e, *oldest = NULL;
	uint32_t n = 0;

	for (e = TAILQ_FIRST(&r->waiting); e; e = TAILQ_NEXT(e, link)) {
		if (e->key[0] != realm || e->key[1] != src)
			continue;
		if (!oldest)
			oldest = e;
		n++;
	}
	if (n < REASM_PER_SOURCE)
		oldest = r->keys.n >= REASM_MAX ? TAILQ_FIRST(&r->waiting) : NULL;
	if (oldest) {
		if (!oldest->dead)
			r->evicted++;
		release(r, oldest);
	}
}

static struct reasm_entry *begin(struct reasm *r, const uint32_t key[4], uint64_t now_ms)
{
	make_room(r, key[0], key[1]);
	struct reasm_entry *e = TAILQ_FIRST(&r->spare);
	if (e)
		TAILQ_REMOVE(&r->spare, e, link);
	else
		e = &r->storage[r->used++];
	memcpy(e->key, key, KEY_SIZE);
	e->since_ms = now_ms;
	memset(e->have, 0, sizeof e->have);
	e->n_have = e->data_len = e->highest = 0;
	e->hdr = e->ecn = 0;
	e->dead = false;
	htab_add(&r->keys, e);
	TAILQ_INSERT_TAIL(&r->waiting, e, link);
	return e;
}

/* Mark units first..first+n-1; false when one is there already. */
static bool mark(struct reasm_entry *e, uint32_t first, uint32_t n)
{
	for (uint32_t u = first; u < first + n; u++) {
		uint64_t bit = 1ULL << (u % WORD_BITS);

		if (e->have[u / WORD_BITS] & bit)
			return false;
		e->have[u / WORD_BITS] |= bit;
	}
	e->n_have += n;
	return true;
}

/* The header of the first fragment becomes that of the datagram. */
static size_t finish(struct reasm_entry *e, uint8_t **whole)
{
	uint8_t *p = e->room + HDR_MAX - e->hdr;
	uint16_t len = (uint16_t)(e->hdr + e->data_len);

	ip4_change16(p, IP4_AT_FRAG, be_get16(p + IP4_AT_FRAG) & IP4_DF);
	ip4_change16(p, IP4_AT_LEN, len);
	if (e->ecn == 3 && (p[IP4_AT_TOS] & 3) != 0)
		ip4_set_tos(p, p[IP4_AT_TOS] | 3); /* RFC 3168 5.3 */
	*whole = p;
	return len;
}

static bool is_consistent(const struct reasm_entry *e, uint32_t at, uint32_t n, bool last)
{
	if (e->data_len && (last || at + n > e->data_len))
		return false;
	return !last || at + n >= e->highest;
}

enum reasm_result reasm_add(struct reasm *r, uint32_t realm, const uint8_t *p,
	const struct ip4 *ip, uint64_t now_ms, uint8_t **whole, size_t *len)
{
	const uint32_t key[4] = { realm, ip->src, ip->dst,
		(uint32_t)ip->proto << 16 | ip->id };
	uint32_t at = (uint32_t)(ip->frag & IP4_OFFSET) * 8, n = ip->len - ip->hdr;
	bool last = !(ip->frag & IP4_MF);

	if (n == 0 || (!last && n % 8) || at + n + ip->hdr > 65535)
		return REASM_BAD;
	struct reasm_entry *e = htab_find(&r->keys, key);
	if (!e)
		e = begin(r, key, now_ms);
	if (e->dead)
		return REASM_IGNORED;
	if (!is_consistent(e, at, n, last) || !mark(e, at / 8, (n + 7) / 8)) {
		e->dead = true;
		return REASM_OVERLAP;
	}
	memcpy(e->room + HDR_MAX + at, p + ip->hdr, n);
	if (at == 0) {
		e->hdr = ip->hdr;
		memcpy(e->room + HDR_MAX - ip->hdr, p, ip->hdr);
	}
	if ((ip->tos & 3) == 3)
		e->ecn = 3;
	if (at + n > e->highest)
		e->highest = at + n;
	if (last)
		e->data_len = at + n;
	if (!e->data_len || !e->hdr || e->n_have != (e->data_len + 7) / 8)
		return REASM_HELD;
	if (e->hdr + e->data_len > 65535) {
		release(r, e);
		return REASM_BAD;
	}
	*len = finish(e, whole);
	release(r, e);
	return REASM_DONE;
}

bool reasm_expire(struct reasm *r, uint64_t now_ms, struct reasm_gone *gone)
{
	struct reasm_entry *e;

	while ((e = TAILQ_FIRST(&r->waiting)) &&
		now_ms >= e->since_ms + REASM_TIMEOUT_MS) {
		bool dead = e->dead;

		release(r, e);
		if (dead)
			continue;
		gone->realm = e->key[0];
		gone->head = e->hdr ? e->room + HDR_MAX - e->hdr : NULL;
		gone->head_len = e->hdr ? e->hdr + 8U : 0;
		return true;
	}
	return false;
}

uint64_t reasm_deadline(const struct reasm *r)
{
	const struct reasm_entry *e = TAILQ_FIRST(&r->waiting);

	return e ? e->since_ms + REASM_TIMEOUT_MS : UINT64_MAX;
}
