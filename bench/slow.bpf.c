/* The two ways off the fast path: on to the packet socket, or to a TAP device. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

__u32 tap;

SEC("xdp")
int slow_pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

SEC("xdp")
int slow_tap(struct xdp_md *ctx)
{
	(void)ctx;
	return (int)bpf_redirect(tap, 0);
}

char LICENSE[] SEC("license") = "BSD";
