/*
 * Which parameters a message takes, in which order, and what they mean in it: RFC 3103
 * sections 9.1 to 9.17, RFC 3104 section 6.2.
 */
#include "wire/table.h"

#define FROM_HOST    SIDE_GATEWAY
#define FROM_GATEWAY SIDE_HOST

/* The roles that several messages share, in grammar order. */
#define ASK_COUNTER_LEASE_TUNNEL ROLE_COUNTER, ROLE_LEASE, ROLE_TUNNEL
#define PORTS_BOTH               ROLE_LOCAL, ROLE_LOCAL_PORTS, ROLE_REMOTE, ROLE_REMOTE_PORTS
#define RSA_BOTH                 ROLE_LOCAL, ROLE_REMOTE, ROLE_REMOTE_PORTS
#define GRANT_EXTRA              ROLE_ENDPOINT, ROLE_COUNTER

/* clang-format off */
static const struct msg_spec msg_specs[WIRE_MSG_ROWS] = {
	[MSG_ERROR_RESPONSE] = { "ERROR_RESPONSE", FROM_GATEWAY,
		{ ROLE_ERROR }, { ROLE_COUNTER, ROLE_CLIENT_ID, ROLE_BIND_ID }, 0 },
	[MSG_REGISTER_REQUEST] = { "REGISTER_REQUEST", FROM_HOST,
		{ ROLE_NONE }, { ROLE_COUNTER }, 0 },
	[MSG_REGISTER_RESPONSE] = { "REGISTER_RESPONSE", FROM_GATEWAY,
		{ ROLE_CLIENT_ID, ROLE_LEASE, ROLE_FLOW },
		{ ROLE_COUNTER, ROLE_METHOD, ROLE_TUNNEL }, HAS_METHOD | HAS_TUNNEL },
	[MSG_DEREGISTER_REQUEST] = { "DE-REGISTER_REQUEST", FROM_HOST,
		{ ROLE_CLIENT_ID }, { ROLE_COUNTER }, 0 },
	[MSG_DEREGISTER_RESPONSE] = { "DE-REGISTER_RESPONSE", FROM_GATEWAY,
		{ ROLE_CLIENT_ID }, { ROLE_COUNTER }, 0 },
	[MSG_ASSIGN_REQUEST_RSA_IP] = { "ASSIGN_REQUEST_RSA-IP", FROM_HOST,
		{ ROLE_CLIENT_ID, RSA_BOTH }, { ASK_COUNTER_LEASE_TUNNEL }, 0 },
	[MSG_ASSIGN_RESPONSE_RSA_IP] = { "ASSIGN_RESPONSE_RSA-IP", FROM_GATEWAY,
		{ ROLE_CLIENT_ID, ROLE_BIND_ID, RSA_BOTH, ROLE_LEASE, ROLE_TUNNEL },
		{ GRANT_EXTRA }, 0 },
	[MSG_ASSIGN_REQUEST_RSAP_IP] = { "ASSIGN_REQUEST_RSAP-IP", FROM_HOST,
		{ ROLE_CLIENT_ID, PORTS_BOTH }, { ASK_COUNTER_LEASE_TUNNEL }, 0 },
	[MSG_ASSIGN_RESPONSE_RSAP_IP] = { "ASSIGN_RESPONSE_RSAP-IP", FROM_GATEWAY,
		{ ROLE_CLIENT_ID, ROLE_BIND_ID, PORTS_BOTH, ROLE_LEASE, ROLE_TUNNEL },
		{ GRANT_EXTRA }, 0 },
	[MSG_EXTEND_REQUEST] = { "EXTEND_REQUEST", FROM_HOST,
		{ ROLE_CLIENT_ID, ROLE_BIND_ID }, { ROLE_LEASE, ROLE_COUNTER }, 0 },
	[MSG_EXTEND_RESPONSE] = { "EXTEND_RESPONSE", FROM_GATEWAY,
		{ ROLE_CLIENT_ID, ROLE_BIND_ID, ROLE_LEASE }, { ROLE_COUNTER }, 0 },
	[MSG_FREE_REQUEST] = { "FREE_REQUEST", FROM_HOST,
		{ ROLE_CLIENT_ID, ROLE_BIND_ID }, { ROLE_COUNTER }, 0 },
	[MSG_FREE_RESPONSE] = { "FREE_RESPONSE", FROM_GATEWAY,
		{ ROLE_CLIENT_ID, ROLE_BIND_ID }, { ROLE_COUNTER }, 0 },
	[MSG_QUERY_REQUEST] = { "QUERY_REQUEST", FROM_HOST,
		{ ROLE_CLIENT_ID }, { ROLE_COUNTER, ROLE_QUERY, ROLE_QUERY_ADDR }, HAS_QUERY },
	[MSG_QUERY_RESPONSE] = { "QUERY_RESPONSE", FROM_GATEWAY,
		{ ROLE_CLIENT_ID }, { ROLE_COUNTER, ROLE_QUERY, ROLE_QUERY_ADDR }, HAS_QUERY },
	[MSG_LISTEN_REQUEST] = { "LISTEN_REQUEST", FROM_HOST,
		{ ROLE_CLIENT_ID, PORTS_BOTH }, { ASK_COUNTER_LEASE_TUNNEL }, HAS_TUNNEL },
	/* Tunnel Type before Lease Time, unlike the other grants (RFC 3103 9.17.2). */
	[MSG_LISTEN_RESPONSE] = { "LISTEN_RESPONSE", FROM_GATEWAY,
		{ ROLE_CLIENT_ID, ROLE_BIND_ID, PORTS_BOTH, ROLE_TUNNEL, ROLE_LEASE },
		{ GRANT_EXTRA }, 0 },
	[MSG_ASSIGN_REQUEST_RSIPSEC] = { "ASSIGN_REQUEST_RSIPSEC", FROM_HOST,
		{ ROLE_CLIENT_ID, PORTS_BOTH, ROLE_SPI }, { ASK_COUNTER_LEASE_TUNNEL }, 0 },
	[MSG_ASSIGN_RESPONSE_RSIPSEC] = { "ASSIGN_RESPONSE_RSIPSEC", FROM_GATEWAY,
		{ ROLE_CLIENT_ID, ROLE_BIND_ID, PORTS_BOTH, ROLE_SPI, ROLE_LEASE, ROLE_TUNNEL },
		{ GRANT_EXTRA }, 0 },
	/* RFC 3104 appendix G names it and says no more. */
	[WIRE_MSG_TYPES] = { "LISTEN_RSIP_IKE", FROM_HOST,
		{ ROLE_CLIENT_ID, ROLE_LOCAL, ROLE_IKE_IDENTITY }, { ASK_COUNTER_LEASE_TUNNEL }, 0 },
	[WIRE_MSG_TYPES + 1] = { "LISTEN_RESPONSE_RSIP_IKE", FROM_GATEWAY,
		{ ROLE_CLIENT_ID, ROLE_BIND_ID, ROLE_LOCAL, ROLE_IKE_IDENTITY, ROLE_LEASE, ROLE_TUNNEL },
		{ GRANT_EXTRA }, 0 },
};

