/* Checksums completed and large packets cut, judged by adding everything up again. */
#include "base/err.h"
#include "dataplane/core/ip4.h"
#include "dataplane/reasm.h"
#include "dataplane/segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GSO_UDP_L4 5

struct got {
	size_t n, data;
	uint32_t seq;
	unsigned int levels; /* IP headers in front */
	uint8_t flags[128];
	uint16_t id[128];
	size_t len[128];
};

static uint8_t scratch[65536];

static void put_ip(uint8_t *p, uint8_t proto, size_t len)
{
	const struct ip4 ip = { .src = 0x0a000001,
		.dst = 0x0a000002,
		.len = (uint16_t)len,
		.id = 100,
		.proto = proto,
		.ttl = 64 };

	ip4_write(p, &ip);
}

/* The transport checksum of a finished packet is right. */
static void check_l4(const uint8_t *p, const struct ip4 *ip)
{
	uint32_t n = ip->len - ip->hdr;
	uint32_t sum = csum_pseudo(ip->src, ip->dst, ip->proto, n);

	assert_int_equal(csum_fold(csum_sum(p + ip->hdr, n, sum)), 0);
}

static void on_packet(void *ctx, uint8_t *p, size_t len)
{
	struct got *g = ctx;
	struct ip4 ip = { 0 };

	g->id[g->n] = be_get16(p + IP4_AT_ID);
	g->len[g->n] = len;
	for (unsigned int i = 0; i < g->levels; i++) {
		assert_true(ip4_parse(p, p + len, false, &ip));
		assert_int_equal(ip.len, len);
		if (i + 1 < g->levels) {
			size_t skip = ip.hdr + (ip.proto == IP4_GRE ? 4U : 0U);

			p += skip;
			len -= skip;
		}
	}
	check_l4(p, &ip);
	const uint8_t *l4 = p + ip.hdr;
	size_t hdr = ip.proto == IP4_TCP ? 20 : 8;
	if (ip.proto == IP4_TCP) {
		assert_int_equal(be_get32(l4 + 4), g->seq + g->data);
		g->flags[g->n] = l4[13];
	} else {
		assert_int_equal(be_get16(l4 + 4), ip.len - ip.hdr);
	}
	for (size_t i = hdr; i < (size_t)(ip.len - ip.hdr); i++)
		assert_int_equal(l4[i], (uint8_t)(g->data++));
	g->n++;
}

/* A packet with `levels` IP headers, GRE between them when asked; returns its length. */
static size_t build(uint8_t *p, unsigned int levels, bool gre, uint8_t proto, size_t data,
	struct virtio_net_hdr *hdr)
{
	size_t at = 0, l4_hdr = proto == IP4_TCP ? 20 : 8;
	size_t len = levels * IP4_HDR + (gre ? (levels - 1) * 4U : 0) + l4_hdr + data;

	for (unsigned int i = 0; i + 1 < levels; i++) {
		put_ip(p + at, gre ? IP4_GRE : IP4_IPIP, len - at);
		at += IP4_HDR;
		if (gre) {
			be_put32(p + at, 0x0800);
			at += 4;
		}
	}
	put_ip(p + at, proto, len - at);
	uint8_t *l4 = p + at + IP4_HDR;
	memset(l4, 0, l4_hdr);
	if (proto == IP4_TCP) {
		be_put32(l4 + 4, 1000);
		l4[12] = 5 << 4;
		l4[13] = 0x80 | 0x08 | 0x01 | 0x10; /* CWR, PSH, FIN, ACK */
	} else {
		be_put16(l4 + 4, (uint16_t)(l4_hdr + data));
	}
	for (size_t i = 0; i < data; i++)
		l4[l4_hdr + i] = (uint8_t)i;
	/* A partial checksum: the pseudo header's sum only. */
	size_t csum_at = proto == IP4_TCP ? 16 : 6;
	uint32_t sum =
		csum_pseudo(0x0a000001, 0x0a000002, proto, (uint32_t)(l4_hdr + data));
	be_put16(l4 + csum_at, (uint16_t)~csum_fold(sum));
	*hdr = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = (uint16_t)(at + IP4_HDR),
		.csum_offset = (uint16_t)csum_at,
	};
	return len;
}

static void test_complete(void **state)
{
	static uint8_t p[2000];
	struct virtio_net_hdr hdr;

	(void)state;
	for (unsigned int levels = 1; levels <= 3; levels++) {
		for (size_t data = 0; data < 40; data++) {
			for (int udp = 0; udp < 2; udp++) {
				struct got g = { .levels = levels, .seq = 1000 };
				size_t len = build(p, levels, false,
					udp ? IP4_UDP : IP4_TCP, data, &hdr);

				/* Padding of a short frame is not part of the sum. */
				memset(p + len, 0x55, 6);
				assert_int_equal(segment_each(p, len + 6, &hdr, scratch,
							 on_packet, &g),
					1);
			}
		}
	}
}

static void on_length(void *ctx, uint8_t *p, size_t len)
{
	(void)p;
	*(size_t *)ctx += len;
}

