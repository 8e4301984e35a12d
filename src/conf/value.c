/*
 * From words to values: one strict parser a kind, each with a message that quotes what
 * was read and says what was expected.
 */
#include "conf/value.h"

#include "base/err.h"
#include "conf/suggest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One value being read. */
struct value_of {
	struct arena *arena;
	const struct conf_option *option;
	const struct conf_where *where;
	struct conf_word word;
	bool given; /* the file has it */
};

static int refuse(const struct value_of *v, const char *expected)
{
	return conf_fail(v->where, v->word.line, "%s = \"%s\": expected %s",
		v->option->name, v->word.text, expected);
}

static int refuse_range(const struct value_of *v, const char *what)
{
	char text[96];

	(void)snprintf(text, sizeof(text), "%s from %u to %u", what, v->option->min,
		v->option->max);
	return refuse(v, text);
}

static int parse_text(const struct value_of *v, void *at)
{
	struct conf_string *s = at;

	s->text = arena_text(v->arena, v->word.text);
	s->given = v->given;
	s->line = v->word.line;
	return s->text != NULL ? 0 : -ENOMEM;
}

static int parse_number(const struct value_of *v, void *at)
{
	struct conf_number *n = at;
	const char *text = v->word.text;
	char *end;
	unsigned long long value;

	if (text[0] < '0' || text[0] > '9')
		return refuse_range(v, "a number");
	errno = 0;
	value = strtoull(text, &end, 10);
	if (*end != 0 || errno != 0 || value < v->option->min || value > v->option->max)
		return refuse_range(v, "a number");
	n->n = (uint32_t)value;
	n->given = v->given;
	n->line = v->word.line;
	return 0;
}

static int parse_bool(const struct value_of *v, void *at)
{
	static const struct {
		const char *text;
		bool value;
	} words[] = { { "true", true }, { "yes", true }, { "on", true },
		{ "false", false }, { "no", false }, { "off", false } };
	struct conf_number *n = at;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(v->word.text, words[i].text) == 0) {
			n->n = words[i].value;
			n->line = v->word.line;
			return 0;
		}
	return refuse(v, "true or false");
}

/* Index of the word among the row's, or an error that lists them. */
static int word_index(const struct value_of *v, uint32_t *index)
{
	char text[192] = "one of";
	struct suggest near;

	for (uint32_t i = 0; v->option->words[i] != NULL; i++)
		if (strcmp(v->word.text, v->option->words[i]) == 0) {
			*index = i;
			return 0;
		}
	for (uint32_t i = 0; v->option->words[i] != NULL; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s %s",
			i > 0 ? "," : "", v->option->words[i]);
	suggest_init(&near, v->word.text);
	for (uint32_t i = 0; v->option->words[i] != NULL; i++)
		suggest_try(&near, v->option->words[i]);
	if (near.best != NULL)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text),
			"; did you mean %s?", near.best);
	return refuse(v, text);
}

static int parse_word(const struct value_of *v, void *at)
{
	struct conf_number *n = at;

	n->line = v->word.line;
	return word_index(v, &n->n);
}

static int parse_address(const struct value_of *v, void *at)
{
	struct conf_number *n = at;

	n->line = v->word.line;
	n->n = 0;
	if (v->word.text[0] == 0)
		return 0;
	if (addr_parse(v->word.text, &n->n) != 0 || n->n == 0)
		return refuse(v, "an IPv4 address, or \"\" for none");
	return 0;
}

static int parse_endpoint(const struct value_of *v, void *at)
{
	struct conf_endpoint *e = at;

	e->line = v->word.line;
	e->text = arena_text(v->arena, v->word.text);
	if (e->text == NULL)
		return -ENOMEM;
	e->set = v->word.text[0] != 0 || v->option->list;
	if (e->set && endpoint_parse(v->word.text, 0, &e->addr, &e->port) != 0)
		return refuse(v, "ADDRESS:PORT, for example 10.0.0.1:4555");
	return 0;
}

static int parse_prefix(const struct value_of *v, void *at)
{
	char text[128], fixed[PREFIX_TEXT_MAX], copy[PREFIX_TEXT_MAX];
	struct prefix4 p = { 0, 32 };
	int err = prefix_parse(v->word.text, at);
	const char *slash = strchr(v->word.text, '/');
	uint32_t len = 0;

	if (err == 0)
		return 0;
	/* Host bits: the likely meaning is worth naming. */
	if (err == ERR_RANGE && slash != NULL && (size_t)(slash - v->word.text) < 16) {
		(void)snprintf(copy, sizeof(copy), "%.*s", (int)(slash - v->word.text),
			v->word.text);
		len = (uint32_t)strtoul(slash + 1, NULL, 10);
		if (len <= 32 && addr_parse(copy, &p.addr) == 0) {
			p.len = (uint8_t)len;
			p.addr &= prefix_mask(p.len);
			(void)snprintf(text, sizeof(text),
				"no bits behind the prefix length; %s is the network",
				prefix_format(&p, fixed));
			return refuse(v, text);
		}
	}
	return refuse(v, "ADDRESS or ADDRESS/LENGTH");
}

