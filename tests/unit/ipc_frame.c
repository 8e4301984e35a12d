/* Message boundaries: pieces, several at once, the bound, and what is no JSON object. */
#include "base/err.h"
#include "ipc/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Feed bytes as they come from a socket; the first error ends it. */
static int feed(struct ipc_frame *f, const char *bytes, size_t n)
{
	while (n > 0) {
		size_t room;
		char *at;
		int err = ipc_frame_room(f, n, &at, &room);

		if (err != 0)
			return err;
		assert_true(room >= 1 && room <= n);
		memcpy(at, bytes, room);
		ipc_frame_added(f, room);
		bytes += room;
		n -= room;
	}
	return 0;
}

static void expect_method(struct ipc_frame *f, const char *method)
{
	json_t *message;

	assert_int_equal(ipc_frame_next(f, &message), 0);
	assert_string_equal(
		json_string_value(json_object_get(message, "method")), method);
	json_decref(message);
}

static void test_pieces(void **state)
{
	static const char bytes[] = "{\"method\":\"a.b\"}";
	struct ipc_frame f;
	json_t *message;

	(void)state;
	ipc_frame_init(&f, 64);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		assert_int_equal(ipc_frame_next(&f, &message), ERR_NOTFOUND);
		assert_int_equal(feed(&f, bytes + i, 1), 0);
	}
	expect_method(&f, "a.b");
	assert_int_equal(ipc_frame_next(&f, &message), ERR_NOTFOUND);
	ipc_frame_fini(&f);
}

static void test_several(void **state)
{
	static const char bytes[] =
		"{\"method\":\"one\"}\0{\"method\":\"two\"}\0{\"method\":";
	struct ipc_frame f;
	json_t *message;

	(void)state;
	ipc_frame_init(&f, 4096);
	assert_int_equal(feed(&f, bytes, sizeof(bytes) - 1), 0);
	expect_method(&f, "one");
	expect_method(&f, "two");
	assert_int_equal(ipc_frame_next(&f, &message), ERR_NOTFOUND);
	assert_int_equal(feed(&f, "\"three\"}", 9), 0);
	expect_method(&f, "three");
	ipc_frame_fini(&f);
}

static void test_bound(void **state)
{
	struct ipc_frame f;
	json_t *message;
	char bytes[100];

	(void)state;
	memset(bytes, ' ', sizeof(bytes));
	memcpy(bytes, "{}", 2);
	ipc_frame_init(&f, sizeof(bytes));
	/* Exactly the bound, NUL included, is taken. */
	bytes[99] = 0;
	assert_int_equal(feed(&f, bytes, 100), 0);
	assert_int_equal(ipc_frame_next(&f, &message), 0);
	json_decref(message);
	/* One more is not. */
	bytes[99] = ' ';
	assert_int_equal(feed(&f, bytes, 100), 0);
	assert_int_equal(ipc_frame_next(&f, &message), ERR_NOTFOUND);
	assert_int_equal(feed(&f, "", 1), ERR_NOSPACE);
	ipc_frame_fini(&f);
}

static void test_malformed(void **state)
{
	static const char *const bad[] = { "", "[]", "1", "\"x\"", "{", "{}}", "nonsense",
		"{\"a\":1,\"a\":2}", "{\"a\":\"\xff\"}" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct ipc_frame f;
		json_t *message;

		ipc_frame_init(&f, 4096);
		assert_int_equal(feed(&f, bad[i], strlen(bad[i]) + 1), 0);
		assert_int_equal(ipc_frame_next(&f, &message), ERR_MALFORMED);
		/* and what follows can still be read */
		assert_int_equal(feed(&f, "{\"method\":\"next\"}", 18), 0);
		expect_method(&f, "next");
		ipc_frame_fini(&f);
	}
}

static void test_encode(void **state)
{
	json_t *message = json_pack("{s:s}", "method", "a\nb");
	size_t len;
	char *bytes;

	(void)state;
	bytes = ipc_frame_encode(message, &len);
	assert_int_equal(len, sizeof("{\"method\":\"a\\nb\"}"));
	assert_memory_equal(bytes, "{\"method\":\"a\\nb\"}", len);
	free(bytes);
	json_decref(message);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_several),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_encode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
