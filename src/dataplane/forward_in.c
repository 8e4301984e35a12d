/*
 * From the public link to the tunnel: the inbound procedure I1-I10.  What belongs to no
 * lease is dropped and counted (RFC 3104 section 5: MUST discard), or left to the kernel
 * where the address is also the gateway's own.
 */
#include "dataplane/forward.h"

#include "dataplane/core/icmp.h"
#include "dataplane/core/verdict.h"
#include "dataplane/opening.h"
#include "dataplane/pass.h"

#include <string.h>

#define ECHOES_PER_S 1000
#define ECHOES_BURST 1000
/* Searches through what one host has, for packets that say too little. */
#define WALKS_PER_S 50
#define WALKS_BURST 50

static bool is_ike_port(const struct flow *f, uint16_t port)
{
	return f->proto == IP4_UDP && (port == FLOW_IKE_PORT || port == FLOW_NATT_PORT);
}

static struct learned *ike_find(struct pass *s, const uint32_t cookie[2])
{
	const struct learned_key key = { s->ip.dst, cookie[0], cookie[1], 0 };

	if (!(cookie[0] | cookie[1]))
		return NULL;
	return learned_find(&s->f->tables.learned[LEARNED_IKE], &key, s->now_ms);
}

/* The lease on this address by which the host talks with the peer, or NULL. */
static struct tlease *talks_with(
	struct pass *s, enum learned_kind kind, uint32_t host, uint32_t peer)
{
	const struct tpair *pair = tables_pair(&s->f->tables, host, s->ip.dst);
	const struct learned *e;
	struct tlease *l;

	if (!pair)
		return NULL;
	for (l = LIST_FIRST(&pair->leases); l; l = LIST_NEXT(l, of_pair)) {
		e = TAILQ_FIRST(&l->learned[kind].list);
		for (; e; e = TAILQ_NEXT(e, by_owner))
			if (learned_has_peer(e, peer))
				return l;
	}
	return NULL;
}

/* The holder of the SPI that a cookie begins with, if it has IKE with the sender. */
static struct tlease *by_prefix(
	struct pass *s, const struct taddr *a, const uint32_t cookie[2])
{
	struct tlease *l = a ? tables_by_spi(&s->f->tables, a, cookie[0]) : NULL;

	return l && talks_with(s, LEARNED_IKE, l->host, s->ip.src) ? l : NULL;
}

/* The only host that talks IPsec with this peer, where a packet does not say more. */
static struct tlease *only_host(struct pass *s, enum learned_kind kind, uint32_t peer)
{
	uint32_t host = learned_only_host(&s->f->tables.learned[kind], s->ip.dst, peer);

	if (!host || !limit_take(&s->f->walks, WALKS_PER_S, WALKS_BURST, s->now_ms))
		return NULL;
	return talks_with(s, kind, host, peer);
}

/* Who has port 500 of this address for itself (RFC 3104 appendix G), or NULL. */
static struct tlease *exclusive_owner(const struct pass *s, const struct taddr *a)
{
	return a && s->flow.dport == FLOW_IKE_PORT ? pass_by_port(s, a, FLOW_IKE_PORT)
						   : NULL;
}

/* The listener for this identity.  Here, and only here, a cookie is learned from outside.
 */
static struct tlease *listener(
	struct pass *s, const struct flow_ike *ike, const uint8_t *id, size_t len)
{
	const struct learned_key key = { s->ip.dst, ike->initiator[0], ike->initiator[1],
		0 };
	struct tlease *l =
		len ? tables_by_identity(&s->f->tables, s->ip.dst, id, len) : NULL;

	struct learned *e = l ? learned_refresh(&s->f->tables.learned[LEARNED_IKE], &key,
					l, s->ip.src, s->now_ms)
			      : NULL;

	if (!e)
		return NULL;
	e->begun = true;
	return l;
}

/*
 * IKE that a peer begins.  Who listens for this peer by name comes before who has the
 * whole port, and that before who takes any peer.  Else it is phase 1 anew, of a peer
 * that a host knows already (appendix E): dropped, unless the operator wants it to go to
 * the only host that talks with the peer; then the cookie is learned from its answer.
 */
static struct tlease *opened_by_peer(
	struct pass *s, const struct taddr *a, const struct flow_ike *ike)
{
	static const uint8_t anybody[] = { 0 };
	const uint8_t *p = pass_payload(s) + 8;
	uint8_t id[IKE_ID_MAX];
	size_t len;
	struct tlease *l;

