/*
 * The lease store on LMDB.  Answers for: what store_commit() returned 0 for is on the
 * disk whatever happens next, a failed commit loses nothing of the batch, and no file is
 * ever overwritten that could not be read.  The bytes are record.c's, whether a file is
 * sound is check.c's.
 *
 * A batch lives in memory until it is committed, in one transaction (very long ones in
 * several: an answer leaves only after the last).  There are two: one is filled, and the
 * other one written, which another thread may do.  LMDB copies on write and syncs, so a
 * process that is killed, or a machine that stops, finds the last commit.  MDB_WRITEMAP
 * would be faster but turns a full disk into SIGBUS.
 */
#include "store/store.h"

#include "base/err.h"
#include "store/check.h"
#include "store/internal.h"
#include "store/record.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define FILE_MODE 0600
/* The map is address space, not memory and not disk. */
#define MAP_STEP ((size_t)256 * 1024 * 1024)
/* Records in one transaction: keeps its dirty pages far below what LMDB can hold. */
#define TXN_RECORDS 16384
/* What may wait while commits fail; then store_apply() refuses. */
#define BATCH_BYTES ((size_t)64 * 1024 * 1024)

/* One record of the batch; its value lies in store.bytes. */
struct op {
	struct record_key key;
	bool gone;
	size_t at, len;
};

struct batch {
	struct op *ops;
	size_t n_ops, size_ops;
	size_t done; /* committed by an earlier transaction of a long batch */
	struct record_bytes bytes;
};

struct store {
	char *path;
	int lock; /* the file itself, opened once more to be locked */
	struct store_clock clock;
	struct record_meta meta;
	MDB_env *env;
	MDB_dbi dbi;
	size_t map_size, map_step;
	struct batch fresh;  /* being filled */
	struct batch flight; /* being written, or left over by a write that failed */
	bool writing;        /* between store_begin() and store_end() */
	struct record_meta flight_meta;
	char error[STORE_WHY];
};

/* 32 hexadecimal digits with dashes between; as an ID any 16 bytes of it would do. */
static bool boot_id_read(uint8_t boot_id[static 16])
{
	char text[37] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t got = 0;
	size_t n = 0;

	if (fd >= 0) {
		got = read(fd, text, sizeof(text) - 1);
		(void)close(fd);
	}
	memset(boot_id, 0, 16);
	for (ssize_t i = 0; i < got; i++) {
		char digit[2] = { text[i], 0 };

		if (text[i] == '-' || n >= 32)
			continue;
		boot_id[n / 2] = (uint8_t)((unsigned long)boot_id[n / 2] << 4 |
					   strtoul(digit, NULL, 16));
		n++;
	}
	return n == 32;
}

static int system_read(struct store_clock *self, struct store_time *now)
{
	struct timespec boot, wall;

	memset(now, 0, sizeof(*now));
	if (!self->has_boot_id)
		self->has_boot_id = boot_id_read(self->boot_id);
	if (!self->has_boot_id)
		return ERR_UNSUPPORTED;
	if (clock_gettime(CLOCK_BOOTTIME, &boot) != 0 ||
		clock_gettime(CLOCK_REALTIME, &wall) != 0)
		return -errno;
	memcpy(now->boot_id, self->boot_id, sizeof(now->boot_id));
	now->boot_ms = (uint64_t)boot.tv_sec * 1000 + (uint64_t)boot.tv_nsec / 1000000;
	now->wall_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000;
	return 0;
}

struct store_clock store_clock_system(void)
{
	return (struct store_clock){ .read = system_read };
}

/* --- opening --------------------------------------------------------------------------
 */

/* Where the time line stands now: see store.h. */
static void line_continue(struct record_meta *m, const struct store_time *now)
{
	bool same = memcmp(m->boot_id, now->boot_id, sizeof(m->boot_id)) == 0;
	uint64_t line_ms = now->boot_ms + (uint64_t)m->offset_ms;

	if (!same)
		line_ms = m->line_ms +
			  (now->wall_ms > m->wall_ms ? now->wall_ms - m->wall_ms : 0);
	else if (line_ms < m->line_ms)
		line_ms = m->line_ms; /* a machine put back to a snapshot: never backwards
				       */
	memcpy(m->boot_id, now->boot_id, sizeof(m->boot_id));
	m->offset_ms = (int64_t)(line_ms - now->boot_ms);
	m->line_ms = line_ms;
	m->wall_ms = now->wall_ms;
}

