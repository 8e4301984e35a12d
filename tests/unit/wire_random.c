/*
 * Random valid messages: what is encoded decodes to the same at the other side, and
 * encodes to the same bytes again.
 */
#include "base/random.h"
#include "wire/table.h"
#include "wire_same.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#define ROUNDS     20000
#define LIST_MAX   60
#define TUPLES_MAX 4

/* A message and what it borrows. */
struct sample {
	struct wire_msg m;
	uint8_t local_list[2 * LIST_MAX], remote_list[2 * LIST_MAX],
		spi_list[4 * LIST_MAX];
	struct wire_query queries[TUPLES_MAX];
};

static const char name[] = "a-name.of_a-remote.example.net.";

static struct wire_addr any_addr(struct random *r, unsigned int kinds)
{
	struct wire_addr a = { .type = (uint8_t)(1 + random_below(r, kinds)) };

	if (a.type == ADDR_NETMASK)
		a.type = ADDR_IPV4;
	if (a.type == ADDR_FQDN) {
		a.fqdn = name;
		a.fqdn_len = (uint8_t)(1 + random_below(r, sizeof(name) - 1));
	}
	if (a.type == ADDR_IPV4)
		a.v4 = 1 + random_below(r, UINT32_MAX);
	for (size_t i = 0; a.type == ADDR_IPV6 && i < sizeof(a.v6); i++)
		a.v6[i] = (uint8_t)(1 + random_below(r, 255));
	return a;
}

/* Don't care in one of its spellings. */
static struct wire_addr no_addr(struct random *r)
{
	struct wire_addr a = { .type = ADDR_IPV4, .dont_care = true };

	a.spelled = random_below(r, 2);
	if (random_below(r, 2))
		a.type = ADDR_IPV6;
	return a;
}

/* Different numbers from `first` on, with gaps. */
static void fill(struct random *r, uint8_t *list, size_t n, size_t width, uint32_t first)
{
	for (size_t i = 0; i < n; i++) {
		first += 1 + random_below(r, 900);
		for (size_t b = 0; b < width; b++)
			list[i * width + b] = (uint8_t)(first >> (8 * (width - 1 - b)));
	}
}

static struct wire_ports any_ports(
	struct random *r, bool request, bool spi, bool local, uint8_t list[2 * LIST_MAX])
{
	enum wire_form form = random_below(r, 4);
	struct wire_ports p = { .form = form,
		.number = (uint8_t)(1 + random_below(r, 255)) };

	if (form == FORM_DONT_NEED && spi)
		return (struct wire_ports){ .form = form };
	if (form == FORM_DONT_CARE && (request || !local)) {
		p.spelled = random_below(r, 2);
		p.spelled_len = 3;
		p.spelled_number = p.number;
		return p;
	}
	if (form == FORM_LIST) {
		p.number = (uint8_t)(2 + random_below(r, LIST_MAX - 1));
		p.list = list;
		fill(r, list, p.number, 2, 0);
		return p;
	}
	p.form = FORM_BLOCK;
	p.first = (uint16_t)(1 + random_below(r, 65536U - p.number));
	return p;
}

static struct wire_spis any_spis(
	struct random *r, bool request, uint8_t list[4 * LIST_MAX])
{
	struct wire_spis s = { .form = FORM_BLOCK,
		.number = (uint16_t)(1 + random_below(r, UINT16_MAX)) };

	switch (random_below(r, 3)) {
	case 0:
		s.number = (uint16_t)(2 + random_below(r, LIST_MAX - 1));
		s.form = FORM_LIST;
		s.list = list;
		fill(r, list, s.number, 4, 256 + random_below(r, UINT32_MAX / 2));
		break;
	case 1:
		s.form = request ? FORM_DONT_CARE : FORM_BLOCK;
		break;
	}
	if (s.form == FORM_BLOCK)
		s.first = 256 + random_below(r, UINT32_MAX - 256 - s.number);
	return s;
}

static uint8_t any_list(struct random *r, uint8_t *list, bool many)
{
	uint8_t n = many ? (uint8_t)(1 + random_below(r, 3)) : 1;

	for (uint8_t i = 0; i < n; i++)
		list[i] = (uint8_t)(i + 1);
	return n;
}

