/* The TCP server by itself: framing, bounds, ends. */
#include "base/err.h"
#include "net_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const struct net_limits usual = { 0 };

/* Until it is all gone, or the server has closed the connection. */
static void send_all(struct fixture *f, int fd, const uint8_t *bytes, size_t len)
{
	while (len > 0 && f->closed == 0) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		}
		fixture_step(f);
	}
}

/* Every length of a message, in one piece and with the next one's beginning behind it. */
static void every_length(void **state)
{
	static const uint16_t lengths[] = { 4, 5, 2047, 2048, 2049, 65534, 65535 };
	static uint8_t out[65535], in[65535];
	struct fixture f;
	int fd;

	(void)state;
	fixture_open(&f, usual, true);
	fd = fixture_host(&f, SOCK_STREAM, 2);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		fixture_message(out, lengths[i], 2);
		send_all(&f, fd, out, lengths[i]);
		assert_int_equal(fixture_read(&f, fd, in, lengths[i]), lengths[i]);
		assert_memory_equal(in, out, lengths[i]);
		assert_int_equal(f.last_len, lengths[i]);
	}
	assert_int_equal(f.last.addr, 0x7f000002);
	assert_int_equal(f.last.local, LOOPBACK);
	assert_int_equal(f.last.local_port, f.at[0].port);
	assert_int_equal(f.last.transport, TRANSPORT_TCP);
	assert_int_equal(net_counters(f.net)->tcp_received, 7);
	(void)close(fd);
	fixture_until(&f, &f.closed, 1);
	fixture_close(&f);
}

static void one_byte_at_a_time(void **state)
{
	uint8_t out[40], in[40];
	struct fixture f;
	int fd;

	(void)state;
	fixture_open(&f, usual, true);
	fd = fixture_host(&f, SOCK_STREAM, 2);
	fixture_message(out, 20, 2);
	fixture_message(out + 20, 20, 14);
	for (size_t i = 0; i < sizeof(out); i++)
		send_all(&f, fd, out + i, 1);
	assert_int_equal(fixture_read(&f, fd, in, sizeof(in)), sizeof(in));
	assert_memory_equal(in, out, sizeof(out));
	assert_int_equal(f.messages, 2);
	(void)close(fd);
	fixture_close(&f);
}

/* More whole messages in the buffer than one turn takes: none waits for more bytes. */
static void left_overs_are_served(void **state)
{
	enum { N = 1000, LEN = 12 };
	static uint8_t out[N * LEN], in[N * LEN];
	struct fixture f;
	int fd;

	(void)state;
	fixture_open(&f, usual, true);
	fd = fixture_host(&f, SOCK_STREAM, 2);
	for (size_t i = 0; i < N; i++) {
		fixture_message(out + i * LEN, LEN, 14);
		out[i * LEN + 4] = (uint8_t)(i >> 8);
		out[i * LEN + 5] = (uint8_t)i;
	}
	send_all(&f, fd, out, sizeof(out));
	assert_int_equal(fixture_read(&f, fd, in, sizeof(in)), sizeof(in));
	assert_memory_equal(in, out, sizeof(out));
	(void)close(fd);
	fixture_close(&f);
}

/* A host that sends and never reads: it is not read from any more, and memory is bounded.
 */
