/* Stream boundaries, the header, counters of broken messages, names, print, cursors. */
#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"
#include "wire/frame.h"
#include "wire/table.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

static const uint8_t deregister[] = { 1, 4, 0, 18, 4, 0, 4, 0, 0, 0, 7, 11, 0, 4, 0, 0, 0,
	20 };

/* P-9-04: cut by Overall length, however the bytes arrive. */
static void test_frame(void **state)
{
	uint8_t two[2 * sizeof(deregister)];

	(void)state;
	memcpy(two, deregister, sizeof(deregister));
	memcpy(two + sizeof(deregister), deregister, sizeof(deregister));
	for (size_t have = 0; have < sizeof(deregister); have++)
		assert_int_equal(wire_frame(two, have), 0);
	for (size_t have = sizeof(deregister); have <= sizeof(two); have++)
		assert_int_equal(wire_frame(two, have), sizeof(deregister));
	assert_int_equal(wire_frame(NULL, 0), 0);
}

/* P-9-04, P-9-02: the position is lost. */
static void test_frame_lost(void **state)
{
	uint8_t bytes[] = { 1, 2, 0, 3 };

	(void)state;
	for (uint8_t len = 0; len < 4; len++) {
		bytes[3] = len;
		assert_int_equal(wire_frame(bytes, 4), ERR_MALFORMED);
		assert_int_equal(wire_frame(bytes, 3), 0);
	}
	bytes[3] = 4;
	assert_int_equal(wire_frame(bytes, 4), 4);
	bytes[0] = 2;
	assert_int_equal(wire_frame(bytes, 4), ERR_MALFORMED);
}

/* P-9-01, P-9-02, P-9-03. */
static void test_header(void **state)
{
	uint8_t bytes[] = { 1, 2, 0, 4, 0 }, type;

	(void)state;
	assert_int_equal(wire_header(bytes, 4, &type), 0);
	assert_int_equal(type, 2);
	assert_int_equal(wire_header(bytes, 5, &type), RSIP_BAD_MESSAGE);
	assert_int_equal(wire_header(bytes, 3, &type), RSIP_BAD_MESSAGE);
	assert_int_equal(type, 2);
	assert_int_equal(wire_header(bytes, 0, &type), RSIP_BAD_MESSAGE);
	assert_int_equal(type, 0);
	bytes[3] = 3;
	assert_int_equal(wire_header(bytes, 3, &type), RSIP_BAD_MESSAGE);
	bytes[0] = 2;
	assert_int_equal(wire_header(bytes, 5, &type), RSIP_UNSUPPORTED_RSIP_VERSION);
}

/* P-10.1-13, P-10.1-14: the counter that an answer to a broken request echoes. */
static void test_find(void **state)
{
	/* Counters of a wrong Length, two good ones, then one that does not fit. */
	static const uint8_t bytes[] = { 1, 4, 0, 27, 11, 0, 1, 9, 11, 0, 4, 0, 0, 0, 5,
		11, 0, 4, 0, 0, 0, 6, 4, 0, 9, 0, 0 };
	bool found;

	(void)state;
	assert_int_equal(wire_find_counter(bytes, sizeof(bytes), &found), 5);
	assert_true(found);
	assert_int_equal(wire_find_u32(bytes, sizeof(bytes), PARAM_CLIENT_ID, &found), 0);
	assert_false(found);
	assert_int_equal(wire_find_counter(bytes, 14, &found), 0);
	assert_false(found);
	assert_int_equal(wire_find_counter(bytes, 2, &found), 0);
	assert_false(found);
	assert_int_equal(
		wire_find_u32(deregister, sizeof(deregister), PARAM_CLIENT_ID, &found),
		7);
	assert_true(found);
}

/* The names of the registry, and none for other numbers. */
static void test_names(void **state)
{
	(void)state;
	assert_string_equal(rsip_msg_name(4), "DE-REGISTER_REQUEST");
	assert_string_equal(rsip_msg_name(23), "ASSIGN_RESPONSE_RSIPSEC");
	assert_null(rsip_msg_name(0));
	assert_null(rsip_msg_name(18));
	assert_null(rsip_msg_name(255));
	assert_string_equal(rsip_param_name(4), "Client ID");
	assert_string_equal(rsip_param_name(22), "SPI");
	assert_null(rsip_param_name(13));
	assert_null(rsip_param_name(255));
	assert_string_equal(rsip_error_name(205), "BAD_PARAM");
	assert_string_equal(rsip_error_name(403), "IPSEC_SPI_INUSE");
	assert_null(rsip_error_name(0));
	assert_null(rsip_error_name(400));
}

