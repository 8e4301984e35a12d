/*
 * One gateway: a session of librsip and the sockets and timers it has none of.
 *
 * The session's callbacks must not re-enter it, so whatever would (closing a broken
 * connection, freeing the session) is left to the loop: to close callbacks and timers.
 */
#include "base/err.h"
#include "base/log.h"
#include "host/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CONNECT_MIN_MS  100
#define CONNECT_MAX_MS  5000
#define CONNECT_WAIT_MS 10000 /* a connection attempt that gets no answer */
#define CHECK_MS        60000
#define READ_SIZE       65536
#define REQUESTS_MORE   32 /* queued besides one a lease */

/* A TCP connection or an attempt at one.  Lives until its close callback. */
struct gw_conn {
	uv_tcp_t tcp;
	uv_connect_t req;
	struct gw *gw; /* NULL: given up */
	bool connected;
	char buf[READ_SIZE];
};

struct gw_write {
	uv_write_t req;
	uint8_t bytes[];
};

uint64_t host_now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_BOOTTIME, &t); /* cannot fail on Linux */
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void gw_text(const struct gw *gw, char buf[static 24])
{
	char addr[ADDR_TEXT_MAX];

	if (gw->port == 4555)
		(void)snprintf(buf, 24, "%s", addr_format(gw->addr, addr));
	else
		(void)snprintf(buf, 24, "%s:%u", addr_format(gw->addr, addr), gw->port);
}

struct sockaddr_in gw_sockaddr(uint32_t addr, uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(addr) };
}

/* --- who waits for the registration ---------------------------------------------------
 */

static void waits_end(struct gw *gw, int err, const char *why)
{
	struct gw_wait *waits = gw->waits;

	gw->waits = NULL;
	while (waits != NULL) {
		struct gw_wait *next = waits->next;

		waits->done(waits, err, why);
		waits = next;
	}
}

/* Why it is of no use at the moment; detail may be "". */
static void trouble(struct gw *gw, const char *what, const char *detail)
{
	char text[24], why[IPC_WHY], now[sizeof(gw->trouble)];

	(void)snprintf(
		now, sizeof(now), "%s%s%s", what, detail[0] != 0 ? ": " : "", detail);
	gw_text(gw, text);
	/* Tried again and again for days, it is worth one line. */
	if (strcmp(now, gw->trouble) != 0)
		log_warn("gateway not usable", "gateway=%s reason=\"%s\"", text, now);
	memcpy(gw->trouble, now, sizeof(now));
	(void)snprintf(why, sizeof(why), "gateway %s: %s", text, gw->trouble);
	waits_end(gw, ERR_REFUSED, why);
}

/* --- requests -------------------------------------------------------------------------
 */

void gw_link(struct gw *gw, struct req *req)
{
	req->next = gw->reqs;
	gw->reqs = req;
}

static bool req_unlink(struct gw *gw, const struct req *req)
{
	for (struct req **at = &gw->reqs; *at != NULL; at = &(*at)->next) {
		if (*at == req) {
			*at = (*at)->next;
			return true;
		}
	}
	return false;
}

int gw_settle(struct gw *gw, const struct req *req, int result)
{
	if (result != 0)
		(void)req_unlink(gw, req);
	return result;
}

static void req_end(struct gw *gw, struct req *req, const struct rsip_event *ev)
{
	if (req_unlink(gw, req))
		req->done(req, ev);
}

static void on_registered(struct req *req, const struct rsip_event *ev)
{
	struct gw *gw =
		(struct gw *)(void *)((char *)req - offsetof(struct gw, register_req));
	char why[IPC_WHY];

	gw->registering = false;
	if (ev->type == RSIP_EVENT_REGISTERED)
		return; /* said to all who wait by on_event() */
	hold_why(ev, why, sizeof(why));
	if (gw->proof.sealed && gw->proof.sealer.plain > 0)
		(void)snprintf(why, sizeof(why),
			"it answers without a seal: does it know our key?");
	trouble(gw, "registration failed", why);
}

static void register_start(struct gw *gw)
{
	int result;

	if (gw->registering || rsip_session_state(gw->session) != RSIP_UNREGISTERED)
		return;
	gw->registering = true;
	gw->register_req.done = on_registered;
	gw_link(gw, &gw->register_req);
	result = gw_settle(gw, &gw->register_req,
		rsip_register(gw->session, &gw->register_req, host_now_us()));
	if (result == 0)
		return;
	gw->registering = false;
	if (result != RSIP_ERR_STATE)
		trouble(gw, "cannot register", rsip_result_text(result));
}

static void on_connect_due(uv_timer_t *timer);

