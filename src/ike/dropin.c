/* Files for IKE daemons. */
#include "ike/dropin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

int dropin_write(const char *path, const char *text)
{
	char temp[4096];
	int fd, err;

	if ((size_t)snprintf(temp, sizeof(temp), "%s.XXXXXX", path) >= sizeof(temp))
		return -ENAMETOOLONG;
	fd = mkstemp(temp);
	if (fd < 0)
		return -errno;
	err = write_all(fd, text, strlen(text));
	if (err == 0 && (fchmod(fd, 0644) != 0 || fsync(fd) != 0))
		err = -errno;
	if (close(fd) != 0 && err == 0)
		err = -errno;
	if (err == 0 && rename(temp, path) != 0)
		err = -errno;
	if (err != 0)
		(void)unlink(temp);
	return err;
}
