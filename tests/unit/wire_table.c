/*
 * Every row of the message and parameter tables at its edges: shortest, longest, one byte
 * short, one byte over, wrong order, missing, repeated, unknown.  The cases are made from
 * the rows.
 */
#include "base/err.h"
#include "base/random.h"
#include "wire_draft.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

/* Which case failed, without a printf in each. */
#define EXPECT(d, udp, want) expect(&(d), (udp), (want), __func__, __LINE__)

static void expect(
	const struct draft *d, bool udp, uint16_t want, const char *test, int line)
{
	uint16_t got = draft_decode(d, udp);
	static uint8_t buf[RSIP_LENGTH_MAX];
	size_t len = draft_bytes(d, buf);

	if (got == want)
		return;
	print_message("%s, line %d: message type %u: error %u, not %u:", test, line,
		d->type, got, want);
	for (size_t i = 0; i < len && i < 128; i++)
		print_message(" %02x", buf[i]);
	print_message("\n");
	fail();
}

/* Calls fn for every message type that has a row. */
static void each_message(void (*fn)(uint8_t type))
{
	for (unsigned int type = 0; type <= UINT8_MAX; type++) {
		if (msg_spec_find((uint8_t)type))
			fn((uint8_t)type);
	}
}

static void expect_same_bytes(const struct draft *d)
{
	static uint8_t in[RSIP_LENGTH_MAX], out[RSIP_LENGTH_MAX];
	size_t len = draft_bytes(d, in);
	struct wire_msg m;

	assert_int_equal(wire_decode_private(in, len, d->spec->to, false, &m), 0);
	assert_int_equal(wire_encode(&m, out, sizeof(out)), len);
	assert_memory_equal(in, out, len);
	/* One byte less room is too little, and nothing is written behind it. */
	out[len - 1] = 0xaa;
	assert_int_equal(wire_encode(&m, out, len - 1), ERR_NOSPACE);
	assert_int_equal(out[len - 1], 0xaa);
}

static void shortest_longest(uint8_t type)
{
	struct draft d = draft_short(type);

	EXPECT(d, false, 0);
	expect_same_bytes(&d);
	d = draft_full(type);
	EXPECT(d, false, 0);
	EXPECT(d, true, 0);
	expect_same_bytes(&d);
}

/* P-9-01, P-9-12, P-8-01: the least and the most of each message, and back to bytes. */
static void test_shortest_longest(void **state)
{
	(void)state;
	each_message(shortest_longest);
}

static void cut_or_padded(uint8_t type)
{
	static uint8_t buf[RSIP_LENGTH_MAX];
	struct draft d = draft_full(type);
	size_t full = draft_bytes(&d, buf);
	struct wire_msg m;

	/* Any cut is either between two parameters, or 207. */
	for (size_t len = RSIP_HEADER_LEN; len <= full + 1; len++) {
		size_t at = RSIP_HEADER_LEN;
		uint16_t error;

		buf[2] = (uint8_t)(len >> 8);
		buf[3] = (uint8_t)len;
		error = wire_decode_private(buf, len, d.spec->to, false, &m);
		for (size_t i = 0; i < d.n && at < len; i++)
			at += 3 + d.part[i].len;
		if (at != len)
			assert_int_equal(error, RSIP_BAD_MESSAGE);
		else
			assert_int_not_equal(error, RSIP_BAD_MESSAGE);
	}
}

/* P-8-02: one byte short, one over, and every other cut. */
static void test_cut_or_padded(void **state)
{
	(void)state;
	each_message(cut_or_padded);
}

static void missing(uint8_t type)
{
	for (size_t i = 0; i < draft_short(type).n; i++) {
		struct draft d = draft_short(type);

		draft_del(&d, i);
		EXPECT(d, false, RSIP_MISSING_PARAM);
	}
}

/* P-A-201, S-6.2-21: each required parameter left out. */
static void test_missing(void **state)
{
	(void)state;
	each_message(missing);
}

