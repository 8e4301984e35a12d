/* How much waits for names at once, and what becomes of more. */
#include "engine/check.h"
#include "wire/msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NA    0x0a000001U
#define HOSTS 1030U
#define MOST  1024U /* wait at once */

static const struct prefix4 shared = { 0xcb007101, 32 }, everyone = { 0, 0 };
static const struct range ports = { 1024, 65535 };
static const struct engine_pool pool = {
	.name = "public", .shared = &shared, .n_shared = 1, .ports = &ports, .n_ports = 1
};
static const struct engine_policy policy = { .name = "all",
	.match = &everyone,
	.n_match = 1,
	.methods = 1U << METHOD_RSAP_IP,
	.tunnels = 1U << TUNNEL_IPIP,
	.remote_flow = REMOTE_MACRO,
	.lease_default_s = 600,
	.lease_max_s = 3600,
	.max_bindings = 64,
	.max_ports = 64 };
static const struct engine_conf conf = { .pools = &pool,
	.n_pools = 1,
	.policies = &policy,
	.n_policies = 1,
	.local_networks = &shared,
	.n_local_networks = 1,
	.udp = true,
	.tcp = true };

static struct {
	uint16_t error;
	uint32_t client;
	size_t replies, asked;
	uint64_t token;
} out;

static void collect(void *ctx, const struct effect *e)
{
	bool found;

	(void)ctx;
	if (e->kind == EFFECT_RESOLVE) {
		out.asked++;
		out.token = e->resolve.token;
	}
	if (e->kind != EFFECT_REPLY)
		return;
	out.replies++;
	out.error = e->reply.error;
	out.client = wire_find_u32(e->reply.bytes, e->reply.len, PARAM_CLIENT_ID, &found);
}

static void send(struct engine *e, enum transport transport, uint32_t host,
	struct wire_msg *m, uint64_t now_ms)
{
	struct peer from = { .transport = transport,
		.addr = host,
		.port = 5000,
		.local = NA,
		.local_port = RSIP_PORT,
		.conn = transport == TRANSPORT_TCP ? host : 0 };
	static uint8_t bytes[65536];
	int len;

	m->version = RSIP_VERSION_1;
	m->has |= HAS_COUNTER;
	m->counter++;
	len = wire_encode(m, bytes, sizeof(bytes));
	assert_true(len > 0);
	memset(&out, 0, sizeof(out));
	engine_message(e, &from, bytes, (size_t)len, now_ms);
}

static uint32_t enter(struct engine *e, enum transport transport, uint32_t host)
{
	struct wire_msg m = { .type = MSG_REGISTER_REQUEST };

	send(e, transport, host, &m, 0);
	assert_int_equal(out.replies, 1);
	return out.client;
}

static struct wire_msg assign(uint32_t client)
{
	return (struct wire_msg){ .type = MSG_ASSIGN_REQUEST_RSAP_IP,
		.has = HAS_CLIENT_ID | HAS_LOCAL | HAS_LOCAL_PORTS | HAS_REMOTE |
		       HAS_REMOTE_PORTS,
		.client_id = client,
		.counter = 1,
		.local = { .type = ADDR_IPV4, .dont_care = true },
		.local_ports = { .form = FORM_DONT_CARE, .number = 1 },
		.remote = { .type = ADDR_FQDN, .fqdn = "a.example", .fqdn_len = 9 },
		.remote_ports = { .form = FORM_DONT_CARE, .number = 1 } };
}

static void sane(const struct engine *e)
{
	char why[200] = "";

	if (engine_invariants(e, why, sizeof(why)) != 0)
		fail_msg("%s", why);
}

/* One a host, and 1024 in all: the next is answered at once, as if there were no such
 * name; after 3 s each of them is. */
static void test_most(void **state)
{
	struct engine *e = engine_new(&conf, random_seeded(1), collect, NULL);
	uint32_t clients[HOSTS];

	(void)state;
	assert_non_null(e);
	for (uint32_t i = 0; i < HOSTS; i++)
		clients[i] = enter(e, TRANSPORT_UDP, 0x0a000100 + i);
	for (uint32_t i = 0; i < HOSTS; i++) {
		struct wire_msg m = assign(clients[i]);

		send(e, TRANSPORT_UDP, 0x0a000100 + i, &m, 0);
		assert_int_equal(out.asked, i < MOST);
		assert_int_equal(out.error, i < MOST ? 0 : RSIP_REMOTE_ADDR_UNALLOWED);
		assert_int_equal(out.replies, i >= MOST);
	}
	assert_int_equal(engine_counters(e)->waiting, MOST);
	assert_int_equal(engine_counters(e)->names_refused, HOSTS - MOST);
	sane(e);
	engine_tick(e, 2999);
	assert_int_equal(engine_counters(e)->waiting, MOST);
	memset(&out, 0, sizeof(out));
	engine_tick(e, 3000);
	assert_int_equal(engine_counters(e)->waiting, 0);
	assert_int_equal(out.replies, MOST);
	sane(e);
	engine_free(e);
}

/* A megabyte in all: long requests of hosts over TCP, sixteen behind each that waits. */
static void test_bytes(void **state)
{
	static struct wire_query tuples[4000];
	struct engine *e = engine_new(&conf, random_seeded(1), collect, NULL);

	(void)state;
	assert_non_null(e);
	for (size_t i = 0; i < 4000; i++)
		tuples[i] = (struct wire_query){ .indicator = INDICATOR_ADDRESS,
			.indicator_len = 2,
			.addr = { .type = ADDR_IPV4, .v4 = 0xcb007101 } };
	for (uint32_t i = 0; i < 4; i++) {
		uint32_t client = enter(e, TRANSPORT_TCP, 0x0a000100 + i);
		struct wire_msg m = assign(client);
		struct wire_msg q = { .type = MSG_QUERY_REQUEST,
			.has = HAS_CLIENT_ID | HAS_QUERY,
			.client_id = client,
			.counter = 2,
			.queries = tuples,
			.n_queries = 4000 };
		size_t answers = 0;

		send(e, TRANSPORT_TCP, 0x0a000100 + i, &m, 0);
		for (int k = 0; k < 16; k++) {
			send(e, TRANSPORT_TCP, 0x0a000100 + i, &q, 0);
			answers += out.replies;
		}
		/* 48 KB each: all fit once; where they do not, nobody waits. */
		assert_true(i > 0 || answers == 0);
		assert_true(answers == 0 || answers == 17);
		assert_true(i < 3 || answers == 17);
		sane(e);
	}
	engine_free(e); /* with all that waits */
}

/* Nobody is hurt by an answer that nobody asked for. */
static void test_strange_answers(void **state)
{
	static const uint32_t address = 0xc0000201;
	struct engine *e = engine_new(&conf, random_seeded(1), collect, NULL);
	struct wire_msg m = assign(enter(e, TRANSPORT_UDP, 0x0a000100));
	uint64_t token;

	(void)state;
	send(e, TRANSPORT_UDP, 0x0a000100, &m, 0);
	token = out.token;
	assert_int_not_equal(token, 0);
	memset(&out, 0, sizeof(out));
	engine_resolved(e, 0, &address, 1, 0, 1);
	engine_resolved(e, token + 1, &address, 1, 0, 1);
	assert_int_equal(out.replies, 0);
	engine_resolved(e, token, &address, 1, 0, 1);
	assert_int_equal(out.replies, 1);
	assert_int_equal(out.error, 0);
	engine_resolved(e, token, &address, 1, 0, 1);
	assert_int_equal(out.replies, 1);
	sane(e);
	engine_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_most),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_strange_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
