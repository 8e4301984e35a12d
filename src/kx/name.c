/*
 * Names in canonical wire form, and addresses of both families with their reverse names.
 */
#include "kx/name.h"

#include "base/err.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_MAX  63
#define LABELS_MAX 128

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

int kx_name_decode(struct rd *r, struct kx_name *name)
{
	struct kx_name n = { 0 };

	for (;;) {
		uint8_t len = rd_u8(r);
		const uint8_t *label = rd_take(r, len);

		/* 64 and more are pointers (and types of label that never came to be). */
		if (label == NULL || len > LABEL_MAX || n.len + 1 + len > KX_NAME_MAX) {
			r->bad = true;
			return ERR_MALFORMED;
		}
		n.wire[n.len++] = len;
		for (uint8_t i = 0; i < len; i++)
			n.wire[n.len++] = lower(label[i]);
		if (len == 0)
			break;
	}
	*name = n;
	return 0;
}

/* --- text -----------------------------------------------------------------------------
 */

/* The byte after a backslash; moves *text on.  -1: none. */
static int unescape(const char **text)
{
	const char *t = *text;
	int value;

	if (t[0] == 0)
		return -1;
	if (t[0] < '0' || t[0] > '9') {
		*text = t + 1;
		return (uint8_t)t[0];
	}
	if (strspn(t, "0123456789") < 3)
		return -1;
	value = (t[0] - '0') * 100 + (t[1] - '0') * 10 + (t[2] - '0');
	*text = t + 3;
	return value <= 255 ? value : -1;
}

/* One label with its length in front, up to a dot or the end. */
static int label_parse(const char **text, struct kx_name *n)
{
	size_t start = n->len;

	if (start + 1 >= KX_NAME_MAX)
		return ERR_MALFORMED;
	n->len++;
	while (**text != 0 && **text != '.') {
		int c = (uint8_t) * (*text)++;

		if (c == '\\')
			c = unescape(text);
		/* One byte stays for the root. */
		if (c < 0 || n->len - start > LABEL_MAX || n->len + 1 >= KX_NAME_MAX)
			return ERR_MALFORMED;
		n->wire[n->len++] = lower((uint8_t)c);
	}
	n->wire[start] = (uint8_t)(n->len - start - 1);
	return n->wire[start] == 0 ? ERR_MALFORMED : 0;
}

int kx_name_parse(const char *text, struct kx_name *name)
{
	struct kx_name n = { 0 };

	if (strcmp(text, ".") == 0)
		text++;
	else if (*text == 0)
		return ERR_MALFORMED;
	while (*text != 0) {
		int err = label_parse(&text, &n);

		if (err != 0)
			return err;
		if (*text == '.')
			text++;
	}
	n.wire[n.len++] = 0;
	*name = n;
	return 0;
}

static bool is_plain(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
	       c == '/' || c == '*';
}

char *kx_name_format(const struct kx_name *name, char buf[static KX_NAME_TEXT])
{
	char *to = buf;
	size_t at = 0;

	if (name->len <= 1) {
		(void)snprintf(buf, KX_NAME_TEXT, "%s", name->len ? "." : "");
		return buf;
	}
	while (at < name->len && name->wire[at] != 0) {
		size_t end = at + 1 + name->wire[at];

		for (at++; at < end; at++) {
			uint8_t c = name->wire[at];

			if (is_plain(c))
				*to++ = (char)c;
			else
				to += sprintf(to, "\\%03u", c);
		}
		*to++ = '.';
	}
	*to = 0;
	return buf;
}

/* --- order ----------------------------------------------------------------------------
 */

bool kx_name_same(const struct kx_name *a, const struct kx_name *b)
{
	return a->len == b->len && memcmp(a->wire, b->wire, a->len) == 0;
}

bool kx_name_is_root(const struct kx_name *name)
{
	return name->len == 1;
}