static void any_queries(struct random *r, struct sample *s, bool request)
{
	s->m.queries = s->queries;
	s->m.n_queries = 1 + random_below(r, TUPLES_MAX);
	for (size_t i = 0; i < s->m.n_queries; i++) {
		struct wire_query *q = &s->queries[i];
		unsigned int bits = random_below(r, 33);

		*q = (struct wire_query){ .indicator_len =
						  (uint8_t)(1 + random_below(r, 2)) };
		q->indicator = (uint8_t)(1 + random_below(r, request ? 2 : 4));
		if (!indicator_is_network(q->indicator)) {
			q->addr = any_addr(r, ADDR_FQDN);
			continue;
		}
		q->addr = any_addr(r, ADDR_IPV6);
		q->mask.type = q->addr.type == ADDR_IPV4 ? ADDR_NETMASK : ADDR_IPV6;
		if (q->addr.type == ADDR_IPV4)
			q->mask.v4 = bits ? UINT32_MAX << (32 - bits) : 0;
		else
			memset(q->mask.v6, 0xff, bits / 8);
	}
}

static void any_role(
	struct random *r, struct sample *s, const struct msg_spec *spec, enum role role)
{
	struct wire_msg *m = &s->m;
	bool request = spec->to == SIDE_GATEWAY, spi = msg_spec_has(spec, ROLE_SPI);
	bool any = random_below(r, 2);

	m->has |= role_specs[role].has;
	switch (role) {
	case ROLE_ERROR:
		do {
			m->error = (uint16_t)random_below(r, 500);
		} while (!rsip_error_name(m->error));
		break;
	case ROLE_CLIENT_ID:
		m->client_id = 1 + random_below(r, UINT32_MAX);
		break;
	case ROLE_BIND_ID:
		m->bind_id = 1 + random_below(r, UINT32_MAX);
		break;
	case ROLE_LOCAL:
		m->local = any && request ? no_addr(r) : any_addr(r, ADDR_IPV6);
		break;
	case ROLE_LOCAL_PORTS:
		m->local_ports = any_ports(r, request, spi, true, s->local_list);
		break;
	case ROLE_REMOTE:
		m->remote = any ? no_addr(r) : any_addr(r, ADDR_FQDN);
		break;
	case ROLE_REMOTE_PORTS:
		m->remote_ports = any_ports(r, request, spi, false, s->remote_list);
		break;
	case ROLE_SPI:
		m->spis = any_spis(r, request, s->spi_list);
		break;
	case ROLE_LEASE:
		m->lease_s = random_below(r, UINT32_MAX);
		break;
	case ROLE_TUNNEL:
		m->n_tunnels = any_list(r, m->tunnels, spec->many & HAS_TUNNEL);
		break;
	case ROLE_METHOD:
		m->n_methods = any_list(r, m->methods, spec->many & HAS_METHOD);
		break;
	case ROLE_FLOW:
		m->flow_local = (uint8_t)(1 + random_below(r, 2));
		m->flow_remote = (uint8_t)(1 + random_below(r, 3));
		break;
	case ROLE_COUNTER:
		m->counter = 1 + random_below(r, UINT32_MAX);
		break;
	case ROLE_ENDPOINT:
		m->endpoint = any_addr(r, ADDR_IPV6);
		break;
	case ROLE_QUERY:
		any_queries(r, s, request);
		break;
	case ROLE_QUERY_ADDR:
		break;
	case ROLE_IKE_IDENTITY:
		m->ike_identity = (const uint8_t *)"";
		m->ike_identity_len = 1;
		if (any) {
			fill(r, s->spi_list, 8, 4, 0);
			s->spi_list[0] = (uint8_t)(2 + random_below(r, 10));
			m->ike_identity = s->spi_list;
			m->ike_identity_len = (uint16_t)(2 + random_below(r, 30));
		}
		break;
	default:
		fail_msg("role %u needs a random value", role);
	}
}

