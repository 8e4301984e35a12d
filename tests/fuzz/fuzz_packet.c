/*
 * A run of packets from both links through offload completion and forwarding, with three
 * leases in place.  Whatever comes: nothing is read or written out of bounds, and what
 * leaves is a right IPv4 packet with an address that may stand there.
 *
 * Records: kind (bits: 1 public link, 2 put header checksums right, 4 virtio header
 * follows, 8 one second passes), length in two bytes, packet.
 */
#include "dataplane/core/tunnel.h"
#include "dataplane/forward.h"
#include "dataplane/segment.h"
#include "fuzz.h"

#include <string.h>

#define X1     0x0a00000bU
#define X2     0x0a00000cU
#define NA     0x0a000001U
#define NB     0xcb007101U
#define WHOLE  0xcb007121U
#define NEARBY 0xc6336401U
#define SENT   65600

struct world {
	struct forward f;
	uint64_t now_ms;
	enum forward_link link;
	uint8_t sent[SENT];
};

static struct world w;

static bool is_pool(uint32_t addr)
{
	return forward_pool_of(&w.f, addr) != NULL;
}

static bool on_send(void *ctx, enum forward_link link, uint32_t dst,
	const struct forward_piece *piece, int n)
{
	struct ip4 ip = { 0 };
	size_t len = 0;

	(void)ctx;
	for (int i = 0; i < n; i++) {
		MUST(len + piece[i].len <= SENT);
		memcpy(w.sent + len, piece[i].at, piece[i].len);
		len += piece[i].len;
	}
	MUST(ip4_parse(w.sent, w.sent + len, false, &ip));
	MUST(ip.len == len && len <= w.f.mtu[link] && ip.dst == dst && ip.ttl > 0);
	if (link == LINK_PRIVATE) {
		MUST(ip.src == NA && (ip.dst == X1 || ip.dst == X2));
		MUST(tunnel_of_proto(ip.proto));
	} else {
		MUST(is_pool(ip.src) || ip.src == NEARBY);
	}
	return len % 7 != 0; /* some can't be sent */
}

static void on_misuse(void *ctx, uint32_t host, uint16_t error, uint32_t bind_id)
{
	(void)ctx;
	(void)host;
	MUST(error == 307 || (error >= 312 && error <= 315) || error == 401);
	MUST(bind_id <= 4);
}

static void begin(void)
{
	static const struct prefix4 addresses[] = { { 0xcb007100, 28 }, { WHOLE, 32 } };
	static const struct range ports = { 1024, 65535 };
	static const uint32_t na = NA;
	const struct dp_pool pool = { addresses, 2, &ports, 1 };
	const struct dp_conf conf = {
		.tunnel_ends = &na, .n_tunnel_ends = 1, .pools = &pool, .n_pools = 1
	};
	const struct dp_events events = { .misuse = on_misuse };
	const struct forward_out out = { NULL, on_send };

	if (w.f.pools)
		return;
	MUST(forward_init(&w.f, &conf, &events, &out, 0x0001000000000001) == 0);
	w.f.address[LINK_PUBLIC] = NEARBY;
	w.now_ms = 1000;
}

