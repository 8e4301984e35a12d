/*
 * From the tunnel to the public link: the outbound procedure O1-O9.  Each check that a
 * packet fails has its RSIP error (RFC 3103 10.4); nothing is forwarded on trust.
 */
#include "dataplane/forward.h"

#include "dataplane/core/icmp.h"
#include "dataplane/core/verdict.h"
#include "dataplane/pass.h"

#define REALM_OUTER    1 /* no host: 0.0.0.1 */
#define MTU_MIN        576
#define MTU_LEARNED_MS 600000 /* RFC 1191 6.3 */

#define METHODS_ANY    (~0U)
#define METHODS_IPSEC  (1U << METHOD_RSIPSEC | 1U << METHOD_RSA_IP)
#define METHODS_IKE    (METHODS_IPSEC | 1U << METHOD_IKE)

/*
 * A lease of the host on this source address, of one of these methods, in this tunnel,
 * that allows the remote.  Else the refusal that got furthest; DP_OK stands for none.
 */
static enum dp_reason pick(struct pass *s, unsigned int methods, struct tlease **lease)
{
	const struct tpair *pair = tables_pair(&s->f->tables, s->host, s->ip.src);
	enum dp_reason worst = DP_OK;
	struct tlease *l;

	*lease = NULL;
	if (!pair)
		return DP_OK;
	for (l = LIST_FIRST(&pair->leases); l; l = LIST_NEXT(l, of_pair)) {
		if (!(methods & 1U << l->method))
			continue;
		enum dp_reason r = l->tunnel != s->tunnel
					   ? DP_TUNNEL_TYPE
					   : verdict_remote(&l->remote, s->ip.dst,
						     &s->flow, s->flow.dport);
		if (r == DP_OK) {
			*lease = l;
			return DP_OK;
		}
		if (worst == DP_OK || verdict_further(r, worst) == r) {
			worst = r;
			s->lease = l;
		}
	}
	return worst;
}

/* As pick(); none_is is the refusal where no lease has such a method. */
static enum dp_reason pick_or(struct pass *s, unsigned int methods,
	enum dp_reason none_is, struct tlease **lease)
{
	enum dp_reason r = pick(s, methods, lease);

	return *lease ? DP_OK : r ? r : none_is;
}

/* ESP in UDP: as out_spi(), under UDP's number. */
static void learn_natt(struct pass *s, struct tlease *l, uint32_t spi)
{
	const struct learned_key key = { s->ip.src, s->ip.dst, IP4_UDP, spi };

	(void)learned_refresh(
		&s->f->tables.learned[LEARNED_SPI], &key, l, s->ip.dst, s->now_ms);
}

/* IKE from a port that hosts share: the cookie is claimed (RFC 3104 6.1). */
static enum dp_reason out_ike(struct pass *s)
{
	struct flow_ike ike;
	struct tlease *l;

	/* Judged by address: the policy names the port of the application, not of IKE. */
	s->flow.kind = FLOW_SPI;
	enum dp_reason r = pick_or(s, METHODS_IKE, DP_ADDRPORT_UNALLOWED, &l);
	if (r)
		return r;
	flow_parse_ike(
		pass_payload(s) + 8, pass_end(s), s->flow.sport == FLOW_NATT_PORT, &ike);
	if (ike.kind == FLOW_IKE_SHORT)
		return DP_IKE_SHORT;
	if (ike.kind == FLOW_IKE_ESP)
		learn_natt(s, l, ike.spi);
	if (ike.kind != FLOW_IKE_COOKIES)
		return DP_OK;
	const struct learned_key key = { s->ip.src, ike.initiator[0], ike.initiator[1],
		0 };
	struct learned_table *t = &s->f->tables.learned[LEARNED_IKE];

	if (learned_refresh(t, &key, l, s->ip.dst, s->now_ms))
		return DP_OK;
	return learned_find(t, &key, s->now_ms) ? DP_COOKIE_INUSE : DP_COOKIE_FULL;
}

static enum dp_reason out_ports(struct pass *s, const struct taddr *a)
{
	const struct tlease *l = pass_by_port(s, a, s->flow.sport);

