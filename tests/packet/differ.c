/*
 * Random packets through the forwarding procedures and through the programs of driver
 * xdp: what the programs decide must be the same, byte for byte.
 *
 *     differ [PACKETS [SEED]]        200000 packets by default
 *
 * Most packets are near to what a lease allows, with one field or two off.
 */
#include "shadow.h"

#include "dataplane/core/tunnel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PACKETS 200000
#define NA      0x0a000001U
#define HOST    0x0a00000bU /* and the next ones */
#define NB      0xcb007100U /* a /28, of which .1 is also the gateway's own */
#define Y       0xc6336402U /* and the next ones */
#define LEASES  8U

/* Leases of every kind that the tables tell apart. */
static const struct range ports[LEASES] = { { 20480, 20495 }, { 20496, 20511 },
	{ 4500, 4500 }, { 30000, 30000 }, { 30000, 30000 }, { 40000, 40010 },
	{ 500, 500 }, { 0, 0 } };
static const struct range spis[LEASES] = { { 0x1000, 0x10ff }, { 0x1100, 0x1103 },
	{ 0x2001, 0x2001 }, { 0x30000, 0x3ffff }, { 0, 0 }, { 0x5000, 0x501e }, { 0, 0 },
	{ 0, 0 } };
struct kind {
	struct lease l;
};
static const struct kind kinds[LEASES] = {
	{ { .host = HOST,
		.address = NB,
		.method = METHOD_RSIPSEC,
		.tunnel = TUNNEL_IPIP } },
	{ { .host = HOST + 1,
		.address = NB,
		.method = METHOD_RSIPSEC,
		.tunnel = TUNNEL_GRE } },
	{ { .host = HOST,
		.address = NB + 2,
		.method = METHOD_RSIPSEC,
		.tunnel = TUNNEL_IPIP,
		.remote = { .flow = REMOTE_MACRO, .addr = Y, .port = 0 } } },
	{ { .host = HOST + 1,
		.address = NB + 1,
		.method = METHOD_RSIPSEC,
		.tunnel = TUNNEL_IPIP,
		.remote = { .flow = REMOTE_MICRO, .addr = Y, .port = 80 } } },
	/* The port of the one before, to be listened on: LISTEN may share it. */
	{ { .host = HOST + 1,
		.address = NB + 1,
		.method = METHOD_LISTEN,
		.tunnel = TUNNEL_IPIP,
		.remote = { .flow = REMOTE_MICRO, .addr = Y + 1, .port = 443 } } },
	{ { .host = HOST + 2,
		.address = NB,
		.method = METHOD_RSIPSEC,
		.tunnel = TUNNEL_IPIP,
		.remote = { .flow = REMOTE_MICRO, .addr = Y, .port = 443 } } },
	{ { .host = HOST + 2,
		.address = NB + 3,
		.method = METHOD_RSAP_IP,
		.tunnel = TUNNEL_GRE } },
	{ { .host = HOST + 2,
		.address = NB + 4,
		.method = METHOD_RSA_IP,
		.tunnel = TUNNEL_IPIP,
		.remote = { .flow = REMOTE_MACRO, .addr = Y, .port = 0 } } },
};

struct differ {
	struct forward f;
	struct shadow s;
	uint64_t state;
	struct kind lease[LEASES];
	bool there[LEASES];
};

static uint32_t below(struct differ *d, uint32_t n)
{
	d->state = d->state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)((d->state >> 33) % n);
}

static bool one_in(struct differ *d, uint32_t n)
{
	return below(d, n) == 0;
}

static bool on_send(void *ctx, enum forward_link link, uint32_t dst,
	const struct forward_piece *piece, int n)
{
	struct differ *d = ctx;

	shadow_send(&d->s, link, dst, piece, n);
	return true;
}

static void on_misuse(void *ctx, uint32_t host, uint16_t error, uint32_t bind_id)
{
	(void)ctx;
	(void)host;
	(void)error;
	(void)bind_id;
}

/* A lease comes, goes or is extended with another policy. */
static void change_lease(struct differ *d)
{
	uint32_t i = below(d, LEASES);
	struct lease *l = &d->lease[i].l;

	if (d->there[i] && one_in(d, 2)) {
		keep_remove(&d->s.keep, &d->f.tables, l->bind_id);
		d->there[i] = false;
		return;
	}
	*l = kinds[i].l;
	l->bind_id = i + 1;
	l->gateway = NA;
	l->expires_ms = UINT64_MAX;
	l->ports = &ports[i];
	l->n_ports = ports[i].hi != 0;
	l->spis = &spis[i];
	l->n_spis = spis[i].hi != 0;
	if (one_in(d, 4))
		l->remote.flow = REMOTE_NONE;
	d->there[i] = keep_install(&d->s.keep, &d->f.tables, l) == 0;
}

