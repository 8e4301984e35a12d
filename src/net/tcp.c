/*
 * TCP listeners and the table of their connections: accepting, caps, numbers, the sweep
 * for those that have idled or stalled too long.
 */
#include "net/tcp.h"

#include "base/err.h"
#include "net/tcp_conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BACKLOG     512
#define SWEEP_MS    500
#define KEEPALIVE_S 60

struct tcp_listener {
	struct tcp *tcp;
	struct tcp_listener *next;
	uv_tcp_t handle;
	struct net_endpoint at;
};

static void handle_gone(struct tcp *t)
{
	void (*closed)(void *ctx) = t->closed;
	void *ctx = t->closed_ctx;

	if (--t->handles > 0 || !t->closing)
		return;
	free(t);
	closed(ctx);
}

/* --- the table ------------------------------------------------------------------------
 */

static void list_del(struct tcp *t, struct tcp_conn *c)
{
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		t->oldest = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	else
		t->newest = c->prev;
}

static void list_add(struct tcp *t, struct tcp_conn *c)
{
	c->next = NULL;
	c->prev = t->newest;
	if (t->newest != NULL)
		t->newest->next = c;
	else
		t->oldest = c;
	t->newest = c;
}

void tcp_conn_used(struct tcp_conn *c)
{
	c->idle_ms = uv_now(c->tcp->loop);
	list_del(c->tcp, c);
	list_add(c->tcp, c);
}

void tcp_mark_dirty(struct tcp_conn *c)
{
	if (c->dirty || c->closing)
		return;
	c->dirty = true;
	c->dirty_next = c->tcp->dirty;
	c->tcp->dirty = c;
}

static void dirty_del(struct tcp_conn *c)
{
	struct tcp_conn **at = &c->tcp->dirty;

	if (!c->dirty)
		return;
	while (*at != NULL && *at != c)
		at = &(*at)->dirty_next;
	if (*at != NULL) /* else a flush has the list in hand, and will see `closing` */
		*at = c->dirty_next;
	c->dirty = false;
}

static void on_conn_closed(uv_handle_t *handle)
{
	struct tcp_conn *c = handle->data;
	struct tcp *t = c->tcp;

	tls_free(c->tls);
	free(c->in);
	free(c->out);
	free(c);
	handle_gone(t);
}

void tcp_conn_close(struct tcp_conn *c, enum net_close why)
{
	struct tcp *t = c->tcp;

	if (c->closing)
		return;
	dirty_del(c);
	c->closing = true;
	list_del(t, c);
	HASH_DEL(t->by_number, c);
	t->counters->tcp_open--;
	if (why < NET_CLOSES)
		t->counters->tcp_closed[why]++;
	uv_close((uv_handle_t *)&c->handle, on_conn_closed);
	t->conf->closed(t->conf->ctx, c->peer.conn);
}

/* --- accepting ------------------------------------------------------------------------
 */

static int addresses(struct tcp_conn *c)
{
	struct sockaddr_in at;
	int len = sizeof(at),
	    err = uv_tcp_getpeername(&c->handle, (struct sockaddr *)&at, &len);

	if (err != 0)
		return err;
	c->peer.addr = ntohl(at.sin_addr.s_addr);
	c->peer.port = ntohs(at.sin_port);
	len = sizeof(at);
	err = uv_tcp_getsockname(&c->handle, (struct sockaddr *)&at, &len);
	if (err != 0)
		return err;
	c->peer.local = ntohl(at.sin_addr.s_addr);
	c->peer.local_port = ntohs(at.sin_port);
	return 0;
}

/* A host at its cap gives up the connection that it has not used the longest. */
static void host_cap(struct tcp *t, uint32_t addr)
{
	struct tcp_conn *oldest = NULL;
	uint32_t n = 0;

	for (struct tcp_conn *c = t->newest; c != NULL; c = c->prev) {
		if (c->peer.addr != addr)
			continue;
		oldest = c;
		n++;
	}
	if (n >= t->conf->limits.connections_per_host)
		tcp_conn_close(oldest, NET_CLOSE_HOST);
}

