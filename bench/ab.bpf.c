/*
 * The generator, the sink, and what stands beside the gateway: an empty redirect and a
 * program that leaves all to the kernel.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_helpers.h>

#include "bench/ab.h"
#include "dataplane/core/ip4.h"

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} tx SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} sunk SEC(".maps");

struct ab_gen gen;

/* Pages come back with earlier edits, so every frame is written whole. */
static __always_inline void copy(uint64_t *to, const uint64_t *from, int words)
{
#pragma clang loop unroll(full)
	for (int i = 0; i < words; i++)
		to[i] = from[i];
}

static __always_inline uint32_t pick(void)
{
	return (uint32_t)((uint64_t)bpf_get_prandom_u32() * gen.n >> 32);
}

SEC("xdp")
int ab_gen_in(struct xdp_md *ctx)
{
	uint8_t *f = (uint8_t *)(long)ctx->data, *p = f + ETH_HLEN;
	uint32_t i = pick();

	if (f + AB_IN > (uint8_t *)(long)ctx->data_end)
		return XDP_ABORTED;
	copy((uint64_t *)f, (const uint64_t *)gen.frame, AB_IN / 8);
	if (gen.vary == AB_PORT) {
		be_put16(p + IP4_HDR, (uint16_t)(1024 + i % 60000));
		return (int)bpf_redirect(gen.interface, 0);
	}
	ip4_change16(
		p, IP4_AT_DST + 2, (uint16_t)(be_get16(p + IP4_AT_DST + 2) + (i >> 16)));
	be_put32(p + IP4_HDR, ab_spi(i));
	return (int)bpf_redirect(gen.interface, 0);
}

SEC("xdp")
int ab_gen_out(struct xdp_md *ctx)
{
	uint8_t *f = (uint8_t *)(long)ctx->data, *p = f + ETH_HLEN + IP4_HDR;
	uint32_t i = pick();

	if (f + AB_OUT > (uint8_t *)(long)ctx->data_end)
		return XDP_ABORTED;
	copy((uint64_t *)f, (const uint64_t *)gen.frame, AB_OUT / 8);
	ip4_change16(
		p, IP4_AT_SRC + 2, (uint16_t)(be_get16(p + IP4_AT_SRC + 2) + (i >> 16)));
	be_put16(p + IP4_HDR, (uint16_t)i);
	return (int)bpf_redirect(gen.interface, 0);
}

SEC("xdp")
int ab_sink(struct xdp_md *ctx)
{
	uint32_t zero = 0;
	uint64_t *n = bpf_map_lookup_elem(&sunk, &zero);

	(void)ctx;
	if (n)
		*n += 1;
	return XDP_DROP;
}

SEC("xdp")
int ab_to_private(struct xdp_md *ctx)
{
	(void)ctx;
	return (int)bpf_redirect_map(&tx, 0, XDP_DROP);
}

SEC("xdp")
int ab_to_public(struct xdp_md *ctx)
{
	(void)ctx;
	return (int)bpf_redirect_map(&tx, 1, XDP_DROP);
}

SEC("xdp")
int ab_pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "BSD";