/* What the roles of two parameters have in common decides nothing: only the types count.
 */
static bool stands_for(const struct draft *d, uint8_t type, uint8_t want)
{
	bool both =
		role_in(d->spec->must, ROLE_LEASE) && role_in(d->spec->must, ROLE_TUNNEL);

	if (both && (type == PARAM_LEASE_TIME || type == PARAM_TUNNEL_TYPE))
		return want == PARAM_LEASE_TIME || want == PARAM_TUNNEL_TYPE;
	return type == want;
}

static bool is_ordered(const struct draft *d)
{
	for (size_t i = 0; i < d->n_must; i++) {
		if (!stands_for(d, d->part[i].type, role_specs[d->spec->must[i]].param))
			return false;
	}
	return true;
}

/* Move the part at `from`, with what is glued to it, before the one at `to`. */
static void move(struct draft *d, size_t from, size_t to)
{
	do {
		struct part p = d->part[from];

		draft_del(d, from);
		draft_add(d, to, p);
		from++;
		to++;
	} while (from < d->n && d->part[from].glued);
}

static void moved_forward(uint8_t type)
{
	struct draft full = draft_full(type);

	for (size_t from = 1; from < full.n; from++) {
		for (size_t to = 0; to < from && !full.part[from].glued; to++) {
			struct draft d = full;

			if (d.part[to].glued)
				continue;
			move(&d, from, to);
			EXPECT(d, false, is_ordered(&d) ? 0 : RSIP_BAD_MESSAGE);
		}
	}
}

static void shuffled(uint8_t type)
{
	struct random r = random_seeded(type);

	for (unsigned int round = 0; round < 3000; round++) {
		struct draft d = draft_full(type);

		for (size_t i = d.n; i-- > 1;) {
			size_t to = random_below(&r, (uint32_t)i + 1);

			if (to < i && !d.part[i].glued && !d.part[to].glued)
				move(&d, i, to);
		}
		EXPECT(d, false, is_ordered(&d) ? 0 : RSIP_BAD_MESSAGE);
	}
}

/*
 * P-9-05, P-9.17-01: required parameters in exactly their order, before the optional; in
 * a grant Lease Time and Tunnel Type either way.
 */
static void test_misordered(void **state)
{
	(void)state;
	each_message(moved_forward);
	each_message(shuffled);
}

static void optional_any_order(uint8_t type)
{
	struct draft d = draft_full(type);

	/* Each first optional one, with what is glued to it, goes to the end in turn. */
	for (size_t turns = 0; turns < d.n - d.n_must; turns++) {
		do {
			struct part p = d.part[d.n_must];

			draft_del(&d, d.n_must);
			draft_add(&d, d.n, p);
		} while (d.part[d.n_must].glued);
		EXPECT(d, true, 0);
	}
}

/* P-9-06: optional parameters in any order. */
static void test_optional_any_order(void **state)
{
	(void)state;
	each_message(optional_any_order);
}

static void repeated(uint8_t type)
{
	struct draft full = draft_full(type);

	for (size_t i = 0; i < full.n; i++) {
		enum role role = full.part[i].role;
		bool many =
			role == ROLE_VENDOR || (full.spec->many & role_specs[role].has);
		struct draft d = full;

		if (full.part[i].glued)
			continue;
		draft_add(&d, d.n, full.part[i]);
		if (i + 1 < full.n && full.part[i + 1].glued)
			draft_add(&d, d.n, full.part[i + 1]);
		EXPECT(d, false, many ? 0 : RSIP_DUPLICATE_PARAM);
	}
}

/* P-A-202, P-9-07, P-9-08, P-9-09, P-9-10, P-9-11: each parameter once more. */
static void test_repeated(void **state)
{
	(void)state;
	each_message(repeated);
}

