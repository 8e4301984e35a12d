/*
 * Which values a parameter may have, at the edges of each form: one row a value, put into
 * an otherwise good message in the place of one role.
 */
#include "wire_draft.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#define OK        0
#define BAD       RSIP_BAD_PARAM
#define V(...)    { __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })
#define NOTHING   { 0 }, 0

#define ASK       MSG_ASSIGN_REQUEST_RSAP_IP
#define GRANT     MSG_ASSIGN_RESPONSE_RSAP_IP
#define ASK_SPI   MSG_ASSIGN_REQUEST_RSIPSEC
#define GRANT_SPI MSG_ASSIGN_RESPONSE_RSIPSEC

struct row {
	uint8_t type;
	enum role role;
	uint16_t want;
	uint8_t value[20];
	size_t len;
};

static void run(const struct row *row, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct draft d = draft_full(row[i].type);
		struct part *p = &d.part[draft_find(&d, row[i].role)];
		uint16_t got;

		assert_true(p < d.part + d.n);
		p->value = row[i].value;
		p->len = row[i].len;
		got = draft_decode(&d, false);
		if (got != row[i].want)
			fail_msg("row %zu: error %u, not %u", i, got, row[i].want);
	}
}

#define RUN(rows) run(rows, sizeof(rows) / sizeof((rows)[0]))

/* P-8.1-01, P-8.1-03, P-8.1-04, P-8.1-05, P-9-08: what an Address may be, place by place.
 */
static void test_address(void **state)
{
	/* clang-format off */
	static const struct row rows[] = {
		{ ASK, ROLE_LOCAL, OK, V(ADDR_ANY) },
		{ ASK, ROLE_LOCAL, OK, V(ADDR_IPV4) },
		{ ASK, ROLE_LOCAL, BAD, V(ADDR_NETMASK) },
		{ ASK, ROLE_LOCAL, OK, V(ADDR_IPV6) },
		{ ASK, ROLE_LOCAL, BAD, V(ADDR_FQDN) },
		{ ASK, ROLE_LOCAL, BAD, V(5) },
		{ ASK, ROLE_LOCAL, BAD, V(255) },
		{ ASK, ROLE_LOCAL, BAD, V(ADDR_ANY, 192, 0, 2, 1) },
		{ ASK, ROLE_LOCAL, OK, V(ADDR_IPV4, 0, 0, 0, 0) },
		{ ASK, ROLE_LOCAL, BAD, V(ADDR_IPV4, 192, 0, 2) },
		{ ASK, ROLE_LOCAL, BAD, V(ADDR_IPV4, 192, 0, 2, 1, 0) },
		{ ASK, ROLE_LOCAL, BAD, V(ADDR_NETMASK, 255, 0, 0, 0) },
		{ ASK, ROLE_LOCAL, OK,
			V(ADDR_IPV6, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1) },
		{ ASK, ROLE_LOCAL, BAD,
			V(ADDR_IPV6, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) },
		{ ASK, ROLE_LOCAL, BAD,
			V(ADDR_IPV6, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0) },
		{ ASK, ROLE_LOCAL, BAD,
			V(ADDR_NETMASK, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) },
		{ ASK, ROLE_LOCAL, BAD, V(ADDR_FQDN, 'a') },
		{ ASK, ROLE_REMOTE, OK, V(ADDR_ANY) },
		{ ASK, ROLE_REMOTE, OK, V(ADDR_IPV4, 0, 0, 0, 0) },
		{ ASK, ROLE_REMOTE, BAD, V(ADDR_NETMASK) },
		{ ASK, ROLE_REMOTE, BAD, V(ADDR_NETMASK, 255, 0, 0, 0) },
		{ ASK, ROLE_REMOTE, OK, V(ADDR_IPV6) },
		{ ASK, ROLE_REMOTE, OK, V(ADDR_FQDN) },
		{ ASK, ROLE_REMOTE, OK, V(ADDR_FQDN, 'a', '-', '_', '.', 'Z', '9', '.') },
		{ ASK, ROLE_REMOTE, BAD, V(ADDR_FQDN, 'a', ' ', 'b') },
		{ ASK, ROLE_REMOTE, BAD, V(ADDR_FQDN, 'a', 0) },
		{ ASK, ROLE_REMOTE, BAD, V(ADDR_FQDN, 0xc3, 0xa4) },
		/* A grant names what is granted. */
		{ GRANT, ROLE_LOCAL, BAD, V(ADDR_IPV4) },
		{ GRANT, ROLE_LOCAL, BAD, V(ADDR_IPV4, 0, 0, 0, 0) },
		{ GRANT, ROLE_LOCAL, BAD, V(ADDR_FQDN, 'a') },
		{ GRANT, ROLE_REMOTE, OK, V(ADDR_IPV4) },
		{ GRANT, ROLE_REMOTE, OK, V(ADDR_FQDN, 'a') },
		{ GRANT, ROLE_ENDPOINT, BAD, V(ADDR_IPV4) },
		{ GRANT, ROLE_ENDPOINT, BAD, V(ADDR_FQDN, 'a') },
		{ GRANT, ROLE_ENDPOINT, BAD, V(ADDR_NETMASK, 255, 0, 0, 0) },
		{ GRANT, ROLE_ENDPOINT, OK,
			V(ADDR_IPV6, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1) },
	};
	/* clang-format on */

	(void)state;
	RUN(rows);
}