/* An LMDB result. */
static int meta_put(
	struct record_meta *m, struct store_clock *clock, MDB_txn *txn, MDB_dbi dbi)
{
	struct record_key key = record_key_meta();
	struct record_bytes bytes = { 0 };
	struct store_time now;
	MDB_val k, v;
	int rc = ENOMEM;

	if (clock->read(clock, &now) != 0)
		return EIO;
	line_continue(m, &now);
	if (record_meta_encode(&bytes, &key, m) == 0) {
		k = (MDB_val){ key.len, key.bytes };
		v = (MDB_val){ bytes.len, bytes.at };
		rc = mdb_put(txn, dbi, &k, &v, 0);
	}
	free(bytes.at);
	return rc;
}

static int dir_sync(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = strndup(path, slash != NULL ? (size_t)(slash - path) + 1 : 0);
	int fd, err = 0;

	if (dir == NULL)
		return -ENOMEM;
	fd = open(dir[0] != 0 ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		err = -errno;
	if (fd >= 0)
		(void)close(fd);
	free(dir);
	return err;
}

/* A file with nothing but its head, written through and closed again. */
static int file_write(const char *path, struct store_clock *clock)
{
	struct record_meta m = { .format = STORE_FORMAT };
	MDB_txn *txn = NULL;
	MDB_env *env;
	MDB_dbi dbi;
	int err = check_code(mdb_env_create(&env));

	if (err != 0)
		return err;
	err = check_code(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, FILE_MODE));
	if (err == 0)
		err = check_code(mdb_txn_begin(env, NULL, 0, &txn));
	if (err == 0)
		err = check_code(mdb_dbi_open(txn, NULL, 0, &dbi));
	if (err == 0)
		err = check_code(meta_put(&m, clock, txn, dbi));
	if (err == 0)
		err = check_code(mdb_txn_commit(txn));
	else if (txn != NULL)
		mdb_txn_abort(txn);
	mdb_env_close(env);
	return err;
}

/*
 * Made beside and put in place whole, never over another: so an empty or half-written
 * leases.mdb is always damage and never "new".
 */
static int file_make(const char *path, struct store_clock *clock)
{
	char *fresh;
	int err;

	if (asprintf(&fresh, "%s.%ld.new", path, (long)getpid()) < 0)
		return -ENOMEM;
	(void)unlink(fresh); /* of a process of that number that was killed here */
	err = file_write(fresh, clock);
	if (err == 0 && link(fresh, path) != 0 && errno != EEXIST)
		err = -errno;
	if (err == 0)
		err = dir_sync(path);
	(void)unlink(fresh);
	free(fresh);
	return err;
}

/* The lock goes with the process however it ends. */
static int file_lock(const char *path, int *lock)
{
	struct stat st;
	int err = 0;
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_size == 0)
		err = ERR_CORRUPT;
	else if ((st.st_mode & 0222) == 0)
		err = -EACCES; /* root could write it, but somebody did not want that */
	else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		err = errno == EWOULDBLOCK ? ERR_EXISTS : -errno;
	if (err != 0)
		(void)close(fd);
	else
		*lock = fd;
	return err;
}

static int meta_read(struct store *s)
{
	struct record_key key = record_key_meta();
	MDB_val k = { key.len, key.bytes }, v;
	struct record r;
	MDB_txn *txn;
	int err = check_code(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn));

	if (err != 0)
		return err;
	err = check_code(mdb_dbi_open(txn, NULL, 0, &s->dbi));
	if (err == 0)
		err = check_code(mdb_get(txn, s->dbi, &k, &v));
	if (err == 0)
		err = record_decode(
			key.bytes, key.len, v.mv_data, v.mv_size, 0, NULL, &r);
	if (err == 0)
		s->meta = r.meta;
	/* Committed for the database handle's sake; nothing was written. */
	if (err == 0)
		err = check_code(mdb_txn_commit(txn));
	else
		mdb_txn_abort(txn);
	return err == ERR_NOTFOUND ? ERR_CORRUPT : err;
}

