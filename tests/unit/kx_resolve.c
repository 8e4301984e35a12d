/*
 * The validator against a signed tree of zones, without a socket: what is secure, denied,
 * insecure, bogus; deadlines, cancelling, and the clock.
 */
#include "kx/resolve.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WAIT_MS 10000

struct row {
	const char *name;
	uint16_t type;
	enum kx_status status;
	size_t n; /* records */
};

struct seen {
	enum kx_status status;
	size_t n, more, calls;
	uint32_t ttl_s;
	struct kx_name canon;
	char why[256];
};

struct fixture {
	uv_loop_t loop;
	struct kx_resolve *resolve;
};

static void open_at(struct fixture *f, const char *now, const char *anchor)
{
	const struct kx_resolve_conf conf = {
		.zones = ZONES, .anchor = anchor, .now = now
	};
	char why[256];
	int err;

	assert_int_equal(uv_loop_init(&f->loop), 0);
	err = kx_resolve_new(&f->loop, &conf, &f->resolve, why, sizeof(why));
	if (err != 0)
		print_error("%s\n", why);
	assert_int_equal(err, 0);
}

static void close_all(struct fixture *f)
{
	kx_resolve_free(f->resolve);
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
}

static void on_answer(void *ctx, uint32_t id, const struct kx_answer *a)
{
	struct seen *s = ctx;

	s[id].status = a->status;
	s[id].n = a->n;
	s[id].more = a->more;
	s[id].ttl_s = a->ttl_s;
	s[id].canon = a->canon;
	(void)snprintf(s[id].why, sizeof(s[id].why), "%s", a->why);
	s[id].calls++;
}

static void ask(struct fixture *f, uint32_t id, const char *text, uint16_t type,
	uint64_t ms, struct seen *seen)
{
	struct kx_name name;

	assert_int_equal(kx_name_parse(text, &name), 0);
	assert_int_equal(kx_resolve_ask(f->resolve, id, &name, type,
				 uv_now(&f->loop) + ms, on_answer, seen),
		0);
}

static void drain(struct fixture *f)
{
	while (kx_resolve_count(f->resolve) > 0)
		(void)uv_run(&f->loop, UV_RUN_ONCE);
}

static void check(struct fixture *f, const struct row *rows, size_t n)
{
	struct seen *seen = calloc(n, sizeof(*seen));
	size_t bad = 0;

	assert_non_null(seen);
	for (size_t i = 0; i < n; i++)
		ask(f, (uint32_t)i, rows[i].name, rows[i].type, WAIT_MS, seen);
	drain(f);
	for (size_t i = 0; i < n; i++) {
		const struct seen *s = &seen[i];

		if (s->calls == 1 && s->status == rows[i].status && s->n == rows[i].n)
			continue;
		print_error("%s %u: want %s with %zu, got %s with %zu (%s)\n",
			rows[i].name, rows[i].type, kx_status_text(rows[i].status),
			rows[i].n, kx_status_text(s->status), s->n, s->why);
		bad++;
	}
	free(seen);
	assert_int_equal(bad, 0);
}

#define D ".d-net.test"

