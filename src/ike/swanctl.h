#pragma once

#include <stddef.h>

/*
 * The connections of a swanctl.conf, as far as one file has them: the text is walked
 * once, fn is called with "" as key when a connection begins, and with each setting
 * directly in it.  Sections inside and elsewhere are passed over, includes are not
 * followed.  Pure; names longer than SWANCTL_NAME are cut.
 */

#define SWANCTL_NAME 64

void swanctl_walk(const char *text,
	void (*fn)(void *ctx, const char *connection, const char *key, const char *value),
	void *ctx);
