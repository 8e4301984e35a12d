/*
 * The serving end of a control socket.  Answers for bounds: so many connections, so long
 * a request, one call at a time a connection, and nothing more read from a client before
 * it has read what it was sent.  What a call does is the handler's.
 *
 * A connection holds at most one call; a call outlives its connection when the client
 * goes first, and then its answer goes nowhere.
 */
#include "ipc/ipc.h"

#include "base/err.h"
#include "ipc/error.h"
#include "ipc/frame.h"
#include "ipc/listen.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_CONNECTIONS 32
#define DEFAULT_REQUEST     ((size_t)64 * 1024)
#define DEFAULT_STALL_MS    30000
#define DEFAULT_MODE        0660
/* What a handler may queue with ipc_continue() without waiting for the client. */
#define QUEUE_MAX ((size_t)8 * 1024 * 1024)

struct conn {
	struct ipc_server *server;
	struct conn *prev, *next;
	uv_pipe_t pipe;
	uv_timer_t stall;
	unsigned int handles; /* of the two above, not yet closed */
	struct ipc_frame in;
	struct ipc_call *call; /* the one being worked on */
	uint64_t used;         /* the server's count when it was last used */
	size_t stalled_at;     /* bytes queued when the stall timer last looked */
	bool dispatching;      /* inside a handler: it must not start the next call */
	bool hangup;           /* close when the queue is empty */
	bool closing;
};

struct ipc_call {
	struct conn *conn; /* NULL: the client is gone */
	json_t *request;
	bool more, oneway;
	void (*drained)(void *ctx, struct ipc_call *call);
	void *drained_ctx;
};

struct ipc_server {
	struct ipc_server_conf conf;
	struct ipc_listen listen;
	uv_loop_t *loop;
	uv_pipe_t pipe;
	struct conn *conns;
	size_t n_conns;
	uint64_t uses;  /* grows with every use of any of them */
	size_t handles; /* listener and connections whose memory the loop still holds */
	bool closing;
};

struct write {
	uv_write_t req;
	struct conn *conn;
	char *bytes;
};

static void conn_process(struct conn *c);
static void conn_refuse(struct conn *c, const char *text);

static void server_unhold(struct ipc_server *s)
{
	if (--s->handles == 0 && s->closing) {
		ipc_listen_fini(&s->listen);
		free(s);
	}
}

static void on_conn_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;

	if (--c->handles > 0)
		return;
	server_unhold(c->server);
	ipc_frame_fini(&c->in);
	free(c);
}

/* The call loses its client; whoever waits for the client to read need not wait longer.
 */
static void call_orphan(struct ipc_call *call)
{
	void (*drained)(void *ctx, struct ipc_call *call) = call->drained;

	call->conn = NULL;
	call->drained = NULL;
	if (drained != NULL)
		drained(call->drained_ctx, call);
}

static void conn_close(struct conn *c)
{
	struct ipc_call *call = c->call;

	if (c->closing)
		return;
	c->closing = true;
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		c->server->conns = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	c->server->n_conns--;
	c->call = NULL;
	uv_close((uv_handle_t *)&c->pipe, on_conn_closed);
	uv_close((uv_handle_t *)&c->stall, on_conn_closed);
	if (call != NULL)
		call_orphan(call);
}

static void on_stall(uv_timer_t *timer)
{
	struct conn *c = timer->data;
	size_t queued = uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe);

	if (queued > 0 && queued == c->stalled_at) {
		conn_close(c);
		return;
	}
	c->stalled_at = queued;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct conn *c = handle->data;
	char *at;
	size_t room;

	if (ipc_frame_room(&c->in, suggested, &at, &room) != 0)
		*buf = uv_buf_init(NULL, 0); /* on_read gets UV_ENOBUFS */
	else
		*buf = uv_buf_init(at, (unsigned int)room);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = stream->data;

	(void)buf;
	if (n == UV_ENOBUFS) {
		conn_refuse(c, "the request is longer than this server takes");
		return;
	}
	if (n < 0) {
		conn_close(c);
		return;
	}
	ipc_frame_added(&c->in, (size_t)n);
	c->used = ++c->server->uses;
	conn_process(c);
}

static void on_written(uv_write_t *req, int status)
{
	struct write *w = (struct write *)req;
	struct conn *c = w->conn;

	free(w->bytes);
	free(w);
	if (c->closing)
		return;
	if (status != 0) {
		conn_close(c);
		return;
	}
	if (uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) > 0)
		return;
	(void)uv_timer_stop(&c->stall);
	if (c->hangup) {
		conn_close(c);
	} else if (c->call != NULL) {
		struct ipc_call *call = c->call;
		void (*drained)(void *ctx, struct ipc_call *call) = call->drained;

		call->drained = NULL;
		if (drained != NULL)
			drained(call->drained_ctx, call);
	} else {
		conn_process(c);
	}
}

