/*
 * The gateway's service agent: whom it answers, what, and how it keeps directory agents
 * informed, with a clock of the test's.
 */
#include "slp/agent.h"
#include "slp/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define US   0x0a000001 /* 10.0.0.1 */
#define HOST 0x0a00000b
#define DA   0x0a0000da
#define ATTR "(ipsec-support=true),(tunnel-type=IP-IP,GRE),(transport=TCP)"

static struct slp_agent agent;
/* What was sent last, and how often. */
static struct {
	uint32_t to;
	uint16_t port;
	uint8_t bytes[SLP_DATAGRAM];
	struct slp_msg m;
	size_t n;
} sent;

static void on_send(
	void *ctx, uint32_t to, uint16_t port, const uint8_t *bytes, size_t len)
{
	(void)ctx;
	sent.to = to;
	sent.port = port;
	memcpy(sent.bytes, bytes, len);
	assert_int_equal(slp_decode(sent.bytes, len, &sent.m), 0);
	sent.n++;
}

static void start(const uint32_t *das, size_t n)
{
	const struct slp_agent_conf conf = { .scopes = "A,rsip",
		.address = US,
		.port = 4555,
		.das = das,
		.n_das = n,
		.lifetime_s = 600,
		.send = on_send };

	memset(&sent, 0, sizeof(sent));
	slp_agent_init(&agent, &conf, 1000);
	slp_agent_update(&agent, ATTR, 10, 1000);
}

static void hear(uint32_t from, const struct slp_msg *m, uint64_t now_ms)
{
	uint8_t buf[SLP_DATAGRAM];
	size_t len = slp_encode(m, buf, sizeof(buf));

	sent.n = 0;
	slp_agent_input(&agent, from, 5000, US, buf, len, now_ms);
}

static struct slp_msg ask(enum slp_function f, const char *scopes)
{
	return (struct slp_msg){ .function = f,
		.xid = 42,
		.scopes = slp_text(scopes),
		.type = slp_text("service:rsip"),
		.url = slp_text("service:rsip") };
}

static void expect(struct slp_text got, const char *want)
{
	assert_int_equal(got.len, strlen(want));
	assert_memory_equal(got.at, want, got.len);
}

/* L-4-01, L-5-01 */
static void test_services(void **state)
{
	struct slp_msg m = ask(SLP_SRV_RQST, "RSIP");

	(void)state;
	start(NULL, 0);
	m.flags = SLP_MULTICAST;
	m.predicate = slp_text("(&(ipsec-support=true)(tunnel-type=IP-IP))");
	hear(HOST, &m, 2000);
	assert_int_equal(sent.n, 1);
	assert_int_equal(sent.to, HOST);
	assert_int_equal(sent.port, 5000);
	assert_int_equal(sent.m.function, SLP_SRV_RPLY);
	assert_int_equal(sent.m.xid, 42);
	assert_int_equal(sent.m.n_urls, 1);
	expect(sent.m.urls[0].url, "service:rsip://10.0.0.1");
	assert_int_equal(sent.m.urls[0].lifetime_s, 600);
	/* once is enough */
	m.responders = slp_text("10.0.0.9,10.0.0.1");
	hear(HOST, &m, 2000);
	assert_int_equal(sent.n, 0);
	/* to many only an answer that helps, to one any */
	m = ask(SLP_SRV_RQST, "other");
	m.flags = SLP_MULTICAST;
	hear(HOST, &m, 2000);
	assert_int_equal(sent.n, 0);
	m.flags = 0;
	hear(HOST, &m, 2000);
	assert_int_equal(sent.n, 1);
	assert_int_equal(sent.m.error, SLP_SCOPE_NOT_SUPPORTED);
	m = ask(SLP_SRV_RQST, "A");
	m.predicate = slp_text("(tunnel-type=L2TP)");
	hear(HOST, &m, 2000);
	assert_int_equal(sent.m.error, SLP_OK);
	assert_int_equal(sent.m.n_urls, 0);
	m.predicate = slp_text("(((");
	hear(HOST, &m, 2000);
	assert_int_equal(sent.m.error, SLP_PARSE_ERROR);
	m = ask(SLP_SRV_RQST, "A");
	m.type = slp_text("service:printer");
	hear(HOST, &m, 2000);
	assert_int_equal(sent.m.n_urls, 0);
}

