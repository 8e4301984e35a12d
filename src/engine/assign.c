/*
 * ASSIGN and LISTEN requests: what was asked in terms of the pools, and the grant as a
 * message.
 */
#include "engine/assign.h"

#include "engine/bind.h"
#include "engine/emit.h"
#include "engine/place.h"
#include "engine/policy.h"
#include "engine/reg.h"
#include "engine/reply.h"
#include "engine/wait.h"

#include <string.h>

_Static_assert(RSIP_IKE_IDENTITY_MAX == IKE_ID_MAX, "what is granted is leased");

static enum lease_method method_of(uint8_t type)
{
	switch (type) {
	case MSG_ASSIGN_REQUEST_RSA_IP:
		return METHOD_RSA_IP;
	case MSG_LISTEN_REQUEST:
		return METHOD_LISTEN;
	case MSG_ASSIGN_REQUEST_RSIPSEC:
		return METHOD_RSIPSEC;
	case MSG_LISTEN_REQUEST_IKE:
		return METHOD_IKE;
	default:
		return METHOD_RSAP_IP;
	}
}

/* --- asked --- */

static void ask_ports(struct engine *e, const struct wire_ports *w, struct place *p)
{
	p->port_form = w->form;
	p->n_ports = w->form == FORM_DONT_NEED ? 0 : w->number;
	p->ports = e->port_scratch;
	if (w->form == FORM_BLOCK) {
		p->ports[0] = (struct range){ w->first, w->first + w->number - 1U };
		p->n_port_ranges = 1;
	} else if (w->form == FORM_LIST) {
		for (uint32_t i = 0; i < w->number; i++) {
			uint32_t port = wire_port_at(w, i);

			p->ports[i] = (struct range){ port, port };
		}
		p->n_port_ranges = ranges_normalise(p->ports, w->number);
		p->port_form = FORM_BLOCK; /* named is named */
	}
}

static void ask_spis(struct engine *e, const struct wire_spis *w, struct place *p)
{
	p->spi_form = w->form;
	p->n_spis = w->number;
	p->spis = e->spi_scratch;
	if (w->form == FORM_BLOCK) {
		p->spis[0] = (struct range){ w->first, w->first + w->number - 1U };
		p->n_spi_ranges = 1;
	} else if (w->form == FORM_LIST) {
		for (uint32_t i = 0; i < w->number; i++) {
			uint32_t spi = wire_spi_at(w, i);

			p->spis[i] = (struct range){ spi, spi };
		}
		p->n_spi_ranges = ranges_normalise(p->spis, w->number);
		p->spi_form = FORM_BLOCK;
	}
}

static void ask(struct engine *e, const struct request *q, struct place *p)
{
	const struct wire_msg *m = &q->msg;

	*p = (struct place){ .reg = q->reg,
		.method = method_of(m->type),
		.named = !m->local.dont_care,
		.v6 = m->local.type == ADDR_IPV6,
		.address = m->local.v4,
		.port_form = FORM_DONT_NEED,
		.spi_form = FORM_DONT_NEED,
		.ike_id = m->ike_identity,
		.ike_id_len = m->ike_identity_len };
	if (m->has & HAS_LOCAL_PORTS)
		ask_ports(e, &m->local_ports, p);
	if (m->has & HAS_SPI)
		ask_spis(e, &m->spis, p);
}

/* --- granted --- */

/* What was named is said as it was named; what was chosen as a block or list. */
static void put_ports(struct engine *e, const struct place *p,
	const struct wire_ports *asked, struct wire_ports *out)
{
	*out = *asked;
	if (asked->form != FORM_DONT_CARE)
		return;
	*out = (struct wire_ports){ .form = FORM_BLOCK,
		.number = (uint8_t)p->n_ports,
		.first = (uint16_t)p->ports[0].lo };
	if (p->n_port_ranges == 1)
		return;
	uint8_t *at = e->port_bytes;

	out->form = FORM_LIST;
	out->list = at;
	for (size_t i = 0; i < p->n_port_ranges; i++)
		for (uint32_t port = p->ports[i].lo; port <= p->ports[i].hi; port++) {
			*at++ = (uint8_t)(port >> 8);
			*at++ = (uint8_t)port;
		}
}

