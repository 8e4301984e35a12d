/*
 * libmicrohttpd under libuv: the library's epoll descriptor is polled like any other, so
 * a scrape runs in the program's one thread and sees numbers that belong together. Bounds
 * are the library's: connections, memory a connection, idle time.
 */
#include "metrics/http.h"

#include "base/addr.h"
#include "base/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS 16
#define IDLE_S      10

struct metrics_http {
	struct metrics_http_conf conf;
	struct MHD_Daemon *daemon;
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned int handles;
};

static struct MHD_Response *answer_text(
	const char *text, size_t len, enum MHD_ResponseMemoryMode mode)
{
	/* The library takes void * for both modes; with MUST_COPY it only reads. */
	union {
		const char *borrowed;
		void *any;
	} u = { .borrowed = text };
	struct MHD_Response *r = MHD_create_response_from_buffer(len, u.any, mode);

	if (r == NULL && mode == MHD_RESPMEM_MUST_FREE)
		free(u.any);
	return r;
}

static struct MHD_Response *answer_metrics(struct metrics_http *h, unsigned int *status)
{
	size_t len;
	char *text = metrics_text(h->conf.collect, h->conf.ctx, &len);

	*status = MHD_HTTP_OK;
	return text != NULL ? answer_text(text, len, MHD_RESPMEM_MUST_FREE) : NULL;
}

static struct MHD_Response *answer_health(struct metrics_http *h, unsigned int *status)
{
	char why[METRICS_WHY] = "", line[METRICS_WHY + 1];

	*status = MHD_HTTP_OK;
	if (h->conf.healthy != NULL && !h->conf.healthy(h->conf.ctx, why, METRICS_WHY))
		*status = MHD_HTTP_SERVICE_UNAVAILABLE;
	else
		(void)snprintf(why, sizeof(why), "ok");
	(void)snprintf(line, sizeof(line), "%s\n", why);
	return answer_text(line, strlen(line), MHD_RESPMEM_MUST_COPY);
}

static struct MHD_Response *answer_error(unsigned int code, unsigned int *status)
{
	const char *text = code == MHD_HTTP_NOT_FOUND ? "here are /metrics and /healthz\n"
						      : "only GET and HEAD\n";

	*status = code;
	return answer_text(text, strlen(text), MHD_RESPMEM_MUST_COPY);
}

