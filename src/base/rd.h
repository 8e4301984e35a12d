#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * Reader over borrowed bytes.  A reader that has failed stays failed and yields zeros, so
 * a caller takes a whole group of fields and looks at `bad` once.  Numbers are
 * big-endian.
 */
struct rd {
	const uint8_t *p, *end;
	bool bad;
};

static inline struct rd rd_init(const uint8_t *bytes, size_t len)
{
	return (struct rd){ .p = bytes, .end = len ? bytes + len : bytes };
}

static inline size_t rd_left(const struct rd *r)
{
	return (size_t)(r->end - r->p);
}

/* The next n bytes, or NULL once anything has gone wrong. */
static inline const uint8_t *rd_take(struct rd *r, size_t n)
{
	const uint8_t *at = r->p;

	if (r->bad || rd_left(r) < n) {
		r->bad = true;
		return NULL;
	}
	if (n > 0) /* an empty reader may have no bytes to point at */
		r->p += n;
	return at;
}

static inline uint8_t rd_u8(struct rd *r)
{
	const uint8_t *b = rd_take(r, 1);

	return b ? b[0] : 0;
}

static inline uint16_t rd_u16(struct rd *r)
{
	const uint8_t *b = rd_take(r, 2);

	return b ? (uint16_t)(b[0] << 8 | b[1]) : 0;
}

static inline uint32_t rd_u32(struct rd *r)
{
	const uint8_t *b = rd_take(r, 4);

	return b ? (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 |
			       b[3]
		 : 0;
}

/* The next n bytes copied out; zeros when there are fewer. */
static inline void rd_bytes(struct rd *r, void *out, size_t n)
{
	const uint8_t *b = rd_take(r, n);

	if (b)
		memcpy(out, b, n);
	else
		memset(out, 0, n);
}

/*
 * A reader of the next n bytes alone, which cannot leave them; this one goes on behind
 * them.  When there are fewer, both are bad.
 */
static inline struct rd rd_sub(struct rd *r, size_t n)
{
	const uint8_t *at = rd_take(r, n);

	return at ? rd_init(at, n)
		  : (struct rd){ .p = r->end, .end = r->end, .bad = true };
}
