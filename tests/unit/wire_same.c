/* Equality of decoded messages, role by role, for tests of the round trip. */
#include "wire_same.h"

#include "wire/table.h"

#include <string.h>

static bool same_addr(const struct wire_addr *a, const struct wire_addr *b)
{
	if (a->type != b->type || a->dont_care != b->dont_care ||
		a->spelled != b->spelled)
		return false;
	return a->v4 == b->v4 && !memcmp(a->v6, b->v6, sizeof(a->v6)) &&
	       a->fqdn_len == b->fqdn_len &&
	       (!a->fqdn_len || !memcmp(a->fqdn, b->fqdn, a->fqdn_len));
}

static bool same_ports(const struct wire_ports *a, const struct wire_ports *b)
{
	if (a->form != b->form || a->number != b->number || a->first != b->first)
		return false;
	if (a->spelled != b->spelled ||
		(a->spelled && (a->spelled_len != b->spelled_len ||
				       a->spelled_number != b->spelled_number)))
		return false;
	return a->form != FORM_LIST || !memcmp(a->list, b->list, 2U * a->number);
}

static bool same_spis(const struct wire_spis *a, const struct wire_spis *b)
{
	if (a->form != b->form || a->number != b->number || a->first != b->first)
		return false;
	return a->form != FORM_LIST || !memcmp(a->list, b->list, 4UL * a->number);
}

static bool same_queries(const struct wire_msg *a, const struct wire_msg *b)
{
	struct wire_query x, y;
	size_t at_a = 0, at_b = 0;

	while (wire_query_next(a, &at_a, &x)) {
		if (!wire_query_next(b, &at_b, &y) || x.indicator != y.indicator ||
			x.indicator_len != y.indicator_len ||
			!same_addr(&x.addr, &y.addr) || !same_addr(&x.mask, &y.mask))
			return false;
	}
	return !wire_query_next(b, &at_b, &y);
}

static bool same_role(const struct wire_msg *a, const struct wire_msg *b, enum role role)
{
	const void *x = role_member(a, role), *y = role_member(b, role);

	switch (role_specs[role].param) {
	case PARAM_ADDRESS:
		return same_addr(x, y);
	case PARAM_PORTS:
		return same_ports(x, y);
	case PARAM_SPI:
		return same_spis(x, y);
	case PARAM_IKE_IDENTITY:
		return a->ike_identity_len == b->ike_identity_len &&
		       !memcmp(a->ike_identity, b->ike_identity, a->ike_identity_len);
	case PARAM_ERROR:
		return a->error == b->error;
	case PARAM_FLOW_POLICY:
		return a->flow_local == b->flow_local && a->flow_remote == b->flow_remote;
	case PARAM_TUNNEL_TYPE:
	case PARAM_METHOD:
		return role_count(a, role) == role_count(b, role) &&
		       !memcmp(x, y, role_count(a, role));
	case PARAM_LEASE_TIME:
	case PARAM_CLIENT_ID:
	case PARAM_BIND_ID:
	case PARAM_COUNTER:
		return *(const uint32_t *)x == *(const uint32_t *)y;
	}
	return false; /* a new parameter needs a case */
}

bool wire_same(const struct wire_msg *a, const struct wire_msg *b)
{
	if (a->version != b->version || a->type != b->type || a->has != b->has)
		return false;
	for (enum role role = ROLE_ERROR; role < ROLES; role++) {
		const struct role_spec *rs = &role_specs[role];

		if ((a->has & rs->has) && rs->member && !same_role(a, b, role))
			return false;
	}
	return same_queries(a, b);
}