/* L-6-01, L-7-01 */
static void test_attributes(void **state)
{
	struct slp_msg m = ask(SLP_ATTR_RQST, "A");

	(void)state;
	start(NULL, 0);
	hear(HOST, &m, 2000);
	assert_int_equal(sent.m.function, SLP_ATTR_RPLY);
	expect(sent.m.attributes, ATTR ",(load=10)");
	m.url = slp_text("service:rsip://10.0.0.1");
	m.tags = slp_text("LOAD");
	slp_agent_update(&agent, ATTR, 63, 3000);
	hear(HOST, &m, 3000);
	expect(sent.m.attributes, "(load=63)");
	m.url = slp_text("service:rsip://10.0.0.2");
	hear(HOST, &m, 3000);
	assert_int_equal(sent.m.attributes.len, 0);
}

static void test_types_and_agent(void **state)
{
	struct slp_msg m = ask(SLP_TYPE_RQST, "A");

	(void)state;
	start(NULL, 0);
	hear(HOST, &m, 2000);
	assert_int_equal(sent.m.function, SLP_TYPE_RPLY);
	expect(sent.m.type, "service:rsip");
	m = ask(SLP_SRV_RQST, "");
	m.type = slp_text("service:service-agent");
	m.flags = SLP_MULTICAST;
	hear(HOST, &m, 2000);
	assert_int_equal(sent.m.function, SLP_SA_ADVERT);
	expect(sent.m.url, "service:service-agent://10.0.0.1");
	expect(sent.m.scopes, "A,rsip");
}

static void test_flood_is_limited(void **state)
{
	struct slp_msg m = ask(SLP_SRV_RQST, "A");
	size_t answers = 0;

	(void)state;
	start(NULL, 0);
	for (int i = 0; i < 1000; i++) {
		hear(HOST, &m, 2000);
		answers += sent.n;
	}
	assert_int_equal(answers, 200);
	assert_int_equal(agent.counters.limited, 800);
	hear(HOST, &m, 3000);
	assert_int_equal(sent.n, 1);
}

static void ack(uint16_t error, uint64_t now_ms)
{
	const struct slp_msg m = {
		.function = SLP_SRV_ACK, .xid = agent.das[0].xid, .error = error
	};

	hear(DA, &m, now_ms);
}

/* L-4-03: registered, refreshed at half of the lifetime, repeated until acknowledged. */
static void test_configured_directory_agent(void **state)
{
	const uint32_t das[] = { DA };
	uint16_t xid;

	(void)state;
	start(das, 1);
	slp_agent_tick(&agent, 1000);
	assert_int_equal(sent.to, DA);
	assert_int_equal(sent.port, SLP_PORT);
	assert_int_equal(sent.m.function, SLP_SRV_REG);
	assert_int_equal(sent.m.flags, SLP_FRESH);
	expect(sent.m.attributes, ATTR ",(load=10)");
	expect(sent.m.urls[0].url, "service:rsip://10.0.0.1");
	xid = sent.m.xid;
	sent.n = 0;
	slp_agent_tick(&agent, 2999);
	assert_int_equal(sent.n, 0);
	agent.look_ms = UINT64_MAX;
	slp_agent_tick(&agent, 3000);
	assert_int_equal(sent.n, 1);
	assert_int_equal(sent.m.xid, xid);
	ack(SLP_OK, 3100);
	assert_true(agent.das[0].registered);
	assert_int_equal(agent.counters.registered, 1);
	assert_int_equal(slp_agent_deadline(&agent), 3100 + 300000);
	slp_agent_tick(&agent, 303100);
	assert_int_equal(sent.m.function, SLP_SRV_REG);
	assert_int_not_equal(sent.m.xid, xid);
}

