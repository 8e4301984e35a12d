/*
 * Decisions about key exchangers: every cell of the table of results, and the rules of
 * RFC 2230 sections 2 to 4 one by one.
 */
#include "kx_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S     "198.51.100.10"
#define D     "203.0.113.10"

#define UP_R2 "connect d.d-net.test. r2.d-net.test. 203.0.113.1 key"

static void world(struct rig *r, const char *group)
{
	rig_init(r);
	rig_rule(r, group, "0.0.0.0/0");
	rig_rule(r, group, "::/0");
	rig_world(r);
	rig_start(r);
}

/* --- the table ------------------------------------------------------------------------
 */

/* What DNS says instead of what rig_world() set up. */
struct cell {
	const char *what;
	const char *name; /* NULL: PTR of D */
	uint16_t type;
	enum kx_status status;
	uint32_t ttl_s;
	const char *records;
	const char *private, *or_clear; /* without the seconds when they are jittered */
};

#define X    "r2.d-net.test"
#define SELF "connect d.d-net.test. d.d-net.test. 203.0.113.10"

static const struct cell cells[] = {
	{ "all is secure", "x.test", KX_T_A, KX_NODATA, 30, "", UP_R2, UP_R2 },
	{ "KX denied", "d.d-net.test", KX_T_KX, KX_NODATA, 30, "", SELF, SELF },
	{ "KX name denied", "d.d-net.test", KX_T_KX, KX_NXDOMAIN, 30, "", "drop name 30",
		"pass name 30" },
	{ "KX insecure", "d.d-net.test", KX_T_KX, KX_INSECURE, 900, "",
		"drop insecure 300", "pass insecure 300" },
	{ "KX bogus", "d.d-net.test", KX_T_KX, KX_BOGUS, 900, "",
		"log bogus, drop bogus 60", "log bogus, pass bogus 60" },
	{ "KX no answer", "d.d-net.test", KX_T_KX, KX_ERROR, 0, "", "drop error ",
		"pass error " },
	{ "KX null", "d.d-net.test", KX_T_KX, KX_SECURE, 300, "0 .", "drop null 300",
		"pass null 300" },
	{ "PTR denied", NULL, KX_T_PTR, KX_NODATA, 30, "", "drop reverse 30",
		"pass reverse 30" },
	{ "PTR name denied", NULL, KX_T_PTR, KX_NXDOMAIN, 5000, "", "drop reverse 900",
		"pass reverse 900" },
	{ "PTR insecure", NULL, KX_T_PTR, KX_INSECURE, 2, "", "drop insecure 5",
		"pass insecure 5" },
	{ "PTR bogus", NULL, KX_T_PTR, KX_BOGUS, 10, "", "log bogus, drop bogus 60",
		"log bogus, pass bogus 60" },
	{ "PTR no answer", NULL, KX_T_PTR, KX_ERROR, 0, "", "drop error ",
		"pass error " },
	{ "forward has another address", "d.d-net.test", KX_T_A, KX_SECURE, 100,
		"203.0.113.11", "drop forward 100", "pass forward 100" },
	{ "forward denied", "d.d-net.test", KX_T_A, KX_NODATA, 30, "", "drop forward 30",
		"pass forward 30" },
	{ "forward insecure", "d.d-net.test", KX_T_A, KX_INSECURE, 30, "",
		"drop insecure 30", "pass insecure 30" },
	{ "forward bogus", "d.d-net.test", KX_T_A, KX_BOGUS, 30, "",
		"log bogus, drop bogus 60", "log bogus, pass bogus 60" },
	{ "forward no answer", "d.d-net.test", KX_T_A, KX_ERROR, 0, "", "drop error ",
		"pass error " },
	{ "exchanger without address", X, KX_T_A, KX_NODATA, 30, "", "drop unusable 300",
		"pass unusable 300" },
	{ "exchanger does not exist", X, KX_T_A, KX_NXDOMAIN, 30, "", "drop unusable 300",
		"pass unusable 300" },
	{ "exchanger insecure", X, KX_T_A, KX_INSECURE, 30, "", "drop insecure 300",
		"pass insecure 300" },
	{ "exchanger bogus", X, KX_T_A, KX_BOGUS, 30, "", "log bogus, drop bogus 60",
		"log bogus, pass bogus 60" },
	{ "exchanger no answer", X, KX_T_AAAA, KX_ERROR, 0, "", "drop error ",
		"pass error " },
	{ "key insecure", X, KX_T_IPSECKEY, KX_INSECURE, 30, "", "drop insecure 300",
		"pass insecure 300" },
	{ "key denied: X.509", X, KX_T_IPSECKEY, KX_NODATA, 30, "",
		"connect d.d-net.test. r2.d-net.test. 203.0.113.1",
		"connect d.d-net.test. r2.d-net.test. 203.0.113.1" },
	{ "port", "_isakmp._udp." X, KX_T_SRV, KX_SECURE, 30, "0 0 5400 " X ".",
		"connect d.d-net.test. r2.d-net.test. 203.0.113.1 port 5400 key",
		"connect d.d-net.test. r2.d-net.test. 203.0.113.1 port 5400 key" },
	{ "port insecure", "_isakmp._udp." X, KX_T_SRV, KX_INSECURE, 30, "",
		"drop insecure 300", "pass insecure 300" },
	{ "port service absent", "_isakmp._udp." X, KX_T_SRV, KX_SECURE, 30, "0 0 0 .",
		"drop null 300", "pass null 300" },
	{ "five names", NULL, KX_T_PTR, KX_SECURE, 60,
		"a.d-net.test;b.d-net.test;c.d-net.test;d.d-net.test;e.d-net.test",
		"drop reverse 60", "pass reverse 60" },
};

