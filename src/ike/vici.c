/*
 * The connections to charon.  It runs one command at a time on each and answers in order,
 * so a command that waits (initiate) holds its connection; the others go on beside it.
 * A connection that broke its protocol or ran out of time is closed and made anew: what
 * its command did is then unknown, and its caller is told so.
 */
#include "ike/vici.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>

#define COMMANDS   12 /* connections for them */
#define WAITING    1024
#define AGAIN_MS   1000
#define TIMEOUT_MS 10000
#define FIRST_ROOM 4096

struct job {
	struct job *next;
	struct vici_command command;
	uint8_t *bytes; /* the packet with its length */
	size_t len;
};

enum state { DOWN, CONNECTING, REGISTERING, READY };

struct conn {
	struct vici *of;
	uv_pipe_t pipe;
	uv_connect_t connect;
	uv_timer_t deadline;
	enum state state;
	bool pipe_open;
	unsigned int unconfirmed;
	struct job *job;
	uint8_t *in;
	size_t in_len, in_size;
};

struct vici {
	uv_loop_t *loop;
	struct vici_conf conf;
	struct conn conns[1 + COMMANDS]; /* the first one for events */
	uv_timer_t again;
	struct job *first, *last; /* wait for a connection */
	size_t waiting;
	unsigned int handles; /* not closed yet */
	bool closing;
};

static const char *const streamed[] = { "control-log", "list-sa", NULL };

struct write {
	uv_write_t req;
	uint8_t bytes[];
};

static bool for_events(const struct conn *c)
{
	return c == &c->of->conns[0];
}

static void job_free(struct job *job)
{
	if (job == NULL)
		return;
	free(job->bytes);
	free(job);
}

static void handle_gone(struct vici *v)
{
	if (--v->handles > 0 || !v->closing)
		return;
	for (size_t i = 0; i <= COMMANDS; i++)
		free(v->conns[i].in);
	free(v);
}

static void on_pipe_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;

	c->pipe_open = false;
	handle_gone(c->of);
}

static void on_timer_closed(uv_handle_t *handle)
{
	handle_gone(handle->data);
}

static void job_end(struct job *job, int err)
{
	if (job != NULL && job->command.done != NULL)
		job->command.done(job->command.arg, err, NULL, 0);
	job_free(job);
}

static void on_again(uv_timer_t *timer);

/* The connection is of no more use; its command learns it.  False: it was closed before.
 */
static bool conn_end(struct conn *c, int err)
{
	struct vici *v = c->of;
	struct job *job = c->job;
	bool was = c->state == READY;

	if (c->state == DOWN)
		return false;
	c->state = DOWN;
	c->job = NULL;
	c->in_len = 0;
	c->unconfirmed = 0;
	(void)uv_timer_stop(&c->deadline);
	if (c->pipe_open && !uv_is_closing((const uv_handle_t *)&c->pipe))
		uv_close((uv_handle_t *)&c->pipe, on_pipe_closed);
	if (v->closing) {
		job_free(job);
		return false;
	}
	if (!uv_is_active((const uv_handle_t *)&v->again))
		(void)uv_timer_start(&v->again, on_again, was ? 0 : AGAIN_MS, AGAIN_MS);
	job_end(job, err);
	return true;
}

/* charon is gone, and with it what waits for an answer. */
static void all_lost(struct vici *v, const char *why)
{
	struct job *job = v->first, *next;

	v->first = v->last = NULL;
	v->waiting = 0;
	for (size_t i = 1; i <= COMMANDS; i++)
		(void)conn_end(&v->conns[i], ERR_UNREACHABLE);
	for (; job != NULL; job = next) {
		next = job->next;
		job_end(job, ERR_UNREACHABLE);
	}
	v->conf.state(v->conf.ctx, false, why);
}

static void conn_drop(struct conn *c, int err, const char *why)
{
	if (conn_end(c, err) && for_events(c))
		all_lost(c->of, why);
}

static void on_written(uv_write_t *req, int status)
{
	struct conn *c = req->data;

	if (status != 0 && status != UV_ECANCELED)
		conn_drop(c, ERR_UNREACHABLE, "charon closed the connection");
	free((void *)req); /* the first member of its struct write */
}

static int conn_send(struct conn *c, const uint8_t *bytes, size_t len)
{
	struct write *w = malloc(sizeof(*w) + len);
	uv_buf_t buf;
	int err;

	if (w == NULL)
		return -ENOMEM;
	memcpy(w->bytes, bytes, len);
	w->req.data = c;
	buf = uv_buf_init((char *)w->bytes, (unsigned int)len);
	err = uv_write(&w->req, (uv_stream_t *)&c->pipe, &buf, 1, on_written);
	if (err != 0)
		free(w);
	return err;
}

