/*
 * tests/vectors.json through the engine: each malformed message in the state that it
 * names gets exactly the bytes that it names, and changes nothing; each valid request
 * gets its response.
 */
#include "rig.h"
#include "vectors.h"

#include "build.h"
#include "wire/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOST    0x0a000005 /* 10.0.0.5 */
#define GATEWAY 0x0a000001
#define SHARED  0xc6336407 /* 198.51.100.7, the pool address of the vectors */

static struct vectors set;

static int load(void **state)
{
	(void)state;
	vectors_load(&set, VECTORS);
	return 0;
}

static int unload(void **state)
{
	(void)state;
	vectors_free(&set);
	return 0;
}

static bool has(const json_t *list, long long value)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (json_integer_value(json_array_get(list, i)) == value)
			return true;
	return false;
}

/* The policy that a state spells: "local micro, remote macro, ipsec denied". */
static void configure(struct setup *s, const json_t *state)
{
	const json_t *off = json_object_get(state, "disabled_types");
	const char *text = vector_text(state, "policy");
	char line[300];

	setup_init(s);
	s->conf.udp = !json_is_true(json_object_get(state, "tcp_only"));
	setup_text(s, "pool public addresses=198.51.100.7,149.112.240.156 "
		      "dedicated=198.51.100.17 ports=1000-65535");
	if (strstr(text, "ipsec denied") != NULL)
		setup_text(s, "policy denied match=10.0.0.5 methods=rsap-ip,rsa-ip");
	(void)snprintf(line, sizeof(line),
		"policy all methods=rsap-ip%s%s local-flow=%s remote-flow=%s listen=%s",
		has(off, 6) ? "" : ",rsa-ip", has(off, 22) ? "" : ",rsipsec",
		strstr(text, "local micro") != NULL ? "micro" : "macro",
		strstr(text, "remote micro") != NULL   ? "micro"
		: strstr(text, "remote macro") != NULL ? "macro"
						       : "none",
		has(off, 16) ? "no" : "yes");
	setup_text(s, line);
}

static struct peer peer_of(const struct vector *v, uint32_t host)
{
	return (struct peer){ .transport = v->udp ? TRANSPORT_UDP : TRANSPORT_TCP,
		.addr = host,
		.port = 5000,
		.local = GATEWAY,
		.local_port = 4555,
		.conn = v->udp ? 0 : 1 };
}

/* A registered host with one binding, as if the store had kept both. */
static void restore(struct rig *r, const struct vector *v, uint32_t host,
	uint32_t client_id, uint32_t bind_id, struct range port, struct range spi)
{
	uint32_t counter = tlv_find(v->bytes, v->len, B_COUNTER);
	struct registration reg = { .client_id = client_id,
		.host = host,
		.peer = peer_of(v, host),
		.counters = v->udp,
		.counter = counter > 1 ? counter - 1 : 0,
		.expires_ms = r->now_ms + 3600000 };
	struct lease l = { .client_id = client_id,
		.bind_id = bind_id,
		.host = host,
		.gateway = GATEWAY,
		.address = SHARED,
		.method = spi.lo != 0 ? METHOD_RSIPSEC : METHOD_RSAP_IP,
		.tunnel = TUNNEL_IPIP,
		.ports = &port,
		.n_ports = port.lo != 0,
		.spis = &spi,
		.n_spis = spi.lo != 0,
		.granted_ms = r->now_ms,
		.expires_ms = r->now_ms + 3600000 };

	assert_int_equal(engine_restore_registration(r->engine, &reg, r->now_ms), 0);
	model_registration_put(&r->store, &reg);
	(void)rows_put(&r->clients, &(struct rig_client){ client_id, host });
	assert_int_equal(engine_restore_lease(r->engine, &l, r->now_ms), 0);
	model_lease_put(&r->store, &l);
	model_lease_put(&r->told, &l);
	(void)rows_put(&r->binds, &(struct rig_bind){ bind_id, host, client_id, false });
}

static void bring_to_state(struct rig *r, const struct vector *v)
{
	const json_t *binds = json_object_get(v->state, "bind_ids");
	struct range none = { 0, 0 }, spi = { 0xc0ffee01, 0xc0ffee01 };

	if (json_is_true(json_object_get(v->state, "registered")))
		restore(r, v, HOST, (uint32_t)vector_int(v->state, "client_id"),
			(uint32_t)json_integer_value(json_array_get(binds, 0)),
			(struct range){ 30000, 30003 }, none);
	if (json_object_get(v->state, "spis_in_use") != NULL)
		restore(r, v, HOST + 1, 8, 22, none, spi);
}

