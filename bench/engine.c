/*
 * The lease engine alone, in process: what a request costs with a thousand, a hundred
 * thousand and a million leases, what a lease costs in memory, and how long a million
 * take to come back after a restart.  The peer of the same run is the engine itself with
 * a thousand leases: the ratio says how cost grows.
 */
#include "engine/engine.h"
#include "base/random.h"
#include "wire/msg.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NA        0x0a000001U
#define HOSTS     0x0b000000U /* hosts of the restored leases, upwards */
#define WORKERS   1000        /* hosts that ask */
#define WORKER    0x0a100000U
#define REQUESTS  400000
#define ROUNDS    3
#define LATER_MS  (1000ULL * 86400)
#define ASSIGN_AT 1000000U /* client IDs of the workers, upwards */

static const struct prefix4 shared = { 0xcb007100, 24 }, everyone = { 0, 0 };
static const struct range ports = { 1024, 65535 }, spis = { 256, UINT32_MAX };
static const struct engine_pool pool = { .name = "public",
	.shared = &shared,
	.n_shared = 1,
	.ports = &ports,
	.n_ports = 1,
	.spis = &spis,
	.n_spis = 1,
	.hold_down_s = 120 };
static const struct engine_policy policy = { .name = "default",
	.match = &everyone,
	.n_match = 1,
	.methods = 1U << METHOD_RSAP_IP | 1U << METHOD_RSIPSEC,
	.tunnels = 1U << TUNNEL_IPIP,
	.lease_default_s = 3600,
	.lease_max_s = 86400,
	.max_bindings = 1000000,
	.max_ports = 1000000,
	.max_spis = 1000000 };
static const struct engine_conf conf = { .pools = &pool,
	.n_pools = 1,
	.policies = &policy,
	.n_policies = 1,
	.registration_lease_s = 3600,
	.udp = true,
	.tcp = true };

/* What the answers said; the rest of the effects only count. */
static struct {
	uint64_t effects, errors;
	uint32_t bind_id;
} got;

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_u32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static void sink(void *ctx, const struct effect *e)
{
	(void)ctx;
	got.effects++;
	if (e->kind != EFFECT_REPLY)
		return;
	if (e->reply.error != 0)
		got.errors++;
	else if (e->reply.len >= 18) /* header, Client ID, Bind ID */
		got.bind_id = get_u32(e->reply.bytes + 14);
}

static double seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Every second lease is four ports, the others sixteen SPIs. */
static struct lease lease_of(uint32_t i, uint32_t per_host, struct range *r)
{
	uint32_t host = i / per_host, slot = i / 2;
	uint32_t address = 0xcb007101U + slot % 254, place = slot / 254;
	struct lease l = { .client_id = 2000000 + host,
		.bind_id = 10 + i * 2654435761U, /* odd factor: no two are equal */
		.host = HOSTS + host,
		.gateway = NA,
		.address = address,
		.tunnel = TUNNEL_IPIP,
		.expires_ms = 600000 + i % 3000000 };

	if (l.bind_id == 0)
		l.bind_id = 10 + 0x80000000U;
	if (i % 2 == 0) {
		*r = (struct range){ 5000 + place * 4, 5003 + place * 4 };
		l.method = METHOD_RSAP_IP;
		l.ports = r;
		l.n_ports = 1;
	} else {
		uint32_t lo = 0x10000000U + place * 65536;

		*r = (struct range){ lo, lo + 15 };
		l.method = METHOD_RSIPSEC;
		l.spis = r;
		l.n_spis = 1;
	}
	return l;
}

static int restore(struct engine *e, uint32_t n, uint32_t per_host)
{
	for (uint32_t h = 0; h < (n + per_host - 1) / per_host; h++) {
		struct registration r = { .client_id = 2000000 + h,
			.host = HOSTS + h,
			.peer = { .transport = TRANSPORT_UDP,
				.addr = HOSTS + h,
				.port = 5000,
				.local = NA,
				.local_port = RSIP_PORT },
			.counters = true,
			.counter = 1,
			.expires_ms = 2 * LATER_MS };

		if (engine_restore_registration(e, &r, 0) != 0)
			return -1;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct range r;
		struct lease l = lease_of(i, per_host, &r);

		if (engine_restore_lease(e, &l, 0) != 0)
			return -1;
	}
	return 0;
}

static struct engine *filled(uint32_t n, uint32_t per_host, double *took_s, double *bytes)
{
	struct engine *e = engine_new(&conf, random_seeded(1), sink, NULL);
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
	double start = seconds();

	if (e == NULL || restore(e, n, per_host) != 0) {
		fprintf(stderr, "bench/engine: %u leases could not be restored\n", n);
		exit(1);
	}
	*took_s = seconds() - start;
	*bytes = (double)(mallinfo2().uordblks + mallinfo2().hblkhd - before) / n;
	return e;
}

/* --- requests --- */

static uint64_t now_ms;

static size_t encode(struct wire_msg *m, uint8_t *bytes, size_t size)
{
	int len;

	m->version = RSIP_VERSION_1;
	m->has |= HAS_COUNTER;
	m->client_id = m->bind_id = m->counter = 1; /* written over for each */
	len = wire_encode(m, bytes, size);
	if (len < 0)
		abort();
	return (size_t)len;
}

