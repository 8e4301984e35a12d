/*
 * Who owns the name of a control socket.  A socket that a killed daemon left is replaced,
 * a live daemon's never.  Asking "does anybody answer?" and then replacing is two steps,
 * so the whole is done under a lock on PATH.lock, which the owner keeps until it ends; a
 * daemon that died has let it go.
 */
#include "ipc/listen.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int address_of(const char *path, struct sockaddr_un *addr)
{
	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(addr->sun_path))
		return -ENAMETOOLONG;
	memcpy(addr->sun_path, path, strlen(path) + 1);
	return 0;
}

static void lock_name(const char *path, char name[static 120])
{
	(void)snprintf(name, 120, "%s.lock", path);
}

/*
 * The owner removes the file while it holds the lock, so a lock may be got on a file that
 * is no longer the one of that name; then try again.
 */
static int lock_take(const char *path, int *lock)
{
	char name[120];

	lock_name(path, name);
	for (;;) {
		struct stat mine = { 0 }, named;
		int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		int err = 0;

		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB) != 0)
			err = errno == EWOULDBLOCK ? ERR_EXISTS : -errno;
		else if (fstat(fd, &mine) != 0)
			err = -errno;
		if (err != 0) {
			(void)close(fd);
			return err;
		}
		if (stat(name, &named) == 0 && named.st_ino == mine.st_ino) {
			*lock = fd;
			return 0;
		}
		(void)close(fd);
	}
}

static bool somebody_answers(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool answers;

	if (fd < 0)
		return true; /* in doubt nothing is replaced */
	answers = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ||
		  errno == EAGAIN; /* its queue is full */
	(void)close(fd);
	return answers;
}

/* Make way for our socket: 0 when the name is free now. */
static int name_clear(const struct sockaddr_un *addr)
{
	struct stat st;

	if (lstat(addr->sun_path, &st) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode) || somebody_answers(addr))
		return ERR_EXISTS;
	return unlink(addr->sun_path) == 0 ? 0 : -errno;
}

static int socket_bind(const struct sockaddr_un *addr, unsigned int mode, int *result)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t before;
	int err = 0;

	if (fd < 0)
		return -errno;
	/* So that there is no moment in which the socket is open to more than mode. */
	before = umask(~(mode_t)mode & 0777);
	if (bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) != 0)
		err = -errno;
	(void)umask(before);
	if (err != 0) {
		(void)close(fd);
		return err;
	}
	*result = fd;
	return 0;
}

static void explain(int err, const char *path, char *why, size_t why_size)
{
	if (err == ERR_EXISTS)
		(void)snprintf(why, why_size,
			"%s is in use: another daemon listens there, or it is not a "
			"socket; "
			"stop that daemon or name another control socket",
			path);
	else
		(void)snprintf(why, why_size,
			"cannot make the control socket %s: %s; check that its directory "
			"exists "
			"and may be written",
			path, err_text(err));
}

int ipc_listen_init(struct ipc_listen *l, const char *path, unsigned int mode, char *why,
	size_t why_size)
{
	struct ipc_listen made = { .fd = -1, .lock = -1 };
	struct sockaddr_un addr;
	int err = address_of(path, &addr);

	if (err == 0)
		err = lock_take(path, &made.lock);
	if (err == 0)
		err = name_clear(&addr);
	if (err == 0)
		err = socket_bind(&addr, mode, &made.fd);
	if (err == 0) {
		made.path = strdup(path);
		if (made.path != NULL) {
			*l = made;
			return 0;
		}
		err = -ENOMEM;
	}
	explain(err, path, why, why_size);
	if (made.fd >= 0)
		(void)close(made.fd);
	if (made.lock >= 0) {
		char name[120];

		lock_name(path, name);
		(void)unlink(name);
		(void)close(made.lock);
	}
	return err;
}

void ipc_listen_fini(struct ipc_listen *l)
{
	char name[120];

	if (l->path == NULL)
		return;
	(void)unlink(l->path);
	lock_name(l->path, name);
	(void)unlink(name);
	(void)close(l->lock);
	free(l->path);
	l->path = NULL;
}
