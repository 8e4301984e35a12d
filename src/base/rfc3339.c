/* Times of people, from and to text. */
#include "base/rfc3339.h"

#include "base/err.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

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

static char *put_digits(char *at, unsigned int n, unsigned int value)
{
	for (unsigned int i = n; i > 0; i--, value /= 10)
		at[i - 1] = (char)('0' + value % 10);
	return at + n;
}

/* By hand: a busy gateway writes a hundred thousand of them a second. */
static char *format(uint64_t wall_ms, bool fine, char *buf)
{
	static const char *const marks = "--T::";
	time_t s = (time_t)(wall_ms / 1000);
	struct tm t = { 0 };
	char *at = buf;

	if (gmtime_r(&s, &t) == NULL || t.tm_year > 9999 - 1900) {
		(void)snprintf(buf, RFC3339_MAX, "?");
		return buf;
	}
	const int fields[] = { t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour,
		t.tm_min, t.tm_sec };

	for (unsigned int i = 0; i < 6; i++) {
		at = put_digits(at, i == 0 ? 4 : 2, (unsigned int)fields[i]);
		if (i < 5)
			*at++ = marks[i];
	}
	if (fine) {
		*at++ = '.';
		at = put_digits(at, 3, (unsigned int)(wall_ms % 1000));
	}
	*at++ = 'Z';
	*at = 0;
	return buf;
}

char *rfc3339_format(uint64_t wall_ms, char buf[static RFC3339_MAX])
{
	return format(wall_ms, false, buf);
}

char *rfc3339_format_ms(uint64_t wall_ms, char buf[static RFC3339_MAX])
{
	return format(wall_ms, true, buf);
}