	if (s->flow.dport == FLOW_NATT_PORT)
		p += 4;
	len = opening_identity(p, pass_end(s), id, sizeof id);
	l = listener(s, ike, id, len);
	l = l ? l : exclusive_owner(s, a);
	l = l ? l : listener(s, ike, anybody, sizeof anybody);
	if (!l && s->f->ike_only_host)
		l = only_host(s, LEARNED_IKE, s->ip.src);
	return l;
}

/*
 * By initiator cookie.  An IKE SA that the peer rekeyed has the peer's cookie there; then
 * the responder's shows the host.  Each is a cookie that the host used, or one that
 * begins with an SPI it holds, as hosts are told to choose them: after a rekeying by the
 * host its new cookie was so far seen in ciphertext only, and the peer may speak first.
 * Without a responder cookie it is a new session.
 */
static struct tlease *in_cookies(
	struct pass *s, const struct taddr *a, const struct flow_ike *ike)
{
	struct learned *e = ike_find(s, ike->initiator);
	struct tlease *l;

	if (!e)
		e = ike_find(s, ike->responder);
	if (e) {
		if (!learned_has_peer(e, s->ip.src))
			return NULL;
		learned_settle(&s->f->tables.learned[LEARNED_IKE], e);
		return e->owner;
	}
	if (!(ike->responder[0] | ike->responder[1]))
		return opened_by_peer(s, a, ike);
	l = by_prefix(s, a, ike->initiator);
	l = l ? l : by_prefix(s, a, ike->responder);
	return l ? l : exclusive_owner(s, a);
}

static enum dp_reason in_ike(struct pass *s, const struct taddr *a, struct tlease **lease)
{
	struct flow_ike ike;

	flow_parse_ike(
		pass_payload(s) + 8, pass_end(s), s->flow.dport == FLOW_NATT_PORT, &ike);
	switch (ike.kind) {
	case FLOW_IKE_ESP:
		*lease = a ? tables_by_spi(&s->f->tables, a, ike.spi) : NULL;
		return *lease ? DP_OK : DP_NO_SPI;
	case FLOW_IKE_COOKIES:
		*lease = in_cookies(s, a, &ike);
		return *lease ? DP_OK : DP_NO_COOKIE;
	case FLOW_IKE_SHORT:
	case FLOW_IKE_KEEPALIVE:
	default:
		return DP_IKE_SHORT;
	}
}

/* The host that sends to the peer with this SPI, else the only one with that peer. */
static struct tlease *learned_out_spi(
	struct pass *s, uint32_t peer, uint8_t proto, uint32_t spi)
{
	const struct learned_key key = { s->ip.dst, peer, proto, spi };
	const struct learned *e =
		learned_find(&s->f->tables.learned[LEARNED_SPI], &key, s->now_ms);

	return e ? e->owner : only_host(s, LEARNED_SPI, peer);
}

static struct tlease *quoted_ike(struct pass *s, const struct ip4 *ip, uint16_t sport)
{
	const uint8_t *udp = pass_payload(s) + ICMP_HDR + ip->hdr;
	struct flow_ike ike;
	/* The quote may end behind the initiator cookie: judge as if zeros followed. */
	uint8_t head[4 + FLOW_IKE_HDR] = { 0 };
	size_t n = (size_t)(pass_end(s) - udp) - 8;

	if (n < (sport == FLOW_NATT_PORT ? 12U : 8U))
		return only_host(s, LEARNED_IKE, ip->dst);
	memcpy(head, udp + 8, n < sizeof head ? n : sizeof head);
	flow_parse_ike(head, head + sizeof head, sport == FLOW_NATT_PORT, &ike);
	if (ike.kind == FLOW_IKE_ESP)
		return learned_out_spi(s, ip->dst, IP4_UDP, ike.spi);
	struct learned *e =
		ike.kind == FLOW_IKE_COOKIES ? ike_find(s, ike.initiator) : NULL;
	if (e)
		return learned_has_peer(e, ip->dst) ? e->owner : NULL;
	return only_host(s, LEARNED_IKE, ip->dst);
}

/* Whose packet does this ICMP error quote (RFC 3102 6.2, RFC 3104 5)? */
static struct tlease *in_icmp_error(struct pass *s, const struct taddr *a)
{
	struct ip4 ip;
	struct flow q;

