/*
 * The fast path: what a lease decides completely is forwarded here, byte for byte as
 * forward_in.c and forward_out.c would; what no lease covers is dropped and counted here.
 * Everything else (fragments, options, ICMP, unknown cookies, what needs an answer, a
 * next hop not yet known) passes on to the packet sockets of the driver, where those two
 * decide.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_helpers.h>

#include "dataplane/core/flow.h"
#include "dataplane/core/tunnel.h"
#include "dataplane/core/verdict.h"
#include "dataplane/xdp/maps.h"

#define INLINE static __always_inline

/* Sizes of what is written through mmap() are set before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct maps_lease);
} leases SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct maps_addr);
} addrs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, maps_mark);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct maps_bucket);
} spis SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAPS_HOPS);
	__type(key, __u32);
	__type(value, struct maps_hop);
} hops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAPS_OUT_SPIS);
	__type(key, struct maps_out_spi);
	__type(value, maps_mark);
} out_spis SEC(".maps");

/* Destinations on the public side: their hops. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAPS_ROUTES);
	__type(key, __u32);
	__type(value, __u32);
} routes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct maps_state);
} state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} links SEC(".maps");

struct maps_conf conf;

/* One packet on its way. */
struct pass {
	struct xdp_md *ctx;
	struct maps_state *state;
	uint32_t place;
	struct maps_addr *addr;
	struct ip4 ip;
	struct flow flow;
	struct maps_lease lease;
};

INLINE uint8_t *begin(struct xdp_md *ctx)
{
	return (uint8_t *)(long)ctx->data;
}

INLINE uint8_t *end(struct xdp_md *ctx)
{
	return (uint8_t *)(long)ctx->data_end;
}

INLINE int drop(struct pass *s, enum dp_direction dir, enum dp_reason reason)
{
	s->state->dropped[dir][reason]++;
	return XDP_DROP;
}

INLINE void count(struct pass *s, enum dp_direction dir, uint32_t bytes)
{
	s->state->forwarded[dir]++;
	s->state->bytes[dir] += bytes;
}

/* Boot time in units of 64 ms; the clock is read once a jiffy, as reading it costs. */
INLINE uint64_t now(struct maps_state *s)
{
	uint64_t jiffies = bpf_jiffies64();

	if (s->jiffies != jiffies) {
		s->jiffies = jiffies;
		s->now = bpf_ktime_get_boot_ns() / 1000000 / 64;
	}
	return s->now;
}

INLINE struct maps_state *state_here(void)
{
	uint32_t zero = 0;

	return bpf_map_lookup_elem(&state, &zero);
}

/* An Ethernet frame for this machine with an IPv4 packet without options in it. */
INLINE bool is_ours(const uint8_t *f, const uint8_t *data_end, int link)
{
	const uint8_t *mac = conf.mac[link];

	if (f + ETH_HLEN + IP4_HDR > data_end)
		return false;
	return be_get16(f + 12) == ETH_P_IP && f[ETH_HLEN] == 0x45 &&
	       be_get32(f) == be_get32(mac) && be_get16(f + 4) == be_get16(mac + 4);
}

/* The place of an address in the pool; false when it is in none. */
INLINE bool place_of(uint32_t addr, uint32_t *place)
{
	for (uint32_t i = 0; i < MAPS_PREFIXES; i++) {
		const struct maps_prefix *p = &conf.prefix[i];

		if (i >= conf.n_prefixes)
			return false;
		if ((addr & p->mask) == p->addr) {
			*place = p->place + (addr & ~p->mask);
			return true;
		}
	}
	return false;
}

INLINE bool is_tunnel_end(uint32_t addr)
{
	for (uint32_t i = 0; i < MAPS_ENDS; i++) {
		if (i >= conf.n_ends)
			return false;
		if (conf.end[i] == addr)
			return true;
	}
	return false;
}

/*
 * The lease of a mark, as it was at one time: the generation before and after is the
 * mark's.  (Loads stay in order on x86; elsewhere a torn record would be possible.)
 */
INLINE bool lease_of(struct pass *s, maps_mark mark)
{
	uint32_t record = (uint32_t)mark, generation = (uint32_t)(mark >> 32);
	const volatile struct maps_lease *l = bpf_map_lookup_elem(&leases, &record);

	if (!l || generation == 0 || l->generation != generation)
		return false;
	s->lease.host = l->host;
	s->lease.gateway = l->gateway;
	s->lease.address = l->address;
	s->lease.remote_addr = l->remote_addr;
	s->lease.remote_port = l->remote_port;
	s->lease.remote_flow = l->remote_flow;
	s->lease.flags_tunnel = l->flags_tunnel;
	s->lease.expires = l->expires;
	s->lease.hop = l->hop;
	s->lease.mtu = l->mtu;
	return l->generation == generation && now(s->state) < s->lease.expires;
}