/*
 * P-9-09, P-8.7-01: a long list of types keeps each known value and no value twice.
 */
static void test_lists(void **state)
{
	uint8_t bytes[RSIP_HEADER_LEN + 19 + 256 * 4 + 4] = { 1, 3 };
	struct wr w = wr_init(bytes + 2, sizeof(bytes) - 2);
	struct wire_msg m;

	(void)state;
	wr_u16(&w, sizeof(bytes));
	wr_bytes(&w, "\4\0\4\0\0\0\1\3\0\4\0\0\0\1\11\0\2\1\1", 19);
	for (unsigned int v = 0; v < 256; v++) {
		wr_bytes(&w, "\7\0\1", 3);
		wr_u8(&w, (uint8_t)(255 - v));
	}
	wr_bytes(&w, "\7\0\1\2", 4);
	assert_int_equal(wr_len(&w), sizeof(bytes) - 2);
	assert_int_equal(wire_decode(bytes, sizeof(bytes), SIDE_HOST, false, &m), 0);
	assert_int_equal(m.n_methods, 8);
	assert_memory_equal(m.methods, "\377\376\375\374\373\3\2\1", 8);
}

/* --- What is not encoded ----------------------------------------------------------- */

static struct wire_msg assign(void)
{
	return (struct wire_msg){ .type = MSG_ASSIGN_REQUEST_RSAP_IP,
		.has = HAS_CLIENT_ID | HAS_LOCAL | HAS_LOCAL_PORTS | HAS_REMOTE |
		       HAS_REMOTE_PORTS,
		.client_id = 7,
		.local = { .type = ADDR_IPV4, .dont_care = true },
		.local_ports = { .form = FORM_DONT_CARE, .number = 1 },
		.remote = { .type = ADDR_FQDN, .fqdn = "a.b", .fqdn_len = 3 },
		.remote_ports = { .form = FORM_BLOCK, .number = 1, .first = 80 } };
}

static int encode(const struct wire_msg *m)
{
	uint8_t buf[1024];

	return wire_encode(m, buf, sizeof(buf));
}

/* What the other side would refuse is refused here: values, counts, tuples. */
static void test_encode_refuses(void **state)
{
	static const char name[] = "a-name-of-more-than-253-bytes";
	char long_name[254];
	struct wire_query q = { .indicator = INDICATOR_ADDRESS,
		.addr = { .type = ADDR_IPV4, .v4 = 1 } };
	struct wire_msg m = assign();

	(void)state;
	assert_true(encode(&m) > 0);
	m.remote = (struct wire_addr){ .type = ADDR_IPV4 }; /* would read as don't care */
	assert_int_equal(encode(&m), ERR_RANGE);
	m.remote.dont_care = m.remote.spelled = true; /* as it was read */
	assert_true(encode(&m) > 0);
	m.remote.v4 = 1;
	assert_int_equal(encode(&m), ERR_RANGE);
	for (size_t i = 0; i < sizeof(long_name); i++)
		long_name[i] = name[i % (sizeof(name) - 1)];
	m.remote = (struct wire_addr){
		.type = ADDR_FQDN, .fqdn = long_name, .fqdn_len = 253
	};
	assert_true(encode(&m) > 0);
	m.remote.fqdn_len = 254;
	assert_int_equal(encode(&m), ERR_RANGE);
	m = assign();
	m.has |= HAS_COUNTER;
	assert_int_equal(encode(&m), ERR_RANGE);
	m.counter = 1;
	assert_true(encode(&m) > 0);
	m.has |= HAS_TUNNEL;
	assert_int_equal(encode(&m), ERR_RANGE);
	m.n_tunnels = 2;
	assert_int_equal(encode(&m), ERR_RANGE);
	m.type = MSG_LISTEN_REQUEST;
	assert_true(encode(&m) > 0);
	m.n_tunnels = WIRE_TUNNELS_MAX + 1;
	assert_int_equal(encode(&m), ERR_RANGE);
	m = assign();
	m.queries = &q;
	m.n_queries = 1;
	assert_int_equal(encode(&m), ERR_RANGE);
	m.type = MSG_QUERY_REQUEST;
	m.has = HAS_CLIENT_ID;
	assert_true(encode(&m) > 0);
	q.indicator = INDICATOR_REMOTE_ADDRESS;
	assert_int_equal(encode(&m), ERR_RANGE);
	m.type = 18;
	assert_int_equal(encode(&m), ERR_RANGE);
}

