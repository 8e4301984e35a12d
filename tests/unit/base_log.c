/* Lines to the journal in its own format. */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct journal {
	char dir[64];
	struct sockaddr_un at;
	int fd;
};

static int journal_open(void **state)
{
	static struct journal j;

	(void)snprintf(j.dir, sizeof(j.dir), "/tmp/base-log-XXXXXX");
	assert_non_null(mkdtemp(j.dir));
	j.at.sun_family = AF_UNIX;
	(void)snprintf(j.at.sun_path, sizeof(j.at.sun_path), "%s/socket", j.dir);
	j.fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	assert_return_code(bind(j.fd, (struct sockaddr *)&j.at, sizeof(j.at)), 0);
	*state = &j;
	return 0;
}

static int journal_close(void **state)
{
	struct journal *j = *state;

	(void)close(j->fd);
	(void)unlink(j->at.sun_path);
	return rmdir(j->dir);
}

static void expect(const struct journal *j, const char *want)
{
	char got[65536];
	ssize_t n = recv(j->fd, got, sizeof(got) - 1, MSG_DONTWAIT);

	assert_true(n > 0);
	got[n] = 0;
	assert_string_equal(got, want);
}

static void test_fields(void **state)
{
	const struct log_field fields[] = { { "RSIP_HOST", "10.0.0.11" },
		{ "RSIP_BIND", "7" } };
	struct journal *j = *state;

	log_init("prog", LOG_LEVEL_INFO);
	assert_return_code(log_to_journal(j->at.sun_path), 0);
	log_fields(
		LOG_LEVEL_WARN, "00112233445566778899aabbccddeeff", "it is", fields, 2);
	expect(j, "PRIORITY=4\nSYSLOG_IDENTIFIER=prog\n"
		  "MESSAGE_ID=00112233445566778899aabbccddeeff\n"
		  "MESSAGE=it is host=10.0.0.11 bind=7\nRSIP_HOST=10.0.0.11\n"
		  "RSIP_BIND=7\n");
	log_info("plain", "a=%d", 1);
	expect(j, "PRIORITY=6\nSYSLOG_IDENTIFIER=prog\nMESSAGE=plain a=1\n");
	/* A newline would begin another field. */
	log_error("two", "%s", "lines\nMESSAGE_ID=x");
	expect(j, "PRIORITY=3\nSYSLOG_IDENTIFIER=prog\nMESSAGE=two lines MESSAGE_ID=x\n");
	log_debug("below the level", "%s", "");
	log_fields(LOG_LEVEL_DEBUG, NULL, "below the level", NULL, 0);
	assert_true(recv(j->fd, (char[1]){ 0 }, 1, MSG_DONTWAIT) < 0);
}

/* Long values are whole in their fields, and cut in the line. */
static void test_long(void **state)
{
	struct journal *j = *state;
	char value[4096], got[65536];
	const struct log_field field = { "RSIP_PORTS", value };
	const char *at;
	ssize_t n;

	memset(value, '1', sizeof(value) - 1);
	value[sizeof(value) - 1] = 0;
	log_fields(LOG_LEVEL_ERROR, NULL, "long", &field, 1);
	n = recv(j->fd, got, sizeof(got) - 1, MSG_DONTWAIT);
	assert_true(n > 0);
	got[n] = 0;
	at = strstr(got, "\nRSIP_PORTS=");
	assert_non_null(at);
	assert_int_equal(strlen(at), strlen("\nRSIP_PORTS=\n") + sizeof(value) - 1);
	assert_true(strchr(strstr(got, "MESSAGE="), '\n') - got < 1200);
}

static void test_no_journal(void **state)
{
	(void)state;
	assert_true(log_to_journal("/tmp/there-is-no-such-socket") < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_no_journal),
	};

	return cmocka_run_group_tests(tests, journal_open, journal_close);
}