/* P-8.1-02: a name has 1 to 253 bytes. */
static void test_name_length(void **state)
{
	uint8_t value[256];
	struct draft d = draft_full(ASK);
	struct part *p = &d.part[draft_find(&d, ROLE_REMOTE)];

	(void)state;
	memset(value, 'a', sizeof(value));
	value[0] = ADDR_FQDN;
	p->value = value;
	p->len = 254;
	assert_int_equal(draft_decode(&d, false), OK);
	p->len = 255;
	assert_int_equal(draft_decode(&d, false), BAD);
}

/*
 * P-8.2-01, P-8.2-02, P-8.2-03, P-8.2-04, P-8.2-05, P-9.9-01, S-6.2-08: what Ports may
 * be, place by place.
 */
static void test_ports(void **state)
{
	/* clang-format off */
	static const struct row rows[] = {
		{ ASK, ROLE_LOCAL_PORTS, BAD, NOTHING },
		{ ASK, ROLE_LOCAL_PORTS, OK, V(1) },
		{ ASK, ROLE_LOCAL_PORTS, OK, V(255) },
		{ ASK, ROLE_LOCAL_PORTS, BAD, V(0) },
		{ ASK, ROLE_LOCAL_PORTS, BAD, V(1, 0) },
		{ ASK, ROLE_LOCAL_PORTS, OK, V(4, 0, 0) },
		{ ASK, ROLE_LOCAL_PORTS, BAD, V(0, 0, 0) },
		{ ASK, ROLE_LOCAL_PORTS, BAD, V(0, 0, 80) },
		{ ASK, ROLE_LOCAL_PORTS, OK, V(1, 0xff, 0xff) },
		{ ASK, ROLE_LOCAL_PORTS, OK, V(2, 0xff, 0xfe) },
		{ ASK, ROLE_LOCAL_PORTS, BAD, V(2, 0xff, 0xff) },
		{ ASK, ROLE_LOCAL_PORTS, OK, V(255, 0xff, 1) },
		{ ASK, ROLE_LOCAL_PORTS, BAD, V(255, 0xff, 2) },
		{ ASK, ROLE_LOCAL_PORTS, OK, V(2, 0, 80, 0, 81) },
		{ ASK, ROLE_LOCAL_PORTS, OK, V(2, 0, 81, 0, 80) },
		{ ASK, ROLE_LOCAL_PORTS, BAD, V(2, 0, 80, 0, 80) },
		{ ASK, ROLE_LOCAL_PORTS, BAD, V(2, 0, 80, 0, 0) },
		{ ASK, ROLE_LOCAL_PORTS, BAD, V(1, 0, 80, 0, 81) },
		{ ASK, ROLE_LOCAL_PORTS, BAD, V(3, 0, 80, 0, 81) },
		{ ASK, ROLE_LOCAL_PORTS, BAD, V(0, 0, 80, 0, 81) },
		{ ASK, ROLE_LOCAL_PORTS, BAD, V(2, 0, 80, 0, 81, 0) },
		{ ASK, ROLE_LOCAL_PORTS, BAD, V(3, 0, 80, 0, 81, 0, 80) },
		{ ASK, ROLE_REMOTE_PORTS, BAD, NOTHING },
		{ ASK, ROLE_REMOTE_PORTS, OK, V(0) },
		{ ASK, ROLE_REMOTE_PORTS, OK, V(9) },
		{ ASK, ROLE_REMOTE_PORTS, OK, V(0, 0, 0) },
		{ ASK, ROLE_REMOTE_PORTS, OK, V(1, 0, 0) },
		{ ASK, ROLE_REMOTE_PORTS, BAD, V(0, 0, 80) },
		{ ASK, ROLE_REMOTE_PORTS, BAD, V(2, 0xff, 0xff) },
		{ MSG_ASSIGN_REQUEST_RSA_IP, ROLE_REMOTE_PORTS, BAD, NOTHING },
		{ MSG_ASSIGN_REQUEST_RSA_IP, ROLE_REMOTE_PORTS, OK, V(0, 0, 0) },
		{ MSG_LISTEN_REQUEST, ROLE_LOCAL_PORTS, BAD, NOTHING },
		{ ASK_SPI, ROLE_LOCAL_PORTS, OK, NOTHING },
		{ ASK_SPI, ROLE_REMOTE_PORTS, OK, NOTHING },
		{ ASK_SPI, ROLE_LOCAL_PORTS, BAD, V(0) },
		{ GRANT_SPI, ROLE_LOCAL_PORTS, OK, NOTHING },
		{ GRANT_SPI, ROLE_REMOTE_PORTS, OK, NOTHING },
		/* A grant names what is granted. */
		{ GRANT, ROLE_LOCAL_PORTS, BAD, NOTHING },
		{ GRANT, ROLE_LOCAL_PORTS, BAD, V(4) },
		{ GRANT, ROLE_LOCAL_PORTS, BAD, V(4, 0, 0) },
		{ GRANT_SPI, ROLE_LOCAL_PORTS, BAD, V(4) },
		{ GRANT, ROLE_REMOTE_PORTS, OK, V(1) },
	};
	/* clang-format on */

	(void)state;
	RUN(rows);
}