static void install(void)
{
	static const struct range ports[] = { { 20480, 20495 }, { 20736, 20751 } };
	static const struct range spis[] = { { 0xc0010000, 0xc00100ff },
		{ 0xc0020000, 0xc00200ff } };
	const struct lease leases[] = {
		{ .bind_id = 1,
			.host = X1,
			.gateway = NA,
			.address = NB,
			.method = METHOD_RSIPSEC,
			.tunnel = TUNNEL_IPIP,
			.ports = &ports[0],
			.n_ports = 1,
			.spis = &spis[0],
			.n_spis = 1 },
		{ .bind_id = 2,
			.host = X2,
			.gateway = NA,
			.address = NB,
			.method = METHOD_RSIPSEC,
			.tunnel = TUNNEL_GRE,
			.ports = &ports[1],
			.n_ports = 1,
			.spis = &spis[1],
			.n_spis = 1 },
		{ .bind_id = 3,
			.host = X2,
			.gateway = NA,
			.address = WHOLE,
			.method = METHOD_RSA_IP,
			.tunnel = TUNNEL_IPIP },
		{ .bind_id = 4,
			.host = X1,
			.gateway = NA,
			.address = NB + 1,
			.method = METHOD_RSIPSEC,
			.tunnel = TUNNEL_IPIP,
			.spis = &spis[0],
			.n_spis = 1,
			.remote = { .flow = REMOTE_MICRO,
				.addr = 0xc6336402,
				.port = 80 } },
		{ .bind_id = 5,
			.host = X1,
			.gateway = NA,
			.address = NB,
			.method = METHOD_IKE,
			.tunnel = TUNNEL_IPIP,
			.ike_id = (const uint8_t *)"\2peer.example",
			.ike_id_len = 13 },
		{ .bind_id = 6,
			.host = X2,
			.gateway = NA,
			.address = NB,
			.method = METHOD_IKE,
			.tunnel = TUNNEL_GRE,
			.ike_id = (const uint8_t *)"",
			.ike_id_len = 1 },
	};

	for (size_t i = 0; i < sizeof leases / sizeof *leases; i++)
		MUST(tables_install(&w.f.tables, &leases[i]) == 0);
}

/* So that inputs do not depend on each other. */
static void end(void)
{
	for (uint32_t bind = 1; bind <= 6; bind++)
		tables_remove(&w.f.tables, bind);
	for (int k = 0; k < LEARNED_KINDS; k++)
		MUST(w.f.tables.learned[k].keys.n == 0);
	MUST(w.f.tables.spis.n == 0 && w.f.tables.hosts.n == 0);
	MUST(w.f.tables.identities.n == 0);
	MUST(w.f.tables.learned[LEARNED_IKE].peers.talks.n == 0);
	w.now_ms += 60000;
	forward_sweep(&w.f, w.now_ms);
	MUST(w.f.inner.keys.n == 0 && w.f.outer.keys.n == 0);
}

static void on_packet(void *ctx, uint8_t *p, size_t len)
{
	(void)ctx;
	if (w.link == LINK_PRIVATE)
		(void)forward_private(&w.f, p, len, w.now_ms);
	else
		(void)forward_public(&w.f, p, len, w.now_ms);
}

/* Mutation rarely finds a checksum. */
static void put_right(uint8_t *p, size_t len)
{
	for (int level = 0; level < 2; level++) {
		struct ip4 ip;

		if (!ip4_parse(p, p + len, true, &ip))
			return;
		be_put16(p + IP4_AT_CSUM, 0);
		be_put16(p + IP4_AT_CSUM, csum_fold(csum_sum(p, ip.hdr, 0)));
		size_t skip = tunnel_inner(p, p + len, &ip);
		if (skip == 0 || skip > len)
			return;
		p += skip;
		len -= skip;
	}
}

static void play(uint8_t kind, const uint8_t *data, size_t len)
{
	static uint8_t scratch[65536];
	struct virtio_net_hdr offload = { 0 };

	if ((kind & 4) && len >= sizeof offload) {
		memcpy(&offload, data, sizeof offload);
		data += sizeof offload;
		len -= sizeof offload;
	}
	uint8_t *p = malloc(len ? len : 1);
	MUST(p);
	memcpy(p, data, len);
	if (kind & 2)
		put_right(p, len);
	w.link = kind & 1 ? LINK_PUBLIC : LINK_PRIVATE;
	if (kind & 8)
		forward_sweep(&w.f, w.now_ms += 1000);
	(void)segment_each(p, len, &offload, scratch, on_packet, NULL);
	free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin();
	install();
	while (size >= 3) {
		size_t len = (size_t)data[1] << 8 | data[2];

		if (len > size - 3)
			len = size - 3;
		play(data[0], data + 3, len);
		data += 3 + len;
		size -= 3 + len;
	}
	end();
	return 0;
}
