/*
 * Checksum completion and software segmentation.
 */
#include "dataplane/segment.h"

#include "base/err.h"
#include "dataplane/core/tunnel.h"

#include <string.h>

#define LEVELS      3 /* IP headers one in another */
#define TCP_FIN     0x01
#define TCP_PSH     0x08
#define TCP_CWR     0x80
#define UDP_HDR     8
#define AT_FLAGS    13

#define TCP_AT_CSUM 16U
#define UDP_AT_CSUM 6U

/* VIRTIO_NET_HDR_GSO_UDP_L4 of newer headers. */
#define GSO_UDP_L4 5

/* Where the headers of a large packet are. */
struct layout {
	uint16_t ip[LEVELS];
	int levels;
	uint16_t l4, data; /* transport header, payload */
	uint8_t proto;
};

static int find_headers(const uint8_t *p, size_t len, struct layout *l)
{
	size_t at = 0;

	for (l->levels = 0; l->levels < LEVELS; l->levels++) {
		struct ip4 ip;

		if (!ip4_parse(p + at, p + len, true, &ip) || ip4_is_fragment(&ip))
			return ERR_MALFORMED;
		l->ip[l->levels] = (uint16_t)at;
		if (!tunnel_of_proto(ip.proto)) {
			l->levels++;
			l->proto = ip.proto;
			l->l4 = (uint16_t)(at + ip.hdr);
			return 0;
		}
		size_t inner = tunnel_inner(p + at, p + len, &ip);
		if (inner == 0)
			return ERR_MALFORMED;
		at += inner;
	}
	return ERR_MALFORMED;
}

static int find_payload(const uint8_t *p, size_t len, struct layout *l)
{
	size_t hdr = UDP_HDR;

	if (l->proto == IP4_TCP) {
		if (l->l4 + 20U > len)
			return ERR_MALFORMED;
		hdr = (size_t)(p[l->l4 + 12] >> 4) * 4;
		if (hdr < 20)
			return ERR_MALFORMED;
	} else if (l->proto != IP4_UDP) {
		return ERR_MALFORMED;
	}
	if (l->l4 + hdr > len)
		return ERR_MALFORMED;
	l->data = (uint16_t)(l->l4 + hdr);
	return 0;
}

/* The checksum field holds the pseudo header's sum already. */
static int complete(uint8_t *p, size_t len, const struct virtio_net_hdr *hdr)
{
	size_t start = hdr->csum_start, at = start + hdr->csum_offset;

	if (at + 2 > len)
		return ERR_MALFORMED;
	uint16_t sum = csum_fold(csum_sum(p + start, (uint32_t)(len - start), 0));
	be_put16(p + at, sum || hdr->csum_offset != UDP_AT_CSUM ? sum : 0xffff);
	return 0;
}

static void finish_ip(uint8_t *s, size_t len, const struct layout *l, uint32_t index)
{
	for (int i = 0; i < l->levels; i++) {
		uint8_t *ip = s + l->ip[i];

		ip4_change16(ip, IP4_AT_LEN, (uint16_t)(len - l->ip[i]));
		ip4_change16(ip, IP4_AT_ID, (uint16_t)(be_get16(ip + IP4_AT_ID) + index));
	}
}

static void finish_l4(uint8_t *s, size_t len, const struct layout *l)
{
	const uint8_t *ip = s + l->ip[l->levels - 1];
	uint32_t n = (uint32_t)(len - l->l4);
	size_t at = l->l4 + (l->proto == IP4_TCP ? TCP_AT_CSUM : UDP_AT_CSUM);

	if (l->proto == IP4_UDP)
		be_put16(s + l->l4 + 4, (uint16_t)n);
	be_put16(s + at, 0);
	uint32_t sum = csum_pseudo(
		be_get32(ip + IP4_AT_SRC), be_get32(ip + IP4_AT_DST), l->proto, n);
	uint16_t csum = csum_fold(csum_sum(s + l->l4, n, sum));
	be_put16(s + at, csum || l->proto != IP4_UDP ? csum : 0xffff);
}

static void finish_tcp(uint8_t *tcp, uint32_t done, bool first, bool last)
{
	be_put32(tcp + 4, be_get32(tcp + 4) + done);
	if (!last)
		tcp[AT_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (!first)
		tcp[AT_FLAGS] &= (uint8_t)~TCP_CWR;
}

static int cut(
	uint8_t *p, size_t len, uint16_t size, uint8_t *scratch, segment_fn fn, void *ctx)
{
	struct layout l;
	int err = find_headers(p, len, &l);

	err = err ? err : find_payload(p, len, &l);
	if (err || size == 0 || (size_t)l.data + size > 65535)
		return err ? err : ERR_MALFORMED;
	size_t data = len - l.data;
	uint32_t index = 0;
	for (size_t at = 0; at < data; at += size, index++) {
		size_t n = data - at < size ? data - at : size;

		memcpy(scratch, p, l.data);
		memcpy(scratch + l.data, p + l.data + at, n);
		finish_ip(scratch, l.data + n, &l, index);
		if (l.proto == IP4_TCP)
			finish_tcp(scratch + l.l4, (uint32_t)at, at == 0, at + n == data);
		finish_l4(scratch, l.data + n, &l);
		fn(ctx, scratch, l.data + n);
	}
	return (int)index;
}

int segment_each(uint8_t *p, size_t len, const struct virtio_net_hdr *hdr,
	uint8_t *scratch, segment_fn fn, void *ctx)
{
	uint8_t kind = hdr->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	struct ip4 ip;

	/* What is behind the packet is padding of a short frame. */
	if (ip4_parse(p, p + len, true, &ip) && ip.len < len)
		len = ip.len;

	if (kind == VIRTIO_NET_HDR_GSO_TCPV4 || kind == GSO_UDP_L4)
		return cut(p, len, hdr->gso_size, scratch, fn, ctx);
	if (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		int err = complete(p, len, hdr);
		if (err)
			return err;
	}
	fn(ctx, p, len);
	return 1;
}
