/*
 * Frames of one interface.
 *
 * The ring is of version 2 and not 3: version 3 hands over blocks, so a lone packet waits
 * for its block's timer, a millisecond or more each way.  Frames of the usual size fit
 * their place in the ring; the 64 kB segments that a veth may carry come by recvmsg()
 * instead (PACKET_COPY_THRESH), in order, which spares a ring of 64 kB places.
 *
 * ETH_P_ALL, as only such sockets see a packet before the ingress hook that drops it for
 * the kernel.
 */
#include "dataplane/packet/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RING_SIZE  (8U << 20)
#define BLOCK_SIZE (64U << 10)
#define FRAME_MIN  2048U
#define FRAME_MAX  16384U
#define FRAME_ROOM 160U /* the ring's own header and the link header */
/* Where the ring puts the sender's address: behind its header, aligned. */
#define FRAME_ADDR                                                                   \
	((sizeof(struct tpacket2_hdr) + TPACKET_ALIGNMENT - 1) / TPACKET_ALIGNMENT * \
		TPACKET_ALIGNMENT)
#define LARGE_SIZE (65536U + 256U)
#define OUT_SIZE   (LINK_BATCH * 2048U + 65536U)
#define SOCK_BUF   (4 << 20)

static int set_option(int fd, int option, int value)
{
	return setsockopt(fd, SOL_PACKET, option, &value, sizeof value) ? -errno : 0;
}

int link_filter(struct link *l, const struct sock_fprog *filter)
{
	return setsockopt(l->rx, SOL_SOCKET, SO_ATTACH_FILTER, filter, sizeof *filter)
		       ? -errno
		       : 0;
}

static int map_ring(struct link *l, uint32_t mtu)
{
	l->frame_size = FRAME_MIN;
	while (l->frame_size < FRAME_MAX && l->frame_size < mtu + FRAME_ROOM)
		l->frame_size *= 2;
	l->ring_size = RING_SIZE;
	l->frames = (unsigned int)(l->ring_size / l->frame_size);
	struct tpacket_req req = {
		.tp_block_size = BLOCK_SIZE,
		.tp_block_nr = RING_SIZE / BLOCK_SIZE,
		.tp_frame_size = (unsigned int)l->frame_size,
		.tp_frame_nr = l->frames,
	};
	if (setsockopt(l->rx, SOL_PACKET, PACKET_RX_RING, &req, sizeof req))
		return -errno;
	void *at = mmap(NULL, l->ring_size, PROT_READ | PROT_WRITE, MAP_SHARED, l->rx, 0);
	if (at == MAP_FAILED)
		return -errno;
	l->ring = at;
	return 0;
}

int link_rebind(struct link *l, unsigned int index)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)index };

	l->index = index;
	return bind(l->rx, (struct sockaddr *)&to, sizeof to) ? -errno : 0;
}

static int open_rx(struct link *l, uint32_t mtu, const struct sock_fprog *filter)
{
	int big = SOCK_BUF;

	/* Protocol 0: nothing arrives before the ring, the filter and the interface
	 * stand. */
	l->rx = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->rx < 0)
		return -errno;
	(void)setsockopt(l->rx, SOL_SOCKET, SO_RCVBUF, &big, sizeof big);
	int err = set_option(l->rx, PACKET_VERSION, TPACKET_V2);
	err = err ? err : set_option(l->rx, PACKET_VNET_HDR, 1);
	err = err ? err : set_option(l->rx, PACKET_COPY_THRESH, 1);
	err = err ? err : set_option(l->rx, PACKET_IGNORE_OUTGOING, 1);
	err = err ? err : map_ring(l, mtu);
	if (!err && filter)
		err = link_filter(l, filter);
	return err ? err : link_rebind(l, l->index);
}

static int open_tx(struct link *l)
{
	int big = SOCK_BUF;

	l->tx = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->tx < 0)
		return -errno;
	(void)setsockopt(l->tx, SOL_SOCKET, SO_SNDBUF, &big, sizeof big);
	return 0;
}

static void prepare_batch(struct link *l)
{
	for (unsigned int i = 0; i < LINK_BATCH; i++)
		l->message[i].msg_hdr = (struct msghdr){
			.msg_name = &l->to[i],
			.msg_namelen = sizeof l->to[i],
			.msg_iov = &l->piece[i],
			.msg_iovlen = 1,
		};
}

int link_open(struct link *l, unsigned int index, uint32_t mtu,
	const struct sock_fprog *filter, const char **what)
{
	memset(l, 0, sizeof *l);
	l->rx = l->tx = -1;
	l->index = index;
	l->large = malloc(LARGE_SIZE);
	l->out = malloc(OUT_SIZE);
	*what = "memory for frames";
	int err = l->large && l->out ? 0 : -ENOMEM;
	if (!err) {
		*what = "packet socket for receiving";
		err = open_rx(l, mtu, filter);
	}
	if (!err) {
		*what = "packet socket for sending";
		err = open_tx(l);
	}
	prepare_batch(l);
	if (err)
		link_close(l);
	return err;
}

void link_close(struct link *l)
{
	if (l->ring)
		(void)munmap(l->ring, l->ring_size);
	if (l->rx >= 0)
		(void)close(l->rx);
	if (l->tx >= 0)
		(void)close(l->tx);
	free(l->large);
	free(l->out);
	l->ring = l->large = l->out = NULL;
	l->rx = l->tx = -1;
}

