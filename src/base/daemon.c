/*
 * Background, directories, systemd.  sd_notify's datagram is the stable interface; its
 * library is not linked for one sendto().
 */
#include "base/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* The parent's part: how the child fares is how we fare. */
static _Noreturn void wait_for_child(int from, pid_t child)
{
	char byte;
	ssize_t got;
	int status;

	do
		got = read(from, &byte, 1);
	while (got < 0 && errno == EINTR);
	if (got == 1)
		_exit(0);
	if (waitpid(child, &status, 0) == child && WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	_exit(1);
}

int daemon_start(int *parent)
{
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	child = fork();
	if (child < 0) {
		int err = -errno;

		(void)close(ends[0]);
		(void)close(ends[1]);
		return err;
	}
	if (child > 0) {
		(void)close(ends[1]);
		wait_for_child(ends[0], child);
	}
	(void)close(ends[0]);
	(void)setsid(); /* a fresh child leads no group: it cannot fail */
	*parent = ends[1];
	return 0;
}

int daemon_null(void)
{
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

void daemon_ready(int parent, int null)
{
	if (null >= 0) {
		(void)dup2(null, STDIN_FILENO);
		(void)dup2(null, STDOUT_FILENO);
		(void)dup2(null, STDERR_FILENO);
		if (null > STDERR_FILENO)
			(void)close(null);
	}
	/* A parent that is gone does not need to know. */
	if (write(parent, "r", 1) != 1)
		errno = 0;
	(void)close(parent);
}

int daemon_mkdir(const char *path, unsigned int mode)
{
	char *copy = strdup(path);
	int err = 0;

	if (copy == NULL)
		return -ENOMEM;
	for (char *at = copy + 1; err == 0; at++) {
		char was = *at;

		if (was != '/' && was != 0)
			continue;
		*at = 0;
		/* 0755 for those above, or nobody reaches the last. */
		if (mkdir(copy, was == 0 ? (mode_t)mode : 0755) != 0 && errno != EEXIST)
			err = -errno;
		*at = was;
		if (was == 0)
			break;
	}
	free(copy);
	return err;
}

int daemon_mkdir_of(const char *file, unsigned int mode)
{
	const char *slash = strrchr(file, '/');
	char *dir;
	int err;

	if (slash == NULL || slash == file)
		return 0;
	dir = strndup(file, (size_t)(slash - file));
	if (dir == NULL)
		return -ENOMEM;
	err = daemon_mkdir(dir, mode);
	free(dir);
	return err;
}

void daemon_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t len = path != NULL ? strlen(path) : 0;
	int fd;

	if (len == 0 || len >= sizeof(to.sun_path))
		return;
	memcpy(to.sun_path, path, len);
	if (path[0] == '@')
		to.sun_path[0] = 0; /* an abstract name */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	/* A manager that does not listen is not our trouble. */
	(void)sendto(fd, state, strlen(state), MSG_DONTWAIT | MSG_NOSIGNAL,
		(const struct sockaddr *)&to,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	(void)close(fd);
}

uint64_t daemon_watchdog_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	if (usec == NULL || (pid != NULL && strtol(pid, NULL, 10) != (long)getpid()))
		return 0;
	return strtoull(usec, NULL, 10) / 1000;
}
