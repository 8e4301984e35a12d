/*
 * Port discipline as arithmetic on ranges: what the two sysctls must say so that no
 * program draws a port that is not leased (RFC 3102 section 3.1).
 */
#include "host/discipline.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int discipline_plan(const struct range *leased, size_t n, const struct range *kept,
	size_t n_kept, uint32_t floor, struct discipline *d)
{
	struct range *reserved = calloc(n + n_kept + 1, sizeof(*reserved));
	size_t n_reserved = 0;
	uint32_t lo = 0, hi = 0;

	if (reserved == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		uint32_t from = leased[i].lo > floor ? leased[i].lo : floor;

		if (from > leased[i].hi)
			continue;
		if (lo == 0)
			lo = from;
		else if (from > hi + 1)
			reserved[n_reserved++] = (struct range){ hi + 1, from - 1 };
		hi = leased[i].hi;
	}
	for (size_t i = 0; i < n_kept; i++)
		reserved[n_reserved++] = kept[i];
	*d = (struct discipline){
		.confine = lo != 0,
		.lo = (uint16_t)lo,
		.hi = (uint16_t)hi,
		.reserved = reserved,
		.n_reserved = ranges_normalise(reserved, n_reserved),
	};
	return 0;
}

void discipline_fini(struct discipline *d)
{
	free(d->reserved);
	*d = (struct discipline){ 0 };
}

int discipline_parse(const char *text, struct range **ranges, size_t *n)
{
	struct range *r;
	size_t most = 1, have = 0;

	for (const char *p = text; *p != 0; p++)
		most += *p == ',';
	r = calloc(most, sizeof(*r));
	if (r == NULL)
		return -ENOMEM;
	while (*text != 0 && *text != '\n') {
		char one[24];
		size_t len = strcspn(text, ",\n");

		if (len >= sizeof(one))
			goto malformed;
		memcpy(one, text, len);
		one[len] = 0;
		if (range_parse(one, 0, UINT16_MAX, &r[have]) != 0)
			goto malformed;
		have++;
		text += len;
		if (*text == ',')
			text++;
	}
	*ranges = r;
	*n = have;
	return 0;
malformed:
	free(r);
	return ERR_MALFORMED;
}
