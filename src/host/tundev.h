#pragma once

#include <net/if.h>
#include <stdbool.h>

/* TUN devices: layer 3, without packet information. */

/*
 * Make or attach to the device `name` ("rsip0", or a pattern "rsipx%d" that the kernel
 * completes in place).  A persistent one outlives its file descriptor, with addresses and
 * routes, so that a killed daemon's successor goes on with it.  0 or -errno.
 */
int tundev_open(char name[static IFNAMSIZ], bool persist, int *fd);
/* It ends with its file descriptor from now on. */
int tundev_release(int fd);
