/*
 * UDP in batches.  Answers for: each answer leaves from the address and port its request
 * was sent to, and a full send buffer drops (the host retransmits) instead of blocking.
 */
#include "net/udp.h"

#include "base/err.h"
#include "wire/msg.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH 32
/*
 * Batches read in one call: enough that a thousand busy hosts share one commit, few
 * enough that one busy socket does not keep the others waiting.
 */
#define BATCHES_A_CALL 64
#define DATAGRAM       65536
/* From one buffer to the next: not a power of two, or the starts of all of them, which is
 * all that most datagrams fill, would compete for the same lines of the cache. */
#define DATAGRAM_STEP (DATAGRAM + 192)
/* Bytes of answers in one batch: many small ones, or one of the longest. */
#define OUT_BYTES (256 * 1024)
#define BUFFER    (4 * 1024 * 1024) /* asked of the kernel, both ways */

union control {
	char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
	struct cmsghdr align;
};

struct udp_batch {
	/* in */
	struct mmsghdr in[BATCH];
	struct iovec in_at[BATCH];
	struct sockaddr_in in_from[BATCH];
	union control in_control[BATCH];
	uint8_t *in_bytes;
	/* out: of one socket at a time */
	struct udp *owner;
	unsigned int n;
	size_t used;
	struct mmsghdr out[BATCH];
	struct iovec out_at[BATCH];
	struct sockaddr_in out_to[BATCH];
	union control out_control[BATCH];
	uint8_t out_bytes[OUT_BYTES];
};

struct udp {
	uv_poll_t poll;
	int fd;
	struct net_endpoint at;
	const struct net_conf *conf;
	struct udp_batch *batch;
	struct net_counters *counters;
	bool closing;
	void (*closed)(void *ctx);
	void *closed_ctx;
};

struct udp_batch *udp_batch_new(void)
{
	struct udp_batch *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	b->in_bytes = malloc((size_t)BATCH * DATAGRAM_STEP);
	if (b->in_bytes == NULL) {
		free(b);
		return NULL;
	}
	for (size_t i = 0; i < BATCH; i++)
		b->in_at[i] = (struct iovec){ b->in_bytes + i * DATAGRAM_STEP, DATAGRAM };
	return b;
}

void udp_batch_free(struct udp_batch *b)
{
	if (b == NULL)
		return;
	free(b->in_bytes);
	free(b);
}

/* --- in -------------------------------------------------------------------------------
 */

/*
 * The address of ours that a datagram was sent to; 0 if the kernel did not say.  A socket
 * that is bound to one address needs no telling, and is spared the control messages.
 */
static uint32_t local_of(const struct udp *u, struct msghdr *m)
{
	if (u->at.addr != 0)
		return u->at.addr;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
		struct in_pktinfo info;

		if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_PKTINFO)
			continue;
		memcpy(&info, CMSG_DATA(c), sizeof(info));
		/* Sent to a broadcast address it is the address to answer from. */
		return ntohl(info.ipi_spec_dst.s_addr);
	}
	return 0;
}

static void challenge(struct udp *u, const struct peer *to,
	const struct guard_from *stale, const uint8_t *bytes, size_t len)
{
	uint8_t buf[128];
	bool found;
	uint32_t counter = wire_find_counter(bytes, len, &found);
	int n = guard_challenge(u->conf->proof.guard, to->addr, to->local, stale, counter,
		uv_now(u->poll.loop), buf, sizeof(buf));

	u->counters->seals_stale++;
	if (n > 0)
		udp_send(u, to, buf, (size_t)n);
}

/* Who it is from, by its seal; false: it has been answered here. */
static bool open_seal(struct udp *u, struct peer *from, uint8_t *bytes, size_t *len)
{
	struct guard_from proven;

	switch (guard_open(
		u->conf->proof.guard, from->addr, from->local, bytes, len, &proven)) {
	case GUARD_PLAIN:
		return true;
	case GUARD_GOOD:
		u->counters->seals_good++;
		from->guard = PEER_SEALED;
		from->identity = proven.identity;
		from->key_id = proven.key_id;
		from->number = proven.number;
		return true;
	case GUARD_STALE:
		challenge(u, from, &proven, bytes, *len);
		return false;
	case GUARD_BAD:
		break;
	}
	u->counters->seals_bad++;
	from->guard = PEER_BAD;
	return true;
}