/* --- is the gateway still of our mind? ------------------------------------------------
 */

static void on_checked(struct req *req, const struct rsip_event *ev)
{
	struct gw *gw =
		(struct gw *)(void *)((char *)req - offsetof(struct gw, check_req));

	gw->checking = false;
	if (ev->type == RSIP_EVENT_ANSWER)
		gw->trouble[0] = 0;
	if (ev->failure != RSIP_FAIL_TIMEOUT)
		return;
	trouble(gw, "no answer", "");
	/* Our address may have changed under the socket: a new one, outside of here. */
	(void)uv_timer_start(&gw->connect, on_connect_due, 0, 0);
}

/*
 * A small request, a QUERY, now and then and after each connect: a gateway that forgot us
 * says so, and asynchronous messages come by the connection that it saw last.
 */
static void check_start(struct gw *gw)
{
	if (gw->checking || rsip_session_registration(gw->session) == NULL)
		return;
	gw->check_req.done = on_checked;
	gw->checking = true;
	gw_link(gw, &gw->check_req);
	if (gw_settle(gw, &gw->check_req,
		    rsip_query(gw->session, NULL, 0, &gw->check_req, host_now_us())) != 0)
		gw->checking = false;
}

static void on_check_due(uv_timer_t *timer)
{
	check_start(timer->data);
}

/* --- events ---------------------------------------------------------------------------
 */

/* The gateway dropped something of ours; no lease changes (P-10.4-08). */
static void on_notice(struct gw *gw, const struct rsip_event *ev)
{
	char text[24];

	gw->notices++;
	gw->notice_error = ev->error;
	gw_text(gw, text);
	if (limit_take(&gw->notice_limit, 1, 5, host_now_us() / 1000))
		log_warn("gateway complains", "gateway=%s error=%u name=%s bind=%" PRIu32,
			text, ev->error, rsip_error_text(ev->error), ev->bind_id);
}

static void on_event(void *ctx, const struct rsip_event *ev)
{
	struct gw *gw = ctx;
	char text[24];

	gw_text(gw, text);
	host_changed(gw->host);
	if (ev->request != RSIP_REQ_NONE && ev->tag != NULL)
		req_end(gw, ev->tag, ev);
	switch (ev->type) {
	case RSIP_EVENT_REGISTERED:
		gw->trouble[0] = 0;
		log_info("registered", "gateway=%s client=%" PRIu32, text,
			ev->registration->client_id);
		waits_end(gw, 0, "");
		hold_again(gw->host);
		break;
	case RSIP_EVENT_REGISTRATION_LOST:
		log_warn("registration lost", "gateway=%s cause=%d error=%u", text,
			(int)ev->cause, ev->error);
		break;
	case RSIP_EVENT_BINDING_LOST:
		hold_lost(gw, ev);
		break;
	case RSIP_EVENT_NOTICE:
		on_notice(gw, ev);
		break;
	case RSIP_EVENT_STREAM_BROKEN:
		log_warn("stream broken, connecting anew", "gateway=%s", text);
		(void)uv_timer_start(&gw->connect, on_connect_due, 0, 0);
		break;
	default:
		break;
	}
}

/* --- TCP ------------------------------------------------------------------------------
 */

static void on_conn_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* Also of an attempt that hangs. */
static void conn_drop(struct gw *gw)
{
	struct gw_conn *conn = gw->conn;

	gw->conn = NULL;
	if (conn == NULL)
		return;
	prove_end(&gw->proof);
	conn->gw = NULL;
	uv_close((uv_handle_t *)&conn->tcp, on_conn_closed);
}

static void connect_later(struct gw *gw)
{
	gw->connect_ms = gw->connect_ms == 0 ? CONNECT_MIN_MS : 2 * gw->connect_ms;
	if (gw->connect_ms > CONNECT_MAX_MS)
		gw->connect_ms = CONNECT_MAX_MS;
	(void)uv_timer_start(&gw->connect, on_connect_due, gw->connect_ms, 0);
}

/* The connection is gone, or never came. */
static void conn_lost(struct gw *gw, int status)
{
	bool connected = gw->conn != NULL && gw->conn->connected;

	conn_drop(gw);
	connect_later(gw);
	if (connected)
		rsip_session_disconnected(gw->session, host_now_us());
	else
		trouble(gw, "cannot connect", uv_strerror(status));
}

static void on_written(uv_write_t *req, int status)
{
	(void)status; /* a failed connection also shows when reading */
	free(req);
}

