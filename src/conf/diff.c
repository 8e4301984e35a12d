/*
 * Differences of two texts: their words are compared as they stand there, so a value that
 * is written in another way (0x10 and 16) counts as different.
 */
#include "conf/diff.h"

#include "base/err.h"
#include "conf/schema.h"
#include "conf/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct diff {
	struct arena arena;
	struct conf_text before, after;
	void (*fn)(void *ctx, const struct conf_change *c);
	void *ctx;
	int n;
	int short_of_memory;
};

static const struct conf_section *section_find(
	const struct conf_text *t, const char *name, const char *title)
{
	for (size_t i = 0; i < t->n_sections; i++) {
		const struct conf_section *s = &t->sections[i];

		if (strcmp(s->name, name) == 0 &&
			(title == NULL || strcmp(s->title, title) == 0))
			return s;
	}
	return NULL;
}

static const struct conf_key *key_find(const struct conf_section *s, const char *name)
{
	for (size_t i = 0; s != NULL && i < s->n_keys; i++)
		if (strcmp(s->keys[i].name, name) == 0)
			return &s->keys[i];
	return NULL;
}

/* The words of a key as one text; a blank stands between the values of a default. */
static const char *value_of(
	struct diff *d, const struct conf_section *s, const struct conf_option *o)
{
	const struct conf_key *key = key_find(s, o->name);
	size_t len = 1, n = key != NULL ? key->n_words : 0;
	char *text, *at;

	if (key == NULL) {
		len += 2 * strlen(o->initial);
	} else {
		for (size_t i = 0; i < n; i++)
			len += strlen(key->words[i].text) + 2;
	}
	text = at = arena_array(&d->arena, len, 1);
	if (text == NULL) {
		d->short_of_memory = 1;
		return "";
	}
	for (const char *c = o->initial; key == NULL && *c != 0; c++) {
		if (*c == ' ' && o->list)
			*at++ = ',';
		*at++ = *c;
	}
	for (size_t i = 0; i < n; i++)
		at += sprintf(at, "%s%s", i > 0 ? ", " : "", key->words[i].text);
	return text;
}

static void report(struct diff *d, struct conf_change c)
{
	d->n++;
	d->fn(d->ctx, &c);
}

static void keys_compare(struct diff *d, const char *name, const char *title)
{
	const struct conf_section *a = section_find(&d->before, name, title);
	const struct conf_section *b = section_find(&d->after, name, title);

	for (const struct conf_option *o = conf_options; o->name != NULL; o++) {
		const char *before, *after;

		if (strcmp(o->section, name) != 0)
			continue;
		before = value_of(d, a, o);
		after = value_of(d, b, o);
		if (strcmp(before, after) != 0)
			report(d, (struct conf_change){
					  name, title, o->name, before, after, 0 });
	}
}

/* Sections with titles: those of both by their keys, the others as a whole. */
static void titled_compare(struct diff *d, const char *name)
{
	for (size_t i = 0; i < d->before.n_sections; i++) {
		const struct conf_section *s = &d->before.sections[i];

		if (strcmp(s->name, name) != 0)
			continue;
		if (section_find(&d->after, name, s->title) != NULL)
			keys_compare(d, name, s->title);
		else
			report(d, (struct conf_change){
					  name, s->title, NULL, NULL, NULL, 1 });
	}
	for (size_t i = 0; i < d->after.n_sections; i++) {
		const struct conf_section *s = &d->after.sections[i];

		if (strcmp(s->name, name) != 0 ||
			section_find(&d->before, name, s->title) != NULL)
			continue;
		report(d, (struct conf_change){ name, s->title, NULL, NULL, NULL, 0 });
		keys_compare(d, name, s->title);
	}
}

int conf_diff(const char *before, const char *after,
	void (*fn)(void *ctx, const struct conf_change *c), void *ctx)
{
	struct diff d = { .fn = fn, .ctx = ctx };
	char why[256];
	const struct conf_where w = { "", why, sizeof(why) };
	int err = conf_text_read(&d.arena, before, &w, &d.before);

	if (err == 0)
		err = conf_text_read(&d.arena, after, &w, &d.after);
	for (const struct conf_section_spec *s = conf_sections;
		err == 0 && s->name != NULL; s++) {
		if (s->titled)
			titled_compare(&d, s->name);
		else
			keys_compare(&d, s->name, NULL);
	}
	arena_fini(&d.arena);
	if (err == 0 && d.short_of_memory)
		err = -ENOMEM;
	return err != 0 ? err : d.n;
}