static void any_message(struct random *r, struct sample *s)
{
	const struct msg_spec *spec;

	memset(s, 0, sizeof(*s));
	s->m.version = RSIP_VERSION_1;
	do {
		s->m.type = (uint8_t)random_below(r, WIRE_MSG_ROWS);
		if (s->m.type >= WIRE_MSG_TYPES)
			s->m.type =
				(uint8_t)(RSIP_PRIVATE + (s->m.type - WIRE_MSG_TYPES));
		spec = msg_spec_find(s->m.type);
	} while (!spec);
	for (const uint8_t *role = spec->must; *role; role++)
		any_role(r, s, spec, *role);
	for (const uint8_t *role = spec->may; *role; role++) {
		if (*role != ROLE_QUERY_ADDR && random_below(r, 2))
			any_role(r, s, spec, *role);
	}
}

static void round_trip(const struct sample *s, uint64_t round)
{
	uint8_t bytes[4096], again[4096];
	const struct msg_spec *spec = msg_spec_find(s->m.type);
	int len = wire_encode(&s->m, bytes, sizeof(bytes));
	struct wire_msg m;
	struct wire_query q;
	size_t at = 0;

	if (len < 0)
		fail_msg("round %lu: not encoded: %d", round, len);
	if (wire_decode_private(
		    bytes, (size_t)len, spec->to, s->m.has & HAS_COUNTER, &m) != 0)
		fail_msg("round %lu: not decoded", round);
	if (!wire_same(&s->m, &m) && !(m.has & HAS_QUERY))
		fail_msg("round %lu: decoded to something else", round);
	for (size_t i = 0; i < s->m.n_queries; i++) {
		assert_true(wire_query_next(&m, &at, &q));
		assert_int_equal(q.indicator, s->queries[i].indicator);
		assert_int_equal(q.indicator_len, s->queries[i].indicator_len);
		assert_int_equal(q.addr.v4, s->queries[i].addr.v4);
		assert_int_equal(q.mask.v4, s->queries[i].mask.v4);
		assert_false(q.mask.dont_care); /* also when it is all zero */
		assert_memory_equal(q.mask.v6, s->queries[i].mask.v6, sizeof(q.mask.v6));
	}
	assert_false(wire_query_next(&m, &at, &q));
	assert_int_equal(wire_encode(&m, again, sizeof(again)), len);
	assert_memory_equal(bytes, again, (size_t)len);
}

/* P-9-01, P-9-06, P-8-01: encode and decode are each other's inverse. */
static void test_round_trip(void **state)
{
	struct random r = random_seeded(4555);
	struct sample s;

	(void)state;
	for (uint64_t round = 0; round < ROUNDS; round++) {
		any_message(&r, &s);
		round_trip(&s, round);
	}
}

/* Nothing that wire_print() shortens, and no spelling that is never sent. */
static bool is_plain(const struct wire_msg *m)
{
	return !(m->local.spelled || m->remote.spelled || m->local_ports.spelled ||
		       m->remote_ports.spelled) &&
	       !(m->local_ports.form == FORM_LIST && m->local_ports.number > 16) &&
	       !(m->remote_ports.form == FORM_LIST && m->remote_ports.number > 16) &&
	       !(m->spis.form == FORM_LIST && m->spis.number > 16);
}

/* For another reader of the same bytes: n messages as "HEX TEXT". */
static int write_messages(unsigned long n)
{
	struct random r = random_seeded(3103);
	struct sample s;

	while (n > 0) {
		uint8_t bytes[4096];
		char text[4096];
		int len;

		any_message(&r, &s);
		len = wire_encode(&s.m, bytes, sizeof(bytes));
		if (!is_plain(&s.m) || s.m.type >= RSIP_PRIVATE)
			continue;
		for (int i = 0; i < len; i++)
			(void)printf("%02x", bytes[i]);
		if (len < 0 || wire_print(&s.m, text, sizeof(text)) >= (int)sizeof(text))
			return 1;
		(void)printf(" %s\n", text);
		n--;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
	};

	if (argc > 1)
		return write_messages(strtoul(argv[1], NULL, 10));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
