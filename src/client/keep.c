/*
 * A session as bytes and back, so that a host program may restart without its bindings
 * noticing.  The bytes are of this machine and this boot; their format is ours to change,
 * and a version byte tells.
 */
#include "client/session.h"

#include "base/rd.h"
#include "base/wr.h"

#include <stdlib.h>
#include <string.h>

#define KEEP_VERSION 2
#define KEEP_MAGIC   0x72736970 /* "rsip" */
/*
 * An export may be a few messages old.  The gateway takes a gap in the counters, but not
 * one that it has seen.
 */
#define COUNTER_GAP 64

static uint32_t keep_sum(const uint8_t *bytes, size_t len)
{
	uint32_t sum = 2166136261; /* FNV-1a: against mishaps, not against malice */

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ bytes[i]) * 16777619;
	return sum;
}

static void put_u64(struct wr *w, uint64_t v)
{
	wr_u32(w, (uint32_t)(v >> 32));
	wr_u32(w, (uint32_t)v);
}

static uint64_t get_u64(struct rd *r)
{
	uint64_t high = rd_u32(r);

	return high << 32 | rd_u32(r);
}

static void put_ranges(struct wr *w, const struct rsip_range *ranges, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		wr_u32(w, ranges[i].lo);
		wr_u32(w, ranges[i].hi);
	}
}

static void put_binding(struct wr *w, const struct binding *b)
{
	const struct rsip_grant *g = &b->grant;
	size_t name_len = g->remote_name ? strlen(g->remote_name) : 0;

	wr_u16(w, (uint16_t)g->n_ports);
	wr_u16(w, (uint16_t)g->n_spis);
	wr_u8(w, (uint8_t)name_len);
	wr_u8(w, g->peer.len);
	wr_u8(w, (uint8_t)g->kind);
	wr_u8(w, (uint8_t)g->tunnel);
	wr_u8(w, b->leaving);
	wr_u32(w, g->bind_id);
	wr_u32(w, g->address);
	wr_u32(w, g->endpoint);
	wr_u32(w, g->remote_address);
	wr_u16(w, g->remote_port);
	wr_u32(w, g->lease_s);
	wr_u32(w, b->wish_s);
	put_u64(w, g->expires_us);
	put_ranges(w, b->numbers, g->n_ports + g->n_spis);
	wr_bytes(w, g->remote_name, name_len);
	wr_u8(w, g->peer.type);
	wr_bytes(w, g->peer.data, g->peer.len);
}

static void put_session(struct wr *w, const struct rsip_session *s)
{
	bool lost_assign =
		s->lost_assign || (s->work && s->work->kind == RSIP_REQ_ASSIGN);

	wr_u32(w, KEEP_MAGIC);
	wr_u8(w, KEEP_VERSION);
	wr_u8(w, lost_assign);
	wr_u8(w, (uint8_t)s->conf.transport);
	wr_u8(w, (uint8_t)s->reg.local);
	wr_u8(w, (uint8_t)s->reg.remote);
	wr_u8(w, (uint8_t)s->reg.methods);
	wr_u8(w, (uint8_t)s->reg.tunnels);
	wr_u8(w, (uint8_t)s->n_orphans);
	wr_u32(w, s->reg.client_id);
	wr_u32(w, s->reg.lease_s);
	put_u64(w, s->reg.expires_us);
	wr_u32(w, s->counter);
	wr_u16(w, (uint16_t)s->n_held);
	for (size_t i = 0; i < s->n_orphans; i++)
		wr_u32(w, s->orphans[i].bind_id);
	for (size_t i = 0; i < s->n_held; i++)
		put_binding(w, s->held[i]);
}

static size_t keep_size(const struct rsip_session *s)
{
	size_t size = 38 + 4 * s->n_orphans;

	for (size_t i = 0; i < s->n_held; i++) {
		const struct rsip_grant *g = &s->held[i]->grant;

		size += 44 + g->peer.len + 8 * (g->n_ports + g->n_spis) +
			(g->remote_name ? strlen(g->remote_name) : 0);
	}
	return size;
}

size_t rsip_session_export(const struct rsip_session *s, uint8_t *buf, size_t size)
{
	size_t need = s->registered ? keep_size(s) : 0;
	struct wr w = wr_init(buf, size);

	if (need == 0 || need > size)
		return need;
	put_session(&w, s);
	wr_u32(&w, keep_sum(buf, wr_len(&w)));
	return wr_len(&w);
}

/* Ranges in order, with a gap between them, none beyond the largest number. */
static bool get_ranges(
	struct rd *r, struct rsip_range *ranges, size_t n, uint32_t largest)
{
	for (size_t i = 0; i < n; i++) {
		ranges[i].lo = rd_u32(r);
		ranges[i].hi = rd_u32(r);
		if (ranges[i].lo < 1 || ranges[i].lo > ranges[i].hi ||
			ranges[i].hi > largest || (i && ranges[i].lo <= ranges[i - 1].hi))
			return false;
	}
	return !r->bad;
}

static bool get_rest(struct rd *r, struct binding *b, size_t name_len)
{
	struct rsip_grant *g = &b->grant;

	g->bind_id = rd_u32(r);
	g->address = rd_u32(r);
	g->endpoint = rd_u32(r);
	g->remote_address = rd_u32(r);
	g->remote_port = rd_u16(r);
	g->lease_s = rd_u32(r);
	b->wish_s = rd_u32(r);
	g->expires_us = get_u64(r);
	if (!get_ranges(r, b->numbers, g->n_ports, 65535) ||
		!get_ranges(r, b->numbers + g->n_ports, g->n_spis, UINT32_MAX))
		return false;
	uint8_t *text = (uint8_t *)(b->numbers + g->n_ports + g->n_spis);
	rd_bytes(r, text, name_len);
	g->peer.type = rd_u8(r);
	rd_bytes(r, text + name_len + 1, g->peer.len);
	return !r->bad && g->bind_id && g->address && g->lease_s &&
	       g->kind >= RSIP_RSA_IP && g->kind <= RSIP_LISTEN_IKE &&
	       g->tunnel >= RSIP_IPIP && g->tunnel <= RSIP_L2TP;
}

