#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Message boundaries on a TCP stream: cut by Overall length only (RFC 3103 section 9).
 * Returns the length of the first message when it is complete, 0 when more bytes are
 * needed, or ERR_MALFORMED when Overall length is under 4 (answer 207 and close).
 */
int wire_frame(const uint8_t *bytes, size_t have);
