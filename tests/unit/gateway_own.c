/* Pool addresses that are the gateway's own: which ports may not be shared. */
#include "base/err.h"
#include "gateway/own.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char proc[64];

static void put(const char *name, const char *text)
{
	char path[160];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", proc, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
	static const char *const dirs[] = { "/net", "/sys", "/sys/net", "/sys/net/ipv4",
		"/sys/net/ipv4/conf", "/sys/net/ipv4/conf/wan0" };

	(void)state;
	(void)snprintf(proc, sizeof(proc), "/tmp/rsip-own-XXXXXX");
	if (mkdtemp(proc) == NULL)
		return -1;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		char path[160];

		(void)snprintf(path, sizeof(path), "%s%s", proc, dirs[i]);
		if (mkdir(path, 0700) != 0)
			return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	char command[96];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", proc);
	return system(command);
}

#define HEAD "  sl  local_address rem_address   st\n"

static void quiet(void)
{
	put("sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
	put("sys/net/ipv4/ip_local_reserved_ports", "\n");
	put("net/tcp", HEAD);
	put("net/tcp6", HEAD);
	put("net/udp", HEAD);
	put("net/udp6", HEAD);
}

/* Of a gateway at 203.0.113.1 whose pool leases these ports of it. */
static int check(const char *ports, char *why, size_t why_size)
{
	static const uint32_t own[] = { 0x7f000001, 0xcb007101 };
	const struct own_view v = { proc, own, 2 };
	char text[200];
	struct conf *c;
	int err;

	(void)snprintf(text, sizeof(text),
		"gateway { listen = { \"10.0.0.1:4555\" } } pool a { addresses = { "
		"\"203.0.113.0/30\" } ports = { %s } }",
		ports);
	assert_int_equal(conf_parse("f", text, &c, why, why_size), 0);
	err = own_check_view(&v, c, why, why_size);
	conf_free(c);
	return err;
}

static void refused(const char *ports, const char *what)
{
	char why[512] = "";

	assert_int_equal(check(ports, why, sizeof(why)), ERR_CONFIG);
	assert_non_null(strstr(why, "203.0.113.1"));
	if (strstr(why, what) == NULL)
		fail_msg("\"%s\" not in: %s", what, why);
}

static void taken(const char *ports)
{
	char why[512] = "";

	if (check(ports, why, sizeof(why)) != 0)
		fail_msg("%s", why);
}

static void local_port_range(void **state)
{
	(void)state;
	quiet();
	taken("\"2000-32767\"");
	taken("\"2000-32767\", \"61000-65535\"");
	refused("\"2000-32768\"", "port 32768");
	refused("\"60999-65535\"", "ip_local_port_range is 32768-60999");
	refused("\"40000\"", "ip_local_reserved_ports=40000-60999");
}

static void reserved_ports(void **state)
{
	(void)state;
	quiet();
	put("sys/net/ipv4/ip_local_reserved_ports", "40000-49999,50001\n");
	taken("\"40000-49999\"");
	refused("\"40000-50001\"", "port 50000");
	put("sys/net/ipv4/ip_local_reserved_ports", "1024-65535\n");
	taken("\"1024-65535\"");
}

/* F-3.1-14: ports of translated hosts are none that a pool leases. */
static void translated(void **state)
{
	static const uint32_t own[] = { 0x7f000001, 0xcb007101 };
	static const struct {
		const char *keys, *ports, *forwarding, *what;
	} rows[] = {
		{ "", "20000-29999", "1", NULL },
		{ "", "20000-32768", "1", "port 32768" },
		{ "napt-ports = \"25000-26000\"", "20000-29999", "1",
			"napt-ports (25000-26000) has port 25000" },
		{ "napt-ports = \"1024-2000\"", "20000-29999", "1", NULL },
		/* It is another address that they are translated to. */
		{ "napt-ports = \"25000-26000\" napt-address = \"198.51.100.1\"",
			"20000-29999", "1", NULL },
		{ "", "20000-29999", "0", "sysctl net.ipv4.conf.wan0.forwarding=1" },
	};

	(void)state;
	quiet();
	put("sys/net/ipv4/ip_local_port_range", "61000\t65535\n");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct own_view v = { proc, own, 2 };
		char text[400], why[512] = "";
		struct conf *c;
		int err;

		put("sys/net/ipv4/conf/wan0/forwarding", rows[i].forwarding);
		(void)snprintf(text, sizeof(text),
			"gateway { listen = { \"10.0.0.1:4555\" } }\n"
			"dataplane { private-interface = \"lan0\" public-interface = "
			"\"wan0\" napt = { \"10.0.0.0/24\" } %s }\n"
			"pool a { addresses = { \"203.0.113.1\" } ports = { \"%s\" } }",
			rows[i].keys, rows[i].ports);
		assert_int_equal(conf_parse("f", text, &c, why, sizeof(why)), 0);
		err = own_check_view(&v, c, why, sizeof(why));
		conf_free(c);
		if (rows[i].what == NULL ? err != 0 : strstr(why, rows[i].what) == NULL)
			fail_msg("row %zu: %s", i, why);
		assert_int_equal(err, rows[i].what == NULL ? 0 : ERR_CONFIG);
	}
}

