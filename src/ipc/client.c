/*
 * The calling end of a control socket, for programs that may wait: one call at a time,
 * each wait bounded by the caller's timeout.
 */
#include "base/err.h"
#include "ipc/error.h"
#include "ipc/frame.h"
#include "ipc/ipc.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* An answer in one piece may be long; a daemon of ours sends long lists in pieces. */
#define ANSWER_MAX ((size_t)64 * 1024 * 1024)

struct ipc_client {
	char *path;
	int fd;
	struct ipc_frame in;
};

static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail on Linux */
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int ipc_client_new(
	const char *path, struct ipc_client **client, char *why, size_t why_size)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct ipc_client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	ipc_frame_init(&c->in, ANSWER_MAX);
	c->path = strdup(path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || c->path == NULL) {
		ipc_client_free(c);
		return -ENOMEM;
	}
	errno = ENAMETOOLONG;
	if (strlen(path) < sizeof(addr.sun_path)) {
		memcpy(addr.sun_path, path, strlen(path) + 1);
		if (connect(c->fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0) {
			*client = c;
			return 0;
		}
	}
	(void)snprintf(
		why, why_size, "no daemon answers on %s: %s", path, strerror(errno));
	ipc_client_free(c);
	return ERR_UNREACHABLE;
}

void ipc_client_free(struct ipc_client *c)
{
	if (c == NULL)
		return;
	if (c->fd >= 0)
		(void)close(c->fd);
	ipc_frame_fini(&c->in);
	free(c->path);
	free(c);
}

/* Until the socket is ready for `events`, or end_ms (0: for ever). */
static int client_wait(struct ipc_client *c, short events, uint64_t end_ms)
{
	for (;;) {
		struct pollfd p = { .fd = c->fd, .events = events };
		uint64_t now = now_ms();
		uint64_t left = end_ms > now ? end_ms - now : 0;
		int n = poll(
			&p, 1, end_ms == 0 ? -1 : (int)(left < INT_MAX ? left : INT_MAX));

		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int client_send(
	struct ipc_client *c, const char *bytes, size_t len, uint64_t end_ms)
{
	while (len > 0) {
		ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0) {
			bytes += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			int err = client_wait(c, POLLOUT, end_ms);

			if (err != 0)
				return err;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

static int client_receive(struct ipc_client *c, uint64_t end_ms, json_t **message)
{
	for (;;) {
		int err = ipc_frame_next(&c->in, message);
		size_t room;
		ssize_t n;
		char *at;

		if (err != ERR_NOTFOUND)
			return err;
		err = ipc_frame_room(&c->in, ANSWER_MAX, &at, &room);
		if (err == 0)
			err = client_wait(c, POLLIN, end_ms);
		if (err != 0)
			return err;
		n = recv(c->fd, at, room, MSG_DONTWAIT);
		if (n > 0)
			ipc_frame_added(&c->in, (size_t)n);
		else if (n == 0)
			return -ECONNRESET;
		else if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
}

/* Failures of the connection in the words of the header. */
static int client_failed(const struct ipc_client *c, int err, uint32_t timeout_ms,
	char *why, size_t why_size)
{
	if (err == ERR_MALFORMED || err == ERR_NOSPACE) {
		(void)snprintf(why, why_size, "what %s answers is not a control protocol",
			c->path);
		return ERR_PROTOCOL;
	}
	if (err == -ETIMEDOUT)
		(void)snprintf(why, why_size, "no answer on %s within %u ms", c->path,
			timeout_ms);
	else
		(void)snprintf(why, why_size, "the daemon on %s went away: %s", c->path,
			err_text(err));
	return ERR_UNREACHABLE;
}

static int client_request(struct ipc_client *c, const char *method, json_t *params,
	bool more, uint64_t end_ms)
{
	json_t *request = json_pack("{s:s, s:o}", "method", method, "parameters",
		params != NULL ? params : json_object());
	char *bytes = NULL;
	size_t len = 0;
	int err;

	if (request != NULL &&
		(!more || json_object_set_new(request, "more", json_true()) == 0))
		bytes = ipc_frame_encode(request, &len);
	err = bytes != NULL ? client_send(c, bytes, len, end_ms) : -ENOMEM;
	free(bytes);
	json_decref(request);
	return err;
}

/* The answer's parameters as a new reference, or the code and text of its error. */
static int answer_open(const json_t *answer, json_t **params, char *why, size_t why_size)
{
	json_t *inner = json_object_get(answer, "parameters");
	const char *error = json_string_value(json_object_get(answer, "error"));

	if (error != NULL) {
		const char *text = json_string_value(json_object_get(inner, "text"));

		(void)snprintf(why, why_size, "%s", text != NULL ? text : error);
		return ipc_error_to_code(error);
	}
	if (json_is_object(inner)) {
		*params = json_incref(inner);
		return 0;
	}
	*params = json_object();
	return *params != NULL ? 0 : -ENOMEM;
}

static uint64_t end_of(uint32_t timeout_ms)
{
	return timeout_ms > 0 ? now_ms() + timeout_ms : 0;
}

int ipc_client_call(struct ipc_client *c, const char *method, json_t *params,
	uint32_t timeout_ms, json_t **reply, char *why, size_t why_size)
{
	uint64_t end_ms = end_of(timeout_ms);
	json_t *answer;
	int err = client_request(c, method, params, false, end_ms);

	if (err == 0)
		err = client_receive(c, end_ms, &answer);
	if (err != 0)
		return client_failed(c, err, timeout_ms, why, why_size);
	err = answer_open(answer, reply, why, why_size);
	json_decref(answer);
	return err;
}

int ipc_client_call_more(struct ipc_client *c, const char *method, json_t *params,
	uint32_t timeout_ms, int (*fn)(void *ctx, json_t *params), void *ctx, char *why,
	size_t why_size)
{
	int err = client_request(c, method, params, true, end_of(timeout_ms));
	bool continues = true;

	if (err != 0)
		return client_failed(c, err, timeout_ms, why, why_size);
	while (err == 0 && continues) {
		json_t *answer, *inner;

		err = client_receive(c, end_of(timeout_ms), &answer);
		if (err != 0)
			return client_failed(c, err, timeout_ms, why, why_size);
		continues = json_is_true(json_object_get(answer, "continues"));
		err = answer_open(answer, &inner, why, why_size);
		if (err == 0) {
			err = fn(ctx, inner);
			json_decref(inner);
		}
		json_decref(answer);
	}
	return err;
}
