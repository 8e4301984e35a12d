/* The question of RFC 6269 section 12 to the leases that are held and that were. */
#include "gateway/whois.h"

#include "base/err.h"
#include "gateway/control.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* --- times ----------------------------------------------------------------------------
 */

static bool digits(const char **at, unsigned int n, int *value)
{
	*value = 0;
	for (; n > 0; n--, (*at)++) {
		if (**at < '0' || **at > '9')
			return false;
		*value = *value * 10 + (**at - '0');
	}
	return true;
}

static bool literal(const char **at, char c)
{
	/* T and Z may be small letters (RFC 3339 section 5.6). */
	if (**at != c && !(c >= 'A' && **at == c + ('a' - 'A')))
		return false;
	(*at)++;
	return true;
}

static bool date_time(const char **at, struct tm *t)
{
	return digits(at, 4, &t->tm_year) && literal(at, '-') &&
	       digits(at, 2, &t->tm_mon) && literal(at, '-') &&
	       digits(at, 2, &t->tm_mday) && literal(at, 'T') &&
	       digits(at, 2, &t->tm_hour) && literal(at, ':') &&
	       digits(at, 2, &t->tm_min) && literal(at, ':') && digits(at, 2, &t->tm_sec);
}

/* ".25" as milliseconds; nothing is 0. */
static bool fraction(const char **at, uint64_t *ms)
{
	unsigned int unit = 100, n = 0;

	*ms = 0;
	if (**at != '.')
		return true;
	for ((*at)++; **at >= '0' && **at <= '9'; (*at)++, n++, unit /= 10)
		*ms += (uint64_t)(**at - '0') * unit;
	return n > 0;
}

/* "Z" or "+01:30" in seconds. */
static bool offset(const char **at, long *seconds)
{
	long sign = **at == '-' ? -1 : 1;
	int h, m;

	*seconds = 0;
	if (literal(at, 'Z'))
		return true;
	if (**at != '+' && **at != '-')
		return false;
	(*at)++;
	if (!digits(at, 2, &h) || !literal(at, ':') || !digits(at, 2, &m) || h > 23 ||
		m > 59)
		return false;
	*seconds = sign * (h * 3600L + m * 60L);
	return true;
}

int rfc3339_parse(const char *text, uint64_t *wall_ms)
{
	struct tm t = { 0 }, check;
	const char *at = text;
	uint64_t ms;
	long off;
	time_t s;

	if (!date_time(&at, &t) || !fraction(&at, &ms) || !offset(&at, &off) || *at != 0)
		return ERR_MALFORMED;
	t.tm_year -= 1900;
	t.tm_mon -= 1;
	check = t;
	s = timegm(&check);
	/* It corrects a 31st of February instead of refusing it; a leap second may pass.
	 */
	if (check.tm_mday != t.tm_mday && t.tm_sec < 60)
		return ERR_MALFORMED;
	if (t.tm_mon < 0 || t.tm_mon > 11 || t.tm_hour > 23 || t.tm_min > 59 ||
		t.tm_sec > 60 || s - off < 0)
		return ERR_MALFORMED;
	*wall_ms = (uint64_t)(s - off) * 1000 + ms;
	return 0;
}

char *rfc3339_format(uint64_t wall_ms, char buf[static RFC3339_MAX])
{
	time_t s = (time_t)(wall_ms / 1000);
	struct tm t;

	if (gmtime_r(&s, &t) == NULL || strftime(buf, RFC3339_MAX, "%FT%TZ", &t) == 0)
		(void)snprintf(buf, RFC3339_MAX, "?");
	return buf;
}

/* --- the question ---------------------------------------------------------------------
 */

static bool read_number(struct ipc_call *call, const json_t *params, const char *name,
	json_int_t max, bool *has, uint32_t *n)
{
	const json_t *value = json_object_get(params, name);

	*has = value != NULL && !json_is_null(value);
	if (!*has)
		return true;
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		json_integer_value(value) > max) {
		ipc_error(call, IPC_INVALID_PARAMETER,
			"%s must be a number from 0 to %" JSON_INTEGER_FORMAT, name, max);
		return false;
	}
	*n = (uint32_t)json_integer_value(value);
	return true;
}

static bool read_at(struct whois *w, struct ipc_call *call, const json_t *params)
{
	const json_t *at = json_object_get(params, "at");
	const char *text = json_string_value(at);

	w->has_at = at != NULL && !json_is_null(at);
	if (!w->has_at)
		return true;
	if (text == NULL || rfc3339_parse(text, &w->at_wall_ms) != 0) {
		ipc_error(call, IPC_INVALID_PARAMETER,
			"at must be a time like 2026-11-22T04:00:00Z (RFC 3339)");
		return false;
	}
	if (w->at_wall_ms > w->now_wall_ms + 1000) {
		ipc_error(call, IPC_INVALID_PARAMETER,
			"at lies in the future of this gateway's clock");
		return false;
	}
	return true;
}

bool whois_read(
	struct whois *w, struct ipc_call *call, const json_t *params, uint64_t now_ms)
{
	const char *address = json_string_value(json_object_get(params, "address"));
	struct timespec wall;

	*w = (struct whois){ .now_ms = now_ms };
	(void)clock_gettime(CLOCK_REALTIME, &wall); /* every Linux has it */
	w->now_wall_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000;
	if (address == NULL || addr_parse(address, &w->address) != 0) {
		ipc_error(call, IPC_INVALID_PARAMETER, "address must be an IPv4 address");
		return false;
	}
	return read_number(call, params, "port", 65535, &w->has_port, &w->port) &&
	       read_number(call, params, "spi", UINT32_MAX, &w->has_spi, &w->spi) &&
	       read_at(w, call, params);
}

/* A past time of the engine's clock, by the wall. */
static uint64_t wall_ms(const struct whois *w, uint64_t ms)
{
	uint64_t age = w->now_ms > ms ? w->now_ms - ms : 0;

	return age < w->now_wall_ms ? w->now_wall_ms - age : 0;
}

bool whois_matches(const struct whois *w, const struct lease *l, bool ended)
{
	/* A whole address is all its ports and SPIs. */
	bool whole = l->method == METHOD_RSA_IP;

	if (l->address != w->address)
		return false;
	if (w->has_port && !whole && !ranges_have(l->ports, l->n_ports, w->port))
		return false;
	if (w->has_spi && !whole && !ranges_have(l->spis, l->n_spis, w->spi))
		return false;
	if (ended && (!w->has_at || w->at_wall_ms > wall_ms(w, l->expires_ms)))
		return false;
	/* Times are given in seconds: the second it began in belongs to it. */
	return !w->has_at || wall_ms(w, l->granted_ms) / 1000 * 1000 <= w->at_wall_ms;
}

static json_t *time_json(const struct whois *w, uint64_t ms)
{
	char text[RFC3339_MAX];

	return json_string(rfc3339_format(wall_ms(w, ms), text));
}

json_t *whois_json(const struct whois *w, const struct lease *l, bool ended)
{
	json_t *item = control_lease_json(l, w->now_ms);
	json_t *until = ended ? time_json(w, l->expires_ms) : json_null();

	if (item == NULL ||
		json_object_set_new(item, "from", time_json(w, l->granted_ms)) != 0 ||
		json_object_set(item, "until", until) != 0) {
		json_decref(until);
		json_decref(item);
		return NULL;
	}
	json_decref(until);
	return item;
}