static int env_open(struct store *s)
{
	struct store_time now;
	struct stat st;
	int err;

	if (fstat(s->lock, &st) != 0)
		return -errno;
	s->map_size = ((size_t)st.st_size / s->map_step + 1) * s->map_step;
	err = check_code(mdb_env_create(&s->env));
	if (err == 0)
		err = check_code(mdb_env_set_mapsize(s->env, s->map_size));
	if (err == 0)
		err = check_code(mdb_env_open(s->env, s->path, MDB_NOSUBDIR, FILE_MODE));
	if (err == 0)
		err = meta_read(s);
	if (err == 0)
		err = s->clock.read(&s->clock, &now);
	if (err == 0)
		line_continue(&s->meta, &now);
	return err;
}

int store_open(const char *dir, const struct store_clock *clock, struct store **store,
	char *why, size_t why_size)
{
	struct store *s = calloc(1, sizeof(*s));
	char detail[STORE_WHY] = "";
	int err = 0;

	if (s == NULL)
		return -ENOMEM;
	s->lock = -1;
	s->clock = *clock;
	s->map_step = MAP_STEP;
	if (asprintf(&s->path, "%s/" STORE_FILE, dir) < 0) {
		free(s);
		return -ENOMEM;
	}
	if (access(s->path, F_OK) != 0 && errno == ENOENT)
		err = file_make(s->path, &s->clock);
	if (err == 0)
		err = file_lock(s->path, &s->lock);
	if (err == 0)
		err = check_file(s->path, detail);
	if (err == 0)
		err = env_open(s);
	if (err != 0) {
		check_explain(err, s->path, detail, why, why_size);
		store_close(s);
		return err;
	}
	*store = s;
	return 0;
}

void store_close(struct store *s)
{
	if (s == NULL)
		return;
	if (s->env != NULL)
		mdb_env_close(s->env);
	if (s->lock >= 0)
		(void)close(s->lock);
	free(s->fresh.ops);
	free(s->fresh.bytes.at);
	free(s->flight.ops);
	free(s->flight.bytes.at);
	free(s->path);
	free(s);
}

void store_set_map_step(struct store *s, size_t bytes)
{
	s->map_step = bytes;
	if (mdb_env_set_mapsize(s->env, bytes) == 0)
		s->map_size = bytes;
}

const char *store_error(const struct store *s)
{
	return s->error;
}

/* --- writing --------------------------------------------------------------------------
 */

static int ops_reserve(struct batch *b)
{
	size_t size = b->size_ops > 0 ? b->size_ops * 2 : 64;
	struct op *ops;

	if (b->n_ops < b->size_ops)
		return 0;
	ops = realloc(b->ops, size * sizeof(*ops));
	if (ops == NULL)
		return -ENOMEM;
	b->ops = ops;
	b->size_ops = size;
	return 0;
}

static int op_encode(
	struct store *s, const struct effect *e, const struct record_key *key)
{
	int64_t offset_ms = s->meta.offset_ms;

	switch (e->persist.kind) {
	case PERSIST_REGISTRATION:
		return record_registration_encode(
			&s->fresh.bytes, key, e->persist.reg, offset_ms);
	case PERSIST_LEASE:
		return record_lease_encode(
			&s->fresh.bytes, key, e->persist.lease, offset_ms);
	case PERSIST_RESTING:
		return record_resting_encode(&s->fresh.bytes, key, e->persist.resting);
	}
	return ERR_RANGE;
}

static struct record_key op_key(const struct store *s, const struct effect *e)
{
	switch (e->persist.kind) {
	case PERSIST_REGISTRATION:
		return record_key_registration(e->persist.reg->client_id);
	case PERSIST_LEASE:
		return record_key_lease(e->persist.lease->bind_id);
	case PERSIST_RESTING:
		break;
	}
	return record_key_resting(e->persist.resting, s->meta.offset_ms);
}

static size_t batch_size(const struct batch *b)
{
	return b->bytes.len + b->n_ops * sizeof(*b->ops);
}