/* The packet that wr holds behind four bytes left free for its length. */
static size_t packet_end(struct wr *w)
{
	size_t len = wr_len(w);
	struct wr head = wr_init(w->start, 4);

	wr_u32(&head, (uint32_t)(len - 4));
	return len;
}

static void on_deadline(uv_timer_t *timer)
{
	struct conn *c =
		(struct conn *)(void *)((char *)timer - offsetof(struct conn, deadline));

	conn_drop(c, -ETIMEDOUT, "charon does not answer in time");
}

/* Give an idle connection the command that waits longest. */
static void conn_next(struct conn *c)
{
	struct vici *v = c->of;
	struct job *job = v->first;
	uint32_t timeout;

	if (for_events(c) || c->state != READY || c->job != NULL || job == NULL)
		return;
	v->first = job->next;
	if (v->first == NULL)
		v->last = NULL;
	v->waiting--;
	c->job = job;
	timeout = job->command.timeout_ms != 0 ? job->command.timeout_ms : TIMEOUT_MS;
	(void)uv_timer_start(&c->deadline, on_deadline, timeout, 0);
	if (conn_send(c, job->bytes, job->len) != 0)
		conn_drop(c, ERR_UNREACHABLE, "charon closed the connection");
}

static int conn_register(struct conn *c)
{
	const char *const *events = for_events(c) ? c->of->conf.events : streamed;

	for (; *events != NULL; events++) {
		uint8_t bytes[4 + 2 + VICI_NAME_MAX] = { 0 };
		struct wr w = wr_init(bytes, sizeof(bytes));
		int err;

		(void)wr_take(&w, 4);
		vici_head(&w, VICI_REGISTER, *events);
		err = w.bad ? ERR_RANGE : conn_send(c, bytes, packet_end(&w));
		if (err != 0)
			return err;
		c->unconfirmed++;
	}
	c->state = REGISTERING;
	return 0;
}

/* --- what comes in --------------------------------------------------------------------
 */

static int on_confirm(struct conn *c, bool known)
{
	if (c->state != REGISTERING || c->unconfirmed == 0)
		return ERR_PROTOCOL;
	if (!known)
		return ERR_UNSUPPORTED;
	if (--c->unconfirmed > 0)
		return 0;
	c->state = READY;
	(void)uv_timer_stop(&c->deadline);
	if (for_events(c))
		c->of->conf.state(c->of->conf.ctx, true, "");
	conn_next(c);
	return 0;
}

static int on_response(struct conn *c, const struct vici_in *in)
{
	struct job *job = c->job;
	bool known = in->type == VICI_RESPONSE;

	if (job == NULL)
		return ERR_PROTOCOL;
	c->job = NULL;
	(void)uv_timer_stop(&c->deadline);
	if (job->command.done != NULL)
		job->command.done(
			job->command.arg, known ? 0 : ERR_UNSUPPORTED, in->body, in->len);
	job_free(job);
	return 0;
}

static int on_packet(struct conn *c, const uint8_t *packet, size_t len)
{
	struct vici_in in;

	if (vici_open(packet, len, &in) != 0)
		return ERR_PROTOCOL;
	switch (in.type) {
	case VICI_CONFIRM:
	case VICI_UNKNOWN_EVENT:
		return on_confirm(c, in.type == VICI_CONFIRM);
	case VICI_RESPONSE:
	case VICI_UNKNOWN_COMMAND:
		return on_response(c, &in);
	case VICI_EVENT:
		if (for_events(c))
			c->of->conf.event(c->of->conf.ctx, in.name, in.body, in.len);
		else if (c->job != NULL && c->job->command.said != NULL)
			c->job->command.said(
				c->job->command.arg, in.name, in.body, in.len);
		return 0;
	default:
		return ERR_PROTOCOL;
	}
}

/* All whole packets of what has come. */
static void conn_work(struct conn *c)
{
	size_t at = 0;
	int err = 0;

	while (err == 0 && c->state >= REGISTERING) {
		int n = vici_frame(c->in + at, c->in_len - at);

		if (n < 0)
			err = ERR_PROTOCOL;
		if (n <= 0 || (size_t)n > c->in_len - at)
			break;
		err = on_packet(c, c->in + at + 4, (size_t)n - 4);
		at += (size_t)n;
	}
	if (c->state < REGISTERING)
		return; /* dropped by what was called */
	if (err != 0) {
		conn_drop(c, err,
			err == ERR_UNSUPPORTED ? "charon does not know one of the events"
					       : "what charon says is no VICI");
		return;
	}
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
	conn_next(c);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct conn *c = handle->data;

	(void)suggested;
	*buf = uv_buf_init(NULL, 0);
	if (c->in_len == c->in_size) {
		size_t size = c->in_size > 0 ? 2 * c->in_size : FIRST_ROOM;
		uint8_t *in = size <= 2 * VICI_PACKET_MAX ? realloc(c->in, size) : NULL;

		if (in == NULL)
			return; /* libuv then reports UV_ENOBUFS */
		c->in = in;
		c->in_size = size;
	}
	*buf = uv_buf_init(
		(char *)c->in + c->in_len, (unsigned int)(c->in_size - c->in_len));
}

