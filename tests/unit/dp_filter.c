/*
 * The socket filters, interpreted: what they keep from the driver is nothing that it
 * would have taken.
 */
#include "dataplane/core/be.h"
#include "dataplane/core/flow.h"
#include "dataplane/packet/filter.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NB    0xcb007101
#define OWN   0xcb007102
#define OTHER 0xcb007103
#define PEER  0xc6336402

static bool on_send(void *ctx, enum forward_link link, uint32_t dst,
	const struct forward_piece *piece, int n)
{
	(void)ctx;
	(void)link;
	(void)dst;
	(void)piece;
	(void)n;
	return true;
}

/* Value of a load; false behind the end, which ends a program with 0. */
static bool load(const struct sock_filter *i, const uint8_t *p, size_t len, uint32_t *a)
{
	size_t size = BPF_SIZE(i->code) == BPF_W ? 4 : BPF_SIZE(i->code) == BPF_H ? 2 : 1;
	size_t at = i->k - (uint32_t)SKF_NET_OFF;

	if (i->k == (uint32_t)(SKF_AD_OFF + SKF_AD_PROTOCOL)) {
		*a = ETH_P_IP;
		return true;
	}
	if (at + size > len)
		return false;
	*a = size == 4 ? be_get32(p + at) : size == 2 ? be_get16(p + at) : p[at];
	return true;
}

static bool jumps(const struct sock_filter *i, uint32_t a)
{
	switch (BPF_OP(i->code)) {
	case BPF_JEQ:
		return a == i->k;
	case BPF_JGT:
		return a > i->k;
	case BPF_JGE:
		return a >= i->k;
	case BPF_JSET:
		return (a & i->k) != 0;
	default:
		fail_msg("no such jump");
		return false;
	}
}

static bool accepts(const struct filter *f, const uint8_t *p, size_t len)
{
	uint32_t a = 0;

	for (unsigned int at = 0; at < f->program.len; at++) {
		const struct sock_filter *i = &f->program.filter[at];

		if (BPF_CLASS(i->code) == BPF_RET)
			return i->k != 0;
		if (BPF_CLASS(i->code) == BPF_JMP)
			at += jumps(i, a) ? i->jt : i->jf;
		else if (BPF_CLASS(i->code) == BPF_ALU)
			a &= i->k;
		else if (!load(i, p, len, &a))
			return false;
	}
	fail_msg("the program has no end");
	return false;
}

struct plane {
	struct forward *f;
	struct filter filter;
};

/* A pool of four addresses, one of them the gateway's own, one translated to. */
static void open_plane(struct plane *p)
{
	static const struct prefix4 addresses = { NB - 1, 30 },
				    hosts = { 0x0a000000, 24 };
	static const struct range ports[] = { { 1024, 1999 }, { 20000, 29999 } };
	static const uint32_t local[] = { OWN, 0x0a000001 };
	const struct dp_pool pool = { &addresses, 1, ports, 2 };
	const struct dp_conf conf = {
		.pools = &pool, .n_pools = 1, .napt = { &hosts, 1, NB, { 40000, 49999 } }
	};
	const struct dp_events events = { 0 };
	const struct forward_out out = { NULL, on_send };

	p->f = calloc(1, sizeof *p->f);
	assert_non_null(p->f);
	assert_int_equal(forward_init(p->f, &conf, &events, &out, 1), 0);
	assert_int_equal(forward_set_local(p->f, local, 2), 0);
	assert_int_equal(filter_init(&p->filter, LINK_PUBLIC, p->f), 0);
}

static void close_plane(struct plane *p)
{
	filter_fini(&p->filter);
	forward_fini(p->f);
	free(p->f);
}

static size_t packet(
	uint8_t *p, uint32_t dst, uint8_t proto, uint16_t frag, uint16_t dport)
{
	struct ip4 ip = { .src = PEER,
		.dst = dst,
		.len = IP4_HDR + 20,
		.frag = frag,
		.proto = proto,
		.ttl = 9 };

	memset(p, 0, IP4_HDR + 20);
	ip4_write(p, &ip);
	be_put16(p + IP4_HDR + 2, dport);
	return ip.len;
}

static void by_port(void **state)
{
	static const struct {
		uint32_t dst;
		uint8_t proto;
		uint16_t frag, dport;
		bool accepted;
	} rows[] = {
		{ NB, IP4_TCP, 0, 39999, true },
		{ NB, IP4_TCP, 0, 40000, false },
		{ NB, IP4_UDP, IP4_DF, 49999, false },
		{ NB, IP4_UDP, 0, 50000, true },
		{ NB, IP4_UDP, IP4_MF, 40000, true },
		{ NB, IP4_ICMP, 0, 40000, true },
		{ NB, IP4_ESP, 0, 40000, true },
		{ OWN, IP4_TCP, 0, 22, false },
		{ OWN, IP4_UDP, 0, 500, true },
		{ OWN, IP4_UDP, 0, 4500, true },
		{ OWN, IP4_TCP, 0, 1023, false },
		{ OWN, IP4_TCP, 0, 1024, true },
		{ OWN, IP4_TCP, 0, 1999, true },
		{ OWN, IP4_TCP, 0, 2000, false },
		{ OWN, IP4_TCP, 0, 29999, true },
		{ OWN, IP4_TCP, 0, 30000, false },
		{ OWN, IP4_AH, 0, 22, true },
		{ OTHER, IP4_TCP, 0, 22, true },
		{ OTHER, IP4_TCP, 0, 40000, true },
		{ PEER, IP4_TCP, 0, 22, false },
	};
	struct plane p;
	uint8_t bytes[64];

	(void)state;
	open_plane(&p);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = packet(
			bytes, rows[i].dst, rows[i].proto, rows[i].frag, rows[i].dport);

		if (accepts(&p.filter, bytes, n) != rows[i].accepted)
			fail_msg("row %zu", i);
	}
	close_plane(&p);
}

/* Any packet that forwarding would take, and count, comes to it. */
static void nothing_is_missed(void **state)
{
	static const uint8_t protos[] = { IP4_ICMP, IP4_TCP, IP4_UDP, IP4_ESP, IP4_AH,
		132 };
	unsigned int random = 1, refused = 0;
	struct plane p;
	uint8_t bytes[64];

	(void)state;
	open_plane(&p);
	for (int i = 0; i < 200000; i++) {
		random = random * 1103515245 + 12345;
		uint16_t frag = random >> 28 ? 0 : (uint16_t)(random >> 8);
		size_t n = packet(bytes, NB - 1 + (random >> 16) % 6,
			protos[(random >> 19) % sizeof protos], frag,
			(uint16_t)(random >> 9));

		bytes[IP4_HDR] = (uint8_t)(random >> 12);
		if (accepts(&p.filter, bytes, n))
			continue;
		refused++;
		if (forward_public(p.f, bytes, n, 1000))
			fail_msg("packet %d is refused, but taken", i);
	}
	assert_true(refused > 10000);
	close_plane(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_port),
		cmocka_unit_test(nothing_is_missed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
