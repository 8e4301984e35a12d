/*
 * Text of addresses, prefixes and ranges, and the small set algebra on ranges.
 */
#include "base/addr.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A decimal of at most max without sign or blanks; *text moves behind it. */
static int take_decimal(const char **text, uint32_t max, uint32_t *value)
{
	const char *p = *text;
	uint64_t v = 0;

	if (*p < '0' || *p > '9')
		return ERR_MALFORMED;
	for (; *p >= '0' && *p <= '9'; p++) {
		v = v * 10 + (uint64_t)(*p - '0');
		if (v > max)
			return ERR_RANGE;
	}
	*text = p;
	*value = (uint32_t)v;
	return ERR_OK;
}

/* A dotted quad; *text moves behind it. */
static int take_addr(const char **text, uint32_t *addr)
{
	const char *p = *text;
	uint32_t a = 0;

	for (int i = 0; i < 4; i++) {
		uint32_t byte;

		if (i > 0 && *p++ != '.')
			return ERR_MALFORMED;
		if (p[0] == '0' && p[1] >= '0' && p[1] <= '9')
			return ERR_MALFORMED; /* octal to some readers */
		if (take_decimal(&p, 255, &byte))
			return ERR_MALFORMED;
		a = a << 8 | byte;
	}
	*text = p;
	*addr = a;
	return ERR_OK;
}

int addr_parse(const char *text, uint32_t *addr)
{
	uint32_t a;
	int rc = take_addr(&text, &a);

	if (rc || *text)
		return ERR_MALFORMED;
	*addr = a;
	return ERR_OK;
}

char *addr_format(uint32_t addr, char buf[static ADDR_TEXT_MAX])
{
	(void)snprintf(buf, ADDR_TEXT_MAX, "%u.%u.%u.%u", addr >> 24, addr >> 16 & 255,
		addr >> 8 & 255, addr & 255);
	return buf;
}

uint32_t prefix_mask(uint8_t len)
{
	return len == 0 ? 0 : UINT32_MAX << (32 - len);
}

int prefix_parse(const char *text, struct prefix4 *p)
{
	uint32_t addr, len = 32;

	if (take_addr(&text, &addr))
		return ERR_MALFORMED;
	if (*text == '/') {
		text++;
		int rc = take_decimal(&text, 32, &len);
		if (rc)
			return rc;
	}
	if (*text)
		return ERR_MALFORMED;
	if (addr & ~prefix_mask((uint8_t)len))
		return ERR_RANGE;
	*p = (struct prefix4){ addr, (uint8_t)len };
	return ERR_OK;
}

char *prefix_format(const struct prefix4 *p, char buf[static PREFIX_TEXT_MAX])
{
	char addr[ADDR_TEXT_MAX];

	(void)snprintf(buf, PREFIX_TEXT_MAX, "%s/%u", addr_format(p->addr, addr), p->len);
	return buf;
}

bool prefix_has(const struct prefix4 *p, uint32_t addr)
{
	return (addr & prefix_mask(p->len)) == p->addr;
}

int endpoint_parse(
	const char *text, uint16_t default_port, uint32_t *addr, uint16_t *port)
{
	uint32_t a, n = default_port;

	if (take_addr(&text, &a))
		return ERR_MALFORMED;
	if (*text == ':') {
		text++;
		int rc = take_decimal(&text, UINT16_MAX, &n);
		if (rc)
			return rc;
	}
	if (*text)
		return ERR_MALFORMED;
	if (n == 0)
		return ERR_RANGE;
	*addr = a;
	*port = (uint16_t)n;
	return ERR_OK;
}

/* A number, decimal or 0x hexadecimal; *text moves behind it. */
static int take_number(const char **text, uint32_t *value)
{
	const char *p = *text;
	uint64_t v = 0;
	int digits = 0;

	if (p[0] != '0' || (p[1] | 0x20) != 'x')
		return take_decimal(text, UINT32_MAX, value);
	for (p += 2;; p++, digits++) {
		char c = (char)(*p | 0x20);
		unsigned int d = *p >= '0' && *p <= '9' ? (unsigned int)(*p - '0')
				 : c >= 'a' && c <= 'f' ? (unsigned int)(c - 'a') + 10
							: 16;
		if (d == 16)
			break;
		v = v << 4 | d;
		if (v > UINT32_MAX)
			return ERR_RANGE;
	}
	if (digits == 0)
		return ERR_MALFORMED;
	*text = p;
	*value = (uint32_t)v;
	return ERR_OK;
}

int range_parse(const char *text, uint32_t min, uint32_t max, struct range *r)
{
	uint32_t lo, hi;
	int rc = take_number(&text, &lo);

	if (rc)
		return rc;
	hi = lo;
	if (*text == '-') {
		text++;
		rc = take_number(&text, &hi);
		if (rc)
			return rc;
	}
	if (*text)
		return ERR_MALFORMED;
	if (lo > hi || lo < min || hi > max)
		return ERR_RANGE;
	*r = (struct range){ lo, hi };
	return ERR_OK;
}

int ranges_format(const struct range *r, size_t n, bool hex, char *buf, size_t size)
{
	int len = 0;

	if (size)
		buf[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		const char *comma = i ? "," : "";
		char one[2 * sizeof "0x12345678," + 2];

		if (r[i].lo == r[i].hi)
			(void)snprintf(one, sizeof one, hex ? "%s0x%08x" : "%s%u", comma,
				r[i].lo);
		else
			(void)snprintf(one, sizeof one,
				hex ? "%s0x%08x-0x%08x" : "%s%u-%u", comma, r[i].lo,
				r[i].hi);
		size_t used = (size_t)len < size ? (size_t)len : size;
		len += snprintf(used < size ? buf + used : NULL, size - used, "%s", one);
	}
	return len;
}

uint64_t ranges_count(const struct range *r, size_t n)
{
	uint64_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += (uint64_t)r[i].hi - r[i].lo + 1;
	return count;
}

bool ranges_have(const struct range *r, size_t n, uint32_t value)
{
	for (size_t i = 0; i < n; i++)
		if (value >= r[i].lo && value <= r[i].hi)
			return true;
	return false;
}

static int range_compare(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->lo < y->lo ? -1 : x->lo > y->lo;
}

size_t ranges_normalise(struct range *r, size_t n)
{
	size_t kept = 0;

	if (n == 0)
		return 0;
	qsort(r, n, sizeof *r, range_compare);
	for (size_t i = 1; i < n; i++) {
		if (r[i].lo <= r[kept].hi || r[i].lo - 1 == r[kept].hi) {
			if (r[i].hi > r[kept].hi)
				r[kept].hi = r[i].hi;
		} else {
			r[++kept] = r[i];
		}
	}
	return kept + 1;
}