static void check_cell(const struct cell *c, const char *group, const char *want)
{
	struct rig r;
	const char *got;

	world(&r, group);
	if (c->name != NULL)
		rig_set(&r, c->name, c->type, c->status, c->ttl_s, c->records);
	else
		rig_ptr(&r, D, c->status, c->ttl_s, c->records);
	rig_packet(&r, S, D);
	got = rig_take(&r);
	if (want[strlen(want) - 1] == ' ' ? strncmp(got, want, strlen(want)) != 0
					  : strcmp(got, want) != 0) {
		print_error(
			"%s, %s: want \"%s\" got \"%s\"\n", c->what, group, want, got);
		fail();
	}
	rig_free(&r);
}

/*
 * K-2.1-01, K-2.1-02, K-4-01, K-4-02, K-3-04: only what is secure counts, and only a
 * secure denial is an absence.
 */
static void test_cells(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
		check_cell(&cells[i], "private", cells[i].private);
		check_cell(&cells[i], "private-or-clear", cells[i].or_clear);
	}
}

static void test_groups(void **state)
{
	static const struct {
		const char *group, *want;
	} rows[] = {
		{ "clear", "pass group 60" },
		{ "clear-or-private", "pass group 60" },
		{ "block", "drop group 60" },
	};
	struct rig r;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		world(&r, rows[i].group);
		rig_packet(&r, S, D);
		assert_string_equal(rig_take(&r), rows[i].want);
		assert_int_equal(r.asked, 0);
		rig_free(&r);
	}
	rig_init(&r);
	rig_rule(&r, "private", "10.0.0.0/8");
	rig_start(&r);
	rig_packet(&r, S, D); /* no rule: not ours */
	assert_string_equal(rig_take(&r), "pass group 0");
	rig_free(&r);
}

/* The longest prefix decides, and a rule for a port is for its packets only. */
static void test_port_rule(void **state)
{
	struct kx_rule dns = { .group = KX_CLEAR, .protocol = 17, .port = 53 };
	struct kx_event ev = { .kind = KX_PACKET };
	struct rig r;
	uint32_t other;

	(void)state;
	rig_init(&r);
	rig_rule(&r, "private", "0.0.0.0/0");
	rig_world(&r);
	assert_int_equal(kx_prefix_parse("203.0.113.0/24", &dns.prefix), 0);
	assert_int_equal(kx_policy_add(r.policy, &dns, &other), 0);
	rig_start(&r);
	assert_int_equal(kx_addr_parse(S, &ev.source), 0);
	assert_int_equal(kx_addr_parse(D, &ev.flow.destination), 0);
	ev.flow.protocol = 17;
	ev.flow.port = 53;
	rig_event(&r, &ev);
	assert_string_equal(rig_take(&r), "pass group 0");
	ev.flow.port = 54;
	rig_event(&r, &ev);
	assert_string_equal(rig_take(&r), UP_R2);
	rig_free(&r);
}

/* --- IKE ------------------------------------------------------------------------------
 */

static void three(struct rig *r)
{
	rig_set(r, "d.d-net.test", KX_T_KX, KX_SECURE, 300,
		"30 r2c.d-net.test.;10 R2.D-Net.TEST.;20 r2b.d-net.test.");
	rig_set(r, "r2b.d-net.test", KX_T_A, KX_SECURE, 300, "203.0.113.2");
	rig_set(r, "r2c.d-net.test", KX_T_A, KX_SECURE, 300, "203.0.113.3");
}

