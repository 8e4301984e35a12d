/*
 * Requests to messages: which parameters each one gets, and what the registration's flow
 * policy demands of them (RFC 3103 sections 9.6.3, 9.8.3, 9.16.3; RFC 3104 6.2).
 */
#include "client/session.h"

#include "base/err.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define OUT_FIRST 512

/* Of the four kinds of binding: what asks for them and what grants them. */
static const struct {
	uint8_t ask, grant;
} kinds[] = {
	[RSIP_RSA_IP] = { MSG_ASSIGN_REQUEST_RSA_IP, MSG_ASSIGN_RESPONSE_RSA_IP },
	[RSIP_RSAP_IP] = { MSG_ASSIGN_REQUEST_RSAP_IP, MSG_ASSIGN_RESPONSE_RSAP_IP },
	[RSIP_RSIPSEC] = { MSG_ASSIGN_REQUEST_RSIPSEC, MSG_ASSIGN_RESPONSE_RSIPSEC },
	[RSIP_LISTEN] = { MSG_LISTEN_REQUEST, MSG_LISTEN_RESPONSE },
	[RSIP_LISTEN_IKE] = { MSG_LISTEN_REQUEST_IKE, MSG_LISTEN_RESPONSE_IKE },
};

static const struct {
	uint8_t ask, answer;
} messages[REQ_KINDS] = {
	[RSIP_REQ_REGISTER] = { MSG_REGISTER_REQUEST, MSG_REGISTER_RESPONSE },
	[RSIP_REQ_DEREGISTER] = { MSG_DEREGISTER_REQUEST, MSG_DEREGISTER_RESPONSE },
	[RSIP_REQ_EXTEND] = { MSG_EXTEND_REQUEST, MSG_EXTEND_RESPONSE },
	[RSIP_REQ_FREE] = { MSG_FREE_REQUEST, MSG_FREE_RESPONSE },
	[RSIP_REQ_QUERY] = { MSG_QUERY_REQUEST, MSG_QUERY_RESPONSE },
	[REQ_CLEAR] = { MSG_DEREGISTER_REQUEST, MSG_DEREGISTER_RESPONSE },
};

uint8_t ask_answer_type(const struct request *r)
{
	return r->kind == RSIP_REQ_ASSIGN ? kinds[r->want.kind].grant
					  : messages[r->kind].answer;
}

/* Lists as they stand on the wire; freed when the message is encoded. */
struct lists {
	uint8_t *ports, *spis;
};

static uint8_t *list_bytes(const struct rsip_numbers *n, unsigned int width)
{
	uint8_t *bytes = malloc(n->count * (size_t)width), *at = bytes;

	for (uint32_t i = 0; bytes && i < n->count; i++) {
		for (unsigned int shift = width * 8; shift; shift -= 8)
			*at++ = (uint8_t)(n->list[i] >> (shift - 8));
	}
	return bytes;
}

static enum wire_form form_of(enum rsip_form form)
{
	static const enum wire_form forms[] = {
		[RSIP_DONT_NEED] = FORM_DONT_NEED,
		[RSIP_ANY] = FORM_DONT_CARE,
		[RSIP_BLOCK] = FORM_BLOCK,
		[RSIP_LIST] = FORM_LIST,
	};

	return forms[form];
}

/* An address that stands for any when it is 0. */
static struct wire_addr address_of(uint32_t v4)
{
	return (struct wire_addr){ .type = ADDR_IPV4, .dont_care = v4 == 0, .v4 = v4 };
}

static void put_remote(struct wire_msg *m, const struct rsip_want *w, bool dont_need)
{
	m->has |= HAS_REMOTE | HAS_REMOTE_PORTS;
	m->remote = address_of(w->remote.address);
	if (w->remote.name) {
		m->remote = (struct wire_addr){ .type = ADDR_FQDN,
			.fqdn = w->remote.name,
			.fqdn_len = (uint8_t)strlen(w->remote.name) };
	}
	m->remote_ports.number = 1;
	m->remote_ports.first = w->remote.port;
	m->remote_ports.form = w->remote.port ? FORM_BLOCK : FORM_DONT_CARE;
	if (dont_need)
		m->remote_ports = (struct wire_ports){ .form = FORM_DONT_NEED };
}

static void put_numbers(
	struct wire_msg *m, const struct rsip_want *w, const struct lists *lists)
{
	if (w->kind != RSIP_RSA_IP) {
		m->has |= HAS_LOCAL_PORTS;
		m->local_ports.form = form_of(w->ports.form);
		m->local_ports.number = (uint8_t)w->ports.count;
		m->local_ports.first = (uint16_t)w->ports.first;
		m->local_ports.list = lists->ports;
	}
	if (w->kind == RSIP_RSIPSEC) {
		m->has |= HAS_SPI;
		m->spis.form = form_of(w->spis.form);
		m->spis.number = (uint16_t)w->spis.count;
		m->spis.first = w->spis.first;
		m->spis.list = lists->spis;
	}
}