static void conn_write(struct gw_conn *conn, const uint8_t *bytes, size_t len)
{
	struct gw_write *w = malloc(sizeof(*w) + len);
	uv_buf_t buf;

	if (w == NULL)
		return; /* the stream is lost; the other end will say so */
	memcpy(w->bytes, bytes, len);
	buf = uv_buf_init((char *)w->bytes, (unsigned int)len);
	if (uv_write(&w->req, (uv_stream_t *)&conn->tcp, &buf, 1, on_written) != 0)
		free(w);
}

/* What TLS has to say. */
static void tls_flush(struct gw *gw)
{
	uint8_t buf[4096];
	size_t n;

	while ((n = tls_output(gw->proof.tls, buf, sizeof(buf))) > 0)
		conn_write(gw->conn, buf, n);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct gw_conn *conn = handle->data;

	(void)suggested;
	*buf = uv_buf_init(conn->buf, sizeof(conn->buf));
}

/* The link is as it should be: the session may speak. */
static void conn_ready(struct gw *gw)
{
	gw->conn->connected = true;
	gw->connect_ms = 0;
	(void)uv_timer_stop(&gw->connect);
	rsip_session_connected(gw->session, host_now_us());
	register_start(gw);
	check_start(gw);
}

static void tls_lost(struct gw *gw)
{
	char why[PROVE_WHY];

	(void)snprintf(why, sizeof(why), "%s", tls_error(gw->proof.tls));
	if (gw->conn->connected) {
		conn_lost(gw, UV_EPROTO);
	} else {
		conn_drop(gw);
		connect_later(gw);
	}
	trouble(gw, "TLS", why);
}

/* Bytes of the gateway through TLS; a session may end the connection on the way. */
static void tls_read_all(struct gw_conn *conn, const uint8_t *bytes, size_t len)
{
	struct tls *tls = conn->gw->proof.tls;
	uint8_t buf[4096];
	int got = tls_input(tls, bytes, len);

	tls_flush(conn->gw);
	if (got == 0 && !conn->connected && tls_is_ready(tls))
		conn_ready(conn->gw);
	while (got >= 0 && conn->gw != NULL && conn->connected) {
		got = tls_read(tls, buf, sizeof(buf));
		if (got <= 0)
			break;
		rsip_session_input(conn->gw->session, buf, (size_t)got, host_now_us());
	}
	if (got < 0 && conn->gw != NULL)
		tls_lost(conn->gw);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct gw_conn *conn = stream->data;

	if (conn->gw == NULL || n == 0)
		return;
	if (n < 0)
		conn_lost(conn->gw, (int)n);
	else if (conn->gw->proof.tls != NULL)
		tls_read_all(conn, (const uint8_t *)buf->base, (size_t)n);
	else
		rsip_session_input(conn->gw->session, (const uint8_t *)buf->base,
			(size_t)n, host_now_us());
}

/* Our address towards the gateway is what makes us this host. */
void gw_local(struct gw *gw, const struct sockaddr_in *local)
{
	uint32_t addr = ntohl(local->sin_addr.s_addr);

	if (gw->local != addr)
		host_changed(gw->host);
	gw->local = addr;
}

static void on_connected(uv_connect_t *req, int status)
{
	struct gw_conn *conn = req->data;
	struct gw *gw = conn->gw;
	struct sockaddr_in local;
	int len = sizeof(local);

	if (gw == NULL)
		return;
	if (status == 0)
		status = uv_tcp_getsockname(
			&conn->tcp, (struct sockaddr *)(void *)&local, &len);
	if (status != 0) {
		conn_lost(gw, status);
		return;
	}
	gw_local(gw, &local);
	(void)uv_tcp_nodelay(&conn->tcp, 1);
	(void)uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
	if (gw->proof.tls != NULL)
		tls_flush(gw);
	else
		conn_ready(gw);
}

static void tcp_connect(struct gw *gw)
{
	struct sockaddr_in to = gw_sockaddr(gw->addr, gw->port);
	struct gw_conn *conn = calloc(1, sizeof(*conn));
	char why[PROVE_WHY] = "";
	int err;

	if (conn == NULL ||
		(prove_is_wanted(&gw->proof) &&
			prove_begin_tcp(&gw->proof, gw->addr, why, sizeof(why)) != 0)) {
		free(conn);
		connect_later(gw);
		if (why[0] != 0)
			trouble(gw, "cannot prove who we are", why);
		return;
	}
	(void)uv_tcp_init(gw->host->loop, &conn->tcp);
	conn->tcp.data = conn;
	conn->req.data = conn;
	conn->gw = gw;
	gw->conn = conn;
	err = 0;
	if (gw->source != 0) {
		struct sockaddr_in from = gw_sockaddr(gw->source, 0);

		err = uv_tcp_bind(
			&conn->tcp, (const struct sockaddr *)(const void *)&from, 0);
	}
	if (err == 0)
		err = uv_tcp_connect(&conn->req, &conn->tcp,
			(const struct sockaddr *)(const void *)&to, on_connected);
	if (err != 0)
		conn_lost(gw, err);
	else
		(void)uv_timer_start(&gw->connect, on_connect_due, CONNECT_WAIT_MS, 0);
}