/* Where the labels start; how many, without the root. */
static size_t labels(const struct kx_name *name, uint8_t at[static LABELS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < name->len && name->wire[i] != 0; i += 1U + name->wire[i])
		at[n++] = (uint8_t)i;
	return n;
}

int kx_name_compare(const struct kx_name *a, const struct kx_name *b)
{
	uint8_t of_a[LABELS_MAX], of_b[LABELS_MAX];
	size_t n = labels(a, of_a), m = labels(b, of_b);

	while (n > 0 && m > 0) {
		const uint8_t *x = a->wire + of_a[--n], *y = b->wire + of_b[--m];
		size_t shorter = *x < *y ? *x : *y;
		int order = memcmp(x + 1, y + 1, shorter);

		if (order != 0)
			return order < 0 ? -1 : 1;
		if (*x != *y)
			return *x < *y ? -1 : 1;
	}
	return (n > 0) - (m > 0);
}

bool kx_name_within(const struct kx_name *name, const struct kx_name *zone)
{
	uint8_t at[LABELS_MAX];
	size_t n = labels(name, at);

	if (zone->len == 0 || zone->len > name->len)
		return false;
	if (kx_name_is_root(zone))
		return true;
	for (size_t i = 0; i < n; i++)
		if (name->len - at[i] == zone->len)
			return memcmp(name->wire + at[i], zone->wire, zone->len) == 0;
	return false;
}

int kx_name_prefix(const char *front, const struct kx_name *name, struct kx_name *out)
{
	struct kx_name n;
	size_t len;

	if (kx_name_parse(front, &n) != 0)
		return ERR_MALFORMED;
	len = (size_t)n.len - 1;
	if (len + name->len > KX_NAME_MAX)
		return ERR_NOSPACE;
	memcpy(n.wire + len, name->wire, name->len);
	n.len = (uint8_t)(len + name->len);
	*out = n;
	return 0;
}

/* --- addresses ------------------------------------------------------------------------
 */

int kx_addr_parse(const char *text, struct kx_addr *a)
{
	struct kx_addr got = { .len = 4 };

	if (inet_pton(AF_INET, text, got.b) == 1) {
		*a = got;
		return 0;
	}
	got.len = 16;
	if (inet_pton(AF_INET6, text, got.b) != 1)
		return ERR_MALFORMED;
	*a = got;
	return 0;
}

char *kx_addr_format(const struct kx_addr *a, char buf[static KX_ADDR_TEXT])
{
	buf[0] = 0;
	if (a->len != 0)
		(void)inet_ntop(
			a->len == 4 ? AF_INET : AF_INET6, a->b, buf, KX_ADDR_TEXT);
	return buf;
}

bool kx_addr_same(const struct kx_addr *a, const struct kx_addr *b)
{
	return a->len == b->len && memcmp(a->b, b->b, a->len) == 0;
}

struct kx_addr kx_addr_from4(uint32_t addr)
{
	return (struct kx_addr){ .len = 4,
		.b = { (uint8_t)(addr >> 24), (uint8_t)(addr >> 16), (uint8_t)(addr >> 8),
			(uint8_t)addr } };
}

void kx_addr_reverse(const struct kx_addr *a, struct kx_name *name)
{
	char text[16 * 4UL + sizeof("in-addr.arpa.")], *to = text;
	const char *tree = a->len == 4 ? "in-addr.arpa." : "ip6.arpa.";

	for (int i = a->len - 1; i >= 0; i--)
		to += a->len == 4 ? sprintf(to, "%u.", a->b[i])
				  : sprintf(to, "%x.%x.", a->b[i] & 15U, a->b[i] >> 4);
	memcpy(to, tree, strlen(tree) + 1);
	(void)kx_name_parse(text, name);
}

