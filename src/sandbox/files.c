/*
 * Landlock: which files can still be reached.  What is open stays open, so the store
 * needs nothing here.  The kernel's interface is three system calls without a library;
 * newer rights than ours are left out where the kernel does not know them.
 */
#include "sandbox/sandbox.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Younger than the headers that this is built with. */
#define FS_TRUNCATE  ((uint64_t)1 << 14)
#define FS_IOCTL_DEV ((uint64_t)1 << 15)
#define SCOPE_SIGNAL ((uint64_t)1 << 1)

#define READ         (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define EXEC         (READ | LANDLOCK_ACCESS_FS_EXECUTE)
#define REMOVE       LANDLOCK_ACCESS_FS_REMOVE_FILE
#define MAKE                                                                             \
	(READ | REMOVE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | \
		LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |              \
		LANDLOCK_ACCESS_FS_MAKE_SYM | FS_TRUNCATE)
#define OF_FILES                                                     \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE | \
		LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

struct ruleset {
	uint64_t handled_fs, handled_net, scoped;
};

/* Everything about files that a kernel of this ABI can refuse. */
static uint64_t handled(long abi)
{
	uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

	if (abi >= 2)
		all |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		all |= FS_TRUNCATE;
	if (abi >= 5)
		all |= FS_IOCTL_DEV;
	return all;
}

static uint64_t access_of(unsigned int access)
{
	uint64_t all = 0;

	if (access & SANDBOX_READ)
		all |= READ;
	if (access & SANDBOX_EXEC)
		all |= EXEC;
	if (access & SANDBOX_REMOVE)
		all |= REMOVE;
	if (access & SANDBOX_MAKE)
		all |= MAKE;
	return all;
}

/* What is not there needs no rule. */
static int rule_add(int rules, const struct sandbox_path *path, uint64_t known)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = access_of(path->access) & known,
		.parent_fd = open(path->path, O_PATH | O_CLOEXEC),
	};
	struct stat st;
	int err = 0;

	if (rule.parent_fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0
									      : -errno;
	if (fstat(rule.parent_fd, &st) != 0)
		err = -errno;
	else if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= OF_FILES;
	if (err == 0 && rule.allowed_access != 0 &&
		syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule,
			0) != 0)
		err = -errno;
	(void)close(rule.parent_fd);
	return err;
}

int sandbox_rules(const struct sandbox_path *paths, size_t n, int *rules_fd)
{
	long abi = syscall(
		SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct ruleset r = { .handled_fs = handled(abi) };
	int rules, err = 0;

	if (abi < 1)
		return ERR_UNSUPPORTED; /* an old kernel, or switched off at boot */
	if (abi >= 6)
		r.scoped = SCOPE_SIGNAL;
	rules = (int)syscall(SYS_landlock_create_ruleset, &r,
		abi >= 6 ? sizeof(r) : sizeof(r.handled_fs), 0);
	if (rules < 0)
		return -errno;
	for (size_t i = 0; i < n && err == 0; i++)
		err = rule_add(rules, &paths[i], r.handled_fs);
	if (err != 0)
		(void)close(rules);
	else
		*rules_fd = rules;
	return err;
}

int sandbox_files(int rules)
{
	int err = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : -errno;

	if (err == 0 && syscall(SYS_landlock_restrict_self, rules, 0) != 0)
		err = -errno;
	(void)close(rules);
	return err;
}
