/*
 * The file's syntax, on libconfuse.  Answers for true line numbers and for refusing a
 * file that was cut short; what the words mean is not known here.
 *
 * libconfuse is used for its grammar only, because of what it does not do:
 * - A value keeps no line.  So every option is of its pointer type, whose callback sees
 * the line and makes a word of text and line.
 * - Comments count as several lines, and are errors inside of lists.  So they are blanked
 *   out before.
 * - A file that ends inside a section, a string or a comment is taken as it is.  So
 *   that is looked for before, too.
 * - A key given twice replaces the first one silently, but not without freeing it.
 * - An empty string in place of a key ends the reading without an error message.
 * - Inside a section the error function sees no file name.
 */
#include "conf/text.h"

#include "base/err.h"
#include "conf/conf.h"
#include "conf/schema.h"
#include "conf/suggest.h"

#include <confuse.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int conf_fail(const struct conf_where *w, int line, const char *format, ...)
{
	va_list args;
	int n = line > 0 ? snprintf(w->why, w->why_size, "%s:%d: ", w->file, line)
			 : snprintf(w->why, w->why_size, "%s: ", w->file);

	if (n < 0 || (size_t)n >= w->why_size)
		return ERR_CONFIG;
	va_start(args, format);
	(void)vsnprintf(w->why + n, w->why_size - (size_t)n, format, args);
	va_end(args);
	return ERR_CONFIG;
}

/* --- before libconfuse ----------------------------------------------------------------
 */

/* What a stretch of the text is, by how it begins and ends. */
static const struct stretch {
	const char *begin, *end;
	bool comment; /* blanked out */
	bool escapes; /* a backslash takes the next byte with it */
	bool alone;   /* begins only where a word does not go on */
	const char *name;
} stretches[] = {
	{ "#", "\n", true, false, false, NULL },
	{ "//", "\n", true, false, true, NULL },
	{ "/*", "*/", true, false, true, "comment" },
	{ "\"", "\"", false, true, false, "string" },
	{ "'", "'", false, true, false, "string" },
	{ "${", "}", false, false, false, "variable" },
};

static bool begins(const char *at, const char *with)
{
	return strncmp(at, with, strlen(with)) == 0;
}

static bool word_goes_on(const char *text, const char *at)
{
	return at > text && strchr(" \t\r\n{}(),=+\"'", at[-1]) == NULL;
}

static const struct stretch *stretch_find(const char *text, const char *at)
{
	for (size_t i = 0; i < sizeof(stretches) / sizeof(stretches[0]); i++)
		if (begins(at, stretches[i].begin) &&
			!(stretches[i].alone && word_goes_on(text, at)))
			return &stretches[i];
	return NULL;
}

/* The end of a stretch that begins at `at`: behind its last byte, NULL if it has none. */
static char *stretch_end(const struct stretch *s, char *at)
{
	for (at += strlen(s->begin); *at != 0; at++) {
		if (s->escapes && *at == '\\' && at[1] != 0)
			at++;
		else if (begins(at, s->end))
			return at + strlen(s->end);
	}
	return NULL;
}

static void blank(char *from, const char *to)
{
	for (; from < to; from++)
		if (*from != '\n')
			*from = ' ';
}

static int line_of(const char *text, const char *at)
{
	int line = 1;

	for (; text < at; text++)
		line += *text == '\n';
	return line;
}

/* Comments become blanks; what is open at the end is an error. */
static int text_prepare(char *text, const struct conf_where *w)
{
	const char *open = NULL;
	size_t depth = 0;
	char *at = text;

	while (*at != 0) {
		const struct stretch *s = stretch_find(text, at);
		char *end;

		if (s == NULL) {
			if (*at == '{' && depth++ == 0)
				open = at;
			else if (*at == '}' && depth > 0)
				depth--;
			at++;
			continue;
		}
		end = stretch_end(s, at);
		if (end == NULL && s->name != NULL)
			return conf_fail(w, line_of(text, at),
				"this %s has no end; was the file cut short?", s->name);
		if (end == NULL)
			end = at + strlen(at); /* a line comment at the very end */
		if (s->comment)
			blank(at, end);
		at = end;
	}
	if (depth > 0)
		return conf_fail(w, line_of(text, open),
			"the section that begins here has no closing brace");
	return 0;
}

/* --- libconfuse -----------------------------------------------------------------------
 */

/* A value as libconfuse keeps it. */
struct value {
	int line;
	char text[];
};

