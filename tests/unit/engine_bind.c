/* The binding table through the engine's doors: grants, ends, expiry, restore. */
#include "base/err.h"
#include "engine/check.h"
#include "wire/msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NB 0xcb007101U /* 203.0.113.1 */
#define NA 0x0a000001U
#define X1 0x0a00000bU
#define X2 0x0a00000cU

static const struct prefix4 shared = { NB, 32 }, whole = { 0xcb007120, 31 },
			    everyone = { 0, 0 };
static const struct range ports = { 1024, 65535 }, spis = { 256, UINT32_MAX };
static const struct engine_pool pool = { .name = "public",
	.shared = &shared,
	.n_shared = 1,
	.dedicated = &whole,
	.n_dedicated = 1,
	.ports = &ports,
	.n_ports = 1,
	.spis = &spis,
	.n_spis = 1,
	.hold_down_s = 120 };
static const struct engine_policy policy = { .name = "default",
	.match = &everyone,
	.n_match = 1,
	.methods = 1U << METHOD_RSA_IP | 1U << METHOD_RSAP_IP | 1U << METHOD_RSIPSEC,
	.tunnels = 1U << TUNNEL_IPIP | 1U << TUNNEL_GRE,
	.lease_default_s = 3600,
	.lease_max_s = 86400,
	.max_bindings = 64,
	.max_ports = 1024,
	.max_spis = 65536,
	.listen = true };
static const struct engine_conf conf = { .pools = &pool,
	.n_pools = 1,
	.policies = &policy,
	.n_policies = 1,
	.registration_lease_s = 3600,
	.udp = true,
	.tcp = true };

/* What came out since reset(), by the order in which it came. */
static struct {
	char order[256]; /* P persist, p forget, I install, R remove, A audit, > reply */
	size_t n;
	uint8_t bytes[2048];
	size_t len;
	struct wire_msg reply; /* the last one, decoded as a host does */
	bool async;
	struct lease lease; /* last installed; ranges not kept */
} out;

static void reset(void)
{
	memset(&out, 0, sizeof(out));
}

static void collect(void *ctx, const struct effect *e)
{
	static const char letters[] = { [EFFECT_REPLY] = '>',
		[EFFECT_INSTALL] = 'I',
		[EFFECT_REMOVE] = 'R',
		[EFFECT_PERSIST] = 'P',
		[EFFECT_AUDIT] = 'A',
		[EFFECT_RESOLVE] = '?' };

	(void)ctx;
	char letter = letters[e->kind];

	if (e->kind == EFFECT_PERSIST && e->persist.gone)
		letter = 'p';
	if (out.n + 1 < sizeof(out.order))
		out.order[out.n++] = letter;
	if (e->kind == EFFECT_INSTALL)
		out.lease = *e->lease;
	if (e->kind != EFFECT_REPLY)
		return;
	assert_true(e->reply.len <= sizeof(out.bytes));
	memcpy(out.bytes, e->reply.bytes, e->reply.len);
	out.len = e->reply.len;
	out.async = e->reply.async;
	assert_int_equal(
		wire_decode(out.bytes, out.len, SIDE_HOST, false, &out.reply), 0);
}

static void sane(const struct engine *e)
{
	char why[200] = "";

	if (engine_invariants(e, why, sizeof(why)) != 0)
		fail_msg("%s", why);
}

static struct engine *start(void)
{
	struct engine *e = engine_new(&conf, random_seeded(3), collect, NULL);

	assert_non_null(e);
	reset();
	return e;
}

static void send(struct engine *e, uint32_t host, struct wire_msg m, uint32_t counter,
	uint64_t now_ms)
{
	struct peer from = { .transport = TRANSPORT_UDP,
		.addr = host,
		.port = 5000,
		.local = NA,
		.local_port = RSIP_PORT };
	uint8_t bytes[2048];
	int len;

	m.version = RSIP_VERSION_1;
	m.has |= HAS_COUNTER;
	m.counter = counter;
	len = wire_encode(&m, bytes, sizeof(bytes));
	assert_true(len > 0);
	reset();
	engine_message(e, &from, bytes, (size_t)len, now_ms);
	sane(e);
}