static void foreign(uint8_t type)
{
	const struct msg_spec *spec = msg_spec_find(type);

	for (unsigned int param = 0; param <= UINT8_MAX; param++) {
		struct draft d = draft_full(type);
		struct part p = { .type = (uint8_t)param, .value = (const uint8_t *)"" };
		enum role last;

		msg_spec_role(spec, (uint8_t)param, 0, &last);
		if (last)
			continue;
		draft_add(&d, d.n, p);
		EXPECT(d, false,
			param_spec_find((uint8_t)param) ? RSIP_EXTRA_PARAM
							: RSIP_ILLEGAL_PARAM);
	}
}

/* P-A-203, P-A-204, P-8-03, S-6.2-21: parameters that are not this message's. */
static void test_foreign(void **state)
{
	(void)state;
	each_message(foreign);
}

/* Parameters, each in every message and role that takes it. */
static void lengths(uint8_t type)
{
	static const uint8_t zeros[RSIP_LENGTH_MAX];
	struct draft full = draft_full(type);

	for (size_t i = 0; i < full.n; i++) {
		const struct param_spec *p = param_spec_find(full.part[i].type);
		struct draft d = full;
		struct part *part = &d.part[i];

		part->value = zeros;
		if (p->len_min > 0) {
			part->len = p->len_min - 1U;
			EXPECT(d, false, RSIP_BAD_PARAM);
		}
		if (p->len_max < RSIP_LENGTH_MAX - 1000) {
			part->len = p->len_max + 1U;
			EXPECT(d, false, RSIP_BAD_PARAM);
		}
		for (part->len = p->len_min + 1U; part->len < p->len_min + p->len_step;
			part->len++)
			EXPECT(d, false, RSIP_BAD_PARAM);
	}
}

/*
 * P-8.1-01, P-8.3-01, P-8.4-01, P-8.5-01, P-8.6-01, P-8.7-01, P-8.8-01, P-8.9-01,
 * P-8.11-01, P-8.12-01, S-6.2-01: one byte under the least Length and one over the most,
 * and between two steps.
 */
static void test_lengths(void **state)
{
	(void)state;
	each_message(lengths);
}

static void sides_and_transport(uint8_t type)
{
	struct draft d = draft_short(type);
	struct wire_msg m;
	uint8_t buf[256];
	size_t len = draft_bytes(&d, buf);
	enum wire_side wrong = d.spec->to == SIDE_HOST ? SIDE_GATEWAY : SIDE_HOST;
	struct part zero = draft_sample(ROLE_COUNTER);

	assert_true(len <= sizeof(buf));
	assert_int_equal(
		wire_decode_private(buf, len, wrong, false, &m), RSIP_ILLEGAL_MESSAGE);
	assert_int_equal(m.type, type);
	EXPECT(d, true, RSIP_MESSAGE_COUNTER_REQUIRED);
	zero.value = (const uint8_t *)"\0\0\0";
	draft_add(&d, d.n, zero);
	EXPECT(d, true, d.spec->to == SIDE_HOST ? 0 : RSIP_BAD_PARAM);
	EXPECT(d, false, d.spec->to == SIDE_HOST ? 0 : RSIP_BAD_PARAM);
}

/*
 * P-A-105, P-10.1-13, P-10.1-14, P-10.1-17, P-8.11-01, P-B-04: who may receive what, and
 * the counter over UDP.
 */
static void test_sides_and_transport(void **state)
{
	(void)state;
	each_message(sides_and_transport);
}

/* P-A-206, P-B-03: message types without a row. */
static void test_unknown_message(void **state)
{
	(void)state;
	for (unsigned int type = 0; type <= UINT8_MAX; type++) {
		uint8_t bytes[] = { RSIP_VERSION_1, (uint8_t)type, 0, 4 };
		struct wire_msg m;

		if (msg_spec_find((uint8_t)type))
			continue;
		for (enum wire_side side = SIDE_GATEWAY; side <= SIDE_HOST; side++)
			assert_int_equal(wire_decode(bytes, 4, side, false, &m),
				RSIP_ILLEGAL_MESSAGE);
		assert_null(rsip_msg_name((uint8_t)type));
	}
}

