/*
 * Messages from pieces, and pieces from messages: the tests' own reading of RFC 3103
 * section 8, apart from the codec that the engine uses.
 */
#include "build.h"

#include <string.h>

void build_begin(struct build *b, uint8_t *bytes, size_t size, uint8_t type)
{
	*b = (struct build){ .bytes = bytes, .len = 4, .size = size };
	bytes[0] = 1;
	bytes[1] = type;
}

void build_param(struct build *b, uint8_t param, const uint8_t *value, size_t len)
{
	if (b->len + 3 + len > b->size)
		return;
	b->bytes[b->len] = param;
	b->bytes[b->len + 1] = (uint8_t)(len >> 8);
	b->bytes[b->len + 2] = (uint8_t)len;
	if (len > 0)
		memcpy(b->bytes + b->len + 3, value, len);
	b->len += 3 + len;
}

void build_u32(struct build *b, uint8_t param, uint32_t value)
{
	uint8_t v[4] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16),
		(uint8_t)(value >> 8), (uint8_t)value };

	build_param(b, param, v, sizeof(v));
}

void build_u16(struct build *b, uint8_t param, uint16_t value)
{
	uint8_t v[2] = { (uint8_t)(value >> 8), (uint8_t)value };

	build_param(b, param, v, sizeof(v));
}

void build_u8(struct build *b, uint8_t param, uint8_t value)
{
	build_param(b, param, &value, 1);
}

void build_any_address(struct build *b)
{
	build_u8(b, B_ADDRESS, 1);
}

void build_address(struct build *b, uint32_t addr)
{
	uint8_t v[5] = { 1, (uint8_t)(addr >> 24), (uint8_t)(addr >> 16),
		(uint8_t)(addr >> 8), (uint8_t)addr };

	build_param(b, B_ADDRESS, v, sizeof(v));
}

void build_any_ports(struct build *b, uint8_t number)
{
	build_u8(b, B_PORTS, number);
}

void build_port_block(struct build *b, uint16_t first, uint8_t number)
{
	uint8_t v[3] = { number, (uint8_t)(first >> 8), (uint8_t)first };

	build_param(b, B_PORTS, v, sizeof(v));
}

void build_any_spis(struct build *b, uint16_t number)
{
	build_u16(b, B_SPI, number);
}

void build_spi_block(struct build *b, uint32_t first, uint16_t number)
{
	uint8_t v[6] = { (uint8_t)(number >> 8), (uint8_t)number, (uint8_t)(first >> 24),
		(uint8_t)(first >> 16), (uint8_t)(first >> 8), (uint8_t)first };

	build_param(b, B_SPI, v, sizeof(v));
}

size_t build_end(struct build *b)
{
	b->bytes[2] = (uint8_t)(b->len >> 8);
	b->bytes[3] = (uint8_t)b->len;
	return b->len;
}

int tlv_next(const uint8_t *bytes, size_t len, size_t *at, struct tlv *p)
{
	if (*at + 3 > len)
		return 0;
	p->type = bytes[*at];
	p->len = (uint16_t)(bytes[*at + 1] << 8 | bytes[*at + 2]);
	p->value = bytes + *at + 3;
	if (*at + 3 + p->len > len)
		return 0;
	*at += 3u + p->len;
	return 1;
}

uint32_t tlv_number(const struct tlv *p)
{
	uint32_t value = 0;

	for (size_t i = 0; i < p->len && i < 4; i++)
		value = value << 8 | p->value[i];
	return value;
}

uint32_t tlv_find(const uint8_t *bytes, size_t len, uint8_t type)
{
	struct tlv p;

	for (size_t at = 4; tlv_next(bytes, len, &at, &p);)
		if (p.type == type)
			return tlv_number(&p);
	return 0;
}
