/*
 * starve SCENARIO: play it once for every allocation of the engine, with memory short at
 * just that one.  A request may then be refused by INTERNAL_SERVER_ERROR, and what the
 * scenario expects need not come; but nothing half done may stay, and what hosts were
 * told must hold (P-A-104, P-10.4-06).
 */
#include "script.h"
#include "short.h"

#include <stdio.h>

static unsigned long refused;

/* Returns whether memory was short at all. */
static bool life(const char *path, unsigned long n, int *err)
{
	struct script s;
	bool was_short;

	short_at(n);
	*err = script_open(&s, path);
	if (*err == 0)
		(void)script_play(&s); /* may be told otherwise than it expects */
	was_short = short_was();
	short_at(0);
	if (s.started && s.rig.engine != NULL)
		refused += engine_counters(s.rig.engine)->errors[104] > 0;
	if (*err == 0 && s.started && !rig_check(&s.rig)) {
		(void)fprintf(stderr, "%s:%zu: short of memory at allocation %lu: %s\n",
			path, s.line + 1, n, s.rig.fault);
		*err = -1;
	}
	script_close(&s);
	return was_short;
}

int main(int argc, char **argv)
{
	unsigned long n = 1;
	int err = 0;

	if (argc != 2) {
		(void)fprintf(stderr, "usage: starve SCENARIO\n");
		return 2;
	}
	while (life(argv[1], n, &err) && err == 0)
		n++;
	(void)printf("%lu allocations, %lu lives with INTERNAL_SERVER_ERROR\n", n - 1,
		refused);
	return err == 0 && refused > 0 ? 0 : 1;
}