static uint32_t enter(struct engine *e, uint32_t host, uint64_t now_ms)
{
	send(e, host, (struct wire_msg){ .type = MSG_REGISTER_REQUEST }, 1, now_ms);
	assert_int_equal(out.reply.type, MSG_REGISTER_RESPONSE);
	return out.reply.client_id;
}

static struct wire_msg request(uint8_t type, uint32_t client)
{
	return (struct wire_msg){ .type = type,
		.has = HAS_CLIENT_ID | HAS_LOCAL | HAS_LOCAL_PORTS | HAS_REMOTE |
		       HAS_REMOTE_PORTS,
		.client_id = client,
		.local = { .type = ADDR_IPV4, .dont_care = true },
		.local_ports = { .form = FORM_DONT_CARE, .number = 4 },
		.remote = { .type = ADDR_IPV4, .dont_care = true },
		.remote_ports = { .form = FORM_DONT_CARE, .number = 1 } };
}

static struct wire_msg named_ports(
	uint8_t type, uint32_t client, uint16_t first, uint8_t number)
{
	struct wire_msg m = request(type, client);

	m.local_ports = (struct wire_ports){
		.form = FORM_BLOCK, .number = number, .first = first
	};
	return m;
}

static struct wire_msg about_bind(uint8_t type, uint32_t client, uint32_t bind)
{
	return (struct wire_msg){ .type = type,
		.has = HAS_CLIENT_ID | HAS_BIND_ID,
		.client_id = client,
		.bind_id = bind };
}

/* P-9.9-01: persist, install, audit, and only then the answer. */
static void test_grant(void **state)
{
	struct engine *e = start();
	uint32_t client = enter(e, X1, 0);

	(void)state;
	assert_string_equal(out.order, "PA>");
	send(e, X1, request(MSG_ASSIGN_REQUEST_RSAP_IP, client), 2, 1000);
	assert_string_equal(out.order, "PPIA>"); /* the registration grew, too */
	assert_int_equal(out.reply.type, MSG_ASSIGN_RESPONSE_RSAP_IP);
	assert_int_equal(out.reply.local.v4, NB);
	assert_int_equal(out.reply.local_ports.form, FORM_BLOCK);
	assert_int_equal(out.reply.local_ports.number, 4);
	assert_int_equal(out.reply.local_ports.first % 4, 0);
	assert_int_equal(out.reply.lease_s, 3600);
	assert_true(out.reply.remote.dont_care);
	assert_int_equal(out.lease.host, X1);
	assert_int_equal(out.lease.gateway, NA);
	assert_int_equal(out.lease.expires_ms, 3601000);
	engine_free(e);
}

/* P-9.12-01, F-6.1-01: what is freed rests, then can be had again. */
static void test_free_and_rest(void **state)
{
	struct engine *e = start();
	uint32_t client = enter(e, X1, 0);

	(void)state;
	send(e, X1, named_ports(MSG_ASSIGN_REQUEST_RSAP_IP, client, 2000, 2), 2, 1000);
	uint32_t bind = out.reply.bind_id;
	send(e, X1, about_bind(MSG_FREE_REQUEST, client, bind), 3, 2000);
	assert_string_equal(out.order, "RpAP>");
	assert_int_equal(out.reply.type, MSG_FREE_RESPONSE);
	send(e, X1, named_ports(MSG_ASSIGN_REQUEST_RSAP_IP, client, 2001, 1), 4, 121999);
	assert_int_equal(out.reply.error, RSIP_LOCAL_ADDRPORT_INUSE);
	send(e, X1, named_ports(MSG_ASSIGN_REQUEST_RSAP_IP, client, 2001, 1), 5, 122000);
	assert_int_equal(out.reply.type, MSG_ASSIGN_RESPONSE_RSAP_IP);
	send(e, X1, about_bind(MSG_FREE_REQUEST, client, bind), 6, 122000);
	assert_int_equal(out.reply.error, RSIP_BAD_BIND_ID);
	assert_int_equal(out.reply.bind_id, bind);
	engine_free(e);
}