#define AT(field) offsetof(struct wire_msg, field)

const struct role_spec role_specs[ROLES] = {
	[ROLE_ERROR]        = { "error",    PARAM_ERROR,       HAS_ERROR,        AT(error), 0 },
	[ROLE_CLIENT_ID]    = { "client",   PARAM_CLIENT_ID,   HAS_CLIENT_ID,    AT(client_id), 0 },
	[ROLE_BIND_ID]      = { "bind",     PARAM_BIND_ID,     HAS_BIND_ID,      AT(bind_id), 0 },
	[ROLE_LOCAL]        = { "local",    PARAM_ADDRESS,     HAS_LOCAL,        AT(local), 0 },
	[ROLE_LOCAL_PORTS]  = { "ports",    PARAM_PORTS,       HAS_LOCAL_PORTS,  AT(local_ports), 0 },
	[ROLE_REMOTE]       = { "remote",   PARAM_ADDRESS,     HAS_REMOTE,       AT(remote), 0 },
	[ROLE_REMOTE_PORTS] = { "remote-ports", PARAM_PORTS,   HAS_REMOTE_PORTS, AT(remote_ports), 0 },
	[ROLE_SPI]          = { "spis",     PARAM_SPI,         HAS_SPI,          AT(spis), 0 },
	[ROLE_LEASE]        = { "lease",    PARAM_LEASE_TIME,  HAS_LEASE,        AT(lease_s), 0 },
	[ROLE_TUNNEL]       = { "tunnel",   PARAM_TUNNEL_TYPE, HAS_TUNNEL,       AT(tunnels), AT(n_tunnels) },
	[ROLE_METHOD]       = { "method",   PARAM_METHOD,      HAS_METHOD,       AT(methods), AT(n_methods) },
	[ROLE_FLOW]         = { "flow",     PARAM_FLOW_POLICY, HAS_FLOW,         AT(flow_local), 0 },
	[ROLE_COUNTER]      = { "counter",  PARAM_COUNTER,     HAS_COUNTER,      AT(counter), 0 },
	[ROLE_ENDPOINT]     = { "endpoint", PARAM_ADDRESS,     HAS_ENDPOINT,     AT(endpoint), 0 },
	[ROLE_QUERY]        = { "query",    PARAM_INDICATOR,   HAS_QUERY,        0, 0 },
	[ROLE_QUERY_ADDR]   = { "query",    PARAM_ADDRESS,     HAS_QUERY,        0, 0 },
	[ROLE_VENDOR]       = { "vendor",   PARAM_VENDOR,      HAS_VENDOR,       0, 0 },
	[ROLE_IKE_IDENTITY] = { "ike-id",   PARAM_IKE_IDENTITY, HAS_IKE_IDENTITY, AT(ike_identity), 0 },
};
/* clang-format on */

