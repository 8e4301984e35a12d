#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Messages as words, the language of the scenarios:
 *
 *     ASSIGN_REQUEST_RSAP-IP client=7 local=* ports=*4 remote=* rports=*1 counter=5
 *
 * One word a parameter, in the order of the wire.  tests/scenario/README.md lists them.
 */

/*
 * The bytes of words[0..n).  Returns their length, or -1 with the reason in why.
 */
int words_encode(char *const *words, size_t n, uint8_t *buf, size_t size, char *why,
	size_t why_size);

/*
 * The words of a message, in memory of its own.  What is no whole parameter comes as
 * bytes=HEX, what is no known parameter as param=TYPE:HEX.
 */
char *words_decode(const uint8_t *bytes, size_t len);

/* "00ff" to bytes; returns how many, or -1. */
int words_hex(const char *text, uint8_t *buf, size_t size);
