/* The vectors of what is not built yet, so that nobody takes them for tested. */
#include "vectors.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *kind, *why;
} later[] = {};

int main(void)
{
	size_t n_later = sizeof(later) / sizeof(later[0]);
	struct vectors set;

	vectors_load(&set, VECTORS);
	printf("1..%zu\n", n_later);
	for (size_t k = 0; k < n_later; k++) {
		size_t n = 0;

		for (size_t i = 0; i < set.n; i++)
			n += !strcmp(set.list[i].kind, later[k].kind);
		printf("ok %zu - %zu vectors of kind %s # SKIP %s\n", k + 1, n,
			later[k].kind, later[k].why);
	}
	vectors_free(&set);
	return 0;
}
