/* Names, addresses and RDATA: bounds, canonical form, text; and the DNS vectors. */
#include "kx/policy.h"
#include "kx/rr.h"
#include "vectors.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* K-3-01, K-3.1-01: the vectors of kinds dns-rdata and dns-rdata-malformed. */
static void test_vectors(void **state)
{
	struct vectors set;
	size_t good = 0, bad = 0;

	(void)state;
	vectors_load(&set, VECTORS);
	for (size_t i = 0; i < set.n; i++) {
		const struct vector *v = &set.list[i];
		char name[KX_NAME_TEXT];
		struct kx_rr rr;
		int err;

		if (strncmp(v->kind, "dns-rdata", 9) != 0)
			continue;
		err = kx_rr_decode(v->bytes, v->len, &rr);
		if (strcmp(v->kind, "dns-rdata") != 0) {
			assert_int_equal(err, ERR_MALFORMED);
			bad++;
			continue;
		}
		assert_int_equal(err, 0);
		assert_int_equal(vector_int(v->fields, "type"), KX_T_KX);
		assert_int_equal(rr.preference, vector_int(v->fields, "preference"));
		assert_string_equal(kx_name_format(&rr.exchanger, name),
			vector_text(v->fields, "exchanger"));
		assert_int_equal(v->len, vector_int(v->fields, "rdlength"));
		good++;
	}
	vectors_free(&set);
	assert_true(good >= 1);
	assert_true(bad >= 1);
}

/* Every length but the right one is refused; no byte behind is read (sanitizers see). */
static void test_every_length(void **state)
{
	static const struct {
		uint16_t type;
		const char *text;
	} rows[] = {
		{ KX_T_KX, "10 gw.example.net." },
		{ KX_T_PTR, "gw.example.net." },
		{ KX_T_A, "192.0.2.1" },
		{ KX_T_AAAA, "2001:db8::1" },
		{ KX_T_SRV, "1 2 5400 gw.example.net." },
		{ KX_T_IPSECKEY, "10 0 0 ." },
		{ KX_T_IPSECKEY, "10 1 0 192.0.2.1" },
		{ KX_T_IPSECKEY, "10 2 0 2001:db8::1" },
		{ KX_T_IPSECKEY, "10 3 0 gw.example.net." },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t whole[300];
		char text[600];
		size_t len;

		assert_int_equal(kx_rdata_parse(rows[i].type, rows[i].text, whole,
					 sizeof(whole) - 1, &len),
			0);
		whole[len] = 0;
		for (size_t n = 0; n <= len + 1; n++) {
			uint8_t *exact = malloc(n != 0 ? n : 1);

			assert_non_null(exact);
			memcpy(exact, whole, n);
			(void)kx_rdata_format(rows[i].type, exact, n, text, sizeof(text));
			if (n == len)
				assert_string_equal(text, rows[i].text);
			else
				assert_memory_equal(text, "\\# ", 3);
			free(exact);
		}
	}
}

/* K-3-08: both forms of text. */
static void test_text(void **state)
{
	static const char *const refused[] = { "gw.example.net.", "70000 gw.", "-1 gw.",
		"10 gw..net.", "10 gw. x", "10 \\# 1 00", "\\# 3 000a", "\\# 1 0g", "" };
	uint8_t rdata[300];
	char text[600];
	size_t len;

	(void)state;
	assert_int_equal(kx_rdata_parse(KX_T_KX, "\\# 7 000a 02", rdata, 300, &len),
		ERR_MALFORMED);
	assert_int_equal(
		kx_rdata_parse(KX_T_KX, "\\# 6 000A02675700", rdata, 300, &len), 0);
	assert_int_equal(len, 6);
	assert_string_equal(
		kx_rdata_format(KX_T_KX, rdata, len, text, sizeof(text)), "10 gw.");
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_int_equal(
			kx_rdata_parse(KX_T_KX, refused[i], rdata, sizeof(rdata), &len),
			ERR_MALFORMED);
	assert_int_equal(kx_rdata_parse(KX_T_KX, "10 gw.example.net.", rdata, 17, &len),
		ERR_NOSPACE);
}