static void conn_add(struct tcp *t, struct tcp_conn *c)
{
	c->peer.transport = TRANSPORT_TCP;
	c->peer.conn = ++t->last_number;
	host_cap(t, c->peer.addr);
	HASH_ADD(hh, t->by_number, peer.conn, sizeof(c->peer.conn), c);
}

/* All of them only shorten a wait; a kernel that refuses one costs nothing else. */
static void options_set(struct tcp_conn *c)
{
	unsigned int stall_ms = (unsigned int)c->tcp->conf->limits.stall_ms;
	uv_os_fd_t fd;

	(void)uv_tcp_nodelay(&c->handle, 1);
	(void)uv_tcp_keepalive(&c->handle, 1, KEEPALIVE_S);
	/* The kernel's buffer is ours too: answers that nobody fetches from there. */
	if (uv_fileno((uv_handle_t *)&c->handle, &fd) == 0)
		(void)setsockopt(
			fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &stall_ms, sizeof(stall_ms));
}

static void on_refused(uv_handle_t *handle)
{
	struct tcp_conn *c = handle->data;
	struct tcp *t = c->tcp;

	free(c);
	handle_gone(t);
}

static void on_connection(uv_stream_t *server, int status)
{
	struct tcp_listener *l = server->data;
	struct tcp *t = l->tcp;
	struct tcp_conn *c = status == 0 ? calloc(1, sizeof(*c)) : NULL;

	if (c == NULL) {
		t->counters->tcp_closed[NET_CLOSE_MEMORY]++;
		return;
	}
	c->tcp = t;
	(void)uv_tcp_init(t->loop, &c->handle);
	c->handle.data = c;
	t->handles++;
	if (uv_accept(server, (uv_stream_t *)&c->handle) != 0 || addresses(c) != 0) {
		uv_close((uv_handle_t *)&c->handle, on_refused);
		return;
	}
	if (t->counters->tcp_open >= t->conf->limits.connections) {
		t->counters->tcp_closed[NET_CLOSE_TOTAL]++;
		uv_close((uv_handle_t *)&c->handle, on_refused);
		return;
	}
	conn_add(t, c);
	list_add(t, c);
	t->counters->tcp_open++;
	t->counters->tcp_accepted++;
	options_set(c);
	tcp_conn_start(c);
}

/* --- turns ----------------------------------------------------------------------------
 */

int tcp_send(struct tcp *t, uint64_t conn, const uint8_t *bytes, size_t len, bool close)
{
	struct tcp_conn *c;
	int err;

	HASH_FIND(hh, t->by_number, &conn, sizeof(conn), c);
	err = c != NULL ? tcp_conn_queue(c, bytes, len, close) : ERR_UNREACHABLE;
	if (err == 0)
		t->counters->tcp_sent++;
	else
		t->counters->tcp_unsent++;
	return err;
}

void tcp_owe(struct tcp *t, uint64_t conn, int answers)
{
	struct tcp_conn *c;

	HASH_FIND(hh, t->by_number, &conn, sizeof(conn), c);
	if (c == NULL)
		return;
	if (answers > 0)
		c->owed += (size_t)answers;
	else
		c->owed -= (size_t)-answers < c->owed ? (size_t)-answers : c->owed;
	tcp_mark_dirty(c);
}

/* A turn of nothing but left-overs. */
static void on_more(uv_idle_t *idle)
{
	struct tcp *t = idle->data;
	struct tcp_conn *c = t->dirty;

	(void)uv_idle_stop(idle);
	t->dirty = NULL;
	while (c != NULL) {
		struct tcp_conn *next = c->dirty_next;

		c->dirty = false;
		if (tcp_conn_has_more(c))
			tcp_conn_process(c);
		tcp_mark_dirty(c);
		c = next;
	}
}

void tcp_flush(struct tcp *t)
{
	struct tcp_conn *c = t->dirty;

	t->dirty = NULL;
	while (c != NULL) {
		struct tcp_conn *next = c->dirty_next;

		c->dirty = false;
		tcp_conn_flush(c);
		/* Choked ones go on when the host has read. */
		if (tcp_conn_has_more(c) && c->out_len == 0 &&
			uv_stream_get_write_queue_size((uv_stream_t *)&c->handle) == 0)
			tcp_mark_dirty(c);
		c = next;
	}
	if (t->dirty != NULL)
		(void)uv_idle_start(&t->more, on_more);
}

