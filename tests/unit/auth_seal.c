/* Both ends of seals, against each other and against what is cut, changed and repeated.
 */
#include "auth/guard.h"
#include "auth/sealer.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOST    0x0a00000bU
#define GATEWAY 0x0a000001U
#define LINE    "alice AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
#define LINE2   "bob   //////////////////////////////////////////8=\n"

/* REGISTER_REQUEST with counter 7. */
static const uint8_t plain[] = { 1, 2, 0, 11, 11, 0, 4, 0, 0, 0, 7 };

struct ends {
	struct guard *guard;
	struct sealer host;
	struct auth_key key;
};

static void keys_of(const char *text, struct auth_keys *keys)
{
	char why[AUTH_WHY] = "";

	assert_int_equal(auth_keys_parse("keys", text, keys, why, sizeof(why)), 0);
}

static int set_up(void **state)
{
	struct ends *e = calloc(1, sizeof(*e));
	struct auth_keys keys;

	keys_of(LINE LINE2, &keys);
	e->key = keys.at[0];
	assert_int_equal(guard_new(0x1122334455667788U, &e->guard), 0);
	assert_int_equal(guard_set_keys(e->guard, &keys), 0);
	sealer_init(&e->host, &e->key, 1000);
	sealer_path(&e->host, HOST, GATEWAY);
	*state = e;
	return 0;
}

static int tear_down(void **state)
{
	struct ends *e = *state;

	guard_free(e->guard);
	sealer_fini(&e->host);
	free(e);
	return 0;
}

/* What the gateway says to these bytes; a copy, so that they can be used again. */
static enum guard_verdict ask(
	struct ends *e, const uint8_t *bytes, size_t len, struct guard_from *from)
{
	uint8_t buf[256];
	enum guard_verdict v;

	assert_true(len <= sizeof(buf));
	memcpy(buf, bytes, len);
	v = guard_open(e->guard, HOST, GATEWAY, buf, &len, from);
	if (v == GUARD_GOOD) {
		assert_int_equal(len, sizeof(plain));
		assert_memory_equal(buf, plain, len);
	}
	return v;
}

/* The first exchange: a challenge, and the request again. */
static void introduce(struct ends *e)
{
	uint8_t buf[256], said[256];
	struct guard_from from;
	int n = sealer_out(&e->host, plain, sizeof(plain), buf, sizeof(buf));
	size_t len;

	assert_int_equal(n, sizeof(plain) + SEAL_LEN);
	assert_int_equal(ask(e, buf, (size_t)n, &from), GUARD_STALE);
	n = guard_challenge(e->guard, HOST, GATEWAY, &from, 7, 0, said, sizeof(said));
	assert_true(n > 0);
	len = (size_t)n;
	assert_int_equal(sealer_in(&e->host, said, &len), SEALER_AGAIN);
	n = sealer_again(&e->host, buf, sizeof(buf));
	assert_int_equal(ask(e, buf, (size_t)n, &from), GUARD_GOOD);
	assert_true(from.identity == e->key.identity && from.key_id == e->key.id);
}

static void test_first_exchange(void **state)
{
	introduce(*state);
}

static void test_answers(void **state)
{
	struct ends *e = *state;
	uint8_t buf[256], said[256], again[256];
	struct guard_from from, unasked;
	size_t len;
	int n;

	introduce(e);
	n = sealer_out(&e->host, plain, sizeof(plain), buf, sizeof(buf));
	assert_int_equal(ask(e, buf, (size_t)n, &from), GUARD_GOOD);
	memcpy(said, plain, sizeof(plain));
	n = guard_seal(e->guard, HOST, GATEWAY, &from, said, sizeof(plain), sizeof(said));
	assert_int_equal(n, sizeof(plain) + SEAL_LEN);
	memcpy(again, said, (size_t)n);
	len = (size_t)n;
	assert_int_equal(sealer_in(&e->host, said, &len), SEALER_MESSAGE);
	assert_int_equal(len, sizeof(plain));
	assert_memory_equal(said, plain, sizeof(plain));
	len = (size_t)n;
	assert_int_equal(sealer_in(&e->host, again, &len), SEALER_DROP);
	assert_int_equal(e->host.stale, 1);
	/* Unasked, once. */
	unasked = from;
	unasked.number = 0;
	memcpy(said, plain, sizeof(plain));
	n = guard_seal(
		e->guard, HOST, GATEWAY, &unasked, said, sizeof(plain), sizeof(said));
	len = (size_t)n;
	assert_int_equal(sealer_in(&e->host, said, &len), SEALER_MESSAGE);
	/* Plain, which is what a downgrade looks like. */
	memcpy(said, plain, sizeof(plain));
	len = sizeof(plain);
	assert_int_equal(sealer_in(&e->host, said, &len), SEALER_DROP);
	assert_int_equal(e->host.plain, 1);
}

