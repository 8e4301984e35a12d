/*
 * pcapng blocks in the byte order of this machine, which the section header tells.  The
 * interface has link type RAW: packets begin with their IP header.
 */
#include "cli/pcapng.h"

#include <string.h>

enum { BLOCK_SECTION = 0x0a0d0d0a, BLOCK_INTERFACE = 1, BLOCK_PACKET = 6 };
enum { OPT_END = 0, OPT_COMMENT = 1, OPT_NAME = 2, OPT_FLAGS = 2 };
#define LINK_RAW    101
#define BYTE_ORDER_ 0x1a2b3c4dU
#define BLOCK_MAX   131072
#define COMMENT_MAX 4096

/* A block being put together. */
struct block {
	uint8_t bytes[BLOCK_MAX];
	uint32_t len;
};

static void put(struct block *b, const void *bytes, uint32_t len)
{
	memcpy(b->bytes + b->len, bytes, len);
	b->len += len;
	for (; b->len % 4 != 0; b->len++)
		b->bytes[b->len] = 0;
}

static void put_u32(struct block *b, uint32_t n)
{
	put(b, &n, sizeof(n));
}

static void put_u16s(struct block *b, uint16_t first, uint16_t second)
{
	const uint16_t both[2] = { first, second };

	put(b, both, sizeof(both));
}

static void put_option(struct block *b, uint16_t code, const void *value, uint16_t len)
{
	put_u16s(b, code, len);
	put(b, value, len);
}

static void begin(struct block *b, uint32_t type)
{
	b->len = 0;
	put_u32(b, type);
	put_u32(b, 0); /* the length, when it is known */
}

static bool end(struct block *b, FILE *to)
{
	uint32_t len = b->len + 4;

	memcpy(b->bytes + 4, &len, sizeof(len));
	put_u32(b, len);
	return fwrite(b->bytes, 1, b->len, to) == b->len && fflush(to) == 0;
}

bool pcapng_begin(FILE *to)
{
	static const char name[] = "rsipd";
	const uint64_t unknown = UINT64_MAX;
	struct block b;

	begin(&b, BLOCK_SECTION);
	put_u32(&b, BYTE_ORDER_);
	put_u16s(&b, 1, 0); /* version */
	put(&b, &unknown, sizeof(unknown));
	if (!end(&b, to))
		return false;
	begin(&b, BLOCK_INTERFACE);
	put_u16s(&b, LINK_RAW, 0);
	put_u32(&b, 0); /* no snap length */
	put_option(&b, OPT_NAME, name, sizeof(name) - 1);
	put_u16s(&b, OPT_END, 0);
	return end(&b, to);
}

bool pcapng_packet(FILE *to, uint64_t wall_us, bool inbound, const uint8_t *bytes,
	uint32_t cap_len, uint32_t len, const char *comment)
{
	const uint32_t flags = inbound ? 1 : 2;
	size_t comment_len = strnlen(comment, COMMENT_MAX);
	struct block b;

	if (cap_len > BLOCK_MAX - COMMENT_MAX - 128)
		return false;
	begin(&b, BLOCK_PACKET);
	put_u32(&b, 0); /* the interface */
	put_u32(&b, (uint32_t)(wall_us >> 32));
	put_u32(&b, (uint32_t)wall_us);
	put_u32(&b, cap_len);
	put_u32(&b, len);
	put(&b, bytes, cap_len);
	put_option(&b, OPT_COMMENT, comment, (uint16_t)comment_len);
	put_option(&b, OPT_FLAGS, &flags, sizeof(flags));
	put_u16s(&b, OPT_END, 0);
	return end(&b, to);
}
