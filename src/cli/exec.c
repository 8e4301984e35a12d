/*
 * rsip exec: a child in a network namespace of its own, connected by rsip-hostd, becomes
 * the command; this process waits for it, passes signals on and gives the lease back.
 * When it is killed the child dies with it, and rsip-hostd, which watches it, frees.
 */
#include "cli/host.h"
#include "cli/hostd.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOT_EXECUTABLE 126 /* as shells say it */
#define NOT_FOUND      127
#define BY_SIGNAL      128

/* The child's ends of two pipes: "the namespace is there" and "go". */
struct child {
	pid_t pid;
	int there, go;
};

static const int passed_on[] = { SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 };

static volatile sig_atomic_t child_pid;

static void on_signal(int number)
{
	if (child_pid > 0)
		(void)kill((pid_t)child_pid, number);
}

/* Who called: the user of --user, of sudo, or the one that we are. */
static const struct passwd *user_find(const char *name)
{
	const char *sudo = getenv("SUDO_UID");

	if (name != NULL)
		return getpwnam(name);
	if (getuid() == 0 && sudo != NULL)
		return getpwuid((uid_t)strtoul(sudo, NULL, 10));
	return getpwuid(getuid());
}

/* Root gives its rights up for good; anybody else has none to give. */
static int user_become(const struct passwd *user)
{
	if (user == NULL || geteuid() != 0 || user->pw_uid == 0)
		return 0;
	if (initgroups(user->pw_name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 ||
		setuid(user->pw_uid) != 0)
		return -errno;
	return 0;
}

__attribute__((noreturn)) static void child_fail(const char *what, int status)
{
	(void)fprintf(stderr, "rsip: %s: %s\n", what, strerror(errno));
	_exit(status);
}

__attribute__((noreturn)) static void child_run(
	const struct child *c, const struct passwd *user, pid_t parent, char **argv)
{
	char byte = 'n';

	if (unshare(CLONE_NEWNET) != 0)
		child_fail("cannot make a network namespace (needs root)", CLI_FAILED);
	if (write(c->there, &byte, 1) != 1 || read(c->go, &byte, 1) != 1)
		_exit(CLI_FAILED); /* who started us has said why */
	if (user_become(user) != 0)
		child_fail("cannot become the calling user", CLI_FAILED);
	/* After the change of user, which would clear it. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(CLI_FAILED);
	(void)execvp(argv[0], argv);
	child_fail(argv[0], errno == ENOENT ? NOT_FOUND : NOT_EXECUTABLE);
}

static int child_start(struct child *c, const struct passwd *user, char **argv)
{
	int there[2], go[2];
	pid_t parent = getpid();

	if (pipe2(there, O_CLOEXEC) != 0)
		return -errno;
	if (pipe2(go, O_CLOEXEC) != 0) {
		int err = -errno;

		(void)close(there[0]);
		(void)close(there[1]);
		return err;
	}
	(void)fflush(NULL);
	c->pid = fork();
	if (c->pid == 0) {
		(void)close(there[0]);
		(void)close(go[1]);
		c->there = there[1];
		c->go = go[0];
		child_run(c, user, parent, argv);
	}
	(void)close(there[1]);
	(void)close(go[0]);
	c->there = there[0];
	c->go = go[1];
	return c->pid > 0 ? 0 : -errno;
}

static int child_wait(const struct child *c)
{
	int status = 0;

	while (waitpid(c->pid, &status, 0) < 0)
		if (errno != EINTR)
			return CLI_FAILED;
	if (WIFSIGNALED(status))
		return BY_SIGNAL + WTERMSIG(status);
	return WEXITSTATUS(status);
}

/* The terminal's signals reach the child by themselves; it decides about them. */
static void signals_set(const struct child *c)
{
	struct sigaction pass = { .sa_handler = on_signal },
			 ignore = { .sa_handler = SIG_IGN };

	child_pid = c->pid;
	for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
		(void)sigaction(passed_on[i], &pass, NULL);
	(void)sigaction(SIGINT, &ignore, NULL);
	(void)sigaction(SIGQUIT, &ignore, NULL);
}

static int exec_run(struct cli *cli, const struct host_options *o, const struct child *c)
{
	json_t *params = host_params(o), *reply = NULL;
	char byte;
	int status;

	if (read(c->there, &byte, 1) != 1)
		return child_wait(c); /* it has said why */
	if (params == NULL ||
		json_object_set_new(params, "pid", json_integer(c->pid)) != 0 ||
		json_object_set_new(params, "watch", json_integer(getpid())) != 0) {
		json_decref(params);
		params = NULL;
	}
	status = hostd_call(
		cli, HOSTD_START, o->conf, "org.rsipsec.host.ExecStart", params, &reply);
	if (status != CLI_OK) {
		(void)kill(c->pid, SIGKILL);
		(void)child_wait(c);
		return status;
	}
	if (write(c->go, "g", 1) != 1)
		(void)kill(c->pid, SIGKILL);
	status = child_wait(c);
	params = json_pack("{s:O}", "exec", json_object_get(reply, "exec"));
	json_decref(reply);
	reply = NULL;
	/* The command has ended; what rsip-hostd can't do is in its log. */
	if (hostd_call(cli, HOSTD_NEVER, NULL, "org.rsipsec.host.ExecEnd", params,
		    &reply) == CLI_OK)
		json_decref(reply);
	return status;
}

int host_exec(struct cli *cli, const void *options, int argc, char **argv)
{
	const struct host_options *o = options;
	const struct passwd *user = user_find(o->user);
	struct child c = { 0 };
	int err;

	(void)argc;
	if (o->user != NULL && user == NULL)
		return cli_usage("there is no user \"%s\"", o->user);
	err = child_start(&c, user, argv);
	if (err != 0)
		return cli_fail(err, NULL);
	signals_set(&c);
	return exec_run(cli, o, &c);
}
