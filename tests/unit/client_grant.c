/* What is asked for, what is granted, and grants that are no good. */
#include "client_fake.h"

#include <string.h>

#define SECOND 1000000ULL

static const uint32_t ports[] = { 3000, 1025, 3001 };
static const uint32_t spis[] = { 0xc0020007, 0x1000 };

static const struct rsip_want whole = { .kind = RSIP_RSA_IP };
static const struct rsip_want ipsec = {
	.kind = RSIP_RSIPSEC,
	.ports = { .form = RSIP_DONT_NEED },
	.spis = { .form = RSIP_ANY, .count = 16 },
};

static void open_registered(struct fake *f)
{
	fake_open(f, NULL);
	fake_register(f);
}

/* Asks, and returns the message. */
static const struct wire_msg *ask(struct fake *f, const struct rsip_want *want)
{
	static const uint8_t types[] = { 0, MSG_ASSIGN_REQUEST_RSA_IP,
		MSG_ASSIGN_REQUEST_RSAP_IP, MSG_ASSIGN_REQUEST_RSIPSEC,
		MSG_LISTEN_REQUEST, MSG_LISTEN_REQUEST_IKE };

	assert_int_equal(rsip_assign(f->s, want, f, f->now_us), 0);
	return fake_asked(f, types[want->kind]);
}

/* P-4-01, P-9.6-01, F-2-05, F-2-06: whole addresses. */
static void test_rsa_ip(void **state)
{
	struct fake f;
	struct rsip_want want = whole;
	struct wire_msg grant;
	const struct fake_event *e;

	(void)state;
	open_registered(&f);
	assert_true(ask(&f, &want)->local.dont_care);
	assert_false(f.asked.has & HAS_LOCAL_PORTS);
	assert_int_equal(f.asked.remote_ports.form, FORM_DONT_CARE);
	grant = fake_grant(&f, 1);
	grant.lease_s = 77;
	grant.tunnels[0] = RSIP_GRE;
	fake_say(&f, &grant);
	e = fake_event(&f, RSIP_EVENT_GRANTED);
	assert_int_equal(e->grant.kind, RSIP_RSA_IP);
	assert_int_equal(e->grant.n_ports, 0);
	assert_int_equal(e->grant.tunnel, RSIP_GRE);
	assert_int_equal(e->grant.lease_s, 77);
	/* P-9.7-05, P-9.9-07, P-9.17-03: no endpoint: the gateway itself. */
	assert_int_equal(e->grant.endpoint, 0);
	want.address = 0xcb007155;
	assert_int_equal(ask(&f, &want)->local.v4, 0xcb007155);
	grant = fake_grant(&f, 2);
	grant.has |= HAS_ENDPOINT;
	grant.endpoint = (struct wire_addr){ .type = ADDR_IPV4, .v4 = 0x0a000002 };
	fake_say(&f, &grant);
	assert_int_equal(fake_event(&f, RSIP_EVENT_GRANTED)->grant.endpoint, 0x0a000002);
	fake_close(&f);
}

/* P-8.2-01, P-8.2-02, P-8.2-03, P-8.2-04, P-9.8-01, F-2-10, F-2-02: ports in each form,
 * in the request and in the grant. */
static void test_ports(void **state)
{
	struct fake f;
	struct rsip_want want = { .kind = RSIP_RSAP_IP,
		.ports = { .form = RSIP_LIST, .count = 3, .list = ports } };
	struct wire_msg grant;
	const struct fake_event *e;

	(void)state;
	open_registered(&f);
	assert_int_equal(ask(&f, &want)->local_ports.form, FORM_LIST);
	assert_int_equal(f.asked.local_ports.number, 3);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(wire_port_at(&f.asked.local_ports, i), ports[i]);
	grant = fake_grant(&f, 1);
	grant.local_ports = f.asked.local_ports;
	fake_say(&f, &grant);
	e = fake_event(&f, RSIP_EVENT_GRANTED);
	assert_int_equal(e->grant.n_ports, 2);
	assert_memory_equal(e->ports,
		((struct rsip_range[]){ { 1025, 1025 }, { 3000, 3001 } }),
		2 * sizeof *e->ports);
	want.ports =
		(struct rsip_numbers){ .form = RSIP_BLOCK, .count = 8, .first = 4096 };
	assert_int_equal(ask(&f, &want)->local_ports.form, FORM_BLOCK);
	assert_int_equal(f.asked.local_ports.first, 4096);
	assert_int_equal(f.asked.local_ports.number, 8);
	grant = fake_grant(&f, 2);
	grant.local_ports = f.asked.local_ports;
	fake_say(&f, &grant);
	assert_int_equal(fake_event(&f, RSIP_EVENT_GRANTED)->ports[0].hi, 4103);
	fake_close(&f);
}

