/*
 * The default name of a host daemon's control socket.  A namespace's inode number is
 * reused after its end, its cookie never (until the next boot), so that what a dead
 * namespace's daemon left is not taken for ours.
 */
#include "ipc/place.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static uint64_t namespace_number(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);
	struct stat st;

	if (fd >= 0) {
		int err = getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len);

		(void)close(fd);
		if (err == 0)
			return cookie;
	}
	/* A kernel before 5.14. */
	return stat("/proc/self/ns/net", &st) == 0 ? st.st_ino : 0;
}

void ipc_host_place(char path[static IPC_PLACE_MAX])
{
	(void)snprintf(path, IPC_PLACE_MAX, IPC_RUN_DIR "/hostd-%" PRIu64 ".sock",
		namespace_number());
}