int store_apply(struct store *s, const struct effect *persist)
{
	struct batch *b = &s->fresh;
	struct op op = { .gone = persist->persist.gone, .at = b->bytes.len };
	int err;

	if (batch_size(b) + batch_size(&s->flight) + sizeof(op) > BATCH_BYTES)
		return ERR_NOSPACE;
	err = ops_reserve(b);
	if (err != 0)
		return err;
	op.key = op_key(s, persist);
	if (!op.gone)
		err = op_encode(s, persist, &op.key);
	if (err != 0)
		return err;
	op.len = b->bytes.len - op.at;
	b->ops[b->n_ops++] = op;
	return 0;
}

static size_t batch_left(const struct batch *b)
{
	return b->n_ops - b->done;
}

size_t store_pending(const struct store *s)
{
	return batch_left(&s->fresh) + batch_left(&s->flight);
}

static void batch_empty(struct batch *b)
{
	b->n_ops = 0;
	b->done = 0;
	b->bytes.len = 0;
}

void store_abort(struct store *s)
{
	assert(!s->writing);
	batch_empty(&s->fresh);
	batch_empty(&s->flight);
}

static int op_write(struct store *s, MDB_txn *txn, struct op *op)
{
	MDB_val k = { op->key.len, op->key.bytes }, v;
	int rc;

	if (op->gone) {
		rc = mdb_del(txn, s->dbi, &k, NULL);
		return rc == MDB_NOTFOUND ? 0 : rc;
	}
	v = (MDB_val){ op->len, s->flight.bytes.at + op->at };
	return mdb_put(txn, s->dbi, &k, &v, 0);
}