/* S-6.2-10, S-6.2-11, S-6.2-12, S-6.2-01..05, S-6.2-08, S-6.2-25: SPIs and address in one
 * message, with ports or with don't need twice. */
static void test_rsipsec(void **state)
{
	struct fake f;
	struct rsip_want want = ipsec;
	struct wire_msg grant;
	const struct fake_event *e;

	(void)state;
	open_registered(&f);
	assert_int_equal(ask(&f, &want)->local_ports.form, FORM_DONT_NEED);
	assert_int_equal(f.asked.remote_ports.form, FORM_DONT_NEED);
	assert_int_equal(f.asked.spis.form, FORM_DONT_CARE);
	assert_int_equal(f.asked.spis.number, 16);
	grant = fake_grant(&f, 1);
	grant.local_ports = grant.remote_ports =
		(struct wire_ports){ .form = FORM_DONT_NEED };
	fake_say(&f, &grant);
	e = fake_event(&f, RSIP_EVENT_GRANTED);
	assert_int_equal(e->grant.n_ports, 0);
	assert_int_equal(e->grant.n_spis, 1);
	assert_int_equal(e->spis[0].lo, 0xc0010000);
	assert_int_equal(e->spis[0].hi, 0xc001000f);
	want.address = e->grant.address;
	want.ports = (struct rsip_numbers){ .form = RSIP_ANY, .count = 2 };
	want.spis = (struct rsip_numbers){ .form = RSIP_LIST, .count = 2, .list = spis };
	assert_int_equal(ask(&f, &want)->spis.form, FORM_LIST);
	assert_int_equal(f.asked.local.v4, want.address);
	assert_int_equal(f.asked.local_ports.number, 2);
	assert_int_equal(f.asked.remote_ports.form, FORM_DONT_CARE);
	assert_int_equal(wire_spi_at(&f.asked.spis, 0), spis[0]);
	assert_int_equal(wire_spi_at(&f.asked.spis, 1), spis[1]);
	grant = fake_grant(&f, 2);
	grant.spis = f.asked.spis;
	fake_say(&f, &grant);
	e = fake_event(&f, RSIP_EVENT_GRANTED);
	assert_int_equal(e->grant.n_spis, 2);
	assert_int_equal(e->spis[0].lo, 0x1000);
	fake_close(&f);
}

/* P-9.16-01, P-9.16-02, P-9-11, P-9.16-03: tunnel types in order; without a remote policy
 * a remote is not named. */
static void test_listen(void **state)
{
	struct fake f;
	struct rsip_want want = { .kind = RSIP_LISTEN,
		.address = 0xcb007101,
		.ports = { .form = RSIP_BLOCK, .count = 1, .first = 8080 },
		.remote = { .address = 0xc6336401, .port = 5 },
		.lease_s = 30,
		.tunnels = { RSIP_GRE, RSIP_IPIP },
		.n_tunnels = 2 };
	struct wire_msg grant;

	(void)state;
	open_registered(&f);
	assert_int_equal(ask(&f, &want)->n_tunnels, 2);
	assert_int_equal(f.asked.tunnels[0], RSIP_GRE);
	assert_int_equal(f.asked.tunnels[1], RSIP_IPIP);
	assert_int_equal(f.asked.lease_s, 30);
	assert_true(f.asked.remote.dont_care);
	assert_int_equal(f.asked.remote_ports.form, FORM_DONT_CARE);
	grant = fake_grant(&f, 1);
	grant.local_ports = f.asked.local_ports;
	fake_say(&f, &grant);
	assert_int_equal(fake_event(&f, RSIP_EVENT_GRANTED)->grant.kind, RSIP_LISTEN);
	fake_close(&f);
}

static struct wire_msg listen_ike_grant(
	struct fake *f, uint32_t bind_id, const char *id, size_t len)
{
	struct wire_msg m = fake_grant(f, bind_id);

	m.type = MSG_LISTEN_RESPONSE_IKE;
	m.has &= ~(uint32_t)(HAS_REMOTE | HAS_REMOTE_PORTS);
	m.has |= HAS_IKE_IDENTITY;
	m.ike_identity = (const uint8_t *)id;
	m.ike_identity_len = (uint16_t)len;
	return m;
}

/* S-G-04: the identity goes out as it is, comes back, and outlives the program; a grant
 * for another one is given back. */