/* csum_start counts from the link header; from here on from the packet. */
static bool rebase(struct link_frame *f, size_t link_hdr)
{
	if (!(f->offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return true;
	if (f->offload.csum_start < link_hdr)
		return false;
	f->offload.csum_start = (uint16_t)(f->offload.csum_start - link_hdr);
	return true;
}

/* The whole of a frame that was cut in the ring is next in the socket's queue. */
static bool take_large(struct link *l, struct link_frame *f, size_t link_hdr)
{
	struct iovec piece[] = { { &f->offload, sizeof f->offload },
		{ l->large, LARGE_SIZE } };
	struct msghdr m = { .msg_iov = piece, .msg_iovlen = 2 };
	ssize_t n = recvmsg(l->rx, &m, MSG_DONTWAIT);

	if (n < (ssize_t)(sizeof f->offload + link_hdr) || (m.msg_flags & MSG_TRUNC))
		return false;
	f->l3 = l->large + link_hdr;
	f->len = (size_t)n - sizeof f->offload - link_hdr;
	return true;
}

static bool take_frame(struct link *l, uint8_t *at, uint32_t status, struct link_frame *f)
{
	const struct tpacket2_hdr *h = (const void *)at;
	size_t link_hdr = (size_t)h->tp_net - h->tp_mac;

	if (status & TP_STATUS_COPY) {
		if (!take_large(l, f, link_hdr))
			return false;
	} else {
		if (h->tp_snaplen < h->tp_len || h->tp_snaplen < link_hdr)
			return false;
		f->l3 = at + h->tp_net;
		f->len = h->tp_snaplen - link_hdr;
		memcpy(&f->offload, at + h->tp_mac - sizeof f->offload,
			sizeof f->offload);
	}
	return rebase(f, link_hdr);
}

/* Frames for us without a VLAN tag: a tagged one belongs to another interface. */
static bool is_ours(const struct sockaddr_ll *from, uint32_t status)
{
	return !(status & TP_STATUS_VLAN_VALID) &&
	       (from->sll_pkttype == PACKET_HOST ||
		       (from->sll_pkttype == PACKET_BROADCAST &&
			       from->sll_protocol == htons(ETH_P_ARP)));
}

unsigned int link_receive(struct link *l, unsigned int most,
	void (*fn)(void *ctx, struct link_frame *frame), void *ctx)
{
	unsigned int n = 0;

	for (; n < most; n++) {
		uint8_t *at = l->ring + (size_t)l->next * l->frame_size;
		struct tpacket2_hdr *h = (struct tpacket2_hdr *)(void *)at;
		uint32_t status = __atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE);
		struct sockaddr_ll from;
		struct link_frame f;

		if (!(status & TP_STATUS_USER))
			break;
		memcpy(&from, at + FRAME_ADDR, sizeof from);
		f.protocol = ntohs(from.sll_protocol);
		if (!take_frame(l, at, status, &f))
			l->lost++;
		else if (is_ours(&from, status))
			fn(ctx, &f);
		__atomic_store_n(&h->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		l->next = l->next + 1 == l->frames ? 0 : l->next + 1;
	}
	if (n == 0) {
		/* A link that went down leaves an error that would make poll() spin. */
		int ignored;
		socklen_t size = sizeof ignored;
		(void)getsockopt(l->rx, SOL_SOCKET, SO_ERROR, &ignored, &size);
	}
	return n;
}

/*
 * Send what is in the batch; returns how many frames the kernel refused.  One it refuses
 * (link down, queue full) is given up, the rest still goes.
 */
static unsigned int send_batch(struct link *l)
{
	unsigned int refused = 0;

	for (unsigned int done = 0; done < l->n_out;) {
		int n = sendmmsg(l->tx, l->message + done, l->n_out - done, MSG_DONTWAIT);

		if (n > 0) {
			done += (unsigned int)n;
		} else if (errno != EINTR) {
			refused++;
			done++;
		}
	}
	l->n_out = 0;
	l->out_used = 0;
	return refused;
}

void link_send(struct link *l, const struct link_mac *to, uint16_t protocol,
	const struct forward_piece *piece, int n)
{
	size_t len = 0;

	for (int i = 0; i < n; i++)
		len += piece[i].len;
	if (l->n_out == LINK_BATCH || l->out_used + len > OUT_SIZE)
		l->lost_out += send_batch(l);
	uint8_t *at = l->out + l->out_used;
	l->piece[l->n_out] = (struct iovec){ at, len };
	for (int i = 0; i < n; i++) {
		memcpy(at, piece[i].at, piece[i].len);
		at += piece[i].len;
	}
	struct sockaddr_ll *addr = &l->to[l->n_out];
	*addr = (struct sockaddr_ll){ .sll_family = AF_PACKET,
		.sll_protocol = htons(protocol),
		.sll_ifindex = (int)l->index,
		.sll_halen = to->len };
	memcpy(addr->sll_addr, to->byte, sizeof to->byte);
	l->out_used += len;
	l->n_out++;
}

unsigned int link_flush(struct link *l)
{
	unsigned int refused = l->lost_out + send_batch(l);

	l->lost_out = 0;
	return refused;
}

uint64_t link_lost(struct link *l)
{
	struct tpacket_stats stats;
	socklen_t size = sizeof stats;

	/* Reading resets the kernel's count. */
	if (getsockopt(l->rx, SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0)
		l->lost += stats.tp_drops;
	return l->lost;
}