	if (!l || l->host != s->host) {
		bool shared = s->flow.proto == IP4_UDP &&
			      (s->flow.sport == FLOW_IKE_PORT ||
				      s->flow.sport == FLOW_NATT_PORT);
		return shared ? out_ike(s) : DP_ADDRPORT_UNALLOWED;
	}
	enum dp_reason r =
		pass_remote(s, s->flow.sport, s->tunnel, s->ip.dst, s->flow.dport, &l);
	s->lease = l;
	return r;
}

/*
 * ESP and AH: the SPI is the peer's and proves nothing; who may send is decided by host
 * and source address.  The SPI is remembered since ICMP errors quote it.
 */
static enum dp_reason out_spi(struct pass *s)
{
	struct learned_table *t = &s->f->tables.learned[LEARNED_SPI];
	const struct learned_key key = { s->ip.src, s->ip.dst, s->flow.proto,
		s->flow.spi };
	const struct learned *known = learned_find(t, &key, s->now_ms);
	struct tlease *l;

	if (known && known->owner->host == s->host && known->owner->tunnel == s->tunnel &&
		verdict_remote(&known->owner->remote, s->ip.dst, &s->flow,
			s->flow.dport) == DP_OK) {
		l = known->owner;
	} else {
		enum dp_reason r = pick_or(s, METHODS_IPSEC, DP_IPSEC_UNALLOWED, &l);
		if (r)
			return r;
	}
	/* Another host's entry stays its own; the packet is legal all the same. */
	(void)learned_refresh(t, &key, l, s->ip.dst, s->now_ms);
	return DP_OK;
}

static enum dp_reason out_icmp_query(struct pass *s)
{
	const struct learned_key key = { s->ip.src, s->ip.dst, s->flow.icmp_type,
		s->flow.icmp_id_seq };
	struct tlease *l;
	enum dp_reason r = pick_or(s, METHODS_ANY, DP_ADDRPORT_UNALLOWED, &l);

	if (r)
		return r;
	return learned_refresh(&s->f->tables.learned[LEARNED_QUERY], &key, l, s->ip.dst,
		       s->now_ms)
		       ? DP_OK
		       : DP_ICMP_UNMATCHED;
}

/* An error of the host's own: it must be about a packet to what this host holds. */
static enum dp_reason out_icmp_error(struct pass *s, const struct taddr *a)
{
	const struct tlease *l = NULL;
	struct tlease *ike;
	struct ip4 ip;
	struct flow flow;

	if (!pass_quoted(s, &ip, &flow) || ip.dst != s->ip.src || ip.src != s->ip.dst)
		return DP_ADDRPORT_UNALLOWED;
	if (flow.kind == FLOW_SPI)
		l = tables_by_spi(&s->f->tables, a, flow.spi);
	else if (flow.kind == FLOW_PORTS)
		l = tables_by_port(a, flow.dport);
	if (!l && flow.proto == IP4_UDP &&
		(flow.dport == FLOW_IKE_PORT || flow.dport == FLOW_NATT_PORT) &&
		pick(s, METHODS_IPSEC, &ike) == DP_OK)
		l = ike;
	if (!l || l->host != s->host)
		return DP_ADDRPORT_UNALLOWED;
	return l->tunnel == s->tunnel ? DP_OK : DP_TUNNEL_TYPE;
}

/* Whole address: whatever the protocol, only the remote is judged. */
static enum dp_reason out_whole(struct pass *s, const struct tlease *l)
{
	s->lease = l;
	if (l->tunnel != s->tunnel)
		return DP_TUNNEL_TYPE;
	return verdict_remote(&l->remote, s->ip.dst, &s->flow, s->flow.dport);
}

/* O6 and O7, and what O8 records. */
static enum dp_reason out_check(struct pass *s)
{
	const struct taddr *a = tables_address(&s->f->tables, s->ip.src);