static void test_listen_ike(void **state)
{
	struct fake f;
	struct rsip_want want = { .kind = RSIP_LISTEN_IKE,
		.ports = { RSIP_ANY, 4, 0, NULL }, /* not looked at */
		.peer = { 2, 6, (const uint8_t *)"y.test" } };
	struct rsip_want any = { .kind = RSIP_LISTEN_IKE };
	const struct rsip_grant *g;
	struct wire_msg grant;
	uint8_t bytes[512];

	(void)state;
	open_registered(&f);
	ask(&f, &want);
	assert_int_equal(f.asked.type, MSG_LISTEN_REQUEST_IKE);
	assert_int_equal(f.asked.has & (HAS_LOCAL_PORTS | HAS_REMOTE), 0);
	assert_int_equal(f.asked.ike_identity_len, 7);
	assert_memory_equal(f.asked.ike_identity, "\2y.test", 7);
	grant = listen_ike_grant(&f, 1, "\2y.test", 7);
	fake_say(&f, &grant);
	g = &fake_event(&f, RSIP_EVENT_GRANTED)->grant;
	assert_int_equal(g->kind, RSIP_LISTEN_IKE);
	g = rsip_grant_find(f.s, 1);
	assert_int_equal(g->peer.type, 2);
	assert_int_equal(g->peer.len, 6);
	assert_memory_equal(g->peer.data, "y.test", 6);
	ask(&f, &any);
	assert_int_equal(f.asked.ike_identity_len, 1);
	grant = listen_ike_grant(&f, 2, "\0", 1);
	fake_say(&f, &grant);
	fake_event(&f, RSIP_EVENT_GRANTED);

	size_t len = rsip_session_export(f.s, bytes, sizeof bytes);
	struct rsip_session *next = rsip_session_new(&f.conf);
	assert_int_equal(rsip_session_import(next, bytes, len, f.now_us), 0);
	g = rsip_grant_find(next, 1);
	assert_memory_equal(g->peer.data, "y.test", 6);
	assert_int_equal(rsip_grant_find(next, 2)->peer.len, 0);
	rsip_session_free(next);

	ask(&f, &want);
	grant = listen_ike_grant(&f, 5, "\2z.test", 7);
	fake_say(&f, &grant);
	assert_int_equal(
		fake_event(&f, RSIP_EVENT_FAILED)->ev.failure, RSIP_FAIL_UNUSABLE);
	assert_int_equal(fake_asked(&f, MSG_FREE_REQUEST)->bind_id, 5);
	fake_close(&f);
}

/* A-W-10: Lease Time and Tunnel Type of a grant in either order. */
static void test_order(void **state)
{
	static const uint8_t types[] = { MSG_ASSIGN_RESPONSE_RSA_IP,
		MSG_ASSIGN_RESPONSE_RSAP_IP, MSG_ASSIGN_RESPONSE_RSIPSEC,
		MSG_LISTEN_RESPONSE };
	const struct rsip_want wants[] = { whole, fake_want, ipsec,
		{ .kind = RSIP_LISTEN, .ports = { .form = RSIP_ANY, .count = 4 } } };
	struct fake f;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		uint8_t bytes[512], *lease, saved[11];
		struct wire_msg grant;
		int len;

		open_registered(&f);
		ask(&f, &wants[i]);
		grant = fake_grant(&f, 5);
		assert_int_equal(grant.type, types[i]);
		grant.version = RSIP_VERSION_1;
		len = wire_encode(&grant, bytes, sizeof bytes);
		assert_true(len > 18);
		/* Lease Time (7 bytes), Tunnel Type (4), Message Counter (7) at the end.
		 */
		lease = bytes + len - 18;
		memcpy(saved, lease, 11);
		if (saved[0] == PARAM_LEASE_TIME) {
			memcpy(lease, saved + 7, 4);
			memcpy(lease + 4, saved, 7);
		} else {
			assert_int_equal(saved[0], PARAM_TUNNEL_TYPE);
			memcpy(lease, saved + 4, 7);
			memcpy(lease + 7, saved, 4);
		}
		fake_input(&f, bytes, (size_t)len);
		assert_int_equal(fake_event(&f, RSIP_EVENT_GRANTED)->grant.bind_id, 5);
		fake_close(&f);
	}
}

/* What is wrong with a grant of four ports, by the bytes of its values. */
static const struct {
	uint8_t at, len;
	uint8_t bytes[4];
} spoils[] = {
	{ 22, 4, { 0 } },        /* local address: any */
	{ 29, 1, { 0 } },        /* no ports */
	{ 30, 2, { 0 } },        /* ports: any */
	{ 30, 2, { 255, 255 } }, /* beyond the last one */
	{ 43, 4, { 0 } },        /* Lease Time 0 */
	{ 50, 1, { 0 } },        /* tunnel types: reserved, not asked for, unknown */
	{ 50, 1, { RSIP_L2TP } }, { 50, 1, { 99 } },
	{ 32, 1, { 99 } }, /* unknown parameter */
};