static void send(
	struct engine *e, uint32_t host, uint8_t *bytes, size_t len, uint32_t counter)
{
	struct peer from = { .transport = TRANSPORT_UDP,
		.addr = host,
		.port = 5000,
		.local = NA,
		.local_port = RSIP_PORT };

	put_u32(bytes + len - 4, counter); /* the counter is the last parameter here */
	engine_message(e, &from, bytes, len, now_ms);
}

/* Extend random leases; requests a second. */
static double extend(struct engine *e, uint32_t n, uint32_t per_host)
{
	struct wire_msg m = { .type = MSG_EXTEND_REQUEST,
		.has = HAS_CLIENT_ID | HAS_BIND_ID | HAS_COUNTER };
	struct random random = random_seeded(2);
	static uint32_t counter = 2;
	uint8_t bytes[64];
	size_t len = encode(&m, bytes, sizeof(bytes));
	double start = seconds();

	for (uint32_t i = 0; i < REQUESTS; i++) {
		struct range r;
		struct lease l = lease_of(random_below(&random, n), per_host, &r);

		put_u32(bytes + 7, l.client_id);
		put_u32(bytes + 14, l.bind_id);
		send(e, l.host, bytes, len, counter++);
		now_ms += i % 100 == 0;
	}
	return REQUESTS / (seconds() - start);
}

static void workers_enter(struct engine *e)
{
	for (uint32_t w = 0; w < WORKERS; w++) {
		struct registration r = { .client_id = ASSIGN_AT + w,
			.host = WORKER + w,
			.peer = { .transport = TRANSPORT_UDP,
				.addr = WORKER + w,
				.port = 5000,
				.local = NA,
				.local_port = RSIP_PORT },
			.counters = true,
			.counter = 1,
			.expires_ms = 2 * LATER_MS };

		if (engine_restore_registration(e, &r, 0) != 0)
			abort();
	}
}

/* ASSIGN four ports, then FREE them, each pair from the next host; pairs a second. */
static double assign_free(struct engine *e)
{
	struct wire_msg a = { .type = MSG_ASSIGN_REQUEST_RSAP_IP,
		.has = HAS_CLIENT_ID | HAS_LOCAL | HAS_LOCAL_PORTS | HAS_REMOTE |
		       HAS_REMOTE_PORTS,
		.local = { .type = ADDR_IPV4, .dont_care = true },
		.local_ports = { .form = FORM_DONT_CARE, .number = 4 },
		.remote = { .type = ADDR_IPV4, .dont_care = true },
		.remote_ports = { .form = FORM_DONT_CARE, .number = 1 } };
	struct wire_msg f = { .type = MSG_FREE_REQUEST,
		.has = HAS_CLIENT_ID | HAS_BIND_ID };
	static uint32_t counter = 2;
	uint8_t ask[64], give[64];
	size_t ask_len = encode(&a, ask, sizeof(ask)),
	       give_len = encode(&f, give, sizeof(give));
	double start = seconds();

	for (uint32_t i = 0; i < REQUESTS / 2; i++) {
		uint32_t w = i % WORKERS;

		put_u32(ask + 7, ASSIGN_AT + w);
		send(e, WORKER + w, ask, ask_len, counter++);
		put_u32(give + 7, ASSIGN_AT + w);
		put_u32(give + 14, got.bind_id);
		send(e, WORKER + w, give, give_len, counter++);
		now_ms += i % 100 == 0;
	}
	return (REQUESTS / 2.0) / (seconds() - start);
}

struct figures {
	double extend, pairs, bytes, restore_s;
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static struct figures measure(uint32_t n, uint32_t per_host)
{
	double extends[ROUNDS], pairs[ROUNDS];
	struct figures f;
	struct engine *e = filled(n, per_host, &f.restore_s, &f.bytes);

	now_ms = 1;
	memset(&got, 0, sizeof(got));
	workers_enter(e);
	for (int i = 0; i < ROUNDS; i++) {
		extends[i] = extend(e, n, per_host);
		pairs[i] = assign_free(e);
	}
	if (got.errors > 0) {
		fprintf(stderr, "bench/engine: %llu requests were refused\n",
			(unsigned long long)got.errors);
		exit(1);
	}
	engine_free(e);
	qsort(extends, ROUNDS, sizeof(extends[0]), compare);
	qsort(pairs, ROUNDS, sizeof(pairs[0]), compare);
	f.extend = extends[ROUNDS / 2];
	f.pairs = pairs[ROUNDS / 2];
	printf("%8u leases, %2u a host: EXTEND %7.0f/s (%.0f-%.0f)  ASSIGN+FREE %7.0f/s "
	       "(%.0f-%.0f)  restored in %.2f s  %.0f bytes a lease\n",
		n, per_host, f.extend, extends[0], extends[ROUNDS - 1], f.pairs, pairs[0],
		pairs[ROUNDS - 1], f.restore_s, f.bytes);
	return f;
}

int main(void)
{
	struct figures small = measure(1000, 16);
	struct figures middle = measure(100000, 16);
	struct figures large = measure(1000000, 16);

	(void)measure(1000000, 1);
	printf("cost of EXTEND 1k : 100k : 1M = 1 : %.2f : %.2f\n",
		small.extend / middle.extend, small.extend / large.extend);
	printf("cost of ASSIGN+FREE 1k : 100k : 1M = 1 : %.2f : %.2f\n",
		small.pairs / middle.pairs, small.pairs / large.pairs);
	return 0;
}
