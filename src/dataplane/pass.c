/*
 * The ways a packet can leave: dropped and counted, sent whole, sent in fragments,
 * through a tunnel, or answered by an ICMP error.
 */
#include "dataplane/pass.h"

#include "dataplane/core/icmp.h"
#include "dataplane/core/verdict.h"

#include <string.h>

/* The gateway's own ICMP, so that floods are not answered by floods (RFC 1812 4.3.2.8).
 */
#define ERRORS_PER_S 100
#define ERRORS_BURST 200

bool pass_begin(struct pass *s, uint8_t *p, size_t len)
{
	s->p = p;
	return ip4_parse(p, p + len, false, &s->ip);
}

const uint8_t *pass_payload(const struct pass *s)
{
	return s->p + s->ip.hdr;
}

const uint8_t *pass_end(const struct pass *s)
{
	return s->p + s->ip.len;
}

void pass_read_flow(struct pass *s)
{
	flow_parse(pass_payload(s), pass_end(s), s->ip.proto, &s->flow);
}

bool pass_quoted(const struct pass *s, struct ip4 *ip, struct flow *flow)
{
	const uint8_t *q = pass_payload(s) + ICMP_HDR;

	if (!ip4_parse(q, pass_end(s), true, ip) || (ip->frag & IP4_OFFSET))
		return false;
	const uint8_t *end = q + ip->len < pass_end(s) ? q + ip->len : pass_end(s);
	flow_parse(q + ip->hdr, end, ip->proto, flow);
	return true;
}

static void tell_packet(const struct pass *s, enum dp_reason reason)
{
	const struct dp_events *e = &s->f->events;

	/* How much there is of a packet that is none, nobody knows here. */
	if (e->wants_packets != NULL && *e->wants_packets && s->p != NULL)
		e->packet(e->ctx, s->dir, reason, s->p,
			reason == DP_MARTIAN ? 0 : s->ip.len);
}

void pass_drop(struct pass *s, enum dp_reason reason)
{
	uint16_t error = s->dir == DP_OUT ? verdict_error(reason) : 0;

	tell_packet(s, reason);
	s->f->stats.dropped[s->dir][reason]++;
	if (error && s->f->events.misuse)
		s->f->events.misuse(s->f->events.ctx, s->host, error,
			s->lease ? s->lease->bind_id : 0);
}

void pass_count(struct pass *s, uint32_t bytes)
{
	s->f->stats.forwarded[s->dir]++;
	s->f->stats.forwarded_bytes[s->dir] += bytes;
	tell_packet(s, DP_OK);
}

bool pass_join(struct pass *s, struct reasm *r, uint32_t realm)
{
	uint8_t *whole;
	size_t len;

	if (!ip4_is_fragment(&s->ip))
		return true;
	switch (reasm_add(r, realm, s->p, &s->ip, s->now_ms, &whole, &len)) {
	case REASM_DONE:
		s->f->stats.reassembled++;
		s->joined = true;
		return pass_begin(s, whole, len);
	case REASM_OVERLAP:
		pass_drop(s, DP_FRAG_OVERLAP);
		return false;
	case REASM_BAD:
		pass_drop(s, DP_MARTIAN);
		return false;
	case REASM_HELD:
	case REASM_IGNORED:
	default:
		return false;
	}
}

struct tlease *pass_by_port(const struct pass *s, const struct taddr *a, uint16_t port)
{
	if (port == FLOW_IKE_PORT && s->flow.proto != IP4_UDP)
		return NULL;
	return tables_by_port(a, port);
}

static enum dp_reason judge(const struct pass *s, const struct tlease *l,
	enum tunnel_type tunnel, uint32_t remote, uint16_t remote_port)
{
	if (tunnel && l->tunnel != tunnel)
		return DP_TUNNEL_TYPE;
	return verdict_remote(&l->remote, remote, &s->flow, remote_port);
}

enum dp_reason pass_remote(const struct pass *s, uint16_t port, enum tunnel_type tunnel,
	uint32_t remote, uint16_t remote_port, const struct tlease **l)
{
	enum dp_reason worst = judge(s, *l, tunnel, remote, remote_port);
	const struct tpair *pair;

	if (worst == DP_OK || !(*l)->shares)
		return worst;
	pair = tables_pair(&s->f->tables, (*l)->host, (*l)->address);
	for (const struct tlease *at = NULL;
		(at = tables_next_by_port(pair, at, port)) != NULL;) {
		enum dp_reason r = judge(s, at, tunnel, remote, remote_port);

		if (r != DP_OK && verdict_further(worst, r) == worst)
			continue;
		*l = at;
		worst = r;
		if (r == DP_OK)
			break;
	}
	return worst;
}

/*
 * Later fragments carry only options with the copied flag (RFC 791 3.1); the others
 * become no-ops, so that the header keeps its length.
 */
