/*
 * Edit distance: letters too many, too few, wrong, or two that changed places.
 */
#include "conf/suggest.h"

#include <string.h>

#define WORD_MAX 40

void suggest_init(struct suggest *s, const char *word)
{
	size_t len = strlen(word);

	*s = (struct suggest){ .word = word };
	/* A third of a word may be wrong, and at least one letter of a short one. */
	s->distance = (len < 6 ? 1 : len / 3) + 1;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t distance(const char *a, size_t n, const char *b, size_t m)
{
	size_t row[3][WORD_MAX + 1];

	for (size_t k = 0; k <= m; k++)
		row[0][k] = k;
	for (size_t i = 1; i <= n; i++) {
		size_t *now = row[i % 3], *before = row[(i + 2) % 3],
		       *earlier = row[(i + 1) % 3];

		now[0] = i;
		for (size_t k = 1; k <= m; k++) {
			now[k] = least(before[k - 1] + (a[i - 1] != b[k - 1]),
				least(before[k], now[k - 1]) + 1);
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] &&
				a[i - 2] == b[k - 1])
				now[k] = least(now[k], earlier[k - 2] + 1);
		}
	}
	return row[n % 3][m];
}

void suggest_try(struct suggest *s, const char *candidate)
{
	size_t n = strlen(s->word), m = strlen(candidate), d;

	if (n > WORD_MAX || m > WORD_MAX)
		return;
	d = distance(s->word, n, candidate, m);
	if (d >= s->distance)
		return;
	s->best = candidate;
	s->distance = d;
}
