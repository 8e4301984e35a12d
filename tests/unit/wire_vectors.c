/*
 * tests/vectors.json through decoder and encoder: what a message means, that it comes out
 * as it went in, and which error a broken one gets, as far as the decoder decides it.
 */
#include "vectors.h"
#include "wire_draft.h"
#include "wire_same.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

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

/* Calls fn for the vectors of a kind; there must be some. */
static void each_vector(const char *kind, void (*fn)(const struct vector *v))
{
	size_t n = 0;

	for (size_t i = 0; i < set.n; i++) {
		if (strcmp(set.list[i].kind, kind) != 0)
			continue;
		fn(&set.list[i]);
		n++;
	}
	assert_true(n > 0);
}

static void fail_vector(const char *name, const char *what)
{
	fail_msg("vector %s: %s", name, what);
}

#define CHECK(condition)                               \
	do {                                           \
		if (!(condition))                      \
			fail_vector(name, #condition); \
	} while (0)

/* --- Values of the file against members -------------------------------------------- */

static void check_addr(const char *name, const struct wire_addr *a, const json_t *value)
{
	const char *text = vector_text(value, "address"),
		   *fqdn = vector_text(value, "fqdn");
	bool dont_care = json_is_true(json_object_get(value, "dont_care"));
	struct in_addr v4 = { 0 };
	struct in6_addr v6;

	CHECK(a->type == vector_int(value, "addrtype"));
	CHECK(a->dont_care == dont_care);
	CHECK(a->spelled == (dont_care && *text));
	CHECK(a->fqdn_len == strlen(fqdn));
	CHECK(a->fqdn_len == 0 || !memcmp(a->fqdn, fqdn, a->fqdn_len));
	if (strchr(text, ':')) {
		CHECK(inet_pton(AF_INET6, text, &v6) == 1);
		CHECK(!memcmp(a->v6, &v6, sizeof(v6)));
	} else if (*text) {
		CHECK(inet_pton(AF_INET, text, &v4) == 1);
		CHECK(a->v4 == ntohl(v4.s_addr));
	}
}

static enum wire_form form_of(const char *name, const char *form)
{
	static const struct {
		const char *name;
		enum wire_form form;
	} forms[] = { { "dont_need", FORM_DONT_NEED }, { "dont_care", FORM_DONT_CARE },
		{ "all_zero", FORM_DONT_CARE }, { "single", FORM_BLOCK },
		{ "contiguous", FORM_BLOCK }, { "list", FORM_LIST } };

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (!strcmp(forms[i].name, form))
			return forms[i].form;
	}
	fail_vector(name, "a form that this test does not know");
	return FORM_DONT_NEED;
}

/* A number, or hexadecimal text. */
static uint32_t number_of(const json_t *value)
{
	if (json_is_string(value))
		return (uint32_t)strtoul(json_string_value(value), NULL, 16);
	return (uint32_t)json_integer_value(value);
}

static void check_ports(const char *name, const struct wire_ports *p, const json_t *value)
{
	const char *form = vector_text(value, "form");
	const json_t *list = json_object_get(value, "ports"),
		     *first = json_object_get(value, "first");
	long long number = vector_int(value, "number");

	CHECK(p->form == form_of(name, form));
	CHECK(p->spelled == !strcmp(form, "all_zero"));
	CHECK(p->spelled_number == number || !p->spelled);
	CHECK(p->number == (p->spelled && number == 0 ? 1 : number));
	CHECK(!first || p->first == number_of(first));
	for (size_t i = 0; i < json_array_size(list); i++)
		CHECK(wire_port_at(p, (unsigned int)i) ==
			number_of(json_array_get(list, i)));
}

static void check_spis(const char *name, const struct wire_spis *s, const json_t *value)
{
	const json_t *list = json_object_get(value, "spis"),
		     *first = json_object_get(value, "first");

	CHECK(s->form == form_of(name, vector_text(value, "form")));
	CHECK(s->number == vector_int(value, "number"));
	CHECK(!first || s->first == number_of(first));
	for (size_t i = 0; i < json_array_size(list); i++)
		CHECK(wire_spi_at(s, (unsigned int)i) ==
			number_of(json_array_get(list, i)));
}

