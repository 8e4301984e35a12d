#pragma once

#include "bench/ab.h"
#include "dataplane/core/ip4.h"

/*
 * A frame of a random flow (fast.c says what flow i has), len AB_IN or AB_OUT bytes.
 * Pages come back with earlier edits, so every frame is written whole.
 */
static __always_inline bool gen_frame(
	struct xdp_md *ctx, const struct ab_gen *g, uint32_t len)
{
	uint8_t *f = (uint8_t *)(long)ctx->data, *p = f + 14;
	uint32_t i = (uint32_t)((uint64_t)bpf_get_prandom_u32() * g->n >> 32);

	/* Port 500 belongs to cookies, which user space has: another flow in its place.
	 */
	i += (uint16_t)i == 500;
	if (f + len > (uint8_t *)(long)ctx->data_end)
		return false;
#pragma clang loop unroll(full)
	for (uint32_t at = 0; at < len; at += 8)
		*(uint64_t *)(f + at) = *(const uint64_t *)(g->frame + at);
	if (g->vary == AB_PORT) {
		be_put16(p + IP4_HDR, (uint16_t)(1024 + i % 60000));
		return true;
	}
	if (len == AB_OUT) {
		ip4_change16(p, IP4_AT_SRC + 2,
			(uint16_t)(be_get16(p + IP4_AT_SRC + 2) + (i & g->hosts)));
		p += IP4_HDR;
	}
	int at = (len == AB_OUT ? IP4_AT_SRC : IP4_AT_DST) + 2;
	ip4_change16(p, at, (uint16_t)(be_get16(p + at) + (i >> 16)));
	if (g->vary == AB_INNER_PORT)
		be_put16(p + IP4_HDR, (uint16_t)i);
	else
		be_put32(p + IP4_HDR, ab_spi(i));
	return true;
}
