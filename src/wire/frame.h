#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Message boundaries on a TCP stream: cut by Overall length only (RFC 3103 section 9).
 * Returns the length of the first message when it is complete, 0 when more bytes are
 * needed, or ERR_MALFORMED when the position in the stream is lost: Overall length under
 * 4, or a Version other than 1, whose layout is unknown.  The first RSIP_HEADER_LEN bytes
 * then give wire_header() the error to answer (207, 106) before closing.
 */
int wire_frame(const uint8_t *bytes, size_t have);
