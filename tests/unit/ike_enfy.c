/* What charon's error-notify says, and what is not believed. */
#include "base/err.h"
#include "base/wr.h"
#include "ike/enfy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEAD "the received traffic selectors did not match: "

static void record_of(uint8_t record[static ENFY_RECORD], uint32_t type, const char *text,
	const char *id, const char *peer)
{
	struct wr w = wr_init(record, ENFY_RECORD);

	memset(record, 0, ENFY_RECORD);
	wr_u32(&w, type);
	(void)strncpy((char *)record + 4, text, 384);
	(void)strncpy((char *)record + 4 + 384, "kx", 64);
	(void)strncpy((char *)record + 4 + 384 + 64, id, 256);
	(void)strncpy((char *)record + 4 + 384 + 64 + 256, peer, 60);
}

static void test_record(void **state)
{
	uint8_t record[ENFY_RECORD];
	struct enfy e;

	(void)state;
	record_of(record, 10, "text", "r1.s-net.test", "198.51.100.1[4500]");
	assert_int_equal(enfy_decode(record, &e), 0);
	assert_int_equal(e.type, ENFY_TS_MISMATCH);
	assert_string_equal(e.text, "text");
	assert_string_equal(e.id, "r1.s-net.test");
	assert_int_equal(e.addr, 0xc6336401);
	assert_int_equal(e.port, 4500);
	record_of(record, 10, "text", "r1.s-net.test", "2001:db8::1[500]");
	assert_int_equal(enfy_decode(record, &e), 0);
	assert_int_equal(e.addr, 0);
}

/* Cut, unended, unprintable, or with something behind the end. */
static void test_record_bad(void **state)
{
	uint8_t record[ENFY_RECORD];
	char full[384];
	struct enfy e;

	(void)state;
	memset(full, 'x', sizeof(full));
	full[383] = 0;
	record_of(record, 10, full, "id", "198.51.100.1[500]");
	assert_int_equal(enfy_decode(record, &e), ERR_MALFORMED);
	record_of(record, 10, "text", "id", "198.51.100.1[500]");
	record[4 + 383] = 'x';
	assert_int_equal(enfy_decode(record, &e), ERR_MALFORMED);
	record_of(record, 10, "te\nxt", "id", "198.51.100.1[500]");
	assert_int_equal(enfy_decode(record, &e), ERR_MALFORMED);
	record_of(record, 10, "text", "i\xc3\xa4", "198.51.100.1[500]");
	assert_int_equal(enfy_decode(record, &e), ERR_MALFORMED);
	memset(record, 'x', sizeof(record));
	assert_int_equal(enfy_decode(record, &e), ERR_MALFORMED);
}

static void test_selectors(void **state)
{
	static const struct {
		const char *text;
		int err;
	} rows[] = {
		{ HEAD "198.51.100.10/32 === 203.0.113.10/32 ", 0 },
		{ HEAD "198.51.100.0/24 === 203.0.113.10/32 ", ERR_RANGE },
		{ HEAD "198.51.100.10/32 === 0.0.0.0/0 ", ERR_RANGE },
		{ HEAD "198.51.100.10/32 198.51.100.11/32 === 203.0.113.10/32 ",
			ERR_MALFORMED },
		{ HEAD "198.51.100.10/32 === 203.0.113.10/32 203.0.113.11/32 ",
			ERR_MALFORMED },
		{ HEAD "198.51.100.10/32[tcp/80] === 203.0.113.10/32 ", ERR_MALFORMED },
		{ HEAD "198.51.100.10/32 === 203.0.113.10/32", 0 },
		{ HEAD "198.51.100.10/32 === 203.0.113.10/32  ", ERR_MALFORMED },
		{ HEAD "198.51.100.10/32 203.0.113.10/32", ERR_MALFORMED },
		{ HEAD "198.51.100.10..198.51.100.11 === 203.0.113.10/32 ",
			ERR_MALFORMED },
		{ HEAD "2001:db8::1/128 === 2001:db8::2/128 ", ERR_MALFORMED },
		{ HEAD "198.51.100.10 === 203.0.113.10/32 ", ERR_MALFORMED },
		{ "x" HEAD "198.51.100.10/32 === 203.0.113.10/32 ", ERR_MALFORMED },
		{ HEAD, ERR_MALFORMED },
		{ "", ERR_MALFORMED },
	};
	uint32_t theirs, ours;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		theirs = ours = 0;
		assert_int_equal(
			enfy_selectors(rows[i].text, &theirs, &ours), rows[i].err);
		assert_int_equal(theirs, rows[i].err == 0 ? 0xc633640a : 0);
		assert_int_equal(ours, rows[i].err == 0 ? 0xcb00710a : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_record_bad),
		cmocka_unit_test(test_selectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