	if (!a)
		return DP_ADDR_UNALLOWED;
	if (!ip4_is_unicast(s->ip.dst) || ip4_is_source_routed(s->p, pass_end(s), &s->ip))
		return DP_MARTIAN;
	if (a->whole && a->whole->host == s->host)
		return out_whole(s, a->whole);
	switch (s->flow.kind) {
	case FLOW_PORTS:
		return out_ports(s, a);
	case FLOW_SPI:
		return out_spi(s);
	case FLOW_ICMP_QUERY:
		return out_icmp_query(s);
	case FLOW_ICMP_ERROR:
		return out_icmp_error(s, a);
	case FLOW_ICMP_REPLY:
	case FLOW_ICMP_OTHER:
	case FLOW_NONE:
	default:
		return DP_ADDRPORT_UNALLOWED;
	}
}

/* O5: may this host use this inner source at all? */
static enum dp_reason out_source(struct pass *s)
{
	const struct tables *t = &s->f->tables;

	if (tables_pair(t, s->host, s->ip.src))
		return DP_OK;
	return tables_address(t, s->ip.src) ? DP_OUTER_SRC : DP_ADDR_UNALLOWED;
}

/* O9 to a destination that is a pool address: the inbound procedure in the same gateway.
 */
static void hairpin(struct pass *s)
{
	struct pass in = *s;

	in.dir = DP_IN;
	in.lease = NULL;
	if (!pass_begin(&in, s->p, s->ip.len) || !pass_inbound(&in))
		pass_drop(&in, DP_NO_BIND);
}

/* O9: one hop less, the DS field, and out. */
static enum dp_reason out_send(struct pass *s)
{
	struct forward *f = s->f;
	int tos = ip4_decap_tos(s->outer_tos, s->ip.tos);
	bool local = forward_pool_of(f, s->ip.dst) != NULL;
	uint32_t mtu = f->mtu[LINK_PUBLIC];
	const struct forward_piece piece = { s->p, s->ip.len };

	if (tos < 0)
		return DP_MARTIAN;
	if (s->ip.ttl <= 1) {
		pass_icmp(s, ICMP_TIME_EXCEEDED, ICMP_TTL_GONE, 0);
		return DP_TTL;
	}
	if (!local && s->ip.len > mtu && (s->ip.frag & IP4_DF) && !s->joined) {
		pass_icmp(s, ICMP_UNREACHABLE, ICMP_FRAG_NEEDED, mtu);
		return DP_TOO_BIG;
	}
	ip4_hop(s->p);
	ip4_set_tos(s->p, (uint8_t)tos);
	if (!local && !(s->ip.len > mtu ? pass_fragments(f, LINK_PUBLIC, s->ip.dst, s->p,
						  s->ip.len, mtu)
					: f->out.send(f->out.ctx, LINK_PUBLIC, s->ip.dst,
						  &piece, 1)))
		return DP_NO_ROUTE;
	pass_count(s, s->ip.len);
	if (local)
		hairpin(s);
	return DP_OK;
}

/* O4 to O9 on the inner packet, which starts at p. */
static enum dp_reason out_inner(struct pass *s, uint8_t *p, size_t len)
{
	if (!pass_begin(s, p, len))
		return DP_MARTIAN;
	enum dp_reason r = out_source(s);
	if (r)
		return r;
	if (!pass_join(s, &s->f->inner, s->host))
		return DP_OK;
	pass_read_flow(s);
	r = out_check(s);
	return r ? r : out_send(s);
}

/*
 * A router between gateway and host could not carry our tunnel packet: remember its MTU,
 * so that the next sender of a large packet is told (RFC 2003 section 5.1).
 */
static void learn_mtu(struct pass *s, struct thost *h)
{
	uint16_t mtu = be_get16(pass_payload(s) + 6);

	if (mtu < MTU_MIN || mtu >= s->f->mtu[LINK_PRIVATE])
		return;
	h->mtu = mtu;
	h->mtu_until_ms = s->now_ms + MTU_LEARNED_MS;
	if (s->f->path)
		s->f->path(s->f->path_ctx, h->host, mtu);
}

/* Does this host hold what the packet in the tunnel was for? */
static bool is_for_host(const struct pass *in, uint32_t host)
{
	const struct taddr *a = tables_address(&in->f->tables, in->ip.dst);
	const struct tlease *l = a ? a->whole : NULL;

	if (a && !l && in->flow.kind == FLOW_PORTS)
		l = tables_by_port(a, in->flow.dport);
	else if (a && !l && in->flow.kind == FLOW_SPI)
		l = tables_by_spi(&in->f->tables, a, in->flow.spi);
	return l && l->host == host;
}