/* K-3-05, K-4-01, K-4-02, K-3.1-01: own validation from a trust anchor. */
static void test_matrix(void **state)
{
	static const struct row rows[] = {
		{ "10.113.0.203.in-addr.arpa", KX_T_PTR, KX_SECURE, 1 },
		{ "201.113.0.203.in-addr.arpa", KX_T_PTR, KX_SECURE, 1 }, /* RFC 2317 */
		{ "99.113.0.203.in-addr.arpa", KX_T_PTR, KX_NXDOMAIN, 0 },
		{ "10.2.0.192.in-addr.arpa", KX_T_PTR, KX_INSECURE, 0 },
		{ "5.0.0.10.in-addr.arpa", KX_T_PTR, KX_SECURE, 1 }, /* private space */
		{ "16.100.51.198.in-addr.arpa", KX_T_PTR, KX_SECURE, 2 },
		{ "d" D, KX_T_KX, KX_SECURE, 3 },
		{ "tie" D, KX_T_KX, KX_SECURE, 2 },
		{ "self" D, KX_T_KX, KX_SECURE, 1 },
		{ "nokx" D, KX_T_KX, KX_NODATA, 0 },
		{ "nosuch" D, KX_T_KX, KX_NXDOMAIN, 0 },
		{ "alias" D, KX_T_KX, KX_SECURE, 3 },
		{ "aliasun" D, KX_T_KX, KX_INSECURE, 0 }, /* leaves the signed tree */
		{ "loop" D, KX_T_KX, KX_ERROR, 0 },       /* K-3-04 */
		{ "r.unsigned.test", KX_T_A, KX_INSECURE, 0 },
		{ "upper" D, KX_T_KX, KX_SECURE, 1 },
		{ "x.y.wild" D, KX_T_KX, KX_SECURE, 1 },
		{ "host.wild" D, KX_T_KX, KX_NODATA, 0 }, /* hides the wildcard */
		{ "nullkx" D, KX_T_KX, KX_SECURE, 1 },
		{ "h.nsec3.test", KX_T_KX, KX_SECURE, 1 },
		{ "nokx.nsec3.test", KX_T_KX, KX_NODATA, 0 },
		{ "no.nsec3.test", KX_T_KX, KX_NXDOMAIN, 0 },
		{ "x.w.nsec3.test", KX_T_KX, KX_SECURE, 1 },
		{ "d.unsigned.test", KX_T_KX, KX_INSECURE, 0 },
		{ "nokx.unsigned.test", KX_T_KX, KX_INSECURE, 0 },
		{ "d.bogus.test", KX_T_KX, KX_BOGUS, 0 }, /* changed after signing */
		{ "nokx.bogus.test", KX_T_KX, KX_NODATA, 0 },
		{ "d.expired.test", KX_T_KX, KX_BOGUS, 0 },
		{ "nokx.expired.test", KX_T_KX, KX_BOGUS, 0 }, /* a denial expires too */
		{ "d.future.test", KX_T_KX, KX_BOGUS, 0 },
		{ "d.wrongds.test", KX_T_KX, KX_BOGUS, 0 },
		{ "many.evil.test", KX_T_KX, KX_SECURE, 40 },
		{ "huge.evil.test", KX_T_KX, KX_SECURE, KX_RDATA_MAX },
		{ "c0.evil.test", KX_T_KX, KX_ERROR, 0 }, /* thirty CNAMEs */
		{ "r2" D, KX_T_IPSECKEY, KX_SECURE, 1 },
		{ "_isakmp._udp.rsip" D, KX_T_SRV, KX_SECURE, 1 },
		{ "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.0.0.0.8.b.d.0.1.0.0.2"
		  ".ip6.arpa",
			KX_T_PTR, KX_SECURE, 1 },
	};
	struct fixture f;

	(void)state;
	open_at(&f, NULL, ZONES "/anchor.key");
	check(&f, rows, sizeof(rows) / sizeof(rows[0]));
	close_all(&f);
}

/* K-4-03: without a trust anchor there is no KX. */
static void test_no_anchor(void **state)
{
	static const struct row rows[] = {
		{ "d" D, KX_T_KX, KX_INSECURE, 0 },
		{ "nokx" D, KX_T_KX, KX_INSECURE, 0 },
		{ "d.bogus.test", KX_T_KX, KX_INSECURE, 0 },
	};
	struct fixture f;

	(void)state;
	open_at(&f, NULL, "");
	check(&f, rows, sizeof(rows) / sizeof(rows[0]));
	close_all(&f);
}

static void test_other_times(void **state)
{
	static const struct row early[] = { { "d.expired.test", KX_T_KX, KX_SECURE, 1 } };
	static const struct row late[] = {
		{ "d.future.test", KX_T_KX, KX_SECURE, 1 },
		{ "d" D, KX_T_KX, KX_SECURE, 3 },
	};
	static const struct row after[] = { { "d" D, KX_T_KX, KX_BOGUS, 0 } };
	struct fixture f;

	(void)state;
	open_at(&f, "20200115000000", ZONES "/anchor.key");
	check(&f, early, 1);
	close_all(&f);
	open_at(&f, "20360601000000", ZONES "/anchor.key");
	check(&f, late, 2);
	close_all(&f);
	open_at(&f, "20370601000000", ZONES "/anchor.key");
	check(&f, after, 1);
	close_all(&f);
}

/* K-3-06: no longer than the signature; the validator itself does not see to it. */
static void test_ttl_cut(void **state)
{
	struct seen seen[3] = { 0 };
	struct fixture f;

	(void)state;
	open_at(&f, "20361231235930", ZONES "/anchor.key");
	ask(&f, 0, "d" D, KX_T_KX, WAIT_MS, seen);
	ask(&f, 1, "nokx" D, KX_T_KX, WAIT_MS, seen);
	drain(&f);
	assert_int_equal(seen[0].status, KX_SECURE);
	assert_int_equal(seen[0].ttl_s, 30);
	assert_int_equal(seen[1].status, KX_NODATA);
	assert_true(seen[1].ttl_s <= 30);
	close_all(&f);
}

static void test_huge(void **state)
{
	struct seen seen[1] = { 0 };
	struct fixture f;

	(void)state;
	open_at(&f, NULL, ZONES "/anchor.key");
	ask(&f, 0, "huge.evil.test", KX_T_KX, WAIT_MS, seen);
	drain(&f);
	assert_int_equal(seen[0].n, KX_RDATA_MAX);
	assert_int_equal(seen[0].more, 500 - KX_RDATA_MAX);
	close_all(&f);
}