INLINE maps_mark mark_by_port(const struct maps_addr *a, uint16_t port)
{
	uint32_t at = ((a->ports - 1) << 16) + port;
	const volatile maps_mark *mark;

	if (a->ports == 0)
		return 0;
	mark = bpf_map_lookup_elem(&ports, &at);
	return mark ? *mark : 0;
}

INLINE maps_mark mark_in_bucket(uint64_t key)
{
	uint32_t at = maps_spi_bucket(key, conf.seed, conf.mask);
	const volatile struct maps_bucket *b = bpf_map_lookup_elem(&spis, &at);

	if (!b)
		return 0;
#pragma clang loop unroll(full)
	for (int i = 0; i < MAPS_WAYS; i++) {
		if (b->way[i].key == key) {
			maps_mark mark = b->way[i].mark;

			return b->way[i].key == key ? mark : 0;
		}
	}
	return 0;
}

/* One probe for each block size in use on the address. */
INLINE maps_mark mark_by_spi(struct pass *s, uint32_t spi)
{
	for (uint32_t i = 0; i < MAPS_SIZES; i++) {
		uint32_t len = s->addr->size[i];

		if (len > 32)
			return 0;
		uint32_t first = spi & (uint32_t)(0xffffffffULL << (32 - len));
		maps_mark mark = mark_in_bucket(maps_spi_key(first, s->place, len));

		if (mark)
			return mark;
	}
	return 0;
}

INLINE enum dp_reason judge(struct pass *s, uint32_t remote, uint16_t port)
{
	const struct remote policy = {
		.flow = (enum remote_flow)s->lease.remote_flow,
		.addr = s->lease.remote_addr,
		.port = s->lease.remote_port,
	};

	return verdict_remote(&policy, remote, &s->flow, port);
}

/* Cut what is behind the packet (padding of short frames). */
INLINE bool trim(struct xdp_md *ctx, uint32_t len)
{
	long have = end(ctx) - begin(ctx);

	asm volatile("" : "+r"(have)); /* a number, before anything is added to it */
	int more = (int)have - ETH_HLEN - (int)len;
	return more == 0 || (more > 0 && bpf_xdp_adjust_tail(ctx, -more) == 0);
}

/*
 * A packet of a local sender whose checksum hardware was to finish: the field holds the
 * sum of the pseudo header only.  One in 65536 finished ones looks alike; both go the
 * slow way, where the difference is known.
 */
INLINE bool is_unfinished(const uint8_t *p, const uint8_t *data_end, const struct ip4 *ip)
{
	uint32_t at = ip->proto == IP4_TCP ? 16 : 6;
	uint16_t len = (uint16_t)(ip->len - IP4_HDR);

	if (p + IP4_HDR + 18 > data_end && ip->proto == IP4_TCP)
		return false;
	if (p + IP4_HDR + 8 > data_end)
		return false;
	uint32_t sum = (ip->src >> 16) + (ip->src & 0xffff) + (ip->dst >> 16) +
		       (ip->dst & 0xffff) + ip->proto + len;
	return be_get16(p + IP4_HDR + at) == (uint16_t)~csum_fold(sum);
}

/*
 * The frame's addresses for its next hop; false: not known, or the interface went and
 * user space has yet to hear of it.
 */
INLINE bool take_hop(uint32_t at, uint32_t link, struct maps_hop *hop)
{
	volatile struct maps_hop *h = bpf_map_lookup_elem(&hops, &at);

	if (!h || at == 0 || !h->valid || !bpf_map_lookup_elem(&links, &link))
		return false;
	uint8_t valid = h->valid;
#pragma clang loop unroll(full)
	for (int i = 0; i < 3; i++) {
		((uint32_t *)hop)[i] = ((const volatile uint32_t *)h)[i];
	}
	if (!h->used)
		h->used = 1;
	return h->valid == valid;
}

INLINE void put_hop(uint8_t *f, const struct maps_hop *hop)
{
#pragma clang loop unroll(full)
	for (int i = 0; i < 3; i++)
		((uint32_t *)f)[i] = ((const uint32_t *)hop)[i];
	be_put16(f + 12, ETH_P_IP);
}