/*
 * A router could not bring our tunnel packet to the host: its sender, who can't know of
 * a tunnel, is told that the host is unreachable (RFC 2003 section 4), if enough is
 * quoted to say who that was, and to see that it was for this host.
 */
static void relay_error(struct pass *s, const struct ip4 *outer)
{
	struct pass in = { .f = s->f, .now_ms = s->now_ms, .dir = DP_IN };
	const uint8_t *end = pass_end(s);

	in.p = s->p + s->ip.hdr + ICMP_HDR + outer->hdr +
	       (outer->proto == IP4_GRE ? tunnel_overhead(TUNNEL_GRE) - IP4_HDR : 0);
	if ((outer->frag & IP4_OFFSET) || in.p + IP4_HDR > end ||
		!ip4_parse(in.p, end, true, &in.ip) || ip4_is_fragment(&in.ip) ||
		in.p + in.ip.hdr + 8 > end)
		return;
	if (in.p + in.ip.len > end)
		in.ip.len = (uint16_t)(end - in.p);
	pass_read_flow(&in);
	if (is_for_host(&in, outer->dst))
		pass_icmp(&in, ICMP_UNREACHABLE, ICMP_HOST, 0);
}

/* Which errors about a tunnel packet say that it did not arrive (RFC 2003 section 4). */
static bool is_unreachable(const uint8_t *icmp)
{
	const uint32_t codes = 1U << 0 | 1U << 1 | 1U << 2 | 0x3fc0; /* 6 to 13 */

	if (icmp[0] == ICMP_UNREACHABLE)
		return icmp[1] < 32 && (codes & 1U << icmp[1]);
	return icmp[0] == ICMP_TIME_EXCEEDED && icmp[1] == ICMP_TTL_GONE;
}

/* An ICMP error about a packet to a host, from inside. */
static void private_error(struct pass *s)
{
	struct ip4 outer;
	const uint8_t *icmp = pass_payload(s);

	if (pass_end(s) < icmp + ICMP_HDR ||
		!ip4_parse(icmp + ICMP_HDR, pass_end(s), true, &outer) ||
		!tunnel_of_proto(outer.proto) || outer.src != s->ip.dst)
		return;
	struct thost *h = tables_host(&s->f->tables, outer.dst);
	if (h && icmp[0] == ICMP_UNREACHABLE && icmp[1] == ICMP_FRAG_NEEDED)
		learn_mtu(s, h);
	else if (h && is_unreachable(icmp))
		relay_error(s, &outer);
}

/* O2 and O3 on the outer packet. */
static enum dp_reason out_outer(struct pass *s)
{
	const struct thost *h = tables_host(&s->f->tables, s->ip.src);
	enum tunnel_type tunnel = tunnel_of_proto(s->ip.proto);

	s->host = s->ip.src;
	s->gateway = s->ip.dst;
	if (!h)
		return DP_UNREGISTERED;
	if (!pass_join(s, &s->f->outer, REALM_OUTER))
		return DP_OK;
	uint16_t inner = tunnel_inner(s->p, pass_end(s), &s->ip);
	if (inner == 0 || h->tunnels[tunnel] == 0)
		return DP_TUNNEL_TYPE;
	s->tunnel = tunnel;
	s->outer_tos = s->ip.tos;
	s->joined = false; /* what was in fragments is the outer packet, not the inner */
	return out_inner(s, s->p + inner, (size_t)(s->ip.len - inner));
}

bool forward_private(struct forward *f, uint8_t *p, size_t len, uint64_t now_ms)
{
	struct pass s = { .f = f, .now_ms = now_ms, .dir = DP_OUT };

	if (!pass_begin(&s, p, len) || !forward_is_tunnel_end(f, s.ip.dst))
		return false;
	if (s.ip.proto == IP4_ICMP)
		private_error(&s);
	if (!tunnel_of_proto(s.ip.proto))
		return false;
	enum dp_reason r = out_outer(&s);
	if (r)
		pass_drop(&s, r);
	return true;
}
