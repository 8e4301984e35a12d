/* strongSwan's settings format: words, sections in braces, values up to the line's end.
 */
#include "ike/swanctl.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

struct walk {
	const char *p;
	unsigned int depth;
	bool in; /* the section "connections" */
	char connection[SWANCTL_NAME], word[SWANCTL_NAME], value[SWANCTL_NAME];
};

static void copy(char to[static SWANCTL_NAME], const char *from, size_t len)
{
	while (len > 0 && isspace((unsigned char)from[len - 1]))
		len--;
	if (len >= SWANCTL_NAME)
		len = SWANCTL_NAME - 1;
	memcpy(to, from, len);
	to[len] = 0;
}

/* Space and comments. */
static void skip(struct walk *w)
{
	for (;;) {
		w->p += strspn(w->p, " \t\r\n");
		if (*w->p != '#')
			return;
		w->p += strcspn(w->p, "\n");
	}
}

static void section_begin(struct walk *w)
{
	if (w->depth == 0)
		w->in = strcmp(w->word, "connections") == 0;
	if (w->depth == 1)
		memcpy(w->connection, w->word, sizeof(w->word));
	w->depth++;
}

void swanctl_walk(const char *text,
	void (*fn)(void *ctx, const char *connection, const char *key, const char *value),
	void *ctx)
{
	struct walk w = { .p = text };

	for (skip(&w); *w.p != 0; skip(&w)) {
		size_t len = strcspn(w.p, "{}=#\n");

		if (*w.p == '{') {
			section_begin(&w);
			if (w.in && w.depth == 2)
				fn(ctx, w.connection, "", "");
			w.p++;
		} else if (*w.p == '}') {
			w.depth -= w.depth > 0;
			w.p++;
		} else if (*w.p == '=') {
			w.p += 1 + strspn(w.p + 1, " \t");
			len = strcspn(w.p, "}#\n");
			copy(w.value, w.p, len);
			w.p += len;
			if (w.in && w.depth == 2)
				fn(ctx, w.connection, w.word, w.value);
		} else {
			copy(w.word, w.p, len);
			w.p += len;
		}
	}
}
