#pragma once

#include <stddef.h>

/* A listening Unix socket that owns its name. */
struct ipc_listen {
	char *path; /* NULL once given up */
	int fd;     /* handed to the loop, which closes it */
	int lock;   /* of the file beside the socket, held as long as it is ours */
};

int ipc_listen_init(struct ipc_listen *l, const char *path, unsigned int mode, char *why,
	size_t why_size);
/* Removes the socket and the lock file; again is allowed. */
void ipc_listen_fini(struct ipc_listen *l);
