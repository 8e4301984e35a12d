/*
 * Reaching rsip-hostd.  One is found beside this program, as in a build tree, or in the
 * sbin of an installation, else on PATH.  It returns from starting when it can be called.
 */
#include "cli/hostd.h"

#include "base/err.h"
#include "ipc/ipc.h"
#include "ipc/place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DAEMON     "rsip-hostd"
#define TIMEOUT_MS 60000
#define PAUSE_US   20000
/* A daemon that was about to end may have taken the call: for so long we try again. */
#define AGAIN_S 5

static time_t now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail on Linux */
	return t.tv_sec;
}

static void place_of(const struct cli *cli, char path[static IPC_PLACE_MAX])
{
	if (cli->socket != NULL)
		(void)snprintf(path, IPC_PLACE_MAX, "%s", cli->socket);
	else
		ipc_host_place(path);
}

/* rsip-hostd where this program's folder says; "" when there is none. */
static void beside(char path[static 512])
{
	static const char *const places[] = { DAEMON, "../sbin/" DAEMON };
	ssize_t n = readlink("/proc/self/exe", path, 480);
	char *slash;

	path[n > 0 ? n : 0] = 0;
	slash = strrchr(path, '/');
	for (size_t i = 0; slash != NULL && i < sizeof(places) / sizeof(places[0]); i++) {
		memcpy(slash + 1, places[i], strlen(places[i]) + 1);
		if (access(path, X_OK) == 0)
			return;
	}
	path[0] = 0;
}

__attribute__((noreturn)) static void become_daemon(const char *socket, const char *conf)
{
	char path[512];

	beside(path);
	if (conf != NULL)
		(void)execlp(path[0] != 0 ? path : DAEMON, DAEMON, "--socket", socket,
			"-c", conf, (char *)NULL);
	else
		(void)execlp(path[0] != 0 ? path : DAEMON, DAEMON, "--socket", socket,
			(char *)NULL);
	(void)fprintf(stderr, "rsip: cannot start %s: %s\n", path[0] != 0 ? path : DAEMON,
		strerror(errno));
	_exit(127);
}

static int daemon_start(const char *socket, const char *conf)
{
	pid_t child;
	int status = 0;

	(void)fflush(NULL);
	child = fork();
	if (child < 0)
		return cli_fail(-errno, NULL);
	if (child == 0)
		become_daemon(socket, conf);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return cli_fail(-errno, NULL);
	if (!WIFEXITED(status) || WEXITSTATUS(status) == 127)
		return CLI_UNREACHABLE;
	/* It has said why; it may also have lost a race against another one. */
	return WEXITSTATUS(status);
}

static bool left_behind(const char *socket)
{
	char state[IPC_PLACE_MAX + 8];

	(void)snprintf(state, sizeof(state), "%s.state", socket);
	return access(state, F_OK) == 0;
}

/*
 * A client of the daemon, which is started where allowed.  CLI_OK, or the exit status;
 * with CLI_UNREACHABLE and *err set it may be tried again, and nothing has been printed
 * yet.
 */
static int daemon_reach(const char *socket, enum hostd_start start, const char *conf,
	struct ipc_client **client, int *err, char *why, size_t why_size)
{
	int status;

	*err = ipc_client_new(socket, client, why, why_size);
	if (*err == 0)
		return CLI_OK;
	if (start == HOSTD_NEVER || (start == HOSTD_CLEAN_UP && !left_behind(socket))) {
		(void)fprintf(stderr,
			"rsip: rsip-hostd does not run here (%s); `rsip up` starts it\n",
			why);
		*err = 0;
		return CLI_UNREACHABLE;
	}
	status = daemon_start(socket, conf);
	*err = ipc_client_new(socket, client, why, why_size);
	if (*err == 0)
		return CLI_OK;
	if (status == CLI_OK)
		return CLI_UNREACHABLE; /* it was another's, which has ended meanwhile */
	*err = 0;
	return status;
}

/* One try; as above. */
static int call_once(const char *socket, enum hostd_start start, const char *conf,
	const char *method, json_t *params, json_t **reply, int *err, char *why,
	size_t why_size)
{
	struct ipc_client *client;
	int status = daemon_reach(socket, start, conf, &client, err, why, why_size);

	if (status != CLI_OK)
		return status;
	*err = ipc_client_call(
		client, method, json_incref(params), TIMEOUT_MS, reply, why, why_size);
	ipc_client_free(client);
	if (*err == 0)
		return CLI_OK;
	return *err == ERR_UNREACHABLE ? CLI_UNREACHABLE : CLI_FAILED;
}

int hostd_call(const struct cli *cli, enum hostd_start start, const char *conf,
	const char *method, json_t *params, json_t **reply)
{
	char socket[IPC_PLACE_MAX], why[IPC_WHY] = "";
	int status = CLI_FAILED, err = 0;
	time_t since = now_s();

	if (params == NULL)
		return cli_fail(-ENOMEM, NULL);
	place_of(cli, socket);
	do {
		status = call_once(socket, start, conf, method, params, reply, &err, why,
			sizeof(why));
		if (status != CLI_UNREACHABLE || err == 0 || start == HOSTD_NEVER)
			break;
		(void)usleep(PAUSE_US);
	} while (now_s() - since < AGAIN_S);
	json_decref(params);
	return err == 0 ? status : cli_fail(err, why);
}
