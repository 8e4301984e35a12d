/*
 * Giving up capabilities, with libcap-ng.  Every step is checked: a daemon that thinks it
 * has no rights and has them all is worse than one that does not start.
 */
#include "sandbox/sandbox.h"

#include "base/err.h"

#include <cap-ng.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

static const struct {
	enum sandbox_right right;
	unsigned int capability;
	const char *name;
} rights_table[] = {
	{ SANDBOX_NET_ADMIN, CAP_NET_ADMIN, "CAP_NET_ADMIN" },
	{ SANDBOX_NET_RAW, CAP_NET_RAW, "CAP_NET_RAW" },
	{ SANDBOX_BPF, CAP_BPF, "CAP_BPF" },
	{ SANDBOX_BPF, CAP_PERFMON, "CAP_PERFMON" },
};
#define RIGHTS (sizeof(rights_table) / sizeof(rights_table[0]))

static int fail(char *why, size_t why_size, int code, const char *what)
{
	(void)snprintf(why, why_size, "cannot %s: %s", what, err_text(code));
	return code;
}

/* The set to keep; a right that we do not have ourselves is an error. */
static int wanted_set(unsigned int rights, char *why, size_t why_size)
{
	bool held[RIGHTS];

	for (size_t i = 0; i < RIGHTS; i++)
		held[i] = capng_have_capability(
				  CAPNG_PERMITTED, rights_table[i].capability) != 0;
	capng_clear(CAPNG_SELECT_ALL);
	for (size_t i = 0; i < RIGHTS; i++) {
		if ((rights & rights_table[i].right) == 0)
			continue;
		if (!held[i]) {
			(void)snprintf(why, why_size,
				"%s is needed: start as root, or give it to the program",
				rights_table[i].name);
			return -EPERM;
		}
		/* Inheritable and ambient, so that nft keeps it as our child. */
		(void)capng_update(CAPNG_ADD,
			CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE |
				CAPNG_BOUNDING_SET | CAPNG_AMBIENT,
			rights_table[i].capability);
	}
	return 0;
}

int sandbox_enter(unsigned int rights, char *why, size_t why_size)
{
	bool may_bound;
	int err;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return fail(why, why_size, -errno, "set no_new_privs");
	if (capng_get_caps_process() != 0)
		return fail(why, why_size, ERR_UNSUPPORTED, "read our capabilities");
	may_bound = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) != 0;
	err = wanted_set(rights, why, why_size);
	if (err != 0)
		return err;
	/* The bounding set first: dropping from it needs a capability that goes next. */
	if (may_bound && capng_apply(CAPNG_SELECT_BOUNDS) != 0)
		return fail(why, why_size, -EPERM, "cut the capability bounding set");
	if (capng_apply(CAPNG_SELECT_CAPS) != 0)
		return fail(why, why_size, -EPERM, "drop capabilities");
	if (rights != 0 && capng_apply(CAPNG_SELECT_AMBIENT) != 0)
		return fail(
			why, why_size, -EPERM, "keep capabilities for child processes");
	return 0;
}
