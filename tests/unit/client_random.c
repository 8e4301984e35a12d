/*
 * Sessions and the real engine over a network that loses, doubles and reorders, with
 * outages, an operator who takes things back, and a gateway that forgets everything.
 * When it heals, both sides must agree on who holds what.
 *
 *     client_random [SEED [ROUNDS]]
 */
#include "base/random.h"
#include "engine/engine.h"
#include "rsip/rsip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOSTS    3
#define GATEWAY  0x0a000001
#define HOST(i)  (0x0a00000bU + (uint32_t)(i))
#define PACKETS  4096
#define MESSAGES 2048
#define SECOND   1000000ULL
#define LEASE_S  600

struct packet {
	uint64_t at_us; /* when it arrives; 0: empty */
	int host;
	bool up; /* to the gateway */
	size_t len;
	uint8_t bytes[MESSAGES];
};

struct net;

struct host {
	struct net *net;
	int number;
	struct rsip_session *s;
	size_t asked, answered; /* requests made, and completed by an event */
};

struct net {
	struct random random;
	struct engine *engine;
	struct host hosts[HOSTS];
	uint64_t now_us;
	unsigned int loss, twice; /* percent */
	bool out;                 /* nothing passes */
	struct packet *packets;
};

static uint32_t chance(struct net *n, uint32_t below)
{
	return random_below(&n->random, below);
}

static void carry_once(struct net *n, int host, bool up, const uint8_t *bytes, size_t len)
{
	struct packet *p = n->packets;

	while (p->at_us)
		p++;
	assert_true(p < n->packets + PACKETS && len <= MESSAGES);
	p->at_us = n->now_us + 200 + chance(n, n->loss ? 40000 : 400);
	p->host = host;
	p->up = up;
	p->len = len;
	memcpy(p->bytes, bytes, len);
}

static void carry(struct net *n, int host, bool up, const uint8_t *bytes, size_t len)
{
	if (n->out || chance(n, 100) < n->loss)
		return;
	carry_once(n, host, up, bytes, len);
	if (chance(n, 100) < n->twice)
		carry_once(n, host, up, bytes, len);
}

static void on_effect(void *ctx, const struct effect *e)
{
	struct net *n = ctx;

	if (e->kind == EFFECT_REPLY)
		carry(n, (int)(e->reply.to.addr - HOST(0)), false, e->reply.bytes,
			e->reply.len);
}

static void on_send(void *ctx, const uint8_t *bytes, size_t len)
{
	struct host *h = ctx;

	carry(h->net, h->number, true, bytes, len);
}

static void on_event(void *ctx, const struct rsip_event *ev)
{
	struct host *h = ctx;

	if (ev->request != RSIP_REQ_NONE)
		h->answered++;
	assert_true(h->answered <= h->asked);
}

static struct engine *engine_make(struct net *n)
{
	static const struct prefix4 shared = { 0xcb007100, 30 },
				    whole = { 0xc6336400, 30 };
	static const struct prefix4 all = { 0, 0 };
	static const struct range ports = { 20000, 20999 }, spis = { 0x10000, 0x1ffff };
	static const struct engine_pool pool = { .name = "public",
		.shared = &shared,
		.n_shared = 1,
		.dedicated = &whole,
		.n_dedicated = 1,
		.ports = &ports,
		.n_ports = 1,
		.spis = &spis,
		.n_spis = 1,
		.hold_down_s = 120 };
	static const struct engine_policy policy = { .name = "all",
		.match = &all,
		.n_match = 1,
		.methods = 1 << METHOD_RSA_IP | 1 << METHOD_RSAP_IP | 1 << METHOD_RSIPSEC,
		.tunnels = 1 << TUNNEL_IPIP,
		.local_flow = LOCAL_MACRO,
		.remote_flow = REMOTE_NONE,
		.lease_default_s = LEASE_S,
		.lease_max_s = 86400,
		.max_bindings = 16,
		.max_ports = 256,
		.max_spis = 1024,
		.listen = true };
	static const struct engine_conf conf = { .pools = &pool,
		.n_pools = 1,
		.policies = &policy,
		.n_policies = 1,
		.registration_lease_s = 3600,
		.udp = true,
		.tcp = true,
		.unregistered_rate = 20,
		.unregistered_burst = 100,
		.query_max_udp = 1400 };

	return engine_new(&conf, random_seeded(n->random.next(&n->random)), on_effect, n);
}