/* What of the file has a member, by its name there. */
static const struct {
	const char *name;
	enum role role;
} names[] = {
	{ "error", ROLE_ERROR },
	{ "client_id", ROLE_CLIENT_ID },
	{ "bind_id", ROLE_BIND_ID },
	{ "address_local", ROLE_LOCAL },
	{ "ports_local", ROLE_LOCAL_PORTS },
	{ "address_remote", ROLE_REMOTE },
	{ "ports_remote", ROLE_REMOTE_PORTS },
	{ "spi", ROLE_SPI },
	{ "lease_time", ROLE_LEASE },
	{ "tunnel_type", ROLE_TUNNEL },
	{ "rsip_method", ROLE_METHOD },
	{ "flow_policy", ROLE_FLOW },
	{ "message_counter", ROLE_COUNTER },
	{ "address_tunnel_endpoint", ROLE_ENDPOINT },
	{ "indicator", ROLE_QUERY },
	{ "address_query", ROLE_QUERY_ADDR },
	{ "address_network", ROLE_QUERY_ADDR },
	{ "address_netmask", ROLE_QUERY_ADDR },
	{ "vendor_specific", ROLE_VENDOR },
};

static enum role role_of(const char *name, const char *param)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(names[i].name, param))
			return names[i].role;
	}
	fail_vector(name, "a parameter that this test does not know");
	return ROLE_NONE;
}

/* One parameter of the file; nth counts the items of a list. */
static void check_member(const char *name, const struct wire_msg *m, enum role role,
	size_t nth, const json_t *value)
{
	const void *at = role_member(m, role);

	CHECK(m->has & role_specs[role].has);
	switch (role_specs[role].param) {
	case PARAM_ADDRESS:
		check_addr(name, at, value);
		break;
	case PARAM_PORTS:
		check_ports(name, at, value);
		break;
	case PARAM_SPI:
		check_spis(name, at, value);
		break;
	case PARAM_ERROR:
		CHECK(m->error == number_of(value));
		break;
	case PARAM_FLOW_POLICY:
		CHECK(m->flow_local == vector_int(value, "local"));
		CHECK(m->flow_remote == vector_int(value, "remote"));
		break;
	case PARAM_TUNNEL_TYPE:
	case PARAM_METHOD:
		CHECK(nth < role_count(m, role));
		CHECK(((const uint8_t *)at)[nth] == number_of(value));
		break;
	default:
		CHECK(*(const uint32_t *)at == number_of(value));
	}
}

/* Query tuples in the file are a row of indicators and addresses. */
struct tuples {
	const char *name;
	const struct wire_msg *m;
	struct wire_query q;
	size_t at;
};

static void check_tuple(struct tuples *t, const char *param, const json_t *value)
{
	const char *name = t->name;

	if (!strcmp(param, "indicator")) {
		CHECK(wire_query_next(t->m, &t->at, &t->q));
		CHECK(t->q.indicator == number_of(value));
	} else if (!strcmp(param, "address_netmask")) {
		check_addr(name, &t->q.mask, value);
	} else {
		check_addr(name, &t->q.addr, value);
	}
}

static void check_fields(const struct vector *v, const struct wire_msg *m)
{
	const json_t *params = json_object_get(v->fields, "parameters");
	struct tuples tuples = { .name = v->name, .m = m };
	const char *name = v->name;
	size_t nth[ROLES] = { 0 };
	uint32_t has = 0;

	CHECK(m->version == vector_int(v->fields, "version"));
	CHECK(m->type == vector_int(v->fields, "message_type"));
	CHECK(m->len == vector_int(v->fields, "overall_length"));
	for (size_t i = 0; i < json_array_size(params); i++) {
		const json_t *object = json_array_get(params, i);
		const char *param = vector_text(object, "param");
		const json_t *value = json_object_get(object, "value");
		enum role role = role_of(name, param);

		has |= role_specs[role].has;
		if (role == ROLE_QUERY || role == ROLE_QUERY_ADDR)
			check_tuple(&tuples, param, value);
		else if (role != ROLE_VENDOR)
			check_member(name, m, role, nth[role]++, value);
	}
	CHECK(m->has == has);
	CHECK(!wire_query_next(m, &tuples.at, &tuples.q));
}