/* A UDP checksum that comes out as zero is sent as ones (RFC 768). */
static void test_udp_zero(void **state)
{
	uint8_t p[64];
	struct virtio_net_hdr hdr;
	size_t sum = 0;

	(void)state;
	size_t len = build(p, 1, false, IP4_UDP, 2, &hdr);
	for (uint32_t v = 0; v < 65536; v++) {
		uint8_t q[64];

		memcpy(q, p, len);
		be_put16(q + 28, (uint16_t)v);
		assert_int_equal(segment_each(q, len, &hdr, scratch, on_length, &sum), 1);
		assert_int_not_equal(be_get16(q + 26), 0);
	}
}

static void test_cut_tcp(void **state)
{
	static uint8_t p[65536];
	struct virtio_net_hdr hdr;

	(void)state;
	for (unsigned int levels = 1; levels <= 2; levels++) {
		for (int gre = 0; gre < 2; gre++) {
			struct got g = { .levels = levels, .seq = 1000 };
			size_t len = build(p, levels, gre, IP4_TCP, 64000, &hdr);

			hdr.gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN;
			hdr.gso_size = 1400;
			assert_int_equal(
				segment_each(p, len, &hdr, scratch, on_packet, &g),
				(64000 + 1399) / 1400);
			assert_int_equal(g.n, (64000 + 1399) / 1400);
			assert_int_equal(g.data, 64000);
			assert_int_equal(g.flags[0], 0x90);
			assert_int_equal(g.flags[1], 0x10);
			assert_int_equal(g.flags[g.n - 1], 0x19);
			for (size_t i = 0; i < g.n; i++)
				assert_int_equal(g.id[i], 100 + i);
		}
	}
}

static void test_cut_udp(void **state)
{
	static uint8_t p[65536];
	struct virtio_net_hdr hdr;
	struct got g = { .levels = 1 };
	size_t len = build(p, 1, false, IP4_UDP, 5000, &hdr);

	(void)state;
	hdr.gso_type = GSO_UDP_L4;
	hdr.gso_size = 1200;
	assert_int_equal(segment_each(p, len, &hdr, scratch, on_packet, &g), 5);
	assert_int_equal(g.n, 5);
	assert_int_equal(g.len[4], 28 + 200);
}

/* What does not fit the packet is refused and nothing is passed on. */
static void test_refused(void **state)
{
	static uint8_t p[2000];
	struct virtio_net_hdr hdr;
	size_t passed = 0;

	(void)state;
	size_t len = build(p, 1, false, IP4_TCP, 100, &hdr);
	hdr.csum_start = (uint16_t)len;
	assert_int_equal(
		segment_each(p, len, &hdr, scratch, on_length, &passed), ERR_MALFORMED);
	len = build(p, 1, false, IP4_TCP, 100, &hdr);
	hdr.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	hdr.gso_size = 0;
	assert_int_equal(
		segment_each(p, len, &hdr, scratch, on_length, &passed), ERR_MALFORMED);
	hdr.gso_size = 50;
	p[32] = 0xf0; /* TCP header of 60 bytes, 60 of payload */
	assert_int_equal(segment_each(p, len, &hdr, scratch, on_length, &passed), 2);
	passed = 0;
	p[32] = 0x10; /* and of 4 */
	assert_int_equal(
		segment_each(p, len, &hdr, scratch, on_length, &passed), ERR_MALFORMED);
	assert_int_equal(passed, 0);
}

/* --- reassembly bounds --- */

static enum reasm_result add(
	struct reasm *r, uint32_t src, uint16_t id, uint16_t frag, uint64_t now_ms)
{
	uint8_t p[36] = { 0 }, *whole;
	struct ip4 ip = { .src = src,
		.dst = 2,
		.len = 36,
		.id = id,
		.frag = frag,
		.proto = 50,
		.ttl = 9,
		.hdr = 20 };
	size_t len;

	ip4_write(p, &ip);
	return reasm_add(r, 0, p, &ip, now_ms, &whole, &len);
}

/* F-3.1-11: one source can't take the room of the others; the oldest makes room. */
static void test_reasm_bounds(void **state)
{
	struct reasm *r = malloc(sizeof *r);
	struct reasm_gone gone;

	(void)state;
	assert_int_equal(reasm_init(r, 1), 0);
	assert_int_equal(add(r, 7, 1, IP4_MF, 0), REASM_HELD);
	for (uint16_t i = 0; i < 1000; i++)
		assert_int_equal(add(r, 9, i, IP4_MF, 1), REASM_HELD);
	assert_int_equal(r->keys.n, 1 + REASM_PER_SOURCE);
	assert_int_equal(r->evicted, 1000 - REASM_PER_SOURCE);
	assert_int_equal(add(r, 7, 1, 2, 1), REASM_DONE);
	for (uint32_t src = 100; src < 2000; src++)
		assert_int_equal(add(r, src, 1, IP4_MF, 2), REASM_HELD);
	assert_int_equal(r->keys.n, REASM_MAX);
	assert_int_equal(reasm_deadline(r), 2 + REASM_TIMEOUT_MS);
	size_t n = 0;
	while (reasm_expire(r, 2 + REASM_TIMEOUT_MS, &gone))
		n++;
	assert_int_equal(n, REASM_MAX);
	assert_int_equal(reasm_deadline(r), UINT64_MAX);
	reasm_fini(r);
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_complete),
		cmocka_unit_test(test_udp_zero),
		cmocka_unit_test(test_cut_tcp),
		cmocka_unit_test(test_cut_udp),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_reasm_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
