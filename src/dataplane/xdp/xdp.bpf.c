/*
 * The fast path: what a lease decides completely is forwarded here, byte for byte as
 * forward_in.c and forward_out.c would; what no lease covers is dropped and counted here.
 * Everything else (fragments, options, ICMP, unknown cookies, what needs an answer, a
 * next hop not yet known) passes on to the packet sockets of the driver, where those two
 * decide.
 *
 * Calls of helpers and cold memory are what costs, so there are two calls a packet (where
 * it goes, and room for the tunnel's header), and tables are read early.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_helpers.h>

#include "dataplane/core/flow.h"
#include "dataplane/core/tunnel.h"
#include "dataplane/core/verdict.h"
#include "dataplane/xdp/maps.h"

#define INLINE static __always_inline

/* Of what is behind an IPv4 header: all that is looked at. */
#define PAYLOAD 8

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
	__type(value, maps_life);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct maps_spis);
} spis SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAPS_HOPS);
	__type(key, __u32);
	__type(value, struct maps_hop);
} hops SEC(".maps");

/* Destinations on the public side: their hops. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1 << MAPS_ROUTE_BITS);
	__type(key, __u32);
	__type(value, struct maps_routes);
} routes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1 << MAPS_SENDER_BITS);
	__type(key, __u32);
	__type(value, struct maps_sender);
} senders SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1 << MAPS_PEER_BITS);
	__type(key, __u32);
	__type(value, struct maps_peers);
} out_spis SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAPS_COOKIES);
	__type(key, struct maps_cookie);
	__type(value, struct maps_known);
} cookies SEC(".maps");

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

/*
 * Look up in an array.  The compiler may make one call of two with different maps, which
 * the kernel then can't turn into a few instructions; the number keeps them apart.
 */
#define AT(map, index)                                                          \
	({                                                                      \
		uint32_t at_ = (index);                                         \
		typeof((map).value) found_ = bpf_map_lookup_elem(&(map), &at_); \
		asm volatile("" : "+r"(found_) : "i"(__COUNTER__));             \
		found_;                                                         \
	})