static void host_open(struct host *h)
{
	struct rsip_session_conf conf = {
		.transport = RSIP_UDP, .send = on_send, .event = on_event, .ctx = h
	};

	h->s = rsip_session_new(&conf);
	h->asked = h->answered = 0;
	assert_non_null(h->s);
}

static void deliver(struct net *n, struct packet *p)
{
	struct packet copy = *p;
	struct peer from = { .transport = TRANSPORT_UDP,
		.addr = HOST(p->host),
		.port = 40000,
		.local = GATEWAY,
		.local_port = 4555 };

	p->at_us = 0;
	if (copy.up)
		engine_message(n->engine, &from, copy.bytes, copy.len, n->now_us / 1000);
	else
		rsip_session_input(
			n->hosts[copy.host].s, copy.bytes, copy.len, n->now_us);
}

/* The next thing that is due, until then. */
static void run(struct net *n, uint64_t until_us)
{
	for (;;) {
		uint64_t at = engine_deadline(n->engine), now;
		struct packet *first = NULL;

		at = at == UINT64_MAX ? at : at * 1000;
		for (int i = 0; i < HOSTS; i++) {
			if (rsip_session_deadline(n->hosts[i].s) < at)
				at = rsip_session_deadline(n->hosts[i].s);
		}
		for (struct packet *p = n->packets; p < n->packets + PACKETS; p++) {
			if (p->at_us && (!first || p->at_us < first->at_us))
				first = p;
		}
		if (first && first->at_us <= at)
			at = first->at_us;
		else
			first = NULL;
		if (at > until_us)
			break;
		now = n->now_us;
		n->now_us = at > now ? at : now;
		if (first)
			deliver(n, first);
		engine_tick(n->engine, n->now_us / 1000);
		for (int i = 0; i < HOSTS; i++)
			rsip_session_tick(n->hosts[i].s, n->now_us);
	}
	n->now_us = until_us;
}

static bool collect(void *ctx, const struct rsip_grant *g)
{
	uint32_t *ids = ctx;

	ids[++ids[0]] = g->bind_id;
	return ids[0] < 64;
}

static uint32_t held_some(struct host *h)
{
	uint32_t ids[65] = { 0 };

	rsip_grant_each(h->s, collect, ids);
	return ids[0] ? ids[1 + chance(h->net, ids[0])] : 1;
}

static struct rsip_want some_want(struct net *n)
{
	struct rsip_want w = { .kind = (enum rsip_kind)(1 + chance(n, 4)) };

	w.ports = (struct rsip_numbers){ .form = RSIP_ANY, .count = 1 + chance(n, 20) };
	w.spis = (struct rsip_numbers){ .form = RSIP_ANY, .count = 1 + chance(n, 64) };
	if (w.kind == RSIP_RSIPSEC && chance(n, 2))
		w.ports = (struct rsip_numbers){ 0 };
	if (chance(n, 3) == 0)
		w.lease_s = 1 + chance(n, 100);
	w.exact = chance(n, 2) != 0;
	return w;
}

static void host_act(struct host *h)
{
	struct net *n = h->net;
	struct rsip_want want = some_want(n);
	int rc;

	switch (chance(n, 16)) {
	case 0:
		rc = rsip_deregister(h->s, NULL, n->now_us);
		break;
	case 1:
	case 2:
	case 3:
		rc = rsip_free(h->s, held_some(h), NULL, n->now_us);
		break;
	case 4:
	case 5:
		rc = rsip_extend(h->s, held_some(h), 60, NULL, n->now_us);
		break;
	case 6:
		rc = rsip_query(h->s, NULL, 0, NULL, n->now_us);
		break;
	case 7:
	case 8:
		rc = rsip_register(h->s, NULL, n->now_us);
		break;
	default:
		rc = rsip_assign(h->s, &want, NULL, n->now_us);
		break;
	}
	/* What was not refused at once completes by one event; it is counted afterwards,
	 * so the event that comes within the call is let through. */
	if (rc != 0)
		h->asked--;
}

struct sets {
	uint32_t host;
	uint32_t ids[64];
	size_t n;
};

static bool collect_lease(void *ctx, const struct lease *l)
{
	struct sets *s = ctx;

	if (l->host == s->host && s->n < 64)
		s->ids[s->n++] = l->bind_id;
	return true;
}

static bool release_first(void *ctx, const struct lease *l)
{
	*(uint32_t *)ctx = l->bind_id;
	return false;
}