/* A shared IKE port that no lease holds: cookies are user space's. */
INLINE bool is_ike_port(const struct flow *f, uint16_t port)
{
	return f->proto == IP4_UDP && (port == FLOW_IKE_PORT || port == FLOW_NATT_PORT);
}

/* --- in: I1 to I10 --- */

/* DP_OK: s->lease is whose it is.  DP_REASONS: not for here to say. */
INLINE enum dp_reason in_find(struct pass *s)
{
	bool certain = !(s->addr->flags & MAPS_PARTIAL);
	maps_mark mark = s->addr->whole;

	if (!mark && s->flow.kind == FLOW_PORTS)
		mark = mark_by_port(s->addr, s->flow.dport);
	else if (!mark && s->flow.kind == FLOW_SPI)
		mark = mark_by_spi(s, s->flow.spi);
	if (mark)
		return lease_of(s, mark) ? DP_OK : DP_REASONS;
	if (s->flow.kind == FLOW_SPI && certain)
		return DP_NO_SPI;
	if (s->flow.kind == FLOW_PORTS && certain && !(s->addr->flags & MAPS_LOCAL) &&
		!is_ike_port(&s->flow, s->flow.dport))
		return DP_NO_BIND;
	return DP_REASONS;
}

INLINE int in_send(struct pass *s)
{
	enum tunnel_type tunnel = (enum tunnel_type)(s->lease.flags_tunnel & 15);
	int32_t overhead = tunnel_overhead(tunnel);
	uint32_t mtu = s->lease.mtu ? s->lease.mtu : conf.mtu[0];
	struct maps_hop hop;

	if (s->ip.ttl <= 1 || s->ip.len + (uint32_t)overhead > mtu ||
		!take_hop(s->lease.hop, 0, &hop))
		return XDP_PASS;
	uint8_t *f = begin(s->ctx);
	if (f + ETH_HLEN + IP4_HDR > end(s->ctx))
		return XDP_PASS;
	ip4_hop(f + ETH_HLEN);
	if (bpf_xdp_adjust_head(s->ctx, -overhead))
		return drop(s, DP_IN, DP_NO_ROUTE);
	f = begin(s->ctx);
	if (f + ETH_HLEN + TUNNEL_OVERHEAD_MAX > end(s->ctx))
		return drop(s, DP_IN, DP_NO_ROUTE);
	put_hop(f, &hop);
	tunnel_write(f + ETH_HLEN, tunnel, s->lease.gateway, s->lease.host,
		(uint16_t)s->state->id++, &s->ip);
	count(s, DP_IN, s->ip.len);
	return (int)bpf_redirect_map(&links, 0, XDP_DROP);
}

SEC("xdp")
int rsip_public(struct xdp_md *ctx)
{
	uint8_t *f = begin(ctx), *p = f + ETH_HLEN;
	struct pass s = { .ctx = ctx, .state = state_here() };

	if (!s.state || !is_ours(f, end(ctx), 1))
		return XDP_PASS;
	if (!place_of(be_get32(p + IP4_AT_DST), &s.place))
		return XDP_PASS;
	s.addr = bpf_map_lookup_elem(&addrs, &s.place);
	if (!s.addr || !(s.addr->flags & MAPS_LEASED) ||
		!ip4_parse_plain(p, end(ctx), &s.ip) || ip4_is_fragment(&s.ip) ||
		!ip4_is_unicast(s.ip.src) || s.ip.proto == IP4_ICMP ||
		!trim(ctx, s.ip.len))
		return XDP_PASS;
	p = begin(ctx) + ETH_HLEN;
	if (p + IP4_HDR > end(ctx))
		return XDP_PASS;
	flow_parse(p + IP4_HDR, end(ctx), s.ip.proto, &s.flow);
	if (s.flow.kind == FLOW_PORTS && is_unfinished(p, end(ctx), &s.ip))
		return XDP_PASS;
	enum dp_reason r = in_find(&s);
	if (r == DP_REASONS)
		return XDP_PASS;
	if (r)
		return drop(&s, DP_IN, r);
	if (is_ike_port(&s.flow, s.flow.dport) &&
		(s.lease.flags_tunnel >> 4 & MAPS_IPSEC))
		s.flow.kind = FLOW_SPI; /* judged by address alone */
	if (judge(&s, s.ip.src, s.flow.sport))
		return s.lease.flags_tunnel >> 4 & MAPS_SHARES
			       ? XDP_PASS
			       : drop(&s, DP_IN, DP_INGRESS_POLICY);
	return in_send(&s);
}

/* --- out: O1 to O9.  A refusal has its error, which user space tells. --- */