static void on_bytes(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = stream->data;

	(void)buf;
	if (n < 0) {
		conn_drop(c, ERR_UNREACHABLE, "charon closed the connection");
	} else if (n > 0) {
		c->in_len += (size_t)n;
		conn_work(c);
	}
}

static void on_connected(uv_connect_t *req, int status)
{
	struct conn *c = req->data;

	if (status == UV_ECANCELED || c->state != CONNECTING)
		return;
	if (status == 0)
		status = uv_read_start((uv_stream_t *)&c->pipe, on_room, on_bytes);
	if (status == 0)
		status = conn_register(c);
	if (status != 0)
		conn_drop(c, ERR_UNREACHABLE, "nobody listens there");
}

static void conn_start(struct conn *c)
{
	struct vici *v = c->of;

	if (c->state != DOWN || c->pipe_open)
		return;
	if (uv_pipe_init(v->loop, &c->pipe, 0) != 0)
		return;
	c->pipe_open = true;
	v->handles++;
	c->pipe.data = c;
	c->connect.data = c;
	c->state = CONNECTING;
	(void)uv_timer_start(&c->deadline, on_deadline, TIMEOUT_MS, 0);
	uv_pipe_connect(&c->connect, &c->pipe, v->conf.path, on_connected);
}

static void on_again(uv_timer_t *timer)
{
	struct vici *v = timer->data;
	bool all = true;

	/* The commands' only once the first one tells that somebody is there. */
	for (size_t i = 0; i <= COMMANDS; i++) {
		if (i > 0 && v->conns[0].state != READY) {
			all = false;
			break;
		}
		conn_start(&v->conns[i]);
		all = all && v->conns[i].state == READY;
	}
	if (all)
		(void)uv_timer_stop(timer);
}

/* --- calls ----------------------------------------------------------------------------
 */

int vici_new(uv_loop_t *loop, const struct vici_conf *conf, struct vici **vici)
{
	struct vici *v = calloc(1, sizeof(*v));

	if (v == NULL)
		return -ENOMEM;
	v->loop = loop;
	v->conf = *conf;
	(void)uv_timer_init(loop, &v->again); /* cannot fail */
	v->again.data = v;
	for (size_t i = 0; i <= COMMANDS; i++) {
		v->conns[i].of = v;
		(void)uv_timer_init(loop, &v->conns[i].deadline);
		v->conns[i].deadline.data = v;
	}
	v->handles = 2 + COMMANDS;
	(void)uv_timer_start(&v->again, on_again, 0, AGAIN_MS);
	*vici = v;
	return 0;
}

void vici_free(struct vici *v)
{
	struct job *next;

	if (v == NULL)
		return;
	v->closing = true;
	for (struct job *job = v->first; job != NULL; job = next) {
		next = job->next;
		job_free(job);
	}
	v->first = v->last = NULL;
	for (size_t i = 0; i <= COMMANDS; i++) {
		conn_drop(&v->conns[i], 0, "");
		uv_close((uv_handle_t *)&v->conns[i].deadline, on_timer_closed);
	}
	uv_close((uv_handle_t *)&v->again, on_timer_closed);
}

bool vici_is_up(const struct vici *v)
{
	return v->conns[0].state == READY;
}

static struct job *job_new(const struct vici_command *command)
{
	struct job *job = calloc(1, sizeof(*job));
	size_t size = 4 + 2 + strlen(command->name) + command->len;
	struct wr w;

	if (job != NULL)
		job->bytes = malloc(size);
	if (job == NULL || job->bytes == NULL) {
		free(job);
		return NULL;
	}
	w = wr_init(job->bytes, size);
	(void)wr_take(&w, 4);
	vici_head(&w, VICI_REQUEST, command->name);
	wr_bytes(&w, command->body, command->len);
	job->len = packet_end(&w);
	job->command = *command;
	job->command.body = NULL;
	return job;
}

int vici_call(struct vici *v, const struct vici_command *command)
{
	struct job *job;

	if (!vici_is_up(v))
		return ERR_UNREACHABLE;
	if (v->waiting >= WAITING || command->len > VICI_PACKET_MAX - 2 - VICI_NAME_MAX)
		return ERR_NOSPACE;
	job = job_new(command);
	if (job == NULL)
		return -ENOMEM;
	if (v->last != NULL)
		v->last->next = job;
	else
		v->first = job;
	v->last = job;
	v->waiting++;
	for (size_t i = 1; i <= COMMANDS && v->first != NULL; i++)
		conn_next(&v->conns[i]);
	return 0;
}