static int conn_send(struct conn *c, const json_t *message)
{
	struct write *w = calloc(1, sizeof(*w));
	size_t len;
	uv_buf_t buf;

	if (w == NULL)
		return -ENOMEM;
	w->conn = c;
	w->bytes = ipc_frame_encode(message, &len);
	if (w->bytes == NULL) {
		free(w);
		return -ENOMEM;
	}
	buf = uv_buf_init(w->bytes, (unsigned int)len);
	if (uv_write(&w->req, (uv_stream_t *)&c->pipe, &buf, 1, on_written) != 0) {
		free(w->bytes);
		free(w);
		return ERR_UNREACHABLE;
	}
	if (!uv_is_active((uv_handle_t *)&c->stall)) {
		c->stalled_at = 0;
		(void)uv_timer_start(&c->stall, on_stall, c->server->conf.stall_ms,
			c->server->conf.stall_ms);
	}
	return 0;
}

/* A client that does not speak varlink is told so, once, and then hung up on. */
static void conn_refuse(struct conn *c, const char *text)
{
	json_t *answer = json_pack("{s:s, s:{s:s}}", "error", IPC_INVALID_PARAMETER,
		"parameters", "text", text);

	c->hangup = true;
	(void)uv_read_stop((uv_stream_t *)&c->pipe);
	if (answer == NULL || conn_send(c, answer) != 0)
		conn_close(c);
	json_decref(answer);
}

static struct ipc_call *call_new(struct conn *c, json_t *request)
{
	struct ipc_call *call = calloc(1, sizeof(*call));

	if (call == NULL)
		return NULL;
	call->conn = c;
	call->request = request;
	call->more = json_is_true(json_object_get(request, "more"));
	call->oneway = json_is_true(json_object_get(request, "oneway"));
	return call;
}

static void call_free(struct ipc_call *call)
{
	json_decref(call->request);
	free(call);
}

static void on_unknown(void *ctx, struct ipc_call *call, json_t *params)
{
	(void)ctx;
	(void)params;
	ipc_error(call, IPC_METHOD_NOT_FOUND, "no method %s here",
		json_string_value(json_object_get(call->request, "method")));
}

static ipc_handler method_find(const struct ipc_server *s, const char *name)
{
	for (const struct ipc_method *m = s->conf.methods; m->name != NULL; m++)
		if (strcmp(m->name, name) == 0)
			return m->run;
	return on_unknown;
}

/* Takes over the request. */
static void conn_dispatch(struct conn *c, json_t *request)
{
	const char *method = json_string_value(json_object_get(request, "method"));
	json_t *params = json_object_get(request, "parameters");

	if (method == NULL || (params != NULL && !json_is_object(params))) {
		json_decref(request);
		conn_refuse(c, "a call is an object with \"method\" and \"parameters\"");
		return;
	}
	if (params == NULL) {
		params = json_object();
		if (params == NULL ||
			json_object_set_new(request, "parameters", params) != 0) {
			json_decref(request);
			conn_close(c);
			return;
		}
	}
	c->call = call_new(c, request);
	if (c->call == NULL) {
		json_decref(request);
		conn_close(c);
		return;
	}
	c->dispatching = true;
	method_find(c->server, method)(c->server->conf.ctx, c->call, params);
	c->dispatching = false;
}

/*
 * Start the calls that are there, one after the other, as long as each is answered at
 * once and its answer has left; then read on, or wait.
 */
static void conn_process(struct conn *c)
{
	if (c->dispatching)
		return;
	while (!c->closing && !c->hangup && c->call == NULL &&
		uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) == 0) {
		json_t *request;
		int err = ipc_frame_next(&c->in, &request);

		if (err == ERR_NOTFOUND) {
			(void)uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read);
			return;
		}
		if (err != 0) {
			conn_refuse(c, "a message is one JSON object and a NUL");
			return;
		}
		conn_dispatch(c, request);
	}
	/*
	 * Read on while room is left, to notice a client that goes away; without room the
	 * requests wait in the socket.
	 */
	if (!c->closing && (c->hangup || c->in.len == c->in.max))
		(void)uv_read_stop((uv_stream_t *)&c->pipe);
}

/* Over the bound the longest idle connection makes way; busy ones are never cut. */
static bool server_has_room(struct ipc_server *s)
{
	struct conn *oldest = NULL;

	if (s->n_conns < s->conf.max_connections)
		return true;
	for (struct conn *c = s->conns; c != NULL; c = c->next)
		if (c->call == NULL && (oldest == NULL || c->used < oldest->used))
			oldest = c;
	if (oldest == NULL)
		return false;
	conn_close(oldest);
	return true;
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct ipc_server *s = listener->data;
	struct conn *c;
	bool room;

	if (status != 0)
		return;
	room = server_has_room(s);
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return;
	c->server = s;
	c->handles = 2;
	s->handles++;
	(void)uv_pipe_init(s->loop, &c->pipe, 0);
	(void)uv_timer_init(s->loop, &c->stall);
	c->pipe.data = c;
	c->stall.data = c;
	ipc_frame_init(&c->in, s->conf.max_request);
	c->used = ++s->uses;
	c->next = s->conns;
	if (s->conns != NULL)
		s->conns->prev = c;
	s->conns = c;
	s->n_conns++;
	if (uv_accept(listener, (uv_stream_t *)&c->pipe) != 0 || !room)
		conn_close(c);
	else
		conn_process(c);
}

