/* The sandbox itself, tried out in child processes that it then binds. */
#include "base/err.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* What a child found out: one of these as its exit status. */
enum { AS_WANTED = 0, MISSING = 77 };

/* Runs fn in a child; its exit status.  fn returns the number of the check that failed.
 */
static int child(int (*fn)(const char *folder), const char *folder)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(fn(folder));
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void expect(int (*fn)(const char *folder))
{
	char folder[] = "/tmp/rsip-sandbox-XXXXXX", path[64];
	int found;

	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/file", folder);
	found = child(fn, folder);
	(void)unlink(path);
	assert_int_equal(rmdir(folder), 0);
	if (found == MISSING)
		skip();
	assert_int_equal(found, AS_WANTED);
}

static bool refused(long result, int with)
{
	return result < 0 && errno == with;
}

#define CHECK(n, what)            \
	do {                      \
		if (!(what))      \
			return n; \
	} while (0)

/* --- calls --- */

static int calls_of_serving(const char *folder)
{
	char byte;
	int ends[2], fd;
	void *memory;

	(void)folder;
	if (sandbox_calls(0, 0) == ERR_UNSUPPORTED)
		return MISSING;
	fd = open("/etc/hostname", O_RDONLY | O_CLOEXEC);
	CHECK(1, fd >= 0 || errno == ENOENT);
	CHECK(2, pipe2(ends, O_CLOEXEC) == 0);
	CHECK(3, write(ends[1], "x", 1) == 1 && read(ends[0], &byte, 1) == 1);
	CHECK(4, socket(AF_INET, SOCK_DGRAM, 0) >= 0);
	CHECK(5, socket(AF_UNIX, SOCK_DGRAM, 0) >= 0);
	memory = mmap(
		NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(6, memory != MAP_FAILED);
	CHECK(7, mprotect(memory, 4096, PROT_READ) == 0);
	return AS_WANTED;
}

static int calls_of_intruders(const char *folder)
{
	static char name[] = "true", *const argv[] = { name, NULL };
	char path[64];
	void *memory = mmap(
		NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)snprintf(path, sizeof(path), "%s/file", folder);
	if (sandbox_calls(SANDBOX_NET_ADMIN, 0) == ERR_UNSUPPORTED)
		return MISSING;
	CHECK(1, refused(execve("/bin/true", argv, NULL), EPERM));
	CHECK(2, refused(open(path, O_WRONLY | O_CREAT, 0600), EPERM));
	CHECK(3, refused(open("/dev/null", O_RDWR | O_CLOEXEC), EPERM));
	CHECK(4, refused(mkdir(path, 0700), EPERM));
	CHECK(5, refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL), EPERM));
	CHECK(6, refused(unshare(CLONE_NEWUSER), EPERM));
	CHECK(7, refused(syscall(SYS_clone, CLONE_NEWNET | 17, 0, 0, 0, 0), EPERM));
	CHECK(8, refused(syscall(SYS_bpf, 0, NULL, 0), EPERM));
	CHECK(9, refused(socket(AF_PACKET, SOCK_RAW, 0), EPERM));
	CHECK(10, refused(kill(getppid(), 0), EPERM));
	CHECK(11, refused(chmod("/", 0755), EPERM));
	CHECK(12, refused(setuid(getuid()), EPERM));
	CHECK(13, refused(mprotect(memory, 4096, PROT_READ | PROT_EXEC), EPERM));
	CHECK(14, mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
	CHECK(15, refused(syscall(SYS_io_uring_setup, 1, NULL), EPERM));
	return AS_WANTED;
}