/* One packet on its way. */
struct pass {
	struct xdp_md *ctx;
	struct maps_state *state;
	uint32_t place;
	struct ip4 ip;
	struct flow flow;
	const volatile maps_life *alive; /* its lease's life; NULL: none found */
	maps_life life;                  /* what stood there */
	uint32_t hop;
	uint64_t key; /* of its SPI */
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
INLINE uint32_t now(struct maps_state *s)
{
	uint64_t jiffies = bpf_jiffies64();

	if (s->jiffies != jiffies) {
		s->jiffies = jiffies;
		s->now = (uint32_t)(bpf_ktime_get_boot_ns() / 1000000 / 64);
	}
	return s->now;
}

INLINE struct maps_state *state_here(void)
{
	uint32_t zero = 0;

	return bpf_map_lookup_elem(&state, &zero);
}

/* An Ethernet frame for this machine with an IPv4 packet without options in it. */
INLINE bool is_ours(const uint8_t *f, int link)
{
	const uint8_t *mac = (const uint8_t *)&conf.mac[link];

	return (be_get32(f + 12) >> 8) == (ETH_P_IP << 8 | 0x45) &&
	       raw_get32(f) == raw_get32(mac) && raw_get16(f + 4) == raw_get16(mac + 4);
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

/* --- leases --- */

/* A shared IKE port that no lease holds: cookies are user space's. */
INLINE bool is_ike_port(const struct flow *f, uint16_t port)
{
	return f->proto == IP4_UDP && (port == FLOW_IKE_PORT || port == FLOW_NATT_PORT);
}

/* What is found is a lease that has not ended. */
INLINE bool is_alive(struct pass *s)
{
	s->hop = MAPS_LIFE_INDEX(s->life);
	return now(s->state) < MAPS_LIFE_EXPIRES(s->life);
}

/*
 * Nothing of the lease changed since, so what was read is of one time.  (Loads stay in
 * order on x86; elsewhere a torn record would be possible.)
 */
INLINE bool still_lives(const struct pass *s)
{
	return *s->alive == s->life;
}

/* The policy of a lease that has one; its hop is in the record, too. */
INLINE enum dp_reason judge(struct pass *s, uint32_t remote, uint16_t port, bool in)
{
	const volatile struct maps_lease *l = AT(leases, s->hop);
	struct remote policy = { .flow = REMOTE_NONE };

	if (!l)
		return DP_REASONS;
	uint32_t version = l->version;
	uint8_t flags = l->flags;
	policy.flow = (enum remote_flow)l->remote_flow;
	policy.addr = l->remote_addr;
	policy.port = l->remote_port;
	s->hop = l->hop;
	if (l->version != version)
		return DP_REASONS;
	if (in && is_ike_port(&s->flow, s->flow.dport) && (flags & MAPS_IPSEC))
		s->flow.kind = FLOW_SPI; /* judged by address alone */
	enum dp_reason r = verdict_remote(&policy, remote, &s->flow, port);
	return r && (flags & MAPS_SHARES) ? DP_REASONS : r;
}

INLINE const volatile maps_life *by_port(const struct maps_addr *a, uint16_t port)
{
	return a->ports == 0 ? NULL : AT(ports, ((a->ports - 1) << 16) + port);
}

INLINE const volatile maps_life *in_bucket(uint64_t key, uint32_t which)
{
	const volatile struct maps_spis *b =
		AT(spis, maps_spi_bucket(key, conf.odd, conf.n_buckets, which));

	if (!b)
		return NULL;
#pragma clang loop unroll(full)
	for (int i = 0; i < MAPS_SPI_WAYS; i++)
		if (b->key[i] == key)
			return &b->life[i];
	return NULL;
}

/* The entry is still of this key, so its life is this key's. */
INLINE bool is_of(const volatile maps_life *life, uint64_t key)
{
	return life[-MAPS_SPI_WAYS] == key;
}

/* For each block size in use. */
INLINE const volatile maps_life *by_spi(struct pass *s)
{
	uint64_t sizes = conf.sizes;

	for (uint32_t i = 0; i < MAPS_SIZES; i++) {
		uint32_t len = sizes & 0xff;

		if (len == 0)
			return NULL;
		uint32_t first = s->flow.spi & (uint32_t)(0xffffffffULL << (32 - len));
		const volatile maps_life *life;

		s->key = maps_spi_key(first, s->place, len);
		life = in_bucket(s->key, 0);
		if (!life)
			life = in_bucket(s->key, 1);
		if (life)
			return life;
		sizes >>= 8;
	}
	return NULL;
}

/* The entry of a cookie that this peer is talked to with, or NULL. */
INLINE const volatile struct maps_known *by_cookie(
	uint32_t nb, const uint32_t cookie[2], uint32_t peer)
{
	const struct maps_cookie key = { nb, { cookie[0], cookie[1] } };
	const volatile struct maps_known *k = bpf_map_lookup_elem(&cookies, &key);
	bool met = false;

	if (!k)
		return NULL;
#pragma clang loop unroll(full)
	for (int i = 0; i < MAPS_COOKIE_PEERS; i++)
		met |= k->peer[i] == peer;
	return met ? k : NULL;
}

/* What was read of the entry was this cookie's. */
INLINE bool is_known(const volatile struct maps_known *k, uint32_t nb, uint32_t cookie)
{
	return k->key.nb == nb && k->key.cookie[0] == cookie;
}

/* --- packets --- */

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
	uint64_t sum = (uint64_t)raw_get32(p + IP4_AT_SRC) + raw_get32(p + IP4_AT_DST) +
		       BE16((uint16_t)ip->proto) + BE16(len);
	return raw_get16(p + IP4_HDR + at) == csum_fold_raw(sum);
}

/* A hop as it was at one time. */
struct way {
	uint64_t frame, frame8; /* its first 8 bytes, and the next 4 */
	uint64_t ends;          /* of the tunnel's header: source, destination */
	uint32_t dst, mtu;
	uint16_t sum;
	uint8_t proto;
};

INLINE volatile struct maps_hop *hop_at(uint32_t at)
{
	return at == 0 ? NULL : AT(hops, at);
}

/* False: the link addresses are not known, or what leads here is being changed. */
INLINE bool take_way(volatile struct maps_hop *h, struct way *w)
{
	uint8_t valid = h->valid;

	if (!valid || h->frozen)
		return false;
	w->frame = *(volatile uint64_t *)h->to;
	w->frame8 = *(volatile uint32_t *)(h->from + 2);
	w->ends = *(volatile uint64_t *)&h->src;
	w->dst = h->dst;
	w->mtu = h->mtu;
	w->sum = h->sum;
	w->proto = h->proto;
	if (!h->used)
		h->used = 1;
	return h->valid == valid;
}

INLINE void put_frame(uint8_t *f, const struct way *w)
{
	*(uint64_t *)f = w->frame;
	*(uint32_t *)(f + 8) = (uint32_t)w->frame8;
	be_put16(f + 12, ETH_P_IP);
}

/*
 * Where it goes is said first, as it may be that the interface went and user space has
 * yet to hear of it: the packet is whole then.
 */
INLINE bool redirect(enum dp_direction dir)
{
	return bpf_redirect_map(&links, dir == DP_IN ? 0 : 1, XDP_PASS) == XDP_REDIRECT;
}

/* --- in: I1 to I10 --- */

/* No lease holds it: may that be said here?  DP_REASONS: no. */
INLINE enum dp_reason in_nobody(const struct pass *s, const struct maps_addr *a)
{
	if (!(a->flags & MAPS_LEASED) || (a->flags & MAPS_PARTIAL))
		return DP_REASONS;
	if (s->flow.kind == FLOW_SPI)
		return conf.partial ? DP_REASONS : DP_NO_SPI;
	if (s->flow.kind == FLOW_PORTS && !(a->flags & MAPS_LOCAL))
		return DP_NO_BIND;
	return DP_REASONS;
}

/* The lease of an SPI that is alive; DP_REASONS: none. */
INLINE enum dp_reason in_spi(struct pass *s)
{
	s->life = *s->alive;
	return is_of(s->alive, s->key) && is_alive(s) ? DP_OK : DP_REASONS;
}

/*
 * IKE on a port that nobody leases: by a cookie that is known, and on port 4500 ESP by
 * its SPI.  New cookies, and what user space makes of them, are not for here.
 */
INLINE enum dp_reason in_ike(struct pass *s, const uint8_t *payload)
{
	const volatile struct maps_known *k;
	struct flow_ike ike;
	const uint32_t *cookie = ike.initiator;

	flow_parse_ike(payload, end(s->ctx), s->flow.dport == FLOW_NATT_PORT, &ike);
	s->flow.kind = FLOW_SPI; /* judged by address alone */
	if (ike.kind == FLOW_IKE_ESP) {
		s->flow.spi = ike.spi;
		s->alive = by_spi(s);
		return s->alive ? in_spi(s) : DP_REASONS;
	}
	if (ike.kind != FLOW_IKE_COOKIES)
		return DP_REASONS;
	k = by_cookie(s->ip.dst, cookie, s->ip.src);
	if (!k) {
		cookie = ike.responder;
		k = by_cookie(s->ip.dst, cookie, s->ip.src);
	}
	if (!k)
		return DP_REASONS;
	s->alive = &k->life;
	s->life = k->life;
	return is_known(k, s->ip.dst, cookie[0]) && is_alive(s) ? DP_OK : DP_REASONS;
}

/*
 * DP_OK: s->life is whose it is.  DP_REASONS: not for here to say.  payload: what is
 * behind eight bytes of header.
 */
INLINE enum dp_reason in_find(struct pass *s, const uint8_t *payload)
{
	const struct maps_addr *a;

	s->alive = s->flow.kind == FLOW_SPI ? by_spi(s) : NULL;
	if (s->alive)
		return in_spi(s);
	a = AT(addrs, s->place);
	if (!a)
		return DP_REASONS;
	if (a->whole)
		s->alive = &a->whole;
	else if (s->flow.kind == FLOW_PORTS)
		s->alive = by_port(a, s->flow.dport);
	s->life = s->alive ? *s->alive : 0;
	if (!s->life)
		return is_ike_port(&s->flow, s->flow.dport) ? in_ike(s, payload)
							    : in_nobody(s, a);
	return is_alive(s) ? DP_OK : DP_REASONS;
}

INLINE enum dp_reason in_policy(struct pass *s)
{
	if (!((uint32_t)s->life & MAPS_REMOTE))
		return DP_OK;
	enum dp_reason r = judge(s, s->ip.src, s->flow.sport, true);
	return r == DP_OK || r == DP_REASONS ? r : DP_INGRESS_POLICY;
}

/* The outer header, what tunnel_write() does, from what the hop has ready. */
INLINE void put_tunnel(struct pass *s, uint8_t *p, const struct way *w, uint32_t len)
{
	uint16_t first = raw_get16(p + IP4_HDR + (w->proto == IP4_GRE ? 4 : 0));
	uint16_t id = (uint16_t)s->state->id++;
	uint16_t df = BE16(s->ip.frag & IP4_DF);

	*(uint16_t *)p = first; /* version and DS field are the inner ones */
	be_put16(p + IP4_AT_LEN, (uint16_t)len);
	*(uint16_t *)(p + IP4_AT_ID) = id;
	*(uint16_t *)(p + IP4_AT_FRAG) = df;
	be_put16(p + IP4_AT_TTL, (uint16_t)(TUNNEL_TTL << 8 | w->proto));
	*(uint16_t *)(p + IP4_AT_CSUM) = (uint16_t)~csum_fold_raw(
		(uint64_t)w->sum + first + BE16((uint16_t)len) + id + df);
	*(uint64_t *)(p + IP4_AT_SRC) = w->ends;
	if (w->proto == IP4_GRE)
		be_put32(p + IP4_HDR, 0x00000800);
}

INLINE int in_send(struct pass *s)
{
	volatile struct maps_hop *h = hop_at(s->hop);
	struct way w;

	if (!h || !take_way(h, &w) || !still_lives(s))
		return XDP_PASS;
	uint32_t overhead = w.proto == IP4_GRE ? IP4_HDR + 4 : IP4_HDR;
	uint32_t len = s->ip.len + overhead;
	if (s->ip.ttl <= 1 || len > (w.mtu ? w.mtu : conf.mtu[0]) || !redirect(DP_IN))
		return XDP_PASS;
	uint8_t *f = begin(s->ctx);
	if (f + ETH_HLEN + IP4_HDR > end(s->ctx))
		return XDP_PASS;
	ip4_hop(f + ETH_HLEN);
	if (bpf_xdp_adjust_head(s->ctx, -(int)overhead))
		return drop(s, DP_IN, DP_NO_ROUTE);
	f = begin(s->ctx);
	if (f + ETH_HLEN + 2 * IP4_HDR + 4 > end(s->ctx))
		return drop(s, DP_IN, DP_NO_ROUTE);
	put_frame(f, &w);
	put_tunnel(s, f + ETH_HLEN, &w, len);
	count(s, DP_IN, s->ip.len);
	return XDP_REDIRECT;
}

INLINE int in_packet(struct xdp_md *ctx)
{
	uint8_t *f = begin(ctx), *p = f + ETH_HLEN;
	struct pass s = { .ctx = ctx, .state = state_here() };

	if (!s.state || p + IP4_HDR + PAYLOAD > end(ctx) || !is_ours(f, 1) ||
		!place_of(be_get32(p + IP4_AT_DST), &s.place) ||
		!ip4_parse_plain(p, end(ctx), &s.ip) || ip4_is_fragment(&s.ip) ||
		!ip4_is_unicast(s.ip.src) || s.ip.proto == IP4_ICMP ||
		s.ip.len < IP4_HDR + PAYLOAD || !trim(ctx, s.ip.len))
		return XDP_PASS;
	p = begin(ctx) + ETH_HLEN;
	if (p + IP4_HDR + PAYLOAD > end(ctx))
		return XDP_PASS;
	flow_parse(p + IP4_HDR, end(ctx), s.ip.proto, &s.flow);
	if (s.flow.kind == FLOW_PORTS && is_unfinished(p, end(ctx), &s.ip))
		return XDP_PASS;
	enum dp_reason r = in_find(&s, p + IP4_HDR + PAYLOAD);
	r = r ? r : in_policy(&s);
	if (r)
		return r == DP_REASONS ? XDP_PASS : drop(&s, DP_IN, r);
	return in_send(&s);
}

/* --- out: O1 to O9.  A refusal has its error, which user space tells. --- */

INLINE const volatile maps_life *by_peer(struct pass *s, uint32_t which)
{
	uint32_t place_proto = MAPS_PLACE_PROTO(s->place, s->ip.proto);
	const volatile struct maps_peers *b =
		AT(out_spis, maps_peer_bucket(s->key, place_proto, conf.odd, which));

	if (!b)
		return NULL;
#pragma clang loop unroll(full)
	for (int i = 0; i < MAPS_PEER_WAYS; i++) {
		if (b->peer_spi[i] == s->key && b->place_proto[i] == place_proto) {
			s->life = b->life[i];
			/* The entry is still of this key, so its life is this key's. */
			return b->peer_spi[i] == s->key &&
					       b->place_proto[i] == place_proto
				       ? &b->life[i]
				       : NULL;
		}
	}
	return NULL;
}

INLINE bool by_peers(struct pass *s, uint32_t spi)
{
	s->key = MAPS_PEER_SPI(s->ip.dst, spi);
	s->alive = by_peer(s, 0);
	if (!s->alive)
		s->alive = by_peer(s, 1);
	return s->alive != NULL;
}

/* As in_ike(): by what user space learned, not too long ago. */
INLINE bool out_ike(struct pass *s, const uint8_t *payload)
{
	const volatile struct maps_known *k;
	struct flow_ike ike;

	flow_parse_ike(payload, end(s->ctx), s->flow.sport == FLOW_NATT_PORT, &ike);
	s->flow.kind = FLOW_SPI; /* judged by address alone */
	if (ike.kind == FLOW_IKE_ESP)
		return by_peers(s, ike.spi);
	if (ike.kind != FLOW_IKE_COOKIES)
		return false;
	k = by_cookie(s->ip.src, ike.initiator, s->ip.dst);
	if (!k || now(s->state) - k->seen > MAPS_COOKIE_FRESH)
		return false;
	s->alive = &k->life;
	s->life = k->life;
	return is_known(k, s->ip.src, ike.initiator[0]);
}

INLINE bool out_find(struct pass *s, const struct maps_addr *a, const uint8_t *payload)
{
	if (!a->whole && s->flow.kind == FLOW_SPI)
		return by_peers(s, s->flow.spi);
	s->alive = NULL;
	if (a->whole)
		s->alive = &a->whole;
	else if (s->flow.kind == FLOW_PORTS)
		s->alive = by_port(a, s->flow.sport);
	s->life = s->alive ? *s->alive : 0;
	if (!s->life && is_ike_port(&s->flow, s->flow.sport))
		return out_ike(s, payload);
	return s->life != 0;
}

/* The hop of a destination, or 0. */
INLINE uint32_t route_of(uint32_t dst)
{
	const volatile struct maps_routes *b =
		AT(routes, maps_route_bucket(dst, conf.seed));

	if (!b)
		return 0;
#pragma clang loop unroll(full)
	for (int i = 0; i < MAPS_ROUTE_WAYS; i++) {
		uint64_t e = b->way[i];

		if (e >> 32 == dst)
			return (uint32_t)e;
	}
	return 0;
}

INLINE int out_send(struct pass *s, uint32_t inner, uint8_t outer_tos)
{
	int tos = ip4_decap_tos(outer_tos, s->ip.tos);
	volatile struct maps_hop *h = hop_at(route_of(s->ip.dst));
	struct way w;

	if (!h || !take_way(h, &w) || w.dst != BE32(s->ip.dst) || !still_lives(s))
		return XDP_PASS;
	if (tos < 0 || s->ip.ttl <= 1 || s->ip.len > conf.mtu[1] ||
		place_of(s->ip.dst, &s->place) || !redirect(DP_OUT))
		return XDP_PASS;
	if (bpf_xdp_adjust_head(s->ctx, (int)inner))
		return drop(s, DP_OUT, DP_NO_ROUTE);
	uint8_t *f = begin(s->ctx);
	if (f + ETH_HLEN + IP4_HDR > end(s->ctx))
		return drop(s, DP_OUT, DP_NO_ROUTE);
	put_frame(f, &w);
	ip4_hop(f + ETH_HLEN);
	if (s->ip.tos != (uint8_t)tos)
		ip4_set_tos(f + ETH_HLEN, (uint8_t)tos);
	count(s, DP_OUT, s->ip.len);
	return XDP_REDIRECT;
}

/* Is it the lease's host that sent it, by the lease's tunnel? */
INLINE bool is_holder(const volatile struct maps_hop *h, const struct ip4 *outer)
{
	return h->dst == BE32(outer->src) && h->proto == outer->proto;
}

/*
 * A host's packet that user space is to judge, if the host has not asked too much
 * already: a flood of what is refused must not keep it from the others'.  The counts of
 * one host are those of all with its hash, and not exact where processors meet.
 */
INLINE int ask(struct pass *s, uint32_t host, uint32_t most)
{
	volatile struct maps_sender *m = AT(senders, maps_sender_of(host, conf.seed));
	uint32_t window = now(s->state);

	if (!m)
		return XDP_PASS;
	if (m->leases == 0) { /* certainly: told once in a while, if it is registered */
		if (s->state->strangers_at != window) {
			s->state->strangers_at = window;
			s->state->strangers = 0;
		}
		return s->state->strangers++ < conf.most[MAPS_STRANGERS]
			       ? XDP_PASS
			       : drop(s, DP_OUT, DP_UNREGISTERED);
	}
	if (m->window != window) {
		m->window = window;
		m->count = 0;
	}
	uint32_t count = m->count;
	m->count = count + 1;
	return count < most ? XDP_PASS : drop(s, DP_OUT, DP_FLOOD);
}

/* How many of such packets that no lease was found to cover. */
INLINE uint32_t most_of(const struct pass *s, const struct maps_addr *a)
{
	if (!a || (a->flags & MAPS_PARTIAL))
		return UINT32_MAX; /* there may be one that is not here */
	return conf.most[s->flow.kind == FLOW_PORTS || s->flow.kind == FLOW_NONE
				 ? MAPS_REFUSED
				 : MAPS_NEW];
}

/*
 * The outer packet: where the inner one begins (20 or 24); 0: not for here; OUT_ASK: user
 * space has to see it; OUT_REFUSED: it is no tunnel that we have.
 */
#define OUT_ASK     1
#define OUT_REFUSED 2
INLINE uint32_t out_outer(struct xdp_md *ctx, struct ip4 *outer)
{
	const uint8_t *p = begin(ctx) + ETH_HLEN;

	if (p + IP4_HDR + 4 > end(ctx) || !is_ours(begin(ctx), 0) ||
		(p[IP4_AT_PROTO] != IP4_IPIP && p[IP4_AT_PROTO] != IP4_GRE) ||
		!is_tunnel_end(be_get32(p + IP4_AT_DST)) ||
		!ip4_parse_plain(p, end(ctx), outer))
		return 0;
	outer->hdr = IP4_HDR; /* is_ours() saw it; the verifier did not */
	uint32_t inner = tunnel_inner(p, end(ctx), outer);
	return ip4_is_fragment(outer) ? OUT_ASK : inner ? inner : OUT_REFUSED;
}

/* The inner packet is one that a lease may cover. */
INLINE bool is_plain(struct pass *s, const uint8_t *p, uint32_t most)
{
	return ip4_parse_plain(p, end(s->ctx), &s->ip) && s->ip.len <= most &&
	       !ip4_is_fragment(&s->ip) && s->ip.len >= IP4_HDR + PAYLOAD &&
	       ip4_is_unicast(s->ip.dst);
}

INLINE int out_packet(struct xdp_md *ctx)
{
	struct pass s = { .ctx = ctx, .state = state_here() };
	const struct maps_addr *a;
	struct ip4 outer;
	uint32_t inner = out_outer(ctx, &outer);

	if (!inner || !s.state)
		return XDP_PASS;
	if (inner == OUT_ASK || inner == OUT_REFUSED)
		return ask(&s, outer.src,
			inner == OUT_ASK ? UINT32_MAX : conf.most[MAPS_REFUSED]);
	/* Constants, so that what follows is plain to the verifier. */
	inner = inner == IP4_HDR ? IP4_HDR : IP4_HDR + 4;
	const uint8_t *p = begin(ctx) + ETH_HLEN + inner;
	if (p + IP4_HDR + PAYLOAD > end(ctx) || !is_plain(&s, p, outer.len - inner))
		return ask(&s, outer.src, UINT32_MAX);
	if (!place_of(s.ip.src, &s.place))
		return ask(&s, outer.src, conf.most[MAPS_REFUSED]);
	if (!trim(ctx, inner + s.ip.len))
		return XDP_PASS;
	p = begin(ctx) + ETH_HLEN + inner;
	if (p + IP4_HDR + PAYLOAD > end(ctx))
		return XDP_PASS;
	flow_parse(p + IP4_HDR, end(ctx), s.ip.proto, &s.flow);
	if (s.flow.kind == FLOW_PORTS && is_unfinished(p, end(ctx), &s.ip))
		return XDP_PASS;
	a = AT(addrs, s.place);
	if (!a || !out_find(&s, a, p + IP4_HDR + PAYLOAD) || !is_alive(&s))
		return ask(&s, outer.src, most_of(&s, a));
	enum dp_reason r = (uint32_t)s.life & MAPS_REMOTE
				   ? judge(&s, s.ip.dst, s.flow.dport, false)
				   : DP_OK;
	if (r)
		return ask(&s, outer.src, r == DP_REASONS ? UINT32_MAX : most_of(&s, a));
	volatile struct maps_hop *h = hop_at(s.hop);
	if (!h || h->frozen)
		return XDP_PASS;
	if (!is_holder(h, &outer))
		return ask(&s, outer.src, most_of(&s, a));
	return out_send(&s, inner, outer.tos);
}

SEC("xdp")
int rsip_public(struct xdp_md *ctx)
{
	return in_packet(ctx);
}

SEC("xdp")
int rsip_private(struct xdp_md *ctx)
{
	return out_packet(ctx);
}

char LICENSE[] SEC("license") = "BSD";
