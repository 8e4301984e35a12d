#pragma once

#include "dataplane/core/be.h"

/* The Internet checksum (RFC 1071), and its change by one word (RFC 1624). */

CORE uint16_t csum_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/*
 * Sums in memory order need no swapping: the folded sum of words as they lie there is the
 * folded sum as it has to lie there (RFC 1071 section 2B).
 */
CORE uint16_t csum_fold_raw(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Of the 20 bytes at p, in memory order, not folded. */
CORE uint64_t csum_raw20(const uint8_t *p)
{
	uint64_t sum = raw_get32(p);

	sum += raw_get32(p + 4);
	sum += raw_get32(p + 8);
	sum += raw_get32(p + 12);
	return sum + raw_get32(p + 16);
}

/* Sum of the 20 bytes at p; add to it or fold it. */
CORE uint32_t csum_sum20(const uint8_t *p)
{
	return BE16(csum_fold_raw(csum_raw20(p)));
}

/* What a checksum becomes when one 16-bit word under it changes from `from` to `to`. */
CORE uint16_t csum_change(uint16_t csum, uint16_t from, uint16_t to)
{
	uint32_t sum = (uint32_t)(uint16_t)~csum + (uint16_t)~from + to;

	return csum_fold(sum);
}

#ifndef __bpf__
/* Sum of n bytes, n <= 131072; an odd last byte counts as if a zero followed. */
CORE uint32_t csum_sum(const uint8_t *p, uint32_t n, uint32_t sum)
{
	uint64_t wide = sum;

	for (; n >= 4; n -= 4, p += 4)
		wide += be_get32(p);
	if (n >= 2) {
		wide += be_get16(p);
		p += 2;
		n -= 2;
	}
	if (n)
		wide += (uint32_t)*p << 8;
	wide = (wide & 0xffffffff) + (wide >> 32);
	wide = (wide & 0xffffffff) + (wide >> 32);
	return (uint32_t)(wide & 0xffff) + (uint32_t)(wide >> 16);
}

/* Sum of the pseudo header of TCP and UDP. */
CORE uint32_t csum_pseudo(uint32_t src, uint32_t dst, uint8_t proto, uint32_t len)
{
	return (src >> 16) + (src & 0xffff) + (dst >> 16) + (dst & 0xffff) + proto + len;
}
#endif