static int number(const uint8_t *label, int base, uint8_t *value)
{
	char text[4] = "", *end;
	unsigned long n;

	if (*label == 0 || *label > (base == 16 ? 1 : 3))
		return ERR_MALFORMED;
	memcpy(text, label + 1, *label);
	n = strtoul(text, &end, base);
	if (*end != 0 || n > UINT8_MAX)
		return ERR_MALFORMED;
	*value = (uint8_t)n;
	return 0;
}

int kx_addr_from_reverse(const struct kx_name *name, struct kx_addr *a)
{
	struct kx_addr got = { 0 };
	uint8_t at[LABELS_MAX];
	struct kx_name again;
	size_t n = labels(name, at);

	if (n != 4 + 2 && n != 32 + 2)
		return ERR_MALFORMED;
	got.len = n == 6 ? 4 : 16;
	for (size_t i = 0; i < n - 2; i++) {
		uint8_t value = 0;

		if (number(name->wire + at[i], n == 6 ? 10 : 16, &value) != 0)
			return ERR_MALFORMED;
		if (n == 6)
			got.b[3 - i] = value;
		else
			got.b[15 - i / 2] |= (uint8_t)(i % 2 ? value << 4 : value);
	}
	/* Leading zeros, signs and the wrong tree show here. */
	kx_addr_reverse(&got, &again);
	if (!kx_name_same(name, &again))
		return ERR_MALFORMED;
	*a = got;
	return 0;
}

/* --- prefixes -------------------------------------------------------------------------
 */

/* Are the first `bits` of both the same? */
static bool same_bits(const uint8_t *a, const uint8_t *b, uint8_t bits)
{
	uint8_t rest = bits % 8;

	if (memcmp(a, b, bits / 8) != 0)
		return false;
	return rest == 0 || (a[bits / 8] ^ b[bits / 8]) >> (8 - rest) == 0;
}

static bool host_bits(const struct kx_prefix *p)
{
	for (unsigned bit = p->len; bit < p->addr.len * 8U; bit++)
		if (p->addr.b[bit / 8] & 0x80U >> bit % 8)
			return true;
	return false;
}

int kx_prefix_parse(const char *text, struct kx_prefix *p)
{
	char address[KX_ADDR_TEXT];
	const char *slash = strchr(text, '/');
	size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
	struct kx_prefix got;

	if (len >= sizeof(address))
		return ERR_MALFORMED;
	memcpy(address, text, len);
	address[len] = 0;
	if (kx_addr_parse(address, &got.addr) != 0)
		return ERR_MALFORMED;
	got.len = (uint8_t)(got.addr.len * 8);
	if (slash != NULL) {
		size_t digits = strspn(slash + 1, "0123456789");
		unsigned long n = strtoul(slash + 1, NULL, 10);

		if (digits == 0 || digits > 3 || slash[1 + digits] != 0)
			return ERR_MALFORMED;
		if (n > got.len)
			return ERR_RANGE;
		got.len = (uint8_t)n;
	}
	if (host_bits(&got))
		return ERR_RANGE;
	*p = got;
	return 0;
}

char *kx_prefix_format(const struct kx_prefix *p, char buf[static KX_PREFIX_TEXT])
{
	size_t at;

	(void)kx_addr_format(&p->addr, buf);
	at = strlen(buf);
	(void)snprintf(buf + at, KX_PREFIX_TEXT - at, "/%u", p->len);
	return buf;
}

bool kx_prefix_has(const struct kx_prefix *p, const struct kx_addr *a)
{
	return p->addr.len == a->len && same_bits(p->addr.b, a->b, p->len);
}

bool kx_prefix_within(const struct kx_prefix *inner, const struct kx_prefix *outer)
{
	return inner->len >= outer->len && kx_prefix_has(outer, &inner->addr);
}

bool kx_prefix_is_host(const struct kx_prefix *p)
{
	return p->addr.len != 0 && p->len == p->addr.len * 8;
}

struct kx_prefix kx_prefix_host(const struct kx_addr *a)
{
	return (struct kx_prefix){ .addr = *a, .len = (uint8_t)(a->len * 8) };
}