/* K-3-03: the next one when the former does not answer; then the group decides. */
static void test_failover(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	three(&r);
	rig_packet(&r, S, D);
	assert_string_equal(rig_take(&r), UP_R2);
	rig_ike(&r, KX_IKE_TIMEOUT);
	assert_string_equal(
		rig_take(&r), "connect d.d-net.test. r2b.d-net.test. 203.0.113.2");
	rig_pass(&r, 3000); /* no word from IKE either */
	assert_string_equal(rig_take(&r),
		"terminate exchanger r2b.d-net.test., "
		"connect d.d-net.test. r2c.d-net.test. 203.0.113.3");
	rig_ike(&r, KX_IKE_FAILED);
	assert_string_equal(rig_take(&r), "drop ike 60");
	/* Until it is over nothing is tried; then the pause doubles. */
	rig_packet(&r, S, D);
	assert_string_equal(rig_take(&r), "drop ike 60");
	rig_pass(&r, 60000);
	rig_packet(&r, S, D);
	assert_string_equal(rig_take(&r), UP_R2);
	rig_ike(&r, KX_IKE_FAILED);
	rig_ike(&r, KX_IKE_FAILED);
	rig_ike(&r, KX_IKE_FAILED);
	assert_non_null(strstr(rig_take(&r), "drop ike 120"));
	rig_free(&r);
}

/* The responder looks us up only when it hears from us: it is asked again. */
static void test_retry(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	rig_packet(&r, S, D);
	(void)rig_take(&r);
	rig_ike(&r, KX_IKE_AUTH);
	rig_pass(&r, 199);
	assert_string_equal(rig_take(&r), "");
	rig_pass(&r, 1);
	assert_string_equal(rig_take(&r), UP_R2);
	rig_ike(&r, KX_IKE_TS);
	rig_pass(&r, 500);
	assert_string_equal(rig_take(&r), UP_R2);
	rig_ike(&r, KX_IKE_TS);
	rig_pass(&r, 1000);
	assert_string_equal(rig_take(&r), UP_R2);
	rig_ike(&r, KX_IKE_UP);
	assert_string_equal(rig_take(&r), "unshunt");
	assert_int_equal(kx_count(r.kx)->waiting, 0);
	rig_free(&r);
}

/* Who blocks our UDP 500 does not make us speak in clear. */
static void test_no_downgrade(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private-or-clear");
	rig_packet(&r, S, D);
	rig_ike(&r, KX_IKE_UP);
	rig_ike(&r, KX_IKE_DOWN);
	(void)rig_take(&r);
	rig_packet(&r, S, D);
	rig_ike(&r, KX_IKE_TIMEOUT);
	assert_string_equal(rig_take(&r), UP_R2 ", drop ike 60");
	rig_pass(&r, 300000); /* the KX record's TTL */
	rig_packet(&r, S, D);
	rig_ike(&r, KX_IKE_TIMEOUT);
	assert_string_equal(rig_take(&r), UP_R2 ", pass ike 120");
	rig_free(&r);
}

static void test_total_time(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	three(&r);
	rig_packet(&r, S, D);
	for (int i = 0; i < 4; i++) {
		rig_pass(&r, 2500);
		rig_ike(&r, i < 3 ? KX_IKE_TS : KX_IKE_UP);
	}
	assert_non_null(strstr(rig_take(&r), "drop ike 60"));
	assert_int_equal(kx_count(r.kx)->waiting, 0);
	rig_free(&r);
}

/* --- names ----------------------------------------------------------------------------
 */

/* The forward zone proves nothing about an address: the reverse tree says whose it is. */
static void test_foreign_claim(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	rig_set(&r, "d.evil.test", KX_T_A, KX_SECURE, 300, D);
	rig_set(&r, "d.evil.test", KX_T_KX, KX_SECURE, 300, "0 r.evil.test.");
	rig_set(&r, "r.evil.test", KX_T_A, KX_SECURE, 300, "192.0.2.66");
	rig_packet(&r, S, D);
	assert_string_equal(rig_take(&r), UP_R2);
	rig_free(&r);
}

/* K-2.1-02: of several names those count that have the address. */
static void test_two_names(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	rig_ptr(&r, D, KX_SECURE, 300, "a.d-net.test.;d.d-net.test.");
	rig_packet(&r, S, D);
	assert_string_equal(rig_take(&r), UP_R2);
	rig_free(&r);
	/* One denies KX, of the other one nobody knows: not an absence. */
	world(&r, "private");
	rig_ptr(&r, D, KX_SECURE, 300, "a.d-net.test.;d.d-net.test.");
	rig_set(&r, "a.d-net.test", KX_T_A, KX_SECURE, 300, D);
	rig_set(&r, "a.d-net.test", KX_T_KX, KX_NODATA, 30, "");
	rig_set(&r, "d.d-net.test", KX_T_KX, KX_ERROR, 0, "");
	rig_packet(&r, S, D);
	assert_memory_equal(rig_take(&r), "drop error ", 11);
	rig_free(&r);
}