	if (!a || !pass_quoted(s, &ip, &q) || ip.src != s->ip.dst)
		return NULL;
	if (a->whole)
		return a->whole;
	if (q.kind == FLOW_SPI)
		return learned_out_spi(s, ip.dst, q.proto, q.spi);
	if (q.kind == FLOW_ICMP_QUERY) {
		const struct learned_key key = { s->ip.dst, ip.dst, q.icmp_type,
			q.icmp_id_seq };
		const struct learned *e = learned_find(
			&s->f->tables.learned[LEARNED_QUERY], &key, s->now_ms);
		return e ? e->owner : NULL;
	}
	if (q.kind != FLOW_PORTS)
		return NULL;
	struct tlease *l = tables_by_port(a, q.sport);
	return l || !is_ike_port(&q, q.sport) ? l : quoted_ike(s, &ip, q.sport);
}

static struct tlease *in_icmp_reply(struct pass *s)
{
	const struct learned_key key = { s->ip.dst, s->ip.src, s->flow.icmp_type,
		s->flow.icmp_id_seq };
	const struct learned *e =
		learned_find(&s->f->tables.learned[LEARNED_QUERY], &key, s->now_ms);

	return e ? e->owner : NULL;
}

static enum dp_reason in_ports(struct pass *s, const struct taddr *a, struct tlease **l)
{
	*l = a ? pass_by_port(s, a, s->flow.dport) : NULL;
	if (*l && s->flow.dport != FLOW_IKE_PORT)
		return DP_OK;
	return is_ike_port(&s->flow, s->flow.dport) ? in_ike(s, a, l) : DP_NO_BIND;
}

/* I4 to I7: whose packet is this? */
static enum dp_reason in_find(struct pass *s, struct tlease **l)
{
	const struct taddr *a = tables_address(&s->f->tables, s->ip.dst);

	*l = a ? a->whole : NULL;
	if (*l && s->flow.kind != FLOW_ICMP_ERROR)
		return DP_OK;
	switch (s->flow.kind) {
	case FLOW_PORTS:
		return in_ports(s, a, l);
	case FLOW_SPI:
		*l = a ? tables_by_spi(&s->f->tables, a, s->flow.spi) : NULL;
		return *l ? DP_OK : DP_NO_SPI;
	case FLOW_ICMP_REPLY:
		*l = in_icmp_reply(s);
		return *l ? DP_OK : DP_ICMP_UNMATCHED;
	case FLOW_ICMP_ERROR:
		*l = in_icmp_error(s, a);
		return *l ? DP_OK : DP_ICMP_UNMATCHED;
	case FLOW_ICMP_OTHER:
		return DP_ICMP_UNMATCHED;
	case FLOW_ICMP_QUERY: /* answered before */
	case FLOW_NONE:
	default:
		return DP_NO_BIND;
	}
}

/*
 * I9.  An ICMP error comes from any router: what it quotes was judged on the way out.  A
 * reply and IKE by cookie were found by the sender's address.
 */
static enum dp_reason in_policy(struct pass *s, const struct tlease **l)
{
	enum dp_reason r;

	if (s->flow.kind == FLOW_ICMP_ERROR || s->flow.kind == FLOW_ICMP_REPLY)
		return DP_OK;
	if (is_ike_port(&s->flow, s->flow.dport) &&
		((*l)->method == METHOD_RSIPSEC || (*l)->method == METHOD_IKE))
		s->flow.kind = FLOW_SPI; /* judged by address alone */
	if (s->flow.kind == FLOW_PORTS)
		r = pass_remote(s, s->flow.dport, 0, s->ip.src, s->flow.sport, l);
	else
		r = verdict_remote(&(*l)->remote, s->ip.src, &s->flow, s->flow.sport);
	return r ? DP_INGRESS_POLICY : DP_OK;
}

/* The path MTU to the tunnel's far end. */
static uint32_t tunnel_mtu(const struct pass *s, uint32_t host)
{
	const struct thost *h = tables_host(&s->f->tables, host);
	uint32_t mtu = s->f->mtu[LINK_PRIVATE];

	return h && h->mtu && s->now_ms < h->mtu_until_ms && h->mtu < mtu ? h->mtu : mtu;
}

/* I10. */
static enum dp_reason deliver(struct pass *s, const struct tlease *l)
{
	uint32_t mtu = tunnel_mtu(s, l->host), overhead = tunnel_overhead(l->tunnel);