const struct msg_spec *msg_spec_find(uint8_t type)
{
	unsigned int row = type;

	if (type == MSG_LISTEN_REQUEST_IKE || type == MSG_LISTEN_RESPONSE_IKE)
		row = WIRE_MSG_TYPES + (type - MSG_LISTEN_REQUEST_IKE);
	else if (type >= WIRE_MSG_TYPES)
		return NULL;
	return msg_specs[row].name ? &msg_specs[row] : NULL;
}

unsigned int param_row(uint8_t type)
{
	if (type == PARAM_IKE_IDENTITY)
		return WIRE_PARAM_TYPES;
	return type < WIRE_PARAM_TYPES ? type : WIRE_PARAM_ROWS;
}

const struct param_spec *param_spec_find(uint8_t type)
{
	unsigned int row = param_row(type);

	return row < WIRE_PARAM_ROWS && param_specs[row].name ? &param_specs[row] : NULL;
}

bool role_in(const uint8_t *list, enum role role)
{
	while (*list && *list != role)
		list++;
	return *list != ROLE_NONE;
}

bool msg_spec_has(const struct msg_spec *spec, enum role role)
{
	return role == ROLE_VENDOR || role_in(spec->must, role) ||
	       role_in(spec->may, role);
}

/* The nth role of one list that `param` fills; counts *n down and notes the last seen. */
static enum role find(
	const uint8_t *list, uint8_t param, unsigned int *n, enum role *last)
{
	for (; *list; list++) {
		if (role_specs[*list].param != param)
			continue;
		*last = *list;
		if ((*n)-- == 0)
			return *list;
	}
	return ROLE_NONE;
}

enum role msg_spec_role(
	const struct msg_spec *spec, uint8_t param, unsigned int n, enum role *last)
{
	enum role role;

	*last = ROLE_NONE;
	if (param == PARAM_VENDOR)
		return *last = ROLE_VENDOR;
	role = find(spec->must, param, &n, last);
	if (!role)
		role = find(spec->may, param, &n, last);
	if (!role && *last && (role_specs[*last].has & spec->many))
		role = *last;
	return role;
}

bool param_next(struct rd *r, uint8_t *type, struct rd *value)
{
	if (rd_left(r) == 0)
		return false;
	*type = rd_u8(r);
	*value = rd_sub(r, rd_u16(r));
	return !r->bad;
}
