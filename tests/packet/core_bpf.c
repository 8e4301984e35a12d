/*
 * Every packet function of dataplane/core as a BPF program would use it; core_bpf.sh
 * compiles this with -target bpf.  It is compiled only, the programs are elsewhere.
 */
#include "dataplane/core/flow.h"
#include "dataplane/core/icmp.h"
#include "dataplane/core/tunnel.h"
#include "dataplane/core/verdict.h"

struct packet {
	void *data, *end;
	const struct remote *policy;
	uint32_t a, b;
};

static int parse(const struct packet *p, struct ip4 *ip, struct flow *f)
{
	const uint8_t *data = p->data;
	struct flow_ike ike;

	if (!ip4_parse(data, p->end, false, ip) || ip4_is_fragment(ip) ||
		!ip4_is_unicast(ip->src) || ip4_is_source_routed(data, p->end, ip))
		return DP_MARTIAN;
	flow_parse(data + ip->hdr, p->end, ip->proto, f);
	flow_parse_ike(data + ip->hdr + 8, p->end, f->dport == FLOW_NATT_PORT, &ike);
	return ike.kind == FLOW_IKE_COOKIES ? DP_OK : DP_IKE_SHORT;
}

int core_entry(struct packet *p)
{
	uint8_t *data = p->data;
	struct ip4 ip;
	struct flow f;
	int r = parse(p, &ip, &f);

	if (r)
		return r;
	enum dp_reason v = verdict_remote(p->policy, ip.src, &f, f.sport);
	if (v)
		return verdict_error(verdict_further(v, DP_TTL));
	if (data + 64 > (uint8_t *)p->end)
		return DP_MARTIAN;
	int tos = ip4_decap_tos(data[1], ip.tos);
	ip4_hop(data);
	ip4_set_tos(data, (uint8_t)tos);
	tunnel_write(data, tunnel_of_proto(ip.proto), p->a, p->b, 1, &ip);
	if (icmp_may_answer(data, p->end, &ip))
		icmp_write_error(data, p->a, p->b, ICMP_UNREACHABLE, ICMP_FRAG_NEEDED,
			1400, 28, csum_sum20(data));
	return tunnel_inner(data, p->end, &ip);
}
