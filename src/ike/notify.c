/* Records of fixed length from a stream, one buffer of one record. */
#include "ike/notify.h"

#include <errno.h>
#include <stdlib.h>

#define AGAIN_MS 1000

struct notify {
	struct notify_conf conf;
	uv_loop_t *loop;
	uv_pipe_t pipe;
	uv_connect_t connect;
	uv_timer_t again;
	bool pipe_open, up, closing;
	uint8_t record[ENFY_RECORD];
	size_t have;
};

static void on_pipe_closed(uv_handle_t *handle)
{
	struct notify *n = handle->data;

	n->pipe_open = false;
	if (n->closing && !uv_is_active((const uv_handle_t *)&n->again) &&
		n->again.data == NULL)
		free(n);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct notify *n = (struct notify *)(void *)((char *)handle -
						     offsetof(struct notify, again));

	n->again.data = NULL;
	if (!n->pipe_open)
		free(n);
}

static void lost(struct notify *n)
{
	bool was = n->up;

	n->up = false;
	n->have = 0;
	if (n->pipe_open && !uv_is_closing((const uv_handle_t *)&n->pipe))
		uv_close((uv_handle_t *)&n->pipe, on_pipe_closed);
	if (was && !n->closing)
		n->conf.state(n->conf.ctx, false);
}

static void on_record(struct notify *n)
{
	struct enfy e;

	if (enfy_decode(n->record, &e) == 0)
		n->conf.said(n->conf.ctx, &e);
	else
		n->conf.rubbish(n->conf.ctx);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct notify *n = handle->data;

	(void)suggested;
	*buf = uv_buf_init(
		(char *)n->record + n->have, (unsigned int)(ENFY_RECORD - n->have));
}

static void on_bytes(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
	struct notify *n = stream->data;

	(void)buf;
	if (got < 0) {
		lost(n);
		return;
	}
	n->have += (size_t)got;
	if (n->have < ENFY_RECORD)
		return;
	n->have = 0;
	on_record(n);
}

static void on_connected(uv_connect_t *req, int status)
{
	struct notify *n = req->data;

	if (n->closing || status == UV_ECANCELED)
		return;
	if (status == 0)
		status = uv_read_start((uv_stream_t *)&n->pipe, on_room, on_bytes);
	if (status != 0) {
		lost(n);
		return;
	}
	n->up = true;
	n->conf.state(n->conf.ctx, true);
}

static void on_again(uv_timer_t *timer)
{
	struct notify *n = timer->data;

	if (n->pipe_open || uv_pipe_init(n->loop, &n->pipe, 0) != 0)
		return;
	n->pipe_open = true;
	n->pipe.data = n->connect.data = n;
	uv_pipe_connect(&n->connect, &n->pipe, n->conf.path, on_connected);
}

int notify_new(uv_loop_t *loop, const struct notify_conf *conf, struct notify **notify)
{
	struct notify *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return -ENOMEM;
	n->conf = *conf;
	n->loop = loop;
	(void)uv_timer_init(loop, &n->again); /* cannot fail */
	n->again.data = n;
	(void)uv_timer_start(&n->again, on_again, 0, AGAIN_MS);
	*notify = n;
	return 0;
}

void notify_free(struct notify *n)
{
	if (n == NULL)
		return;
	n->closing = true;
	lost(n);
	uv_close((uv_handle_t *)&n->again, on_timer_closed);
}