static int parse_range(const struct value_of *v, void *at)
{
	if (range_parse(v->word.text, v->option->min, v->option->max, at) != 0)
		return refuse_range(v, "a number N or a range N-M");
	return 0;
}

/* ADDRESS[/LEN][:PORT[-PORT]] */
static int parse_rule(const struct value_of *v, void *at)
{
	struct engine_remote_rule *rule = at;
	const char *colon = strchr(v->word.text, ':');
	struct range ports = { 0, 65535 };
	char prefix[PREFIX_TEXT_MAX];
	size_t len =
		colon != NULL ? (size_t)(colon - v->word.text) : strlen(v->word.text);

	if (len >= sizeof(prefix))
		return refuse(v, "ADDRESS[/LENGTH][:PORT[-PORT]]");
	memcpy(prefix, v->word.text, len);
	prefix[len] = 0;
	if (prefix_parse(prefix, &rule->prefix) != 0 ||
		(colon != NULL && range_parse(colon + 1, 1, 65535, &ports) != 0))
		return refuse(v,
			"ADDRESS[/LENGTH][:PORT[-PORT]] without bits behind the length");
	rule->port_lo = (uint16_t)ports.lo;
	rule->port_hi = (uint16_t)ports.hi;
	return 0;
}

static const struct {
	int (*parse)(const struct value_of *v, void *at);
	size_t item; /* in a conf_list */
} kinds[KINDS] = {
	[KIND_TEXT] = { parse_text, sizeof(struct conf_string) },
	[KIND_NUMBER] = { parse_number, sizeof(struct conf_number) },
	[KIND_BOOL] = { parse_bool, sizeof(struct conf_number) },
	[KIND_WORD] = { parse_word, sizeof(struct conf_number) },
	[KIND_ADDRESS] = { parse_address, sizeof(struct conf_number) },
	[KIND_ENDPOINT] = { parse_endpoint, sizeof(struct conf_endpoint) },
	[KIND_PREFIX] = { parse_prefix, sizeof(struct prefix4) },
	[KIND_RANGE] = { parse_range, sizeof(struct range) },
	[KIND_RULE] = { parse_rule, sizeof(struct engine_remote_rule) },
};

/* The default of a row as words. */
static int initial_words(
	struct arena *a, const struct conf_option *o, int line, struct conf_key *key)
{
	char *text = arena_text(a, o->initial), *rest = text;
	size_t n = 0;

	key->words = arena_array(a, strlen(o->initial) + 1, sizeof(*key->words));
	if (text == NULL || key->words == NULL)
		return -ENOMEM;
	if (!o->list)
		key->words[n++] = (struct conf_word){ line, text };
	while (o->list && rest != NULL && *rest != 0)
		key->words[n++] = (struct conf_word){ line, strsep(&rest, " ") };
	key->n_words = n;
	return 0;
}

static int list_fill(struct value_of *v, const struct conf_key *key, struct conf_list *l)
{
	size_t item = kinds[v->option->kind].item;
	int *lines = arena_array(v->arena, key->n_words, sizeof(*lines));
	char *items = arena_array(v->arena, key->n_words, item);

	if (lines == NULL || items == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < key->n_words; i++) {
		int err;

		v->word = key->words[i];
		lines[i] = v->word.line;
		err = kinds[v->option->kind].parse(v, items + i * item);
		if (err != 0)
			return err;
	}
	l->items = items;
	l->lines = lines;
	l->n = key->n_words;
	return 0;
}

static const struct conf_key *key_find(const struct conf_section *s, const char *name)
{
	for (size_t i = 0; s != NULL && i < s->n_keys; i++)
		if (strcmp(s->keys[i].name, name) == 0)
			return &s->keys[i];
	return NULL;
}

static int option_fill(
	struct value_of *v, const struct conf_section *s, int line, void *at)
{
	const struct conf_key *key = key_find(s, v->option->name);
	struct conf_key initial = { 0 };
	struct conf_list *l = at;

	v->given = key != NULL;
	if (key == NULL) {
		int err = initial_words(v->arena, v->option, line, &initial);

		if (err != 0)
			return err;
		key = &initial;
	}
	if (v->option->list) {
		l->line = key->n_words > 0 ? key->words[0].line : line;
		return list_fill(v, key, l);
	}
	v->word = key->words[0];
	return kinds[v->option->kind].parse(v, at);
}

int conf_values(struct arena *a, const struct conf_section_spec *spec,
	const struct conf_section *s, const struct conf_where *w, void *values)
{
	int line = s != NULL ? s->line : 0;

	for (const struct conf_option *o = conf_options; o->name != NULL; o++) {
		struct value_of v = { .arena = a, .option = o, .where = w };
		int err;

		if (strcmp(o->section, spec->name) != 0)
			continue;
		err = option_fill(&v, s, line, (char *)values + o->offset);
		if (err != 0)
			return err;
	}
	return 0;
}