static void test_names(void **state)
{
	static const struct {
		const char *text, *again; /* again NULL: refused */
	} rows[] = {
		{ ".", "." },
		{ "A.B", "a.b." },
		{ "a\\.b.c", "a\\046b.c." },
		{ "a\\032\\000b.", "a\\032\\000b." },
		{ "\\255.", "\\255." },
		{ "a..b", NULL },
		{ ".a", NULL },
		{ "", NULL },
		{ "a\\25", NULL },
		{ "a\\256", NULL },
		{ "a\\", NULL },
	};
	char text[KX_NAME_TEXT], longest[300];
	struct kx_name name, other;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int err = kx_name_parse(rows[i].text, &name);

		assert_int_equal(err, rows[i].again != NULL ? 0 : ERR_MALFORMED);
		if (err == 0)
			assert_string_equal(kx_name_format(&name, text), rows[i].again);
	}
	/* 255 bytes are a name, 256 are none; 63 a label, 64 none. */
	memset(longest, 'a', sizeof(longest));
	longest[63] = longest[127] = longest[191] = '.';
	longest[253] = 0;
	assert_int_equal(kx_name_parse(longest, &name), 0);
	assert_int_equal(name.len, 255);
	longest[253] = 'a';
	longest[254] = 0;
	assert_int_equal(kx_name_parse(longest, &name), ERR_MALFORMED);
	memset(longest, 'a', 64);
	longest[64] = 0;
	assert_int_equal(kx_name_parse(longest, &name), ERR_MALFORMED);
	/* Order of RFC 4034 6.1, and what lies below what. */
	assert_int_equal(kx_name_parse("z.example", &name), 0);
	assert_int_equal(kx_name_parse("a.z.example", &other), 0);
	assert_true(kx_name_compare(&name, &other) < 0);
	assert_true(kx_name_within(&other, &name));
	assert_false(kx_name_within(&name, &other));
	assert_int_equal(kx_name_parse("yz.example", &other), 0);
	assert_false(kx_name_within(&other, &name));
	assert_int_equal(kx_name_prefix("_isakmp._udp", &name, &other), 0);
	assert_string_equal(kx_name_format(&other, text), "_isakmp._udp.z.example.");
}

static void test_reverse(void **state)
{
	static const struct {
		const char *addr, *name;
	} rows[] = {
		{ "203.0.113.10", "10.113.0.203.in-addr.arpa." },
		{ "2001:db8::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."
				 "8.b.d.0.1.0.0.2.ip6.arpa." },
	};
	static const char *const refused[] = { "01.113.0.203.in-addr.arpa",
		"256.113.0.203.in-addr.arpa", "113.0.203.in-addr.arpa",
		"10.113.0.203.ip6.arpa", "+1.113.0.203.in-addr.arpa", "a.b.c.d.e.f" };
	char text[KX_NAME_TEXT];
	struct kx_addr a, b;
	struct kx_name n;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(kx_addr_parse(rows[i].addr, &a), 0);
		kx_addr_reverse(&a, &n);
		assert_string_equal(kx_name_format(&n, text), rows[i].name);
		assert_int_equal(kx_addr_from_reverse(&n, &b), 0);
		assert_true(kx_addr_same(&a, &b));
	}
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		assert_int_equal(kx_name_parse(refused[i], &n), 0);
		assert_int_equal(kx_addr_from_reverse(&n, &b), ERR_MALFORMED);
	}
}

static void test_prefixes(void **state)
{
	static const struct {
		const char *text;
		int err;
	} rows[] = {
		{ "0.0.0.0/0", 0 },
		{ "203.0.113.10", 0 },
		{ "2001:db8::/32", 0 },
		{ "203.0.113.10/24", ERR_RANGE },
		{ "203.0.113.0/33", ERR_RANGE },
		{ "203.0.113.0/", ERR_MALFORMED },
		{ "203.0.113.0/2x", ERR_MALFORMED },
		{ "d.example", ERR_MALFORMED },
	};
	struct kx_prefix p, q;
	struct kx_addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(kx_prefix_parse(rows[i].text, &p), rows[i].err);
	assert_int_equal(kx_prefix_parse("203.0.113.0/25", &p), 0);
	assert_int_equal(kx_addr_parse("203.0.113.127", &a), 0);
	assert_true(kx_prefix_has(&p, &a));
	assert_int_equal(kx_addr_parse("203.0.113.128", &a), 0);
	assert_false(kx_prefix_has(&p, &a));
	assert_int_equal(kx_prefix_parse("203.0.113.0/24", &q), 0);
	assert_true(kx_prefix_within(&p, &q));
	assert_false(kx_prefix_within(&q, &p));
}