/*
 * The reading under way.  libconfuse hands no context to its callbacks, so this is the
 * one place where a variable outlives a call: for as long as conf_text_read() runs.
 */
static _Thread_local struct reading {
	const struct conf_where *where;
	bool failed, short_of_memory;
	int line;     /* of the last value */
	int replaced; /* the line of a value that another took the place of */
} * reading;

static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *text, void *result)
{
	size_t size = strlen(text) + 1;
	struct value *v = calloc(1, sizeof(*v) + size);

	(void)opt;
	if (v == NULL) {
		reading->short_of_memory = true;
		return -1;
	}
	v->line = reading->line = cfg->line;
	memcpy(v->text, text, size);
	*(void **)result = v;
	return 0;
}

static void on_value_free(void *value)
{
	if (reading != NULL && value != NULL && reading->replaced == 0)
		reading->replaced = ((struct value *)value)->line;
	free(value);
}

static bool is_root(const char *section)
{
	return strcmp(section, "root") == 0;
}

/* What a section knows; of the file itself, its sections. */
static void append_known(const char *section, char *text, size_t size)
{
	const char *join = "; it knows";

	for (const struct conf_section_spec *s = conf_sections;
		is_root(section) && s->name != NULL; s++, join = ",")
		(void)snprintf(
			text + strlen(text), size - strlen(text), "%s %s", join, s->name);
	for (const struct conf_option *o = conf_options; o->name != NULL; o++) {
		if (strcmp(o->section, section) != 0)
			continue;
		(void)snprintf(
			text + strlen(text), size - strlen(text), "%s %s", join, o->name);
		join = ",";
	}
}

/* "; did you mean listen?", "; it belongs into section pool", or all that is known. */
static void append_hint(const char *section, const char *word, char *text, size_t size)
{
	struct suggest near;
	char *end = text + strlen(text);
	size_t left = size - strlen(text);

	suggest_init(&near, word);
	for (const struct conf_section_spec *s = conf_sections;
		is_root(section) && s->name != NULL; s++)
		suggest_try(&near, s->name);
	for (const struct conf_option *o = conf_options; o->name != NULL; o++) {
		if (strcmp(o->section, section) == 0)
			suggest_try(&near, o->name);
		else if (strcmp(o->name, word) == 0) {
			(void)snprintf(
				end, left, "; it belongs into section %s", o->section);
			return;
		}
	}
	if (near.best != NULL)
		(void)snprintf(end, left, "; did you mean %s?", near.best);
	else
		append_known(section, text, size);
}

static void __attribute__((format(printf, 2, 0)))
on_error(cfg_t *cfg, const char *format, va_list args)
{
	char text[CONF_WHY - 32], word[64];

	if (reading == NULL || reading->failed)
		return; /* what follows the first is its consequence */
	reading->failed = true;
	(void)vsnprintf(text, sizeof(text), format, args);
	if (sscanf(text, "no such option '%63[^']'", word) == 1)
		append_hint(cfg->name, word, text, sizeof(text));
	(void)conf_fail(reading->where, cfg->line, "%s", text);
}

/* The options of a section in libconfuse's terms. */
static cfg_opt_t *section_opts(struct arena *a, const char *section)
{
	static const cfg_opt_t end = CFG_END();
	static const cfg_opt_t one =
		CFG_PTR_CB(NULL, NULL, CFGF_NODEFAULT, on_value, on_value_free);
	static const cfg_opt_t list =
		CFG_PTR_LIST_CB(NULL, NULL, CFGF_NODEFAULT, on_value, on_value_free);
	const struct conf_option *o;
	cfg_opt_t *opts;
	size_t n = 0;

	for (o = conf_options; o->name != NULL; o++)
		n += strcmp(o->section, section) == 0;
	opts = arena_array(a, n + 1, sizeof(*opts));
	if (opts == NULL)
		return NULL;
	n = 0;
	for (o = conf_options; o->name != NULL; o++) {
		if (strcmp(o->section, section) != 0)
			continue;
		opts[n] = o->list ? list : one;
		opts[n++].name = o->name;
	}
	opts[n] = end;
	return opts;
}

