#pragma once

#include "rig.h"

/* One scenario: its lines, what they named, and the rig they are played into. */

#define SCRIPT_WORDS 512
#define SCRIPT_VARS  64

struct script_var {
	char name[24];
	char *value;
};

struct script_counter { /* the last Message Counter of a host */
	uint32_t host, value;
};

struct script {
	const char *path;
	char **lines;
	size_t n_lines, line; /* the line in work, from 0 */
	struct rig rig;
	bool started;
	struct setup setup;
	bool setup_fresh; /* lines were taken since the last start or reload */
	unsigned long crash_at;
	struct script_var vars[SCRIPT_VARS];
	size_t n_vars;
	struct rows counters;
	struct peer from; /* the last sender */
	uint32_t last_counter;
	char error[2048]; /* "FILE:LINE: what is wrong"; "" */
};

int script_open(struct script *s, const char *path);
void script_close(struct script *s);
/* 0, or -1 with `error` set. */
int script_play(struct script *s);

/* script_vars.c */
void script_set(struct script *s, const char *name, const char *value);
const char *script_get(const struct script *s, const char *name, size_t len);
/* The word with every $name replaced, in memory of its own; NULL after script_fail(). */
char *script_fill(struct script *s, const char *word);
/* Does the text follow the pattern?  Names without value take what stands there. */
bool script_match(struct script *s, const char *pattern, const char *text);
/* let $x = A + B; check A == B */
int script_let(struct script *s, char **words, size_t n);
int script_check(struct script *s, char **words, size_t n);

int script_fail(struct script *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* script_steps.c: one statement of split words */
int script_step(struct script *s, char **words, size_t n);
/* Nothing that hosts were told may be left over, nothing may have gone wrong. */
int script_settle(struct script *s);
