/*
 * What the crowd does.  Each request is built with its answer in mind: where the state of
 * rig's own store decides the answer, the answer is checked here.
 */
#include "crowd.h"

#include "build.h"

#include <string.h>

#define NET       0x0a000000u /* hosts: 10.0.0.1 ... */
#define GATEWAY   0x0a0000feu
#define POOL      0xcb007100u /* 203.0.113.0 */
#define PORT_LO   1024u
#define PORTS     96u
#define SPI_LO    0x1000u
#define SPIS      512u
#define ANY_ERROR 0xffff

static uint32_t pick(struct crowd *c, uint32_t n)
{
	return c->pick(c->ctx, n);
}

static bool one_in(struct crowd *c, uint32_t n)
{
	return pick(c, n) == 0;
}

/* --- the gateway
 * ------------------------------------------------------------------------
 */

static void configure(struct crowd *c, struct setup *s)
{
	static const char *const pools[] = {
		"pool public addresses=203.0.113.1,203.0.113.2 dedicated=203.0.113.8/30 "
		"ports=1024-1119 spis=0x1000-0x11ff hold-down=120",
		"pool public addresses=203.0.113.1 dedicated=203.0.113.8/31 "
		"ports=1024-1119 spis=0x1000-0x11ff hold-down=0",
		"pool public addresses=203.0.113.1,203.0.113.3 dedicated=203.0.113.2 "
		"ports=1040-1071,1090 spis=0x1000-0x10ff hold-down=5",
	};
	static const char *const policies[] = {
		"policy first match=10.0.0.0/29 listen=yes",
		"policy first match=10.0.0.0/29 remote-flow=macro lease-max=90",
		"policy first match=10.0.0.0/29 remote-flow=micro local-flow=micro",
		"policy first match=10.0.0.0/29 methods=rsap-ip tunnels=ipip listen=no",
		"policy first match=10.0.0.0/28 max-ports=20 max-spis=10 max-bindings=4",
	};

	setup_init(s);
	setup_text(s, pools[one_in(c, 2) ? pick(c, 3) : 0]);
	setup_text(s, policies[pick(c, 5)]);
	setup_text(s, one_in(c, 4) ? "policy rest match=10.0.0.0/27 lease-default=60"
				   : "policy rest lease-default=600");
	setup_text(s, "gateway local-networks=10.0.0.0/8 registration-lease=600");
	s->conf.udp = !one_in(c, 8);
	s->conf.listen_rsip_ike = !one_in(c, 4);
}

static void host_init(struct crowd *c, size_t i)
{
	struct crowd_host *h = &c->hosts[i];
	bool tcp = i % 3 == 2;

	memset(h, 0, sizeof(*h));
	h->peer = (struct peer){ .transport = tcp ? TRANSPORT_TCP : TRANSPORT_UDP,
		.addr = NET + 1 + (uint32_t)i,
		.port = (uint16_t)(5000 + i),
		.local = GATEWAY,
		.local_port = 4555,
		.conn = tcp ? ++c->conns : 0 };
}

void crowd_init(struct crowd *c, size_t n_hosts, uint64_t seed,
	uint32_t (*pick_below)(void *ctx, uint32_t n), void *ctx)
{
	struct setup s;

	memset(c, 0, sizeof(*c));
	c->pick = pick_below;
	c->ctx = ctx;
	c->n_hosts = n_hosts;
	c->pace_ms = 100000;
	configure(c, &s);
	rig_init(&c->rig, &s, seed);
	for (size_t i = 0; i < n_hosts; i++)
		host_init(c, i);
}

void crowd_fini(struct crowd *c)
{
	rig_fini(&c->rig);
}

/* --- what is known of a host
 * ------------------------------------------------------------
 */

static const struct registration *registered(const struct crowd *c, uint32_t host)
{
	for (size_t i = 0; i < c->rig.store.registrations.n; i++) {
		const struct registration *r = model_registration_at(&c->rig.store, i);

		if (r->host == host)
			return r;
	}
	return NULL;
}