/* A-L-11 */
static void test_load_is_told(void **state)
{
	const uint32_t das[] = { DA };

	(void)state;
	start(das, 1);
	slp_agent_tick(&agent, 1000);
	agent.look_ms = UINT64_MAX;
	ack(SLP_OK, 1100);
	sent.n = 0;
	slp_agent_update(&agent, ATTR, 90, 30000);
	assert_int_equal(sent.n, 0); /* within the minute */
	slp_agent_update(&agent, ATTR, 14, 62000);
	assert_int_equal(sent.n, 0); /* by four */
	slp_agent_update(&agent, ATTR, 15, 62000);
	assert_int_equal(sent.n, 1);
	expect(sent.m.attributes, ATTR ",(load=15)");
}

static void test_silent_directory_agent(void **state)
{
	const uint32_t das[] = { DA };
	uint64_t now = 1000;

	(void)state;
	start(das, 1);
	slp_agent_tick(&agent, now);
	agent.look_ms = UINT64_MAX;
	sent.n = 0;
	while (agent.counters.unregistered == 0) {
		now = slp_agent_deadline(&agent);
		slp_agent_tick(&agent, now);
	}
	assert_int_equal(sent.n, 3); /* after 2, 6 and 14 s */
	assert_int_equal(agent.n_das, 1);
	/* one that was configured is tried again */
	now = slp_agent_deadline(&agent);
	slp_agent_tick(&agent, now);
	assert_int_equal(sent.n, 4);
}

static void advert(uint32_t boot, const char *scopes, uint64_t now_ms)
{
	const struct slp_msg m = { .function = SLP_DA_ADVERT,
		.boot = boot,
		.url = slp_text("service:directory-agent://10.0.0.218"),
		.scopes = slp_text(scopes) };

	hear(DA, &m, now_ms);
}

static void test_found_directory_agent(void **state)
{
	(void)state;
	start(NULL, 0);
	slp_agent_tick(&agent, 1000);
	assert_int_equal(sent.to, SLP_GROUP);
	assert_int_equal(sent.m.function, SLP_SRV_RQST);
	assert_true((sent.m.flags & SLP_MULTICAST) != 0);
	expect(sent.m.type, "service:directory-agent");
	advert(5, "else", 1200);
	assert_int_equal(agent.n_das, 0);
	advert(5, "a", 1200);
	assert_int_equal(sent.m.function, SLP_SRV_REG);
	assert_int_equal(sent.to, DA);
	ack(SLP_OK, 1300);
	advert(5, "a", 1400);
	assert_int_equal(sent.n, 0); /* knows us */
	advert(6, "a", 1500);
	assert_int_equal(sent.n, 1); /* has started anew */
	ack(SLP_OK, 1600);
	slp_agent_end(&agent);
	assert_int_equal(sent.m.function, SLP_SRV_DEREG);
	advert(0, "a", 1700);
	assert_int_equal(agent.n_das, 0);
	/* refused: forgotten */
	advert(7, "a", 1800);
	ack(SLP_INVALID_REGISTRATION, 1900);
	assert_int_equal(agent.n_das, 0);
}

static void test_rubbish(void **state)
{
	unsigned int seed = 3;

	(void)state;
	start(NULL, 0);
	for (int i = 0; i < 20000; i++) {
		uint8_t bytes[64] = { 2, (uint8_t)(rand_r(&seed) % 13), 0, 0, 64 };

		for (size_t at = 5; at < sizeof(bytes); at++)
			bytes[at] = rand_r(&seed) % 3 ? 0 : (uint8_t)rand_r(&seed);
		slp_agent_input(&agent, HOST, 5000, US, bytes, sizeof(bytes), 2000);
	}
	assert_int_equal(agent.counters.received, 20000);
	assert_true(agent.counters.malformed > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_services),
		cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_types_and_agent),
		cmocka_unit_test(test_flood_is_limited),
		cmocka_unit_test(test_configured_directory_agent),
		cmocka_unit_test(test_load_is_told),
		cmocka_unit_test(test_silent_directory_agent),
		cmocka_unit_test(test_found_directory_agent),
		cmocka_unit_test(test_rubbish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