static uint16_t a_port(struct differ *d, const struct lease *l)
{
	static const uint16_t others[] = { 500, 4500, 80, 443, 53, 30000, 20480, 20500 };

	if (l->n_ports && !one_in(d, 4))
		return (uint16_t)(l->ports[0].lo +
				  below(d, l->ports[0].hi - l->ports[0].lo + 1));
	return others[below(d, 8)];
}

static uint32_t an_spi(struct differ *d, const struct lease *l)
{
	if (l->n_spis && !one_in(d, 6))
		return l->spis[0].lo + below(d, l->spis[0].hi - l->spis[0].lo + 2);
	return one_in(d, 2) ? 0x1000 + below(d, 0x5000) : below(d, UINT32_MAX);
}

static void put_ports(struct differ *d, uint8_t *p, const struct lease *l, bool out)
{
	static const uint16_t remote[] = { 80, 443, 500, 4500, 53 };
	uint16_t mine = a_port(d, l), other = remote[below(d, 5)];

	be_put16(p, out ? mine : other);
	be_put16(p + 2, out ? other : mine);
}

static uint8_t put_payload(
	struct differ *d, uint8_t *p, const struct lease *l, bool out, uint16_t len)
{
	static const uint8_t protos[] = { IP4_TCP, IP4_UDP, IP4_UDP, IP4_ESP, IP4_ESP,
		IP4_AH, IP4_ICMP, 132 };
	uint8_t proto = protos[below(d, sizeof protos)];

	for (uint16_t i = 0; i < len; i++)
		p[i] = (uint8_t)below(d, 256);
	if (proto == IP4_TCP || proto == IP4_UDP) {
		put_ports(d, p, l, out);
		if (one_in(d, 3))
			memset(p + 8, 0, 4); /* non-ESP marker, or a cookie of zero */
	} else if (proto == IP4_ESP) {
		be_put32(p, an_spi(d, l));
	} else if (proto == IP4_AH) {
		p[0] = one_in(d, 2) ? IP4_UDP : IP4_ESP;
		p[1] = (uint8_t)below(d, 6);
		be_put32(p + 4, an_spi(d, l));
		put_ports(d, p + 12 + 12, l, out);
	} else if (proto == IP4_ICMP) {
		p[0] = (uint8_t)below(d, 20);
	}
	return proto;
}

/* As a sender leaves it for its hardware: the sum of the pseudo header only. */
static void unfinish(uint8_t *p, const struct ip4 *ip)
{
	uint32_t at = ip->proto == IP4_TCP ? 16 : 6;
	uint32_t sum =
		csum_pseudo(ip->src, ip->dst, ip->proto, (uint32_t)(ip->len - IP4_HDR));

	be_put16(p + IP4_HDR + at, (uint16_t)~csum_fold(sum));
}

static uint16_t put_packet(struct differ *d, uint8_t *p, const struct lease *l, bool out)
{
	uint32_t remote = Y + below(d, 3);
	struct ip4 ip = {
		.src = out ? l->address : remote,
		.dst = out ? remote : l->address,
		.len = (uint16_t)(IP4_HDR + 40 + below(d, 100)),
		.id = (uint16_t)below(d, 65536),
		.frag = one_in(d, 2) ? IP4_DF : 0,
		.ttl = one_in(d, 20) ? (uint8_t)below(d, 3) : 64,
		.tos = one_in(d, 4) ? (uint8_t)below(d, 256) : 0,
	};

	if (one_in(d, 20))
		ip.len = (uint16_t)(IP4_HDR + below(d, 40));
	if (one_in(d, 30))
		ip.len = (uint16_t)(1470 + below(d, 40));
	if (one_in(d, 30))
		ip.frag = (uint16_t)below(d, 65536);
	if (one_in(d, 20))
		*(out ? &ip.src : &ip.dst) = NB + below(d, 20);
	if (one_in(d, 30))
		*(out ? &ip.dst : &ip.src) = below(d, UINT32_MAX);
	if (one_in(d, 30))
		*(out ? &ip.dst : &ip.src) = NB + below(d, 16);
	ip.proto = put_payload(d, p + IP4_HDR, l, out, 1600);
	ip4_write(p, &ip);
	if (ip.len >= 40 && (ip.proto == IP4_TCP || ip.proto == IP4_UDP) && one_in(d, 8))
		unfinish(p, &ip);
	return ip.len;
}

