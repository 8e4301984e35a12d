/* The server of the net tests and its hosts. */
#include "net_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static const struct net_limits default_limits = { 100, 100, 60000, 60000 };

static void on_message(
	void *ctx, const struct peer *from, const uint8_t *bytes, size_t len)
{
	struct fixture *f = ctx;

	f->messages++;
	f->last = *from;
	f->last_len = len;
	f->last_conn = from->conn;
	for (size_t i = 0; !f->mute && i < (f->repeat > 0 ? f->repeat : 1); i++)
		(void)net_send(f->net, from, bytes, len, f->close);
}

static void on_closed(void *ctx, uint64_t conn)
{
	struct fixture *f = ctx;

	(void)conn;
	f->closed++;
}

/* A port that neither transport uses now. */
static uint16_t free_port(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(close(fd), 0);
	return ntohs(at.sin_port);
}

void fixture_open(struct fixture *f, struct net_limits limits, bool tcp)
{
	struct net_conf conf = { .endpoints = f->at,
		.n_endpoints = 2,
		.tcp = tcp,
		.limits = limits.connections > 0 ? limits : default_limits,
		.ctx = f,
		.message = on_message,
		.closed = on_closed };
	char why[NET_WHY] = "";
	int err = -1;

	*f = (struct fixture){ 0 };
	assert_int_equal(uv_loop_init(&f->loop), 0);
	/* Another process may be faster. */
	for (int i = 0; i < 20 && err != 0; i++) {
		f->at[0] = (struct net_endpoint){ LOOPBACK, free_port() };
		f->at[1] = (struct net_endpoint){ 0, free_port() };
		err = net_new(&f->loop, &conf, &f->net, why, sizeof(why));
	}
	if (err != 0)
		fail_msg("%s", why);
}

void fixture_close(struct fixture *f)
{
	net_free(f->net);
	assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&f->loop), 0);
}

void fixture_step(struct fixture *f)
{
	(void)uv_run(&f->loop, UV_RUN_NOWAIT);
	net_flush(f->net);
}

static int64_t now_ms(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &t), 0);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void fixture_until(struct fixture *f, const size_t *what, size_t n)
{
	int64_t end = now_ms() + 5000;

	while (*what < n) {
		if (now_ms() > end)
			fail_msg("%zu of %zu after five seconds", *what, n);
		fixture_step(f);
	}
}

int fixture_host(struct fixture *f, int type, unsigned int x)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(0x7f000000 | x) };
	int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	at.sin_addr.s_addr = htonl(LOOPBACK);
	at.sin_port = htons(f->at[0].port);
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
		assert_int_equal(errno, EINPROGRESS);
	fixture_step(f);
	return fd;
}

void fixture_message(uint8_t *bytes, uint16_t len, uint8_t type)
{
	for (uint16_t i = 4; i < len; i++)
		bytes[i] = (uint8_t)i;
	bytes[0] = 1;
	bytes[1] = type;
	bytes[2] = (uint8_t)(len >> 8);
	bytes[3] = (uint8_t)len;
}

size_t fixture_read(struct fixture *f, int fd, uint8_t *bytes, size_t n)
{
	int64_t end = now_ms() + 5000;
	size_t have = 0;

	while (have < n) {
		ssize_t got = recv(fd, bytes + have, n - have, 0);

		if (got == 0 || (got < 0 && errno != EAGAIN))
			return have;
		if (got > 0)
			have += (size_t)got;
		if (now_ms() > end)
			fail_msg("%zu of %zu bytes after five seconds", have, n);
		fixture_step(f);
	}
	return have;
}