/* P-6-06: expiry revokes, tells the data plane and the host. */
static void test_bind_expiry(void **state)
{
	struct engine *e = start();
	uint32_t client = enter(e, X1, 0);
	struct wire_msg m = request(MSG_ASSIGN_REQUEST_RSAP_IP, client);

	(void)state;
	m.has |= HAS_LEASE;
	m.lease_s = 10;
	send(e, X1, m, 2, 0);
	uint32_t bind = out.reply.bind_id;
	assert_int_equal(engine_deadline(e), 10000);
	reset();
	engine_tick(e, 9999);
	assert_int_equal(out.n, 0);
	engine_tick(e, 10000);
	assert_string_equal(out.order, "RpAP>");
	assert_int_equal(out.reply.type, MSG_FREE_RESPONSE);
	assert_int_equal(out.reply.bind_id, bind);
	assert_int_equal(out.reply.counter, 0);
	assert_true(out.async);
	sane(e);
	engine_free(e);
}

/* P-6-07, P-6-05: the registration lasts as long as its longest binding, then says so. */
static void test_registration_expiry(void **state)
{
	struct engine *e = start();
	uint32_t client = enter(e, X1, 0);
	struct wire_msg m = request(MSG_ASSIGN_REQUEST_RSAP_IP, client);

	(void)state;
	m.has |= HAS_LEASE;
	m.lease_s = 7200;
	send(e, X1, m, 2, 0);
	engine_tick(e, 7199999);
	assert_int_equal(engine_counters(e)->registrations, 1);
	reset();
	engine_tick(e, 7200000);
	assert_int_equal(out.reply.type, MSG_DEREGISTER_RESPONSE);
	assert_int_equal(out.reply.client_id, client);
	assert_non_null(strchr(out.order, '>'));
	assert_ptr_equal(strchr(out.order, '>'), out.order + out.n - 1); /* only one */
	assert_int_equal(engine_counters(e)->registrations, 0);
	sane(e);
	engine_free(e);
}

/* F-6.4-01: a second listener of the host shares the port until the last one ends. */
static void test_shared_port(void **state)
{
	struct engine *e = start();
	uint32_t one = enter(e, X1, 0), two = enter(e, X2, 0);
	struct wire_msg m = named_ports(MSG_LISTEN_REQUEST, one, 8080, 1);

	(void)state;
	send(e, X1, m, 2, 0);
	uint32_t first = out.reply.bind_id;
	send(e, X1, m, 3, 0);
	uint32_t second = out.reply.bind_id;
	assert_int_equal(out.reply.type, MSG_LISTEN_RESPONSE);
	assert_int_not_equal(first, second);
	send(e, X2, named_ports(MSG_LISTEN_REQUEST, two, 8080, 1), 2, 0);
	assert_int_equal(out.reply.error, RSIP_LOCAL_ADDRPORT_INUSE);
	send(e, X1, named_ports(MSG_ASSIGN_REQUEST_RSAP_IP, one, 8080, 1), 4, 0);
	assert_int_equal(out.reply.error, RSIP_LOCAL_ADDRPORT_INUSE);
	send(e, X1, about_bind(MSG_FREE_REQUEST, one, first), 5, 0);
	assert_string_equal(out.order, "RpA>"); /* nothing rests yet */
	send(e, X1, about_bind(MSG_FREE_REQUEST, one, second), 6, 0);
	assert_string_equal(out.order, "RpAP>");
	engine_free(e);
}

/* P-9.16-06: a listener on the host's own address is a note that goes with the lease. */
static void test_listen_on_whole_address(void **state)
{
	struct engine *e = start();
	uint32_t client = enter(e, X1, 0);
	struct wire_msg m = request(MSG_ASSIGN_REQUEST_RSA_IP, client);

	(void)state;
	m.has &= ~(uint32_t)HAS_LOCAL_PORTS;
	send(e, X1, m, 2, 0);
	assert_int_equal(out.reply.type, MSG_ASSIGN_RESPONSE_RSA_IP);
	uint32_t address = out.reply.local.v4, bind = out.reply.bind_id;
	assert_in_range(address, 0xcb007120, 0xcb007121);
	m = named_ports(MSG_LISTEN_REQUEST, client, 80, 1);
	m.local = (struct wire_addr){ .type = ADDR_IPV4, .v4 = address };
	send(e, X1, m, 3, 0);
	assert_int_equal(out.reply.type, MSG_LISTEN_RESPONSE);
	assert_int_equal(engine_counters(e)->bindings[METHOD_LISTEN], 1);
	send(e, X1, about_bind(MSG_FREE_REQUEST, client, bind), 4, 0);
	assert_int_equal(out.reply.type, MSG_FREE_RESPONSE);
	assert_int_equal(engine_counters(e)->bindings[METHOD_LISTEN], 0);
	engine_free(e);
}

