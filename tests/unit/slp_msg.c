/*
 * Messages of the Service Location Protocol: bytes worked out by hand from RFC 2608
 * section 8, and whatever a stranger may send.
 */
#include "base/err.h"
#include "slp/msg.h"
#include "slp/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* SrvRqst, multicast, "service:rsip" in scope DEFAULT. */
static const uint8_t request[] = { 2, 1, 0, 0, 49, 0x20, 0, 0, 0, 0, 0x12, 0x34, 0, 2,
	'e', 'n', 0, 0, 0, 12, 's', 'e', 'r', 'v', 'i', 'c', 'e', ':', 'r', 's', 'i', 'p',
	0, 7, 'D', 'E', 'F', 'A', 'U', 'L', 'T', 0, 4, '(', 'a', '=', ')', 0, 0 };

/* SrvRply with two URLs, the first with an authentication block of six bytes. */
static const uint8_t reply[] = { 2, 2, 0, 0, 54, 0, 0, 0, 0, 0, 7, 7, 0, 2, 'e', 'n', 0,
	0, 0, 2, 0, 0, 60, 0, 5, 'a', ':', '/', '/', 'b', 1, 0, 2, 0, 6, 9, 9, 0, 0, 61,
	0, 8, 'c', ':', '/', '/', 'd', 'd', 'd', 'd', 0, 0, 0, 0 };

static void expect(struct slp_text got, const char *want)
{
	assert_int_equal(got.len, strlen(want));
	if (got.len > 0)
		assert_memory_equal(got.at, want, got.len);
}

static void test_request(void **state)
{
	struct slp_msg m;
	uint8_t out[sizeof(request)];

	(void)state;
	assert_int_equal(slp_decode(request, sizeof(request), &m), 0);
	assert_int_equal(m.function, SLP_SRV_RQST);
	assert_int_equal(m.flags, SLP_MULTICAST);
	assert_int_equal(m.xid, 0x1234);
	expect(m.language, "en");
	expect(m.responders, "");
	expect(m.type, "service:rsip");
	expect(m.scopes, "DEFAULT");
	expect(m.predicate, "(a=)");
	assert_int_equal(slp_encode(&m, out, sizeof(out)), sizeof(request));
	assert_memory_equal(out, request, sizeof(request));
	assert_int_equal(slp_encode(&m, out, sizeof(out) - 1), 0);
}

static void test_reply_with_authentication(void **state)
{
	struct slp_msg m;

	(void)state;
	assert_int_equal(slp_decode(reply, 51, &m), ERR_MALFORMED);
	assert_int_equal(slp_decode(reply, sizeof(reply), &m), 0);
	assert_int_equal(m.n_urls, 2);
	expect(m.urls[0].url, "a://b");
	assert_int_equal(m.urls[0].lifetime_s, 60);
	expect(m.urls[1].url, "c://dddd");
	assert_int_equal(m.urls[1].lifetime_s, 61);
}

/* Every function there and back, every field filled. */
static void test_round_trip(void **state)
{
	const struct slp_msg in = {
		.flags = SLP_FRESH,
		.xid = 9,
		.language = slp_text("de"),
		.boot = 77,
		.responders = slp_text("10.0.0.1"),
		.type = slp_text("service:rsip"),
		.scopes = slp_text("A,B"),
		.predicate = slp_text("(x=1)"),
		.spi = slp_text("s"),
		.url = slp_text("service:rsip://10.0.0.1"),
		.tags = slp_text("load"),
		.attributes = slp_text("(load=3)"),
		.urls = { { 65535, { "service:rsip://10.0.0.1", 23 } } },
		.n_urls = 1,
	};

	(void)state;
	for (int f = SLP_SRV_RQST; f <= SLP_SA_ADVERT; f++) {
		uint8_t buf[512], again[512];
		struct slp_msg m = in, out;
		size_t len;

		m.function = (enum slp_function)f;
		len = slp_encode(&m, buf, sizeof(buf));
		assert_true(len > 16);
		assert_int_equal(slp_decode(buf, len, &out), 0);
		assert_int_equal(out.function, f);
		assert_int_equal(slp_encode(&out, again, sizeof(again)), len);
		assert_memory_equal(again, buf, len);
		/* cut anywhere it is no message, whatever its length says */
		for (size_t cut = 0; cut < len; cut++) {
			memcpy(again, buf, len);
			assert_int_equal(slp_decode(again, cut, &out), ERR_MALFORMED);
			again[3] = (uint8_t)(cut >> 8);
			again[4] = (uint8_t)cut;
			assert_int_equal(slp_decode(again, len, &out), ERR_MALFORMED);
		}
	}
}

static void test_refused(void **state)
{
	uint8_t bad[sizeof(request)];
	struct slp_msg m;

	(void)state;
	memcpy(bad, request, sizeof(bad));
	bad[0] = 1;
	assert_int_equal(slp_decode(bad, sizeof(bad), &m), ERR_VERSION);
	bad[0] = 2;
	bad[1] = 0;
	assert_int_equal(slp_decode(bad, sizeof(bad), &m), ERR_UNSUPPORTED);
	bad[1] = 12;
	assert_int_equal(slp_decode(bad, sizeof(bad), &m), ERR_UNSUPPORTED);
	assert_int_equal(slp_decode(NULL, 0, &m), ERR_MALFORMED);
}

