/*
 * A scenario from its first line to its last: reading, repeat blocks, and the rule that
 * nothing a host is told goes unexpected.
 */
#include "script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int script_fail(struct script *s, const char *format, ...)
{
	va_list args;
	int n;

	if (s->error[0] != '\0')
		return -1;
	n = snprintf(s->error, sizeof(s->error), "%s:%zu: ", s->path, s->line + 1);
	va_start(args, format);
	(void)vsnprintf(s->error + n, sizeof(s->error) - (size_t)n, format, args);
	va_end(args);
	return -1;
}

static int counter_cmp(const void *a, const void *b)
{
	uint32_t x = ((const struct script_counter *)a)->host;
	uint32_t y = ((const struct script_counter *)b)->host;

	return (x > y) - (x < y);
}

static void read_lines(struct script *s, FILE *file)
{
	char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, file) >= 0) {
		line[strcspn(line, "\n")] = '\0';
		s->lines = realloc(s->lines, (s->n_lines + 1) * sizeof(*s->lines));
		if (s->lines == NULL)
			abort();
		s->lines[s->n_lines++] = line;
		line = NULL;
		room = 0;
	}
	free(line);
}

int script_open(struct script *s, const char *path)
{
	FILE *file = fopen(path, "re");

	memset(s, 0, sizeof(*s));
	s->path = path;
	if (file == NULL)
		return script_fail(s, "cannot be opened");
	read_lines(s, file);
	(void)fclose(file);
	s->counters = (struct rows){ .size = sizeof(struct script_counter),
		.cmp = counter_cmp };
	setup_init(&s->setup);
	if (s->n_lines == 0 || strncmp(s->lines[0], "# ", 2) != 0)
		return script_fail(s, "a scenario begins with prose: # ...");
	return 0;
}

void script_close(struct script *s)
{
	if (s->started)
		rig_fini(&s->rig);
	for (size_t i = 0; i < s->n_lines; i++)
		free(s->lines[i]);
	free(s->lines);
	for (size_t i = 0; i < s->n_vars; i++)
		free(s->vars[i].value);
	free(s->counters.row);
}

int script_settle(struct script *s)
{
	struct rig_effect *e = s->started ? rig_reply(&s->rig) : NULL;

	if (e != NULL) {
		char text[ADDR_TEXT_MAX];

		return script_fail(s, "unexpected%s reply to %s: %s",
			e->async ? " async" : "", addr_format(e->to.addr, text), e->text);
	}
	return 0;
}

static size_t split(char *line, char **words)
{
	size_t n = 0;
	char *rest = line;

	for (char *w; n < SCRIPT_WORDS && (w = strtok_r(rest, " \t", &rest)) != NULL;) {
		if (w[0] == '#')
			break;
		words[n++] = w;
	}
	return n;
}

/* The line of the `end` that closes the block begun at this line. */
static size_t block_end(const struct script *s, size_t from)
{
	size_t depth = 0;

	for (size_t i = from; i < s->n_lines; i++) {
		const char *text = s->lines[i] + strspn(s->lines[i], " \t");

		if (strncmp(text, "repeat ", 7) == 0)
			depth++;
		else if (strcmp(text, "end") == 0 && --depth == 0)
			return i;
	}
	return s->n_lines;
}

static int play_lines(struct script *s, size_t from, size_t to);

static int repeat(struct script *s, const char *count, size_t begin, size_t end)
{
	unsigned long n = strtoul(count, NULL, 0);

	for (unsigned long i = 1; i <= n; i++) {
		char text[24];

		(void)snprintf(text, sizeof(text), "%lu", i);
		script_set(s, "i", text);
		if (play_lines(s, begin, end) != 0)
			return -1;
	}
	return 0;
}

static int play_line(struct script *s, size_t *at)
{
	char *words[SCRIPT_WORDS], *copy = strdup(s->lines[*at]);
	size_t n;
	int err = 0;

	if (copy == NULL)
		abort();
	n = split(copy, words);
	if (n == 2 && strcmp(words[0], "repeat") == 0) {
		size_t end = block_end(s, *at);

		err = repeat(s, words[1], *at + 1, end);
		*at = end;
	} else if (n > 0) {
		err = script_step(s, words, n);
	}
	free(copy);
	return err;
}

static int play_lines(struct script *s, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		s->line = i;
		if (play_line(s, &i) != 0)
			return -1;
		if (s->started && s->rig.crashed)
			return 0;
	}
	return 0;
}

int script_play(struct script *s)
{
	if (play_lines(s, 0, s->n_lines) != 0)
		return -1;
	if (s->started && s->rig.crashed)
		return 0;
	s->line = s->n_lines - 1;
	if (!s->started)
		return script_fail(s, "nothing was played");
	return script_settle(s);
}