/* `has` also says whether the optional bytes of a decoded message go out again. */
static void test_encode_optional(void **state)
{
	static const uint8_t bytes[] = { 1, 14, 0, 33, 4, 0, 4, 0, 0, 0, 7, 10, 0, 2, 0,
		1, 1, 0, 5, 1, 10, 0, 0, 1, 12, 0, 6, 0, 241, 0, 1, 'a', 'b' };
	struct wire_query q = { .indicator = INDICATOR_ADDRESS,
		.addr = { .type = ADDR_FQDN, .fqdn = "a", .fqdn_len = 1 } };
	struct wire_msg m;

	(void)state;
	assert_int_equal(wire_decode(bytes, sizeof(bytes), SIDE_GATEWAY, false, &m), 0);
	assert_int_equal(encode(&m), 33);
	m.has &= ~(uint32_t)HAS_VENDOR;
	assert_int_equal(encode(&m), 24);
	m.queries = &q; /* replaces the tuple of 13 bytes by one of 10 */
	m.n_queries = 1;
	assert_int_equal(encode(&m), 21);
	m.n_queries = 0;
	m.has &= ~(uint32_t)HAS_QUERY;
	assert_int_equal(encode(&m), 11);
}

/* --- Print ------------------------------------------------------------------------- */

static void expect_text(const struct wire_msg *m, const char *text)
{
	char buf[1024];

	assert_int_equal(wire_print(m, buf, sizeof(buf)), strlen(text));
	assert_string_equal(buf, text);
	/* A small buffer gets what fits. */
	assert_int_equal(wire_print(m, buf, 5), strlen(text));
	assert_int_equal(strncmp(buf, text, 4), 0);
	assert_int_equal(buf[4], 0);
	assert_int_equal(wire_print(m, NULL, 0), strlen(text));
}

static void test_print(void **state)
{
	uint8_t ports[] = { 3, 0xf4, 3, 0xf5 }, spis[4 * 20];
	struct wire_query q[] = {
		{ .indicator = 4,
			.addr = { .type = ADDR_IPV4, .v4 = 0x0a143c00 },
			.mask = { .type = ADDR_NETMASK, .v4 = 0xffffff00 } },
		{ .indicator = 1,
			.addr = { .type = ADDR_FQDN, .fqdn = "a.b", .fqdn_len = 3 } }
	};
	struct wire_msg m = { .type = MSG_ASSIGN_REQUEST_RSIPSEC,
		.has = HAS_CLIENT_ID | HAS_LOCAL | HAS_LOCAL_PORTS | HAS_REMOTE |
		       HAS_REMOTE_PORTS | HAS_SPI | HAS_COUNTER | HAS_LEASE | HAS_TUNNEL,
		.client_id = 7,
		.local = { .type = ADDR_IPV4, .dont_care = true },
		.local_ports = { .form = FORM_DONT_NEED },
		.remote = { .type = ADDR_IPV6, .v6 = { 0x20, 1, 0xd, 0xb8, [15] = 7 } },
		.remote_ports = { .form = FORM_LIST, .number = 2, .list = ports },
		.spis = { .form = FORM_LIST, .number = 20, .list = spis },
		.counter = 4294967295,
		.lease_s = 600,
		.tunnels = { 2, 9 },
		.n_tunnels = 2 };

	(void)state;
	for (size_t i = 0; i < sizeof(spis); i++)
		spis[i] = 1;
	expect_text(&m,
		"ASSIGN_REQUEST_RSIPSEC client=7 local=* ports=- remote=2001:db8::7 "
		"remote-ports=1012,1013 "
		"spis=0x01010101,0x01010101,0x01010101,0x01010101,0x01010101,0x01010101,"
		"0x01010101,0x01010101,0x01010101,0x01010101,0x01010101,0x01010101,"
		"0x01010101,0x01010101,0x01010101,0x01010101,+4 "
		"counter=4294967295 lease=600 tunnel=gre,9");
	m.spis = (struct wire_spis){
		.form = FORM_BLOCK, .number = 16, .first = 0x10000000
	};
	m.local_ports =
		(struct wire_ports){ .form = FORM_BLOCK, .number = 4, .first = 1234 };
	m.remote_ports = (struct wire_ports){ .form = FORM_DONT_CARE, .number = 1 };
	m.has &= ~(uint32_t)(HAS_LEASE | HAS_TUNNEL | HAS_COUNTER | HAS_REMOTE);
	expect_text(&m, "ASSIGN_REQUEST_RSIPSEC client=7 local=* ports=1234-1237 "
			"remote-ports=*1 spis=0x10000000-0x1000000f");
	m = (struct wire_msg){ .type = MSG_QUERY_RESPONSE,
		.has = HAS_CLIENT_ID,
		.client_id = 1,
		.queries = q,
		.n_queries = 2 };
	expect_text(&m,
		"QUERY_RESPONSE client=1 remote-network=10.20.60.0/24 local-address=a.b");
	m.type = MSG_QUERY_REQUEST;
	m.n_queries = 1;
	q[0].indicator = 2;
	expect_text(&m, "QUERY_REQUEST client=1 network=10.20.60.0/24");
	m = (struct wire_msg){
		.type = MSG_ERROR_RESPONSE, .has = HAS_ERROR, .error = 301
	};
	expect_text(&m, "ERROR_RESPONSE error=REGISTER_FIRST");
	m.error = 999;
	expect_text(&m, "ERROR_RESPONSE error=999");
	m.type = 18;
	expect_text(&m, "type=18");
}

