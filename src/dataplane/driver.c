/*
 * The drivers by name, and the names of drop reasons.
 */
#include "dataplane/drivers.h"

#include <string.h>

static const struct dp_driver *const drivers[] = { &dp_packet, &dp_xdp, &dp_none,
	&dp_fake, NULL };

const struct dp_driver *dp_driver_find(const char *name)
{
	for (size_t i = 0; drivers[i]; i++)
		if (strcmp(drivers[i]->name, name) == 0)
			return drivers[i];
	return NULL;
}

static const char *const reasons[DP_REASONS] = {
	[DP_OK] = "ok",
	[DP_UNREGISTERED] = "unregistered",
	[DP_OUTER_SRC] = "outer_src",
	[DP_TUNNEL_TYPE] = "tunnel_type",
	[DP_ADDR_UNALLOWED] = "addr_unallowed",
	[DP_ADDRPORT_UNALLOWED] = "addrport_unallowed",
	[DP_REMOTE_UNALLOWED] = "remote_unallowed",
	[DP_REMOTEPORT_UNALLOWED] = "remoteport_unallowed",
	[DP_IPSEC_UNALLOWED] = "ipsec_unallowed",
	[DP_NO_BIND] = "no_bind",
	[DP_NO_SPI] = "no_spi",
	[DP_NO_COOKIE] = "no_cookie",
	[DP_COOKIE_INUSE] = "cookie_inuse",
	[DP_COOKIE_FULL] = "cookie_full",
	[DP_FLOOD] = "flood",
	[DP_IKE_SHORT] = "ike_short",
	[DP_INGRESS_POLICY] = "ingress_policy",
	[DP_NOT_CONTACTED] = "not_contacted",
	[DP_ICMP_UNMATCHED] = "icmp_unmatched",
	[DP_ICMP_REQUEST] = "icmp_request",
	[DP_FRAG_TIMEOUT] = "frag_timeout",
	[DP_FRAG_LIMIT] = "frag_limit",
	[DP_FRAG_OVERLAP] = "frag_overlap",
	[DP_TTL] = "ttl",
	[DP_MARTIAN] = "martian",
	[DP_TOO_BIG] = "too_big",
	[DP_NO_ROUTE] = "no_route",
};

const char *dp_reason_name(enum dp_reason r)
{
	return (unsigned int)r < DP_REASONS ? reasons[r] : "unknown";
}