/* S-6.2-01, S-6.2-02, S-6.2-03, S-6.2-04, S-6.2-05, S-6.2-06, S-6.2-07, S-6.2-23. */
static void test_spi(void **state)
{
	/* clang-format off */
	static const struct row rows[] = {
		{ ASK_SPI, ROLE_SPI, BAD, NOTHING },
		{ ASK_SPI, ROLE_SPI, BAD, V(0) },
		{ ASK_SPI, ROLE_SPI, BAD, V(0, 0) },
		{ ASK_SPI, ROLE_SPI, OK, V(0, 1) },
		{ ASK_SPI, ROLE_SPI, OK, V(0xff, 0xff) },
		{ ASK_SPI, ROLE_SPI, BAD, V(0, 1, 0) },
		{ ASK_SPI, ROLE_SPI, BAD, V(0, 0, 0, 0, 1, 0) },
		{ ASK_SPI, ROLE_SPI, OK, V(0, 1, 0, 0, 1, 0) },
		{ ASK_SPI, ROLE_SPI, BAD, V(0, 1, 0, 0, 0, 255) },
		{ ASK_SPI, ROLE_SPI, BAD, V(0, 1, 0, 0, 0, 0) },
		{ ASK_SPI, ROLE_SPI, BAD, V(0, 2, 0, 0, 0, 255) },
		{ ASK_SPI, ROLE_SPI, OK, V(0, 1, 0xff, 0xff, 0xff, 0xff) },
		{ ASK_SPI, ROLE_SPI, BAD, V(0, 2, 0xff, 0xff, 0xff, 0xff) },
		{ ASK_SPI, ROLE_SPI, OK, V(0xff, 0xff, 0xff, 0xff, 0, 1) },
		{ ASK_SPI, ROLE_SPI, BAD, V(0xff, 0xff, 0xff, 0xff, 0, 2) },
		{ ASK_SPI, ROLE_SPI, OK, V(0, 2, 1, 0, 0, 0, 1, 0, 0, 1) },
		{ ASK_SPI, ROLE_SPI, BAD, V(0, 2, 1, 0, 0, 0, 1, 0, 0, 0) },
		{ ASK_SPI, ROLE_SPI, BAD, V(0, 2, 1, 0, 0, 0, 0, 0, 0, 9) },
		{ ASK_SPI, ROLE_SPI, BAD, V(0, 1, 1, 0, 0, 0, 1, 0, 0, 1) },
		{ ASK_SPI, ROLE_SPI, BAD, V(0, 3, 1, 0, 0, 0, 1, 0, 0, 1) },
		{ GRANT_SPI, ROLE_SPI, BAD, V(0, 1) },
		{ GRANT_SPI, ROLE_SPI, OK, V(0, 2, 1, 0, 0, 0) },
	};
	/* clang-format on */

	(void)state;
	RUN(rows);
}

