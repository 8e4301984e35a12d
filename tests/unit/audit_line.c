/* A record of the audit as a line: what is written is what is found. */
#include "audit/line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FROM  1764000000250ULL /* 2025-11-24T16:00:00.250Z */
#define UNTIL 1764000060750ULL

static const struct range ports[] = { { 20480, 20495 }, { 20500, 20500 } };
static const struct range spis[] = { { 0xc0010000, 0xc00100ff } };

static struct lease lease_of(enum lease_method method)
{
	struct lease l = { .client_id = 4294967295U,
		.bind_id = 7,
		.host = 0x0a00000b,
		.address = 0xcb007101,
		.method = method,
		.tunnel = TUNNEL_IPIP };

	if (method == METHOD_RSA_IP)
		return l;
	l.ports = ports;
	l.n_ports = 2;
	l.spis = spis;
	l.n_spis = 1;
	l.remote = (struct remote){ REMOTE_MICRO, 0xc6336407, 443, 0, { 0 } };
	return l;
}

static void test_text(void **state)
{
	static const char want[] =
		"{\"until\":\"2025-11-24T16:01:00.750Z\","
		"\"from\":\"2025-11-24T16:00:00.250Z\",\"reason\":\"operator\","
		"\"client_id\":4294967295,\"bind_id\":7,\"host\":\"10.0.0.11\","
		"\"method\":\"rsipsec\",\"address\":\"203.0.113.1\","
		"\"ports\":\"20480-20495,20500\",\"spis\":\"0xc0010000-0xc00100ff\","
		"\"remote_address\":\"198.51.100.7\",\"remote_ports\":\"443\","
		"\"tunnel\":\"ipip\"}\n";
	struct lease l = lease_of(METHOD_RSIPSEC);
	struct line to = { 0 };

	(void)state;
	assert_int_equal(line_append(&to, &l, END_OPERATOR, FROM, UNTIL), 0);
	assert_int_equal(to.len, sizeof(want) - 1);
	assert_memory_equal(to.at, want, to.len);
	free(to.at);
}

/* Does the record of this method answer? */
static bool answers(enum lease_method method, struct audit_question q)
{
	struct lease l = lease_of(method);
	struct line to = { 0 };
	char needle[64];
	json_t *found;
	bool yes;

	q.address = l.address;
	assert_int_equal(line_append(&to, &l, END_FREED, FROM, UNTIL), 0);
	(void)line_needle(l.address, needle, sizeof(needle));
	assert_non_null(memmem(to.at, to.len, needle, strlen(needle)));
	found = line_match(to.at, to.len - 1, &q);
	yes = found != NULL;
	json_decref(found);
	free(to.at);
	return yes;
}

static bool port(enum lease_method method, uint32_t n)
{
	return answers(method, (struct audit_question){
				       .has_port = true, .port = n, .at_wall_ms = FROM });
}

static bool spi(enum lease_method method, uint32_t n)
{
	return answers(method,
		(struct audit_question){ .has_spi = true, .spi = n, .at_wall_ms = FROM });
}

static bool at(uint64_t wall_ms)
{
	return answers(METHOD_RSAP_IP, (struct audit_question){ .at_wall_ms = wall_ms });
}

static void test_ports_and_spis(void **state)
{
	(void)state;
	assert_true(port(METHOD_RSIPSEC, 20480) && port(METHOD_RSIPSEC, 20495));
	assert_true(port(METHOD_RSIPSEC, 20500));
	assert_false(port(METHOD_RSIPSEC, 20479) || port(METHOD_RSIPSEC, 20496));
	assert_true(spi(METHOD_RSIPSEC, 0xc0010000) && spi(METHOD_RSIPSEC, 0xc00100ff));
	assert_false(spi(METHOD_RSIPSEC, 0xc0010100) || spi(METHOD_RSIPSEC, 256));
	/* a whole address is all of it */
	assert_true(port(METHOD_RSA_IP, 80) && spi(METHOD_RSA_IP, 300));
}

static void test_times(void **state)
{
	(void)state;
	assert_false(at(FROM / 1000 * 1000 - 1));
	assert_true(at(FROM / 1000 * 1000)); /* the second in which it began */
	assert_true(at(UNTIL));
	assert_false(at(UNTIL + 1));
}

static void test_rubbish(void **state)
{
	static const char *const lines[] = { "", "{", "[]", "{\"from\":1}",
		"{\"from\":\"x\",\"until\":\"y\",\"ports\":\"20480\"}" };
	const struct audit_question q = { .has_port = true, .port = 20480 };

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_null(line_match(lines[i], strlen(lines[i]), &q));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_ports_and_spis),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_rubbish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
