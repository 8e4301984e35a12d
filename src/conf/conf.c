/*
 * From a file to a configuration: read, words, values, checks, in one arena that goes as
 * a whole, so that a file with an error leaves nothing behind.
 */
#include "conf/conf.h"

#include "base/err.h"
#include "conf/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* More than any sensible file; keeps a mistaken name (a disk, a log) out of memory. */
#define FILE_MAX ((size_t)4 * 1024 * 1024)

/* The struct that a section without a title is read into. */
static void *piece_of(struct conf_pieces *p, const char *name)
{
	if (strcmp(name, "gateway") == 0)
		return &p->gateway;
	if (strcmp(name, "audit") == 0)
		return &p->audit;
	if (strcmp(name, "slp") == 0)
		return &p->slp;
	if (strcmp(name, "ipfix") == 0)
		return &p->ipfix;
	if (strcmp(name, "security") == 0)
		return &p->security;
	return strcmp(name, "dataplane") == 0 ? (void *)&p->dataplane
					      : (void *)&p->metrics;
}

static const struct conf_section *section_find(
	const struct conf_text *t, const char *name)
{
	for (size_t i = 0; i < t->n_sections; i++)
		if (strcmp(t->sections[i].name, name) == 0)
			return &t->sections[i];
	return NULL;
}

/* All sections of a name with titles, as an array of structs and one of names. */
static int read_titled(struct arena *a, const struct conf_section_spec *spec,
	const struct conf_text *t, const struct conf_where *w, void **values,
	const char ***names, size_t *n)
{
	char *at = arena_array(a, t->n_sections + 1, spec->size);

	*names = arena_array(a, t->n_sections + 1, sizeof(**names));
	if (at == NULL || *names == NULL)
		return -ENOMEM;
	*values = at;
	for (size_t i = 0; i < t->n_sections; i++) {
		const struct conf_section *s = &t->sections[i];
		int err;

		if (strcmp(s->name, spec->name) != 0)
			continue;
		(*names)[*n] = s->title;
		err = conf_values(a, spec, s, w, at + *n * spec->size);
		if (err != 0)
			return err;
		(*n)++;
	}
	return 0;
}

/* A file without a policy has one with the defaults. */
static int default_policy(struct arena *a, const struct conf_section_spec *spec,
	const struct conf_where *w, struct conf_pieces *p)
{
	p->policy_names[0] = "default";
	p->n_policies = 1;
	return conf_values(a, spec, NULL, w, p->policies);
}

static int read_pieces(struct arena *a, const struct conf_text *t,
	const struct conf_where *w, struct conf_pieces *p)
{
	for (const struct conf_section_spec *s = conf_sections; s->name != NULL; s++) {
		void *values = NULL;
		int err;

		if (!s->titled) {
			err = conf_values(
				a, s, section_find(t, s->name), w, piece_of(p, s->name));
		} else if (strcmp(s->name, "pool") == 0) {
			err = read_titled(
				a, s, t, w, &values, &p->pool_names, &p->n_pools);
			p->pools = values;
		} else if (strcmp(s->name, "host") == 0) {
			err = read_titled(
				a, s, t, w, &values, &p->host_names, &p->n_hosts);
			p->hosts = values;
		} else {
			err = read_titled(
				a, s, t, w, &values, &p->policy_names, &p->n_policies);
			p->policies = values;
			if (err == 0 && p->n_policies == 0)
				err = default_policy(a, s, w, p);
		}
		if (err != 0)
			return err;
	}
	return 0;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): written to through the conf_where */
int conf_parse(const char *file, const char *text, struct conf **conf, char *why,
	size_t why_size)
{
	struct conf_where w = { .file = file, .why = why, .why_size = why_size };
	struct conf_pieces p = { 0 };
	struct conf_text t = { 0 };
	struct arena *a = calloc(1, sizeof(*a));
	struct conf *c;
	int err = -ENOMEM;

	if (a == NULL)
		return -ENOMEM;
	c = arena_alloc(a, sizeof(*c));
	if (c != NULL) {
		c->memory = a;
		c->file = arena_text(a, file);
		c->text = arena_text(a, text);
		err = conf_text_read(a, text, &w, &t);
	}
	if (err == 0)
		err = read_pieces(a, &t, &w, &p);
	if (err == 0)
		err = conf_check(a, &p, &w, c);
	if (err == 0 && (c->file == NULL || c->text == NULL))
		err = -ENOMEM;
	if (err != 0) {
		arena_fini(a);
		free(a);
		return err;
	}
	*conf = c;
	return 0;
}

/* The whole file with a NUL; -errno, or ERR_RANGE when it is too large. */
static int file_read(const char *file, char **text, size_t *len)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err = 0;
	struct stat st;
	ssize_t got = 1;

	*text = NULL;
	*len = 0;
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0)
		err = -errno;
	else if (S_ISDIR(st.st_mode))
		err = -EISDIR;
	else
		*text = malloc(FILE_MAX + 1);
	if (err == 0 && *text == NULL)
		err = -ENOMEM;
	while (err == 0 && got != 0 && *len < FILE_MAX) {
		got = read(fd, *text + *len, FILE_MAX - *len);
		if (got < 0 && errno != EINTR)
			err = -errno;
		else if (got > 0)
			*len += (size_t)got;
	}
	(void)close(fd);
	if (err == 0 && *len == FILE_MAX)
		err = ERR_RANGE;
	if (err != 0) {
		free(*text);
		*text = NULL;
	} else {
		(*text)[*len] = 0;
	}
	return err;
}

int conf_load(const char *file, struct conf **conf, char *why, size_t why_size)
{
	const struct conf_where w = { file, why, why_size };
	size_t len;
	char *text;
	int err = file_read(file, &text, &len);

	if (err == ERR_RANGE)
		return conf_fail(&w, 0, "longer than a configuration can be");
	if (err != 0)
		return conf_fail(&w, 0, "cannot be read: %s", err_text(err));
	if (text == NULL)
		return -ENOMEM; /* not after a success, but not every reader sees that */
	if (strlen(text) != len)
		err = conf_fail(&w, 0, "not a text file: it has a zero byte");
	else
		err = conf_parse(file, text, conf, why, why_size);
	free(text);
	return err;
}

void conf_free(struct conf *c)
{
	struct arena *a;

	if (c == NULL)
		return;
	a = c->memory;
	arena_fini(a);
	free(a);
}
