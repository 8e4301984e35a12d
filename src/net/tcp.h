#pragma once

#include "net/net.h"

/*
 * TCP: listeners and one table of connections over all of them.  A connection has one
 * read buffer and one write buffer, both bounded; it is not read from while its host does
 * not read its answers.
 */
struct tcp;

/* `conf` is borrowed for life; limits are read from there. */
int tcp_new(uv_loop_t *loop, const struct net_conf *conf, struct net_counters *counters,
	struct tcp **tcp);
int tcp_listen(struct tcp *t, const struct net_endpoint *at);
/* Its connections stay. */
void tcp_unlisten(struct tcp *t, const struct net_endpoint *at);
/* Calls closed(ctx) when the loop has let go of everything. */
void tcp_free(struct tcp *t, void (*closed)(void *ctx), void *ctx);

/* Queue for a connection: see net_send(). */
int tcp_send(struct tcp *t, uint64_t conn, const uint8_t *bytes, size_t len, bool close);
void tcp_owe(struct tcp *t, uint64_t conn, int answers);
void tcp_flush(struct tcp *t);

/* Attach the places of the configuration anew, to what listens; -errno. */
int tcp_place(const struct tcp *t);
uint64_t tcp_kernel_dropped(const struct tcp *t);
