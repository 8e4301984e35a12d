#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a value is; decides its parser and the C type that it fills (value.h). */
enum conf_kind {
	KIND_TEXT,
	KIND_NUMBER, /* within min..max of its row */
	KIND_BOOL,
	KIND_WORD,     /* one of the row's words */
	KIND_ADDRESS,  /* "" or an address */
	KIND_ENDPOINT, /* ADDRESS:PORT; "" allowed where it is no list */
	KIND_PREFIX,
	KIND_RANGE, /* within min..max */
	KIND_RULE,  /* ADDRESS[/LEN][:PORT[-PORT]] */
	KINDS
};

/* A row: one option.  The manual is checked against these. */
struct conf_option {
	const char *section, *name;
	enum conf_kind kind;
	bool list;           /* { a, b }: fills a struct conf_list */
	const char *initial; /* the default, values of a list separated by blanks */
	uint32_t min, max;
	const char *const *words; /* KIND_WORD: value i; ends with NULL */
	size_t offset;            /* in the section's struct of value.h */
};
/* Ends with a NULL name; the rows of a section stand together. */
extern const struct conf_option conf_options[];

struct conf_section_spec {
	const char *name;
	bool titled; /* NAME TITLE { }, any number of them */
	size_t size; /* of its struct */
};
/* Ends with a NULL name. */
extern const struct conf_section_spec conf_sections[];