/* Whole addresses do not rest unless the pool says so: the only one is back at once. */
static void test_whole_address_is_back(void **state)
{
	static const struct prefix4 one = { 0xcb007120, 32 };
	struct engine_pool p = pool;
	struct engine_conf c = conf;
	struct engine *e;

	(void)state;
	p.dedicated = &one;
	c.pools = &p;
	e = engine_new(&c, random_seeded(3), collect, NULL);
	assert_non_null(e);
	uint32_t first = enter(e, X1, 0), second = enter(e, X2, 0);
	struct wire_msg m = request(MSG_ASSIGN_REQUEST_RSA_IP, first);
	m.has &= ~(uint32_t)HAS_LOCAL_PORTS;
	send(e, X1, m, 2, 0);
	uint32_t bind = out.reply.bind_id;
	m.client_id = second;
	send(e, X2, m, 2, 0);
	assert_int_equal(out.reply.error, RSIP_LOCAL_ADDR_UNAVAILABLE);
	send(e, X1, about_bind(MSG_FREE_REQUEST, first, bind), 3, 0);
	send(e, X2, m, 3, 0);
	assert_int_equal(out.reply.type, MSG_ASSIGN_RESPONSE_RSA_IP);
	engine_free(e);
}

/* S-6.2-19, F-5.1-03: one holder of an SPI, whoever asks. */
static void test_named_spi(void **state)
{
	struct engine *e = start();
	uint32_t client = enter(e, X1, 0);
	struct wire_msg m = request(MSG_ASSIGN_REQUEST_RSIPSEC, client);

	(void)state;
	m.has |= HAS_SPI;
	m.local_ports.form = m.remote_ports.form = FORM_DONT_NEED;
	m.spis = (struct wire_spis){
		.form = FORM_BLOCK, .number = 16, .first = 0xc0ffee00
	};
	send(e, X1, m, 2, 0);
	assert_int_equal(out.reply.type, MSG_ASSIGN_RESPONSE_RSIPSEC);
	assert_int_equal(out.reply.local_ports.form, FORM_DONT_NEED);
	assert_int_equal(out.reply.remote_ports.form, FORM_DONT_NEED);
	assert_int_equal(out.reply.spis.first, 0xc0ffee00);
	m.spis = (struct wire_spis){
		.form = FORM_BLOCK, .number = 1, .first = 0xc0ffee0f
	};
	send(e, X1, m, 3, 0);
	assert_int_equal(out.reply.error, RSIP_IPSEC_SPI_INUSE);
	engine_free(e);
}

