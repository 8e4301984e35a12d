/*
 * Flow policy (RFC 3103 section 7), remote rules, methods, tunnels, lease times.
 */
#include "engine/policy.h"

#define HAS_BIT(set, bit) (((set) >> (bit)) & 1U)

const struct engine_policy *policy_find(const struct engine_conf *c, uint32_t host)
{
	for (size_t i = 0; i < c->n_policies; i++)
		for (size_t k = 0; k < c->policies[i].n_match; k++)
			if (prefix_has(&c->policies[i].match[k], host))
				return &c->policies[i];
	return NULL;
}

static bool any_lists(const struct engine_conf *c, enum lease_method m)
{
	for (size_t i = 0; i < c->n_policies; i++)
		if (HAS_BIT(c->policies[i].methods, m))
			return true;
	return false;
}

/* Are listeners served to this host, or, of a stranger, to anybody? */
static bool serves_listeners(const struct engine *e, const struct engine_policy *p)
{
	if (p != NULL)
		return p->listen;
	for (size_t i = 0; i < e->conf.n_policies; i++)
		if (e->conf.policies[i].listen)
			return true;
	return false;
}

bool policy_serves(const struct engine *e, const struct engine_policy *p, uint8_t type)
{
	switch (type) {
	case MSG_ASSIGN_REQUEST_RSA_IP:
		if (!any_lists(&e->conf, METHOD_RSA_IP))
			return false;
		return p == NULL || HAS_BIT(p->methods, METHOD_RSA_IP);
	case MSG_ASSIGN_REQUEST_RSIPSEC: /* not for this host is 401, later */
		return any_lists(&e->conf, METHOD_RSIPSEC);
	case MSG_LISTEN_REQUEST:
		return serves_listeners(e, p);
	case MSG_LISTEN_REQUEST_IKE: /* where it is off, it is unknown: 206, later */
		return !e->conf.listen_rsip_ike || serves_listeners(e, p);
	default:
		return true;
	}
}

/* RSA-IP is announced where a host could really get it. */
static bool offers_rsa_ip(const struct engine *e, const struct engine_policy *p)
{
	return HAS_BIT(p->methods, METHOD_RSA_IP) && p->local_flow == LOCAL_MACRO &&
	       e->n_dedicated > 0;
}

size_t policy_methods(
	const struct engine *e, const struct engine_policy *p, uint8_t out[static 3])
{
	size_t n = 0;

	if (HAS_BIT(p->methods, METHOD_RSAP_IP))
		out[n++] = RSIP_METHOD_RSAP_IP;
	if (offers_rsa_ip(e, p))
		out[n++] = RSIP_METHOD_RSA_IP;
	if (HAS_BIT(p->methods, METHOD_RSIPSEC))
		out[n++] = RSIP_METHOD_RSIPSEC;
	return n;
}

size_t policy_tunnels(const struct engine_policy *p, uint8_t out[static 2])
{
	size_t n = 0;

	if (HAS_BIT(p->tunnels, TUNNEL_IPIP))
		out[n++] = TUNNEL_IPIP;
	if (HAS_BIT(p->tunnels, TUNNEL_GRE))
		out[n++] = TUNNEL_GRE;
	return n;
}

uint32_t policy_lease(const struct engine_policy *p, const struct wire_msg *m)
{
	bool wish = (m->has & HAS_LEASE) && m->lease_s > 0;
	uint32_t lease_s = wish ? m->lease_s : p->lease_default_s;

	if (lease_s > p->lease_max_s)
		lease_s = p->lease_max_s;
	return lease_s > 0 ? lease_s : 1;
}

/* V15 */
static uint16_t check_method(const struct engine_policy *p, uint8_t type)
{
	switch (type) {
	case MSG_ASSIGN_REQUEST_RSIPSEC:
	case MSG_LISTEN_REQUEST_IKE:
		return HAS_BIT(p->methods, METHOD_RSIPSEC) ? 0 : RSIP_IPSEC_UNALLOWED;
	case MSG_ASSIGN_REQUEST_RSA_IP:
		return p->local_flow == LOCAL_MACRO ? 0 : RSIP_FLOW_POLICY_VIOLATION;
	default:
		return 0;
	}
}

/* V16: the first wish that is served; without a wish IP-IP if offered. */
static uint16_t check_tunnel(
	const struct engine_policy *p, const struct wire_msg *m, enum tunnel_type *tunnel)
{
	uint8_t offered[2];
	size_t n = policy_tunnels(p, offered);

	if (!(m->has & HAS_TUNNEL)) {
		if (n == 0)
			return RSIP_BAD_TUNNEL_TYPE;
		*tunnel = offered[0];
		return 0;
	}
	for (size_t i = 0; i < m->n_tunnels; i++)
		for (size_t k = 0; k < n; k++)
			if (m->tunnels[i] == offered[k]) {
				*tunnel = offered[k];
				return 0;
			}
	return RSIP_BAD_TUNNEL_TYPE;
}