static void on_sweep(uv_timer_t *timer)
{
	struct tcp *t = timer->data;
	uint64_t now_ms = uv_now(t->loop);

	for (struct tcp_conn *c = t->oldest, *next; c != NULL; c = next) {
		next = c->next;
		tcp_conn_sweep(c, now_ms);
	}
}

/* --- life -----------------------------------------------------------------------------
 */

int tcp_new(uv_loop_t *loop, const struct net_conf *conf, struct net_counters *counters,
	struct tcp **tcp)
{
	struct tcp *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	*t = (struct tcp){ .loop = loop, .conf = conf, .counters = counters };
	(void)uv_timer_init(loop, &t->sweep);
	(void)uv_idle_init(loop, &t->more);
	t->sweep.data = t;
	t->more.data = t;
	t->handles = 2;
	(void)uv_timer_start(&t->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	*tcp = t;
	return 0;
}

static void on_listener_closed(uv_handle_t *handle)
{
	struct tcp_listener *l = handle->data;
	struct tcp *t = l->tcp;

	free(l);
	handle_gone(t);
}

static int listener_place(const struct tcp_listener *l)
{
	uv_os_fd_t fd;
	int err = uv_fileno((const uv_handle_t *)&l->handle, &fd);

	return err != 0 ? err
			: place_attach(fd, l->tcp->conf->places, l->tcp->conf->n_places);
}

int tcp_place(const struct tcp *t)
{
	int err = 0;

	for (const struct tcp_listener *l = t->listeners; l != NULL && err == 0;
		l = l->next)
		err = listener_place(l);
	return err;
}

uint64_t tcp_kernel_dropped(const struct tcp *t)
{
	uint64_t sum = 0;
	uv_os_fd_t fd;

	for (const struct tcp_listener *l = t->listeners; l != NULL; l = l->next)
		if (uv_fileno((const uv_handle_t *)&l->handle, &fd) == 0)
			sum += place_dropped(fd);
	return sum;
}

int tcp_listen(struct tcp *t, const struct net_endpoint *at)
{
	const struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(at->port),
		.sin_addr.s_addr = htonl(at->addr),
	};
	struct tcp_listener *l = calloc(1, sizeof(*l));
	int err;

	if (l == NULL)
		return -ENOMEM;
	*l = (struct tcp_listener){ .tcp = t, .at = *at, .next = t->listeners };
	(void)uv_tcp_init(t->loop, &l->handle);
	l->handle.data = l;
	t->handles++;
	err = uv_tcp_bind(&l->handle, (const struct sockaddr *)&addr, 0);
	if (err == 0)
		err = listener_place(l);
	if (err == 0)
		err = uv_listen((uv_stream_t *)&l->handle, BACKLOG, on_connection);
	if (err != 0)
		uv_close((uv_handle_t *)&l->handle, on_listener_closed);
	else
		t->listeners = l;
	return err;
}

void tcp_unlisten(struct tcp *t, const struct net_endpoint *at)
{
	for (struct tcp_listener **l = &t->listeners; *l != NULL; l = &(*l)->next) {
		struct tcp_listener *gone = *l;

		if (gone->at.addr != at->addr || gone->at.port != at->port)
			continue;
		*l = gone->next;
		uv_close((uv_handle_t *)&gone->handle, on_listener_closed);
		return;
	}
}

static void on_handle_closed(uv_handle_t *handle)
{
	handle_gone(handle->data);
}

void tcp_free(struct tcp *t, void (*closed)(void *ctx), void *ctx)
{
	t->closing = true;
	t->closed = closed;
	t->closed_ctx = ctx;
	while (t->listeners != NULL) {
		struct tcp_listener *next = t->listeners->next;

		uv_close((uv_handle_t *)&t->listeners->handle, on_listener_closed);
		t->listeners = next;
	}
	while (t->oldest != NULL)
		tcp_conn_close(t->oldest, TCP_CLOSE_PEER);
	uv_close((uv_handle_t *)&t->sweep, on_handle_closed);
	uv_close((uv_handle_t *)&t->more, on_handle_closed);
}
