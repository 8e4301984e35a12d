/* A session as bytes and back; and the counter where it wraps. */
#include "client_fake.h"

#include <stdlib.h>
#include <string.h>

#define SECOND 1000000ULL
/* Where the counter stands among the bytes, and how many are summed up at the end. */
#define COUNTER_AT 28

static void reseal(uint8_t *bytes, size_t len)
{
	uint32_t sum = 2166136261;

	for (size_t i = 0; i < len - 4; i++)
		sum = (sum ^ bytes[i]) * 16777619;
	for (size_t i = 0; i < 4; i++)
		bytes[len - 4 + i] = (uint8_t)(sum >> (24 - 8 * i));
}

static size_t export(struct fake *f, uint8_t bytes[static 2048])
{
	size_t len = rsip_session_export(f->s, NULL, 0);
	uint8_t *exact = malloc(len ? len : 1);

	assert_true(len <= 2048);
	assert_int_equal(rsip_session_export(f->s, exact, len), len);
	if (len) {
		assert_int_equal(rsip_session_export(f->s, exact, len - 1), len);
		memcpy(bytes, exact, len);
	}
	free(exact);
	return len;
}

/* Another process, at the time of this one. */
static void open_like(struct fake *to, const struct fake *from)
{
	fake_open(to, &from->conf);
	to->now_us = from->now_us;
}

static void same_grant(const struct rsip_grant *a, const struct rsip_grant *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->address, b->address);
	assert_int_equal(a->endpoint, b->endpoint);
	assert_int_equal(a->tunnel, b->tunnel);
	assert_int_equal(a->n_ports, b->n_ports);
	assert_memory_equal(a->ports, b->ports, a->n_ports * sizeof *a->ports);
	assert_int_equal(a->n_spis, b->n_spis);
	assert_memory_equal(a->spis, b->spis, a->n_spis * sizeof *a->spis);
	assert_int_equal(a->remote_address, b->remote_address);
	assert_int_equal(a->remote_port, b->remote_port);
	assert_int_equal(a->lease_s, b->lease_s);
	assert_int_equal(a->expires_us, b->expires_us);
	assert_null(b->tag);
}

static void bind_ipsec(struct fake *f, uint32_t bind_id)
{
	static const struct rsip_want want = { .kind = RSIP_RSIPSEC,
		.ports = { .form = RSIP_ANY, .count = 4 },
		.spis = { .form = RSIP_ANY, .count = 16 },
		.lease_s = 99 };
	struct wire_msg grant;

	assert_int_equal(rsip_assign(f->s, &want, NULL, f->now_us), 0);
	fake_asked(f, MSG_ASSIGN_REQUEST_RSIPSEC);
	grant = fake_grant(f, bind_id);
	grant.has |= HAS_ENDPOINT;
	grant.endpoint = (struct wire_addr){ .type = ADDR_IPV4, .v4 = 0x0a000003 };
	grant.remote = (struct wire_addr){
		.type = ADDR_FQDN, .fqdn = "y.example", .fqdn_len = 9
	};
	grant.remote_ports =
		(struct wire_ports){ .form = FORM_BLOCK, .number = 1, .first = 5 };
	fake_say(f, &grant);
	fake_event(f, RSIP_EVENT_GRANTED);
}

