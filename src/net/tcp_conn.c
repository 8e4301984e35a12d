/*
 * What happens on one TCP connection: bytes in, whole messages up, answers out.  Answers
 * for the bounds: a read buffer of one message and a bit, a write queue that stops the
 * reading when the host does not keep up and ends the connection when that lasts, and so
 * many messages a turn.
 */
#include "net/tcp_conn.h"

#include "base/err.h"
#include "wire/frame.h"
#include "wire/proto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define READ_FIRST 2048
/* The longest message, and something of the next. */
#define READ_MAX (RSIP_LENGTH_MAX + READ_FIRST)
/* Messages of one connection in one turn; the rest waits for the next. */
#define MESSAGES_A_TURN 64
/* Unread answers: above the first nothing more is read, above the second it ends. */
#define WRITE_PAUSE ((size_t)64 * 1024)
#define WRITE_MAX   ((size_t)1024 * 1024)

/* How long a connection that we hung up on may go on sending. */
#define DISCARD_MS 2000

struct write {
	uv_write_t req;
	struct tcp_conn *conn;
	uint8_t *bytes;
};

static size_t queued(const struct tcp_conn *c)
{
	return uv_stream_get_write_queue_size((const uv_stream_t *)&c->handle);
}

static bool is_choked(const struct tcp_conn *c)
{
	return queued(c) + c->out_len >= WRITE_PAUSE;
}

static int out_room(struct tcp_conn *c, size_t len)
{
	size_t size = c->out_size > 0 ? c->out_size : 512;
	uint8_t *out;

	if (queued(c) + c->out_len + len > WRITE_MAX)
		return ERR_NOSPACE;
	while (size - c->out_len < len)
		size *= 2;
	if (size == c->out_size)
		return 0;
	out = realloc(c->out, size);
	if (out == NULL)
		return -ENOMEM;
	c->out = out;
	c->out_size = size;
	return 0;
}

/* --- TLS ------------------------------------------------------------------------------
 */

/* What TLS wants sent joins what is queued. */
static void tls_drain(struct tcp_conn *c)
{
	size_t n;

	while ((n = tls_pending(c->tls)) > 0) {
		int err = out_room(c, n);

		if (err != 0) {
			tcp_conn_close(
				c, err == -ENOMEM ? NET_CLOSE_MEMORY : NET_CLOSE_STALL);
			return;
		}
		c->out_len += tls_output(c->tls, c->out + c->out_len, n);
		tcp_mark_dirty(c);
	}
}

/* The other end closed, or its bytes make no sense: an alert may be on its way. */
static void tls_end(struct tcp_conn *c)
{
	if (c->peer.guard != PEER_TLS)
		c->tcp->counters->tls_failed++;
	c->eof = true;
	c->reading = false;
	(void)uv_read_stop((uv_stream_t *)&c->handle);
	tcp_mark_dirty(c);
}

static void tls_take(struct tcp_conn *c, const uint8_t *cipher, size_t n)
{
	int err = tls_input(c->tls, cipher, n);

	if (err == -ENOMEM) {
		tcp_conn_close(c, NET_CLOSE_MEMORY);
		return;
	}
	tls_drain(c);
	if (err != 0 && !c->closing)
		tls_end(c);
	if (err != 0 || !tls_is_ready(c->tls) || c->peer.guard == PEER_TLS)
		return;
	c->tcp->counters->tls_good++;
	c->peer.guard = PEER_TLS;
	c->peer.identity = auth_identity(tls_peer(c->tls));
}

/* --- in -------------------------------------------------------------------------------
 */

/* Room for more in the read buffer; false when there can't be any. */
static bool in_room(struct tcp_conn *c)
{
	size_t size = c->in_size == 0 ? READ_FIRST : c->in_size * 2;
	uint8_t *in;

	if (c->have < c->in_size)
		return true;
	if (size > READ_MAX)
		size = READ_MAX;
	in = size > c->in_size ? realloc(c->in, size) : NULL;
	if (in == NULL)
		return false;
	c->in = in;
	c->in_size = size;
	return true;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct tcp_conn *c = handle->data;

	(void)suggested;
	if (c->tls != NULL)
		*buf = uv_buf_init((char *)c->tcp->cipher, sizeof(c->tcp->cipher));
	else if (in_room(c))
		*buf = uv_buf_init(
			(char *)c->in + c->have, (unsigned int)(c->in_size - c->have));
	else
		*buf = uv_buf_init(NULL, 0); /* on_read gets UV_ENOBUFS */
}

/* Plain bytes out of TLS, as many as there is room for. */
static void tls_pull(struct tcp_conn *c)
{
	int got = 1;

	c->tls_more = false;
	if (c->eof && c->peer.guard != PEER_TLS)
		return;
	while (got > 0 && in_room(c)) {
		got = tls_read(c->tls, c->in + c->have, c->in_size - c->have);
		c->have += got > 0 ? (size_t)got : 0;
	}
	if (got > 0 && c->have < READ_MAX)
		tcp_conn_close(c, NET_CLOSE_MEMORY);
	c->tls_more = got > 0 && !c->closing;
	if (got < 0 && !c->eof)
		tls_end(c);
}