static uint32_t any_bind(struct crowd *c)
{
	size_t n = c->rig.store.leases.n;

	return n == 0 ? 77 : model_lease_at(&c->rig.store, pick(c, (uint32_t)n))->bind_id;
}

/* One of this host's own, or any where it has none. */
static uint32_t own_bind(struct crowd *c, uint32_t host)
{
	size_t n = c->rig.store.leases.n;
	size_t start = n == 0 ? 0 : pick(c, (uint32_t)n);

	for (size_t i = 0; i < n; i++) {
		const struct lease *l = model_lease_at(&c->rig.store, (start + i) % n);

		if (l->host == host)
			return l->bind_id;
	}
	return any_bind(c);
}

/* --- requests
 * ---------------------------------------------------------------------------
 */

static void put_local(struct crowd *c, struct build *b)
{
	if (one_in(c, 3))
		build_address(b, POOL + (one_in(c, 6) ? pick(c, 16) : 1 + pick(c, 3)));
	else
		build_any_address(b);
}

static void put_ports(struct crowd *c, struct build *b)
{
	uint16_t first = (uint16_t)(PORT_LO + pick(c, PORTS));

	switch (pick(c, 8)) {
	case 0:
		build_port_block(b, first, (uint8_t)(1 + pick(c, 6)));
		break;
	case 1:
		build_port_block(b, first, 1);
		break;
	case 2: { /* a list, not in order */
		uint8_t v[7] = { 3, (uint8_t)((first + 9) >> 8), (uint8_t)(first + 9),
			(uint8_t)(first >> 8), (uint8_t)first,
			(uint8_t)((first + 4) >> 8), (uint8_t)(first + 4) };

		build_param(b, B_PORTS, v, sizeof(v));
		break;
	}
	case 3:
		build_any_ports(b, (uint8_t)(1 + pick(c, 40)));
		break;
	default:
		build_any_ports(b, (uint8_t)(1 + pick(c, 4)));
		break;
	}
}

static void build_name(struct crowd *c, struct build *b)
{
	uint8_t v[] = { 4, (uint8_t)('a' + pick(c, 4)), '.', 'x' };

	build_param(b, B_ADDRESS, v, sizeof(v));
}

/* Named more often than not, so that every policy is met now and then. */
static void put_remote(struct crowd *c, struct build *b, bool no_ports)
{
	if (one_in(c, 3))
		build_any_address(b);
	else if (one_in(c, 4))
		build_name(c, b);
	else
		build_address(b, 0xc6336400u + pick(c, 4));
	if (no_ports)
		build_param(b, B_PORTS, NULL, 0);
	else if (one_in(c, 3))
		build_any_ports(b, 1);
	else
		build_port_block(b, (uint16_t)(440 + pick(c, 4)), 1);
}

static void put_spis(struct crowd *c, struct build *b)
{
	if (one_in(c, 3))
		build_spi_block(b, SPI_LO + pick(c, SPIS), (uint16_t)(1 + pick(c, 8)));
	else
		build_any_spis(b, (uint16_t)(1 + pick(c, one_in(c, 4) ? 200 : 8)));
}

static void put_wishes(struct crowd *c, struct build *b)
{
	static const uint32_t leases[] = { 0, 1, 7, 60, 300, 5000, 4294967295u };

	if (one_in(c, 2))
		build_u32(b, B_LEASE, leases[pick(c, 7)]);
	if (one_in(c, 4))
		build_u8(b, B_TUNNEL, (uint8_t)(1 + pick(c, one_in(c, 8) ? 4 : 2)));
}

static void put_assign(struct crowd *c, struct build *b, uint8_t type)
{
	bool no_ports = type == T_RSIPSEC && one_in(c, 2);

	put_local(c, b);
	if (no_ports)
		build_param(b, B_PORTS, NULL, 0);
	else if (type != T_RSA_IP)
		put_ports(c, b);
	put_remote(c, b, no_ports);
	if (type == T_RSIPSEC)
		put_spis(c, b);
	put_wishes(c, b);
}

