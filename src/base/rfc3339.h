#pragma once

#include <stdint.h>

/* RFC 3339 times; in our structs milliseconds since 1970, UTC. */

#define RFC3339_MAX 32

/* "2026-11-22T04:00:00Z", with any offset and fraction; or ERR_MALFORMED. */
int rfc3339_parse(const char *text, uint64_t *wall_ms);
/* In UTC, to the second or the millisecond; returns buf. */
char *rfc3339_format(uint64_t wall_ms, char buf[static RFC3339_MAX]);
char *rfc3339_format_ms(uint64_t wall_ms, char buf[static RFC3339_MAX]);
