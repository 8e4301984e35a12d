#pragma once

#include "dataplane/core/flow.h"
#include "dataplane/dp.h"

/* Remote flow policy (RFC 3103 section 7.2) and what a refusal is called. */

/* Is it one of the addresses of a name?  They are in no order. */
CORE bool verdict_has_remote(const struct remote *policy, uint32_t addr)
{
	if (policy->addr == addr)
		return true;
	for (uint32_t i = 0; i < REMOTE_MORE_MAX; i++)
		if (i < policy->n_more && policy->more[i] == addr)
			return true;
	return false;
}

/*
 * May the holder of `policy` talk with addr and, where the flow shows one, port?  ESP
 * shows none, so it is judged by address alone (RFC 3104 appendix D).
 */
CORE enum dp_reason verdict_remote(
	const struct remote *policy, uint32_t addr, const struct flow *f, uint16_t port)
{
	if (policy->flow == REMOTE_NONE)
		return DP_OK;
	if (!verdict_has_remote(policy, addr))
		return DP_REMOTE_UNALLOWED;
	if (policy->flow == REMOTE_MICRO && (f->kind == FLOW_PORTS || f->ah_ports) &&
		policy->port != port)
		return DP_REMOTEPORT_UNALLOWED;
	return DP_OK;
}

/* The RSIP error number that a misuse earns (RFC 3103 10.4, RFC 3104 appendix B); or 0.
 */
CORE uint16_t verdict_error(enum dp_reason r)
{
	switch (r) {
	case DP_TUNNEL_TYPE:
		return 307;
	case DP_UNREGISTERED: /* a host may be registered and hold nothing */
	case DP_OUTER_SRC:
	case DP_ADDR_UNALLOWED:
		return 312;
	case DP_ADDRPORT_UNALLOWED:
		return 313;
	case DP_REMOTE_UNALLOWED:
		return 314;
	case DP_REMOTEPORT_UNALLOWED:
		return 315;
	case DP_IPSEC_UNALLOWED:
		return 401;
	default:
		return 0;
	}
}

/* Of two refusals the one that got further through the checks (A later check wins). */
CORE enum dp_reason verdict_further(enum dp_reason a, enum dp_reason b)
{
	return verdict_error(a) >= verdict_error(b) ? a : b;
}