static bool release_reg(void *ctx, const struct registration *r)
{
	*(uint32_t *)ctx = r->client_id;
	return false;
}

/* The operator takes something back, the path is cut, the gateway or a host forgets. */
static void disturb(struct net *n)
{
	uint32_t id = 0;
	struct host *h = &n->hosts[chance(n, HOSTS)];

	switch (chance(n, 8)) {
	case 0:
		engine_each_lease(n->engine, release_first, &id);
		(void)engine_release(n->engine, id, n->now_us / 1000);
		break;
	case 1:
		engine_each_registration(n->engine, release_reg, &id);
		(void)engine_deregister(n->engine, id, n->now_us / 1000);
		break;
	case 2:
		engine_free(n->engine);
		n->engine = engine_make(n);
		break;
	case 3:
		rsip_session_free(h->s);
		host_open(h);
		break;
	case 4:
	case 5:
		n->out = true;
		run(n, n->now_us + (1 + chance(n, 20)) * SECOND / 2);
		n->out = false;
		break;
	default:
		run(n, n->now_us + chance(n, 100) * SECOND);
		break;
	}
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void check_agreement(struct net *n, struct host *h)
{
	struct sets theirs = { .host = HOST(h->number) };
	uint32_t ours[65] = { 0 };

	rsip_grant_each(h->s, collect, ours);
	engine_each_lease(n->engine, collect_lease, &theirs);
	assert_int_equal(ours[0], theirs.n);
	qsort(ours + 1, ours[0], sizeof *ours, compare_u32);
	qsort(theirs.ids, theirs.n, sizeof *theirs.ids, compare_u32);
	assert_memory_equal(ours + 1, theirs.ids, theirs.n * sizeof *ours);
}

/* The network heals; whoever is not registered registers, and each asks something. */
static void settle(struct net *n)
{
	n->loss = n->twice = 0;
	run(n, n->now_us + 70 * SECOND);
	for (int i = 0; i < HOSTS; i++) {
		struct host *h = &n->hosts[i];

		h->asked++;
		if (rsip_register(h->s, NULL, n->now_us) != 0)
			h->asked--;
	}
	run(n, n->now_us + 5 * SECOND);
	for (int i = 0; i < HOSTS; i++) {
		n->hosts[i].asked++;
		assert_int_equal(rsip_query(n->hosts[i].s, NULL, 0, NULL, n->now_us), 0);
	}
	/*
	 * What was taken back while its notice was lost shows at the next extension, at
	 * half of the lease; what a host does not know it has shows before the lease
	 * could end it.
	 */
	run(n, n->now_us + (LEASE_S / 2 + 20) * SECOND);
	for (int i = 0; i < HOSTS; i++) {
		assert_int_equal(n->hosts[i].asked, n->hosts[i].answered);
		assert_non_null(rsip_session_registration(n->hosts[i].s));
		check_agreement(n, &n->hosts[i]);
	}
}

static void round_of(struct net *n)
{
	n->loss = chance(n, 40);
	n->twice = chance(n, 30);
	for (int i = 0; i < 40; i++) {
		struct host *h = &n->hosts[chance(n, HOSTS)];

		h->asked++;
		host_act(h);
		run(n, n->now_us + chance(n, 400000));
		if (chance(n, 10) == 0)
			disturb(n);
	}
	settle(n);
}

static uint64_t seed = 1;
static unsigned int rounds = 60;

/* A-U-01..A-U-15, P-10.1-02, P-10.2.1-05, P-10.2.2-03, P-10.2.2-04, P-9.5-06, F-3.1-01.
 */
static void test_agreement(void **state)
{
	struct net n = { .random = random_seeded(seed), .now_us = 10 * SECOND };

	(void)state;
	n.packets = calloc(PACKETS, sizeof *n.packets);
	n.engine = engine_make(&n);
	for (int i = 0; i < HOSTS; i++) {
		n.hosts[i] = (struct host){ .net = &n, .number = i };
		host_open(&n.hosts[i]);
	}
	for (unsigned int i = 0; i < rounds; i++)
		round_of(&n);
	for (int i = 0; i < HOSTS; i++)
		rsip_session_free(n.hosts[i].s);
	engine_free(n.engine);
	free(n.packets);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_agreement) };

	if (argc > 1)
		seed = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		rounds = (unsigned int)strtoul(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