/* P-8.4-01, P-8.5-01, P-8.6-01, P-8.7-01, P-8.8-01, P-8.9-01: numbers with a range. */
static void test_numbers(void **state)
{
	/* clang-format off */
	static const struct row rows[] = {
		{ ASK, ROLE_CLIENT_ID, BAD, V(0, 0, 0, 0) },
		{ ASK, ROLE_CLIENT_ID, OK, V(255, 255, 255, 255) },
		{ MSG_FREE_REQUEST, ROLE_BIND_ID, BAD, V(0, 0, 0, 0) },
		{ ASK, ROLE_LEASE, OK, V(0, 0, 0, 0) },
		{ ASK, ROLE_TUNNEL, OK, V(0) },
		{ ASK, ROLE_TUNNEL, OK, V(255) },
		{ GRANT, ROLE_TUNNEL, BAD, V(0) },
		{ GRANT, ROLE_TUNNEL, OK, V(255) },
		{ MSG_REGISTER_RESPONSE, ROLE_TUNNEL, BAD, V(0) },
		{ MSG_REGISTER_RESPONSE, ROLE_METHOD, OK, V(0) },
		{ MSG_REGISTER_RESPONSE, ROLE_METHOD, OK, V(255) },
		{ MSG_REGISTER_RESPONSE, ROLE_FLOW, BAD, V(0, 1) },
		{ MSG_REGISTER_RESPONSE, ROLE_FLOW, BAD, V(1, 0) },
		{ MSG_REGISTER_RESPONSE, ROLE_FLOW, OK, V(2, 3) },
		{ MSG_REGISTER_RESPONSE, ROLE_FLOW, BAD, V(3, 3) },
		{ MSG_REGISTER_RESPONSE, ROLE_FLOW, BAD, V(2, 4) },
		{ MSG_ERROR_RESPONSE, ROLE_ERROR, OK, V(0xff, 0xff) },
		{ MSG_QUERY_REQUEST, ROLE_QUERY, OK, V(1) },
		{ MSG_QUERY_REQUEST, ROLE_QUERY, OK, V(0, 1) },
		{ MSG_QUERY_REQUEST, ROLE_QUERY, BAD, V(0) },
		{ MSG_QUERY_REQUEST, ROLE_QUERY, BAD, V(3) },
		{ MSG_QUERY_REQUEST, ROLE_QUERY, BAD, V(1, 1) },
		{ MSG_QUERY_RESPONSE, ROLE_QUERY, OK, V(3) },
		{ MSG_QUERY_RESPONSE, ROLE_QUERY, BAD, V(5) },
	};
	/* clang-format on */

	(void)state;
	RUN(rows);
}

/* --- Query tuples: a row of parts, and the one error of the whole ------------------ */

#define TUPLE_PARTS 5