/* K-3-03: equal preferences in random order; what does not exist is passed over. */
static void test_ties(void **state)
{
	size_t r2 = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 64; seed++) {
		struct rig r;

		rig_init(&r);
		r.conf.random = random_seeded(seed);
		rig_rule(&r, "private", "0.0.0.0/0");
		rig_world(&r);
		rig_set(&r, "d.d-net.test", KX_T_KX, KX_SECURE, 300,
			"10 r2.d-net.test.;10 r2b.d-net.test.;5 nosuch.test.");
		rig_set(&r, "r2b.d-net.test", KX_T_A, KX_SECURE, 300, "203.0.113.2");
		rig_start(&r);
		rig_packet(&r, S, D);
		r2 += strstr(rig_take(&r), "r2.d-net") != NULL;
		rig_free(&r);
	}
	assert_in_range(r2, 16, 48);
}

/* K-3-07: the KX of an exchanger is not looked up. */
static void test_no_chain(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	rig_set(&r, "r2.d-net.test", KX_T_KX, KX_SECURE, 300, "0 r3.d-net.test.");
	rig_packet(&r, S, D);
	assert_string_equal(rig_take(&r), UP_R2);
	rig_free(&r);
}

/* K-3-04: an exchanger that is a CNAME; the identity is what it leads to. */
static void test_exchanger_cname(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	rig_set(&r, "d.d-net.test", KX_T_KX, KX_SECURE, 300, "10 alias.d-net.test.");
	rig_cname(&r, "alias.d-net.test", KX_T_A, "r2.d-net.test", "203.0.113.1");
	rig_set(&r, "_isakmp._udp.r2.d-net.test", KX_T_SRV, KX_SECURE, 30,
		"0 0 5400 r2.d-net.test.");
	rig_packet(&r, S, D);
	assert_string_equal(rig_take(&r),
		"connect d.d-net.test. r2.d-net.test. 203.0.113.1 port 5400");
	rig_free(&r);
}

/* Forty exchangers: sixteen used, four tried. */
static void test_many(void **state)
{
	static char records[4096];
	struct rig r;
	int tried = 0;

	(void)state;
	world(&r, "private");
	records[0] = 0;
	for (int i = 40; i > 0; i--) {
		char name[64], *at = records + strlen(records);

		(void)sprintf(at, "%s%d r%d.evil.test.", at > records ? ";" : "", i, i);
		(void)sprintf(name, "r%d.evil.test", i);
		rig_set(&r, name, KX_T_A, KX_SECURE, 300, "192.0.2.1");
	}
	rig_set(&r, "d.d-net.test", KX_T_KX, KX_SECURE, 300, records);
	rig_packet(&r, S, D);
	for (; tried < 10; tried++) {
		char want[128];

		(void)sprintf(want, "connect d.d-net.test. r%d.evil.test. 192.0.2.1",
			tried + 1);
		if (strcmp(rig_take(&r), want) != 0)
			break;
		rig_ike(&r, KX_IKE_FAILED);
	}
	assert_int_equal(tried, 4);
	rig_free(&r);
}

/* A-K-16: with ourselves in the list only those in front of us count. */
static void test_self_in_list(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	rig_set(&r, "d.d-net.test", KX_T_KX, KX_SECURE, 300,
		"10 r2.d-net.test.;20 r1.s-net.test.;30 r2b.d-net.test.");
	rig_packet(&r, S, D);
	assert_string_equal(rig_take(&r), UP_R2);
	rig_ike(&r, KX_IKE_FAILED);
	assert_string_equal(rig_take(&r), "drop ike 60");
	rig_free(&r);
	/* D is not ours, whatever its zone says: private does not leak. */
	world(&r, "private");
	rig_set(&r, "d.d-net.test", KX_T_KX, KX_SECURE, 300, "10 r1.s-net.test.");
	rig_packet(&r, S, D);
	assert_string_equal(rig_take(&r), "drop ours 300");
	rig_free(&r);
	/* And a host of ours is served. */
	world(&r, "private");
	rig_packet(&r, "198.51.100.99", S);
	assert_string_equal(rig_take(&r), "pass ours 300");
	rig_free(&r);
}

