#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * Writer into the caller's buffer.  What does not fit is not written at all and makes the
 * writer bad for good, so that `bad` is looked at once at the end.  Numbers are
 * big-endian.
 */
struct wr {
	uint8_t *start, *p, *end;
	bool bad;
};

static inline struct wr wr_init(uint8_t *buf, size_t size)
{
	return (struct wr){ .start = buf, .p = buf, .end = size ? buf + size : buf };
}

static inline size_t wr_len(const struct wr *w)
{
	return (size_t)(w->p - w->start);
}

/* Room for n bytes that the caller fills, or NULL. */
static inline uint8_t *wr_take(struct wr *w, size_t n)
{
	uint8_t *at = w->p;

	if (w->bad || (size_t)(w->end - w->p) < n) {
		w->bad = true;
		return NULL;
	}
	w->p += n;
	return at;
}

static inline void wr_bytes(struct wr *w, const void *bytes, size_t n)
{
	uint8_t *at = wr_take(w, n);

	if (at && n)
		memcpy(at, bytes, n);
}

static inline void wr_u8(struct wr *w, uint8_t v)
{
	wr_bytes(w, &v, 1);
}

static inline void wr_u16(struct wr *w, uint16_t v)
{
	uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	wr_bytes(w, b, sizeof(b));
}

static inline void wr_u32(struct wr *w, uint32_t v)
{
	uint8_t b[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8),
		(uint8_t)v };

	wr_bytes(w, b, sizeof(b));
}

/* Fill in a 16-bit field that was written before, `at` bytes from the start. */
static inline void wr_patch_u16(struct wr *w, size_t at, size_t v)
{
	if (v > UINT16_MAX)
		w->bad = true;
	if (w->bad)
		return;
	w->start[at] = (uint8_t)(v >> 8);
	w->start[at + 1] = (uint8_t)v;
}