/* A driver that starts nft: that works, and what it starts is bound, too. */
static int calls_of_children(const char *folder)
{
	int status = -1;
	pid_t pid;

	(void)folder;
	if (sandbox_calls(0, SANDBOX_CHILDREN) == ERR_UNSUPPORTED)
		return MISSING;
	pid = fork();
	if (pid == 0) {
		(void)execl("/bin/sh", "sh", "-c", "mkdir /tmp/no 2>&- && exit 1; exit 7",
			(char *)NULL);
		_exit(2);
	}
	CHECK(1, pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK(2, WIFEXITED(status) && WEXITSTATUS(status) == 7);
	return AS_WANTED;
}

static void test_serving_works(void **state)
{
	(void)state;
	expect(calls_of_serving);
}

static void test_intruders_get_nothing(void **state)
{
	(void)state;
	expect(calls_of_intruders);
}

static void test_children_are_bound_too(void **state)
{
	(void)state;
	expect(calls_of_children);
}

/* --- files --- */

static int files_of_others(const char *folder)
{
	struct sandbox_path paths[] = { { "/etc", SANDBOX_READ },
		{ "/not/there", SANDBOX_READ }, { folder, SANDBOX_REMOVE } };
	char path[64];
	int fd, open_before, rules;

	(void)snprintf(path, sizeof(path), "%s/file", folder);
	open_before = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(1, open_before >= 0);
	if (sandbox_rules(paths, 3, &rules) == ERR_UNSUPPORTED)
		return MISSING;
	CHECK(10, sandbox_files(rules) == 0);
	fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	CHECK(2, fd >= 0);
	CHECK(3, refused(open("/etc/passwd", O_RDWR | O_CLOEXEC), EACCES));
	CHECK(4, refused(open("/proc/self/maps", O_RDONLY | O_CLOEXEC), EACCES));
	CHECK(5, refused(open(path, O_RDONLY | O_CLOEXEC), EACCES));
	CHECK(6, refused(mkdir("/tmp/rsip-no", 0700), EACCES));
	/* The store goes on with what it has open. */
	CHECK(7, write(open_before, "x", 1) == 1);
	CHECK(8, ftruncate(open_before, 65536) == 0);
	CHECK(9, unlink(path) == 0);
	return AS_WANTED;
}

static int files_to_make(const char *folder)
{
	struct sandbox_path paths[] = { { folder, SANDBOX_MAKE } };
	char path[64];
	int fd, rules;

	(void)snprintf(path, sizeof(path), "%s/file", folder);
	if (sandbox_rules(paths, 1, &rules) == ERR_UNSUPPORTED)
		return MISSING;
	CHECK(3, sandbox_files(rules) == 0);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(1, fd >= 0 && write(fd, "x", 1) == 1);
	CHECK(2, unlink(path) == 0);
	return AS_WANTED;
}

static void test_files_are_shut_off(void **state)
{
	(void)state;
	expect(files_of_others);
}

static void test_files_that_may_be_made(void **state)
{
	(void)state;
	expect(files_to_make);
}

/* --- users --- */

static void test_users(void **state)
{
	char why[SANDBOX_WHY] = "";

	(void)state;
	assert_false(sandbox_user_reads("rsip-nobody-has-this", "/", why, sizeof(why)));
	assert_non_null(strstr(why, "there is no user rsip-nobody-has-this"));
	assert_int_equal(sandbox_user_owns("rsip-nobody-has-this", "/"), -ENOENT);
	if (geteuid() != 0 ||
		!sandbox_user_reads("nobody", "/etc/passwd", why, sizeof(why)))
		skip(); /* not root, or in a namespace that knows one user */
	assert_false(sandbox_user_reads("nobody", "/etc/shadow", why, sizeof(why)));
	assert_non_null(strstr(why, "user nobody cannot read /etc/shadow"));
	assert_int_equal(close(open("/etc/shadow", O_RDONLY | O_CLOEXEC)), 0);
}

static int enter_whole(const char *folder)
{
	struct sandbox_path paths[] = { { "/etc", SANDBOX_READ },
		{ "/proc", SANDBOX_READ } };
	struct sandbox s = {
		.user = "nobody", .confine = true, .paths = paths, .n_paths = 2
	};
	struct sandbox_got got;
	char why[SANDBOX_WHY] = "", line[256];
	unsigned int seen = 0;
	FILE *f;

	(void)folder;
	if (geteuid() != 0 ||
		!sandbox_user_reads("nobody", "/etc/passwd", why, sizeof(why)))
		return MISSING;
	CHECK(1, sandbox_enter(&s, &got, why, sizeof(why)) == 0);
	CHECK(2, got.user && getuid() == 65534 && getegid() == 65534);
	f = fopen("/proc/self/status", "re");
	CHECK(3, f != NULL);
	while (fgets(line, sizeof(line), f) != NULL) {
		seen += strcmp(line, "NoNewPrivs:\t1\n") == 0;
		seen += strcmp(line, "Seccomp:\t2\n") == 0;
		seen += strcmp(line, "CapPrm:\t0000000000000000\n") == 0;
		seen += strcmp(line, "CapBnd:\t0000000000000000\n") == 0;
	}
	(void)fclose(f);
	CHECK(4, seen == (got.calls ? 4U : 3U));
	CHECK(5, setresuid(0, 0, 0) != 0);
	return AS_WANTED;
}

static void test_all_of_it(void **state)
{
	(void)state;
	expect(enter_whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_serving_works),
		cmocka_unit_test(test_intruders_get_nothing),
		cmocka_unit_test(test_children_are_bound_too),
		cmocka_unit_test(test_files_are_shut_off),
		cmocka_unit_test(test_files_that_may_be_made),
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_all_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