static void put_want(
	struct wire_msg *m, const struct rsip_want *w, const struct lists *lists)
{
	m->type = kinds[w->kind].ask;
	m->has |= HAS_LOCAL;
	m->local = address_of(w->address);
	if (w->kind == RSIP_LISTEN_IKE) {
		m->has |= HAS_IKE_IDENTITY;
		m->ike_identity = w->peer.data - 1; /* the type: see want_copy() */
		m->ike_identity_len = (uint16_t)(1 + w->peer.len);
	} else {
		put_numbers(m, w, lists);
		put_remote(
			m, w, w->kind == RSIP_RSIPSEC && w->ports.form == RSIP_DONT_NEED);
	}
	if (w->n_tunnels)
		m->has |= HAS_TUNNEL;
	m->n_tunnels = (uint8_t)w->n_tunnels;
	for (unsigned int i = 0; i < w->n_tunnels; i++)
		m->tunnels[i] = (uint8_t)w->tunnels[i];
}

/* Does the wish say what the flow policy of the registration asks for? */
static bool is_allowed(const struct rsip_registration *reg, const struct rsip_want *w)
{
	bool no_ports = w->kind == RSIP_LISTEN_IKE ||
			(w->kind == RSIP_RSIPSEC && w->ports.form == RSIP_DONT_NEED);

	if (reg->local == RSIP_MICRO &&
		(w->kind == RSIP_RSA_IP || (!no_ports && w->ports.count != 1)))
		return false;
	if (reg->remote == RSIP_NO_POLICY)
		return true;
	if (!w->remote.address && !w->remote.name)
		return false;
	return reg->remote == RSIP_MACRO || w->remote.port || no_ports;
}

static void put_queries(
	struct wire_msg *m, const struct request *r, struct wire_query *queries)
{
	for (size_t i = 0; i < r->n_items; i++) {
		const struct rsip_net *net = &r->items[i];
		uint32_t mask =
			!net->network ? UINT32_MAX : UINT32_MAX << (32 - net->prefix);

		queries[i] = (struct wire_query){
			.indicator = net->network ? INDICATOR_NETWORK : INDICATOR_ADDRESS,
			.indicator_len = 2,
			.addr = { .type = ADDR_IPV4, .v4 = net->address },
			.mask = { .type = ADDR_NETMASK, .v4 = mask },
		};
		if (net->network)
			queries[i].addr.v4 &= mask;
	}
	m->queries = queries;
	m->n_queries = r->n_items;
	if (r->n_items)
		m->has |= HAS_QUERY;
}

/* Most messages are short; a list of SPIs may fill a whole message. */
static enum rsip_failure encode(struct rsip_session *s, const struct wire_msg *m)
{
	int len = ERR_NOSPACE;

	for (size_t size = OUT_FIRST; len == ERR_NOSPACE; size = RSIP_UDP_MAX) {
		if (size > s->out_size) {
			uint8_t *out = realloc(s->out, size);

			if (!out)
				return RSIP_FAIL_MEMORY;
			s->out = out;
			s->out_size = size;
		}
		len = wire_encode(m, s->out, s->out_size);
		if (len == ERR_NOSPACE && s->out_size >= RSIP_UDP_MAX)
			return RSIP_FAIL_MEMORY;
	}
	assert(len > 0);
	s->out_len = (size_t)len;
	return RSIP_FAIL_NONE;
}

static enum rsip_failure encode_ask(
	struct rsip_session *s, const struct request *r, struct wire_msg *m)
{
	struct rsip_want w = r->want;
	struct lists lists = { 0 };
	enum rsip_failure failure = RSIP_FAIL_MEMORY;

	if (!is_allowed(&s->reg, &w))
		return RSIP_FAIL_POLICY;
	/* Without a remote policy a listener hears everybody (RFC 3103 section 9.16.3).
	 */
	if (w.kind == RSIP_LISTEN && s->reg.remote == RSIP_NO_POLICY)
		w.remote = (struct rsip_remote){ 0 };
	if (w.ports.form == RSIP_LIST)
		lists.ports = list_bytes(&w.ports, 2);
	if (w.spis.form == RSIP_LIST)
		lists.spis = list_bytes(&w.spis, 4);
	if ((w.ports.form != RSIP_LIST || lists.ports) &&
		(w.spis.form != RSIP_LIST || lists.spis)) {
		put_want(m, &w, &lists);
		failure = encode(s, m);
	}
	free(lists.ports);
	free(lists.spis);
	return failure;
}

enum rsip_failure ask_encode(
	struct rsip_session *s, const struct request *r, uint32_t counter)
{
	struct wire_query queries[RSIP_QUERY_MAX];
	uint32_t lease_s = r->kind == RSIP_REQ_ASSIGN ? r->want.lease_s : r->lease_s;
	struct wire_msg m = {
		.version = RSIP_VERSION_1,
		.type = messages[r->kind].ask,
		.has = HAS_COUNTER | HAS_CLIENT_ID,
		.counter = counter,
		.client_id = r->kind == REQ_CLEAR ? s->clear_id : s->reg.client_id,
		.bind_id = r->bind_id,
		.lease_s = lease_s,
	};

	if (r->kind == RSIP_REQ_REGISTER)
		m.has &= ~(uint32_t)HAS_CLIENT_ID;
	if (r->kind == RSIP_REQ_EXTEND || r->kind == RSIP_REQ_FREE)
		m.has |= HAS_BIND_ID;
	if (lease_s)
		m.has |= HAS_LEASE;
	if (r->kind == RSIP_REQ_ASSIGN)
		return encode_ask(s, r, &m);
	if (r->kind == RSIP_REQ_QUERY)
		put_queries(&m, r, queries);
	return encode(s, &m);
}