static void blank_options(uint8_t *hdr, size_t len)
{
	for (size_t i = IP4_HDR, n; i < len && hdr[i] != 0; i += n) {
		n = hdr[i] == 1 ? 1 : i + 1 < len ? hdr[i + 1] : 0;
		if (n == 0 || (hdr[i] != 1 && n < 2) || i + n > len)
			return;
		if (!(hdr[i] & 0x80))
			memset(hdr + i, 1, n);
	}
}

static void sum_header(uint8_t *hdr, uint32_t len)
{
	be_put16(hdr + IP4_AT_CSUM, 0);
	be_put16(hdr + IP4_AT_CSUM, csum_fold(csum_sum(hdr, len, 0)));
}

bool pass_fragments(struct forward *f, enum forward_link link, uint32_t dst,
	const uint8_t *p, uint16_t len, uint32_t mtu)
{
	uint32_t hdr_len = (uint32_t)(p[0] & 15) * 4;
	uint8_t hdr[60];

	if (mtu < hdr_len + 8)
		return false;
	uint32_t step = (mtu - hdr_len) & ~7U, data = len - hdr_len;
	memcpy(hdr, p, hdr_len);
	for (uint32_t at = 0; at < data; at += step) {
		uint32_t n = data - at < step ? data - at : step;
		const struct forward_piece piece[] = { { hdr, hdr_len },
			{ p + hdr_len + at, n } };

		if (at == step)
			blank_options(hdr, hdr_len);
		be_put16(hdr + IP4_AT_LEN, (uint16_t)(hdr_len + n));
		be_put16(hdr + IP4_AT_FRAG,
			(uint16_t)(at / 8 | (at + n < data ? IP4_MF : 0)));
		sum_header(hdr, hdr_len);
		if (!f->out.send(f->out.ctx, link, dst, piece, 2))
			return false;
	}
	return true;
}

bool pass_tunnel(struct forward *f, const uint8_t *p, const struct ip4 *ip,
	enum tunnel_type tunnel, uint32_t gateway, uint32_t host, uint32_t mtu,
	bool split)
{
	uint8_t outer[TUNNEL_OVERHEAD_MAX];
	uint16_t overhead = tunnel_overhead(tunnel),
		 whole = (uint16_t)(ip->len + overhead);
	struct ip4 inner = *ip;

	if (split)
		inner.frag = 0;
	tunnel_write(outer, tunnel, gateway, host, f->next_id++, &inner);
	if (whole > mtu) {
		memcpy(f->scratch, outer, overhead);
		memcpy(f->scratch + overhead, p, ip->len);
		return pass_fragments(f, LINK_PRIVATE, host, f->scratch, whole, mtu);
	}
	const struct forward_piece piece[] = { { outer, overhead }, { p, ip->len } };
	return f->out.send(f->out.ctx, LINK_PRIVATE, host, piece, 2);
}

bool pass_return(struct pass *s, const uint8_t *packet, uint16_t len, uint32_t dst)
{
	struct forward *f = s->f;
	struct ip4 ip;

	if (s->host) {
		return ip4_parse(packet, packet + len, false, &ip) &&
		       pass_tunnel(f, packet, &ip, s->tunnel, s->gateway, s->host,
			       f->mtu[LINK_PRIVATE], true);
	}
	if (len > f->mtu[LINK_PUBLIC])
		return pass_fragments(
			f, LINK_PUBLIC, dst, packet, len, f->mtu[LINK_PUBLIC]);
	const struct forward_piece piece = { packet, len };
	return f->out.send(f->out.ctx, LINK_PUBLIC, dst, &piece, 1);
}

/* The gateway speaks with its own public address, else with the one that was spoken to.
 */
static uint32_t icmp_source(const struct pass *s)
{
	if (s->f->address[LINK_PUBLIC])
		return s->f->address[LINK_PUBLIC];
	return s->host ? s->gateway : s->ip.dst;
}

void pass_icmp(struct pass *s, uint8_t type, uint8_t code, uint32_t rest)
{
	uint8_t packet[ICMP_PACKET_MAX];
	uint16_t quote = s->ip.len < ICMP_PACKET_MAX - ICMP_ERR_HDR
				 ? s->ip.len
				 : ICMP_PACKET_MAX - ICMP_ERR_HDR;

	if (!icmp_may_answer(s->p, pass_end(s), &s->ip) ||
		!limit_take(&s->f->errors, ERRORS_PER_S, ERRORS_BURST, s->now_ms))
		return;
	memcpy(packet + ICMP_ERR_HDR, s->p, quote);
	icmp_write_error(packet, icmp_source(s), s->ip.src, type, code, rest, quote,
		csum_sum(s->p, quote, 0));
	if (pass_return(s, packet, (uint16_t)(ICMP_ERR_HDR + quote), s->ip.src))
		s->f->stats.icmp_answered++;
}