static cfg_t *parser_new(struct arena *a)
{
	static const cfg_opt_t end = CFG_END();
	cfg_opt_t opts[16];
	size_t n = 0;
	cfg_t *cfg;

	for (const struct conf_section_spec *s = conf_sections; s->name != NULL; s++) {
		const cfg_opt_t section = CFG_SEC(s->name, section_opts(a, s->name),
			s->titled ? CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES
				  : CFGF_NODEFAULT);

		if (section.subopts == NULL || n == sizeof(opts) / sizeof(opts[0]) - 1)
			return NULL;
		opts[n++] = section;
	}
	opts[n] = end;
	cfg = cfg_init(opts, CFGF_NONE);
	if (cfg != NULL)
		(void)cfg_set_error_function(cfg, on_error);
	return cfg;
}

/* --- out of libconfuse ----------------------------------------------------------------
 */

static int copy_key(struct arena *a, cfg_opt_t *opt, struct conf_key *key, int *first)
{
	key->name = arena_text(a, cfg_opt_name(opt));
	key->n_words = cfg_opt_size(opt);
	key->words = arena_array(a, key->n_words, sizeof(*key->words));
	if (key->name == NULL || key->words == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < key->n_words; i++) {
		const struct value *v = cfg_opt_getnptr(opt, (unsigned int)i);

		key->words[i].line = v->line;
		key->words[i].text = arena_text(a, v->text);
		if (key->words[i].text == NULL)
			return -ENOMEM;
		if (*first == 0 || v->line < *first)
			*first = v->line;
	}
	return 0;
}

/* Of a key that is not there and one that is an empty list only the second counts. */
static bool is_given(const cfg_opt_t *opt)
{
	return opt->nvalues > 0 || (opt->flags & CFGF_MODIFIED) != 0;
}

static int copy_section(struct arena *a, cfg_t *cfg, struct conf_section *s)
{
	int first = 0;

	s->name = arena_text(a, cfg_name(cfg));
	s->title = cfg_title(cfg) != NULL ? arena_text(a, cfg_title(cfg)) : NULL;
	s->keys = arena_array(a, cfg_num(cfg), sizeof(*s->keys));
	if (s->name == NULL || s->keys == NULL ||
		(cfg_title(cfg) != NULL && s->title == NULL))
		return -ENOMEM;
	for (unsigned int i = 0; i < cfg_num(cfg); i++) {
		if (!is_given(&cfg->opts[i]))
			continue;
		if (copy_key(a, &cfg->opts[i], &s->keys[s->n_keys++], &first) != 0)
			return -ENOMEM;
	}
	s->line = first > 0 ? first : cfg->line;
	return 0;
}

static int copy_text(struct arena *a, cfg_t *cfg, struct conf_text *out)
{
	const struct conf_section_spec *spec;
	size_t n = 0;

	for (spec = conf_sections; spec->name != NULL; spec++)
		n += cfg_size(cfg, spec->name);
	out->n_sections = 0;
	out->sections = arena_array(a, n, sizeof(*out->sections));
	if (out->sections == NULL)
		return -ENOMEM;
	for (spec = conf_sections; spec->name != NULL; spec++)
		for (unsigned int i = 0; i < cfg_size(cfg, spec->name); i++) {
			int err = copy_section(a, cfg_getnsec(cfg, spec->name, i),
				&out->sections[out->n_sections++]);

			if (err != 0)
				return err;
		}
	return 0;
}

static int parse(struct arena *a, cfg_t *cfg, const char *text,
	const struct conf_where *w, struct conf_text *out)
{
	struct reading r = { .where = w };
	int rc;

	reading = &r;
	rc = cfg_parse_buf(cfg, text);
	reading = NULL;
	if (r.failed)
		return ERR_CONFIG;
	if (r.short_of_memory)
		return -ENOMEM;
	/* An empty string where a key should stand is refused without a word. */
	if (rc != CFG_SUCCESS)
		return conf_fail(w, r.line > cfg->line ? r.line : cfg->line,
			"something else than a key, a value or a section stands here");
	if (r.replaced != 0)
		return conf_fail(w, r.replaced,
			"this value is given again further down; keep one of the two");
	return copy_text(a, cfg, out);
}

int conf_text_read(struct arena *a, const char *text, const struct conf_where *w,
	struct conf_text *out)
{
	char *own = arena_text(a, text);
	cfg_t *cfg;
	int err;

	if (own == NULL)
		return -ENOMEM;
	err = text_prepare(own, w);
	if (err != 0)
		return err;
	cfg = parser_new(a);
	if (cfg == NULL)
		return -ENOMEM;
	err = parse(a, cfg, own, w, out);
	(void)cfg_free(cfg);
	return err;
}