static void deliver(struct udp *u, struct udp_batch *b, unsigned int i)
{
	struct peer from = {
		.transport = TRANSPORT_UDP,
		.addr = ntohl(b->in_from[i].sin_addr.s_addr),
		.port = ntohs(b->in_from[i].sin_port),
		.local = local_of(u, &b->in[i].msg_hdr),
		.local_port = u->at.port,
	};

	size_t len = b->in[i].msg_len;

	u->counters->udp_received++;
	if (from.local == 0 || from.port == 0)
		return; /* nobody to answer, nothing to answer from */
	if (u->conf->proof.guard == NULL ||
		open_seal(u, &from, b->in_at[i].iov_base, &len))
		u->conf->message(u->conf->ctx, &from, b->in_at[i].iov_base, len);
}

/* Returns how many came. */
static int receive(struct udp *u)
{
	struct udp_batch *b = u->batch;
	bool any = u->at.addr == 0;
	int n;

	for (unsigned int i = 0; i < BATCH; i++)
		b->in[i].msg_hdr = (struct msghdr){
			.msg_name = &b->in_from[i],
			.msg_namelen = sizeof(b->in_from[i]),
			.msg_iov = &b->in_at[i],
			.msg_iovlen = 1,
			.msg_control = any ? b->in_control[i].bytes : NULL,
			.msg_controllen = any ? sizeof(b->in_control[i].bytes) : 0,
		};
	n = recvmmsg(u->fd, b->in, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n && !u->closing; i++)
		deliver(u, b, (unsigned int)i);
	return n;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct udp *u = poll->data;

	(void)events;
	if (status != 0)
		return;
	for (int i = 0; i < BATCHES_A_CALL && !u->closing; i++)
		if (receive(u) < BATCH)
			return;
}

/* --- out ------------------------------------------------------------------------------
 */

static void batch_send(struct udp_batch *b)
{
	struct udp *u = b->owner;
	unsigned int at = 0;

	while (at < b->n) {
		int sent = sendmmsg(u->fd, b->out + at, b->n - at, MSG_DONTWAIT);

		if (sent > 0) {
			at += (unsigned int)sent;
			u->counters->udp_sent += (uint64_t)sent;
		} else if (sent < 0 && errno != EINTR) {
			/* This one cannot leave (no route, buffer full): the host asks
			 * again. */
			at++;
			u->counters->udp_unsent++;
		}
	}
	b->n = 0;
	b->used = 0;
}

static void control_fill(union control *control, uint32_t local)
{
	const struct in_pktinfo info = { .ipi_spec_dst.s_addr = htonl(local) };

	memset(control, 0, sizeof(*control));
	control->align.cmsg_level = IPPROTO_IP;
	control->align.cmsg_type = IP_PKTINFO;
	control->align.cmsg_len = CMSG_LEN(sizeof(info));
	memcpy(CMSG_DATA(&control->align), &info, sizeof(info));
}

/* Whoever proved who he is gets answers that are proven; the length, or 0. */
static size_t seal(const struct udp *u, const struct peer *to, uint8_t *bytes, size_t len)
{
	const struct guard_from key = { to->identity, to->number, to->key_id };
	int n;

	if (to->identity == 0)
		return len;
	if (u->conf->proof.guard == NULL)
		return 0; /* its key is gone, and plain it would not be believed */
	n = guard_seal(u->conf->proof.guard, to->addr, to->local, &key, bytes, len,
		len + SEAL_LEN);
	return n > 0 ? (size_t)n : 0;
}

