#pragma once

#include "engine/effect.h"

/*
 * What must survive a restart: registrations, leases and resting tuples, in the LMDB file
 * leases.mdb of the state directory.
 *
 * Records hold times on the store's own time line, which runs with the boot clock while
 * the machine runs and bridges a reboot by the wall clock (never backwards).  So a step
 * of the wall clock while the machine runs changes nothing, and no lease comes back with
 * more time left than it had at the last commit.
 *
 * A turn of the loop: store_apply() for each EFFECT_PERSIST, one store_commit(), then the
 * replies of that turn may leave.  One thread only, but for store_write().
 */

#define STORE_FILE "leases.mdb"
#define STORE_WHY  512 /* room that every sentence written to `why` fits in */

struct store;

struct store_time {
	uint64_t boot_ms; /* CLOCK_BOOTTIME: the engine's clock */
	uint64_t wall_ms; /* CLOCK_REALTIME since 1970 */
	uint8_t boot_id[16];
};

/* Where the store reads the time: store_clock_system(), or a test's own. */
struct store_clock {
	int (*read)(struct store_clock *self, struct store_time *now);
	void *ctx;
	/* Of the system's clock: read once, since a process lives in one boot. */
	uint8_t boot_id[16];
	bool has_boot_id;
};
struct store_clock store_clock_system(void);

/*
 * Opens leases.mdb in dir, or makes it when there is none; dir must exist.  The clock is
 * copied.  A file that another process uses (ERR_EXISTS), of a newer format
 * (ERR_VERSION), that does not verify (ERR_CORRUPT), or that cannot be written (-EACCES,
 * -EROFS, -ENOSPC) is left as it is, and one sentence with the file, the cause and the
 * next step goes to why.
 */
int store_open(const char *dir, const struct store_clock *clock, struct store **store,
	char *why, size_t why_size);
/* Commits nothing: what was applied and not committed is gone.  NULL is allowed. */
void store_close(struct store *s);

/* Each returns 0 to keep the record, or what engine_restore_*() said. */
struct store_callbacks {
	void *ctx;
	int (*registration)(void *ctx, const struct registration *r);
	int (*lease)(void *ctx, const struct lease *l);
	int (*resting)(void *ctx, const struct resting *r);
};
struct store_loaded {
	size_t registrations, leases, resting; /* taken */
	size_t dropped; /* refused as past or clashing, and now gone from the file */
};

/*
 * Hand every record to the callbacks, all registrations first, then leases, then resting
 * tuples, with times on the engine's clock; peers come back with conn 0, bindings 0.
 * Records refused with ERR_RANGE, ERR_EXISTS or ERR_NOTFOUND are deleted; another error
 * ends the walk and is returned.
 */
int store_load(
	struct store *s, const struct store_callbacks *cb, struct store_loaded *loaded);

/*
 * Take one EFFECT_PERSIST into the batch that the next store_commit() writes.  Copies.
 * ERR_NOSPACE when the batch holds its bound (commits have been failing).
 */
int store_apply(struct store *s, const struct effect *persist);

/*
 * Write the batch and sync it; nothing to do when it is empty.  On failure the batch
 * stays and the next commit tries it again, so the replies that depend on it must wait
 * until a commit succeeds; store_error() says in one sentence what failed.
 */
int store_commit(struct store *s);

/*
 * store_commit() in three steps, so that the writing may be another thread's while this
 * one goes on.  store_begin() closes the batch: what is applied from then on is of the
 * next one.  store_write() writes it and syncs; its result goes to store_end(), which
 * says what store_commit() would.  In between nothing else of the store may be called but
 * store_apply() and store_error().  When a write failed, the next one
 * tries the same batch again.
 */
void store_begin(struct store *s);
int store_write(struct store *s);
int store_end(struct store *s, int result);

/*
 * Write down the time in an empty commit: at the end of the program and every few
 * minutes, so that a step of the wall clock in a quiet hour does not count after a
 * reboot.
 */
int store_mark(struct store *s);
/* Forget the batch. */
void store_abort(struct store *s);
/* Records applied and not yet committed. */
size_t store_pending(const struct store *s);
/* The sentence of the last failure; "" before the first. */
const char *store_error(const struct store *s);
