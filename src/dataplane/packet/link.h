#pragma once

#include "dataplane/forward.h"

#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

/*
 * One network interface by AF_PACKET: a receive ring shared with the kernel, and frames
 * out in batches.
 */

#define LINK_BATCH 64

struct link_frame {
	uint8_t *l3; /* behind the link header; may be changed */
	size_t len;
	uint16_t protocol;             /* host order: ETH_P_IP, ETH_P_ARP */
	struct virtio_net_hdr offload; /* csum_start counted from l3 */
};

struct link_mac {
	uint8_t len; /* 0 on links without addresses */
	uint8_t byte[8];
};

struct link {
	int rx, tx;
	unsigned int index;
	uint8_t *ring;
	size_t ring_size, frame_size;
	unsigned int frames, next;
	uint8_t *large; /* a frame that did not fit into its place in the ring */
	/* frames that wait for link_flush() */
	struct mmsghdr message[LINK_BATCH];
	struct iovec piece[LINK_BATCH];
	struct sockaddr_ll to[LINK_BATCH];
	uint8_t *out;
	size_t out_used;
	unsigned int n_out, lost_out;
	uint64_t lost; /* frames that were cut or unusable; link_lost() has all */
};

/* What the kernel hands to a receive socket, as a classic filter. */
struct sock_fprog;

/*
 * filter may be NULL.  On failure a negative errno, and what failed in *what (a literal).
 */
int link_open(struct link *l, unsigned int index, uint32_t mtu,
	const struct sock_fprog *filter, const char **what);
void link_close(struct link *l);
/* Go on with another interface (the old one was deleted and made anew): 0 or -errno. */
int link_rebind(struct link *l, unsigned int index);

/* Another filter from now on: 0 or -errno, and the old one stays. */
int link_filter(struct link *l, const struct sock_fprog *filter);

/*
 * Call fn for what has come, at most `most` frames.  Returns how many.
 */
unsigned int link_receive(struct link *l, unsigned int most,
	void (*fn)(void *ctx, struct link_frame *frame), void *ctx);

/* Put one frame into the batch (copied); sends the batch when it is full. */
void link_send(struct link *l, const struct link_mac *to, uint16_t protocol,
	const struct forward_piece *piece, int n);
/* Send the batch.  Returns how many frames the kernel refused since the last call. */
unsigned int link_flush(struct link *l);
/* Frames that came and could not be taken in: ring full, cut, unusable. */
uint64_t link_lost(struct link *l);