/* A stream comes to the engine as the messages that wire_frame() cuts from it. */
static size_t cut(const struct vector *v)
{
	int n = v->udp ? 0 : wire_frame(v->bytes, v->len);

	return n > 0 ? (size_t)n : v->len;
}

static void one_malformed(const struct vector *v)
{
	struct setup setup;
	struct rig r;
	struct rig_effect *e;
	struct peer from = peer_of(v, HOST);
	unsigned long before;

	configure(&setup, v->state);
	rig_init(&r, &setup, 1);
	bring_to_state(&r, v);
	before = r.persists;
	rig_message(&r, &from, v->bytes, cut(v));
	e = rig_reply(&r);
	if (strcmp(v->action, "silent_drop") == 0) {
		if (e != NULL)
			fail_msg("%s: is answered", v->name);
	} else {
		if (e == NULL)
			fail_msg("%s: is not answered", v->name);
		if (e->len != v->response_len ||
			memcmp(e->bytes, v->response, e->len) != 0)
			fail_msg("%s: answered by %u, not %u", v->name,
				(unsigned int)e->error, (unsigned int)v->error);
		assert_int_equal(e->error, v->error);
		e->taken = true;
		assert_null(rig_reply(&r));
		if (e->close != (!v->udp && (v->error == 207 || v->error == 106)))
			fail_msg("%s: the connection", v->name);
	}
	/* A refusal is no change of what anybody holds. */
	assert_int_equal(r.persists, before);
	if (!rig_check(&r))
		fail_msg("%s: %s", v->name, r.fault);
	rig_fini(&r);
}

/* P-9-02 P-9-03 P-9-04 P-9-05 P-9-07 P-8-02 P-8-03 P-8.1-01 P-8.2-03 P-8.2-05 P-B-03
 * P-B-04 S-6.2-03 S-6.2-04 S-6.2-06 S-6.2-07 P-8.10-02 P-8.12-01 P-9.1-02 P-9.1-05 P-5-06
 * P-10.1-13 P-10.1-14 P-9.14-02 P-A-102 P-A-103 P-A-105 P-A-106 P-A-201 P-A-202 P-A-203
 * P-A-204 P-A-205 P-A-206 P-A-207 P-A-208 P-A-301 P-A-302 P-A-305 P-A-306 P-A-307 S-B-401
 * S-B-403 */
static void malformed(void **state)
{
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < set.n; i++) {
		if (strcmp(set.list[i].kind, "malformed") != 0)
			continue;
		one_malformed(&set.list[i]);
		n++;
	}
	assert_true(n >= 80);
}

static void one_valid(const struct vector *v)
{
	uint32_t client = tlv_find(v->bytes, v->len, B_CLIENT);
	uint32_t bind = tlv_find(v->bytes, v->len, B_BIND);
	struct range ports = { 30000, 30003 }, none = { 0, 0 };
	struct peer from = peer_of(v, HOST);
	struct setup setup;
	struct rig r;
	struct rig_effect *e;

	configure(&setup, NULL);
	rig_init(&r, &setup, 1);
	if (client != 0)
		restore(&r, v, HOST, client, bind != 0 ? bind : 21, ports, none);
	rig_message(&r, &from, v->bytes, v->len);
	e = rig_reply(&r);
	if (e == NULL)
		fail_msg("%s: is not answered", v->name);
	if (e->bytes[1] != v->bytes[1] + 1)
		fail_msg("%s: answered by type %u, error %u", v->name,
			(unsigned int)e->bytes[1], (unsigned int)e->error);
	if (tlv_find(e->bytes, e->len, B_COUNTER) !=
		tlv_find(v->bytes, v->len, B_COUNTER))
		fail_msg("%s: answered with another counter", v->name);
	if (!rig_check(&r))
		fail_msg("%s: %s", v->name, r.fault);
	rig_fini(&r);
}

/* P-B-01 P-9-12 P-8.12-02 P-8.2-01 P-8.2-02 P-8.2-04 P-8.1-03 S-6.2-02 S-6.2-05 P-8.10-01
 * P-10.1-01 P-9-06 */
static void valid(void **state)
{
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < set.n; i++) {
		const struct vector *v = &set.list[i];

		if (strcmp(v->kind, "valid") != 0 || v->side != SIDE_GATEWAY)
			continue;
		one_valid(v);
		n++;
	}
	assert_true(n >= 25);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(malformed),
		cmocka_unit_test(valid) };

	return cmocka_run_group_tests(tests, load, unload);
}