/* --- the session's callbacks ----------------------------------------------------------
 */

static void on_send(void *ctx, const uint8_t *bytes, size_t len)
{
	struct gw *gw = ctx;

	if (gw->udp != NULL)
		gw_udp_send(gw, bytes, len);
	if (gw->conn == NULL || !gw->conn->connected)
		return;
	if (gw->proof.tls == NULL) {
		conn_write(gw->conn, bytes, len);
	} else if (tls_write(gw->proof.tls, bytes, len) == 0) {
		tls_flush(gw);
	}
}

/* --- life -----------------------------------------------------------------------------
 */

static void on_tick(uv_timer_t *timer)
{
	struct gw *gw = timer->data;

	rsip_session_tick(gw->session, host_now_us());
}

/* Runs before the loop sleeps: the deadline may have moved. */
static void gw_arm(struct gw *gw)
{
	uint64_t deadline = rsip_session_deadline(gw->session), now = host_now_us();
	uint64_t ms = 0;

	if (deadline == UINT64_MAX) {
		(void)uv_timer_stop(&gw->timer);
		return;
	}
	if (deadline > now)
		ms = (deadline - now + 999) / 1000;
	(void)uv_timer_start(&gw->timer, on_tick, ms, 0);
}

void gw_turn(struct host *h)
{
	for (struct gw *gw = h->gws; gw != NULL; gw = gw->next)
		gw_arm(gw);
}

static void on_connect_due(uv_timer_t *timer)
{
	struct gw *gw = timer->data;

	if (gw->transport == RSIP_UDP) {
		gw_udp_drop(gw);
		gw_start(gw);
		return;
	}
	/* An attempt that hangs, or a stream that lost its boundaries. */
	if (gw->conn != NULL)
		conn_lost(gw, UV_ETIMEDOUT);
	else
		tcp_connect(gw);
}

void gw_start(struct gw *gw)
{
	char why[PROVE_WHY] = "";
	int err = 0;

	if (gw->transport == RSIP_UDP) {
		if (gw->udp == NULL)
			err = gw_udp_open(gw, why, sizeof(why));
		if (err == 0) {
			register_start(gw);
			check_start(gw);
		} else {
			trouble(gw, "cannot open a UDP socket",
				why[0] != 0 ? why : uv_strerror(err));
		}
	} else if (gw->conn == NULL) {
		tcp_connect(gw);
	} else if (gw->conn->connected) {
		register_start(gw);
	}
}

/* Is it an address of this machine? */
static bool address_is_here(uint32_t addr)
{
	struct sockaddr_in local = gw_sockaddr(addr, 0);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool here;

	if (fd < 0)
		return true; /* in doubt nothing is torn down */
	here = bind(fd, (const struct sockaddr *)(const void *)&local, sizeof(local)) ==
	       0;
	(void)close(fd);
	return here;
}

void gw_moved(struct gw *gw)
{
	char text[24], local[ADDR_TEXT_MAX];

	if (gw->local == 0 || address_is_here(gw->local))
		return;
	gw_text(gw, text);
	log_warn("our address towards the gateway is gone", "gateway=%s address=%s", text,
		addr_format(gw->local, local));
	gw->connect_ms = 0;
	if (gw->transport == RSIP_UDP)
		(void)uv_timer_start(&gw->connect, on_connect_due, 0, 0);
	else if (gw->conn != NULL)
		conn_lost(gw, UV_EADDRNOTAVAIL);
}

struct gw *gw_find(const struct host *h, uint32_t addr, uint16_t port)
{
	for (struct gw *gw = h->gws; gw != NULL; gw = gw->next)
		if (gw->addr == addr && (port == 0 || gw->port == port))
			return gw;
	return NULL;
}

