#pragma once

#include "dataplane/core/ip4.h"
#include "engine/effect.h"

/* The two tunnels: IP-in-IP (RFC 2003) and GRE without options (RFC 2784). */

#define TUNNEL_TTL          64
#define TUNNEL_OVERHEAD_MAX (IP4_HDR + 4)

/* Bytes in front of the inner packet. */
CORE uint16_t tunnel_overhead(enum tunnel_type t)
{
	return t == TUNNEL_GRE ? IP4_HDR + 4 : IP4_HDR;
}

/* The tunnel that an IP protocol number means; 0 for none. */
CORE enum tunnel_type tunnel_of_proto(uint8_t proto)
{
	return proto == IP4_IPIP  ? TUNNEL_IPIP
	       : proto == IP4_GRE ? TUNNEL_GRE
				  : (enum tunnel_type)0;
}

/*
 * Where the inner packet begins, as an offset from the outer packet's first byte; 0 when
 * the bytes in between are not the tunnel we speak (GRE version, key, another protocol).
 */
CORE uint16_t tunnel_inner(const void *data, const void *end, const struct ip4 *outer)
{
	const uint8_t *p = (const uint8_t *)data + outer->hdr;

	if (outer->proto == IP4_IPIP)
		return outer->hdr;
	if (outer->proto != IP4_GRE || p + 4 > (const uint8_t *)end ||
		outer->len < outer->hdr + 4)
		return 0;
	return be_get32(p) == 0x00000800 ? (uint16_t)(outer->hdr + 4) : 0;
}

/*
 * Write the outer header (tunnel_overhead() bytes) of an inner packet: DF and the whole
 * DS field are the inner one's (RFC 2003 3.1, RFC 2983 3, RFC 6040 4.1).
 */
CORE void tunnel_write(uint8_t *p, enum tunnel_type t, uint32_t src, uint32_t dst,
	uint16_t id, const struct ip4 *inner)
{
	struct ip4 outer = {
		.src = src,
		.dst = dst,
		.len = (uint16_t)(inner->len + tunnel_overhead(t)),
		.frag = inner->frag & IP4_DF,
		.id = id,
		.proto = t == TUNNEL_GRE ? IP4_GRE : IP4_IPIP,
		.ttl = TUNNEL_TTL,
		.tos = inner->tos,
	};

	ip4_write(p, &outer);
	if (t == TUNNEL_GRE)
		be_put32(p + IP4_HDR, 0x00000800);
}