static void put_spis(struct engine *e, const struct place *p,
	const struct wire_spis *asked, struct wire_spis *out)
{
	*out = *asked;
	if (asked->form != FORM_DONT_CARE)
		return;
	*out = (struct wire_spis){
		.form = FORM_BLOCK, .number = (uint16_t)p->n_spis, .first = p->spis[0].lo
	};
	if (p->n_spi_ranges == 1)
		return;
	uint8_t *at = e->spi_bytes;

	out->form = FORM_LIST;
	out->list = at;
	for (size_t i = 0; i < p->n_spi_ranges; i++)
		for (uint64_t spi = p->spis[i].lo; spi <= p->spis[i].hi; spi++)
			for (int shift = 24; shift >= 0; shift -= 8)
				*at++ = (uint8_t)(spi >> shift);
}

/* No policy: don't care; macro: the address; micro: both (RFC 3103 9.7, 9.9, 9.17). */
static void put_remote(
	const struct wire_msg *asked, enum remote_flow flow, struct wire_msg *m)
{
	m->has |= HAS_REMOTE | HAS_REMOTE_PORTS;
	m->remote = (struct wire_addr){ .type = ADDR_IPV4, .dont_care = true };
	m->remote_ports = (struct wire_ports){ .form = FORM_DONT_CARE, .number = 1 };
	if (flow != REMOTE_NONE)
		m->remote = asked->remote;
	if (flow == REMOTE_MICRO || asked->remote_ports.form == FORM_DONT_NEED)
		m->remote_ports = asked->remote_ports;
}

/* LISTEN_RSIP_IKE names its peer by identity alone. */
static void put_identity(const struct place *p, struct wire_msg *m)
{
	m->has |= HAS_IKE_IDENTITY;
	m->ike_identity = p->ike_id;
	m->ike_identity_len = p->ike_id_len;
}

static void put_grant(struct engine *e, const struct request *q, const struct place *p,
	const struct bind_grant *g, struct wire_msg *m)
{
	*m = (struct wire_msg){ .type = (uint8_t)(q->msg.type + 1),
		.has = HAS_CLIENT_ID | HAS_BIND_ID | HAS_LOCAL | HAS_LEASE | HAS_TUNNEL,
		.client_id = q->reg->client_id,
		.bind_id = g->id,
		.lease_s = (uint32_t)((g->expires_ms - g->granted_ms) / 1000),
		.tunnels = { (uint8_t)g->tunnel },
		.n_tunnels = 1,
		.local = { .type = ADDR_IPV4, .v4 = p->addr->address } };
	if (p->method == METHOD_IKE)
		put_identity(p, m);
	else
		put_remote(&q->msg, g->remote.flow, m);
	if (q->msg.has & HAS_LOCAL_PORTS) {
		m->has |= HAS_LOCAL_PORTS;
		put_ports(e, p, &q->msg.local_ports, &m->local_ports);
	}
	if (q->msg.has & HAS_SPI) {
		m->has |= HAS_SPI;
		put_spis(e, p, &q->msg.spis, &m->spis);
	}
	if (e->conf.tunnel_endpoint != 0) {
		m->has |= HAS_ENDPOINT;
		m->endpoint = (struct wire_addr){ .type = ADDR_IPV4,
			.v4 = e->conf.tunnel_endpoint };
	}
}

/*
 * A long list may fit into a request and not into its answer, which has more to say: some
 * 30 bytes, and what "any n" becomes.
 */
static bool fits(struct engine *e, const struct request *q, struct wire_msg *m)
{
	size_t room =
		q->from->transport == TRANSPORT_UDP ? RSIP_UDP_MAX : RSIP_LENGTH_MAX;

	if (q->len < room - 2048)
		return true;
	m->version = RSIP_VERSION_1;
	if (q->counted) {
		m->has |= HAS_COUNTER;
		m->counter = q->counter;
	}
	return wire_encode(m, e->out, room) >= 0;
}

