/* rsip-kxd's configuration: what it takes, and what it says of the rest. */
#include "base/err.h"
#include "kxd/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEAD                                                        \
	"kxd {\n"                                                   \
	"  identity = { \"R1.S-net.test\", \"also.s-net.test\" }\n" \
	"  protect = { \"198.51.100.0/24\" }\n"                     \
	"}\n"                                                       \
	"ike { key = \"/etc/rsip/kxd.pem\" }\n"

static struct kxd_conf *good(const char *text)
{
	struct kxd_conf *c = NULL;
	char why[KXD_WHY] = "";
	int err = kxd_conf_parse("f", text, &c, why, sizeof(why));

	if (err != 0)
		print_message("%s\n", why);
	assert_int_equal(err, 0);
	return c;
}

static const struct kx_rule *rule_for(
	const struct kxd_conf *c, const char *addr, uint8_t protocol, uint16_t port)
{
	struct kx_flow f = { .protocol = protocol, .port = port };

	assert_int_equal(kx_addr_parse(addr, &f.destination), 0);
	return kx_policy_find(c->policy, &f);
}

static void test_defaults(void **state)
{
	struct kxd_conf *c = good(HEAD);

	(void)state;
	assert_string_equal(c->identity, "r1.s-net.test");
	assert_int_equal(c->n_self, 2);
	assert_int_equal(c->n_protect, 1);
	assert_string_equal(c->control_socket, "/run/rsip/rsip-kxd.sock");
	assert_string_equal(c->vici, "/run/charon.vici");
	assert_string_equal(c->notify, "/run/charon.enfy");
	assert_false(c->hold || c->protect_own || c->no_forward || c->direct_insecure);
	assert_int_equal(c->limits.ike_ms, 3000);
	assert_int_equal(c->limits.grace_s, 300);
	assert_int_equal(kx_policy_count(c->policy), 0);
	assert_false(c->metrics);
	kxd_conf_free(c);
}

static void test_groups(void **state)
{
	struct kxd_conf *c = good(
		HEAD "group private {\n"
		     "  prefixes = { \"203.0.113.0/24\", \"203.0.113.9/32 tcp 22\" }\n"
		     "  names = { \"d.d-net.test\" }\n"
		     "  failure-ttl = 5\n"
		     "}\n"
		     "group private-or-clear { prefixes = { \"0.0.0.0/0\" } bogus-shunt "
		     "= drop }\n"
		     "group clear { prefixes = { \"203.0.113.9/32 udp 1000 53\" } }\n");
	const struct kx_rule *r = rule_for(c, "203.0.113.9", 6, 22);

	(void)state;
	assert_int_equal(r->group, KX_PRIVATE);
	assert_int_equal(r->failure_ttl_s, 5);
	assert_int_equal(r->failure_most_s, 900);
	assert_int_equal(r->line, 7);
	r = rule_for(c, "192.0.2.1", 17, 53);
	assert_int_equal(r->group, KX_PRIVATE_OR_CLEAR);
	assert_true(r->bogus_drop);
	assert_int_equal(r->failure_ttl_s, 60);
	assert_int_equal(kx_policy_count(c->policy), 5);
	kxd_conf_free(c);
}

static void test_bad(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ "", "f: kxd: no identity" },
		{ "kxd { identity = { \"a.b\" } }", "f: kxd: protect is empty" },
		{ "kxd { identity = { \"a.b\" } protect = { \"10.0.0.0/8\" } }",
			"f: ike: no key" },
		{ "kxd {\n identity = { \".\" } }", "f:2: identity \".\" is not" },
		{ "kxd {\n\n protect = { \"10.0.0.1/8\" } }",
			"f:3: protect \"10.0.0.1/8\" is not" },
		{ "kxd { hold = maybe }", "f:1: hold \"maybe\" is not true or false" },
		{ "kxd { what = 1 }", "f:1: no such option 'what'" },
		{ "group purple { prefixes = { \"10.0.0.0/8\" } }",
			"f:1: group \"purple\" is not private" },
		{ HEAD "group private { prefixes = { \"10.0.0.0/8 icmp 8\" } }",
			"f:6: ports need tcp, udp or sctp" },
		{ HEAD "group private { prefixes = { \"10.0.0.0/8\" } }\n"
		       "group clear { prefixes = { \"10.0.0.0/8\" } }",
			"f:7: the same destination is in another group, line 6" },
		{ HEAD "group private { prefixes = { \"2001:db8::/32\" } }",
			"f:6: prefixes \"2001:db8::/32\" is not" },
		{ HEAD "group private { prefixes = { \"10.0.0.0/8 tcp 1 2 3\" } }",
			"f:6: prefixes" },
		{ HEAD "group private { failure-shunt = hold }",
			"f:6: failure-shunt \"hold\" is not" },
		{ HEAD "group private { negotiation-shunt = none }",
			"f:6: negotiation-shunt \"none\" is not" },
		{ HEAD "group private { failure-ttl = 1000 }",
			"f: group private: failure-max is less" },
		{ HEAD "group clear { names = { \"a..b\" } }", "f:6: names \"a..b\" is" },
		{ HEAD "limits { lookups = 0 }", "f:6: lookups \"0\" is not a number" },
		{ HEAD "limits { ike-ms = 20000 }", "f: limits: the whole is shorter" },
		{ HEAD "dns { validation-time = 2020 }",
			"f:6: validation-time \"2020\" is not YYYYMMDDHHMMSS" },
		{ HEAD "metrics { listen = \"localhost\" }",
			"f:6: listen \"localhost\" is not ADDRESS:PORT" },
		{ HEAD "group purple { }", "f:6: group \"purple\" is not private" },
		{ HEAD "group private {", "f: a brace has no end" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct kxd_conf *c = NULL;
		char why[KXD_WHY] = "";

		if (kxd_conf_parse("f", rows[i].text, &c, why, sizeof(why)) == 0)
			fail_msg("row %zu is taken", i);
		if (strncmp(why, rows[i].why, strlen(rows[i].why)) != 0)
			print_message("row %zu: \"%s\"\n", i, why);
		assert_int_equal(strncmp(why, rows[i].why, strlen(rows[i].why)), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
