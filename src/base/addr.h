#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Addresses, prefixes and number ranges.  IPv4 addresses are host-order uint32_t in every
 * struct of ours; bytes on the wire are converted where they are read or written.
 */

#define ADDR_TEXT_MAX   16 /* "255.255.255.255" and its NUL */
#define PREFIX_TEXT_MAX 20

struct prefix4 {
	uint32_t addr; /* host order, host bits zero */
	uint8_t len;   /* 0..32 */
};

/* Both ends belong to the range; lo <= hi. */
struct range {
	uint32_t lo, hi;
};

/* Dotted quad, nothing else.  0 or ERR_MALFORMED. */
int addr_parse(const char *text, uint32_t *addr);
/* Writes at most ADDR_TEXT_MAX bytes and returns buf. */
char *addr_format(uint32_t addr, char buf[static ADDR_TEXT_MAX]);

/* "A.B.C.D" (a /32) or "A.B.C.D/LEN".  Host bits set are ERR_RANGE. */
int prefix_parse(const char *text, struct prefix4 *p);
char *prefix_format(const struct prefix4 *p, char buf[static PREFIX_TEXT_MAX]);
bool prefix_has(const struct prefix4 *p, uint32_t addr);
uint32_t prefix_mask(uint8_t len);

/* "ADDRESS:PORT"; the port is required unless default_port is not 0. */
int endpoint_parse(
	const char *text, uint16_t default_port, uint32_t *addr, uint16_t *port);

/* "N" or "N-M", decimal or 0x hexadecimal, within min..max. */
int range_parse(const char *text, uint32_t min, uint32_t max, struct range *r);

/*
 * "20480-20495,20500" in decimal, or with hex set "0xc0010000-0xc00100ff"; a range of one
 * is a single number.  Returns the length it would need (as snprintf does).
 */
int ranges_format(const struct range *r, size_t n, bool hex, char *buf, size_t size);

/* How many numbers n ranges hold; the ranges must not overlap. */
uint64_t ranges_count(const struct range *r, size_t n);
bool ranges_have(const struct range *r, size_t n, uint32_t value);
/*
 * Sort and join touching or overlapping ranges in place; returns the new count.
 */
size_t ranges_normalise(struct range *r, size_t n);