static void unread_answers_stop_the_reading(void **state)
{
	enum { LEN = 1000 };
	static uint8_t out[LEN];
	struct fixture f;
	size_t sent = 0, still = 0;
	int fd;

	(void)state;
	fixture_open(&f, usual, true);
	fd = fixture_host(&f, SOCK_STREAM, 2);
	fixture_message(out, LEN, 14);
	/* Until nothing moves any more, over many steps. */
	while (still < 2000) {
		ssize_t n = send(fd, out + sent % LEN, LEN - sent % LEN, MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		still = n > 0 ? 0 : still + 1;
		fixture_step(&f);
		assert_true(sent < 64U * 1024 * 1024);
	}
	assert_int_equal(f.closed, 0);
	assert_true(f.messages < sent / LEN + 1);
	/* Then it reads after all, and everything comes. */
	for (size_t got = 0; got < f.messages * LEN;) {
		uint8_t in[LEN];
		size_t n = fixture_read(&f, fd, in, LEN);

		assert_int_equal(n, LEN);
		assert_memory_equal(in, out, LEN);
		got += n;
	}
	(void)close(fd);
	fixture_close(&f);
}

/* Answers beyond every bound end the connection instead of filling the memory. */
static void too_many_answers_end_it(void **state)
{
	static uint8_t out[60000];
	struct fixture f;
	int fd, small = 4096;

	(void)state;
	fixture_open(&f, usual, true);
	fd = fixture_host(&f, SOCK_STREAM, 2);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	f.repeat = 1000;
	fixture_message(out, sizeof(out), 14);
	send_all(&f, fd, out, sizeof(out));
	fixture_until(&f, &f.closed, 1);
	assert_int_equal(net_counters(f.net)->tcp_closed[NET_CLOSE_STALL], 1);
	assert_true(net_counters(f.net)->tcp_unsent > 0);
	(void)close(fd);
	fixture_close(&f);
}

static void lost_boundaries(void **state)
{
	const uint8_t short_length[] = { 1, 2, 0, 3, 9, 9, 9, 9 },
		      version[] = { 2, 2, 0, 200, 9, 9, 9, 9 };
	const uint8_t *rows[] = { short_length, version };
	uint8_t in[16];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct fixture f;
		int fd;

		fixture_open(&f, usual, true);
		fd = fixture_host(&f, SOCK_STREAM, 2);
		send_all(&f, fd, rows[i], 8);
		/* The header goes up for its answer, nothing after it, then the end. */
		assert_int_equal(fixture_read(&f, fd, in, sizeof(in)), 4);
		assert_memory_equal(in, rows[i], 4);
		assert_int_equal(f.messages, 1);
		assert_int_equal(net_counters(f.net)->tcp_closed[NET_CLOSE_PROTOCOL], 1);
		(void)close(fd);
		fixture_until(&f, &f.closed, 1);
		fixture_close(&f);
	}
}

static void asked_to_close(void **state)
{
	uint8_t out[8], in[16];
	struct fixture f;
	int fd;

	(void)state;
	fixture_open(&f, usual, true);
	f.close = true;
	fd = fixture_host(&f, SOCK_STREAM, 2);
	fixture_message(out, sizeof(out), 2);
	send_all(&f, fd, out, sizeof(out));
	assert_int_equal(fixture_read(&f, fd, in, sizeof(in)), sizeof(out));
	(void)close(fd);
	fixture_close(&f);
}

static void gone_connection(void **state)
{
	uint8_t out[8];
	struct fixture f;
	struct peer to;
	int fd;

	(void)state;
	fixture_open(&f, usual, true);
	fd = fixture_host(&f, SOCK_STREAM, 2);
	fixture_message(out, sizeof(out), 2);
	send_all(&f, fd, out, sizeof(out));
	fixture_until(&f, &f.messages, 1);
	to = f.last;
	(void)close(fd);
	fixture_until(&f, &f.closed, 1);
	assert_int_equal(net_send(f.net, &to, out, sizeof(out), false), ERR_UNREACHABLE);
	assert_int_equal(net_counters(f.net)->tcp_unsent, 1);
	/* Numbers are not given twice. */
	f.closed = 0;
	fd = fixture_host(&f, SOCK_STREAM, 2);
	send_all(&f, fd, out, sizeof(out));
	fixture_until(&f, &f.messages, 2);
	assert_true(f.last_conn > to.conn);
	(void)close(fd);
	fixture_close(&f);
}

static void closed_with_connections_open(void **state)
{
	struct fixture f;
	int fds[10];

	(void)state;
	fixture_open(&f, usual, true);
	for (unsigned int i = 0; i < 10; i++)
		fds[i] = fixture_host(&f, SOCK_STREAM, i + 2);
	for (int i = 0; i < 100 && net_counters(f.net)->tcp_open < 10; i++)
		fixture_step(&f);
	fixture_close(&f);
	for (int i = 0; i < 10; i++)
		(void)close(fds[i]);
}

static void not_served(void **state)
{
	const struct peer to = { .transport = TRANSPORT_TCP, .conn = 1 };
	uint8_t out[8];
	struct fixture f;

	(void)state;
	fixture_open(&f, usual, false);
	fixture_message(out, sizeof(out), 2);
	assert_int_equal(net_send(f.net, &to, out, sizeof(out), false), ERR_UNREACHABLE);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_length),
		cmocka_unit_test(one_byte_at_a_time),
		cmocka_unit_test(left_overs_are_served),
		cmocka_unit_test(unread_answers_stop_the_reading),
		cmocka_unit_test(too_many_answers_end_it),
		cmocka_unit_test(lost_boundaries),
		cmocka_unit_test(asked_to_close),
		cmocka_unit_test(gone_connection),
		cmocka_unit_test(closed_with_connections_open),
		cmocka_unit_test(not_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
