/* Reading and writing below /proc/sys. */
#include "host/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VALUE_MAX 65536 /* a list of reserved ports may be long */
#define WRITE_MAX 4000  /* the kernel takes less than a page at once */

static int sysctl_open(const char *name, int flags)
{
	char path[160];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/sys/%s", name);
	fd = open(path, flags | O_CLOEXEC);
	return fd >= 0 ? fd : -errno;
}

int sysctl_read(const char *name, char **value)
{
	int fd = sysctl_open(name, O_RDONLY);
	char *buf;
	size_t len = 0;
	ssize_t n = 0;

	if (fd < 0)
		return fd;
	buf = malloc(VALUE_MAX);
	while (buf != NULL && len < VALUE_MAX - 1 &&
		(n = read(fd, buf + len, VALUE_MAX - 1 - len)) > 0)
		len += (size_t)n;
	(void)close(fd);
	if (buf == NULL || n < 0) {
		free(buf);
		return buf == NULL ? -ENOMEM : -EIO;
	}
	buf[len] = 0;
	buf[strcspn(buf, "\n")] = 0;
	*value = buf;
	return 0;
}

/* How much to write at once: all that fits, cut behind a comma. */
static size_t piece(const char *text, size_t len)
{
	size_t n = WRITE_MAX;

	if (len <= WRITE_MAX)
		return len;
	while (n > 1 && text[n - 1] != ',')
		n--;
	return n;
}

int sysctl_write(const char *name, const char *value)
{
	int fd = sysctl_open(name, O_WRONLY), err = 0;
	size_t len = strlen(value);

	if (fd < 0)
		return fd;
	/* A list of ports continues at the file's offset; an empty one is a newline. */
	do {
		size_t n = piece(value, len);
		ssize_t done = len > 0 ? write(fd, value, n) : write(fd, "\n", 1);

		if (done < 0)
			err = -errno;
		if (done <= 0)
			break;
		value += len > 0 ? (size_t)done : 0;
		len -= len > 0 ? (size_t)done : 0;
	} while (len > 0);
	(void)close(fd);
	return err;
}
