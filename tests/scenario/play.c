/*
 * play SCENARIO           play it
 * play --crash SCENARIO   play it once for every record that it stores, with the power
 * gone before that record; what hosts were told must be there again play --fails SCENARIO
 * it must fail where and how its first line says
 */
#include "script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int play(const char *path)
{
	struct script s;
	int err = script_open(&s, path);

	if (err == 0)
		err = script_play(&s);
	if (err != 0)
		(void)fprintf(stderr, "%s\n", s.error);
	script_close(&s);
	return err == 0 ? 0 : 1;
}

/* Is the fault where and how the first line says: "# fails at LINE: TEXT" (part of it)?
 */
static bool fails_so(const struct script *s)
{
	static const char intro[] = "# fails at ";
	char where[300], *text;
	unsigned long line;

	if (s->n_lines == 0 || strncmp(s->lines[0], intro, strlen(intro)) != 0)
		return false;
	line = strtoul(s->lines[0] + strlen(intro), &text, 10);
	if (strncmp(text, ": ", 2) != 0)
		return false;
	(void)snprintf(where, sizeof(where), "%s:%lu: ", s->path, line);
	return strncmp(s->error, where, strlen(where)) == 0 &&
	       strstr(s->error, text + 2) != NULL;
}

static int play_fault(const char *path)
{
	struct script s;
	int err = script_open(&s, path);
	bool so;

	if (err == 0)
		err = script_play(&s);
	so = err != 0 && fails_so(&s);
	if (!so)
		(void)fprintf(stderr,
			"%s: fails otherwise than its first line says: %s\n", path,
			err != 0 ? s.error : "not at all");
	script_close(&s);
	return so ? 0 : 1;
}

/* One life of the gateway that ends before record n; *more tells whether it came so far.
 */
static int crash_once(const char *path, unsigned long n, bool *more)
{
	struct script s;
	int err = script_open(&s, path);

	s.crash_at = n;
	if (err == 0)
		err = script_play(&s);
	*more = err == 0 && s.started && s.rig.crashed;
	if (*more) {
		rig_clear(&s.rig);
		rig_restart(&s.rig, true, 0);
		if (!rig_check(&s.rig))
			err = script_fail(
				&s, "stopped before record %lu: %s", n, s.rig.fault);
		else
			err = script_settle(
				&s); /* a restart says nothing (P-10.2.2-01) */
	}
	if (err != 0)
		(void)fprintf(stderr, "%s\n", s.error);
	script_close(&s);
	return err;
}

static int play_crashes(const char *path)
{
	bool more = true;
	unsigned long n = 0;

	while (more)
		if (crash_once(path, ++n, &more) != 0)
			return 1;
	if (n == 1) {
		(void)fprintf(stderr, "%s: stores nothing\n", path);
		return 77;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2)
		return play(argv[1]);
	if (argc == 3 && strcmp(argv[1], "--crash") == 0)
		return play_crashes(argv[2]);
	if (argc == 3 && strcmp(argv[1], "--fails") == 0)
		return play_fault(argv[2]);
	(void)fprintf(stderr, "usage: play [--crash | --fails] SCENARIO\n");
	return 2;
}