static int get_binding(struct rd *r, struct binding **made)
{
	size_t n_ports = rd_u16(r), n_spis = rd_u16(r), name_len = rd_u8(r),
	       id_len = rd_u8(r);
	struct binding *b;

	if (r->bad || rd_left(r) / 8 < n_ports + n_spis)
		return RSIP_ERR_INVALID;
	b = grant_new(n_ports, n_spis, name_len, id_len);
	if (!b)
		return RSIP_ERR_MEMORY;
	b->grant.kind = (enum rsip_kind)rd_u8(r);
	b->grant.tunnel = (enum rsip_tunnel)rd_u8(r);
	b->leaving = rd_u8(r) != 0;
	if (!get_rest(r, b, name_len)) {
		free(b);
		return RSIP_ERR_INVALID;
	}
	*made = b;
	return RSIP_OK;
}

static bool get_head(struct rd *r, struct rsip_session *s, size_t *n)
{
	uint32_t magic = rd_u32(r);
	uint8_t version = rd_u8(r), transport;
	struct rsip_registration *reg = &s->reg;

	s->lost_assign = rd_u8(r) != 0;
	transport = rd_u8(r);
	reg->local = (enum rsip_policy)rd_u8(r);
	reg->remote = (enum rsip_policy)rd_u8(r);
	reg->methods = rd_u8(r);
	reg->tunnels = rd_u8(r);
	s->n_orphans = rd_u8(r);
	reg->client_id = rd_u32(r);
	reg->lease_s = rd_u32(r);
	reg->expires_us = get_u64(r);
	s->counter = rd_u32(r);
	*n = rd_u16(r);
	for (size_t i = 0; s->n_orphans <= ORPHANS_MAX && i < s->n_orphans; i++)
		s->orphans[i] = (struct orphan){ .bind_id = rd_u32(r) };
	return !r->bad && magic == KEEP_MAGIC && version == KEEP_VERSION &&
	       transport == (uint8_t)s->conf.transport && s->n_orphans <= ORPHANS_MAX &&
	       reg->local >= RSIP_MACRO && reg->local <= RSIP_MICRO &&
	       reg->remote >= RSIP_MACRO && reg->remote <= RSIP_NO_POLICY &&
	       reg->client_id && reg->lease_s;
}

static int get_bindings(struct rd *r, struct rsip_session *s, size_t n, uint64_t now_us)
{
	for (size_t i = 0; i < n; i++) {
		struct binding *b = NULL;
		int rc = get_binding(r, &b);

		if (rc)
			return rc;
		if (grant_by_id(s, b->grant.bind_id)) {
			free(b);
			return RSIP_ERR_INVALID;
		}
		if (b->grant.expires_us <= now_us) {
			free(b);
		} else if (s->n_held == s->conf.max_bindings) {
			free(b);
			return RSIP_ERR_FULL;
		} else {
			grant_later(s, b, now_us);
			grant_add(s, b);
		}
	}
	return rd_left(r) == 0 ? RSIP_OK : RSIP_ERR_INVALID;
}

/* A binding whose freeing was under way goes on as one that nobody wants. */
static void forget_leaving(struct rsip_session *s, uint64_t now_us)
{
	for (size_t i = s->n_held; i-- > 0;) {
		uint32_t bind_id = s->held[i]->grant.bind_id;

		if (s->held[i]->leaving) {
			free(grant_pull(s, bind_id));
			loss_orphan(s, bind_id, 0, now_us);
		}
	}
}

static void forget_all(struct rsip_session *s)
{
	for (size_t i = 0; i < s->n_held; i++)
		free(s->held[i]);
	s->n_held = s->n_orphans = 0;
	s->reg = (struct rsip_registration){ 0 };
	s->counter = 0;
	s->lost_assign = false;
}

int rsip_session_import(
	struct rsip_session *s, const uint8_t *bytes, size_t len, uint64_t now_us)
{
	struct rd r = rd_init(bytes, len < 4 ? 0 : len - 4);
	struct rd sum = rd_init(bytes + rd_left(&r), len - rd_left(&r));
	size_t n;
	int rc;

	if (s->wanted || s->registered || s->counter)
		return RSIP_ERR_STATE;
	if (rd_u32(&sum) != keep_sum(r.p, rd_left(&r)) || sum.bad)
		return RSIP_ERR_INVALID;
	rc = get_head(&r, s, &n) ? get_bindings(&r, s, n, now_us) : RSIP_ERR_INVALID;
	if (rc || s->reg.expires_us <= now_us) {
		forget_all(s);
		return rc;
	}
	/* Only what the counter was is known, not what was sent since. */
	s->counter = s->counter > UINT32_MAX - COUNTER_GAP ? COUNTER_GAP
							   : s->counter + COUNTER_GAP;
	s->registered = s->wanted = true;
	forget_leaving(s, now_us);
	s->state = s->n_held ? RSIP_ASSIGNED : RSIP_REGISTERED;
	grant_keep(s);
	s->deadline_us = now_us;
	return RSIP_OK;
}
