#pragma once

#include "engine/effect.h"

#include <jansson.h>

/*
 * The audit: one record a lease, written when it has ended, with who held what from when
 * to when and why it ended.  Text files of the state directory, one JSON object a line,
 * oldest first (docs/audit.md); bounded in size and in age.
 *
 * What a turn of the loop ended is one batch: audit_add() for each, audit_begin(),
 * audit_write() before the commit that removes the leases, audit_end().  So a lease that
 * is not in the store any more has its record, whatever ends the program; one whose
 * removal was not committed may have a record and be held on.
 */

#define AUDIT_WHY 512 /* room that every sentence written to `why` fits in */

struct audit;

struct audit_conf {
	const char *dir;    /* of the state */
	uint64_t max_bytes; /* of all files; the oldest goes first */
	uint32_t keep_s;    /* a file whose last record is older goes, too */
	bool sync;          /* to the disk before audit_write() returns */
};

/* A moment on both clocks. */
struct audit_time {
	uint64_t now_ms;  /* the engine's */
	uint64_t wall_ms; /* since 1970 */
};
struct audit_time audit_time_now(uint64_t now_ms);
/* A past moment of the engine's clock, by the wall. */
uint64_t audit_wall(const struct audit_time *t, uint64_t ms);

/* A line that a killed machine left unfinished is cut off.  -errno with the sentence. */
int audit_open(
	const struct audit_conf *conf, struct audit **audit, char *why, size_t why_size);
/* From the next batch on. */
void audit_set_limits(struct audit *a, uint64_t max_bytes, uint32_t keep_s);
/* What was added and not written is gone.  NULL is allowed. */
void audit_close(struct audit *a);

/*
 * Take one record into the batch; ended_ms is on the engine's clock.  ERR_NOSPACE when
 * the batch holds its bound (writing has been failing), -ENOMEM.
 */
int audit_add(struct audit *a, const struct lease *l, enum end_reason reason,
	uint64_t ended_ms, const struct audit_time *t);
/*
 * As store_begin(), store_write() and store_end(): audit_write() may be another thread's,
 * and in between only audit_add() and audit_find() may be called.  A batch that could not
 * be written is tried again with the next.
 */
void audit_begin(struct audit *a);
int audit_write(struct audit *a);
int audit_end(struct audit *a, int result);
/* All three. */
int audit_flush(struct audit *a);
bool audit_pending(const struct audit *a);
/* The sentence of a failure that lasts; "" when all is well. */
const char *audit_error(const struct audit *a);

struct audit_counters {
	uint64_t records, errors, lost; /* lost: not written for want of room */
	uint64_t bytes;                 /* of the files */
};
const struct audit_counters *audit_counters(const struct audit *a);

/* Who had it then? */
struct audit_question {
	uint32_t address;
	bool has_port, has_spi;
	uint32_t port, spi;
	uint64_t at_wall_ms;
};
#define AUDIT_FOUND_MAX 65536
/*
 * The records that answer, oldest first, appended to `found`.  Reads the files only, so
 * any thread may; `dir` as at the opening.  ERR_NOSPACE: more than AUDIT_FOUND_MAX.
 */
int audit_find(const char *dir, const struct audit_question *q, json_t *found);

/* "freed", "expired", ... */
const char *end_reason_name(enum end_reason r);