/* The new process goes on where the old one was; the gateway sees a gap at most. */
static void test_round(void **state)
{
	struct fake a, b;
	uint8_t bytes[2048], again[2048];
	size_t len;

	(void)state;
	fake_open(&a, NULL);
	assert_int_equal(rsip_session_export(a.s, bytes, sizeof bytes), 0);
	fake_register(&a);
	fake_bind(&a, 1);
	bind_ipsec(&a, 2);
	len = export(&a, bytes);
	open_like(&b, &a);
	assert_int_equal(rsip_session_import(b.s, bytes, len, b.now_us), 0);
	fake_quiet(&b);
	assert_int_equal(rsip_session_state(b.s), RSIP_ASSIGNED);
	assert_memory_equal(rsip_session_registration(b.s),
		rsip_session_registration(a.s), sizeof(struct rsip_registration));
	same_grant(rsip_grant_find(a.s, 1), rsip_grant_find(b.s, 1));
	same_grant(rsip_grant_find(a.s, 2), rsip_grant_find(b.s, 2));
	assert_string_equal(rsip_grant_find(b.s, 2)->remote_name, "y.example");
	rsip_session_tick(b.s, b.now_us);
	assert_int_equal(rsip_session_import(b.s, bytes, len, b.now_us), RSIP_ERR_STATE);
	assert_int_equal(rsip_register(b.s, NULL, b.now_us), RSIP_ERR_STATE);
	/* The extension repeats the wish of the caller of then. */
	fake_sleep(&b, 1800 * SECOND);
	fake_asked(&b, MSG_EXTEND_REQUEST);
	assert_true(b.asked.counter > 3);
	fake_say_extended(&b, 3600);
	fake_event(&b, RSIP_EVENT_EXTENDED);
	assert_int_equal(fake_asked(&b, MSG_EXTEND_REQUEST)->lease_s, 99);
	fake_say_extended(&b, 3600);
	fake_event(&b, RSIP_EVENT_EXTENDED);
	assert_int_equal(export(&b, again), len);
	fake_close(&a);
	fake_close(&b);
}

/* What is past its time stays behind. */
static void test_expired(void **state)
{
	struct fake a, b;
	uint8_t bytes[2048];
	size_t len;

	(void)state;
	fake_open(&a, NULL);
	fake_register(&a);
	fake_bind(&a, 1);
	len = export(&a, bytes);
	open_like(&b, &a);
	b.now_us += 3600 * SECOND;
	assert_int_equal(rsip_session_import(b.s, bytes, len, b.now_us), 0);
	assert_null(rsip_grant_find(b.s, 1));
	assert_int_equal(rsip_session_state(b.s), RSIP_REGISTERED);
	fake_close(&b);
	open_like(&b, &a);
	b.now_us += 7200 * SECOND;
	assert_int_equal(rsip_session_import(b.s, bytes, len, b.now_us), 0);
	assert_null(rsip_session_registration(b.s));
	assert_int_equal(rsip_register(b.s, NULL, b.now_us), 0);
	fake_asked(&b, MSG_REGISTER_REQUEST);
	fake_close(&b);
	fake_close(&a);
}

/* A freeing that was under way is finished; so is one the session owed. */
static void test_leaving(void **state)
{
	struct fake a, b;
	uint8_t bytes[2048];
	size_t len;

	(void)state;
	fake_open(&a, NULL);
	fake_register(&a);
	fake_bind(&a, 1);
	assert_int_equal(rsip_free(a.s, 1, NULL, a.now_us), 0);
	fake_asked(&a, MSG_FREE_REQUEST);
	len = export(&a, bytes);
	open_like(&b, &a);
	assert_int_equal(rsip_session_import(b.s, bytes, len, b.now_us), 0);
	assert_null(rsip_grant_find(b.s, 1));
	fake_sleep(&b, 0);
	assert_int_equal(fake_asked(&b, MSG_FREE_REQUEST)->bind_id, 1);
	len = export(&b, bytes);
	fake_close(&a);
	open_like(&a, &b);
	assert_int_equal(rsip_session_import(a.s, bytes, len, a.now_us), 0);
	fake_sleep(&a, 0);
	assert_int_equal(fake_asked(&a, MSG_FREE_REQUEST)->bind_id, 1);
	fake_close(&a);
	fake_close(&b);
}

