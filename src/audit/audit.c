/*
 * Writing the audit.  Answers for records that are whole lines, in files that together
 * stay within their bounds, and for a failure that loses nothing as long as memory may
 * hold what waits.
 *
 * A file is at most one part in FILES of what all may take, so that what goes when a new
 * one begins is no more than that.
 */
#include "audit/audit.h"

#include "audit/files.h"
#include "audit/line.h"
#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_MODE 0600
#define FILES     16
#define FILE_MAX  ((uint64_t)64 * 1024 * 1024)
/* What may wait in memory while writing fails. */
#define WAITING_MAX ((size_t)16 * 1024 * 1024)

struct audit {
	struct audit_conf conf, wanted; /* wanted: from the next batch on */
	int dir_fd, fd;
	uint32_t number;  /* of the file being written */
	uint64_t written; /* bytes in it, all of them whole lines */
	struct line fresh, flight;
	size_t n_fresh, n_flight; /* records in them */
	uint64_t swept_s;         /* when old files were last looked for */
	uint64_t bytes;           /* of all files, by the writer */
	bool writing;
	struct audit_counters counters;
	char error[AUDIT_WHY];
};

struct audit_time audit_time_now(uint64_t now_ms)
{
	struct timespec wall = { 0 };

	(void)clock_gettime(CLOCK_REALTIME, &wall); /* every Linux has it */
	return (struct audit_time){ now_ms,
		(uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000 };
}

uint64_t audit_wall(const struct audit_time *t, uint64_t ms)
{
	int64_t age = (int64_t)(t->now_ms - ms);

	if (age < 0)
		return t->wall_ms + (uint64_t)-age;
	return (uint64_t)age < t->wall_ms ? t->wall_ms - (uint64_t)age : 0;
}

/* --- files ----------------------------------------------------------------------------
 */

static uint64_t size_of(const struct audit *a, uint32_t number, time_t *changed)
{
	char name[FILES_NAME_MAX];
	struct stat st;

	if (fstatat(a->dir_fd, files_name(number, name), &st, AT_SYMLINK_NOFOLLOW) != 0)
		return 0;
	*changed = st.st_mtime;
	return (uint64_t)st.st_size;
}

static void file_remove(const struct audit *a, uint32_t number)
{
	char name[FILES_NAME_MAX];

	(void)unlinkat(a->dir_fd, files_name(number, name), 0); /* tried again later */
}

/* What is over the bounds goes, the oldest first; never the file being written. */
static void sweep(struct audit *a)
{
	uint64_t now_s = (uint64_t)time(NULL), total = 0, old = 0;
	struct files files;
	size_t i;

	if (files_list(a->dir_fd, &files) != 0)
		return;
	for (i = 0; i < files.n; i++) {
		time_t changed = 0;

		total += size_of(a, files.numbers[i], &changed);
	}
	for (i = 0; i < files.n && files.numbers[i] != a->number; i++) {
		time_t changed = 0;
		uint64_t size = size_of(a, files.numbers[i], &changed);
		uint64_t age_s =
			now_s > (uint64_t)changed ? now_s - (uint64_t)changed : 0;

		if (total - old <= a->conf.max_bytes && age_s <= a->conf.keep_s)
			break;
		file_remove(a, files.numbers[i]);
		old += size;
	}
	a->bytes = total - old;
	a->swept_s = now_s;
	files_fini(&files);
}

static int file_open(struct audit *a, uint32_t number)
{
	char name[FILES_NAME_MAX];
	int fd = openat(a->dir_fd, files_name(number, name),
		O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);

	if (fd < 0)
		return -errno;
	if (a->fd >= 0)
		(void)close(a->fd);
	a->fd = fd;
	a->number = number;
	a->written = 0;
	return 0;
}

/* The end of the last whole line. */
static int whole_end(int fd, off_t size, off_t *end)
{
	char piece[4096];

	while (size > 0) {
		off_t from =
			size > (off_t)sizeof(piece) ? size - (off_t)sizeof(piece) : 0;
		ssize_t n = pread(fd, piece, (size_t)(size - from), from);
		const char *at;

		if (n <= 0)
			return n < 0 ? -errno : ERR_CORRUPT;
		at = memrchr(piece, '\n', (size_t)n);
		if (at != NULL) {
			*end = from + (at - piece) + 1;
			return 0;
		}
		size = from;
	}
	*end = 0;
	return 0;
}

/* Go on with the newest file; what a stopped machine left half written is cut off. */
static int file_resume(struct audit *a, uint32_t number)
{
	struct stat st;
	off_t end = 0;
	int err = file_open(a, number);

	if (err != 0)
		return err;
	if (fstat(a->fd, &st) != 0)
		return -errno;
	err = whole_end(a->fd, st.st_size, &end);
	if (err == 0 && end < st.st_size && ftruncate(a->fd, end) != 0)
		err = -errno;
	a->written = (uint64_t)end;
	return err;
}

int audit_open(
	const struct audit_conf *conf, struct audit **audit, char *why, size_t why_size)
{
	struct audit *a = calloc(1, sizeof(*a));
	struct files files = { 0 };
	int err = 0;

	if (a == NULL)
		return -ENOMEM;
	a->conf = a->wanted = *conf;
	a->fd = -1;
	a->dir_fd = open(conf->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a->dir_fd < 0)
		err = -errno;
	if (err == 0)
		err = files_list(a->dir_fd, &files);
	if (err == 0)
		err = files.n > 0 ? file_resume(a, files.numbers[files.n - 1])
				  : file_open(a, 1);
	files_fini(&files);
	if (err != 0) {
		(void)snprintf(why, why_size,
			"the audit files of %s cannot be written: %s; mend that, or name "
			"another state-dir",
			conf->dir, err_text(err));
		audit_close(a);
		return err;
	}
	sweep(a);
	a->counters.bytes = a->bytes;
	*audit = a;
	return 0;
}

void audit_set_limits(struct audit *a, uint64_t max_bytes, uint32_t keep_s)
{
	a->wanted.max_bytes = max_bytes;
	a->wanted.keep_s = keep_s;
}

void audit_close(struct audit *a)
{
	if (a == NULL)
		return;
	if (a->fd >= 0)
		(void)close(a->fd);
	if (a->dir_fd >= 0)
		(void)close(a->dir_fd);
	free(a->fresh.at);
	free(a->flight.at);
	free(a);
}

/* --- the batch ------------------------------------------------------------------------
 */

int audit_add(struct audit *a, const struct lease *l, enum end_reason reason,
	uint64_t ended_ms, const struct audit_time *t)
{
	int err = ERR_NOSPACE;

	if (a->fresh.len + a->flight.len < WAITING_MAX)
		err = line_append(&a->fresh, l, reason, audit_wall(t, l->granted_ms),
			audit_wall(t, ended_ms));
	if (err == 0)
		a->n_fresh++;
	else
		a->counters.lost++;
	return err;
}

bool audit_pending(const struct audit *a)
{
	return a->fresh.len + a->flight.len > 0;
}

/* What a failed write left over goes first; without memory for both, alone. */
static void leftover_join(struct audit *a)
{
	if (line_reserve(&a->flight, a->fresh.len) != 0)
		return;
	if (a->fresh.len > 0)
		memcpy(a->flight.at + a->flight.len, a->fresh.at, a->fresh.len);
	a->flight.len += a->fresh.len;
	a->n_flight += a->n_fresh;
	a->fresh.len = 0;
	a->n_fresh = 0;
}

void audit_begin(struct audit *a)
{
	struct line empty = a->flight;

	assert(!a->writing);
	a->writing = true;
	a->conf = a->wanted;
	if (a->flight.len > 0) {
		leftover_join(a);
		return;
	}
	a->flight = a->fresh;
	a->n_flight = a->n_fresh;
	a->fresh = empty;
	a->fresh.len = 0;
	a->n_fresh = 0;
}

static int write_bytes(const struct audit *a)
{
	size_t done = 0;

	while (done < a->flight.len) {
		ssize_t n = write(a->fd, a->flight.at + done, a->flight.len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		done += (size_t)n;
	}
	return a->conf.sync && fdatasync(a->fd) != 0 ? -errno : 0;
}

static int write_all(struct audit *a)
{
	int err = write_bytes(a);

	/* Whole lines only, and each once: the batch is written anew, if it cannot be
	 * taken back into another file. */
	if (err != 0 && ftruncate(a->fd, (off_t)a->written) != 0)
		a->written = FILE_MAX;
	return err;
}

/* Old files are looked for with each new one, and once an hour. */
#define SWEEP_S 3600

int audit_write(struct audit *a)
{
	uint64_t most = a->conf.max_bytes / FILES;
	uint64_t part = most < FILE_MAX ? most : FILE_MAX;
	int err = 0;

	if (a->flight.len == 0)
		return 0;
	if (a->written > 0 && a->written + a->flight.len > part) { /* the next file */
		err = file_open(a, a->number + 1);
		a->swept_s = 0;
	}
	if (err == 0)
		err = write_all(a);
	if (err != 0)
		return err;
	a->written += a->flight.len;
	a->bytes += a->flight.len;
	if ((uint64_t)time(NULL) > a->swept_s + SWEEP_S)
		sweep(a);
	return 0;
}

int audit_end(struct audit *a, int result)
{
	a->writing = false;
	a->counters.bytes = a->bytes;
	if (result != 0) {
		a->counters.errors++;
		(void)snprintf(a->error, sizeof(a->error),
			"the audit in %s cannot be written: %s; records wait in memory, "
			"see to the disk",
			a->conf.dir, err_text(result));
		return result;
	}
	a->counters.records += a->n_flight;
	a->flight.len = 0;
	a->n_flight = 0;
	a->error[0] = 0;
	return 0;
}

int audit_flush(struct audit *a)
{
	int err = 0;

	while (err == 0 && audit_pending(a)) {
		audit_begin(a);
		err = audit_end(a, audit_write(a));
	}
	return err;
}

const char *audit_error(const struct audit *a)
{
	return a->error;
}

const struct audit_counters *audit_counters(const struct audit *a)
{
	return &a->counters;
}
