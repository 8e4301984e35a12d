#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a Unix daemon does around its work. */

/*
 * Go to the background: returns in the child; the parent waits until daemon_ready() or
 * the child's end and then exits with 0 or the child's exit status.  -errno when that
 * fails.
 */
int daemon_start(int *parent);
/* For daemon_ready(), while files can still be opened to write; -1 when there is none. */
int daemon_null(void);
/* Tell the parent that all went well and let go of the terminal.  Takes over null. */
void daemon_ready(int parent, int null);

/* Make a directory and those above it that are missing.  -errno. */
int daemon_mkdir(const char *path, unsigned int mode);
/* The same for the directory that a file lies in. */
int daemon_mkdir_of(const char *file, unsigned int mode);

/* One message to systemd, where NOTIFY_SOCKET is set: "READY=1". */
void daemon_notify(const char *state);
/* systemd's watchdog interval, in milliseconds; 0: none is wanted. */
uint64_t daemon_watchdog_ms(void);
