/*
 * Records as lines.  Written by hand and not with the JSON library, since a busy gateway
 * ends tens of thousands of leases a second, and read with it.
 */
#include "audit/line.h"

#include "base/rfc3339.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *end_reason_name(enum end_reason r)
{
	static const char *const names[] = {
		[END_FREED] = "freed",
		[END_DEREGISTERED] = "deregistered",
		[END_EXPIRED] = "expired",
		[END_OPERATOR] = "operator",
	};

	return names[r];
}

/* --- writing --------------------------------------------------------------------------
 */

/* Room for everything but the ranges. */
#define FIXED_MAX 640
/* "0xffffffff-0xffffffff," */
#define RANGE_MAX 22

static char *put_text(char *at, const char *text)
{
	return stpcpy(at, text); /* its NUL has room, too */
}

static char *put_number(char *at, uint32_t n)
{
	char digits[10];
	unsigned int len = 0;

	do {
		digits[len++] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	while (len > 0)
		*at++ = digits[--len];
	return at;
}

static char *put_hex(char *at, uint32_t n)
{
	static const char digits[] = "0123456789abcdef";

	*at++ = '0';
	*at++ = 'x';
	for (int shift = 28; shift >= 0; shift -= 4)
		*at++ = digits[n >> shift & 15];
	return at;
}

static char *put_address(char *at, uint32_t a)
{
	*at++ = '"';
	for (int shift = 24; shift >= 0; shift -= 8) {
		at = put_number(at, a >> shift & 255);
		*at++ = shift > 0 ? '.' : '"';
	}
	return at;
}

static char *put_ranges(char *at, const struct range *r, size_t n, bool hex)
{
	if (n == 0)
		return put_text(at, "null");
	*at++ = '"';
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			*at++ = ',';
		at = hex ? put_hex(at, r[i].lo) : put_number(at, r[i].lo);
		if (r[i].lo == r[i].hi)
			continue;
		*at++ = '-';
		at = hex ? put_hex(at, r[i].hi) : put_number(at, r[i].hi);
	}
	*at++ = '"';
	return at;
}

static char *put_time(char *at, uint64_t wall_ms)
{
	char text[RFC3339_MAX];

	*at++ = '"';
	at = put_text(at, rfc3339_format_ms(wall_ms, text));
	*at++ = '"';
	return at;
}

static char *put_remote(char *at, const struct remote *r)
{
	struct range port = { r->port, r->port };
	bool has_port = r->flow == REMOTE_MICRO && r->port != 0;

	at = put_text(at, ",\"remote_address\":");
	at = r->flow != REMOTE_NONE && r->addr != 0 ? put_address(at, r->addr)
						    : put_text(at, "null");
	at = put_text(at, ",\"remote_ports\":");
	return put_ranges(at, &port, has_port ? 1 : 0, false);
}

int line_reserve(struct line *l, size_t more)
{
	size_t size = l->size > 0 ? l->size : 4096;
	char *at;

	while (size - l->len < more)
		size *= 2;
	if (size == l->size)
		return 0;
	at = realloc(l->at, size);
	if (at == NULL)
		return -ENOMEM;
	l->at = at;
	l->size = size;
	return 0;
}

int line_append(struct line *to, const struct lease *l, enum end_reason reason,
	uint64_t from_wall_ms, uint64_t until_wall_ms)
{
	char *at;

	if (line_reserve(to, FIXED_MAX + (l->n_ports + l->n_spis) * RANGE_MAX) != 0)
		return -ENOMEM;
	at = to->at + to->len;
	at = put_time(put_text(at, "{\"until\":"), until_wall_ms);
	at = put_time(put_text(at, ",\"from\":"), from_wall_ms);
	at = put_text(put_text(at, ",\"reason\":\""), end_reason_name(reason));
	at = put_number(put_text(at, "\",\"client_id\":"), l->client_id);
	at = put_number(put_text(at, ",\"bind_id\":"), l->bind_id);
	at = put_address(put_text(at, ",\"host\":"), l->host);
	at = put_text(put_text(at, ",\"method\":\""), lease_method_name(l->method));
	at = put_address(put_text(at, "\",\"address\":"), l->address);
	at = put_ranges(put_text(at, ",\"ports\":"), l->ports, l->n_ports, false);
	at = put_ranges(put_text(at, ",\"spis\":"), l->spis, l->n_spis, true);
	at = put_remote(at, &l->remote);
	at = put_text(put_text(at, ",\"tunnel\":\""), tunnel_type_name(l->tunnel));
	at = put_text(at, "\"}\n");
	to->len = (size_t)(at - to->at);
	return 0;
}

/* --- reading --------------------------------------------------------------------------
 */

int line_needle(uint32_t address, char *buf, size_t size)
{
	char text[ADDR_TEXT_MAX];

	return snprintf(
		buf, size, "\"address\":\"%s\",\"ports\"", addr_format(address, text));
}

/* "20480-20495,20500" or the same in hexadecimal; NULL has none. */
static bool text_has(const char *ranges, uint32_t n)
{
	const char *at = ranges;

	while (at != NULL && *at != 0) {
		char *end;
		unsigned long lo = strtoul(at, &end, 0), hi = lo;

		if (*end == '-')
			hi = strtoul(end + 1, &end, 0);
		if (n >= lo && n <= hi)
			return true;
		at = *end == ',' ? end + 1 : NULL;
	}
	return false;
}

static const char *text_of(const json_t *record, const char *key)
{
	return json_string_value(json_object_get(record, key));
}

static bool is_of_number(const json_t *record, const struct audit_question *q)
{
	const char *method = text_of(record, "method");

	/* A whole address is all its ports and SPIs. */
	if (method != NULL && strcmp(method, lease_method_name(METHOD_RSA_IP)) == 0)
		return true;
	return (!q->has_port || text_has(text_of(record, "ports"), q->port)) &&
	       (!q->has_spi || text_has(text_of(record, "spis"), q->spi));
}

static bool is_of_time(const json_t *record, uint64_t at_wall_ms)
{
	const char *from = text_of(record, "from"), *until = text_of(record, "until");
	uint64_t from_ms, until_ms;

	if (from == NULL || until == NULL || rfc3339_parse(from, &from_ms) != 0 ||
		rfc3339_parse(until, &until_ms) != 0)
		return false;
	/* People give seconds: the second that it began in belongs to it. */
	return from_ms / 1000 * 1000 <= at_wall_ms && at_wall_ms <= until_ms;
}

json_t *line_match(const char *line, size_t len, const struct audit_question *q)
{
	json_t *record = json_loadb(line, len, 0, NULL);

	if (record != NULL && is_of_time(record, q->at_wall_ms) &&
		is_of_number(record, q))
		return record;
	json_decref(record);
	return NULL;
}