static void check_unusable(struct fake *f, uint32_t counter)
{
	const struct fake_event *e = fake_event(f, RSIP_EVENT_FAILED);

	assert_int_equal(e->ev.failure, RSIP_FAIL_UNUSABLE);
	assert_int_equal(e->ev.bind_id, 5);
	assert_null(rsip_grant_find(f->s, 5));
	assert_int_equal(fake_asked(f, MSG_FREE_REQUEST)->bind_id, 5);
	assert_int_equal(f->asked.counter, counter + 1);
	fake_say_ended(f, MSG_FREE_RESPONSE, 5, f->asked.counter);
	fake_states(f, RSIP_BARE_ASSIGNING, RSIP_REGISTERED, RSIP_FREEING,
		RSIP_REGISTERED, RSIP_STATES);
	assert_int_equal(rsip_session_counters(f->s)->unusable, 1);
	fake_quiet(f);
}

/* P-9.7-06, P-9.9-06, A-R-17, A-R-06: a grant that can't be used is given back; nothing
 * of it is used. */
static void test_unusable(void **state)
{
	struct fake f;

	(void)state;
	for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++) {
		struct wire_msg grant;
		uint8_t bytes[128];
		int len;

		open_registered(&f);
		ask(&f, &fake_want);
		grant = fake_grant(&f, 5);
		len = wire_encode(&grant, bytes, sizeof bytes);
		assert_int_equal(len, 58);
		memcpy(bytes + spoils[i].at, spoils[i].bytes, spoils[i].len);
		fake_input(&f, bytes, (size_t)len);
		check_unusable(&f, grant.counter);
		fake_close(&f);
	}
}

/* A-R-17: what no IPv4 host can use, though the grammar has it. */
static void test_unusable_remote(void **state)
{
	struct fake f;

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct wire_msg grant;

		open_registered(&f);
		ask(&f, &fake_want);
		grant = fake_grant(&f, 5);
		if (i == 0)
			grant.local =
				(struct wire_addr){ .type = ADDR_IPV6, .v6 = { 0x20 } };
		if (i == 1)
			grant.remote =
				(struct wire_addr){ .type = ADDR_IPV6, .v6 = { 0x20 } };
		if (i == 2)
			grant.remote_ports = (struct wire_ports){
				.form = FORM_BLOCK, .number = 2, .first = 9
			};
		fake_say(&f, &grant);
		check_unusable(&f, grant.counter);
		fake_close(&f);
	}
}

/* P-9.1-04, A-R-17: bytes that break the grammar.  With Client ID, counter and Bind ID
 * readable the binding is given back; else nothing happens and the timer goes on. */
static void test_faulty(void **state)
{
	struct fake f;
	uint8_t bytes[512], bad[512];
	struct wire_msg grant;
	int len;

	(void)state;
	open_registered(&f);
	ask(&f, &fake_want);
	grant = fake_grant(&f, 5);
	grant.version = RSIP_VERSION_1;
	len = wire_encode(&grant, bytes, sizeof bytes);
	/* Any cut, with the length that belongs to it, is short of the counter. */
	for (int n = 0; n < len; n++) {
		memcpy(bad, bytes, (size_t)n);
		if (n >= 4) {
			bad[2] = 0;
			bad[3] = (uint8_t)n;
		}
		fake_input(&f, bad, (size_t)n);
		/* Or with a length that does not. */
		fake_input(&f, bytes, (size_t)n);
	}
	assert_int_equal(rsip_session_counters(f.s)->drop_malformed, 2 * (uint64_t)len);
	fake_quiet(&f);
	/* Another version, though all else is right. */
	memcpy(bad, bytes, (size_t)len);
	bad[0] = 2;
	fake_input(&f, bad, (size_t)len);
	fake_quiet(&f);
	/* An unknown parameter instead of Tunnel Type; then of another client; then ours.
	 */
	memcpy(bad, bytes, (size_t)len);
	bad[len - 11] = 99;
	bad[10] ^= 1;
	fake_input(&f, bad, (size_t)len);
	fake_quiet(&f);
	bad[10] ^= 1;
	fake_input(&f, bad, (size_t)len);
	assert_int_equal(
		fake_event(&f, RSIP_EVENT_FAILED)->ev.failure, RSIP_FAIL_UNUSABLE);
	assert_int_equal(fake_asked(&f, MSG_FREE_REQUEST)->bind_id, 5);
	fake_quiet(&f);
	fake_close(&f);
}