static void sockets(void **state)
{
	(void)state;
	quiet();
	/* 203.0.113.1:8080, as the kernel prints it on a little-endian machine. */
	put("net/tcp", HEAD "   0: 017100CB:1F90 00000000:0000 0A\n");
	refused("\"8000-9000\"", "TCP socket uses its port 8080");
	taken("\"9000-9999\"");
	/* Another address of ours. */
	put("net/tcp", HEAD "   0: 0100007F:1F90 00000000:0000 0A\n");
	taken("\"8000-9000\"");
	/* Every address. */
	put("net/udp", HEAD "  17: 00000000:1F91 00000000:0000 07\n");
	refused("\"8000-9000\"", "UDP socket uses its port 8081");
	put("net/udp", HEAD);
	put("net/udp6", HEAD "  17: 00000000000000000000000000000000:1F92 0:0 07\n");
	refused("\"8000-9000\"", "port 8082");
	put("net/udp6", HEAD "  17: 0000000000000000FFFF0000017100CB:1F93 0:0 07\n");
	refused("\"8000-9000\"", "port 8083");
	put("net/udp6", HEAD "  17: B80D0120000000000000000001000000:1F94 0:0 07\n");
	taken("\"8000-9000\"");
}

static void pool_elsewhere(void **state)
{
	static const uint32_t own[] = { 0x0a000001 };
	const struct own_view v = { proc, own, 1 };
	char why[512] = "";
	struct conf *c;

	(void)state;
	quiet();
	assert_int_equal(conf_parse("f", "pool a { addresses = { 203.0.113.1 } }", &c,
				 why, sizeof(why)),
		0);
	assert_int_equal(own_check_view(&v, c, why, sizeof(why)), 0);
	conf_free(c);
}

static void our_own_listen(void **state)
{
	static const uint32_t own[] = { 0xcb007101 };
	const struct own_view v = { proc, own, 1 };
	char why[512] = "";
	struct conf *c;

	(void)state;
	quiet();
	assert_int_equal(conf_parse("f",
				 "gateway { listen = { \"0.0.0.0:5555\" } } pool a { "
				 "addresses = { 203.0.113.1 } ports = { 5000-6000 } }",
				 &c, why, sizeof(why)),
		0);
	assert_int_equal(own_check_view(&v, c, why, sizeof(why)), ERR_CONFIG);
	assert_non_null(strstr(why, "5555"));
	conf_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(local_port_range),
		cmocka_unit_test(reserved_ports),
		cmocka_unit_test(translated),
		cmocka_unit_test(sockets),
		cmocka_unit_test(pool_elsewhere),
		cmocka_unit_test(our_own_listen),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
