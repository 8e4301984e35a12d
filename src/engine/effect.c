/*
 * The words of the interfaces for the numbers of effect.h.
 */
#include "engine/effect.h"

static const char *const methods[METHODS] = {
	[METHOD_RSA_IP] = "rsa-ip",
	[METHOD_RSAP_IP] = "rsap-ip",
	[METHOD_RSIPSEC] = "rsipsec",
	[METHOD_LISTEN] = "listen",
	[METHOD_IKE] = "listen-ike",
};

static const char *const tunnels[] = {
	[TUNNEL_IPIP] = "ipip",
	[TUNNEL_GRE] = "gre",
	[TUNNEL_L2TP] = "l2tp",
};

static const char *const transports[TRANSPORTS] = {
	[TRANSPORT_UDP] = "udp",
	[TRANSPORT_TCP] = "tcp",
};

const char *lease_method_name(enum lease_method m)
{
	return (size_t)m < METHODS ? methods[m] : NULL;
}

const char *tunnel_type_name(enum tunnel_type t)
{
	return (size_t)t < sizeof(tunnels) / sizeof(tunnels[0]) ? tunnels[t] : NULL;
}

const char *transport_name(enum transport t)
{
	return (size_t)t < TRANSPORTS ? transports[t] : NULL;
}
