/*
 * What a configuration becomes: defaults, ranges without the reserved ports, sections in
 * their order.  What is refused, and at which line, is tests/control/test_conf.py's.
 */
#include "conf/arena.h"
#include "conf/conf.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct conf *parse(const char *text)
{
	char why[CONF_WHY] = "";
	struct conf *c = NULL;

	if (conf_parse("f", text, &c, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	return c;
}

/* P-12-01 */
static void defaults(void **state)
{
	struct conf *c = parse("");
	const struct engine_policy *p = c->engine.policies;

	(void)state;
	assert_int_equal(c->n_listen, 1);
	assert_int_equal(c->listen[0].addr, 0);
	assert_int_equal(c->listen[0].port, 4555);
	assert_true(c->engine.tcp && c->engine.udp);
	assert_int_equal(c->engine.tunnel_endpoint, 0);
	assert_int_equal(c->engine.n_local_networks, 0);
	assert_int_equal(c->engine.registration_lease_s, 3600);
	assert_string_equal(c->state_dir, "/var/lib/rsip");
	assert_string_equal(c->control_socket, "/run/rsip/rsipd.sock");
	assert_string_equal(c->driver, "auto");
	assert_string_equal(c->private_interface, "");
	assert_false(c->metrics);
	assert_int_equal(c->engine.n_pools, 0);
	assert_int_equal(c->engine.n_policies, 1);
	assert_int_equal(p->n_match, 1);
	assert_int_equal(p->match[0].len, 0);
	assert_int_equal(p->methods,
		1 << METHOD_RSA_IP | 1 << METHOD_RSAP_IP | 1 << METHOD_RSIPSEC);
	assert_int_equal(p->tunnels, 1 << TUNNEL_IPIP | 1 << TUNNEL_GRE);
	assert_int_equal(p->local_flow, LOCAL_MACRO);
	assert_int_equal(p->remote_flow, REMOTE_NONE);
	assert_int_equal(p->lease_default_s, 3600);
	assert_int_equal(p->lease_max_s, 86400);
	assert_int_equal(p->max_bindings, 64);
	assert_int_equal(p->max_ports, 1024);
	assert_int_equal(p->max_spis, 65536);
	assert_int_equal(p->n_allow + p->n_deny, 0);
	assert_true(p->listen);
	conf_free(c);
}

/* 500, 4500 and 4555 are cut out, and one address starts with 64510 ports. */
static void ports_without_the_reserved(void **state)
{
	struct conf *c = parse("pool a { addresses = { \"203.0.113.1\" } }");
	const struct engine_pool *p = c->engine.pools;

	(void)state;
	assert_int_equal(ranges_count(p->ports, p->n_ports), 64510);
	assert_int_equal(p->n_ports, 3);
	assert_int_equal(p->ports[0].hi, 4499);
	assert_int_equal(p->ports[1].lo, 4501);
	assert_int_equal(p->ports[2].lo, 4556);
	assert_int_equal(p->hold_down_s, 120);
	assert_int_equal(p->spis[0].lo, 256);
	assert_int_equal(p->spis[0].hi, UINT32_MAX);
	conf_free(c);
}

static void ports_at_the_edges(void **state)
{
	static const struct {
		const char *ports;
		size_t n;
		struct range first, last;
	} rows[] = {
		{ "\"500-502\"", 1, { 501, 502 }, { 501, 502 } },
		{ "\"498-500\"", 1, { 498, 499 }, { 498, 499 } },
		{ "\"499-501\"", 2, { 499, 499 }, { 501, 501 } },
		{ "\"1-65535\"", 4, { 1, 499 }, { 4556, 65535 } },
		{ "\"2000-2010\", \"2005-2020\", \"2021\"", 1, { 2000, 2021 },
			{ 2000, 2021 } },
		{ "\"4500\", \"4555-4556\"", 1, { 4556, 4556 }, { 4556, 4556 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[128];
		struct conf *c;
		const struct engine_pool *p;

		(void)snprintf(
			text, sizeof(text), "pool a { ports = { %s } }", rows[i].ports);
		c = parse(text);
		p = c->engine.pools;
		assert_int_equal(p->n_ports, rows[i].n);
		assert_memory_equal(&p->ports[0], &rows[i].first, sizeof(struct range));
		assert_memory_equal(
			&p->ports[p->n_ports - 1], &rows[i].last, sizeof(struct range));
		conf_free(c);
	}
}

static void sections_in_order(void **state)
{
	struct conf *c = parse(
		"policy one { match = { 10.0.0.0/24 } remote-flow = micro lease-max = 7\n"
		"  remote-allow = { \"192.0.2.0/24:80-443\", 198.51.100.1 } }\n"
		"pool second { addresses = { 198.51.100.0/30 } dedicated = { "
		"198.51.100.8 } }\n"
		"policy two { methods = { \"rsap-ip\" } tunnels = { gre } listen = no }\n"
		"pool first { }\n");
	const struct engine_policy *p = c->engine.policies;
	const struct conf_taken *t = c->taken;

	(void)state;
	assert_int_equal(c->engine.n_policies, 2);
	assert_string_equal(p[0].name, "one");
	assert_int_equal(p[0].remote_flow, REMOTE_MICRO);
	assert_int_equal(p[0].lease_default_s, 7); /* never more than the maximum */
	assert_int_equal(p[0].n_allow, 2);
	assert_int_equal(p[0].allow[0].port_lo, 80);
	assert_int_equal(p[0].allow[0].port_hi, 443);
	assert_int_equal(p[0].allow[1].prefix.len, 32);
	assert_int_equal(p[0].allow[1].port_hi, 65535);
	assert_int_equal(p[1].methods, 1 << METHOD_RSAP_IP);
	assert_int_equal(p[1].tunnels, 1 << TUNNEL_GRE);
	assert_false(p[1].listen);
	assert_string_equal(c->engine.pools[0].name, "second");
	assert_string_equal(c->engine.pools[1].name, "first");
	assert_int_equal(t[0].n_addresses, 2);
	assert_int_equal(t[0].addresses[1].addr, 0xc6336408);
	assert_int_equal(t[1].n_addresses, 0);
	conf_free(c);
}

static void a_refused_text_leaves_nothing(void **state)
{
	char why[CONF_WHY] = "", few[8];
	struct conf *c = NULL;

	(void)state;
	assert_int_equal(
		conf_parse("f", "gateway { x = 1 }", &c, why, sizeof(why)), ERR_CONFIG);
	assert_null(c);
	assert_memory_equal(why, "f:1: ", 5);
	/* A small buffer is filled, not overrun. */
	assert_int_equal(
		conf_parse("f", "gateway { x = 1 }", &c, few, sizeof(few)), ERR_CONFIG);
	assert_int_equal(strlen(few), sizeof(few) - 1);
}

static void arena(void **state)
{
	struct arena a = { 0 };
	char *small = arena_text(&a, "text"), *big = arena_alloc(&a, 100000);

	(void)state;
	assert_string_equal(small, "text");
	for (size_t i = 0; i < 100000; i += 999)
		assert_int_equal(big[i], 0);
	memset(big, 1, 100000);
	assert_string_equal(small, "text");
	assert_null(arena_array(&a, SIZE_MAX / 2, 4));
	assert_null(arena_alloc(&a, SIZE_MAX));
	assert_non_null(arena_alloc(&a, 0));
	arena_fini(&a);
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(ports_without_the_reserved),
		cmocka_unit_test(ports_at_the_edges),
		cmocka_unit_test(sections_in_order),
		cmocka_unit_test(a_refused_text_leaves_nothing),
		cmocka_unit_test(arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