/* A Bind ID that is held already: the grant is no good, and the one held stays. */
static void test_same_bind(void **state)
{
	struct fake f;
	struct wire_msg grant;

	(void)state;
	open_registered(&f);
	fake_bind(&f, 5);
	ask(&f, &fake_want);
	grant = fake_grant(&f, 5);
	fake_say(&f, &grant);
	assert_int_equal(
		fake_event(&f, RSIP_EVENT_FAILED)->ev.failure, RSIP_FAIL_UNUSABLE);
	assert_non_null(rsip_grant_find(f.s, 5));
	fake_quiet(&f);
	fake_close(&f);
}

/* A-B-02: other numbers than asked for are taken, unless the caller insists. */
static void test_exact(void **state)
{
	struct rsip_want want = { .kind = RSIP_RSIPSEC,
		.ports = { .form = RSIP_LIST, .count = 3, .list = ports },
		.spis = { .form = RSIP_BLOCK, .count = 16, .first = 0xc0010000 } };
	struct fake f;
	struct wire_msg grant;

	(void)state;
	open_registered(&f);
	ask(&f, &want);
	grant = fake_grant(&f, 1); /* ports 20480-20483 */
	grant.spis.first = 0x5000;
	fake_say(&f, &grant);
	fake_event(&f, RSIP_EVENT_GRANTED);
	want.exact = true;
	for (uint32_t i = 0; i < 6; i++) {
		bool good = i >= 4;

		if (i == 5) {
			want.ports =
				(struct rsip_numbers){ .form = RSIP_ANY, .count = 3 };
			want.spis.first = 0xc0020000;
		}
		want.address = i == 3 ? 0xcb007102 : i == 4 ? 0xcb007101 : 0;
		ask(&f, &want);
		grant = fake_grant(&f, 10 + i);
		if (i)
			grant.local_ports = f.asked.local_ports;
		if (i == 5)
			grant.local_ports = (struct wire_ports){
				.form = FORM_BLOCK, .number = 3, .first = 70
			};
		grant.spis = f.asked.spis;
		if (i == 1)
			grant.spis.number = 15;
		if (i == 2)
			grant.spis.first++;
		fake_say(&f, &grant);
		if (good) {
			fake_event(&f, RSIP_EVENT_GRANTED);
			continue;
		}
		assert_int_equal(fake_event(&f, RSIP_EVENT_FAILED)->ev.failure,
			RSIP_FAIL_UNUSABLE);
		fake_asked(&f, MSG_FREE_REQUEST);
		fake_say_ended(&f, MSG_FREE_RESPONSE, 10 + i, f.asked.counter);
	}
	fake_quiet(&f);
	fake_close(&f);
}

/* Registers with this flow policy. */
static void open_policy(struct fake *f, enum rsip_policy local, enum rsip_policy remote)
{
	fake_open(f, NULL);
	assert_int_equal(rsip_register(f->s, NULL, f->now_us), 0);
	fake_asked(f, MSG_REGISTER_REQUEST);
	fake_say(f, &(struct wire_msg){ .type = MSG_REGISTER_RESPONSE,
			    .has = HAS_CLIENT_ID | HAS_LEASE | HAS_FLOW | HAS_COUNTER,
			    .client_id = FAKE_CLIENT,
			    .lease_s = 60,
			    .flow_local = (uint8_t)local,
			    .flow_remote = (uint8_t)remote,
			    .counter = 1 });
	fake_event(f, RSIP_EVENT_REGISTERED);
}

/* P-9.6-02, P-9.8-02, P-9.16-03, P-8.2-06: what the flow policy asks for is sent, or the
 * request is not sent at all. */