/* Few identities, so that they meet. */
static void put_listen_ike(struct crowd *c, struct build *b)
{
	static const char *const ids[] = { "\2peer", "\2PEER", "\13peer", "\1abcd" };
	const char *id = ids[pick(c, 4)];

	put_local(c, b);
	if (one_in(c, 4))
		build_u8(b, B_IKE_ID, 0);
	else
		build_param(b, B_IKE_ID, (const uint8_t *)id, strlen(id));
	put_wishes(c, b);
}

static void put_query(struct crowd *c, struct build *b)
{
	for (uint32_t n = pick(c, 3); n > 0; n--) {
		uint8_t mask[5] = { 2, 255, 255, (uint8_t)(one_in(c, 4) ? 3 : 0), 0 };

		if (one_in(c, 2)) {
			build_u16(b, B_INDICATOR, 1);
			if (one_in(c, 3))
				build_name(c, b);
			else
				build_address(b, pick(c, 2) == 0 ? NET + 5 : 0xc6336401u);
		} else {
			build_u16(b, B_INDICATOR, 2);
			build_address(b, NET);
			build_param(b, B_ADDRESS, mask, sizeof(mask));
		}
	}
}

/* The next counter; now and then an older or a far one. */
static uint32_t next_counter(struct crowd *c, struct crowd_host *h)
{
	if (one_in(c, 30))
		return h->counter > 5 ? h->counter - 5 : 1;
	h->counter += one_in(c, 30) ? 10 : 1;
	if (h->counter == 0)
		h->counter = 1;
	return h->counter;
}

static size_t make(struct crowd *c, struct crowd_host *h, uint8_t type)
{
	uint32_t client = one_in(c, 40) ? 4711 : h->client_id;
	uint32_t host = h->peer.addr;
	struct build b;

	build_begin(&b, h->last, sizeof(h->last), type);
	if (type != T_REGISTER)
		build_u32(&b, B_CLIENT, client);
	switch (type) {
	case T_EXTEND:
	case T_FREE:
		build_u32(&b, B_BIND, one_in(c, 12) ? any_bind(c) : own_bind(c, host));
		if (type == T_EXTEND && one_in(c, 2))
			build_u32(&b, B_LEASE, pick(c, 2000));
		break;
	case T_RSA_IP:
	case T_RSAP_IP:
	case T_LISTEN:
	case T_RSIPSEC:
		put_assign(c, &b, type);
		break;
	case T_LISTEN_IKE:
		put_listen_ike(c, &b);
		break;
	case T_QUERY:
		put_query(c, &b);
		break;
	default:
		break;
	}
	if (h->peer.transport == TRANSPORT_UDP || one_in(c, 2))
		build_u32(&b, B_COUNTER, next_counter(c, h));
	h->last_len = build_end(&b);
	if (h->last_len > 4 && one_in(c, 40)) /* a bad byte */
		h->last[4 + pick(c, (uint32_t)h->last_len - 4)] ^=
			(uint8_t)(1u << pick(c, 8));
	return h->last_len;
}

/* --- answers
 * ----------------------------------------------------------------------------
 */

/* Ports or SPIs of a request and of its grant: as many as asked for. */
static uint32_t count_of(const uint8_t *bytes, size_t len, uint8_t param, size_t size)
{
	struct tlv p;

	for (size_t at = 4; tlv_next(bytes, len, &at, &p);)
		if (p.type == param)
			return p.len < size ? 0
					    : tlv_number(&(struct tlv){ .value = p.value,
						      .len = (uint16_t)size });
	return 0;
}

static void judge_grant(struct crowd *c, const struct crowd_host *h, uint32_t client,
	const struct rig_effect *e)
{
	if (client == 0)
		rig_fail(&c->rig, "type %u is granted to a host without registration",
			e->bytes[1]);
	if (e->bytes[1] != T_RSA_IP + 1 && count_of(h->last, h->last_len, B_PORTS, 1) !=
						   count_of(e->bytes, e->len, B_PORTS, 1))
		rig_fail(&c->rig, "not as many ports as asked for");
	if (count_of(h->last, h->last_len, B_SPI, 2) !=
		count_of(e->bytes, e->len, B_SPI, 2))
		rig_fail(&c->rig, "not as many SPIs as asked for");
	c->grants++;
}

