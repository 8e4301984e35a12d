/* TUN devices. */
#include "host/tundev.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int tundev_open(char name[static IFNAMSIZ], bool persist, int *fd)
{
	struct ifreq req;
	int f = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (f < 0)
		return -errno;
	memset(&req, 0, sizeof(req));
	req.ifr_flags = IFF_TUN | IFF_NO_PI;
	memcpy(req.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	if (ioctl(f, TUNSETIFF, &req) != 0 ||
		(persist && ioctl(f, TUNSETPERSIST, 1) != 0)) {
		int err = -errno;

		(void)close(f);
		return err;
	}
	memcpy(name, req.ifr_name, IFNAMSIZ);
	*fd = f;
	return 0;
}

int tundev_release(int fd)
{
	return ioctl(fd, TUNSETPERSIST, 0) == 0 ? 0 : -errno;
}