/* --- texts ----------------------------------------------------------------------------
 */

static void test_lists(void **state)
{
	(void)state;
	assert_true(slp_list_has(slp_text("a, B ,c"), slp_text("b")));
	assert_false(slp_list_has(slp_text("ab,c"), slp_text("b")));
	assert_false(slp_list_has(slp_text(""), slp_text("b")));
	assert_true(slp_lists_meet(slp_text("x,y"), slp_text("z,Y")));
	assert_false(slp_lists_meet(slp_text("x"), slp_text("")));
}

#define ALL "(ipsec-support=true),(tunnel-type=IP-IP,GRE),(transport=TCP),(load=17),flag"

static void test_attributes(void **state)
{
	char buf[80];
	struct slp_text all = slp_text(ALL);

	(void)state;
	expect(slp_attribute(all, "Tunnel-Type"), "IP-IP,GRE");
	expect(slp_attribute(all, "flag"), "");
	assert_non_null(slp_attribute(all, "flag").at);
	assert_null(slp_attribute(all, "none").at);
	assert_int_equal(slp_attribute_percent(all, "LOAD"), 17);
	assert_int_equal(slp_attribute_percent(all, "transport"), -1);
	assert_int_equal(slp_attribute_percent(slp_text("(load=101)"), "load"), -1);
	assert_int_equal(slp_attribute_percent(slp_text("(load=-1)"), "load"), -1);
	expect((struct slp_text){ buf,
		       slp_attributes_pick(all, slp_text("load,tr*"), buf, sizeof(buf)) },
		"(transport=TCP),(load=17)");
	expect((struct slp_text){ buf,
		       slp_attributes_pick(all, slp_text("load,transport"), buf, 17) },
		"(transport=TCP)");
}

static const struct {
	const char *predicate;
	int result;
	bool holds;
} predicates[] = {
	{ "", 0, true },
	{ "(ipsec-support=true)", 0, true },
	{ "(IPSEC-Support=TRUE)", 0, true },
	{ "(ipsec-support=false)", 0, false },
	{ "(tunnel-type=GRE)", 0, true },
	{ "(tunnel-type=L2TP)", 0, false },
	{ "(tunnel-type=*)", 0, true },
	{ "(other=*)", 0, false },
	{ "(tunnel-type=i*p)", 0, true },
	{ "(load<=17)", 0, true },
	{ "(load<=16)", 0, false },
	{ "(load>=17)", 0, true },
	{ "(load>=18)", 0, false },
	{ "(transport>=17)", 0, false },
	{ "(&(ipsec-support=true)(tunnel-type=IP-IP))", 0, true },
	{ "(&(ipsec-support=true)(tunnel-type=L2TP))", 0, false },
	{ "(|(ipsec-support=no)(load=17))", 0, true },
	{ "(!(load=17))", 0, false },
	{ "(!(|(load=1)(load=2)))", 0, true },
	{ "(!(load=1)(load=2))", ERR_MALFORMED, false },
	{ "(&)", ERR_MALFORMED, false },
	{ "(load", ERR_MALFORMED, false },
	{ "load=17", ERR_MALFORMED, false },
	{ "(load=17)x", ERR_MALFORMED, false },
	{ "(=17)", ERR_MALFORMED, false },
	{ "(!(!(!(!(!(!(!(a=1))))))))", 0, true },
	{ "(!(!(!(!(!(!(!(!(a=1)))))))))", ERR_MALFORMED, false },
};

static void test_predicates(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(predicates) / sizeof(predicates[0]); i++) {
		bool holds = false;
		int err = slp_predicate(
			slp_text(predicates[i].predicate), slp_text(ALL), &holds);

		if (err != predicates[i].result ||
			(err == 0 && holds != predicates[i].holds))
			fail_msg("%s: %d, %d", predicates[i].predicate, err, holds);
	}
}

/* L-4-06, A-L-01 */
static void test_urls(void **state)
{
	uint32_t addr;
	uint16_t port;

	(void)state;
	assert_int_equal(
		slp_url_parse(slp_text("service:rsip://10.0.0.1"), &addr, &port), 0);
	assert_int_equal(addr, 0x0a000001);
	assert_int_equal(port, 4555);
	assert_int_equal(
		slp_url_parse(slp_text("service:RSIP://10.0.0.1:4455/"), &addr, &port),
		0);
	assert_int_equal(port, 4455);
	assert_int_equal(
		slp_url_parse(slp_text("service:rsip://gw.example"), &addr, &port),
		ERR_UNSUPPORTED);
	assert_int_equal(
		slp_url_parse(slp_text("service:rsip://"), &addr, &port), ERR_MALFORMED);
	assert_int_equal(slp_url_parse(slp_text("service:lpr://10.0.0.1"), &addr, &port),
		ERR_MALFORMED);
	assert_int_equal(slp_url_parse(slp_text("service:rsip://0.0.0.0"), &addr, &port),
		ERR_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_reply_with_authentication),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_predicates),
		cmocka_unit_test(test_urls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