/*
 * Where the store decides the answer, and the request was well-formed, there is only one;
 * `client` is the registration, `bind_own` whether the named binding was the host's.
 */
static void judge_error(struct crowd *c, const struct crowd_host *h, uint32_t client,
	bool own, const struct rig_effect *e)
{
	uint8_t type = h->last[1];
	uint32_t named = tlv_find(h->last, h->last_len, B_CLIENT);
	uint16_t want = 0;

	c->refusals++;
	if (e->error < 300)
		return; /* the bad byte, the transport, or the policy */
	if (type == T_REGISTER)
		want = client != 0 ? 302 : 304;
	else if (client == 0)
		want = 301;
	else if (named != client)
		want = 305;
	else if ((type == T_FREE || type == T_EXTEND) && !own)
		want = 306;
	if (want != 0 && e->error != want)
		rig_fail(&c->rig, "error %u where %u is due", (unsigned int)e->error,
			(unsigned int)want);
	if (want == 0 && (e->error == 301 || e->error == 302 || e->error == 305 ||
				 (e->error == 306 && type != T_FREE && type != T_EXTEND)))
		rig_fail(&c->rig, "error %u is not due", (unsigned int)e->error);
}

static void learn(struct crowd_host *h, const struct rig_effect *e)
{
	uint32_t client = tlv_find(e->bytes, e->len, B_CLIENT);

	if (e->bytes[1] == T_REGISTER + 1 || e->error == 302)
		h->client_id = client;
	else if (e->bytes[1] == T_DEREGISTER + 1 || e->error == 301)
		h->client_id = 0;
}

/* Asynchronous messages reach any host. */
static void hear(struct crowd *c, const struct rig_effect *e)
{
	uint32_t i = e->to.addr - NET - 1;

	if (i < c->n_hosts && e->error == 0)
		learn(&c->hosts[i], e);
}

static bool send(struct crowd *c, struct crowd_host *h)
{
	const struct registration *reg = registered(c, h->peer.addr);
	uint32_t client = reg != NULL ? reg->client_id : 0;
	const struct lease *named =
		model_lease(&c->rig.store, tlv_find(h->last, h->last_len, B_BIND));
	bool own = named != NULL && named->host == h->peer.addr;
	/* Over TCP a request may wait behind another, and let that one's answer out. */
	bool queued = h->peer.transport == TRANSPORT_TCP && c->rig.engine != NULL &&
		      engine_counters(c->rig.engine)->waiting > 0;
	struct rig_effect *e;
	size_t answers = 0;

	rig_clear(&c->rig);
	rig_message(&c->rig, &h->peer, h->last, h->last_len);
	while (c->rig.fault[0] == '\0' && (e = rig_reply(&c->rig)) != NULL) {
		e->taken = true;
		if (e->async || queued) {
			hear(c, e);
			continue;
		}
		answers++;
		if (e->error != 0)
			judge_error(c, h, client, own, e);
		else if (!c->rig.repeated &&
			 (e->bytes[1] == 7 || e->bytes[1] == 9 || e->bytes[1] == 17 ||
				 e->bytes[1] == 23))
			judge_grant(c, h, client, e);
		learn(h, e);
	}
	if (answers > 1)
		rig_fail(&c->rig, "%zu answers to one request", answers);
	c->silences += answers == 0;
	return c->rig.fault[0] == '\0';
}

/* --- events
 * -----------------------------------------------------------------------------
 */

static bool pass_time(struct crowd *c)
{
	static const uint32_t scale[] = { 1, 100, 3000, 1000000 };
	uint64_t most = scale[pick(c, 4)];

	rig_clear(&c->rig);
	if (most > c->pace_ms)
		most = c->pace_ms;
	rig_until(&c->rig, c->rig.now_ms + pick(c, (uint32_t)most + 1));
	for (struct rig_effect *e; (e = rig_reply(&c->rig)) != NULL; e->taken = true)
		hear(c, e);
	return c->rig.fault[0] == '\0';
}

