#pragma once

#include "dataplane/core/ip4.h"

/*
 * What a packet is demultiplexed by: the fields that RFC 3102 section 3.2 and RFC 3104
 * sections 4 and 5 name, read once, whatever the direction.
 */

#define FLOW_IKE_PORT  500
#define FLOW_NATT_PORT 4500
#define FLOW_IKE_HDR   28

enum flow_kind {
	FLOW_NONE,       /* a protocol without demultiplexing field, or cut short */
	FLOW_PORTS,      /* TCP, UDP */
	FLOW_SPI,        /* ESP, AH */
	FLOW_ICMP_QUERY, /* echo, timestamp, address mask */
	FLOW_ICMP_REPLY,
	FLOW_ICMP_ERROR,
	FLOW_ICMP_OTHER,
};

struct flow {
	enum flow_kind kind;
	uint8_t proto;
	uint8_t icmp_type; /* of a reply: the type of its query */
	bool ah_ports;     /* AH: sport and dport are those behind it */
	uint16_t sport, dport;
	uint32_t spi;
	uint32_t icmp_id_seq; /* identifier in the upper half */
};

/* IKE on a shared port: RFC 3104 section 4 and, on 4500, RFC 3948 section 2. */
enum flow_ike_kind {
	FLOW_IKE_SHORT,     /* no whole IKE header, or cookie zero */
	FLOW_IKE_KEEPALIVE, /* 4500: one byte 0xff */
	FLOW_IKE_COOKIES,
	FLOW_IKE_ESP, /* 4500: ESP, spi is set */
};

struct flow_ike {
	enum flow_ike_kind kind;
	uint32_t spi;
	uint32_t initiator[2], responder[2]; /* as 32-bit halves: keys without padding */
};

/* The type of the query that a reply answers; 0 when it is no reply we route. */
CORE uint8_t flow_icmp_query_of(uint8_t reply)
{
	return reply == 0 ? 8 : reply == 14 ? 13 : reply == 18 ? 17 : 0;
}

CORE void flow_parse_icmp(const uint8_t *p, struct flow *f)
{
	uint8_t type = p[0];

	f->icmp_type = type;
	f->icmp_id_seq = be_get32(p + 4);
	if (type == 8 || type == 13 || type == 15 || type == 17) {
		f->kind = FLOW_ICMP_QUERY;
	} else if (type == 3 || type == 4 || type == 11 || type == 12) {
		f->kind = FLOW_ICMP_ERROR;
	} else if (flow_icmp_query_of(type)) {
		f->kind = FLOW_ICMP_REPLY;
		f->icmp_type = flow_icmp_query_of(type);
	} else {
		f->kind = FLOW_ICMP_OTHER;
	}
}

/*
 * Read what lies behind an IPv4 header: p is its payload.  Eight bytes suffice, so it
 * also reads what ICMP errors quote; only AH's inner ports lie further and may be
 * missing.
 */
CORE void flow_parse(const void *data, const void *end, uint8_t proto, struct flow *f)
{
	const uint8_t *p = data;

	*f = (struct flow){ .kind = FLOW_NONE, .proto = proto };
	if (p + 8 > (const uint8_t *)end)
		return;
	switch (proto) {
	case IP4_TCP:
	case IP4_UDP:
		f->kind = FLOW_PORTS;
		f->sport = be_get16(p);
		f->dport = be_get16(p + 2);
		return;
	case IP4_ESP:
		f->kind = FLOW_SPI;
		f->spi = be_get32(p);
		return;
	case IP4_AH:
		f->kind = FLOW_SPI;
		f->spi = be_get32(p + 4);
		if (p[0] == IP4_TCP || p[0] == IP4_UDP) {
			const uint8_t *inner = p + (((uint32_t)p[1] + 2) << 2);

			if (inner + 4 > (const uint8_t *)end)
				return;
			f->ah_ports = true;
			f->sport = be_get16(inner);
			f->dport = be_get16(inner + 2);
		}
		return;
	case IP4_ICMP:
		flow_parse_icmp(p, f);
		return;
	default:
		return;
	}
}

/* Read the UDP payload of port 500, or with natt of port 4500; end: end of datagram. */
CORE void flow_parse_ike(
	const void *payload, const void *end, bool natt, struct flow_ike *ike)
{
	const uint8_t *p = payload;

	*ike = (struct flow_ike){ .kind = FLOW_IKE_SHORT };
	if (natt) {
		if (p + 4 > (const uint8_t *)end) {
			if (p + 1 <= (const uint8_t *)end && p[0] == 0xff &&
				p + 1 == (const uint8_t *)end)
				ike->kind = FLOW_IKE_KEEPALIVE;
			return;
		}
		ike->spi = be_get32(p);
		if (ike->spi != 0) {
			ike->kind = FLOW_IKE_ESP;
			return;
		}
		p += 4;
	}
	if (p + FLOW_IKE_HDR > (const uint8_t *)end)
		return;
	ike->initiator[0] = be_get32(p);
	ike->initiator[1] = be_get32(p + 4);
	ike->responder[0] = be_get32(p + 8);
	ike->responder[1] = be_get32(p + 12);
	if (ike->initiator[0] | ike->initiator[1])
		ike->kind = FLOW_IKE_COOKIES;
}
