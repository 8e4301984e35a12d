/* Configuration of a host: what is taken, and where an error is said to be. */
#include "base/err.h"
#include "host/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

static int load(const char *text, struct host_conf *c, char why[static 512])
{
	char path[] = "/tmp/rsip-conf-XXXXXX";
	int fd = mkstemp(path), err;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(close(fd), 0);
	host_conf_init(c);
	err = host_conf_load(c, path, true, why, 512);
	assert_int_equal(unlink(path), 0);
	/* The name is random: what comes behind it counts. */
	if (err != 0) {
		assert_memory_equal(why, path, strlen(path));
		memmove(why, why + strlen(path), strlen(why + strlen(path)) + 1);
	}
	return err;
}

/* P-12-01 */
static void test_defaults(void **state)
{
	struct host_conf c;
	char why[512];

	(void)state;
	assert_int_equal(load("# nothing\n", &c, why), 0);
	assert_int_equal(c.gateway, 0);
	assert_int_equal(c.port, 4555);
	assert_int_equal(c.transport, RSIP_TCP);
	assert_int_equal(c.method, 0);
	assert_int_equal(c.ports, 64);
	assert_int_equal(host_conf_spis(&c), 64);
	c.spi_mode = HOST_SPI_FOLLOW;
	assert_int_equal(host_conf_spis(&c), 1);
	c.spi_mode = HOST_SPI_BLOCK;
}

static void test_all_keys(void **state)
{
	struct host_conf c;
	char why[512];

	(void)state;
	assert_int_equal(load("host {\n  gateway = \"10.0.0.1:4556\"\n"
			      "  transport = \"udp\"\n  method = \"rsa-ip\"\n"
			      "  ports = 0\n  spis = \"16\"\n  source = \"10.0.0.11\"\n"
			      "  tunnel = \"gre\"\n  lease = 600\n  device = \"tun\"\n"
			      "  spi-mode = \"follow\"\n}\n",
				 &c, why),
		0);
	assert_int_equal(c.gateway, 0x0a000001);
	assert_int_equal(c.port, 4556);
	assert_int_equal(c.transport, RSIP_UDP);
	assert_int_equal(c.method, RSIP_RSA_IP);
	assert_int_equal(c.ports, 0);
	assert_int_equal(c.spis, 16);
	assert_int_equal(c.spi_mode, HOST_SPI_FOLLOW);
	assert_int_equal(host_conf_spis(&c), 16);
	assert_int_equal(c.source, 0x0a00000b);
	assert_int_equal(c.tunnel, RSIP_GRE);
	assert_int_equal(c.lease_s, 600);
	assert_int_equal(c.device, HOST_DEVICE_TUN);
}

/* Line and cause; and nothing is half taken. */
static void test_errors(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ "host {\n ports = 65536\n}\n",
			":2: ports \"65536\" is not a number from 0 to 65535" },
		{ "host {\n ports = \"a\"\n}\n",
			":2: ports \"a\" is not a number from 0 to 65535" },
		{ "host {\n\n spis = 0\n}\n",
			":3: spis \"0\" is not a number from 1 to 65535" },
		{ "host {\n ports = 7\n prots = 7\n}\n", ":3: no such option 'prots'" },
		{ "host {\n gateway = \"10.0.0\"\n}\n",
			":2: gateway \"10.0.0\" is not ADDRESS[:PORT]" },
		{ "host {\n gateway = \"10.0.0.1:0\"\n}\n",
			":2: gateway \"10.0.0.1:0\" is not ADDRESS[:PORT]" },
		{ "host {\n method = \"nat\"\n}\n",
			":2: method \"nat\" is not rsap-ip, rsa-ip or rsipsec" },
		{ "host {\n transport = \"sctp\"\n}\n",
			":2: transport \"sctp\" is neither tcp nor udp" },
		{ "host {\n spi-mode = \"list\"\n}\n",
			":2: spi-mode \"list\" is neither block nor follow" },
		{ "gateway {\n}\n", ":1: no such option 'gateway'" },
	};
	struct host_conf c;
	char why[512];

	(void)state;
	for (size_t i = 0; i < N(rows); i++) {
		assert_int_equal(load(rows[i].text, &c, why), ERR_CONFIG);
		assert_string_equal(why, rows[i].why);
		assert_int_equal(c.ports, 64);
	}
}

static void test_directory(void **state)
{
	struct host_conf c;
	char why[512];

	(void)state;
	host_conf_init(&c);
	assert_int_equal(host_conf_load(&c, "/", false, why, sizeof(why)), ERR_CONFIG);
	assert_string_equal(why, "/: Is a directory");
}

static void test_missing_file(void **state)
{
	struct host_conf c;
	char why[512];

	(void)state;
	host_conf_init(&c);
	assert_int_equal(
		host_conf_load(&c, "/nonexistent/rsip.conf", false, why, 512), 0);
	assert_int_equal(
		host_conf_load(&c, "/nonexistent/rsip.conf", true, why, 512), ERR_CONFIG);
	assert_string_equal(why, "/nonexistent/rsip.conf: No such file or directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_all_keys),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_directory),
		cmocka_unit_test(test_missing_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
