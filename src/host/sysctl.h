#pragma once

#include <stddef.h>

/* Values below /proc/sys of the calling thread's network namespace. */

/*
 * name: "net/ipv4/ip_local_port_range".  *value is the caller's to free, without the
 * newline.  0 or -errno.
 */
int sysctl_read(const char *name, char **value);
int sysctl_write(const char *name, const char *value);