static enum net_close close_reason(ssize_t error)
{
	if (error == UV_ENOBUFS)
		return NET_CLOSE_MEMORY;
	/* TCP_USER_TIMEOUT: answers that the kernel could not get rid of. */
	return error == UV_ETIMEDOUT ? NET_CLOSE_STALL : TCP_CLOSE_PEER;
}

/* The first byte tells: a plain message begins with its version, 1. */
static void begin(struct tcp_conn *c)
{
	struct tls_ctx *tls = c->tcp->conf->proof.tls;

	c->begun = true;
	if (tls == NULL || c->in[0] != TLS_FIRST_BYTE)
		return;
	c->tls = tls_new(tls);
	if (c->tls == NULL)
		tcp_conn_close(c, NET_CLOSE_MEMORY);
}

/* Bytes of the other end, at the place that on_alloc() named. */
static void take(struct tcp_conn *c, size_t n)
{
	const uint8_t *cipher = c->tls != NULL ? c->tcp->cipher : c->in;

	if (c->have == 0)
		c->begun_ms = uv_now(c->tcp->loop);
	if (!c->begun)
		begin(c);
	if (c->closing)
		return;
	if (c->tls != NULL)
		tls_take(c, cipher, n);
	else
		c->have += n;
	if (!c->closing)
		tcp_conn_process(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct tcp_conn *c = stream->data;

	(void)buf;
	if (n == UV_EOF && c->discard) {
		tcp_conn_close(c, TCP_CLOSE_PEER);
	} else if (n == UV_EOF) {
		c->eof = true;
		c->reading = false;
		(void)uv_read_stop(stream);
		tcp_mark_dirty(c);
	} else if (n < 0) {
		tcp_conn_close(c, close_reason(n));
	} else if (n > 0 && !c->discard) {
		take(c, (size_t)n);
	}
}

static void reading_set(struct tcp_conn *c, bool reading)
{
	if (c->reading == reading || c->closing)
		return;
	c->reading = reading;
	if (reading)
		(void)uv_read_start((uv_stream_t *)&c->handle, on_alloc, on_read);
	else
		(void)uv_read_stop((uv_stream_t *)&c->handle);
}

void tcp_conn_start(struct tcp_conn *c)
{
	c->idle_ms = c->begun_ms = c->wrote_ms = uv_now(c->tcp->loop);
	reading_set(c, true);
}

bool tcp_conn_has_more(const struct tcp_conn *c)
{
	return !c->closing && !c->lost && !c->hangup &&
	       (c->tls_more || wire_frame(c->in, c->have) != 0);
}

/* What is left moves to the front; a connection at rest holds no buffer. */
static void consume(struct tcp_conn *c, size_t n)
{
	if (n == 0)
		return;
	c->have -= n;
	c->begun_ms = uv_now(c->tcp->loop);
	if (c->have > 0) {
		memmove(c->in, c->in + n, c->have);
		return;
	}
	free(c->in);
	c->in = NULL;
	c->in_size = 0;
}

/* The next message from `at` on; its length, or 0 when there is none to hand up. */
static size_t next_message(struct tcp_conn *c, size_t at)
{
	int len = wire_frame(c->in + at, c->have - at);

	if (len >= 0)
		return (size_t)len;
	/*
	 * Overall length under 4 (A-W-17), or a version whose layout nobody knows
	 * (A-W-18): the header alone goes up for its 207 or 106.
	 */
	c->lost = true;
	return RSIP_HEADER_LEN;
}

void tcp_conn_process(struct tcp_conn *c)
{
	const struct net_conf *conf = c->tcp->conf;
	size_t at = 0;

	if (c->tls != NULL)
		tls_pull(c);
	if (c->closing)
		return;
	for (int i = 0; i < MESSAGES_A_TURN && !c->lost && !is_choked(c); i++) {
		size_t len = next_message(c, at);

		if (len == 0)
			break;
		c->tcp->counters->tcp_received++;
		c->spoke = true;
		conf->message(conf->ctx, &c->peer, c->in + at, len);
		if (c->closing)
			return; /* an answer was one too many for it */
		at += len;
	}
	if (at > 0)
		tcp_conn_used(c);
	if (c->lost)
		at = c->have; /* the rest means nothing */
	consume(c, at);
	/* Left-overs and ends are seen to at the end of the turn. */
	if (c->lost || tcp_conn_has_more(c)) {
		reading_set(c, false);
		tcp_mark_dirty(c);
	}
}

/* --- out ------------------------------------------------------------------------------
 */

int tcp_conn_queue(struct tcp_conn *c, const uint8_t *bytes, size_t len, bool close)
{
	int err = c->tls == NULL ? out_room(c, len) : tls_write(c->tls, bytes, len);

	if (err != 0) {
		tcp_conn_close(c, err == -ENOMEM ? NET_CLOSE_MEMORY : NET_CLOSE_STALL);
		return err;
	}
	if (c->tls != NULL) {
		tls_drain(c);
	} else {
		memcpy(c->out + c->out_len, bytes, len);
		c->out_len += len;
	}
	if (c->closing)
		return ERR_NOSPACE;
	c->lost |= close;
	tcp_mark_dirty(c);
	return 0;
}

static void on_written(uv_write_t *req, int status)
{
	struct write *w = (struct write *)req;
	struct tcp_conn *c = w->conn;

	free(w->bytes);
	free(w);
	if (c->closing)
		return;
	c->wrote_ms = uv_now(c->tcp->loop);
	if (status != 0)
		tcp_conn_close(c, close_reason(status));
	else if (queued(c) == 0)
		tcp_mark_dirty(c); /* reads on, or hangs up */
}

/* The rest of the buffer goes to the loop, which owns it then. */
static int write_rest(struct tcp_conn *c, size_t from)
{
	struct write *w = calloc(1, sizeof(*w));
	uv_buf_t buf =
		uv_buf_init((char *)c->out + from, (unsigned int)(c->out_len - from));

	if (w == NULL)
		return -ENOMEM;
	w->conn = c;
	w->bytes = c->out;
	if (uv_write(&w->req, (uv_stream_t *)&c->handle, &buf, 1, on_written) != 0) {
		free(w);
		return ERR_UNREACHABLE;
	}
	if (queued(c) == c->out_len - from)
		c->wrote_ms = uv_now(c->tcp->loop);
	c->out = NULL;
	c->out_size = 0;
	return 0;
}

/* 0, or the connection cannot be written to any more. */
static int write_out(struct tcp_conn *c)
{
	uv_buf_t buf = uv_buf_init((char *)c->out, (unsigned int)c->out_len);
	int done = 0, err = 0;

	if (c->out_len == 0)
		return 0;
	if (queued(c) == 0)
		done = uv_try_write((uv_stream_t *)&c->handle, &buf, 1);
	if (done == UV_EAGAIN)
		done = 0;
	if (done < 0)
		return done;
	if ((size_t)done < c->out_len)
		err = write_rest(c, (size_t)done);
	c->out_len = 0;
	return err;
}

/*
 * Our side says goodbye and listens on for a while: closing a socket with unread bytes
 * resets the connection, and the host might never see the answer that says why.
 */
static void hang_up(struct tcp_conn *c)
{
	uv_os_fd_t fd;

	if (c->eof || uv_fileno((uv_handle_t *)&c->handle, &fd) != 0 ||
		shutdown(fd, SHUT_WR) != 0) {
		tcp_conn_close(c, c->lost ? NET_CLOSE_PROTOCOL : TCP_CLOSE_PEER);
		return;
	}
	if (c->lost)
		c->tcp->counters->tcp_closed[NET_CLOSE_PROTOCOL]++;
	c->discard = true;
	c->begun_ms = uv_now(c->tcp->loop);
	reading_set(c, true);
}

void tcp_conn_flush(struct tcp_conn *c)
{
	int err;

	if (c->closing)
		return;
	err = write_out(c);
	if (err != 0) {
		tcp_conn_close(c, close_reason(err));
		return;
	}
	if (c->out != NULL && c->out_size > WRITE_PAUSE) {
		free(c->out);
		c->out = NULL;
		c->out_size = 0;
	}
	if ((c->lost || (c->eof && !tcp_conn_has_more(c))) && c->owed == 0)
		c->hangup = true;
	if (c->hangup && queued(c) == 0 && !c->discard)
		hang_up(c);
	else if (!c->hangup && !c->eof && !c->lost)
		reading_set(c, !is_choked(c) && !tcp_conn_has_more(c));
}

/* --- limits ---------------------------------------------------------------------------
 */

/* Answers that nobody reads, or a request that does not end. */
static bool is_stalled(const struct tcp_conn *c, uint64_t now_ms)
{
	uint64_t stall_ms = c->tcp->conf->limits.stall_ms;

	if (queued(c) > 0 && now_ms - c->wrote_ms > stall_ms)
		return true; /* it does not read */
	return c->have > 0 && !tcp_conn_has_more(c) && now_ms - c->begun_ms > stall_ms;
}

static bool is_idle(const struct tcp_conn *c, uint64_t now_ms)
{
	const struct net_limits *limit = &c->tcp->conf->limits;

	return now_ms - c->idle_ms > (c->spoke ? limit->idle_ms : limit->stall_ms);
}

void tcp_conn_sweep(struct tcp_conn *c, uint64_t now_ms)
{
	size_t left = queued(c);

	if (left < c->written_at)
		c->wrote_ms = now_ms;
	c->written_at = left;
	if (c->discard && now_ms - c->begun_ms > DISCARD_MS)
		tcp_conn_close(c, TCP_CLOSE_PEER);
	else if (is_stalled(c, now_ms))
		tcp_conn_close(c, NET_CLOSE_STALL);
	else if (is_idle(c, now_ms))
		tcp_conn_close(c, NET_CLOSE_IDLE);
}
