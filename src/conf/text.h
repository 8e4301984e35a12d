#pragma once

#include "conf/arena.h"

#include <stdarg.h>
#include <stddef.h>

/*
 * The file as words: sections, keys and values as they stand there, each with its line.
 * What they mean is value.c's and check.c's.
 */

/* Where and what, for the one error that ends the reading. */
struct conf_where {
	const char *file;
	char *why;
	size_t why_size;
};
/* Writes "FILE:LINE: ..." and returns ERR_CONFIG.  line 0: the file as a whole. */
int conf_fail(const struct conf_where *w, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

struct conf_word {
	int line;
	const char *text;
};

struct conf_key {
	const char *name;
	struct conf_word *words;
	size_t n_words;
};

struct conf_section {
	const char *name;
	const char *title; /* NULL: the section has none */
	int line;          /* of its first word, or its end */
	struct conf_key *keys;
	size_t n_keys; /* only those that the file has */
};

struct conf_text {
	struct conf_section
		*sections; /* in the order of conf_sections, then of the file */
	size_t n_sections;
};

/* Borrows nothing: everything is in the arena.  0, ERR_CONFIG or -ENOMEM. */
int conf_text_read(struct arena *a, const char *text, const struct conf_where *w,
	struct conf_text *out);