int gw_new(struct host *h, const struct host_conf *conf, struct gw **result)
{
	struct gw *gw = calloc(1, sizeof(*gw));
	struct rsip_session_conf session = {
		.transport = conf->transport,
		.send = on_send,
		.event = on_event,
		.ctx = gw,
		.max_bindings = HOST_HOLDS_MAX,
		.max_requests = HOST_HOLDS_MAX + REQUESTS_MORE,
	};

	if (gw == NULL)
		return -ENOMEM;
	gw->host = h;
	gw->addr = conf->gateway;
	gw->port = conf->port;
	gw->source = conf->source;
	gw->transport = conf->transport;
	gw->proof.files = conf->keys;
	gw->session = rsip_session_new(&session);
	if (gw->session == NULL) {
		free(gw);
		return -ENOMEM;
	}
	(void)uv_timer_init(h->loop, &gw->timer);
	(void)uv_timer_init(h->loop, &gw->connect);
	gw->timer.data = gw;
	(void)uv_timer_init(h->loop, &gw->check);
	gw->connect.data = gw;
	gw->check.data = gw;
	(void)uv_timer_start(&gw->check, on_check_due, CHECK_MS, CHECK_MS);
	gw->handles = 3;
	/* In the order in which they came: the first is the default. */
	struct gw **at = &h->gws;
	while (*at != NULL)
		at = &(*at)->next;
	*at = gw;
	*result = gw;
	return 0;
}

int gw_get(struct host *h, const struct host_conf *conf, struct gw **gw, char *why,
	size_t why_size)
{
	int err;

	*gw = gw_find(h, conf->gateway, conf->port);
	if (*gw != NULL)
		return 0;
	err = gw_new(h, conf, gw);
	if (err != 0)
		(void)snprintf(why, why_size, "%s", err_text(err));
	return err;
}

static void on_gw_closed(uv_handle_t *handle)
{
	struct gw *gw = handle->data;

	if (--gw->handles > 0)
		return;
	rsip_session_free(gw->session);
	free(gw->locals);
	free(gw);
}

static void reqs_fail(struct gw *gw)
{
	const struct rsip_event gone = {
		.type = RSIP_EVENT_FAILED,
		.failure = RSIP_FAIL_CANCELLED,
	};

	while (gw->reqs != NULL) {
		struct req *req = gw->reqs;

		gw->reqs = req->next;
		req->done(req, &gone);
	}
}

void gw_free(struct gw *gw)
{
	struct host *h = gw->host;

	if (gw->freed)
		return;
	gw->freed = true;
	for (struct gw **at = &h->gws; *at != NULL; at = &(*at)->next) {
		if (*at == gw) {
			*at = gw->next;
			break;
		}
	}
	conn_drop(gw);
	gw_udp_drop(gw);
	up_forget(h, gw);
	net_forget(h, gw);
	reqs_fail(gw);
	waits_end(gw, ERR_REFUSED, "the gateway was given up meanwhile");
	for (struct hold *hold = h->holds, *next; hold != NULL; hold = next) {
		next = hold->next;
		if (hold->gw == gw)
			hold_forget(hold);
	}
	uv_close((uv_handle_t *)&gw->timer, on_gw_closed);
	uv_close((uv_handle_t *)&gw->connect, on_gw_closed);
	uv_close((uv_handle_t *)&gw->check, on_gw_closed);
	h->idle = true;
	host_changed(h);
}

void gw_wait(struct gw *gw, struct gw_wait *wait)
{
	if (rsip_session_registration(gw->session) != NULL && !gw->resting) {
		wait->done(wait, 0, "");
		return;
	}
	wait->next = gw->waits;
	gw->waits = wait;
	if (!gw->resting)
		gw_start(gw);
}

static void on_deregistered(struct req *req, const struct rsip_event *ev)
{
	struct gw *gw =
		(struct gw *)(void *)((char *)req - offsetof(struct gw, rest_req));

	(void)ev; /* without an answer it is over, too */
	gw->resting = false;
	/* A command came meanwhile and wants it back. */
	if (gw->waits != NULL && !gw->host->downing)
		gw_start(gw);
	else
		gw_free(gw);
}

void gw_deregister(struct gw *gw)
{
	if (gw->resting || gw->freed)
		return;
	gw->resting = true;
	gw->rest_req.done = on_deregistered;
	if (rsip_session_registration(gw->session) == NULL) {
		gw_free(gw);
		return;
	}
	gw_link(gw, &gw->rest_req);
	if (gw_settle(gw, &gw->rest_req,
		    rsip_deregister(gw->session, &gw->rest_req, host_now_us())) != 0)
		gw_free(gw);
}

void gw_rest(struct gw *gw)
{
	if (gw->up || gw->upping || gw->waits != NULL || gw->freed)
		return;
	for (const struct hold *hold = gw->host->holds; hold != NULL; hold = hold->next)
		if (hold->gw == gw)
			return;
	gw_deregister(gw);
}