static const struct tuple_row {
	uint16_t want;
	uint8_t type;                   /* of the message */
	const char *parts[TUPLE_PARTS]; /* "I..." Indicator, "A..." Address, "V" vendor,
					   "M" */
} tuple_rows[] = {
	{ OK, MSG_QUERY_REQUEST, { "I1", "A4" } },
	{ OK, MSG_QUERY_REQUEST, { "I1", "AN", "I2", "A4", "A/" } },
	{ OK, MSG_QUERY_RESPONSE, { "I3", "A6", "I4", "A6", "A6/" } },
	{ OK, MSG_QUERY_REQUEST, { "V", "I2", "A4", "A/", "M" } },
	{ OK, MSG_QUERY_REQUEST, { "I2", "A4", "A/0" } },
	{ OK, MSG_QUERY_REQUEST, { "I2", "A6", "A6/0" } },
	/* An address that is missing. */
	{ RSIP_MISSING_PARAM, MSG_QUERY_REQUEST, { "I1" } },
	{ RSIP_MISSING_PARAM, MSG_QUERY_REQUEST, { "I1", "I1", "A4" } },
	{ RSIP_MISSING_PARAM, MSG_QUERY_REQUEST, { "I2", "A4" } },
	{ RSIP_MISSING_PARAM, MSG_QUERY_REQUEST, { "I2", "A4", "I1", "A4" } },
	{ RSIP_MISSING_PARAM, MSG_QUERY_REQUEST, { "I1", "M" } },
	{ RSIP_MISSING_PARAM, MSG_QUERY_REQUEST, { "I1", "V" } },
	/* One too many, or one torn off by something else. */
	{ RSIP_BAD_MESSAGE, MSG_QUERY_REQUEST, { "A4" } },
	{ RSIP_BAD_MESSAGE, MSG_QUERY_REQUEST, { "A4", "I1" } },
	{ RSIP_BAD_MESSAGE, MSG_QUERY_REQUEST, { "I1", "A4", "A4" } },
	{ RSIP_BAD_MESSAGE, MSG_QUERY_REQUEST, { "I1", "V", "A4" } },
	{ RSIP_BAD_MESSAGE, MSG_QUERY_REQUEST, { "I2", "A4", "M", "A/" } },
	/* What may not stand there. */
	{ BAD, MSG_QUERY_REQUEST, { "A/" } },
	{ BAD, MSG_QUERY_REQUEST, { "I1", "A" } },
	{ BAD, MSG_QUERY_REQUEST, { "I1", "A/" } },
	{ BAD, MSG_QUERY_REQUEST, { "I1", "A0" } },
	{ BAD, MSG_QUERY_REQUEST, { "I2", "AN", "A/" } },
	{ BAD, MSG_QUERY_REQUEST, { "I2", "A", "A/" } },
	{ BAD, MSG_QUERY_REQUEST, { "I2", "A4", "A4" } },
	{ BAD, MSG_QUERY_REQUEST, { "I2", "A4", "A" } },
	{ BAD, MSG_QUERY_REQUEST, { "I2", "A4", "A6/" } },
	{ BAD, MSG_QUERY_REQUEST, { "I2", "A6", "A/" } },
	{ BAD, MSG_QUERY_REQUEST, { "I2", "A6", "A6" } },
	{ BAD, MSG_QUERY_REQUEST, { "I2", "A6", "AX" } },
	{ BAD, MSG_QUERY_REQUEST, { "I2", "A4", "A/~" } },
	{ BAD, MSG_QUERY_REQUEST, { "I2", "A4", "A/1" } },
};

#define P(name, param, ...)                 \
	{                                   \
		name, param, V(__VA_ARGS__) \
	}

static const struct {
	const char *name;
	uint8_t param;
	uint8_t value[20];
	size_t len;
} tuple_parts[] = {
	P("I1", PARAM_INDICATOR, 0, 1),
	P("I2", PARAM_INDICATOR, 0, 2),
	P("I3", PARAM_INDICATOR, 0, 3),
	P("I4", PARAM_INDICATOR, 0, 4),
	P("A", PARAM_ADDRESS, ADDR_IPV4),
	P("A0", PARAM_ADDRESS, ADDR_IPV4, 0, 0, 0, 0),
	P("A4", PARAM_ADDRESS, ADDR_IPV4, 10, 0, 0, 0),
	P("AN", PARAM_ADDRESS, ADDR_FQDN, 'a'),
	P("A/", PARAM_ADDRESS, ADDR_NETMASK, 255, 0xf0, 0, 0),
	P("A/0", PARAM_ADDRESS, ADDR_NETMASK, 0, 0, 0, 0),
	P("A/~", PARAM_ADDRESS, ADDR_NETMASK, 255, 0xf1, 0, 0),
	P("A/1", PARAM_ADDRESS, ADDR_NETMASK, 0, 0, 0, 1),
	P("A6", PARAM_ADDRESS, ADDR_IPV6, 0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0),
	P("A6/", PARAM_ADDRESS, ADDR_IPV6, 255, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0),
	P("A6/0", PARAM_ADDRESS, ADDR_IPV6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0),
	P("AX", PARAM_ADDRESS, ADDR_IPV6),
	P("V", PARAM_VENDOR, 0, 241, 0, 1),
	P("M", PARAM_COUNTER, 0, 0, 0, 5),
};

