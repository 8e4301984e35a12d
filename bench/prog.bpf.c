/*
 * The packet programs of driver xdp, each with a frame of a random flow in front of it
 * and the frame's place restored behind it, so that BPF_PROG_TEST_RUN may repeat them.
 */
#include "dataplane/xdp/xdp.bpf.c"

#include "bench/gen.bpf.h"

struct ab_gen gen;

/*
 * The words that were changed are written once more as whole ones: a processor waits
 * where it reads at once what it wrote in smaller parts, which is not what is measured.
 */
INLINE bool fresh(struct xdp_md *ctx, uint32_t len)
{
	bool made = gen_frame(ctx, &gen, len);
	uint8_t *p = begin(ctx) + ETH_HLEN;

	if (p + 2 * IP4_HDR + 8 > end(ctx))
		return false;
#pragma clang loop unroll(full)
	for (int at = 8; at < 2 * IP4_HDR + 8; at += 4) {
		uint32_t word = raw_get32(p + at);

		asm volatile("" : "+r"(word));
		*(uint32_t *)(p + at) = word;
	}
	return made;
}

/* A frame, and the room restored: what the others have beside the program. */
INLINE bool base(struct xdp_md *ctx, uint32_t len)
{
	return fresh(ctx, len) && !bpf_xdp_adjust_head(ctx, 0);
}

SEC("xdp")
int prog_base_in(struct xdp_md *ctx)
{
	return base(ctx, AB_IN) ? XDP_REDIRECT : XDP_ABORTED;
}

SEC("xdp")
int prog_base_out(struct xdp_md *ctx)
{
	return base(ctx, AB_OUT) ? XDP_REDIRECT : XDP_ABORTED;
}

/* An empty program in the gateway's place. */
SEC("xdp")
int prog_redirect(struct xdp_md *ctx)
{
	return base(ctx, AB_IN) ? (int)bpf_redirect_map(&links, 0, XDP_DROP)
				: XDP_ABORTED;
}

SEC("xdp")
int prog_in(struct xdp_md *ctx)
{
	if (!fresh(ctx, AB_IN))
		return XDP_ABORTED;
	int verdict = in_packet(ctx);
	return verdict == XDP_REDIRECT && bpf_xdp_adjust_head(ctx, IP4_HDR) ? XDP_ABORTED
									    : verdict;
}

SEC("xdp")
int prog_out(struct xdp_md *ctx)
{
	if (!fresh(ctx, AB_OUT))
		return XDP_ABORTED;
	int verdict = out_packet(ctx);
	return verdict == XDP_REDIRECT && bpf_xdp_adjust_head(ctx, -IP4_HDR) ? XDP_ABORTED
									     : verdict;
}