/* "10.0.0.1:9455", "[::1]", "localhost:9455"; a missing one is no browser's. */
static bool host_is_ours(struct MHD_Connection *connection)
{
	const char *host = MHD_lookup_connection_value(
		connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
	size_t n = host != NULL && strncmp(host, "localhost", 9) == 0 ? 9 : 0;

	return host == NULL || host[n + strspn(host + n, "0123456789.:[]")] == 0;
}

static const char *const guards[][2] = {
	{ "Content-Security-Policy",
		"default-src 'none'; script-src 'self'; style-src 'self'; connect-src "
		"'self'; img-src data:; base-uri 'none'; form-action 'none'; "
		"frame-ancestors 'none'" },
	{ "X-Content-Type-Options", "nosniff" },
	{ "Referrer-Policy", "no-referrer" },
	{ "Cache-Control", "no-cache" },
};

static struct MHD_Response *answer_file(struct metrics_http *h,
	struct MHD_Connection *connection, const char *url, const char **type,
	unsigned int *status)
{
	struct MHD_Response *r;
	const void *bytes = NULL;
	size_t len = 0;

	if (h->conf.file != NULL && host_is_ours(connection))
		bytes = h->conf.file(h->conf.ctx, url, type, &len);
	if (bytes == NULL)
		return answer_error(MHD_HTTP_NOT_FOUND, status);
	*status = MHD_HTTP_OK;
	r = answer_text(bytes, len, MHD_RESPMEM_MUST_COPY);
	for (size_t i = 0; r != NULL && i < sizeof(guards) / sizeof(guards[0]); i++)
		(void)MHD_add_response_header(r, guards[i][0], guards[i][1]);
	return r;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection,
	const char *url, const char *method, const char *version, const char *upload,
	size_t *upload_len, void **request)
{
	const char *type = "text/plain; version=0.0.4; charset=utf-8";
	struct metrics_http *h = cls;
	struct MHD_Response *r;
	enum MHD_Result result;
	unsigned int status;

	(void)version;
	(void)upload;
	if (*request == NULL) { /* the headers only; the library calls again */
		*request = h;
		return MHD_YES;
	}
	if (*upload_len > 0) { /* read past: a body changes nothing */
		*upload_len = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
		strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		r = answer_error(MHD_HTTP_METHOD_NOT_ALLOWED, &status);
	else if (strcmp(url, "/metrics") == 0)
		r = answer_metrics(h, &status);
	else if (strcmp(url, "/healthz") == 0)
		r = answer_health(h, &status);
	else
		r = answer_file(h, connection, url, &type, &status);
	if (r == NULL)
		return MHD_NO;
	(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	result = MHD_queue_response(connection, status, r);
	MHD_destroy_response(r);
	return result;
}

static void on_timer(uv_timer_t *timer);

static void http_run(struct metrics_http *h)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;

	(void)MHD_run(h->daemon);
	if (MHD_get_timeout(h->daemon, &wait_ms) == MHD_YES)
		(void)uv_timer_start(&h->timer, on_timer, wait_ms, 0);
	else
		(void)uv_timer_stop(&h->timer);
}

static void on_timer(uv_timer_t *timer)
{
	http_run(timer->data);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	http_run(poll->data);
}

static int http_start(struct metrics_http *h)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_port = htons(h->conf.port),
		.sin_addr.s_addr = htonl(h->conf.addr),
	};

	errno = 0;
	h->daemon = MHD_start_daemon(MHD_USE_EPOLL, h->conf.port, NULL, NULL, on_request,
		h, MHD_OPTION_SOCK_ADDR, &at, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned int)CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned int)IDLE_S, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1U,
		MHD_OPTION_END);
	if (h->daemon == NULL)
		return errno != 0 ? -errno : -EADDRNOTAVAIL;
	return 0;
}

int metrics_http_new(uv_loop_t *loop, const struct metrics_http_conf *conf,
	struct metrics_http **http, char *why, size_t why_size)
{
	struct metrics_http *h = calloc(1, sizeof(*h));
	const union MHD_DaemonInfo *info;
	char addr[ADDR_TEXT_MAX];
	int err;

	if (h == NULL)
		return -ENOMEM;
	h->conf = *conf;
	err = http_start(h);
	if (err != 0) {
		(void)snprintf(why, why_size, "metrics cannot listen on %s:%u: %s",
			addr_format(conf->addr, addr), conf->port, err_text(err));
		free(h);
		return err;
	}
	info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	err = info != NULL ? uv_poll_init(loop, &h->poll, info->epoll_fd) : -EBADF;
	if (err != 0) {
		/* Only without memory: an epoll descriptor can be polled. */
		(void)snprintf(why, why_size, "metrics: %s", uv_strerror(err));
		MHD_stop_daemon(h->daemon);
		free(h);
		return err;
	}
	(void)uv_timer_init(loop, &h->timer);
	h->poll.data = h;
	h->timer.data = h;
	h->handles = 2;
	(void)uv_poll_start(&h->poll, UV_READABLE, on_ready);
	*http = h;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct metrics_http *h = handle->data;

	if (--h->handles > 0)
		return;
	free(h);
}

void metrics_http_free(struct metrics_http *h)
{
	if (h == NULL)
		return;
	(void)uv_poll_stop(&h->poll);
	MHD_stop_daemon(h->daemon);
	uv_close((uv_handle_t *)&h->poll, on_closed);
	uv_close((uv_handle_t *)&h->timer, on_closed);
}