/* Every length, every bit: none is good, and none is read beyond its end. */
static void test_cut_and_changed(void **state)
{
	struct ends *e = *state;
	uint8_t good[256];
	struct guard_from from;
	size_t n;

	introduce(e);
	n = (size_t)sealer_out(&e->host, plain, sizeof(plain), good, sizeof(good));
	for (size_t len = 0; len < n; len++) {
		uint8_t *exact = malloc(len > 0 ? len : 1);

		memcpy(exact, good, len);
		if (len >= 4) {
			exact[2] = 0;
			exact[3] = (uint8_t)len;
		}
		size_t left = len;
		assert_int_not_equal(
			guard_open(e->guard, HOST, GATEWAY, exact, &left, &from),
			GUARD_GOOD);
		free(exact);
	}
	for (size_t bit = 0; bit < n * 8; bit++) {
		uint8_t changed[256];

		memcpy(changed, good, n);
		changed[bit / 8] ^= (uint8_t)(1U << bit % 8);
		assert_int_not_equal(ask(e, changed, n, &from), GUARD_GOOD);
		assert_int_not_equal(ask(e, changed, n, &from), GUARD_STALE);
	}
	assert_int_equal(ask(e, good, n, &from), GUARD_GOOD);
	assert_int_equal(ask(e, good, n, &from), GUARD_STALE);
}

static void test_other_addresses(void **state)
{
	struct ends *e = *state;
	uint8_t buf[256], copy[256];
	struct guard_from from;
	size_t n, len;

	introduce(e);
	n = (size_t)sealer_out(&e->host, plain, sizeof(plain), buf, sizeof(buf));
	memcpy(copy, buf, n);
	len = n;
	assert_int_equal(
		guard_open(e->guard, HOST + 1, GATEWAY, copy, &len, &from), GUARD_BAD);
	assert_int_equal(
		guard_open(e->guard, HOST, GATEWAY + 1, copy, &len, &from), GUARD_BAD);
	assert_int_equal(ask(e, buf, n, &from), GUARD_GOOD);
}

static void test_window(void **state)
{
	struct seal_window w = { 0 };

	(void)state;
	assert_true(seal_window_take(&w, 100));
	assert_false(seal_window_take(&w, 100));
	assert_true(seal_window_take(&w, 99));
	assert_true(seal_window_take(&w, 37)); /* 63 behind */
	assert_false(seal_window_take(&w, 36));
	assert_true(seal_window_take(&w, 163)); /* 63 ahead: 100 is the oldest known */
	assert_false(seal_window_take(&w, 100));
	assert_false(seal_window_take(&w, 99));
	assert_true(seal_window_take(&w, 101));
	assert_true(seal_window_take(&w, UINT64_MAX));
	assert_false(seal_window_take(&w, 163));
	assert_true(seal_window_take(&w, UINT64_MAX - 63));
}

/* New keys: those that stay keep what they have seen. */
static void test_keys_change(void **state)
{
	struct ends *e = *state;
	struct auth_keys keys;
	uint8_t buf[256];
	struct guard_from from;
	size_t n;

	introduce(e);
	n = (size_t)sealer_out(&e->host, plain, sizeof(plain), buf, sizeof(buf));
	assert_int_equal(ask(e, buf, n, &from), GUARD_GOOD);
	keys_of(LINE2 LINE, &keys);
	assert_int_equal(guard_set_keys(e->guard, &keys), 0);
	assert_int_equal(ask(e, buf, n, &from), GUARD_STALE);
	keys_of(LINE2, &keys);
	assert_int_equal(guard_set_keys(e->guard, &keys), 0);
	assert_int_equal(ask(e, buf, n, &from), GUARD_BAD);
	assert_int_equal(guard_seal(e->guard, HOST, GATEWAY, &from, buf, sizeof(plain),
				 sizeof(buf)),
		ERR_NOTFOUND);
}

static void test_room(void **state)
{
	struct ends *e = *state;
	uint8_t buf[sizeof(plain) + SEAL_LEN];

	assert_int_equal(sealer_out(&e->host, plain, sizeof(plain), buf, sizeof(buf) - 1),
		ERR_NOSPACE);
	assert_int_equal(sealer_out(&e->host, plain, sizeof(plain), buf, sizeof(buf)),
		sizeof(buf));
}

static void test_key_files(void **state)
{
	static const struct {
		const char *text, *said;
	} bad[] = {
		{ "", "has no key" },
		{ "# only words\n\n", "has no key" },
		{ "alice\n", "keys:1: expected NAME and a key" },
		{ "\nalice AAAA\n", "keys:2: expected NAME" },
		{ "al!ce AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
			"keys:1: the name" },
		{ LINE "carol AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
			"keys:2: this key stands in line 1 already" },
		{ "alice AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= x\n",
			"keys:1: expected" },
	};
	struct auth_keys keys;
	char why[AUTH_WHY], text[AUTH_SECRET_TEXT], line[128];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(
			auth_keys_parse("keys", bad[i].text, &keys, why, sizeof(why)),
			ERR_CONFIG);
		assert_non_null(strstr(why, bad[i].said));
		assert_null(keys.at);
	}
	keys_of("# two\n" LINE
		"alice //////////////////////////////////////////8= # new\r\n",
		&keys);
	assert_int_equal(keys.n, 2);
	assert_true(auth_key_named(&keys, "alice") == &keys.at[0]);
	assert_true(auth_key_find(&keys, keys.at[1].id) == &keys.at[1]);
	assert_true(keys.at[0].identity == keys.at[1].identity);
	auth_keys_fini(&keys);
	assert_true(auth_secret_new(text));
	(void)snprintf(line, sizeof(line), "x %s\n", text);
	keys_of(line, &keys);
	auth_keys_fini(&keys);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_first_exchange, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cut_and_changed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_other_addresses, set_up, tear_down),
		cmocka_unit_test(test_window),
		cmocka_unit_test_setup_teardown(test_keys_change, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_room, set_up, tear_down),
		cmocka_unit_test(test_key_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