/* P-8-03, P-A-206, P-A-204: what is of private use is unknown to who does not want it. */
static void test_private(void **state)
{
	static uint8_t buf[RSIP_LENGTH_MAX];
	struct draft d = draft_short(MSG_REGISTER_REQUEST);
	struct wire_msg m;

	(void)state;
	draft_add(&d, 0, draft_sample(ROLE_IKE_IDENTITY));
	size_t len = draft_bytes(&d, buf);
	assert_int_equal(
		wire_decode(buf, len, SIDE_GATEWAY, false, &m), RSIP_ILLEGAL_PARAM);
	assert_int_equal(
		wire_decode_private(buf, len, SIDE_GATEWAY, false, &m), RSIP_EXTRA_PARAM);
	for (unsigned int type = RSIP_PRIVATE; type <= UINT8_MAX; type++) {
		if (!msg_spec_find((uint8_t)type))
			continue;
		d = draft_full((uint8_t)type);
		len = draft_bytes(&d, buf);
		assert_int_equal(wire_decode(buf, len, d.spec->to, false, &m),
			RSIP_ILLEGAL_MESSAGE);
	}
}

/* S-G-04: identities that no ID payload can have, or too long for us. */
static void test_ike_identity(void **state)
{
	static const uint8_t bad[][6] = { { 0, 1 }, { 2 }, { 12, 1 }, { 255, 1 },
		{ 1, 198, 51, 100 }, { 1, 198, 51, 100, 2, 3 } };
	static const size_t bad_len[] = { 2, 1, 2, 2, 4, 6 };
	struct draft d = draft_short(MSG_LISTEN_REQUEST_IKE);
	struct part *id = &d.part[draft_find(&d, ROLE_IKE_IDENTITY)];

	(void)state;
	for (size_t i = 0; i < sizeof(bad_len) / sizeof(bad_len[0]); i++) {
		id->value = bad[i];
		id->len = bad_len[i];
		EXPECT(d, false, RSIP_BAD_PARAM);
	}
	id->value = (const uint8_t[]){ 0 };
	id->len = 1;
	EXPECT(d, false, 0);
}

/* A message without one of its roles, or with one that is not its own, is not encoded. */
static void encode_refuses(uint8_t type)
{
	static uint8_t buf[RSIP_LENGTH_MAX];
	struct draft d = draft_full(type);
	struct wire_msg m, bad;

	assert_int_equal(
		wire_decode_private(buf, draft_bytes(&d, buf), d.spec->to, false, &m), 0);
	for (enum role role = ROLE_ERROR; role < ROLES; role++) {
		uint32_t has = role_specs[role].has;
		uint8_t out[512];

		bad = m;
		bad.has ^= has;
		if (role_specs[role].count)
			bad.tunnels[0] = bad.n_tunnels = bad.methods[0] = bad.n_methods =
				1;
		for (const uint8_t *r = d.spec->must; *r; r++) {
			if (*r == role)
				assert_int_equal(
					wire_encode(&bad, out, sizeof(out)), ERR_RANGE);
		}
		if (!msg_spec_has(d.spec, role) && role_specs[role].member)
			assert_int_equal(wire_encode(&bad, out, sizeof(out)), ERR_RANGE);
	}
}

static void test_encode_refuses(void **state)
{
	(void)state;
	each_message(encode_refuses);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shortest_longest),
		cmocka_unit_test(test_cut_or_padded),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_misordered),
		cmocka_unit_test(test_optional_any_order),
		cmocka_unit_test(test_repeated),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_sides_and_transport),
		cmocka_unit_test(test_unknown_message),
		cmocka_unit_test(test_private),
		cmocka_unit_test(test_ike_identity),
		cmocka_unit_test(test_encode_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
