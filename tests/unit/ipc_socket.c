/*
 * Both ends over a real socket: the server runs in a child, the test is the client. Waits
 * are for answers and for ends of connections, never for time.
 */
#include "base/err.h"
#include "ipc/ipc.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CONNECTIONS 4
#define REQUEST_MAX 1000
#define WAIT_MS \
	20000 /* far more than any answer takes; a test that waits so long fails */

static char dir[] = "/tmp/rsip-ipc-XXXXXX";
static char path[64];

/* --- the server -----------------------------------------------------------------------
 */

static void echo(void *ctx, struct ipc_call *call, json_t *params)
{
	(void)ctx;
	ipc_reply(call, json_incref(params));
}

static void refuse(void *ctx, struct ipc_call *call, json_t *params)
{
	(void)ctx;
	ipc_error(call, json_string_value(json_object_get(params, "error")),
		"no %s today", "luck");
}

struct later {
	uv_timer_t timer;
	struct ipc_call *call;
};

static void on_later_closed(uv_handle_t *h)
{
	free(h->data);
}

static void on_later(uv_timer_t *timer)
{
	struct later *l = timer->data;

	ipc_reply(l->call, json_pack("{s:b}", "gone", (int)ipc_is_gone(l->call)));
	uv_close((uv_handle_t *)timer, on_later_closed);
}

static void later(void *ctx, struct ipc_call *call, json_t *params)
{
	struct later *l = calloc(1, sizeof(*l));

	(void)params;
	l->call = call;
	l->timer.data = l;
	(void)uv_timer_init(ctx, &l->timer);
	(void)uv_timer_start(&l->timer, on_later, 20, 0);
}

/* A call that is never ended; with more it first says that it has begun. */
static void never(void *ctx, struct ipc_call *call, json_t *params)
{
	(void)ctx;
	(void)params;
	if (ipc_wants_more(call))
		(void)ipc_continue(call, NULL);
}

/* n pieces of 100 kB, each sent when the one before was read. */
static void count_step(void *ctx, struct ipc_call *call)
{
	static char filler[100000];
	json_int_t *left = ctx;
	json_t *piece;

	memset(filler, 'x', sizeof(filler) - 1);
	piece = json_pack("{s:I, s:s}", "left", *left, "filler", filler);
	if (--*left < 0 || ipc_is_gone(call)) {
		free(left);
		ipc_reply(call, piece);
		return;
	}
	(void)ipc_continue(call, piece);
	ipc_when_drained(call, count_step, left);
}

static void count(void *ctx, struct ipc_call *call, json_t *params)
{
	json_int_t *left = malloc(sizeof(*left));

	(void)ctx;
	*left = json_integer_value(json_object_get(params, "n"));
	count_step(left, call);
}

static void pid(void *ctx, struct ipc_call *call, json_t *params)
{
	(void)ctx;
	(void)params;
	ipc_reply(call, json_pack("{s:i, s:b}", "pid", (int)getpid(), "more",
				(int)ipc_wants_more(call)));
}

static const struct ipc_method methods[] = {
	{ "test.Echo", echo },
	{ "test.Fail", refuse },
	{ "test.Later", later },
	{ "test.Never", never },
	{ "test.Count", count },
	{ "test.Pid", pid },
	{ NULL, NULL },
};

static struct ipc_server *server;
static uv_signal_t term;

static void on_term(uv_signal_t *handle, int signum)
{
	(void)signum;
	ipc_server_free(server);
	uv_close((uv_handle_t *)handle, NULL);
}

/* Says "+" on ready when it listens, "-" when it may not. */
static void serve(const char *at, int ready)
{
	struct ipc_server_conf conf = { .path = at,
		.methods = methods,
		.max_connections = CONNECTIONS,
		.max_request = REQUEST_MAX,
		.stall_ms = 100 };
	char why[IPC_WHY] = "";
	uv_loop_t loop;

	(void)uv_loop_init(&loop);
	conf.ctx = &loop;
	if (ipc_server_new(&loop, &conf, &server, why, sizeof(why)) != 0) {
		(void)!write(ready, "-", 1);
		_exit(strstr(why, at) != NULL ? 1 : 2);
	}
	(void)uv_signal_init(&loop, &term);
	(void)uv_signal_start(&term, on_term, SIGTERM);
	(void)!write(ready, "+", 1);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	_exit(uv_loop_close(&loop) == 0 ? 0 : 3);
}

static pid_t server_start(const char *at, char *said)
{
	int ready[2];
	pid_t child;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		serve(at, ready[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], said, 1), 1);
	close(ready[0]);
	return child;
}

