/* The UDP server by itself: batches, addresses, what cannot be sent. */
#include "base/err.h"
#include "net_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const struct net_limits usual = { 0 };

/* More than one batch waits, and each answer finds its sender. */
static void many_at_once(void **state)
{
	enum { HOSTS = 100 };
	uint8_t out[16], in[16];
	struct fixture f;
	int fds[HOSTS];

	(void)state;
	fixture_open(&f, usual, false);
	for (unsigned int i = 0; i < HOSTS; i++) {
		fds[i] = fixture_host(&f, SOCK_DGRAM, i + 2);
		fixture_message(out, sizeof(out), 2);
		out[4] = (uint8_t)i;
		assert_int_equal(send(fds[i], out, sizeof(out), 0), sizeof(out));
	}
	fixture_until(&f, &f.messages, HOSTS);
	for (unsigned int i = 0; i < HOSTS; i++) {
		assert_int_equal(fixture_read(&f, fds[i], in, sizeof(in)), sizeof(in));
		assert_int_equal(in[4], i);
		(void)close(fds[i]);
	}
	assert_int_equal(net_counters(f.net)->udp_received, HOSTS);
	assert_int_equal(net_counters(f.net)->udp_sent, HOSTS);
	fixture_close(&f);
}

/* The second endpoint is every address: answers leave from the one that was asked. */
static void address_asked(void **state)
{
	static const uint32_t asked[] = { LOOPBACK, 0x7f000007, 0x7f0a0b0c };
	uint8_t out[16], in[16];
	struct fixture f;

	(void)state;
	fixture_open(&f, usual, false);
	fixture_message(out, sizeof(out), 2);
	for (size_t i = 0; i < 3; i++) {
		struct sockaddr_in to = { .sin_family = AF_INET,
			.sin_port = htons(f.at[1].port),
			.sin_addr.s_addr = htonl(asked[i]) };
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

		/* A connected socket hears nobody else. */
		assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
		assert_int_equal(send(fd, out, sizeof(out), 0), sizeof(out));
		assert_int_equal(fixture_read(&f, fd, in, sizeof(in)), sizeof(in));
		assert_int_equal(f.last.local, asked[i]);
		assert_int_equal(f.last.local_port, f.at[1].port);
		(void)close(fd);
	}
	fixture_close(&f);
}

static void longest_datagrams(void **state)
{
	static uint8_t out[65507], in[65507];
	struct fixture f;
	int fds[3];

	(void)state;
	fixture_open(&f, usual, false);
	fixture_message(out, sizeof(out), 2);
	for (unsigned int i = 0; i < 3; i++) {
		fds[i] = fixture_host(&f, SOCK_DGRAM, i + 2);
		assert_int_equal(send(fds[i], out, sizeof(out), 0), sizeof(out));
	}
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(fixture_read(&f, fds[i], in, sizeof(in)), sizeof(in));
		assert_memory_equal(in, out, sizeof(out));
		(void)close(fds[i]);
	}
	fixture_close(&f);
}

static void empty_datagram(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	fixture_open(&f, usual, false);
	fd = fixture_host(&f, SOCK_DGRAM, 2);
	f.mute = true;
	assert_int_equal(send(fd, "", 0, 0), 0);
	fixture_until(&f, &f.messages, 1);
	assert_int_equal(f.last_len, 0);
	(void)close(fd);
	fixture_close(&f);
}

static void what_cannot_be_sent(void **state)
{
	static uint8_t big[65535];
	const struct peer strange = {
		.addr = LOOPBACK, .port = 9, .local = LOOPBACK, .local_port = 1
	};
	struct peer to;
	uint8_t out[16];
	struct fixture f;
	int fd;

	(void)state;
	fixture_open(&f, usual, false);
	fd = fixture_host(&f, SOCK_DGRAM, 2);
	fixture_message(out, sizeof(out), 2);
	assert_int_equal(send(fd, out, sizeof(out), 0), sizeof(out));
	fixture_until(&f, &f.messages, 1);
	to = f.last;
	/* No socket of ours has that port: one of an earlier configuration. */
	assert_int_equal(
		net_send(f.net, &strange, out, sizeof(out), false), ERR_UNREACHABLE);
	/* Longer than a datagram can be. */
	assert_int_equal(net_send(f.net, &to, big, sizeof(big), false), 0);
	/* From an address that is not ours. */
	to.local = 0xcb007101;
	to.local_port = f.at[1].port;
	assert_int_equal(net_send(f.net, &to, out, sizeof(out), false), 0);
	net_flush(f.net);
	assert_int_equal(net_counters(f.net)->udp_unsent, 3);
	/* One that cannot leave does not keep the others. */
	assert_int_equal(net_send(f.net, &to, out, sizeof(out), false), 0);
	assert_int_equal(net_send(f.net, &f.last, out, sizeof(out), false), 0);
	net_flush(f.net);
	assert_int_equal(net_counters(f.net)->udp_sent, 2);
	(void)close(fd);
	fixture_close(&f);
}

static void port_in_use(void **state)
{
	struct fixture f;
	struct net *second;
	char why[NET_WHY] = "";
	struct net_conf conf = { .endpoints = f.at, .n_endpoints = 1, .tcp = true };

	(void)state;
	fixture_open(&f, usual, false);
	assert_int_equal(net_new(&f.loop, &conf, &second, why, sizeof(why)), -EADDRINUSE);
	assert_non_null(strstr(why, "127.0.0.1:"));
	assert_non_null(strstr(why, "another program"));
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_at_once),
		cmocka_unit_test(address_asked),
		cmocka_unit_test(longest_datagrams),
		cmocka_unit_test(empty_datagram),
		cmocka_unit_test(what_cannot_be_sent),
		cmocka_unit_test(port_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