static uint32_t bind_id_new(struct engine *e)
{
	uint32_t id;

	do {
		id = engine_random_id(e);
	} while (bind_find(e, id) != NULL);
	return id;
}

static uint16_t grant(struct engine *e, struct request *q, const struct place *p,
	enum tunnel_type tunnel, const struct remote *remote)
{
	uint64_t lease_ms = policy_lease(q->reg->policy, &q->msg) * 1000ULL;
	struct bind_grant g = { .id = bind_id_new(e),
		.gateway = e->conf.tunnel_endpoint != 0 ? e->conf.tunnel_endpoint
							: q->from->local,
		.method = p->method,
		.tunnel = tunnel,
		.remote = *remote,
		.granted_ms = q->now_ms,
		.now_ms = q->now_ms,
		.expires_ms = q->now_ms + lease_ms,
		.addr = p->addr,
		.ports = p->ports,
		.spis = p->spis,
		.n_ports = p->n_port_ranges,
		.n_spis = p->n_spi_ranges,
		.ike_id = p->ike_id,
		.ike_id_len = p->ike_id_len };
	const struct wire_addr *asked = &q->msg.remote;
	struct wire_msg m;
	struct bind *b;

	if (remote->flow != REMOTE_NONE && asked->type == ADDR_FQDN) {
		g.name = asked->fqdn;
		g.name_len = asked->fqdn_len;
	}
	put_grant(e, q, p, &g, &m);
	if (!fits(e, q, &m))
		return RSIP_IPSEC_SPI_UNAVAILABLE;
	if (bind_add(e, q->reg, &g, &b) != 0)
		return RSIP_INTERNAL_SERVER_ERROR;
	emit_keep_bind(e, b, false);
	reg_outlast(e, q->reg, g.expires_ms);
	emit_install(e, b);
	emit_audit_bind(e, AUDIT_GRANT, END_FREED, b, q->now_ms);
	reply_send(e, q, &m);
	return 0;
}

/* There was not enough of it, as opposed to: it may not be had. */
static bool is_want(const struct engine *e, const struct place *p, uint16_t error)
{
	if (p->v6 || (p->method == METHOD_RSA_IP ? e->n_dedicated : e->n_shared) == 0)
		return false;
	return error == RSIP_LOCAL_ADDR_UNAVAILABLE ||
	       error == RSIP_LOCAL_ADDRPORT_UNAVAILABLE ||
	       error == RSIP_IPSEC_SPI_UNAVAILABLE;
}

uint16_t assign_on_request(struct engine *e, struct request *q)
{
	const struct engine_policy *policy = q->reg->policy;
	enum tunnel_type tunnel = TUNNEL_IPIP;
	struct remote remote;
	struct place p;
	uint16_t error;

	/* Registered under a configuration that is gone: nothing new for this host. */
	if (policy == NULL)
		return RSIP_LOCAL_ADDR_UNAVAILABLE;
	error = policy_check(policy, q, &tunnel, &remote);
	if (error == POLICY_NAME) {
		if (wait_begin(e, q, &q->msg.remote))
			return 0;
		q->known = true; /* as a name without addresses */
		error = policy_check(policy, q, &tunnel, &remote);
	}
	if (error != 0)
		return error;
	ask(e, q, &p);
	/* RSAP-IP is mandatory, so there is no "unsupported" for an operator's no. */
	if (p.method == METHOD_RSAP_IP && !(policy->methods & (1U << METHOD_RSAP_IP)))
		return RSIP_LOCAL_ADDR_UNAVAILABLE;
	error = place_find(e, &p);
	if (error == 0)
		return grant(e, q, &p, tunnel, &remote);
	if (is_want(e, &p, error)) {
		bool quota = place_exceeds_quota(&p);

		emit_audit_reg(e, quota ? AUDIT_QUOTA : AUDIT_EXHAUSTED, END_FREED,
			q->reg, q->now_ms);
	}
	return error;
}
