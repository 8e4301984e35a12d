/*
 * Leases and frames of the benchmarks of driver xdp: flow i has its port, its SPI and its
 * peer's SPI, of one of 16 addresses.
 */
#include "fast.h"

#include "dataplane/core/ip4.h"
#include "netns.h"

#include <linux/if_ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define X1         0x0a00000bU /* and the next ones */
#define NA         0x0a000001U
#define NB         0xc6121000U /* 198.18.16.0 and the next ones */
#define Y          0xc6336402U
#define FLOWS_MOST 60000 /* of the kernel, and peers */

static bool no_send(void *ctx, enum forward_link link, uint32_t dst,
	const struct forward_piece *piece, int n)
{
	(void)ctx;
	(void)link;
	(void)dst;
	(void)piece;
	(void)n;
	return true;
}

/* Peers' SPIs are bounded. */
uint32_t fast_peers_of(uint32_t n)
{
	return n < FLOWS_MOST ? n : FLOWS_MOST;
}

/* Ten leases a host, at most 1024 hosts; less one. */
uint32_t fast_hosts_of(uint32_t n)
{
	uint32_t hosts = 1;

	while (hosts < 1024 && hosts * 20 <= n)
		hosts *= 2;
	return hosts - 1;
}

static void install_one(struct fast *b, uint32_t i, uint32_t hosts)
{
	const struct range port = { i & 0xffff, i & 0xffff },
			   spi = { ab_spi(i), ab_spi(i) };
	const struct lease l = { .bind_id = i + 1,
		.host = X1 + (i & hosts),
		.gateway = NA,
		.address = NB + (i >> 16),
		.method = METHOD_RSIPSEC,
		.tunnel = TUNNEL_IPIP,
		.ports = &port,
		.n_ports = 1,
		.spis = &spi,
		.n_spis = 1,
		.expires_ms = UINT64_MAX };

	if (tables_install(&b->f.tables, &l))
		bench_fail("lease");
}

static void open_tables(struct fast *b, uint32_t n)
{
	static const struct prefix4 addresses = { NB, 28 };
	static const struct range every = { 0, 65535 };
	static const uint32_t na = NA;
	const struct dp_pool pool = { &addresses, 1, &every, 1 };
	const struct dp_conf conf = {
		.tunnel_ends = &na, .n_tunnel_ends = 1, .pools = &pool, .n_pools = 1
	};
	const struct dp_events events = { 0 };
	const struct forward_out out = { b, no_send };
	uint8_t mac[LINKS][6];
	char why[256] = "tables";

	memset(&b->keep, 0, sizeof b->keep);
	if (forward_init(&b->f, &conf, &events, &out, 1))
		bench_fail("memory");
	keep_measure(&b->keep, &b->f, n);
	if (load_open(&b->load, &b->keep, b->pins, &events, why, sizeof why) ||
		keep_init(&b->keep, load_conf(&b->load), 0x1234567800000001) ||
		load_set_link(&b->load, LINK_PRIVATE, b->lan) ||
		load_set_link(&b->load, LINK_PUBLIC, b->wan))
		bench_fail(why);
	memcpy(mac[LINK_PRIVATE], b->mac_lan, 6);
	memcpy(mac[LINK_PUBLIC], b->mac_wan, 6);
	keep_conf(&b->keep, mac);
}

static void on_out_spi(void *ctx, const struct learned *e, bool there)
{
	struct fast *b = ctx;

	keep_out_spi(&b->keep, e, there);
}

/* The SPI of a peer that each lease sends to. */
static void learn(struct fast *b, uint32_t n)
{
	struct learned_table *t = &b->f.tables.learned[LEARNED_SPI];

	t->watch = on_out_spi;
	t->watch_ctx = b;
	for (uint32_t i = 0; i < n; i++) {
		const struct learned_key key = { NB + (i >> 16), Y, IP4_ESP, ab_spi(i) };

		if (!learned_refresh(t, &key, tables_lease(&b->f.tables, i + 1), Y, 0))
			bench_fail("peer's SPI");
	}
}

/*
 * n leases, each one port and one SPI, first in the tables of user space, then in those
 * of the kernel.
 */