static void add(struct kx_policy *p, enum kx_group group, const char *prefix,
	uint8_t protocol, uint16_t port, int want)
{
	struct kx_rule rule = { .group = group, .protocol = protocol, .port = port };
	uint32_t other;

	assert_int_equal(kx_prefix_parse(prefix, &rule.prefix), 0);
	assert_int_equal(kx_policy_add(p, &rule, &other), want);
}

static int group_of(
	const struct kx_policy *p, const char *addr, uint8_t protocol, uint16_t port)
{
	struct kx_flow flow = { .protocol = protocol, .port = port };
	const struct kx_rule *rule;

	assert_int_equal(kx_addr_parse(addr, &flow.destination), 0);
	rule = kx_policy_find(p, &flow);
	return rule != NULL ? (int)rule->group : -1;
}

static void test_policy(void **state)
{
	struct kx_policy *p = kx_policy_new();

	(void)state;
	assert_non_null(p);
	add(p, KX_PRIVATE_OR_CLEAR, "0.0.0.0/0", 0, 0, 0);
	add(p, KX_PRIVATE, "203.0.113.0/24", 0, 0, 0);
	add(p, KX_CLEAR, "203.0.113.53", 17, 53, 0);
	add(p, KX_BLOCK, "203.0.113.53", 0, 0, 0);
	add(p, KX_CLEAR, "203.0.113.0/24", 0, 0, ERR_EXISTS);
	add(p, KX_CLEAR, "192.0.2.0/24", 1, 53, ERR_RANGE); /* ICMP has no ports */
	assert_int_equal(group_of(p, "192.0.2.1", 6, 80), KX_PRIVATE_OR_CLEAR);
	assert_int_equal(group_of(p, "203.0.113.1", 6, 80), KX_PRIVATE);
	assert_int_equal(group_of(p, "203.0.113.53", 17, 53), KX_CLEAR);
	assert_int_equal(group_of(p, "203.0.113.53", 17, 54), KX_BLOCK);
	assert_int_equal(group_of(p, "2001:db8::1", 6, 80), -1);
	kx_policy_free(p);
}

/* Signatures: the first end counts, also across 2106; what does not parse is no answer.
 */
static void test_signatures(void **state)
{
	/* Header, question "." A, one RRSIG that ends at 0x00000010. */
	uint8_t packet[] = { 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, /* header */
		0, 0, 1, 0, 1,                                   /* question */
		0xc0, 12, 0, 46, 0, 1, 0, 0, 0, 9, 0, 19,        /* RRSIG, 19 bytes */
		0, 1, 15, 0, 0, 0, 0, 9, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0 };
	struct kx_packet got;

	(void)state;
	assert_int_equal(kx_packet_read(packet, sizeof(packet), 6, &got), 0);
	assert_int_equal(got.left_s, 10);
	assert_int_equal(kx_packet_read(packet, sizeof(packet), UINT32_MAX - 3, &got), 0);
	assert_int_equal(got.left_s, 20);
	assert_int_equal(kx_packet_read(packet, sizeof(packet), 17, &got), 0);
	assert_int_equal(got.left_s, 0);
	for (size_t n = 0; n < sizeof(packet); n++) {
		uint8_t *exact = malloc(n != 0 ? n : 1);

		assert_non_null(exact);
		memcpy(exact, packet, n);
		assert_int_equal(kx_packet_read(exact, n, 6, &got), ERR_MALFORMED);
		free(exact);
	}
	packet[7] = 0; /* no record at all */
	assert_int_equal(kx_packet_read(packet, 17, 6, &got), 0);
	assert_int_equal(got.left_s, UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_reverse),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_signatures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
