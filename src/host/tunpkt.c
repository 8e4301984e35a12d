/*
 * The packet functions of the tunnel end in user space.  The kernel has checked and
 * reassembled the outer packet; inner ones come from a gateway that let only whole
 * packets in, so that a later fragment here has no key and goes to nobody in particular.
 */
#include "host/tunpkt.h"

#include <string.h>

enum { ICMP = 1, TCP = 6, UDP = 17, ESP = 50, AH = 51 };

#define DF          0x4000
#define MORE        0x2000
#define OFFSET      0x1fff
#define ECN         3
#define ECN_CE      3
#define ECN_ECT1    1
#define ECN_ECT0    2
#define ICMP_LEN    8
#define ICMP_QUOTED (TUNPKT_ICMP_MAX - TUNPKT_HEADER - ICMP_LEN)

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)(v >> 16));
	put16(p + 2, (uint16_t)v);
}

/* One's complement sum, not yet inverted. */
static uint32_t sum16(const uint8_t *p, size_t len, uint32_t sum)
{
	uint64_t s = sum;

	for (; len > 1; p += 2, len -= 2)
		s += get16(p);
	if (len > 0)
		s += (uint32_t)p[0] << 8;
	while (s >> 16 != 0)
		s = (s & 0xffff) + (s >> 16);
	return (uint32_t)s;
}

bool tunpkt_parse(const uint8_t *p, size_t have, struct tunpkt *t)
{
	uint16_t flags;

	if (have < TUNPKT_HEADER || p[0] >> 4 != 4)
		return false;
	flags = get16(p + 6);
	*t = (struct tunpkt){
		.src = get32(p + 12),
		.dst = get32(p + 16),
		.proto = p[9],
		.tos = p[1],
		.df = (flags & DF) != 0,
		.fragment = (flags & (MORE | OFFSET)) != 0,
		.header = (size_t)(p[0] & 15) * 4,
		.len = get16(p + 2),
	};
	return t->header >= TUNPKT_HEADER && t->header <= t->len && t->len <= have;
}

static bool is_query(uint8_t type)
{
	return type == 8 || type == 13 || type == 15 || type == 17;
}

static bool is_answer(uint8_t type)
{
	return type == 0 || type == 14 || type == 16 || type == 18;
}

