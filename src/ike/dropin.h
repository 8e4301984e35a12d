#pragma once

/*
 * A file for an IKE daemon, whole or not at all, since it may be read at any moment.  0
 * or -errno.
 */
int dropin_write(const char *path, const char *text);