void fast_install(struct fast *b, uint32_t n)
{
	struct tlease **lease = calloc(n, sizeof(struct tlease *));
	uint32_t hosts = fast_hosts_of(n);

	b->n_leases = n;
	b->hosts = hosts;
	open_tables(b, n);
	double start = bench_now_s(CLOCK_THREAD_CPUTIME_ID);
	for (uint32_t i = 0; i < n; i++)
		install_one(b, i, hosts);
	double user = bench_now_s(CLOCK_THREAD_CPUTIME_ID) - start;
	for (uint32_t i = 0; lease && i < n; i++)
		lease[i] = tables_lease(&b->f.tables, i + 1);
	start = bench_now_s(CLOCK_THREAD_CPUTIME_ID);
	for (uint32_t i = 0; lease && i < n; i++) {
		const struct tlease *next = lease[i + 8 < n ? i + 8 : i];

		keep_ahead(&b->keep, next->address, next->spis, next->n_spis, next->ports,
			next->n_ports);
		keep_publish(&b->keep, lease[i], UINT64_MAX);
	}
	double kernel = bench_now_s(CLOCK_THREAD_CPUTIME_ID) - start;
	for (uint32_t i = 0; i <= hosts; i++)
		keep_hop(&b->keep, LINK_PRIVATE, X1 + i, b->mac_x);
	keep_hop(&b->keep, LINK_PUBLIC, Y, b->mac_y);
	learn(b, fast_peers_of(n));
	free(lease);
	(void)printf("%u leases of %u hosts, installed in %.3f s in the kernel's tables, "
		     "%.3f s in user space's\n",
		n, hosts + 1, kernel, user);
	(void)printf(
		"  kernel memory: %zu bytes an SPI block, %zu a port (of each of %u an "
		"address), %zu for a remote policy\n",
		b->load.mapped_size[3] / n, sizeof(maps_life), 65536,
		sizeof(struct maps_lease));
}

void fast_uninstall(struct fast *b)
{
	b->f.tables.learned[LEARNED_SPI].watch = NULL;
	keep_fini(&b->keep);
	load_close(&b->load);
	if (b->pins)
		load_unpin(b->pins);
	forward_fini(&b->f);
}

/* In the tunnel. */
static bool is_inner(enum way way)
{
	return way == WAY_OUT || way == WAY_OUT_ESP;
}

/* From the hosts. */
bool fast_is_out(enum way way)
{
	return is_inner(way) || way == WAY_MASQUERADE;
}

void fast_frame(const struct fast *b, struct ab_gen *g, enum way way, uint32_t n)
{
	bool out = fast_is_out(way);
	uint8_t *p = g->frame + ETH_HLEN;
	struct ip4 ip = { .src = Y, .dst = NB, .len = AB_IN - ETH_HLEN, .ttl = 64 };

	memset(g, 0, sizeof *g);
	memcpy(g->frame, out ? b->mac_lan : b->mac_wan, 6);
	memcpy(g->frame + 6, out ? b->mac_x : b->mac_y, 6);
	be_put16(g->frame + 12, ETH_P_IP);
	g->n = n;
	g->hosts = b->hosts;
	g->interface = out ? b->eth_x : b->eth_y;
	g->vary = way == WAY_IN        ? AB_SPI
		  : way == WAY_OUT     ? AB_INNER_PORT
		  : way == WAY_OUT_ESP ? AB_INNER_SPI
				       : AB_PORT;
	ip.proto = way == WAY_IN || way == WAY_OUT_ESP ? IP4_ESP : IP4_UDP;
	if (is_inner(way)) {
		const struct ip4 outer = { .src = X1,
			.dst = NA,
			.len = AB_OUT - ETH_HLEN,
			.proto = IP4_IPIP,
			.ttl = 64 };
		ip4_write(p, &outer);
		p += IP4_HDR;
		ip.len = AB_OUT - ETH_HLEN - IP4_HDR;
	}
	if (out)
		ip.src = is_inner(way) ? NB : X1;
	ip.dst = out ? Y : way == WAY_KERNEL ? X1 : NB;
	ip4_write(p, &ip);
	if (ip.proto == IP4_UDP) {
		be_put16(p + IP4_HDR + 2, 4500);
		be_put16(p + IP4_HDR + 4, (uint16_t)(ip.len - IP4_HDR));
	}
}