/* V17: macro wants the remote address, micro one port beside it, on both sides. */
static uint16_t check_flow(const struct engine_policy *p, const struct wire_msg *m)
{
	const struct wire_ports *l = &m->local_ports, *r = &m->remote_ports;

	if (p->local_flow == LOCAL_MICRO && (m->has & HAS_LOCAL_PORTS) &&
		l->form != FORM_DONT_NEED && l->number != 1)
		return RSIP_FLOW_POLICY_VIOLATION;
	/* LISTEN_RSIP_IKE can name no remote. */
	if (p->remote_flow != REMOTE_NONE &&
		(m->remote.dont_care || !(m->has & HAS_REMOTE)))
		return RSIP_FLOW_POLICY_VIOLATION;
	if (p->remote_flow == REMOTE_MICRO &&
		(r->form == FORM_DONT_NEED || r->form == FORM_DONT_CARE ||
			r->number != 1))
		return RSIP_FLOW_POLICY_VIOLATION;
	return 0;
}

static bool covers(const struct engine_remote_rule *r, uint32_t addr, uint16_t port)
{
	return prefix_has(&r->prefix, addr) && r->port_lo <= port && port <= r->port_hi;
}

/*
 * Macro policy leaves the remote port open and the data plane checks the address alone.
 * So it needs an allowance for every port, and one denied port is enough to refuse.
 */
static bool may_contact_macro(const struct engine_policy *p, uint32_t addr)
{
	bool allowed = p->n_allow == 0;

	for (size_t i = 0; i < p->n_allow; i++)
		if (prefix_has(&p->allow[i].prefix, addr) && p->allow[i].port_lo <= 1 &&
			p->allow[i].port_hi == UINT16_MAX)
			allowed = true;
	for (size_t i = 0; i < p->n_deny; i++)
		if (prefix_has(&p->deny[i].prefix, addr))
			return false;
	return allowed;
}

static bool may_contact_micro(const struct engine_policy *p, uint32_t addr, uint16_t port)
{
	bool allowed = p->n_allow == 0;

	for (size_t i = 0; i < p->n_allow; i++)
		if (covers(&p->allow[i], addr, port))
			allowed = true;
	for (size_t i = 0; i < p->n_deny; i++)
		if (covers(&p->deny[i], addr, port))
			return false;
	return allowed;
}

static bool may_contact(
	const struct engine_policy *p, const struct remote *remote, uint32_t addr)
{
	return remote->flow == REMOTE_MACRO ? may_contact_macro(p, addr)
					    : may_contact_micro(p, addr, remote->port);
}

static bool remote_has(const struct remote *r, uint32_t addr)
{
	for (size_t i = 0; i < r->n_more; i++)
		if (r->more[i] == addr)
			return true;
	return r->addr == addr;
}

/* False when it is full. */
static bool remote_add(struct remote *r, uint32_t addr)
{
	if (r->addr == 0)
		r->addr = addr;
	else if (r->n_more < REMOTE_MORE_MAX)
		r->more[r->n_more++] = addr;
	else
		return false;
	return true;
}

bool policy_add_remotes(const struct engine_policy *p, const uint32_t *addresses,
	size_t n, struct remote *remote)
{
	uint32_t last = 0;
	bool added = false;

	for (;;) {
		uint32_t next = UINT32_MAX;

		for (size_t i = 0; i < n; i++)
			if (addresses[i] > last && addresses[i] < next)
				next = addresses[i];
		if (next == UINT32_MAX)
			return added;
		last = next;
		if (remote_has(remote, next) || !may_contact(p, remote, next))
			continue;
		if (!remote_add(remote, next))
			return added;
		added = true;
	}
}

/*
 * V18.  IPv6 remotes cannot be reached from IPv4 pools; listening under micro policy
 * would need the operator's override, which does not exist (RFC 3103 10.6).
 */
static uint16_t check_remote(
	const struct engine_policy *p, const struct request *q, struct remote *remote)
{
	const struct wire_addr *asked = &q->msg.remote;
	uint16_t refused = RSIP_REMOTE_ADDR_UNALLOWED;

	*remote = (struct remote){ .flow = p->remote_flow };
	if (p->remote_flow == REMOTE_NONE)
		return 0;
	if (p->remote_flow == REMOTE_MICRO) {
		refused = RSIP_REMOTE_ADDRPORT_UNALLOWED;
		remote->port = wire_port_at(&q->msg.remote_ports, 0);
		if (q->msg.type == MSG_LISTEN_REQUEST)
			return refused;
	}
	if (asked->type == ADDR_FQDN) {
		if (!q->known)
			return POLICY_NAME;
		return policy_add_remotes(p, q->addresses, q->n_addresses, remote)
			       ? 0
			       : refused;
	}
	remote->addr = asked->v4;
	return asked->type == ADDR_IPV4 && may_contact(p, remote, asked->v4) ? 0
									     : refused;
}

uint16_t policy_check(const struct engine_policy *p, const struct request *q,
	enum tunnel_type *tunnel, struct remote *remote)
{
	uint16_t error = check_method(p, q->msg.type);

	if (error == 0)
		error = check_tunnel(p, &q->msg, tunnel);
	if (error == 0)
		error = check_flow(p, &q->msg);
	if (error == 0)
		error = check_remote(p, q, remote);
	return error;
}
