/* A queue before one worker: the store's commits use the same threads. */
#include "gateway/archive.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct archive_job {
	struct archive_job *next;
	const char *dir;
	struct audit_question question;
	archive_done done;
	void *ctx;
	json_t *found;
	int err;
};

static void start(struct archive *a);

static void search(uv_work_t *work)
{
	const struct archive *a = work->data;
	struct archive_job *job = a->first;

	job->err = audit_find(job->dir, &job->question, job->found);
}

static void finish(struct archive *a)
{
	struct archive_job *job = a->first;

	a->first = job->next;
	if (a->first == NULL)
		a->last = NULL;
	job->done(job->ctx, job->err, job->found);
	json_decref(job->found);
	free(job);
}

static void on_searched(uv_work_t *work, int status)
{
	struct archive *a = work->data;

	if (status != 0)
		a->first->err = status;
	finish(a);
	start(a);
}

/* The first job is searched, or has an error at once. */
static void start(struct archive *a)
{
	while (a->first != NULL) {
		int err = ERR_UNREACHABLE;

		a->work.data = a;
		if (!a->closing)
			err = uv_queue_work(a->loop, &a->work, search, on_searched);
		if (err == 0)
			return;
		a->first->err = err;
		finish(a);
	}
}

int archive_open(struct archive *a, uv_loop_t *loop, const char *dir)
{
	*a = (struct archive){ .loop = loop, .dir = strdup(dir) };
	return a->dir != NULL ? 0 : -ENOMEM;
}

void archive_close(struct archive *a)
{
	a->closing = true;
}

void archive_fini(struct archive *a)
{
	free(a->dir);
	a->dir = NULL;
}

int archive_ask(
	struct archive *a, const struct audit_question *q, archive_done done, void *ctx)
{
	struct archive_job *job = calloc(1, sizeof(*job));

	if (job == NULL)
		return -ENOMEM;
	*job = (struct archive_job){ .dir = a->dir,
		.question = *q,
		.done = done,
		.ctx = ctx,
		.found = json_array() };
	if (job->found == NULL) {
		free(job);
		return -ENOMEM;
	}
	if (a->last != NULL) {
		a->last->next = job;
		a->last = job;
		return 0;
	}
	a->first = a->last = job;
	start(a);
	return 0;
}
