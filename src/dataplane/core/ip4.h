#pragma once

#include "dataplane/core/csum.h"

#include <stdbool.h>

/* The IPv4 header (RFC 791), its hop and its DS field (RFC 2983, 6040). */

enum ip4_proto {
	IP4_ICMP = 1,
	IP4_IPIP = 4,
	IP4_TCP = 6,
	IP4_UDP = 17,
	IP4_GRE = 47,
	IP4_ESP = 50,
	IP4_AH = 51
};

#define IP4_HDR    20 /* without options */
#define IP4_DF     0x4000
#define IP4_MF     0x2000
#define IP4_OFFSET 0x1fff

/* Where the fields are that are changed in place. */
#define IP4_AT_TOS   1
#define IP4_AT_LEN   2
#define IP4_AT_ID    4
#define IP4_AT_FRAG  6
#define IP4_AT_TTL   8
#define IP4_AT_PROTO 9
#define IP4_AT_CSUM  10
#define IP4_AT_SRC   12
#define IP4_AT_DST   16

struct ip4 {
	uint32_t src, dst;
	uint16_t len;  /* header and payload; what is behind is padding */
	uint16_t frag; /* flags and offset as on the wire */
	uint16_t id;
	uint8_t proto, ttl, tos;
	uint8_t hdr; /* bytes of header, 20..60 */
};

/* p: at least 20 bytes. */
CORE void ip4_read(const uint8_t *p, struct ip4 *ip)
{
	ip->hdr = (uint8_t)((p[0] & 15) * 4);
	ip->tos = p[IP4_AT_TOS];
	ip->len = be_get16(p + IP4_AT_LEN);
	ip->id = be_get16(p + IP4_AT_ID);
	ip->frag = be_get16(p + IP4_AT_FRAG);
	ip->ttl = p[IP4_AT_TTL];
	ip->proto = p[IP4_AT_PROTO];
	ip->src = be_get32(p + IP4_AT_SRC);
	ip->dst = be_get32(p + IP4_AT_DST);
}

/*
 * A whole, well-formed packet begins at data?  The payload may be cut only where `cut` is
 * true (a packet quoted in an ICMP error); its header checksum is then not judged.
 */
CORE bool ip4_parse(const void *data, const void *end, bool cut, struct ip4 *ip)
{
	const uint8_t *p = data;

	if (p + IP4_HDR > (const uint8_t *)end)
		return false;
	ip4_read(p, ip);
	if (p[0] >> 4 != 4 || ip->hdr < IP4_HDR || ip->len < ip->hdr)
		return false;
	if (p + ip->hdr > (const uint8_t *)end)
		return false;
	if (cut)
		return true;
	if (p + ip->len > (const uint8_t *)end)
		return false;
	uint32_t sum = csum_sum20(p);
	for (int i = IP4_HDR; i < 60; i += 4) {
		if (i >= ip->hdr)
			break;
		if (p + i + 4 > (const uint8_t *)end)
			return false;
		sum += be_get16(p + i) + (uint32_t)be_get16(p + i + 2);
	}
	return csum_fold(sum) == 0;
}

/* The same of a packet that is not cut and has no options; false for one that has. */
CORE bool ip4_parse_plain(const void *data, const void *end, struct ip4 *ip)
{
	const uint8_t *p = data;

	if (p + IP4_HDR > (const uint8_t *)end || p[0] != 0x45)
		return false;
	ip4_read(p, ip);
	return ip->len >= IP4_HDR && p + ip->len <= (const uint8_t *)end &&
	       csum_fold_raw(csum_raw20(p)) == 0xffff;
}

CORE bool ip4_is_fragment(const struct ip4 *ip)
{
	return (ip->frag & (IP4_MF | IP4_OFFSET)) != 0;
}

/*
 * Does a packet carry a source route?  Only such options are refused; others pass as they
 * are, since AH covers some of them (RFC 2402 appendix A).  data: ip->hdr bytes.
 */
CORE bool ip4_is_source_routed(const void *data, const void *end, const struct ip4 *ip)
{
	const uint8_t *p = data;
	uint32_t at = IP4_HDR;

	for (int i = 0; i < 60 - IP4_HDR; i++) {
		if (at >= ip->hdr || at >= 60 || p + at + 1 > (const uint8_t *)end)
			return false;
		uint8_t kind = p[at];
		if (kind == 0)
			return false;
		if (kind == 131 || kind == 137)
			return true;
		if (kind == 1) {
			at++;
			continue;
		}
		if (p + at + 2 > (const uint8_t *)end || p[at + 1] < 2)
			return false;
		at += p[at + 1];
	}
	return false;
}

/* May this stand as a source, or as the destination of a packet to one machine? */
CORE bool ip4_is_unicast(uint32_t addr)
{
	return addr >> 24 != 0 && addr >> 24 != 127 && addr >> 28 < 14;
}

/* Put one 16-bit word of the header and keep the checksum true. */
CORE void ip4_change16(uint8_t *p, int at, uint16_t to)
{
	uint16_t from = be_get16(p + at);

	be_put16(p + at, to);
	be_put16(p + IP4_AT_CSUM, csum_change(be_get16(p + IP4_AT_CSUM), from, to));
}

/* One hop less; the caller has seen that the TTL is above 1.  p: at least 20 bytes. */
CORE void ip4_hop(uint8_t *p)
{
	ip4_change16(p, IP4_AT_TTL, (uint16_t)(be_get16(p + IP4_AT_TTL) - 0x100));
}

CORE void ip4_set_tos(uint8_t *p, uint8_t tos)
{
	ip4_change16(p, 0, (uint16_t)((uint16_t)p[0] << 8 | tos));
}

/*
 * The DS field of a packet that leaves a tunnel: DSCP of the outer header, ECN by RFC
 * 6040 section 4.2.  -1: congestion was marked on a packet that can't carry the mark;
 * drop it.
 */
CORE int ip4_decap_tos(uint8_t outer, uint8_t inner)
{
	uint8_t ecn = inner & 3, mark = outer & 3;

	if (mark == 3 && ecn == 0)
		return -1;
	if (ecn != 0 && ecn != 3 && (mark == 3 || (mark == 1 && ecn == 2)))
		ecn = mark;
	return (outer & 0xfc) | ecn;
}

/* Write a header of 20 bytes with its checksum. */
CORE void ip4_write(uint8_t *p, const struct ip4 *ip)
{
	p[0] = 0x45;
	p[IP4_AT_TOS] = ip->tos;
	be_put16(p + IP4_AT_LEN, ip->len);
	be_put16(p + IP4_AT_ID, ip->id);
	be_put16(p + IP4_AT_FRAG, ip->frag);
	p[IP4_AT_TTL] = ip->ttl;
	p[IP4_AT_PROTO] = ip->proto;
	be_put16(p + IP4_AT_CSUM, 0);
	be_put32(p + IP4_AT_SRC, ip->src);
	be_put32(p + IP4_AT_DST, ip->dst);
	be_put16(p + IP4_AT_CSUM, csum_fold(csum_sum20(p)));
}