void udp_send(struct udp *u, const struct peer *to, const uint8_t *bytes, size_t len)
{
	struct udp_batch *b = u->batch;
	uint8_t *at;
	unsigned int i;

	if (len > RSIP_UDP_MAX) {
		u->counters->udp_unsent++;
		return;
	}
	if (b->n > 0 && (b->owner != u || b->n == BATCH ||
				len + SEAL_LEN > sizeof(b->out_bytes) - b->used))
		batch_send(b);
	at = b->out_bytes + b->used;
	memcpy(at, bytes, len);
	len = seal(u, to, at, len);
	if (len == 0) {
		u->counters->udp_unsent++;
		return;
	}
	i = b->n++;
	b->owner = u;
	b->out_at[i] = (struct iovec){ b->out_bytes + b->used, len };
	b->used += len;
	b->out_to[i] = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(to->port),
		.sin_addr.s_addr = htonl(to->addr),
	};
	b->out[i].msg_hdr = (struct msghdr){
		.msg_name = &b->out_to[i],
		.msg_namelen = sizeof(b->out_to[i]),
		.msg_iov = &b->out_at[i],
		.msg_iovlen = 1,
	};
	if (u->at.addr != 0)
		return;
	control_fill(&b->out_control[i], to->local);
	b->out[i].msg_hdr.msg_control = b->out_control[i].bytes;
	b->out[i].msg_hdr.msg_controllen = sizeof(b->out_control[i].bytes);
}

void udp_flush(struct udp *u)
{
	if (u->batch->owner == u)
		batch_send(u->batch);
}

int udp_place(const struct udp *u)
{
	return place_attach(u->fd, u->conf->places, u->conf->n_places);
}

uint64_t udp_kernel_dropped(const struct udp *u)
{
	return place_dropped(u->fd);
}

const struct net_endpoint *udp_endpoint(const struct udp *u)
{
	return &u->at;
}

bool udp_serves(const struct udp *u, uint32_t local, uint16_t local_port)
{
	return u->at.port == local_port && (u->at.addr == 0 || u->at.addr == local);
}

/* --- life -----------------------------------------------------------------------------
 */

static int socket_open(const struct net_endpoint *at, int *result)
{
	const struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(at->port),
		.sin_addr.s_addr = htonl(at->addr),
	};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, size = BUFFER, err = 0;

	if (fd < 0)
		return -errno;
	if ((at->addr == 0 &&
		    setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) != 0) ||
		bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0)
		err = -errno;
	/* As far as the kernel lets us; both work without. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (err != 0)
		(void)close(fd);
	else
		*result = fd;
	return err;
}

int udp_new(uv_loop_t *loop, const struct net_endpoint *at, const struct net_conf *conf,
	struct udp_batch *batch, struct net_counters *counters, struct udp **udp)
{
	struct udp *u = calloc(1, sizeof(*u));
	int err;

	if (u == NULL)
		return -ENOMEM;
	*u = (struct udp){
		.at = *at, .conf = conf, .batch = batch, .counters = counters
	};
	err = socket_open(at, &u->fd);
	if (err != 0) {
		free(u);
		return err;
	}
	err = udp_place(u);
	if (err == 0)
		err = uv_poll_init(loop, &u->poll, u->fd);
	if (err != 0) {
		(void)close(u->fd);
		free(u);
		return err;
	}
	u->poll.data = u;
	(void)uv_poll_start(&u->poll, UV_READABLE, on_readable);
	*udp = u;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct udp *u = handle->data;
	void (*closed)(void *ctx) = u->closed;
	void *ctx = u->closed_ctx;

	free(u);
	closed(ctx);
}

void udp_free(struct udp *u, void (*closed)(void *ctx), void *ctx)
{
	udp_flush(u);
	u->closing = true;
	u->closed = closed;
	u->closed_ctx = ctx;
	if (u->batch->owner == u)
		u->batch->owner = NULL;
	(void)uv_poll_stop(&u->poll);
	(void)close(u->fd);
	uv_close((uv_handle_t *)&u->poll, on_closed);
}
