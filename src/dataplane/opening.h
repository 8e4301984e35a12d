#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * What an IKE initiator says of itself in its first message, where that can be read:
 * aggressive mode of IKEv1 (RFC 2409 section 5; RFC 3104 appendix G).
 *
 * ike is the message from its header on, whole (28 bytes at least).  Writes ID type and
 * data, without the protocol and port between them, to id, at most `size` bytes; returns
 * how many, 0 when the message tells none or a longer one.
 */
size_t opening_identity(const uint8_t *ike, const uint8_t *end, uint8_t *id, size_t size);