/* --- The tests --------------------------------------------------------------------- */

static bool optional_in_grammar_order(const struct wire_msg *m)
{
	const struct msg_spec *spec = msg_spec_find(m->type);
	struct rd r = rd_init(m->optional, m->optional_len), value;
	const uint8_t *may = spec->may;
	uint8_t type;

	while (param_next(&r, &type, &value)) {
		while (*may && role_specs[*may].param != type)
			may++;
		if (!*may && type != PARAM_VENDOR && !(m->has & HAS_QUERY))
			return false;
	}
	return true;
}

/* Back to the same bytes, or, when the sender chose another order, to the same meaning.
 */
static void check_encode(const char *name, const struct wire_msg *m, const uint8_t *bytes,
	size_t len, bool udp)
{
	uint8_t out[512];
	int n = wire_encode(m, out, sizeof(out));
	struct wire_msg again;

	CHECK(n == (int)len);
	if (optional_in_grammar_order(m))
		CHECK(!memcmp(out, bytes, len));
	CHECK(wire_decode(out, len, msg_spec_find(m->type)->to, udp, &again) == 0);
	CHECK(wire_same(m, &again));
}

static void check_valid(const struct vector *v)
{
	const char *name = v->name;
	struct wire_msg m;
	uint8_t type;

	CHECK(wire_header(v->bytes, v->len, &type) == 0);
	CHECK(type == vector_int(v->fields, "message_type"));
	CHECK(wire_decode(v->bytes, v->len, v->side, v->udp, &m) == 0);
	check_fields(v, &m);
	check_encode(name, &m, v->bytes, v->len, v->udp);
}

/*
 * P-9-01, P-9.3-03, P-9.8-14, P-9.9-02, P-9.15-01, P-9.17-01, S-6.2-22, S-6.2-23,
 * P-A-302, P-A-105, S-B-401, S-B-402, S-B-403: what each message means, and its bytes
 * back.
 */
static void test_valid(void **state)
{
	(void)state;
	each_vector("valid", check_valid);
}

static void check_extension(const struct vector *v)
{
	const char *name = v->name;
	uint8_t out[512];
	struct wire_msg m;

	CHECK(wire_decode(v->bytes, v->len, v->side, v->udp, &m) == RSIP_ILLEGAL_MESSAGE);
	CHECK(wire_decode_private(v->bytes, v->len, v->side, v->udp, &m) == 0);
	CHECK(m.client_id == 7 && m.local.v4 == 0xc6336407 && m.lease_s == 600 &&
		m.counter == 9);
	CHECK(v->side == SIDE_GATEWAY || (m.bind_id == 40 && m.tunnels[0] == 1));
	CHECK(m.ike_identity_len == 17 && m.ike_identity[0] == 2 &&
		!memcmp(m.ike_identity + 1, "peer.example.net", 16));
	CHECK(wire_encode(&m, out, sizeof(out)) == (int)v->len);
	CHECK(v->side == SIDE_GATEWAY || !memcmp(out, v->bytes, v->len));
}

/* S-G-04: the messages of private use. */
static void test_extension(void **state)
{
	(void)state;
	each_vector("extension", check_extension);
}

/* Errors that no state of the gateway has a part in: steps V2, V3, V5 to V10. */
static bool decoder_decides(uint16_t error)
{
	return error == RSIP_UNSUPPORTED_RSIP_VERSION ||
	       error == RSIP_MESSAGE_COUNTER_REQUIRED ||
	       (error >= RSIP_MISSING_PARAM && error <= RSIP_BAD_MESSAGE);
}