static void test_policy(void **state)
{
	static const struct rsip_remote address = { .address = 0xc6336401 };
	static const struct rsip_remote both = { .address = 0xc6336401, .port = 443 };
	static const struct rsip_remote port = { .port = 443 };
	static const struct rsip_remote name = { .name = "y.example", .port = 443 };
	static const struct {
		enum rsip_policy local, remote;
		enum rsip_kind kind;
		uint32_t count;
		const struct rsip_remote *to;
		bool good;
	} rows[] = {
		{ RSIP_MACRO, RSIP_NO_POLICY, RSIP_RSAP_IP, 9, NULL, true },
		{ RSIP_MACRO, RSIP_MACRO, RSIP_RSAP_IP, 9, NULL, false },
		{ RSIP_MACRO, RSIP_MACRO, RSIP_RSAP_IP, 9, &port, false },
		{ RSIP_MACRO, RSIP_MACRO, RSIP_RSAP_IP, 9, &address, true },
		{ RSIP_MACRO, RSIP_MACRO, RSIP_RSA_IP, 0, NULL, false },
		{ RSIP_MACRO, RSIP_MACRO, RSIP_RSA_IP, 0, &address, true },
		{ RSIP_MACRO, RSIP_MACRO, RSIP_LISTEN, 9, NULL, false },
		{ RSIP_MACRO, RSIP_MACRO, RSIP_LISTEN, 9, &both, true },
		{ RSIP_MACRO, RSIP_MICRO, RSIP_RSAP_IP, 9, &address, false },
		{ RSIP_MACRO, RSIP_MICRO, RSIP_RSAP_IP, 9, &both, true },
		{ RSIP_MACRO, RSIP_MICRO, RSIP_RSAP_IP, 9, &name, true },
		{ RSIP_MACRO, RSIP_MICRO, RSIP_RSA_IP, 0, &address, false },
		{ RSIP_MACRO, RSIP_MICRO, RSIP_LISTEN, 9, &address, false },
		{ RSIP_MACRO, RSIP_MICRO, RSIP_RSIPSEC, 9, &address, false },
		{ RSIP_MACRO, RSIP_MICRO, RSIP_RSIPSEC, 0, &address, true },
		{ RSIP_MICRO, RSIP_NO_POLICY, RSIP_RSAP_IP, 2, NULL, false },
		{ RSIP_MICRO, RSIP_NO_POLICY, RSIP_RSAP_IP, 1, NULL, true },
		{ RSIP_MICRO, RSIP_NO_POLICY, RSIP_RSA_IP, 0, NULL, false },
		{ RSIP_MICRO, RSIP_NO_POLICY, RSIP_RSIPSEC, 0, NULL, true },
		{ RSIP_MICRO, RSIP_NO_POLICY, RSIP_LISTEN, 2, NULL, false },
	};
	struct fake f;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct rsip_want want = { .kind = rows[i].kind,
			.ports = { rows[i].count ? RSIP_ANY : RSIP_DONT_NEED,
				rows[i].count, 0, NULL },
			.spis = { RSIP_ANY, 1, 0, NULL } };

		if (rows[i].to)
			want.remote = *rows[i].to;
		open_policy(&f, rows[i].local, rows[i].remote);
		if (!rows[i].good) {
			const struct fake_event *e;

			assert_int_equal(rsip_assign(f.s, &want, &f, f.now_us), 0);
			e = fake_event(&f, RSIP_EVENT_FAILED);
			assert_int_equal(e->ev.failure, RSIP_FAIL_POLICY);
			assert_int_equal(e->ev.error, RSIP_FLOW_POLICY_VIOLATION);
			assert_int_equal(rsip_session_state(f.s), RSIP_REGISTERED);
		} else {
			ask(&f, &want);
			if (want.remote.address && rows[i].remote != RSIP_NO_POLICY)
				assert_int_equal(f.asked.remote.v4, want.remote.address);
			if (want.remote.name) {
				assert_int_equal(f.asked.remote.type, ADDR_FQDN);
				assert_memory_equal(f.asked.remote.fqdn, "y.example", 9);
			}
			if (want.remote.port && want.ports.count)
				assert_int_equal(f.asked.remote_ports.first, 443);
		}
		fake_quiet(&f);
		fake_close(&f);
	}
}

/* P-9.7-04 at the host: the remote of a grant, address or name. */
static void test_remote(void **state)
{
	struct rsip_want want = fake_want;
	struct fake f;
	struct wire_msg grant;
	const struct fake_event *e;

	(void)state;
	open_policy(&f, RSIP_MACRO, RSIP_MICRO);
	want.remote = (struct rsip_remote){ .name = "y.example", .port = 443 };
	ask(&f, &want);
	grant = fake_grant(&f, 1);
	grant.remote = f.asked.remote;
	grant.remote_ports = f.asked.remote_ports;
	fake_say(&f, &grant);
	e = fake_event(&f, RSIP_EVENT_GRANTED);
	assert_string_equal(e->grant.remote_name, "y.example");
	assert_int_equal(e->grant.remote_port, 443);
	assert_int_equal(e->grant.remote_address, 0);
	want.remote = (struct rsip_remote){ .address = 0xc6336401, .port = 80 };
	ask(&f, &want);
	grant = fake_grant(&f, 2);
	grant.remote = f.asked.remote;
	grant.remote_ports = f.asked.remote_ports;
	fake_say(&f, &grant);
	e = fake_event(&f, RSIP_EVENT_GRANTED);
	assert_int_equal(e->grant.remote_address, 0xc6336401);
	assert_int_equal(e->grant.remote_port, 80);
	fake_close(&f);
}