static struct part tuple_part(const char *name)
{
	for (size_t i = 0; i < sizeof(tuple_parts) / sizeof(tuple_parts[0]); i++) {
		if (!strcmp(tuple_parts[i].name, name))
			return (struct part){ .type = tuple_parts[i].param,
				.value = tuple_parts[i].value,
				.len = tuple_parts[i].len };
	}
	fail_msg("no part %s", name);
	return (struct part){ 0 };
}

/* P-9.14-01, P-9.14-02, P-8.10-02: tuples that are whole, torn, short and wrong. */
static void test_tuples(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(tuple_rows) / sizeof(tuple_rows[0]); i++) {
		const struct tuple_row *row = &tuple_rows[i];
		struct draft d = draft_short(row->type);
		uint16_t got;

		for (size_t p = 0; p < TUPLE_PARTS && row->parts[p]; p++)
			draft_add(&d, d.n, tuple_part(row->parts[p]));
		got = draft_decode(&d, false);
		if (got != row->want)
			fail_msg("tuple row %zu: error %u, not %u", i, got, row->want);
	}
	/* The order of the required part is judged before the tuples. */
	struct draft d = draft_short(MSG_QUERY_REQUEST);

	draft_add(&d, 0, tuple_part("I1"));
	assert_int_equal(draft_decode(&d, false), RSIP_BAD_MESSAGE);
}

/* --- Lists as long as they get ----------------------------------------------------- */

/* n numbers of `width` bytes, all different, scattered by an odd factor. */
static void fill(uint8_t *list, size_t n, size_t width)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t v = (uint32_t)(i + 1) * 0x9e3779b1U | 0x01000000U;

		if (width == 2)
			v = (uint32_t)((i + 1) * 257) << 16;
		for (size_t b = 0; b < width; b++)
			list[i * width + b] = (uint8_t)(v >> (24 - 8 * b));
	}
}

/* Numbers that differ in one of their bytes only: each must be looked at. */
static void check_byte_by_byte(
	const struct draft *d, uint8_t *list, size_t n, size_t width)
{
	for (size_t byte = 0; byte < width && n <= 254; byte++) {
		memset(list, 1, n * width);
		for (size_t i = 0; i < n; i++)
			list[i * width + byte] = (uint8_t)(i + 2);
		assert_int_equal(draft_decode(d, false), OK);
		memcpy(list + (n - 1) * width, list, width);
		assert_int_equal(draft_decode(d, false), BAD);
	}
}

static void check_list(
	uint8_t type, enum role role, size_t number_len, size_t n, size_t width)
{
	uint8_t *value = malloc(RSIP_LENGTH_MAX), *list = value + number_len;
	struct draft d = draft_short(type);
	struct part *p = &d.part[draft_find(&d, role)];

	assert_non_null(value);
	value[0] = (uint8_t)(number_len == 2 ? n >> 8 : n);
	value[number_len - 1] = (uint8_t)n;
	p->value = value;
	p->len = number_len + n * width;
	fill(list, n, width);
	assert_int_equal(draft_decode(&d, false), OK);
	/* The same number twice, far apart and as neighbours. */
	memcpy(list + (n - 1) * width, list, width);
	assert_int_equal(draft_decode(&d, false), BAD);
	fill(list, n, width);
	memcpy(list + (n / 2) * width, list + (n / 2 - 1) * width, width);
	assert_int_equal(draft_decode(&d, false), BAD);
	check_byte_by_byte(&d, list, n, width);
	/* All the same. */
	for (size_t i = 1; i < n; i++)
		memcpy(list + i * width, list, width);
	assert_int_equal(draft_decode(&d, false), BAD);
	free(value);
}

/* P-8.2-03, S-6.2-04: lists around the length where the search for repeats changes. */
static void test_long_lists(void **state)
{
	static const size_t lengths[] = { 2, 31, 32, 33, 34, 254, 255 };

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		check_list(ASK, ROLE_LOCAL_PORTS, 1, lengths[i], 2);
		check_list(ASK_SPI, ROLE_SPI, 2, lengths[i], 4);
	}
	/* The other required parameters of a type 22 leave room for this many. */
	check_list(ASK_SPI, ROLE_SPI, 2, 16370, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_name_length),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_spi),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_tuples),
		cmocka_unit_test(test_long_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