/* A-U-05: an assign that was under way may have been granted. */
static void test_assigning(void **state)
{
	struct fake a, b;
	uint8_t bytes[2048];
	size_t len;

	(void)state;
	fake_open(&a, NULL);
	fake_register(&a);
	assert_int_equal(rsip_assign(a.s, &fake_want, NULL, a.now_us), 0);
	fake_asked(&a, MSG_ASSIGN_REQUEST_RSAP_IP);
	len = export(&a, bytes);
	open_like(&b, &a);
	assert_int_equal(rsip_session_import(b.s, bytes, len, b.now_us), 0);
	fake_sleep(&b, 0);
	fake_asked(&b, MSG_DEREGISTER_REQUEST);
	fake_close(&a);
	fake_close(&b);
}

/* Bytes that no export wrote: every one changed, every length, sealed again or not. */
static void test_damaged(void **state)
{
	struct fake a, b;
	uint8_t bytes[2048], bad[2048];
	size_t len;

	(void)state;
	fake_open(&a, NULL);
	fake_register(&a);
	fake_bind(&a, 1);
	bind_ipsec(&a, 2);
	len = export(&a, bytes);
	open_like(&b, &a);
	for (size_t i = 0; i < len; i++) {
		memcpy(bad, bytes, len);
		bad[i] ^= 0x40;
		assert_int_equal(
			rsip_session_import(b.s, bad, len, b.now_us), RSIP_ERR_INVALID);
		assert_int_equal(
			rsip_session_import(b.s, bytes, i, b.now_us), RSIP_ERR_INVALID);
		if (i >= 4) {
			memcpy(bad, bytes, i);
			reseal(bad, i);
			assert_int_equal(rsip_session_import(b.s, bad, i, b.now_us),
				RSIP_ERR_INVALID);
		}
		assert_null(rsip_session_registration(b.s));
	}
	fake_close(&b);
	/* Sealed damage may be taken, but never breaks anything. */
	for (size_t i = 0; i < len - 4; i++) {
		memcpy(bad, bytes, len);
		bad[i] ^= (uint8_t)(i * 37 + 1);
		reseal(bad, len);
		open_like(&b, &a);
		(void)rsip_session_import(b.s, bad, len, b.now_us);
		fake_close(&b);
	}
	/* More bindings than this session may hold. */
	a.conf.max_bindings = 1;
	open_like(&b, &a);
	assert_int_equal(rsip_session_import(b.s, bytes, len, b.now_us), RSIP_ERR_FULL);
	fake_close(&b);
	fake_close(&a);
}

/* P-10.1-04: after 2^32-1 comes 1. */
static void test_wrap(void **state)
{
	struct fake a, b;
	uint8_t bytes[2048];
	size_t len;

	(void)state;
	fake_open(&a, NULL);
	fake_register(&a);
	len = export(&a, bytes);
	/* The import leaves a gap of 64. */
	memcpy(bytes + COUNTER_AT, "\xff\xff\xff\xbe", 4);
	reseal(bytes, len);
	open_like(&b, &a);
	assert_int_equal(rsip_session_import(b.s, bytes, len, b.now_us), 0);
	for (uint32_t i = 0; i < 3; i++) {
		static const uint32_t want[] = { 0xffffffff, 1, 2 };

		assert_int_equal(rsip_query(b.s, NULL, 0, NULL, b.now_us), 0);
		assert_int_equal(fake_asked(&b, MSG_QUERY_REQUEST)->counter, want[i]);
		fake_say_error(&b, 101);
		fake_event(&b, RSIP_EVENT_FAILED);
	}
	fake_close(&b);
	/* The gap does not reach 0 either. */
	memcpy(bytes + COUNTER_AT, "\xff\xff\xff\xff", 4);
	reseal(bytes, len);
	open_like(&b, &a);
	assert_int_equal(rsip_session_import(b.s, bytes, len, b.now_us), 0);
	assert_int_equal(rsip_query(b.s, NULL, 0, NULL, b.now_us), 0);
	assert_in_range(fake_asked(&b, MSG_QUERY_REQUEST)->counter, 1, 100);
	fake_close(&b);
	fake_close(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_expired),
		cmocka_unit_test(test_leaving),
		cmocka_unit_test(test_assigning),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_wrap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
