/*
 * Names in scenarios: $c takes the first text that stands in its place and means that
 * text from then on.
 */
#include "script.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyz0123456789_"

const char *script_get(const struct script *s, const char *name, size_t len)
{
	for (size_t i = 0; i < s->n_vars; i++)
		if (strlen(s->vars[i].name) == len &&
			strncmp(s->vars[i].name, name, len) == 0)
			return s->vars[i].value;
	return NULL;
}

void script_set(struct script *s, const char *name, const char *value)
{
	char *copy = strdup(value);

	if (copy == NULL)
		abort();
	for (size_t i = 0; i < s->n_vars; i++) {
		if (strcmp(s->vars[i].name, name) == 0) {
			free(s->vars[i].value);
			s->vars[i].value = copy;
			return;
		}
	}
	if (s->n_vars == SCRIPT_VARS) {
		free(copy);
		(void)script_fail(s, "more than %d names", SCRIPT_VARS);
		return;
	}
	(void)snprintf(s->vars[s->n_vars].name, sizeof(s->vars[0].name), "%s", name);
	s->vars[s->n_vars++].value = copy;
}

char *script_fill(struct script *s, const char *word)
{
	char *filled = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&filled, &len);

	if (out == NULL)
		abort();
	while (*word != '\0') {
		size_t n = strcspn(word, "$");

		(void)fprintf(out, "%.*s", (int)n, word);
		word += n;
		if (*word == '$') {
			const char *value;

			n = strspn(++word, NAME_CHARS);
			value = script_get(s, word, n);
			if (value == NULL)
				(void)script_fail(s, "$%.*s has no value", (int)n, word);
			(void)fprintf(out, "%s", value != NULL ? value : "");
			word += n;
		}
	}
	(void)fclose(out);
	if (s->error[0] != '\0') {
		free(filled);
		return NULL;
	}
	return filled;
}

/* $name at the pattern against the text: how much of the text it takes, or -1. */
static long match_name(struct script *s, const char *name, size_t n, const char *text)
{
	const char *value = script_get(s, name, n);
	char next[2] = { name[n], '\0' }, key[24], taken[2048];
	size_t len;

	if (value != NULL) {
		len = strlen(value);
		return strncmp(text, value, len) == 0 ? (long)len : -1;
	}
	len = next[0] == '\0' ? strlen(text) : strcspn(text, next);
	if (len == 0 || n >= sizeof(key) || len >= sizeof(taken))
		return -1;
	(void)snprintf(key, sizeof(key), "%.*s", (int)n, name);
	(void)snprintf(taken, sizeof(taken), "%.*s", (int)len, text);
	script_set(s, key, taken);
	return (long)len;
}

bool script_match(struct script *s, const char *pattern, const char *text)
{
	while (*pattern != '\0') {
		if (*pattern == '$') {
			size_t n = strspn(pattern + 1, NAME_CHARS);
			long taken = match_name(s, pattern + 1, n, text);

			if (taken < 0)
				return false;
			text += taken;
			pattern += 1 + n;
		} else if (*pattern == '?' && pattern[1] == '\0') {
			return *text != '\0';
		} else if (*pattern++ != *text++) {
			return false;
		}
	}
	return *text == '\0';
}

/* --- arithmetic -----------------------------------------------------------------------
 */

static int operand(struct script *s, const char *word, uint64_t *value)
{
	char *text = script_fill(s, word), *end;
	int err = 0;

	*value = 0;

	if (text == NULL)
		return -1;
	*value = strtoull(text, &end, 0);
	if (end == text || *end != '\0')
		err = script_fail(s, "'%s' is no number", text);
	free(text);
	return err;
}

/* A op B op C, from left to right. */
static int expression(struct script *s, char **words, size_t n, uint64_t *value)
{
	uint64_t b = 0;

	*value = 0;
	if (n % 2 == 0 || operand(s, words[0], value) != 0)
		return script_fail(s, "an expression is A op B op C");
	for (size_t i = 1; i < n; i += 2) {
		if (operand(s, words[i + 1], &b) != 0)
			return -1;
		switch (words[i][0]) {
		case '+':
			*value += b;
			break;
		case '-':
			*value -= b;
			break;
		case '*':
			*value *= b;
			break;
		case '/':
		case '%':
			if (b == 0)
				return script_fail(s, "division by 0");
			*value = words[i][0] == '/' ? *value / b : *value % b;
			break;
		default:
			return script_fail(s, "no operator '%s'", words[i]);
		}
	}
	return 0;
}

int script_let(struct script *s, char **words, size_t n)
{
	char text[32];
	uint64_t value;
	bool hex = n > 2 && strcmp(words[2], "hex") == 0;
	size_t first = hex ? 3 : 2;

	if (n <= first || words[0][0] != '$' || strcmp(words[1], "=") != 0)
		return script_fail(s, "let is: let $NAME = [hex] A + B");
	if (expression(s, words + first, n - first, &value) != 0)
		return -1;
	(void)snprintf(text, sizeof(text), hex ? "0x%08" PRIx64 : "%" PRIu64, value);
	script_set(s, words[0] + 1, text);
	return 0;
}

int script_check(struct script *s, char **words, size_t n)
{
	static const char *const ops[] = { "==", "!=", "<", "<=", ">", ">=" };
	uint64_t a, b;
	size_t at, op = 0;

	for (at = 0; at < n; at++) {
		for (op = 0; op < 6 && strcmp(words[at], ops[op]) != 0; op++)
			;
		if (op < 6)
			break;
	}
	if (at == n)
		return script_fail(s, "check is: check A == B");
	if (expression(s, words, at, &a) != 0 ||
		expression(s, words + at + 1, n - at - 1, &b) != 0)
		return -1;
	if ((op == 0 && a == b) || (op == 1 && a != b) || (op == 2 && a < b) ||
		(op == 3 && a <= b) || (op == 4 && a > b) || (op == 5 && a >= b))
		return 0;
	return script_fail(s, "%" PRIu64 " %s %" PRIu64 " does not hold", a, ops[op], b);
}
