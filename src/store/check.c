/*
 * Is the file one that may be used?  Answers for finding out without harm to the caller
 * or to the file, and for saying it so that an operator can go on.
 */
#include "store/check.h"

#include "base/err.h"
#include "store/record.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* A damaged tree can lead in a circle; no whole file takes so long to walk. */
#define WALK_MAX_S 120

struct finding {
	int err;
	char text[STORE_WHY];
};

int check_code(int rc)
{
	if (rc > 0)
		return -rc;
	switch (rc) {
	case 0:
		return 0;
	case MDB_NOTFOUND:
		return ERR_NOTFOUND;
	case MDB_VERSION_MISMATCH:
		return ERR_VERSION;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
		return ERR_NOSPACE;
	case MDB_PANIC:
		return -EIO;
	default:
		return ERR_CORRUPT;
	}
}

static int found(struct finding *f, int err, const char *what, const char *detail)
{
	f->err = err;
	(void)snprintf(f->text, sizeof(f->text), "%s%s%s", what,
		detail != NULL ? ": " : "", detail != NULL ? detail : "");
	return err;
}

static int check_meta(const MDB_val *key, const MDB_val *value, struct finding *f)
{
	struct record r = { .kind = RECORD_META };

	if (record_decode(key->mv_data, key->mv_size, value->mv_data, value->mv_size, 0,
		    NULL, &r) != 0 ||
		r.kind != RECORD_META)
		return found(f, ERR_CORRUPT,
			"its first record is not that of a lease file", NULL);
	if (r.meta.format > STORE_FORMAT) {
		char detail[80];

		(void)snprintf(detail, sizeof(detail),
			"format %u, and this program knows %u", r.meta.format,
			STORE_FORMAT);
		return found(f, ERR_VERSION, "it is of a newer format", detail);
	}
	return 0;
}

/* A count, then so many numbers of pages that lie in the file. */
static bool is_free_list(const MDB_val *value, size_t last)
{
	size_t n, page;

	if (value->mv_size < sizeof(n) || value->mv_size % sizeof(n) != 0)
		return false;
	memcpy(&n, value->mv_data, sizeof(n)); /* values need not be aligned */
	if (n >= value->mv_size / sizeof(n))
		return false;
	for (size_t i = 1; i <= n; i++) {
		memcpy(&page, (const char *)value->mv_data + i * sizeof(page),
			sizeof(page));
		if (page < 2 || page > last)
			return false;
	}
	return true;
}

/* The pages that LMDB would use next are listed in a tree of their own, database 0. */
static int walk_free(MDB_txn *txn, struct finding *f)
{
	MDB_envinfo info;
	MDB_val key, value;
	MDB_cursor *c;
	int rc = mdb_env_info(mdb_txn_env(txn), &info);

	if (rc == 0)
		rc = mdb_cursor_open(txn, 0, &c);
	while (rc == 0) {
		rc = mdb_cursor_get(c, &key, &value, MDB_NEXT);
		if (rc == 0 && !is_free_list(&value, info.me_last_pgno))
			return found(f, ERR_CORRUPT, "its list of free pages is damaged",
				NULL);
	}
	return rc == MDB_NOTFOUND ? 0 : found(f, check_code(rc), mdb_strerror(rc), NULL);
}

static int check_record(
	const MDB_val *key, const MDB_val *value, size_t n, struct finding *f)
{
	int err;

	/* The head first: it tells whether the others can be understood. */
	if (n == 0 && record_verify(key->mv_data, key->mv_size, value->mv_data,
			      value->mv_size) == 0)
		return check_meta(key, value, f);
	err = record_verify(key->mv_data, key->mv_size, value->mv_data, value->mv_size);
	if (err == ERR_VERSION)
		return found(f, err, "it has records of a newer format", NULL);
	if (err != 0)
		return found(f, err, "a record does not match its checksum", NULL);
	return 0;
}

