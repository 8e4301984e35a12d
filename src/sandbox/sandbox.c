/*
 * The order of giving up: capabilities of later programs first (that needs one), then the
 * user, then our own capabilities, then files and calls.  Every step is checked: a daemon
 * that thinks it has no rights and has them all is worse than one that does not start.
 */
#include "sandbox/sandbox.h"

#include "base/err.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <unistd.h>

static const struct {
	enum sandbox_right right;
	unsigned int capability;
	const char *name;
} rights_table[] = {
	{ SANDBOX_NET_ADMIN, CAP_NET_ADMIN, "CAP_NET_ADMIN" },
	{ SANDBOX_NET_RAW, CAP_NET_RAW, "CAP_NET_RAW" },
	{ SANDBOX_BPF, CAP_BPF, "CAP_BPF" },
	{ SANDBOX_BPF, CAP_PERFMON, "CAP_PERFMON" },
	{ SANDBOX_NAMESPACES, CAP_SYS_ADMIN, "CAP_SYS_ADMIN" },
	{ SANDBOX_NAMESPACES, CAP_SYS_PTRACE, "CAP_SYS_PTRACE" },
	{ SANDBOX_READ_ANY, CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH" },
	{ SANDBOX_LOW_PORTS, CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE" },
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

unsigned int sandbox_held(unsigned int rights)
{
	if (capng_get_caps_process() != 0)
		return 0;
	for (size_t i = 0; i < RIGHTS; i++)
		if (!capng_have_capability(CAPNG_PERMITTED, rights_table[i].capability))
			rights &= ~(unsigned int)rights_table[i].right;
	return rights;
}

/* --- the user -------------------------------------------------------------------------
 */

static int user_find(const char *user, uid_t *uid, gid_t *gid, char *why, size_t why_size)
{
	const struct passwd *p = getpwnam(user);

	if (p == NULL) {
		(void)snprintf(why, why_size,
			"there is no user %s: make one (useradd --system %s), or set "
			"user = \"\"",
			user, user);
		return ERR_NOTFOUND;
	}
	*uid = p->pw_uid;
	*gid = p->pw_gid;
	return 0;
}

static bool user_opens(
	const char *user, const char *path, int flags, char *why, size_t why_size)
{
	uid_t uid, was_uid = geteuid();
	gid_t gid, was_gid = getegid();
	int fd;

	if (user_find(user, &uid, &gid, why, why_size) != 0)
		return false;
	/* The IDs that files are judged by: with them the capabilities over files go. */
	(void)setfsgid(gid);
	(void)setfsuid(uid);
	if ((uid_t)setfsuid(uid) != uid) {
		(void)setfsgid(was_gid);
		(void)snprintf(why, why_size, "we cannot become user %s here", user);
		return false;
	}
	fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		(void)snprintf(why, why_size, "user %s cannot read %s: %s", user, path,
			err_text(-errno));
	else
		(void)close(fd);
	(void)setfsuid(was_uid);
	(void)setfsgid(was_gid);
	return fd >= 0;
}

bool sandbox_user_reads(const char *user, const char *path, char *why, size_t why_size)
{
	return user_opens(user, path, O_RDONLY, why, why_size);
}

bool sandbox_user_reaches(const char *user, const char *path, char *why, size_t why_size)
{
	return user_opens(user, path, O_PATH, why, why_size);
}

int sandbox_user_owns(const char *user, const char *path)
{
	const struct passwd *p = getpwnam(user);

	if (p == NULL)
		return -ENOENT;
	return lchown(path, p->pw_uid, p->pw_gid) == 0 ? 0 : -errno;
}

static int user_become(const char *user, char *why, size_t why_size)
{
	uid_t uid;
	gid_t gid;
	int err = user_find(user, &uid, &gid, why, why_size);

	if (err != 0)
		return err;
	/* The permitted set stays for what is picked from it right after this. */
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0)
		return fail(
			why, why_size, -errno, "keep capabilities over a user change");
	if (initgroups(user, gid) != 0 || setresgid(gid, gid, gid) != 0 ||
		setresuid(uid, uid, uid) != 0)
		return fail(why, why_size, -errno, "become the user of `user`");
	(void)prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	return 0;
}

/* --- all of it ------------------------------------------------------------------------
 */

static int give_up_rights(const struct sandbox *s, char *why, size_t why_size)
{
	bool may_bound;
	int err;

	if (capng_get_caps_process() != 0)
		return fail(why, why_size, ERR_UNSUPPORTED, "read our capabilities");
	may_bound = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) != 0;
	err = wanted_set(s->rights, why, why_size);
	if (err != 0)
		return err;
	/* The bounding set first: dropping from it needs a capability that goes next. */
	if (may_bound && capng_apply(CAPNG_SELECT_BOUNDS) != 0)
		return fail(why, why_size, -EPERM, "cut the capability bounding set");
	if (s->user != NULL)
		err = user_become(s->user, why, why_size);
	if (err != 0)
		return err;
	if (capng_apply(CAPNG_SELECT_CAPS) != 0)
		return fail(why, why_size, -EPERM, "drop capabilities");
	if (s->rights != 0 && capng_apply(CAPNG_SELECT_AMBIENT) != 0)
		return fail(
			why, why_size, -EPERM, "keep capabilities for child processes");
	return 0;
}

static int confine(const struct sandbox *s, int rules, struct sandbox_got *got, char *why,
	size_t why_size)
{
	int err = rules >= 0 ? sandbox_files(rules) : 0;

	got->files = rules >= 0;
	if (err != 0)
		return fail(why, why_size, err, "shut the file system off (Landlock)");
	err = sandbox_calls(s->rights, s->may);
	got->calls = err == 0;
	if (err != 0 && err != ERR_UNSUPPORTED)
		return fail(why, why_size, err, "filter system calls (seccomp)");
	return 0;
}

int sandbox_enter(
	const struct sandbox *s, struct sandbox_got *got, char *why, size_t why_size)
{
	int rules = -1, err = 0;

	*got = (struct sandbox_got){ .user = s->user != NULL };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return fail(why, why_size, -errno, "set no_new_privs");
	if (s->confine && !s->any_files)
		err = sandbox_rules(s->paths, s->n_paths, &rules);
	if (err != 0 && err != ERR_UNSUPPORTED)
		return fail(why, why_size, err, "prepare Landlock");
	err = give_up_rights(s, why, why_size);
	if (err == 0 && s->confine)
		err = confine(s, rules, got, why, why_size);
	else if (rules >= 0)
		(void)close(rules);
	return err;
}
