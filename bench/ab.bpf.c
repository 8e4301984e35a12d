/*
 * The generator, the sink, and what stands beside the gateway: an empty redirect and a
 * program that leaves all to the kernel.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_helpers.h>

#include "bench/gen.bpf.h"

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

SEC("xdp")
int ab_gen_in(struct xdp_md *ctx)
{
	return gen_frame(ctx, &gen, AB_IN) ? (int)bpf_redirect(gen.interface, 0)
					   : XDP_ABORTED;
}

SEC("xdp")
int ab_gen_out(struct xdp_md *ctx)
{
	return gen_frame(ctx, &gen, AB_OUT) ? (int)bpf_redirect(gen.interface, 0)
					    : XDP_ABORTED;
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
