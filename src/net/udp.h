#pragma once

#include "net/net.h"

/*
 * One UDP socket.  libuv's own UDP tells no destination address and sets no source, so
 * the socket is polled and read with recvmmsg() and IP_PKTINFO.
 */

struct udp_batch;

/* Buffers shared by all sockets of a loop; NULL when memory is short. */
struct udp_batch *udp_batch_new(void);
void udp_batch_free(struct udp_batch *b);

struct udp;

int udp_new(uv_loop_t *loop, const struct net_endpoint *at, const struct net_conf *conf,
	struct udp_batch *batch, struct net_counters *counters, struct udp **udp);
/* Calls closed(ctx) when the loop has let go of it. */
void udp_free(struct udp *u, void (*closed)(void *ctx), void *ctx);

const struct net_endpoint *udp_endpoint(const struct udp *u);
/* Is this the socket that a message from this address and port leaves from? */
bool udp_serves(const struct udp *u, uint32_t local, uint16_t local_port);
/* Queue; what does not fit into the batch any more leaves at once. */
void udp_send(struct udp *u, const struct peer *to, const uint8_t *bytes, size_t len);
void udp_flush(struct udp *u);
/* Attach the places of the configuration anew; -errno. */
int udp_place(const struct udp *u);
uint64_t udp_kernel_dropped(const struct udp *u);