static void test_canonical(void **state)
{
	struct seen seen[1] = { 0 };
	struct kx_name r2;
	struct fixture f;

	(void)state;
	assert_int_equal(kx_name_parse("r2" D, &r2), 0);
	open_at(&f, NULL, ZONES "/anchor.key");
	ask(&f, 0, "alias2" D, KX_T_A, WAIT_MS, seen);
	drain(&f);
	assert_true(kx_name_same(&seen[0].canon, &r2));
	close_all(&f);
}

/* A name server that is silent: our deadline, not the library's 17 seconds. */
static void test_deadline(void **state)
{
	struct seen seen[2] = { 0 };
	uint64_t from;
	struct fixture f;

	(void)state;
	open_at(&f, NULL, ZONES "/anchor.key");
	from = uv_now(&f.loop);
	ask(&f, 0, "r.dead.test", KX_T_A, 100, seen);
	ask(&f, 1, "d" D, KX_T_KX, WAIT_MS, seen); /* and it holds nobody else */
	drain(&f);
	assert_int_equal(seen[0].status, KX_ERROR);
	assert_string_equal(seen[0].why, "no answer in time");
	assert_int_equal(seen[1].status, KX_SECURE);
	assert_true(uv_now(&f.loop) - from < 5000);
	close_all(&f);
}

static void test_cancel(void **state)
{
	struct seen seen[3] = { 0 };
	struct fixture f;

	(void)state;
	open_at(&f, NULL, ZONES "/anchor.key");
	ask(&f, 0, "r.dead.test", KX_T_A, WAIT_MS, seen);
	ask(&f, 1, "d" D, KX_T_KX, WAIT_MS, seen);
	kx_resolve_cancel(f.resolve, 0);
	kx_resolve_cancel(f.resolve, 0); /* again, and unknown: nothing */
	kx_resolve_cancel(f.resolve, 77);
	drain(&f);
	assert_int_equal(seen[0].calls, 0);
	assert_int_equal(seen[1].calls, 1);
	/* Freed with a look-up under way. */
	ask(&f, 2, "x.dead.test", KX_T_A, WAIT_MS, seen);
	close_all(&f);
	assert_int_equal(seen[2].calls, 0);
}

static void test_bound(void **state)
{
	const struct kx_resolve_conf conf = {
		.zones = ZONES, .anchor = ZONES "/anchor.key", .in_flight = 2
	};
	struct seen seen[3] = { 0 };
	struct kx_name name;
	char why[256];
	struct fixture f;

	(void)state;
	assert_int_equal(uv_loop_init(&f.loop), 0);
	assert_int_equal(kx_resolve_new(&f.loop, &conf, &f.resolve, why, sizeof(why)), 0);
	assert_int_equal(kx_name_parse("d" D, &name), 0);
	ask(&f, 0, "d" D, KX_T_KX, WAIT_MS, seen);
	ask(&f, 1, "d" D, KX_T_A, WAIT_MS, seen);
	assert_int_equal(
		kx_resolve_ask(f.resolve, 2, &name, KX_T_A, WAIT_MS, on_answer, seen),
		ERR_NOSPACE);
	drain(&f);
	ask(&f, 2, "d" D, KX_T_A, uv_now(&f.loop) + WAIT_MS, seen);
	drain(&f);
	assert_int_equal(seen[2].status, KX_SECURE);
	close_all(&f);
}

/* Errors say which file, and what is wrong. */
static void test_conf_errors(void **state)
{
	static const struct {
		struct kx_resolve_conf conf;
		const char *why;
	} rows[] = {
		{ { .anchor = "/proc/nonexistent" }, "/proc/nonexistent: No such file" },
		{ { .anchor = "", .zones = "/proc/nonexistent" },
			"/proc/nonexistent: No such" },
		{ { .anchor = "", .zones = "/proc/self/fdinfo" }, "no file NAME.zone" },
		{ { .anchor = "", .now = "yesterday" }, "\"yesterday\" is not YYYY" },
		{ { .anchor = "", .forward = "nowhere" }, "nowhere: " },
	};
	uv_loop_t loop;

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct kx_resolve *r = NULL;
		char why[256] = "";

		assert_int_not_equal(
			kx_resolve_new(&loop, &rows[i].conf, &r, why, sizeof(why)), 0);
		if (strstr(why, rows[i].why) == NULL)
			print_error("want \"%s\" got \"%s\"\n", rows[i].why, why);
		assert_non_null(strstr(why, rows[i].why));
	}
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matrix),
		cmocka_unit_test(test_no_anchor),
		cmocka_unit_test(test_other_times),
		cmocka_unit_test(test_ttl_cut),
		cmocka_unit_test(test_huge),
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_conf_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