	if (s->ip.ttl <= 1) {
		pass_icmp(s, ICMP_TIME_EXCEEDED, ICMP_TTL_GONE, 0);
		return DP_TTL;
	}
	if (s->ip.len + overhead > mtu && (s->ip.frag & IP4_DF) && !s->joined) {
		pass_icmp(s, ICMP_UNREACHABLE, ICMP_FRAG_NEEDED, mtu - overhead);
		return DP_TOO_BIG;
	}
	if (s->ip.len + overhead > 65535)
		return DP_TOO_BIG;
	ip4_hop(s->p);
	if (!pass_tunnel(
		    s->f, s->p, &s->ip, l->tunnel, l->gateway, l->host, mtu, s->joined))
		return DP_NO_ROUTE;
	pass_count(s, s->ip.len);
	return DP_OK;
}

/* I3: the gateway answers echo itself; other requests are not answered (RFC 1812 4.3.3).
 */
static void answer_query(struct pass *s)
{
	struct forward *f = s->f;
	uint8_t *icmp = s->p + s->ip.hdr;
	uint32_t asker = s->ip.src;

	pass_drop(s, DP_ICMP_REQUEST);
	if (icmp[0] != 8 || icmp[1] != 0 || s->ip.hdr != IP4_HDR ||
		!limit_take(&f->echoes, ECHOES_PER_S, ECHOES_BURST, s->now_ms))
		return;
	icmp[0] = 0;
	be_put16(icmp + 2, csum_change(be_get16(icmp + 2), 0x0800, 0));
	struct ip4 reply = {
		.src = s->ip.dst,
		.dst = asker,
		.len = s->ip.len,
		.id = f->next_id++,
		.proto = IP4_ICMP,
		.ttl = ICMP_TTL_SENT,
		.tos = s->ip.tos,
	};
	ip4_write(s->p, &reply);
	if (pass_return(s, s->p, reply.len, asker))
		f->stats.icmp_answered++;
}

/* On an address that is also the gateway's own: is this for a socket of the gateway? */
static bool is_kernels(const struct pass *s, const struct forward_pool *pool)
{
	switch (s->flow.kind) {
	case FLOW_PORTS:
		return !is_ike_port(&s->flow, s->flow.dport) &&
		       !ranges_have(pool->ports, pool->n_ports, s->flow.dport);
	case FLOW_SPI:
	case FLOW_ICMP_ERROR:
	case FLOW_ICMP_REPLY:
		return false; /* if it belongs to a lease */
	case FLOW_ICMP_QUERY:
	case FLOW_ICMP_OTHER:
	case FLOW_NONE:
	default:
		return true;
	}
}

/* On the address of translated hosts: is this for one of them? */
static bool is_translated(const struct pass *s)
{
	const struct range *ports = &s->f->napt.ports;

	return s->flow.kind == FLOW_PORTS && ranges_have(ports, 1, s->flow.dport);
}

bool pass_inbound(struct pass *s)
{
	const struct forward_pool *pool = forward_pool_of(s->f, s->ip.dst);
	struct tlease *l;

	if (!pool)
		return false;
	if (!pass_join(s, &s->f->inner, s->host))
		return true;
	bool own = forward_is_local(s->f, s->ip.dst);
	bool napt = forward_is_napt(s->f, s->ip.dst);
	pass_read_flow(s);
	if ((own && is_kernels(s, pool)) || (napt && is_translated(s)))
		return false;
	if (!ip4_is_unicast(s->ip.src) ||
		ip4_is_source_routed(s->p, pass_end(s), &s->ip)) {
		pass_drop(s, DP_MARTIAN);
		return true;
	}
	if (s->flow.kind == FLOW_ICMP_QUERY) {
		answer_query(s);
		return true;
	}
	enum dp_reason r = in_find(s, &l);
	if (r == DP_ICMP_UNMATCHED && (own || napt))
		return false;
	const struct tlease *to = l;
	r = r ? r : in_policy(s, &to);
	r = r ? r : deliver(s, to);
	if (r)
		pass_drop(s, r);
	return true;
}

bool forward_public(struct forward *f, uint8_t *p, size_t len, uint64_t now_ms)
{
	struct pass s = { .f = f, .now_ms = now_ms, .dir = DP_IN };

	if (pass_begin(&s, p, len))
		return pass_inbound(&s);
	/* Cut or with a wrong checksum: still nothing that the kernel may answer. */
	if (!ip4_parse(p, p + len, true, &s.ip) || !forward_pool_of(f, s.ip.dst) ||
		forward_is_local(f, s.ip.dst))
		return false;
	pass_drop(&s, DP_MARTIAN);
	return true;
}