/* A name that is asked for gets its answer; whom that answers in turn is not judged. */
static bool resolve(struct crowd *c)
{
	uint32_t addresses[12];
	size_t n = pick(c, 13);

	rig_clear(&c->rig);
	if (c->rig.n_names == 0)
		return true;
	for (size_t i = 0; i < n; i++)
		addresses[i] = (one_in(c, 4) ? NET : 0xc6336400u) + pick(c, 12);
	rig_resolved(&c->rig, pick(c, (uint32_t)c->rig.n_names), addresses, n);
	for (struct rig_effect *e; (e = rig_reply(&c->rig)) != NULL; e->taken = true)
		hear(c, e);
	return c->rig.fault[0] == '\0';
}

static bool rare(struct crowd *c, struct crowd_host *h)
{
	struct setup s;

	rig_clear(&c->rig);
	switch (pick(c, 8)) {
	case 0:
		rig_restart(&c->rig, true, one_in(c, 2) ? 0 : pick(c, 100000));
		c->restarts++;
		if (rig_reply(&c->rig) != NULL)
			rig_fail(&c->rig, "a restart speaks (P-10.2.2-01)");
		break;
	case 1:
		configure(c, &s);
		c->reloads++;
		if (rig_reload(&c->rig, &s) != 0 && !c->starving)
			rig_fail(&c->rig, "a reload is refused");
		break;
	case 2:
		(void)rig_release(&c->rig, any_bind(c));
		break;
	case 3:
		(void)rig_deregister(&c->rig, h->client_id);
		break;
	case 4:
		rig_misuse(&c->rig, h->peer.addr, (uint16_t)(312 + pick(c, 4)), 0);
		break;
	case 5: /* the power goes in the middle of a request */
		(void)make(c, h, one_in(c, 2) ? T_FREE : T_RSAP_IP);
		rig_lose(&c->rig);
		rig_message(&c->rig, &h->peer, h->last, h->last_len);
		rig_restart(&c->rig, true, 0);
		c->restarts++;
		break;
	case 6: /* the host loses its connection, or its port */
		rig_conn_closed(&c->rig, h->peer.conn);
		if (h->peer.transport == TRANSPORT_TCP)
			h->peer.conn = ++c->conns;
		else
			h->peer.port++;
		break;
	default: /* the host starts again and knows nothing */
		h->client_id = 0;
		h->counter = 0;
		break;
	}
	return c->rig.fault[0] == '\0';
}

static bool step(struct crowd *c)
{
	static const uint8_t types[] = { T_RSAP_IP, T_RSAP_IP, T_RSAP_IP, T_RSIPSEC,
		T_RSIPSEC, T_LISTEN, T_LISTEN, T_LISTEN_IKE, T_RSA_IP, T_EXTEND, T_EXTEND,
		T_FREE, T_FREE, T_FREE, T_QUERY };
	struct crowd_host *h = &c->hosts[pick(c, (uint32_t)c->n_hosts)];
	uint32_t kind = pick(c, 100);
	uint8_t type;

	if (kind < 12)
		return pass_time(c);
	if (kind < 16)
		return rare(c, h);
	if (kind < 22 && h->last_len > 0)
		return send(c, h); /* the same again */
	if (kind < 28)
		return resolve(c);
	type = types[pick(c, sizeof(types))];
	if (h->client_id == 0 || one_in(c, 40))
		type = T_REGISTER;
	else if (one_in(c, 40))
		type = T_DEREGISTER;
	(void)make(c, h, type);
	return send(c, h);
}

bool crowd_step(struct crowd *c)
{
	bool whole;

	c->starving = c->starve != NULL && one_in(c, 10);
	if (c->starving)
		c->starve(1 + pick(c, 4));
	whole = step(c);
	if (c->starving)
		c->starve(0);
	return whole;
}

bool crowd_bytes(struct crowd *c, const uint8_t *bytes, size_t len)
{
	struct crowd_host *h = &c->hosts[pick(c, (uint32_t)c->n_hosts)];

	rig_clear(&c->rig);
	rig_message(&c->rig, &h->peer, bytes, len);
	return c->rig.fault[0] == '\0';
}