static uint16_t put_outer(
	struct differ *d, uint8_t *p, const struct lease *l, uint16_t inner)
{
	bool gre = (l->tunnel == TUNNEL_GRE) != one_in(d, 20);
	const struct ip4 outer = {
		.src = one_in(d, 20) ? HOST + below(d, 5) : l->host,
		.dst = one_in(d, 40) ? NA + 1 : NA,
		.len = (uint16_t)(inner + IP4_HDR + (gre ? 4 : 0)),
		.frag = one_in(d, 40) ? (uint16_t)below(d, 65536) : 0,
		.proto = one_in(d, 40) ? IP4_UDP
			 : gre         ? IP4_GRE
				       : IP4_IPIP,
		.ttl = 64,
		.tos = one_in(d, 4) ? (uint8_t)below(d, 256) : 0,
	};

	if (gre)
		be_put32(p + IP4_HDR, one_in(d, 20) ? 0x20000800 : 0x00000800);
	ip4_write(p, &outer);
	return outer.len;
}

/* One packet; how long it is with what is behind it. */
static uint16_t make(struct differ *d, uint8_t *p, bool out)
{
	struct lease any = kinds[below(d, LEASES)].l;
	const struct lease *l = &d->lease[below(d, LEASES)].l;
	uint16_t len, front = 0;

	if (l->host == 0)
		l = &any;
	if (out)
		front = l->tunnel == TUNNEL_GRE ? IP4_HDR + 4 : IP4_HDR;
	len = put_packet(d, p + front, l, out);
	if (out)
		len = put_outer(d, p, l, len);
	if (one_in(d, 30))
		p[below(d, 60)] ^= (uint8_t)(1U << below(d, 8));
	if (one_in(d, 10))
		len = (uint16_t)(len + below(d, 20));
	return one_in(d, 50) && len > 40 ? (uint16_t)(len - below(d, 30)) : len;
}

static int begin(struct differ *d)
{
	static const struct prefix4 pool_addresses = { NB, 28 };
	static const struct range pool_ports = { 1, 65535 };
	static const uint32_t na = NA, own = NB + 1;
	const struct dp_pool pool = { &pool_addresses, 1, &pool_ports, 1 };
	const struct dp_conf conf = {
		.tunnel_ends = &na, .n_tunnel_ends = 1, .pools = &pool, .n_pools = 1
	};
	const struct dp_events events = { .misuse = on_misuse };
	const struct forward_out out = { d, on_send };

	if (forward_init(&d->f, &conf, &events, &out, 1) ||
		forward_set_local(&d->f, &own, 1))
		return 1;
	return shadow_open(&d->s, &d->f);
}

static void print_packet(const uint8_t *p, uint16_t len)
{
	for (uint16_t i = 0; i < len; i++)
		(void)printf("%02x", p[i]);
	(void)printf("\n");
}

int main(int argc, char **argv)
{
	static uint8_t packet[4096];
	struct differ *d = calloc(1, sizeof *d);
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : PACKETS;
	unsigned int differing = 0;

	d->state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	int status = begin(d);
	if (status) {
		/* A skip is none where a sanitizer finds a leak. */
		forward_fini(&d->f);
		free(d);
		return status;
	}
	for (uint64_t i = 0; i < n && differing < 10; i++) {
		bool out = one_in(d, 2), taken;

		if (i < (uint64_t)LEASES * 4 || one_in(d, 200))
			change_lease(d);
		uint16_t len = make(d, packet, out);
		const char *fault = shadow_packet(&d->s, out ? LINK_PRIVATE : LINK_PUBLIC,
			packet, len, 1000 + i, &taken);
		if (fault) {
			differing++;
			(void)printf("packet %llu, %s: %s\n", (unsigned long long)i,
				out ? "out" : "in", fault);
			print_packet(packet, len);
		}
	}
	(void)printf("%llu packets: %llu forwarded and %llu dropped by the programs, "
		     "%u differ\n",
		(unsigned long long)d->s.packets, (unsigned long long)d->s.redirected,
		(unsigned long long)d->s.dropped, differing);
	/* A test of nothing would pass as well. */
	bool enough = d->s.redirected > n / 10 && d->s.dropped > n / 50;
	shadow_close(&d->s);
	forward_fini(&d->f);
	free(d);
	return differing || !enough;
}