static int server_end(pid_t child, int signum)
{
	int status;

	(void)kill(child, signum);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static pid_t running;

static int setup(void **state)
{
	char said = 0;

	(void)state;
	running = server_start(path, &said);
	return said == '+' ? 0 : -1;
}

/* The server must end by itself and cleanly, whatever the test did to it. */
static int teardown(void **state)
{
	int status = server_end(running, SIGTERM);
	struct stat st;

	(void)state;
	return status == 0 && lstat(path, &st) != 0 ? 0 : -1;
}

static struct ipc_client *client(void)
{
	struct ipc_client *c = NULL;
	char why[IPC_WHY] = "";

	assert_int_equal(ipc_client_new(path, &c, why, sizeof(why)), 0);
	return c;
}

static int call_on(struct ipc_client *c, const char *method, json_t *params,
	json_t **reply, char *why)
{
	return ipc_client_call(c, method, params, WAIT_MS, reply, why, IPC_WHY);
}

static int raw(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(addr.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* All that comes until the server closes. */
static size_t read_to_end(int fd, char *bytes, size_t size)
{
	size_t n = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t got;

		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		got = read(fd, bytes + n, size - n);
		if (got <= 0)
			return n;
		n += (size_t)got;
	}
}

/* --- tests ----------------------------------------------------------------------------
 */

static void test_call(void **state)
{
	struct ipc_client *c = client();
	char why[IPC_WHY] = "";
	json_t *reply;

	(void)state;
	for (int i = 0; i < 100; i++) {
		assert_int_equal(
			call_on(c, "test.Echo", json_pack("{s:i}", "n", i), &reply, why),
			0);
		assert_int_equal(json_integer_value(json_object_get(reply, "n")), i);
		json_decref(reply);
	}
	assert_int_equal(call_on(c, "test.Echo", NULL, &reply, why), 0);
	assert_int_equal(json_object_size(reply), 0);
	json_decref(reply);
	assert_int_equal(call_on(c, "test.Later", NULL, &reply, why), 0);
	assert_true(json_is_false(json_object_get(reply, "gone")));
	json_decref(reply);
	ipc_client_free(c);
}

static void test_errors(void **state)
{
	static const struct {
		const char *name;
		int code;
	} rows[] = {
		{ IPC_NOT_FOUND, ERR_NOTFOUND },
		{ IPC_REFUSED, ERR_REFUSED },
		{ IPC_CONFIG, ERR_CONFIG },
		{ IPC_UNREACHABLE, ERR_UNREACHABLE },
		{ IPC_INVALID_PARAMETER, ERR_MALFORMED },
		{ IPC_INTERNAL, ERR_REFUSED },
		{ "some.other.Error", ERR_REFUSED },
	};
	struct ipc_client *c = client();
	json_t *reply;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char why[IPC_WHY] = "";

		assert_int_equal(
			call_on(c, "test.Fail", json_pack("{s:s}", "error", rows[i].name),
				&reply, why),
			rows[i].code);
		assert_string_equal(why, "no luck today");
	}
	{
		char why[IPC_WHY] = "";

		assert_int_equal(
			call_on(c, "test.Missing", NULL, &reply, why), ERR_UNSUPPORTED);
		assert_string_equal(why, "no method test.Missing here");
	}
	ipc_client_free(c);
}

static int on_count(void *ctx, json_t *params)
{
	json_int_t *expected = ctx;

	assert_int_equal(json_integer_value(json_object_get(params, "left")), *expected);
	--*expected;
	return 0;
}

static int on_count_stop(void *ctx, json_t *params)
{
	(void)params;
	return --*(int *)ctx == 0 ? ERR_RANGE : 0;
}

/* 20 MB in pieces: more than any buffer between the two ends. */
static void test_more(void **state)
{
	struct ipc_client *c = client();
	char why[IPC_WHY] = "";
	json_int_t expected = 200;
	json_t *reply;
	int stop = 3;

	(void)state;
	assert_int_equal(
		ipc_client_call_more(c, "test.Count", json_pack("{s:i}", "n", 200),
			WAIT_MS, on_count, &expected, why, sizeof(why)),
		0);
	assert_int_equal(expected, -1);
	/* The connection is good for another call. */
	assert_int_equal(call_on(c, "test.Pid", NULL, &reply, why), 0);
	assert_true(json_is_false(json_object_get(reply, "more")));
	json_decref(reply);
	assert_int_equal(
		ipc_client_call_more(c, "test.Count", json_pack("{s:i}", "n", 200),
			WAIT_MS, on_count_stop, &stop, why, sizeof(why)),
		ERR_RANGE);
	ipc_client_free(c); /* in the middle: the server must get over it (teardown) */
}

static void test_timeout(void **state)
{
	struct ipc_client *c = client();
	char why[IPC_WHY] = "";
	json_t *reply;

	(void)state;
	assert_int_equal(
		ipc_client_call(c, "test.Never", NULL, 30, &reply, why, sizeof(why)),
		ERR_UNREACHABLE);
	assert_non_null(strstr(why, "30 ms"));
	ipc_client_free(c);
}

static void test_unreachable(void **state)
{
	struct ipc_client *c;
	char why[IPC_WHY] = "";
	char longest[300];

	(void)state;
	assert_int_equal(ipc_client_new("/tmp/rsip-none/x.sock", &c, why, sizeof(why)),
		ERR_UNREACHABLE);
	assert_non_null(strstr(why, "/tmp/rsip-none/x.sock"));
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(ipc_client_new(longest, &c, why, sizeof(why)), ERR_UNREACHABLE);
}

/* The daemon dies while a call waits. */
static void test_daemon_dies(void **state)
{
	struct ipc_client *c = client();
	char why[IPC_WHY] = "", said;
	json_t *reply;
	pid_t target;

	(void)state;
	assert_int_equal(call_on(c, "test.Pid", NULL, &reply, why), 0);
	target = (pid_t)json_integer_value(json_object_get(reply, "pid"));
	json_decref(reply);
	assert_int_equal(target, running);
	(void)server_end(running, SIGKILL);
	assert_int_equal(call_on(c, "test.Echo", NULL, &reply, why), ERR_UNREACHABLE);
	ipc_client_free(c);
	/* Its socket is still there, and replaced by the next. */
	assert_int_equal(access(path, F_OK), 0);
	running = server_start(path, &said);
	assert_int_equal(said, '+');
	c = client();
	assert_int_equal(call_on(c, "test.Echo", NULL, &reply, why), 0);
	json_decref(reply);
	ipc_client_free(c);
}

static void test_second_daemon(void **state)
{
	struct stat st;
	json_t *reply;
	char why[IPC_WHY], said;
	struct ipc_client *c;
	pid_t second;
	int status;

	(void)state;
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	second = server_start(path, &said);
	assert_int_equal(said, '-');
	assert_int_equal(waitpid(second, &status, 0), second);
	assert_int_equal(WEXITSTATUS(status), 1); /* and it named the path */
	c = client();
	assert_int_equal(call_on(c, "test.Pid", NULL, &reply, why), 0);
	assert_int_equal(json_integer_value(json_object_get(reply, "pid")), running);
	json_decref(reply);
	ipc_client_free(c);
}

/* What is not a socket is not ours to remove. */
static void test_not_a_socket(void **state)
{
	char file[80], said;
	int status;
	FILE *f;

	(void)state;
	(void)snprintf(file, sizeof(file), "%s/file", dir);
	f = fopen(file, "w");
	assert_non_null(f);
	fputs("mine", f);
	fclose(f);
	assert_int_equal(waitpid(server_start(file, &said), &status, 0) > 0, 1);
	assert_int_equal(said, '-');
	assert_int_equal(WEXITSTATUS(status), 1);
	assert_int_equal(access(file, F_OK), 0);
	(void)unlink(file);
}

static void expect_refusal(const char *bytes, size_t n)
{
	char answer[1000];
	int fd = raw();
	size_t got;

	/* The server may hang up before all is sent. */
	(void)!send(fd, bytes, n, MSG_NOSIGNAL);
	got = read_to_end(fd, answer, sizeof(answer));
	assert_true(got > 0 && answer[got - 1] == 0);
	assert_non_null(strstr(answer, IPC_INVALID_PARAMETER));
	close(fd);
}

static void test_rubbish(void **state)
{
	char big[REQUEST_MAX + 1];

	(void)state;
	expect_refusal("rubbish", 8);
	expect_refusal("[]", 3);
	expect_refusal("{}", 3);
	expect_refusal("{\"method\":1}", 13);
	expect_refusal("{\"method\":\"test.Echo\",\"parameters\":[]}", 39);
	memset(big, ' ', sizeof(big));
	expect_refusal(big, sizeof(big));
}

/* Requests sent without waiting are answered in their order. */
static void test_pipelined(void **state)
{
	static const char answers[] = "{\"parameters\":{\"gone\":false}}\0"
				      "{\"parameters\":{\"n\":1}}\0"
				      "{\"parameters\":{\"n\":2}}";
	static const char requests[] =
		"{\"method\":\"test.Later\"}\0"
		"{\"method\":\"test.Echo\",\"parameters\":{\"n\":1}}\0"
		"{\"method\":\"test.Echo\",\"oneway\":true,\"parameters\":{\"n\":9}}\0"
		"{\"method\":\"test.Echo\",\"parameters\":{\"n\":2}}";
	char got[sizeof(answers)];
	int fd = raw();

	(void)state;
	assert_int_equal(send(fd, requests, sizeof(requests), 0), sizeof(requests));
	assert_int_equal(recv(fd, got, sizeof(got), MSG_WAITALL), sizeof(got));
	assert_memory_equal(got, answers, sizeof(answers));
	close(fd);
}

/* Over the bound the idle connection that was used longest ago makes way. */
static void test_connections(void **state)
{
	struct ipc_client *c[CONNECTIONS + 1];
	char why[IPC_WHY] = "";
	json_t *reply;

	(void)state;
	for (int i = 0; i < CONNECTIONS; i++) {
		c[i] = client();
		assert_int_equal(call_on(c[i], "test.Echo", NULL, &reply, why), 0);
		json_decref(reply);
	}
	c[CONNECTIONS] = client();
	assert_int_equal(call_on(c[CONNECTIONS], "test.Echo", NULL, &reply, why), 0);
	json_decref(reply);
	assert_int_equal(call_on(c[0], "test.Echo", NULL, &reply, why), ERR_UNREACHABLE);
	for (int i = 1; i < CONNECTIONS; i++) {
		assert_int_equal(call_on(c[i], "test.Echo", NULL, &reply, why), 0);
		json_decref(reply);
	}
	for (int i = 0; i <= CONNECTIONS; i++)
		ipc_client_free(c[i]);
}

/* Busy connections are never cut: the newcomer is. */
static void test_connections_busy(void **state)
{
	static const char request[] = "{\"method\":\"test.Never\",\"more\":true}";
	static const char begun[] = "{\"parameters\":{},\"continues\":true}";
	int fd[CONNECTIONS], late;
	char byte;

	(void)state;
	for (int i = 0; i < CONNECTIONS; i++) {
		char answer[sizeof(begun)];

		fd[i] = raw();
		assert_int_equal(
			send(fd[i], request, sizeof(request), 0), sizeof(request));
		assert_int_equal(
			recv(fd[i], answer, sizeof(answer), MSG_WAITALL), sizeof(answer));
		assert_memory_equal(answer, begun, sizeof(begun));
	}
	late = raw();
	assert_int_equal(read_to_end(late, &byte, 1), 0);
	close(late);
	for (int i = 0; i < CONNECTIONS; i++) {
		struct pollfd p = { .fd = fd[i], .events = POLLIN | POLLRDHUP };

		assert_int_equal(poll(&p, 1, 0), 0);
		close(fd[i]);
	}
}

/* A client that asks for much and reads nothing is closed after the stall time. */
static void test_slow_reader(void **state)
{
	static const char request[] =
		"{\"method\":\"test.Count\",\"more\":true,\"parameters\":{\"n\":1000}}";
	static char bytes[1 << 20];
	int fd = raw();
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };
	struct ipc_client *c;
	char why[IPC_WHY];
	json_t *reply;

	(void)state;
	assert_int_equal(send(fd, request, sizeof(request), 0), sizeof(request));
	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	assert_true(p.revents & (POLLRDHUP | POLLHUP));
	assert_true(read_to_end(fd, bytes, sizeof(bytes)) < sizeof(bytes));
	close(fd);
	c = client();
	assert_int_equal(call_on(c, "test.Echo", NULL, &reply, why), 0);
	json_decref(reply);
	ipc_client_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_call, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_more, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timeout, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unreachable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_daemon_dies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_second_daemon, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_a_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rubbish, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipelined, setup, teardown),
		cmocka_unit_test_setup_teardown(test_connections, setup, teardown),
		cmocka_unit_test_setup_teardown(test_connections_busy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_reader, setup, teardown),
	};
	int failed;

	if (mkdtemp(dir) == NULL)
		return 1;
	(void)snprintf(path, sizeof(path), "%s/test.sock", dir);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	/* Fails, and so shows, when a socket or lock file was left behind. */
	return rmdir(dir) == 0 ? failed : 1;
}