static void on_listener_closed(uv_handle_t *handle)
{
	server_unhold(handle->data);
}

int ipc_server_new(uv_loop_t *loop, const struct ipc_server_conf *conf,
	struct ipc_server **server, char *why, size_t why_size)
{
	struct ipc_server *s = calloc(1, sizeof(*s));
	int err;

	if (s == NULL)
		return -ENOMEM;
	s->conf = *conf;
	if (s->conf.max_connections == 0)
		s->conf.max_connections = DEFAULT_CONNECTIONS;
	if (s->conf.max_request == 0)
		s->conf.max_request = DEFAULT_REQUEST;
	if (s->conf.stall_ms == 0)
		s->conf.stall_ms = DEFAULT_STALL_MS;
	if (s->conf.mode == 0)
		s->conf.mode = DEFAULT_MODE;
	s->loop = loop;
	err = ipc_listen_init(&s->listen, conf->path, s->conf.mode, why, why_size);
	if (err != 0) {
		free(s);
		return err;
	}
	/* libuv writes without MSG_NOSIGNAL: a client that left would end the daemon. */
	(void)signal(SIGPIPE, SIG_IGN);
	s->handles = 1;
	(void)uv_pipe_init(loop, &s->pipe, 0);
	s->pipe.data = s;
	err = uv_pipe_open(&s->pipe, s->listen.fd);
	if (err == 0)
		err = uv_listen((uv_stream_t *)&s->pipe, 64, on_connection);
	if (err != 0) {
		(void)snprintf(why, why_size, "cannot listen on %s: %s", conf->path,
			uv_strerror(err));
		ipc_server_free(s);
		return err;
	}
	*server = s;
	return 0;
}

void ipc_server_free(struct ipc_server *s)
{
	if (s == NULL)
		return;
	s->closing = true;
	/* At once, not with the close callback: a successor may start in the meantime. */
	ipc_listen_fini(&s->listen);
	while (s->conns != NULL)
		conn_close(s->conns);
	uv_close((uv_handle_t *)&s->pipe, on_listener_closed);
}

/* Send one answer of the call; takes over it. */
static int call_send(struct ipc_call *call, json_t *answer)
{
	int err = ERR_UNREACHABLE;

	if (call->conn != NULL && !call->oneway) {
		err = answer != NULL ? conn_send(call->conn, answer) : -ENOMEM;
		if (err != 0)
			conn_close(call->conn);
	}
	json_decref(answer);
	return err;
}

static void call_end(struct ipc_call *call, json_t *answer)
{
	struct conn *c;

	call->drained = NULL;
	(void)call_send(call, answer); /* to nobody when the client is gone */
	c = call->conn;
	call_free(call);
	if (c == NULL)
		return;
	c->call = NULL;
	c->used = ++c->server->uses;
	conn_process(c);
}

static json_t *call_answer(json_t *params, bool continues)
{
	if (params == NULL)
		params = json_object();
	return continues ? json_pack("{s:o, s:b}", "parameters", params, "continues", 1)
			 : json_pack("{s:o}", "parameters", params);
}

void ipc_reply(struct ipc_call *call, json_t *params)
{
	call_end(call, call_answer(params, false));
}

void ipc_error(struct ipc_call *call, const char *name, const char *format, ...)
{
	char text[IPC_WHY];
	json_t *quoted;
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* A text cut inside a character is no JSON. */
	quoted = json_string(text);
	if (quoted == NULL)
		quoted = json_string("(the reason cannot be printed)");
	call_end(call,
		json_pack("{s:s, s:{s:o}}", "error", name, "parameters", "text", quoted));
}

void ipc_error_code(struct ipc_call *call, int code, const char *text)
{
	ipc_error(call, ipc_error_from_code(code), "%s", text);
}

bool ipc_wants_more(const struct ipc_call *call)
{
	return call->more;
}

bool ipc_is_gone(const struct ipc_call *call)
{
	return call->conn == NULL;
}

int ipc_continue(struct ipc_call *call, json_t *params)
{
	assert(call->more);
	if (call->conn != NULL && uv_stream_get_write_queue_size(
					  (uv_stream_t *)&call->conn->pipe) > QUEUE_MAX)
		conn_close(call->conn);
	return call_send(call, call_answer(params, true));
}

void ipc_when_drained(
	struct ipc_call *call, void (*fn)(void *ctx, struct ipc_call *call), void *ctx)
{
	if (call->conn == NULL || !uv_is_active((uv_handle_t *)&call->conn->stall)) {
		fn(ctx, call);
		return;
	}
	call->drained = fn;
	call->drained_ctx = ctx;
}
