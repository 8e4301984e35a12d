#pragma once

#include "dataplane/core/ip4.h"

/* ICMP messages that the gateway makes itself (RFC 792, 1191, 1812 4.3). */

#define ICMP_HDR        8
#define ICMP_ERR_HDR    (IP4_HDR + ICMP_HDR)
#define ICMP_TTL_SENT   64
#define ICMP_PACKET_MAX 576 /* RFC 1812 4.3.2.3: quote no more than this allows */

enum icmp_type { ICMP_UNREACHABLE = 3, ICMP_TIME_EXCEEDED = 11 };
enum icmp_code {
	ICMP_HOST = 1,
	ICMP_FRAG_NEEDED = 4,
	ICMP_TTL_GONE = 0,
	ICMP_REASSEMBLY = 1
};

/* About this packet no error may be sent (RFC 1812 4.3.2.7). */
CORE bool icmp_may_answer(const void *data, const void *end, const struct ip4 *ip)
{
	const uint8_t *p = (const uint8_t *)data + ip->hdr;

	if (!ip4_is_unicast(ip->src) || !ip4_is_unicast(ip->dst) ||
		(ip->frag & IP4_OFFSET))
		return false;
	if (ip->proto != IP4_ICMP)
		return true;
	if (p + 1 > (const uint8_t *)end)
		return false;
	return p[0] == 0 || p[0] == 8 || (p[0] >= 13 && p[0] <= 18);
}

/*
 * Write the two headers of an error; the quote follows at p + ICMP_ERR_HDR.  quote_sum is
 * its unfolded checksum, `rest` the second word (the next hop's MTU).
 */
CORE void icmp_write_error(uint8_t *p, uint32_t src, uint32_t dst, uint8_t type,
	uint8_t code, uint32_t rest, uint16_t quote_len, uint32_t quote_sum)
{
	struct ip4 ip = {
		.src = src,
		.dst = dst,
		.len = (uint16_t)(ICMP_ERR_HDR + quote_len),
		.proto = IP4_ICMP,
		.ttl = ICMP_TTL_SENT,
		.tos = 0xc0, /* internetwork control, RFC 1812 4.3.2.5 */
	};

	ip4_write(p, &ip);
	p[IP4_HDR] = type;
	p[IP4_HDR + 1] = code;
	be_put32(p + IP4_HDR + 4, rest);
	uint32_t sum = ((uint32_t)type << 8 | code) + (rest >> 16) + (rest & 0xffff) +
		       (quote_sum & 0xffff) + (quote_sum >> 16);
	be_put16(p + IP4_HDR + 2, csum_fold(sum));
}