/* P-9.3-04, P-9.3-05, P-8.7-01, A-R-12: what a registration offers. */
static void test_offers(void **state)
{
	struct fake f;
	struct wire_msg m = { .type = MSG_REGISTER_RESPONSE,
		.has = HAS_CLIENT_ID | HAS_LEASE | HAS_FLOW | HAS_COUNTER,
		.client_id = 1,
		.lease_s = 60,
		.flow_local = FLOW_MACRO,
		.flow_remote = FLOW_NONE,
		.counter = 1 };
	const struct fake_event *e;

	(void)state;
	fake_open(&f, NULL);
	assert_int_equal(rsip_register(f.s, NULL, f.now_us), 0);
	fake_say(&f, &m);
	e = fake_event(&f, RSIP_EVENT_REGISTERED);
	assert_int_equal(e->registration.methods, 1 << RSIP_RSAP_IP);
	assert_int_equal(e->registration.tunnels, 1 << RSIP_IPIP);
	fake_close(&f);
	fake_open(&f, NULL);
	assert_int_equal(rsip_register(f.s, NULL, f.now_us), 0);
	m.has |= HAS_METHOD | HAS_TUNNEL;
	memcpy(m.methods, (uint8_t[]){ RSIP_METHOD_RSIPSEC, 77, 200 }, 3);
	m.n_methods = 3;
	m.tunnels[0] = RSIP_GRE;
	m.n_tunnels = 1;
	fake_say(&f, &m);
	e = fake_event(&f, RSIP_EVENT_REGISTERED);
	assert_int_equal(e->registration.methods, 1 << RSIP_RSAP_IP | 1 << RSIP_RSIPSEC);
	assert_int_equal(e->registration.tunnels, 1 << RSIP_GRE);
	fake_close(&f);
}

/* P-8.9-01, A-R-06, A-W-21: values that no registration has: dropped, the timer goes on.
 */
static void test_faulty_registration(void **state)
{
	uint8_t bytes[64];
	struct wire_msg m = { .version = 1,
		.type = MSG_REGISTER_RESPONSE,
		.has = HAS_CLIENT_ID | HAS_LEASE | HAS_FLOW | HAS_COUNTER,
		.client_id = 1,
		.lease_s = 60,
		.flow_local = FLOW_MACRO,
		.flow_remote = FLOW_NONE,
		.counter = 1 };
	struct fake f;
	int len = wire_encode(&m, bytes, sizeof bytes);

	(void)state;
	assert_int_equal(len, 4 + 7 + 7 + 5 + 7);
	fake_open(&f, NULL);
	assert_int_equal(rsip_register(f.s, NULL, f.now_us), 0);
	fake_asked(&f, MSG_REGISTER_REQUEST);
	for (int i = 0; i < 6; i++) {
		static const struct {
			uint8_t at, value;
		} faults[] = { { 10, 0 }, { 17, 0 }, { 21, 0 }, { 21, 3 }, { 22, 0 },
			{ 22, 4 } };
		uint8_t bad[64];

		memcpy(bad, bytes, (size_t)len);
		bad[faults[i].at] = faults[i].value;
		fake_input(&f, bad, (size_t)len);
		assert_int_equal(rsip_session_counters(f.s)->drop_malformed, i + 1);
		assert_int_equal(rsip_session_state(f.s), RSIP_REGISTERING);
	}
	fake_quiet(&f);
	fake_input(&f, bytes, (size_t)len);
	fake_event(&f, RSIP_EVENT_REGISTERED);
	fake_close(&f);
}

