#pragma once

#include <stddef.h>

/*
 * What one configuration says differently from another, key by key, defaults included.
 * Values are texts, those of a list joined by ", ".
 */
struct conf_change {
	const char *section;
	const char *title;          /* NULL: the section has none */
	const char *key;            /* NULL: the section as a whole came or went */
	const char *before, *after; /* with a key */
	int gone;                   /* without: 1 it went, 0 it came */
};

/*
 * Calls fn for each difference, in the order of the schema.  Both texts must have been
 * taken by conf_parse().  The number of differences, or a negative code.
 */
int conf_diff(const char *before, const char *after,
	void (*fn)(void *ctx, const struct conf_change *c), void *ctx);