static void check_malformed(const struct vector *v)
{
	const char *name = v->name;
	struct wire_msg m;
	uint8_t type;
	bool found;
	uint16_t header = wire_header(v->bytes, v->len, &type), error = header;

	if (!error)
		error = wire_decode(v->bytes, v->len, v->side, v->udp, &m);
	if (!strcmp(v->action, "silent_drop"))
		CHECK(v->len < RSIP_HEADER_LEN || type == MSG_ERROR_RESPONSE);
	else
		CHECK(error == (decoder_decides(v->error) ? v->error : 0));
	if (!v->response)
		return;
	/* The answer decodes too, and echoes the counter that can be found. */
	CHECK(wire_decode(v->response, v->response_len, SIDE_HOST, v->udp, &m) == 0);
	CHECK(m.error == v->error);
	check_encode(name, &m, v->response, v->response_len, v->udp);
	if (v->udp)
		CHECK(m.counter ==
			(header ? 0 : wire_find_counter(v->bytes, v->len, &found)));
}

/*
 * P-A-106, P-A-201, P-A-202, P-A-203, P-A-204, P-A-205, P-A-206, P-A-207, P-A-105,
 * P-9-02, P-9-03, P-8-02, P-8-03, P-8.1-01, P-8.1-04, P-8.1-05, P-8.2-02, P-8.2-03,
 * P-8.2-05, P-8.3-01, P-8.4-01, P-8.10-02, P-8.12-01, P-9.14-02, S-6.2-03, S-6.2-04,
 * S-6.2-06, S-6.2-07, S-6.2-08, P-10.1-13: the error of each broken request.
 */
static void test_malformed(void **state)
{
	(void)state;
	each_vector("malformed", check_malformed);
}

static void check_parameter(const struct vector *v)
{
	const char *name = v->name, *param = vector_text(v->fields, "param");
	const json_t *value = json_object_get(v->fields, "value");
	enum role role = role_of(name, param);
	bool query = role == ROLE_QUERY || role == ROLE_QUERY_ADDR;
	struct draft d =
		draft_full(query ? MSG_QUERY_REQUEST : MSG_ASSIGN_REQUEST_RSIPSEC);
	struct part *at = &d.part[draft_find(&d, role)];
	struct part network = draft_sample(ROLE_QUERY),
		    mask = draft_sample(ROLE_QUERY_ADDR);
	uint8_t bytes[512];
	struct wire_msg m;
	size_t len;

	if (query) { /* always as network tuple */
		if (role == ROLE_QUERY) {
			network.value = v->bytes + 3;
			network.len = v->len - 3;
			mask.value = (const uint8_t *)"\2\377\377\377";
		} else {
			network.value = (const uint8_t *)"\0\2";
			mask.value = v->bytes + 3;
			mask.len = v->len - 3;
		}
		d.part[draft_find(&d, ROLE_QUERY)] = network;
		draft_add(&d, draft_find(&d, ROLE_QUERY_ADDR) + 1, mask);
	} else {
		at->value = v->bytes + 3;
		at->len = v->len - 3;
	}
	len = draft_bytes(&d, bytes);
	CHECK(wire_decode(bytes, len, SIDE_GATEWAY, true, &m) == 0);
	if (query) {
		struct tuples t = { .name = name, .m = &m };

		CHECK(wire_query_next(&m, &t.at, &t.q));
		if (role == ROLE_QUERY)
			CHECK(t.q.indicator == number_of(value));
		else
			check_tuple(&t, param, value);
	} else {
		check_member(name, &m, role, 0, value);
	}
	check_encode(name, &m, bytes, len, true);
}

/*
 * P-8.1-02, P-8.1-03, P-8.2-01, P-8.2-02, P-8.2-03, P-8.2-04, P-8.10-01, S-6.2-02,
 * S-6.2-03, S-6.2-04, S-6.2-05, S-6.2-08: the forms of single parameters.
 */
static void test_parameter(void **state)
{
	(void)state;
	each_vector("parameter", check_parameter);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_valid),
		cmocka_unit_test(test_extension),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_parameter),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