/* What no request can carry is refused at once. */
static void test_invalid(void **state)
{
	static const uint32_t twice[] = { 5, 6, 5 }, zero[] = { 5, 0 },
			      big[] = { 5, 65536 };
	static const struct rsip_want bad[] = {
		{ .kind = 0 },
		{ .kind = RSIP_LISTEN_IKE + 1 },
		{ .kind = RSIP_LISTEN_IKE, .peer = { 0, 1, (const uint8_t *)"x" } },
		{ .kind = RSIP_LISTEN_IKE, .peer = { 2, 0, (const uint8_t *)"x" } },
		{ .kind = RSIP_LISTEN_IKE, .peer = { 1, 5, (const uint8_t *)"12345" } },
		{ .kind = RSIP_LISTEN_IKE, .peer = { 12, 1, (const uint8_t *)"x" } },
		{ .kind = RSIP_RSAP_IP },
		{ .kind = RSIP_RSAP_IP, .ports = { RSIP_ANY, 0, 0, NULL } },
		{ .kind = RSIP_RSAP_IP, .ports = { RSIP_ANY, 256, 0, NULL } },
		{ .kind = RSIP_RSAP_IP, .ports = { RSIP_BLOCK, 2, 65535, NULL } },
		{ .kind = RSIP_RSAP_IP, .ports = { RSIP_BLOCK, 2, 0, NULL } },
		{ .kind = RSIP_RSAP_IP, .ports = { RSIP_LIST, 3, 0, twice } },
		{ .kind = RSIP_RSAP_IP, .ports = { RSIP_LIST, 2, 0, zero } },
		{ .kind = RSIP_RSAP_IP, .ports = { RSIP_LIST, 2, 0, big } },
		{ .kind = RSIP_RSAP_IP, .ports = { RSIP_LIST, 2, 0, NULL } },
		{ .kind = RSIP_RSIPSEC, .ports = { RSIP_DONT_NEED, 0, 0, NULL } },
		{ .kind = RSIP_RSIPSEC, .spis = { RSIP_ANY, 65536, 0, NULL } },
		{ .kind = RSIP_RSIPSEC, .spis = { RSIP_BLOCK, 2, 0xffffffff, NULL } },
		{ .kind = RSIP_RSIPSEC, .spis = { RSIP_BLOCK, 2, 255, NULL } },
		{ .kind = RSIP_RSIPSEC, .spis = { RSIP_LIST, 2, 0, zero } },
		{ .kind = RSIP_RSIPSEC, .spis = { RSIP_LIST, 16001, 0, zero } },
		{ .kind = RSIP_RSA_IP, .remote = { .name = "" } },
		{ .kind = RSIP_RSA_IP, .remote = { .name = "a b" } },
		{ .kind = RSIP_RSA_IP, .remote = { .name = "a", .address = 1 } },
		{ .kind = RSIP_RSA_IP,
			.tunnels = { RSIP_IPIP, RSIP_GRE },
			.n_tunnels = 2 },
		{ .kind = RSIP_RSA_IP, .tunnels = { 9 }, .n_tunnels = 1 },
	};
	struct fake f;

	(void)state;
	open_registered(&f);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(
			rsip_assign(f.s, &bad[i], NULL, f.now_us), RSIP_ERR_INVALID);
	assert_int_equal(rsip_extend(f.s, 1, 0, NULL, f.now_us), RSIP_ERR_NOTFOUND);
	assert_int_equal(rsip_free(f.s, 1, NULL, f.now_us), RSIP_ERR_NOTFOUND);
	fake_quiet(&f);
	fake_close(&f);
}

/* The bounds hold, also for what is asked for and for the queue. */
static void test_full(void **state)
{
	struct fake f;

	(void)state;
	fake_open(
		&f, &(struct rsip_session_conf){ .max_requests = 4, .max_bindings = 3 });
	fake_register(&f);
	fake_bind(&f, 1);
	assert_int_equal(rsip_assign(f.s, &fake_want, NULL, f.now_us), 0);
	assert_int_equal(rsip_assign(f.s, &fake_want, NULL, f.now_us), 0);
	assert_int_equal(rsip_assign(f.s, &fake_want, NULL, f.now_us), RSIP_ERR_FULL);
	assert_int_equal(rsip_query(f.s, NULL, 0, NULL, f.now_us), 0);
	assert_int_equal(rsip_query(f.s, NULL, 0, NULL, f.now_us), 0);
	assert_int_equal(rsip_query(f.s, NULL, 0, NULL, f.now_us), RSIP_ERR_FULL);
	fake_asked(&f, MSG_ASSIGN_REQUEST_RSAP_IP);
	fake_quiet(&f);
	fake_close(&f);
}

/* The longest request there is. */
static void test_long(void **state)
{
	static uint32_t many[16000];
	struct fake f;
	struct rsip_want want = ipsec;

	(void)state;
	open_registered(&f);
	for (uint32_t i = 0; i < 300; i++)
		many[i] = 1000 + 2 * i;
	want.spis =
		(struct rsip_numbers){ .form = RSIP_LIST, .count = 300, .list = many };
	ask(&f, &want);
	assert_int_equal(f.asked.spis.number, 300);
	assert_int_equal(wire_spi_at(&f.asked.spis, 299), 1598);
	fake_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rsa_ip),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_rsipsec),
		cmocka_unit_test(test_listen),
		cmocka_unit_test(test_listen_ike),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_unusable),
		cmocka_unit_test(test_unusable_remote),
		cmocka_unit_test(test_faulty),
		cmocka_unit_test(test_same_bind),
		cmocka_unit_test(test_exact),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_remote),
		cmocka_unit_test(test_offers),
		cmocka_unit_test(test_faulty_registration),
		cmocka_unit_test(test_invalid),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