/* A slow first exchanger does not hold the second. */
static void test_stagger(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	rig_set(&r, "d.d-net.test", KX_T_KX, KX_SECURE, 300,
		"5 dead.d-net.test.;10 r2.d-net.test.");
	rig_set(&r, "dead.d-net.test", KX_T_A, KX_SECURE, 300, "never");
	rig_packet(&r, S, D);
	rig_pass(&r, 249);
	assert_string_equal(rig_take(&r), "");
	rig_pass(&r, 1);
	assert_string_equal(rig_take(&r), UP_R2);
	rig_ike(&r, KX_IKE_UP);
	(void)rig_take(&r);
	rig_answer(&r, 0, KX_ERROR); /* late, and of no use */
	assert_string_equal(rig_take(&r), "");
	rig_free(&r);
}

/* The decision's time is bounded, and nothing goes on after it. */
static void test_deadline(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private-or-clear");
	rig_set(&r, "d.d-net.test", KX_T_KX, KX_SECURE, 300, "never");
	rig_packet(&r, S, D);
	rig_pass(&r, 3999);
	assert_string_equal(rig_take(&r), "");
	rig_pass(&r, 1);
	assert_memory_equal(rig_take(&r), "pass error ", 11);
	assert_int_equal(r.cancelled, 1);
	assert_int_equal(kx_count(r.kx)->lookups, 0);
	assert_int_equal(kx_count(r.kx)->undecided, 0);
	rig_free(&r);
}

/* IPv6 the same way. */
static void test_six(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	rig_ptr(&r, "2001:db8:2::10", KX_SECURE, 300, "d.d-net.test.");
	rig_set(&r, "d.d-net.test", KX_T_AAAA, KX_SECURE, 300, "2001:db8:2::10");
	rig_packet(&r, "2001:db8:1::10", "2001:db8:2::10");
	assert_string_equal(rig_take(&r), UP_R2);
	rig_free(&r);
}

/* K-3-06: no longer than the TTL, and no shorter than five seconds. */
static void test_cache(void **state)
{
	struct rig r;
	size_t asked;

	(void)state;
	world(&r, "private");
	rig_set(&r, "d.d-net.test", KX_T_KX, KX_SECURE, 20, "10 r2.d-net.test.");
	rig_packet(&r, S, D);
	asked = r.asked;
	rig_pass(&r, 15000);
	rig_packet(&r, "198.51.100.11", D); /* another source, the same decision */
	assert_int_equal(r.asked, asked);
	rig_pass(&r, 5001);
	rig_packet(&r, "198.51.100.12", D);
	assert_true(r.asked > asked);
	rig_free(&r);
}

/* --- what rests on it -----------------------------------------------------------------
 */

static void test_withdrawal(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	rig_packet(&r, S, D);
	rig_ike(&r, KX_IKE_UP);
	(void)rig_take(&r);
	rig_pass(&r, 240000); /* 80 % of the TTL: asked again, still so */
	assert_string_equal(rig_take(&r), "");
	rig_set(&r, "d.d-net.test", KX_T_KX, KX_SECURE, 300, "10 r2b.d-net.test.");
	rig_pass(&r, 240000);
	assert_string_equal(rig_take(&r), "terminate withdrawn r2.d-net.test.");
	rig_free(&r);
}

static void test_grace(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	rig_packet(&r, S, D);
	rig_ike(&r, KX_IKE_UP);
	(void)rig_take(&r);
	rig_ptr(&r, D, KX_ERROR, 0, "");
	rig_pass(&r, 300000 + 299000); /* TTL, and nearly the grace */
	assert_string_equal(rig_take(&r), "");
	rig_packet(&r, "198.51.100.11", D); /* but nothing new on what is too old */
	assert_memory_equal(rig_take(&r), "drop error ", 11);
	rig_pass(&r, 20000);
	assert_non_null(strstr(rig_take(&r), "terminate withdrawn r2.d-net.test."));
	rig_free(&r);
}

/* --- inbound --------------------------------------------------------------------------
 */

#define R2  "r2.d-net.test"
#define R2A "203.0.113.1"

