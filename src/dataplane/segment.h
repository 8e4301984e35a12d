#pragma once

#include <linux/virtio_net.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What a veth or a guest leaves to hardware that is not there: a checksum to be filled
 * in, or one large TCP or UDP packet to be cut (testers' "offloads").  Both are finished
 * here, before a packet is put in a tunnel or sent on.
 */

typedef void (*segment_fn)(void *ctx, uint8_t *packet, size_t len);

/*
 * The IPv4 packet at p (which may itself be a tunnel packet), as described by hdr with
 * csum_start counted from p.  Calls fn for each finished packet, in order; scratch holds
 * 65536 bytes for them.  Returns how many packets, or ERR_MALFORMED when hdr does not fit
 * the packet; nothing was passed on then.
 */
int segment_each(uint8_t *p, size_t len, const struct virtio_net_hdr *hdr,
	uint8_t *scratch, segment_fn fn, void *ctx);