/* A restart: what the store kept comes back, and what clashes or is past does not. */
static void test_restore(void **state)
{
	static const struct range p = { 2000, 2003 }, s = { 0xc0010000, 0xc00100ff };
	struct registration r = { .client_id = 7,
		.host = X1,
		.peer = { .transport = TRANSPORT_UDP, .addr = X1, .port = 5000 },
		.counters = true,
		.counter = 9,
		.expires_ms = 5000 };
	struct lease l = { .client_id = 7,
		.bind_id = 21,
		.host = X1,
		.gateway = NA,
		.address = NB,
		.method = METHOD_RSIPSEC,
		.tunnel = TUNNEL_IPIP,
		.ports = &p,
		.n_ports = 1,
		.spis = &s,
		.n_spis = 1,
		.expires_ms = 4000 };
	struct engine *e = start();

	(void)state;
	assert_int_equal(engine_restore_lease(e, &l, 1000), ERR_NOTFOUND);
	assert_int_equal(engine_restore_registration(e, &r, 6000), ERR_RANGE);
	assert_int_equal(engine_restore_registration(e, &r, 1000), 0);
	assert_int_equal(engine_restore_registration(e, &r, 1000), ERR_EXISTS);
	assert_int_equal(engine_restore_lease(e, &l, 1000), 0);
	assert_string_equal(out.order, "I");
	assert_int_equal(engine_restore_lease(e, &l, 1000), ERR_EXISTS);
	l.bind_id = 22;
	assert_int_equal(engine_restore_lease(e, &l, 1000), ERR_EXISTS);
	l.expires_ms = 1000;
	assert_int_equal(engine_restore_lease(e, &l, 1000), ERR_RANGE);
	sane(e);
	struct resting rest = { NB, REST_PORT, { 2003, 2004 }, 3000 };
	assert_int_equal(engine_restore_resting(e, &rest, 1000), ERR_EXISTS);
	rest.range = (struct range){ 2004, 2004 };
	assert_int_equal(engine_restore_resting(e, &rest, 1000), 0);
	sane(e);
	/* P-10.1-07: an older counter than before is still stale. */
	reset();
	send(e, X1, about_bind(MSG_EXTEND_REQUEST, 7, 21), 8, 1000);
	assert_int_equal(out.n, 0);
	send(e, X1, about_bind(MSG_EXTEND_REQUEST, 7, 21), 50, 1000);
	assert_int_equal(out.reply.type, MSG_EXTEND_RESPONSE);
	assert_int_equal(out.reply.lease_s, 3600);
	engine_free(e);
}

/* A listener comes back before the whole address that it stands on. */
static void test_restore_listener_first(void **state)
{
	static const struct range p = { 80, 80 };
	struct registration r = { .client_id = 7, .host = X1, .expires_ms = 5000 };
	struct lease listener = { .client_id = 7,
		.bind_id = 1,
		.host = X1,
		.address = 0xcb007120,
		.method = METHOD_LISTEN,
		.tunnel = TUNNEL_IPIP,
		.ports = &p,
		.n_ports = 1,
		.expires_ms = 4000 };
	struct lease owner = listener;
	struct engine *e = start();

	(void)state;
	owner.bind_id = 2;
	owner.method = METHOD_RSA_IP;
	owner.n_ports = 0;
	assert_int_equal(engine_restore_registration(e, &r, 0), 0);
	assert_int_equal(engine_restore_lease(e, &listener, 0), 0);
	sane(e);
	assert_int_equal(engine_restore_lease(e, &owner, 0), 0);
	sane(e);
	engine_tick(e, 4000);
	sane(e);
	assert_int_equal(engine_counters(e)->bindings[METHOD_RSA_IP], 0);
	engine_free(e);
}

/* P-9.5-03: a host whose addresses left the pools is told that it is out. */
static void test_reload_strands(void **state)
{
	static const struct prefix4 elsewhere = { 0xc6336401, 32 };
	struct engine_pool other = pool;
	struct engine_conf changed = conf;
	struct engine *e = start();
	uint32_t one = enter(e, X1, 0);

	(void)state;
	enter(e, X2, 0);
	send(e, X1, request(MSG_ASSIGN_REQUEST_RSAP_IP, one), 2, 0);
	assert_int_equal(engine_reload(e, &conf, 10), 0);
	assert_int_equal(engine_counters(e)->registrations, 2);
	other.shared = &elsewhere;
	changed.pools = &other;
	reset();
	assert_int_equal(engine_reload(e, &changed, 20), 0);
	assert_int_equal(out.reply.type, MSG_DEREGISTER_RESPONSE);
	assert_int_equal(out.reply.client_id, one);
	assert_int_equal(engine_counters(e)->registrations, 1);
	sane(e);
	engine_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grant),
		cmocka_unit_test(test_free_and_rest),
		cmocka_unit_test(test_bind_expiry),
		cmocka_unit_test(test_registration_expiry),
		cmocka_unit_test(test_shared_port),
		cmocka_unit_test(test_listen_on_whole_address),
		cmocka_unit_test(test_whole_address_is_back),
		cmocka_unit_test(test_named_spi),
		cmocka_unit_test(test_restore),
		cmocka_unit_test(test_restore_listener_first),
		cmocka_unit_test(test_reload_strands),
	};

	return cmocka_run_group_tests_name("engine_bind", tests, NULL, NULL);
}