static int walk_records(MDB_txn *txn, struct finding *f)
{
	MDB_val key, value;
	MDB_cursor *c;
	MDB_stat st;
	MDB_dbi dbi;
	size_t n = 0;
	int rc = mdb_dbi_open(txn, NULL, 0, &dbi);

	if (rc == 0)
		rc = mdb_stat(txn, dbi, &st);
	if (rc == 0)
		rc = mdb_cursor_open(txn, dbi, &c);
	if (rc != 0)
		return found(f, check_code(rc), mdb_strerror(rc), NULL);
	while ((rc = mdb_cursor_get(c, &key, &value, MDB_NEXT)) == 0) {
		int err = check_record(&key, &value, n, f);

		if (err != 0)
			return err;
		if (++n > st.ms_entries)
			break;
	}
	if (rc != MDB_NOTFOUND && rc != 0)
		return found(f, check_code(rc), mdb_strerror(rc), NULL);
	if (n != st.ms_entries || n == 0)
		return found(f, ERR_CORRUPT,
			"it does not hold as many records as it says", NULL);
	return 0;
}

static void walk(const char *path, struct finding *f)
{
	MDB_env *env;
	MDB_txn *txn;
	int rc = mdb_env_create(&env);

	if (rc == 0)
		rc = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK, 0);
	if (rc == 0)
		rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
	if (rc != 0) {
		(void)found(f, check_code(rc), mdb_strerror(rc), NULL);
		return;
	}
	if (walk_records(txn, f) == 0 && walk_free(txn, f) == 0)
		f->err = 0;
	/* No tidying: the process ends here. */
}

static _Noreturn void child(const char *path, int report)
{
	struct finding f = { .err = ERR_CORRUPT };
	struct rlimit none = { 0 };
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	/* Falling over a damaged page is expected here: quietly, and without a core. */
	if (null >= 0)
		(void)dup2(null, STDERR_FILENO);
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)signal(SIGSEGV, SIG_DFL);
	(void)signal(SIGBUS, SIG_DFL);
	(void)signal(SIGABRT, SIG_DFL);
	(void)signal(SIGALRM, SIG_DFL);
	(void)alarm(WALK_MAX_S);
	walk(path, &f);
	_exit(write(report, &f, sizeof(f)) == (ssize_t)sizeof(f) ? 0 : 1);
}

int check_file(const char *path, char *text)
{
	struct finding f = { .err = ERR_CORRUPT };
	int report[2], status = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC) != 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		child(path, report[1]);
	(void)close(report[1]);
	if (pid < 0) {
		(void)close(report[0]);
		return -errno;
	}
	do
		n = read(report[0], &f, sizeof(f));
	while (n < 0 && errno == EINTR);
	(void)close(report[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (n != (ssize_t)sizeof(f))
		(void)found(&f, ERR_CORRUPT, "its pages do not lead to each other", NULL);
	(void)snprintf(text, STORE_WHY, "%s", f.text);
	return f.err;
}

void check_explain(
	int err, const char *path, const char *detail, char *why, size_t why_size)
{
	const char *next;

	switch (err) {
	case ERR_EXISTS:
		(void)snprintf(why, why_size,
			"%s is in use by another process; stop that rsipd first, or give "
			"this one a "
			"state-dir of its own",
			path);
		return;
	case ERR_VERSION:
		next = "start the version that wrote it, or move the file away to start "
		       "without "
		       "its leases; it has not been changed";
		break;
	case ERR_CORRUPT:
		next = "put back a copy, or move the file away to start without its "
		       "leases; it "
		       "has not been changed";
		break;
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		next = "make room on its file system";
		break;
	case -EROFS:
	case -EACCES:
	case -EPERM:
		next = "it must be writable for rsipd, and so must its directory";
		break;
	case -ENOENT:
	case -ENOTDIR:
		next = "the state-dir must be a directory";
		break;
	default:
		next = "see to its disk and start again";
		break;
	}
	(void)snprintf(why, why_size, "%s cannot be used: %s; %s", path,
		detail[0] != 0 ? detail : err_text(err), next);
}