static bool is_icmp_error(uint8_t type)
{
	return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

/* The key in the packet of ours that an ICMP error quotes: its source. */
static enum tunpkt_key key_quoted(const uint8_t *p, size_t len, uint32_t *number)
{
	size_t header;

	if (len < TUNPKT_HEADER || p[0] >> 4 != 4)
		return TUNPKT_NONE;
	header = (size_t)(p[0] & 15) * 4;
	if (header < TUNPKT_HEADER || len < header + ICMP_LEN ||
		(get16(p + 6) & OFFSET) != 0)
		return TUNPKT_NONE;
	if (p[9] == TCP || p[9] == UDP) {
		*number = get16(p + header);
		return TUNPKT_PORT;
	}
	if (p[9] == ICMP && is_query(p[header])) {
		*number = get16(p + header + 4);
		return TUNPKT_ECHO;
	}
	return TUNPKT_NONE; /* a quoted SPI is the peer's: it says nothing about ours */
}

enum tunpkt_key tunpkt_key_in(const uint8_t *p, const struct tunpkt *t, uint32_t *number)
{
	const uint8_t *data = p + t->header;
	size_t len = t->len - t->header;

	if ((get16(p + 6) & OFFSET) != 0 || len < ICMP_LEN)
		return TUNPKT_NONE;
	switch (t->proto) {
	case TCP:
	case UDP:
		*number = get16(data + 2);
		return TUNPKT_PORT;
	case ESP:
		*number = get32(data);
		return TUNPKT_SPI;
	case AH:
		*number = get32(data + 4);
		return TUNPKT_SPI;
	case ICMP:
		if (is_icmp_error(data[0]))
			return key_quoted(data + ICMP_LEN, len - ICMP_LEN, number);
		if (!is_answer(data[0]))
			return TUNPKT_NONE;
		*number = get16(data + 4);
		return TUNPKT_ECHO;
	default:
		return TUNPKT_NONE;
	}
}

bool tunpkt_echo_out(const uint8_t *p, const struct tunpkt *t, uint16_t *id)
{
	if (t->proto != ICMP || (get16(p + 6) & OFFSET) != 0 ||
		t->len < t->header + ICMP_LEN || !is_query(p[t->header]))
		return false;
	*id = get16(p + t->header + 4);
	return true;
}

/* Exchange types: RFC 2408 section 3.1, RFC 2409 appendix A, RFC 7296 section 3.1. */
static bool exchange_has_spi(uint8_t version, uint8_t exchange)
{
	enum { QUICK = 32, SA_INIT = 34, INFORMATIONAL = 37, RESUME = 38, BETWEEN = 43 };

	if (version == 1)
		return exchange == QUICK;
	return version == 2 && exchange > SA_INIT && exchange != INFORMATIONAL &&
	       exchange != RESUME && exchange != BETWEEN;
}

bool tunpkt_ike_spi(const uint8_t *p, const struct tunpkt *t)
{
	enum { UDP_LEN = 8, MARKER = 4, IKE_LEN = 28 };
	const uint8_t *udp = p + t->header, *ike = udp + UDP_LEN;
	size_t have = t->len - t->header, len;

	if (t->proto != UDP || (get16(p + 6) & OFFSET) != 0 || have < UDP_LEN + IKE_LEN)
		return false;
	len = get16(udp + 4);
	if (get32(ike) == 0) {
		if (have < UDP_LEN + MARKER + IKE_LEN)
			return false;
		ike += MARKER;
	}
	/* By its own length it may be cut into fragments, but not end behind the
	 * datagram. */
	return exchange_has_spi(ike[17] >> 4, ike[18]) && get32(ike + 24) >= IKE_LEN &&
	       get32(ike + 24) + (size_t)(ike - udp) <= len;
}

bool tunpkt_ecn_in(uint8_t *p, uint8_t outer_tos)
{
	uint8_t outer = outer_tos & ECN, inner = p[1] & ECN, now = inner;
	uint32_t sum;

	if (outer == ECN_CE) {
		if (inner == 0)
			return false;
		now = ECN_CE;
	} else if (outer == ECN_ECT1 && inner == ECN_ECT0) {
		now = ECN_ECT1;
	}
	if (now == inner)
		return true;
	/* RFC 1624: HC' = ~(~HC + ~m + m'), m being the word with the TOS byte. */
	sum = (uint16_t)~get16(p + 10) + (uint32_t)(uint16_t)~get16(p);
	p[1] = (uint8_t)((p[1] & ~ECN) | now);
	sum += get16(p);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	put16(p + 10, (uint16_t)~sum);
	return true;
}

void tunpkt_checksum(uint8_t *p, const struct tunpkt *t)
{
	uint8_t *data = p + t->header;
	size_t len = t->len - t->header, at;
	uint32_t pseudo;

	if (t->fragment || (t->proto != TCP && t->proto != UDP))
		return;
	at = t->proto == TCP ? 16 : 6;
	if (len < at + 2)
		return;
	pseudo = sum16(p + 12, 8, t->proto + (uint32_t)len);
	/* A finished checksum equals this one time in 65,536; it comes out the same. */
	if (get16(data + at) != pseudo)
		return;
	put16(data + at, 0);
	pseudo = ~sum16(data, len, pseudo) & 0xffff;
	put16(data + at, pseudo == 0 && t->proto == UDP ? 0xffff : (uint16_t)pseudo);
}

size_t tunpkt_too_big(const uint8_t *p, const struct tunpkt *t, uint16_t mtu,
	uint8_t out[static TUNPKT_ICMP_MAX])
{
	size_t quoted = t->len < ICMP_QUOTED ? t->len : ICMP_QUOTED;
	size_t len = TUNPKT_HEADER + ICMP_LEN + quoted;
	uint8_t *icmp = out + TUNPKT_HEADER;

	memset(out, 0, TUNPKT_HEADER + ICMP_LEN);
	out[0] = 0x45;
	put16(out + 2, (uint16_t)len);
	out[8] = 64;
	out[9] = ICMP;
	put32(out + 12, t->dst);
	put32(out + 16, t->src);
	put16(out + 10, (uint16_t)~sum16(out, TUNPKT_HEADER, 0));
	icmp[0] = 3; /* destination unreachable, fragmentation needed (RFC 1191) */
	icmp[1] = 4;
	put16(icmp + 6, mtu);
	memcpy(icmp + ICMP_LEN, p, quoted);
	put16(icmp + 2, (uint16_t)~sum16(icmp, ICMP_LEN + quoted, 0));
	return len;
}

size_t tunpkt_gre(const uint8_t *p, size_t len)
{
	/* No checksum, key or sequence, version 0, IPv4 inside. */
	if (len < 4 || get16(p) != 0 || get16(p + 2) != 0x0800)
		return 0;
	return 4;
}