/* K-2.1-03, K-2.1-04, K-2.1-05, K-2.1-08. */
static void test_inbound(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "clear-or-private");
	rig_inbound(&r, 1, R2, R2A, D, S);
	assert_string_equal(rig_take(&r), "authorise 1 exchanger, unshunt");
	rig_inbound(&r, 2, "r9.d-net.test", R2A, D, S);
	assert_string_equal(rig_take(&r), "refuse 2 not-exchanger");
	rig_inbound(&r, 3, R2, R2A, D, "192.0.2.1");
	assert_string_equal(rig_take(&r), "refuse 3 not-local");
	rig_inbound(&r, 4, R2, R2A, "203.0.113.0/24", S);
	assert_string_equal(rig_take(&r), "refuse 4 range");
	rig_inbound(&r, 5, R2, R2A, "203.0.113.99", S);
	assert_string_equal(rig_take(&r), "refuse 5 reverse");
	rig_inbound(&r, 6, R2, R2A, D, "198.51.100.77"); /* remembered */
	assert_string_equal(rig_take(&r), "authorise 6 exchanger, unshunt");
	rig_free(&r);
}

static void test_inbound_statuses(void **state)
{
	static const struct {
		enum kx_status status;
		const char *want;
	} rows[] = {
		{ KX_NODATA, "refuse 1 not-exchanger" },
		{ KX_NXDOMAIN, "refuse 1 name" },
		{ KX_INSECURE, "refuse 1 insecure" },
		{ KX_BOGUS, "log bogus, refuse 1 bogus" },
		{ KX_ERROR, "refuse 1 error" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig r;
		size_t asked;

		world(&r, "private");
		rig_set(&r, "d.d-net.test", KX_T_KX, rows[i].status, 30, "");
		rig_inbound(&r, 1, R2, R2A, D, S);
		assert_string_equal(rig_take(&r), rows[i].want);
		asked = r.asked;
		rig_inbound(&r, 2, R2, R2A, D, S); /* tries do not ask DNS again */
		assert_int_equal(r.asked, asked);
		assert_non_null(strstr(rig_take(&r), "refuse 2"));
		rig_free(&r);
	}
}

/* K-2.1-06: who speaks for himself needs no KX; the reverse name must be his. */
static void test_inbound_self(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	rig_inbound(&r, 1, "d.d-net.test", D, D, S);
	assert_string_equal(rig_take(&r), "authorise 1 self, unshunt");
	rig_inbound(&r, 2, "e.d-net.test", D, D, S);
	assert_string_equal(rig_take(&r), "refuse 2 not-exchanger");
	rig_free(&r);
	/* From elsewhere the denial of KX must be secure. */
	world(&r, "private");
	rig_set(&r, "d.d-net.test", KX_T_KX, KX_NODATA, 30, "");
	rig_inbound(&r, 1, "d.d-net.test", "192.0.2.7", D, S);
	assert_string_equal(rig_take(&r), "authorise 1 self, unshunt");
	rig_free(&r);
}

/* Not only the best one; and one that a CNAME leads to. */
static void test_inbound_any(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	rig_set(&r, "d.d-net.test", KX_T_KX, KX_SECURE, 300,
		"10 r3.d-net.test.;90 R2.d-net.test.");
	rig_inbound(&r, 1, R2, R2A, D, S);
	assert_string_equal(rig_take(&r), "authorise 1 exchanger, unshunt");
	rig_free(&r);
	world(&r, "private");
	rig_set(&r, "d.d-net.test", KX_T_KX, KX_SECURE, 300, "10 alias.d-net.test.");
	rig_cname(&r, "alias.d-net.test", KX_T_A, R2, R2A);
	rig_inbound(&r, 1, R2, R2A, D, S);
	assert_string_equal(rig_take(&r), "authorise 1 exchanger, unshunt");
	rig_free(&r);
	/* An identity that is an address is compared with the exchangers' addresses. */
	world(&r, "private");
	rig_inbound(&r, 1, NULL, R2A, D, S);
	rig_inbound(&r, 2, NULL, "203.0.113.9", D, S);
	assert_string_equal(
		rig_take(&r), "authorise 1 exchanger, unshunt, refuse 2 not-exchanger");
	rig_free(&r);
}

static void test_inbound_withdrawal(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	rig_inbound(&r, 1, R2, R2A, D, S);
	(void)rig_take(&r);
	rig_pass(&r, 240000);
	assert_string_equal(rig_take(&r), "");
	rig_set(&r, "d.d-net.test", KX_T_KX, KX_SECURE, 300, "10 r3.d-net.test.");
	rig_pass(&r, 240000);
	assert_string_equal(rig_take(&r), "terminate withdrawn r2.d-net.test.");
	rig_free(&r);
	/* An outage is none; but it does not last for ever. */
	world(&r, "private");
	rig_inbound(&r, 1, R2, R2A, D, S);
	(void)rig_take(&r);
	rig_set(&r, "d.d-net.test", KX_T_KX, KX_ERROR, 0, "");
	rig_pass(&r, 590000);
	assert_string_equal(rig_take(&r), "");
	rig_pass(&r, 20000);
	assert_string_equal(rig_take(&r), "terminate withdrawn r2.d-net.test.");
	rig_free(&r);
}

static void test_trust(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	rig_id(&r, 1, R2, R2A);
	assert_string_equal(rig_take(&r), "trust 1 r2.d-net.test. 1");
	rig_id(&r, 2, "r1.s-net.test", R2A);
	assert_string_equal(rig_take(&r), "refuse 2 unusable"); /* no key */
	rig_set(&r, "x.test", KX_T_IPSECKEY, KX_INSECURE, 30, "");
	rig_id(&r, 3, "x.test", R2A);
	assert_string_equal(rig_take(&r), "refuse 3 insecure");
	rig_free(&r);
}

/* A failure of one direction is over when the other succeeds. */
static void test_both_directions(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	rig_packet(&r, S, D);
	rig_ike(&r, KX_IKE_FAILED);
	assert_string_equal(rig_take(&r), UP_R2 ", drop ike 60");
	rig_inbound(&r, 1, R2, R2A, D, S);
	assert_string_equal(rig_take(&r), "authorise 1 exchanger, unshunt");
	rig_packet(&r, S, D); /* the SA has gone: it may be tried at once */
	assert_string_equal(rig_take(&r), UP_R2);
	rig_free(&r);
}

/* --- names in the policy --------------------------------------------------------------
 */

/* Hosts of a shared address can't be told apart by PTR: the operator names one. */
static void test_named(void **state)
{
	struct rig r;
	struct kx_event ev = { .kind = KX_TIMER };

	(void)state;
	rig_init(&r);
	rig_rule(&r, "private", "x1.dyn.test");
	rig_set(&r, "x1.dyn.test", KX_T_A, KX_SECURE, 30, "203.0.113.50");
	rig_set(&r, "x1.dyn.test", KX_T_KX, KX_SECURE, 30, "10 x1.dyn.test.");
	rig_set(&r, "_isakmp._udp.x1.dyn.test", KX_T_SRV, KX_SECURE, 30,
		"0 0 20480 x1.dyn.test.");
	rig_start(&r);
	rig_event(&r, &ev);
	assert_string_equal(rig_take(&r), "cover x1.dyn.test. 203.0.113.50");
	rig_packet(&r, S, "203.0.113.50");
	assert_string_equal(rig_take(&r),
		"connect x1.dyn.test. x1.dyn.test. 203.0.113.50 port 20480");
	/* It moves; then it goes. */
	rig_set(&r, "x1.dyn.test", KX_T_A, KX_SECURE, 30, "203.0.113.51");
	rig_pass(&r, 31000);
	assert_non_null(strstr(rig_take(&r), "cover x1.dyn.test. 203.0.113.51"));
	rig_set(&r, "x1.dyn.test", KX_T_A, KX_NXDOMAIN, 5, "");
	rig_pass(&r, 31000);
	assert_non_null(strstr(rig_take(&r), "cover x1.dyn.test. none"));
	rig_packet(&r, S, "203.0.113.51");
	assert_string_equal(rig_take(&r), "pass group 0");
	rig_free(&r);
}

/* An unsigned address is none. */
static void test_named_insecure(void **state)
{
	struct kx_event ev = { .kind = KX_TIMER };
	struct rig r;

	(void)state;
	rig_init(&r);
	rig_rule(&r, "private", "x1.dyn.test");
	rig_set(&r, "x1.dyn.test", KX_T_A, KX_INSECURE, 30, "203.0.113.50");
	rig_start(&r);
	rig_event(&r, &ev);
	rig_packet(&r, S, "203.0.113.50");
	assert_string_equal(rig_take(&r), "log error, pass group 0");
	rig_free(&r);
}

/* --- floods ---------------------------------------------------------------------------
 */

static void addr_text(char *text, uint32_t i)
{
	(void)sprintf(text, "100.%u.%u.%u", i >> 16 & 255, i >> 8 & 255, i & 255);
}

/* Random destinations of one source: bounded, counted, and others still get through. */
static void test_flood(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	rig_set(&r, "x.test", KX_T_A, KX_NODATA, 30, "");
	r.count_only = true;
	for (uint32_t i = 0; i < 200000; i++) {
		char d[32];

		addr_text(d, i);
		rig_packet(&r, "198.51.100.66", d);
		if (i % 1000 == 0)
			rig_pass(&r, 1000);
	}
	assert_true(kx_count(r.kx)->limited_source > 190000);
	assert_in_range(kx_count(r.kx)->remembered, 1, 16384);
	assert_true(kx_count(r.kx)->asks < 10000);
	r.count_only = false;
	rig_pass(&r, 1000);
	(void)rig_take(&r);
	rig_packet(&r, S, D);
	assert_string_equal(rig_take(&r), UP_R2);
	rig_free(&r);
}

/* The same from random sources, with look-ups that never end. */
static void test_flood_hanging(void **state)
{
	struct rig r;
	struct kx_counters c;

	(void)state;
	rig_init(&r);
	rig_rule(&r, "private", "0.0.0.0/0");
	r.conf.limits.lookups = 32;
	r.conf.limits.undecided = 16;
	r.conf.limits.rate = 100000;
	r.conf.limits.burst = 200000;
	r.conf.limits.decisions = 512;
	r.conf.limits.waiting = 128;
	r.count_only = true;
	rig_start(&r);
	for (uint32_t i = 0; i < 20000; i++) {
		char s[32], d[32];

		addr_text(s, i * 7919);
		addr_text(d, i);
		if (i < 64)
			rig_ptr(&r, d, KX_SECURE, 1, "never");
		rig_packet(&r, s, d);
		c = *kx_count(r.kx);
		assert_true(c.lookups <= 32);
		assert_true(c.undecided <= 16);
		assert_true(c.waiting <= 128);
		assert_true(c.remembered <= 512);
		if (i == 200)
			rig_pass(&r, 60000);
	}
	assert_true(kx_count(r.kx)->evicted > 0);
	rig_free(&r);
}

/* Room in the caller's array is all that limits a step; nothing is lost by it. */
static void test_many_pairs_of_one(void **state)
{
	struct rig r;

	(void)state;
	world(&r, "private");
	rig_set(&r, "d.d-net.test", KX_T_KX, KX_SECURE, 300, "never");
	for (int i = 0; i < 200; i++) {
		char s[32];

		(void)sprintf(s, "198.51.100.%d", i);
		rig_packet(&r, s, D);
	}
	assert_int_equal(kx_count(r.kx)->waiting, 200);
	rig_answer(&r, 0, KX_NXDOMAIN);
	assert_int_equal(r.n_lines, 200);
	assert_int_equal(kx_count(r.kx)->waiting, 0);
	rig_free(&r);
}

static bool count_view(void *ctx, const struct kx_view *view)
{
	size_t *n = ctx;

	assert_non_null(kx_pair_state_text(view->state));
	assert_non_null(kx_why_sentence(view->why));
	(*n)++;
	return true;
}

static void test_show_and_forget(void **state)
{
	struct kx_event forget = { .kind = KX_FORGET };
	struct rig r;
	size_t n = 0;

	(void)state;
	world(&r, "private");
	rig_packet(&r, S, D);
	rig_ike(&r, KX_IKE_FAILED);
	rig_packet(&r, "198.51.100.11", D);
	rig_ike(&r, KX_IKE_UP);
	rig_inbound(&r, 1, R2, R2A, D, S);
	kx_show(r.kx, count_view, &n);
	assert_int_equal(n, 2); /* the failed one is over: the peer got through */
	(void)rig_take(&r);
	rig_packet(&r, S, D);
	rig_ike(&r, KX_IKE_FAILED);
	(void)rig_take(&r);
	rig_event(&r, &forget);
	assert_string_equal(rig_take(&r), "unshunt");
	rig_packet(&r, S, D);
	assert_string_equal(rig_take(&r), UP_R2);
	rig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cells),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_port_rule),
		cmocka_unit_test(test_failover),
		cmocka_unit_test(test_retry),
		cmocka_unit_test(test_no_downgrade),
		cmocka_unit_test(test_total_time),
		cmocka_unit_test(test_foreign_claim),
		cmocka_unit_test(test_two_names),
		cmocka_unit_test(test_ties),
		cmocka_unit_test(test_no_chain),
		cmocka_unit_test(test_exchanger_cname),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_self_in_list),
		cmocka_unit_test(test_stagger),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_six),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_withdrawal),
		cmocka_unit_test(test_grace),
		cmocka_unit_test(test_inbound),
		cmocka_unit_test(test_inbound_statuses),
		cmocka_unit_test(test_inbound_self),
		cmocka_unit_test(test_inbound_any),
		cmocka_unit_test(test_inbound_withdrawal),
		cmocka_unit_test(test_trust),
		cmocka_unit_test(test_both_directions),
		cmocka_unit_test(test_named),
		cmocka_unit_test(test_named_insecure),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_flood_hanging),
		cmocka_unit_test(test_many_pairs_of_one),
		cmocka_unit_test(test_show_and_forget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
