#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * What a daemon may do once everything is open, so that who takes over its message parser
 * has not much: no more capabilities than `rights`, no way back (the bounding set too
 * where it may be changed), nothing gained by an exec, another user, no files but those
 * of `paths`, no system calls but those that serving takes.  Programs that it starts are
 * bound in the same way.
 */
enum sandbox_right {
	SANDBOX_NET_ADMIN = 1 << 0,
	SANDBOX_NET_RAW = 1 << 1,
	SANDBOX_BPF = 1 << 2, /* CAP_BPF and CAP_PERFMON: to load programs again */
	/* Of a host's daemon: namespaces of others, files of whoever called it. */
	SANDBOX_NAMESPACES = 1 << 3, /* CAP_SYS_ADMIN, CAP_SYS_PTRACE; setns() */
	SANDBOX_READ_ANY = 1 << 4,   /* CAP_DAC_READ_SEARCH */
	SANDBOX_LOW_PORTS = 1 << 5,  /* CAP_NET_BIND_SERVICE: the DHCP client's port */
};

enum sandbox_access {
	SANDBOX_READ = 1 << 0,
	SANDBOX_EXEC = 1 << 1,   /* and read */
	SANDBOX_REMOVE = 1 << 2, /* files out of this directory */
	SANDBOX_MAKE = 1 << 3,   /* everything below: make, write, remove */
};

struct sandbox_path {
	const char *path; /* a file, or a directory with all below; may be missing */
	unsigned int access;
};

/* What a program does beside serving. */
enum sandbox_may {
	SANDBOX_CHILDREN = 1 << 0, /* start programs */
	SANDBOX_WRITES = 1 << 1,   /* open files to write, where `paths` let it */
	SANDBOX_RENAMES = 1 << 2,  /* and put them into the place of others */
};

struct sandbox {
	unsigned int rights;
	const char *user; /* NULL: who we are */
	/* Files by Landlock (Linux 5.13 and later), calls by seccomp; false: all. */
	bool confine;
	bool any_files; /* leave files alone: they are named by whoever calls */
	const struct sandbox_path *paths;
	size_t n_paths;
	unsigned int may; /* SANDBOX_CHILDREN, SANDBOX_WRITES */
};

/* What there is of it: a kernel may lack Landlock, a sanitizer needs every call. */
struct sandbox_got {
	bool user, files, calls;
};

#define SANDBOX_WHY 256

/*
 * For the whole process; files only for the calling thread and those that it starts, so
 * before there are others.  0, or a negative code with a sentence in why: the caller must
 * not go on then.
 */
int sandbox_enter(
	const struct sandbox *s, struct sandbox_got *got, char *why, size_t why_size);

/* Those of the rights that we have, whole. */
unsigned int sandbox_held(unsigned int rights);

/*
 * Is there a user of that name, and may it read this file, or reach this directory?  Else
 * why not.
 */
bool sandbox_user_reads(const char *user, const char *path, char *why, size_t why_size);
bool sandbox_user_reaches(const char *user, const char *path, char *why, size_t why_size);
/* Give a file or directory to that user; 0 or -errno, -ENOENT when either is missing. */
int sandbox_user_owns(const char *user, const char *path);

/*
 * The parts, for sandbox_enter() and the tests; ERR_UNSUPPORTED where not to be had.
 * Rules are made while we can still walk to every path; sandbox_files() takes them over.
 */
int sandbox_rules(const struct sandbox_path *paths, size_t n, int *rules);
int sandbox_files(int rules);
int sandbox_calls(unsigned int rights, unsigned int may);
