#pragma once

#include <stddef.h>

/*
 * The word that was meant: the nearest of those tried, if near enough that a slip of the
 * finger explains the difference.
 */
struct suggest {
	const char *word; /* as it was written */
	const char *best; /* NULL: nothing is near */
	size_t distance;
};
void suggest_init(struct suggest *s, const char *word);
/* candidate must live as long as `best` is used. */
void suggest_try(struct suggest *s, const char *candidate);