/* One transaction with the records up to `end`; an LMDB result. */
static int txn_write(struct store *s, size_t end)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(s->env, NULL, 0, &txn);

	if (rc != 0)
		return rc;
	for (size_t i = s->flight.done; i < end && rc == 0; i++)
		rc = op_write(s, txn, &s->flight.ops[i]);
	if (rc == 0 && meta_put(&s->flight_meta, &s->clock, txn, s->dbi) != 0)
		rc = MDB_MAP_FULL; /* the head was there before: only its copy lacks room
				    */
	if (rc != 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

static int chunk_commit(struct store *s, size_t end)
{
	int rc;

	while ((rc = txn_write(s, end)) == MDB_MAP_FULL) {
		rc = mdb_env_set_mapsize(s->env, s->map_size + s->map_step);
		if (rc != 0)
			break;
		s->map_size += s->map_step;
	}
	return rc;
}

/* LMDB says EIO for a write that ended short, which on a full disk is what happens first.
 */
static int commit_failed(struct store *s, int rc)
{
	struct statvfs fs;
	int err = check_code(rc);

	if (err == -EIO && fstatvfs(s->lock, &fs) == 0 && fs.f_bavail == 0)
		err = -ENOSPC;
	if (rc == MDB_PANIC)
		(void)snprintf(s->error, sizeof(s->error),
			"%s cannot be written after an error of its disk; see to the "
			"disk, then "
			"restart rsipd",
			s->path);
	else
		(void)snprintf(s->error, sizeof(s->error),
			"leases cannot be written to %s: %s; no request is answered "
			"until that is "
			"mended",
			s->path, rc < 0 ? mdb_strerror(rc) : err_text(err));
	return err;
}

void store_begin(struct store *s)
{
	struct batch b = s->flight;

	assert(!s->writing);
	s->writing = true;
	s->flight_meta = s->meta;
	/* What a failed write left over goes first. */
	if (batch_left(&b) > 0)
		return;
	s->flight = s->fresh;
	s->fresh = b;
	batch_empty(&s->fresh);
}

int store_write(struct store *s)
{
	struct batch *b = &s->flight;

	do {
		size_t left = batch_left(b);
		size_t end = b->done + (left < TXN_RECORDS ? left : TXN_RECORDS);
		int rc = chunk_commit(s, end);

		if (rc != 0)
			return rc;
		b->done = end;
	} while (batch_left(b) > 0);
	return 0;
}

int store_end(struct store *s, int result)
{
	s->writing = false;
	s->meta = s->flight_meta;
	if (result != 0)
		return commit_failed(s, result);
	batch_empty(&s->flight);
	return 0;
}

static int batch_commit(struct store *s)
{
	store_begin(s);
	return store_end(s, store_write(s));
}

int store_commit(struct store *s)
{
	int err = 0;

	while (err == 0 && store_pending(s) > 0)
		err = batch_commit(s);
	return err;
}

int store_mark(struct store *s)
{
	return batch_commit(s);
}

/* --- loading --------------------------------------------------------------------------
 */

static int record_hand_over(const struct store_callbacks *cb, const struct record *r,
	size_t **counter, struct store_loaded *loaded)
{
	switch (r->kind) {
	case RECORD_REGISTRATION:
		*counter = &loaded->registrations;
		return cb->registration(cb->ctx, &r->registration);
	case RECORD_LEASE:
		*counter = &loaded->leases;
		return cb->lease(cb->ctx, &r->lease);
	case RECORD_RESTING:
		*counter = &loaded->resting;
		return cb->resting(cb->ctx, &r->resting);
	case RECORD_META:
		break;
	}
	return ERR_CORRUPT; /* the only head is the one that was skipped */
}

static int record_drop(struct store *s, const MDB_val *k)
{
	struct batch *b = &s->fresh;
	struct op op = { .gone = true, .at = b->bytes.len };
	int err = ops_reserve(b);

	if (err != 0)
		return err;
	memcpy(op.key.bytes, k->mv_data, k->mv_size); /* decoded: no longer than a key */
	op.key.len = k->mv_size;
	b->ops[b->n_ops++] = op;
	return 0;
}

/*
 * A resting record stands where its end's record_key_resting() will look for it: one of
 * an older version, or whose time lies before this boot, is moved there.
 */
static int resting_move(struct store *s, const MDB_val *k, const struct resting *r)
{
	const struct effect e = { .kind = EFFECT_PERSIST,
		.persist = { .kind = PERSIST_RESTING, .resting = r } };
	struct record_key key = op_key(s, &e);
	int err;

	if (k->mv_size == key.len && memcmp(k->mv_data, key.bytes, key.len) == 0)
		return 0;
	err = record_drop(s, k);
	return err == 0 ? store_apply(s, &e) : err;
}

static int load_walk(struct store *s, MDB_cursor *c, const struct store_callbacks *cb,
	struct store_loaded *loaded)
{
	struct record_ranges ranges = { 0 };
	MDB_val k, v;
	int err = check_code(mdb_cursor_get(c, &k, &v, MDB_FIRST)); /* the head */

	while (err == 0) {
		struct record r;
		size_t *counter;

		err = check_code(mdb_cursor_get(c, &k, &v, MDB_NEXT));
		if (err == ERR_NOTFOUND) {
			err = 0;
			break;
		}
		if (err == 0)
			err = record_decode(k.mv_data, k.mv_size, v.mv_data, v.mv_size,
				s->meta.offset_ms, &ranges, &r);
		if (err != 0)
			break;
		err = record_hand_over(cb, &r, &counter, loaded);
		if (err == 0) {
			++*counter;
			if (r.kind == RECORD_RESTING)
				err = resting_move(s, &k, &r.resting);
		} else if (err == ERR_RANGE || err == ERR_EXISTS || err == ERR_NOTFOUND) {
			loaded->dropped++;
			err = record_drop(s, &k);
		}
	}
	free(ranges.at);
	return err;
}

int store_load(
	struct store *s, const struct store_callbacks *cb, struct store_loaded *loaded)
{
	struct store_loaded counts = { 0 };
	MDB_cursor *c;
	MDB_txn *txn;
	int err = check_code(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn));

	if (err != 0)
		return err;
	err = check_code(mdb_cursor_open(txn, s->dbi, &c));
	if (err == 0) {
		err = load_walk(s, c, cb, &counts);
		mdb_cursor_close(c);
	}
	mdb_txn_abort(txn);
	if (err == 0)
		err = store_commit(s);
	if (err == 0)
		*loaded = counts;
	else if (s->error[0] == 0)
		check_explain(err, s->path, "", s->error, sizeof(s->error));
	return err;
}
