#pragma once

#include "audit/audit.h"

#include <uv.h>

/*
 * Questions to the audit's files, answered by another thread, one at a time: a search
 * reads as much as the files hold.
 */
struct archive_job;

struct archive {
	uv_loop_t *loop;
	char *dir;
	uv_work_t work;
	struct archive_job *first, *last; /* first: the one being searched */
	bool closing;
};

/* dir is copied; -ENOMEM. */
int archive_open(struct archive *a, uv_loop_t *loop, const char *dir);
/* What is asked is still answered, with an error, as long as the loop runs. */
void archive_close(struct archive *a);
void archive_fini(struct archive *a);

/*
 * `done` is called later, from the loop, with the records as audit_find() gives them
 * (borrowed) or an error.  -ENOMEM: it is not.
 */
typedef void (*archive_done)(void *ctx, int err, json_t *found);
int archive_ask(
	struct archive *a, const struct audit_question *q, archive_done done, void *ctx);