/* --- Cursors ----------------------------------------------------------------------- */

static void test_reader(void **state)
{
	static const uint8_t bytes[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
	struct rd r = rd_init(bytes, sizeof(bytes)), sub;
	uint8_t out[2] = { 9, 9 };

	(void)state;
	assert_int_equal(rd_u8(&r), 1);
	assert_int_equal(rd_u16(&r), 0x0203);
	assert_int_equal(rd_u32(&r), 0x04050607);
	assert_int_equal(rd_left(&r), 2);
	sub = rd_sub(&r, 1);
	assert_int_equal(rd_u16(&sub), 0); /* cannot leave its one byte */
	assert_true(sub.bad);
	assert_false(r.bad);
	assert_int_equal(rd_u16(&r), 0);
	assert_true(r.bad);
	assert_int_equal(rd_u8(&r), 0); /* there is one, but the reader has failed */
	rd_bytes(&r, out, sizeof(out));
	assert_int_equal(out[0] | out[1], 0);
	sub = rd_sub(&r, 0);
	assert_true(sub.bad);
	r = rd_init(NULL, 0);
	assert_int_equal(rd_left(&r), 0);
	assert_int_equal(rd_u8(&r), 0);
	assert_true(r.bad);
	r = rd_init(bytes, sizeof(bytes));
	sub = rd_sub(&r, SIZE_MAX);
	assert_true(sub.bad && r.bad);
}

static void test_writer(void **state)
{
	uint8_t buf[8] = { [7] = 0xaa };
	struct wr w = wr_init(buf, 7);

	(void)state;
	wr_u8(&w, 1);
	wr_u16(&w, 0x0203);
	wr_u32(&w, 0x04050607);
	assert_int_equal(wr_len(&w), 7);
	assert_memory_equal(buf, "\1\2\3\4\5\6\7\252", 8);
	wr_patch_u16(&w, 1, 0x0908);
	assert_memory_equal(buf, "\1\11\10\4\5\6\7\252", 8);
	assert_false(w.bad);
	wr_u8(&w, 9);
	assert_true(w.bad);
	assert_int_equal(buf[7], 0xaa);
	w = wr_init(buf, 7);
	wr_patch_u16(&w, 0, 65536);
	assert_true(w.bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame),
		cmocka_unit_test(test_frame_lost),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_encode_refuses),
		cmocka_unit_test(test_encode_optional),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_reader),
		cmocka_unit_test(test_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
