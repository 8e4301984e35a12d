/*
 * Who rsipd is while it serves, and which files it can still reach: those that a reload
 * reads, those that the name resolver reads, the state directory, and what the driver
 * keeps in the BPF file system.
 */
#include "gateway/confine.h"

#include "base/err.h"
#include "base/log.h"
#include "gateway/rsipd.h"
#include "sandbox/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 4096
#define PINS      "/sys/fs/bpf/rsip"

/* --- the user -------------------------------------------------------------------------
 */

/* It reads the configuration at each reload, and makes files where the store is. */
static bool user_fits(const struct rsipd *d, const char *user, char *why, size_t why_size)
{
	const struct conf_files *f = &d->conf->security;
	const char *const files[] = { d->config_file, f->keys, f->certificate, f->key,
		f->authority };

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (files[i][0] != 0 &&
			!sandbox_user_reads(user, files[i], why, why_size))
			return false;
	return sandbox_user_reaches(user, d->conf->state_dir, why, why_size);
}

/* The user to become, or NULL: that is said aloud, as it is not what one wants. */
static int user_choose(
	const struct rsipd *d, const char **user, char *why, size_t why_size)
{
	const struct conf_user *u = &d->conf->user;
	char reason[SANDBOX_WHY] = "user = \"\"";

	*user = NULL;
	if (geteuid() != 0)
		return 0; /* whoever started us chose */
	if (u->name[0] != 0 && user_fits(d, u->name, reason, sizeof(reason))) {
		*user = u->name;
		return 0;
	}
	if (u->name[0] != 0 && u->given) {
		(void)snprintf(why, why_size, "user = \"%s\": %s", u->name, reason);
		return ERR_CONFIG;
	}
	log_warn("running as root", "reason=\"%s\"", reason);
	return 0;
}

static bool is_ours(const char *name)
{
	return strncmp(name, "leases.mdb", 10) == 0 || strncmp(name, "audit.", 6) == 0;
}

/* What was made by us as root, or by another user before, and is used again. */
static void user_takes(const struct rsipd *d, const char *user)
{
	const char *state = d->conf->state_dir;
	DIR *dir = opendir(state);
	const struct dirent *e;
	char path[PATH_SIZE];
	int err = sandbox_user_owns(user, state);

	while (err == 0 && dir != NULL && (e = readdir(dir)) != NULL)
		if (is_ours(e->d_name) && snprintf(path, sizeof(path), "%s/%s", state,
						  e->d_name) < (int)sizeof(path))
			err = sandbox_user_owns(user, path);
	if (dir != NULL)
		(void)closedir(dir);
	if (err != 0)
		log_warn("cannot give the state directory away",
			"directory=%s user=%s error=\"%s\"", state, user, err_text(err));
	/* Its group may then talk to us; root may anyway. */
	(void)sandbox_user_owns(user, d->conf->control_socket);
}

/* --- files ----------------------------------------------------------------------------
 */

/* "/a/b" of "/a/b/c", "." of "c". */
static void folder_of(const char *file, char folder[static PATH_SIZE])
{
	const char *slash = strrchr(file, '/');
	size_t len = slash != NULL ? (size_t)(slash - file) : 0;

	if (slash == NULL)
		(void)snprintf(folder, PATH_SIZE, ".");
	else
		(void)snprintf(folder, PATH_SIZE, "%.*s", len > 0 ? (int)len : 1, file);
}

static int sandbox(const struct rsipd *d, const char *user, struct sandbox_got *got,
	char *why, size_t why_size)
{
	unsigned int rights = plane_rights(&d->plane);
	unsigned int run = rights != 0 ? SANDBOX_EXEC : SANDBOX_READ; /* nft */
	const struct conf_files *f = &d->conf->security;
	char config[PATH_SIZE], socket[PATH_SIZE], keys[PATH_SIZE], cert[PATH_SIZE],
		key[PATH_SIZE], authority[PATH_SIZE];
	const struct sandbox_path paths[] = {
		{ config, SANDBOX_READ },
		{ keys, f->keys[0] != 0 ? SANDBOX_READ : 0 },
		{ cert, f->certificate[0] != 0 ? SANDBOX_READ : 0 },
		{ key, f->key[0] != 0 ? SANDBOX_READ : 0 },
		{ authority, f->authority[0] != 0 ? SANDBOX_READ : 0 },
		{ socket, SANDBOX_REMOVE },
		{ d->conf->state_dir, SANDBOX_MAKE }, /* the audit's files */
		{ PINS, rights & SANDBOX_BPF ? SANDBOX_MAKE : 0 },
		/* Name resolution, libraries, the loader; what a link in /etc leads to.
		 */
		{ "/etc", SANDBOX_READ },
		{ "/run/systemd/resolve", SANDBOX_READ },
		{ "/run/resolvconf", SANDBOX_READ },
		{ "/run/NetworkManager", SANDBOX_READ },
		{ "/usr", run },
		{ "/lib", run },
		{ "/lib64", run },
		{ "/sbin", run },
		{ "/proc", SANDBOX_READ },
		{ "/sys", SANDBOX_READ },
		{ "/dev/urandom", SANDBOX_READ },
		{ "/dev/null", SANDBOX_READ },
	};
	const struct sandbox s = { .rights = rights,
		.user = user,
		.confine = d->conf->sandbox,
		.paths = paths,
		.n_paths = sizeof(paths) / sizeof(paths[0]),
		.may = SANDBOX_WRITES | (rights != 0 ? SANDBOX_CHILDREN : 0U) };

	folder_of(d->config_file, config);
	folder_of(d->conf->control_socket, socket);
	folder_of(f->keys, keys);
	folder_of(f->certificate, cert);
	folder_of(f->key, key);
	folder_of(f->authority, authority);
	return sandbox_enter(&s, got, why, why_size);
}

/*
 * /sys/fs/bpf is usually root's alone, so the user cannot walk to our folder in it.  It
 * can be handed the folder, and go on from there.
 */
static void pins_hand_over(struct rsipd *d, const char *user)
{
	int fd;

	if (!(plane_rights(&d->plane) & SANDBOX_BPF))
		return;
	fd = open(PINS, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)sandbox_user_owns(user, PINS);
	plane_pins_are_at(&d->plane, fd, user);
}

int confine(struct rsipd *d, char *why, size_t why_size)
{
	struct sandbox_got got = { 0 };
	const char *user;
	int err = user_choose(d, &user, why, why_size);

	if (err != 0)
		return err;
	if (geteuid() == 0)
		user_takes(d, user != NULL ? user : "root");
	if (user != NULL)
		pins_hand_over(d, user);
	err = sandbox(d, user, &got, why, why_size);
	if (err != 0)
		return err;
	log_info("confined", "user=%s files=%s calls=%s", user != NULL ? user : "-",
		got.files ? "few" : "all", got.calls ? "few" : "all");
	return 0;
}