INLINE maps_mark out_find(struct pass *s)
{
	if (s->addr->whole)
		return s->addr->whole;
	if (s->flow.kind == FLOW_PORTS)
		return mark_by_port(s->addr, s->flow.sport);
	if (s->flow.kind != FLOW_SPI)
		return 0;
	const struct maps_out_spi key = { s->ip.src, s->ip.dst, s->ip.proto,
		s->flow.spi };
	const volatile maps_mark *mark = bpf_map_lookup_elem(&out_spis, &key);

	return mark ? *mark : 0;
}

INLINE int out_send(struct pass *s, uint32_t inner, uint8_t outer_tos)
{
	int tos = ip4_decap_tos(outer_tos, s->ip.tos);
	uint32_t *at = bpf_map_lookup_elem(&routes, &s->ip.dst), place;
	struct maps_hop hop;

	if (tos < 0 || s->ip.ttl <= 1 || s->ip.len > conf.mtu[1] || !at ||
		place_of(s->ip.dst, &place) || !take_hop(*at, 1, &hop))
		return XDP_PASS;
	if (bpf_xdp_adjust_head(s->ctx, (int)inner))
		return drop(s, DP_OUT, DP_NO_ROUTE);
	uint8_t *f = begin(s->ctx);
	if (f + ETH_HLEN + IP4_HDR > end(s->ctx))
		return drop(s, DP_OUT, DP_NO_ROUTE);
	put_hop(f, &hop);
	ip4_hop(f + ETH_HLEN);
	ip4_set_tos(f + ETH_HLEN, (uint8_t)tos);
	count(s, DP_OUT, s->ip.len);
	return (int)bpf_redirect_map(&links, 1, XDP_DROP);
}

/* The outer packet: where the inner one begins (20 or 24); 0: not for here. */
INLINE uint32_t out_outer(struct xdp_md *ctx, struct ip4 *outer)
{
	const uint8_t *p = begin(ctx) + ETH_HLEN;

	if (!is_ours(begin(ctx), end(ctx), 0) ||
		(p[IP4_AT_PROTO] != IP4_IPIP && p[IP4_AT_PROTO] != IP4_GRE) ||
		!is_tunnel_end(be_get32(p + IP4_AT_DST)) ||
		!ip4_parse_plain(p, end(ctx), outer) || ip4_is_fragment(outer))
		return 0;
	outer->hdr = IP4_HDR; /* is_ours() saw it; the verifier did not */
	return tunnel_inner(p, end(ctx), outer);
}

/* What is in it; p: its first byte. */
INLINE bool out_inner(struct pass *s, const uint8_t *p, uint32_t room)
{
	const uint8_t *e = end(s->ctx);

	if (!ip4_parse_plain(p, e, &s->ip) || s->ip.len > room ||
		ip4_is_fragment(&s->ip) || !place_of(s->ip.src, &s->place) ||
		!ip4_is_unicast(s->ip.dst))
		return false;
	s->addr = bpf_map_lookup_elem(&addrs, &s->place);
	return s->addr && (s->addr->flags & MAPS_LEASED);
}

SEC("xdp")
int rsip_private(struct xdp_md *ctx)
{
	struct pass s = { .ctx = ctx, .state = state_here() };
	struct ip4 outer;
	uint32_t inner = out_outer(ctx, &outer);

	if (!inner || !s.state)
		return XDP_PASS;
	/* Constants, so that what follows is plain to the verifier. */
	inner = inner == IP4_HDR ? IP4_HDR : IP4_HDR + 4;
	if (!out_inner(&s, begin(ctx) + ETH_HLEN + inner, outer.len - inner) ||
		!trim(ctx, inner + s.ip.len))
		return XDP_PASS;
	const uint8_t *p = begin(ctx) + ETH_HLEN + inner;
	if (p + IP4_HDR > end(ctx))
		return XDP_PASS;
	flow_parse(p + IP4_HDR, end(ctx), s.ip.proto, &s.flow);
	if (s.flow.kind == FLOW_PORTS && is_unfinished(p, end(ctx), &s.ip))
		return XDP_PASS;
	if (!lease_of(&s, out_find(&s)) || s.lease.host != outer.src ||
		s.lease.address != s.ip.src ||
		(s.lease.flags_tunnel & 15) != tunnel_of_proto(outer.proto) ||
		judge(&s, s.ip.dst, s.flow.dport))
		return XDP_PASS;
	return out_send(&s, inner, outer.tos);
}

char LICENSE[] SEC("license") = "BSD";
