/*
 * The names that hosts give for addresses, looked up while the loop goes on.
 */
#include "gateway/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN  253
#define ADDRESSES_MAX 64
#define QUEUE_MAX     1024
/* What has queued up for longer has nobody any more who waits for it. */
#define STALE_MS 3000
#define BUSY     (sizeof(((struct resolve *)0)->busy) / sizeof(struct resolve_job *))

struct resolve_job {
	uv_getaddrinfo_t req;
	struct resolve *of;
	struct resolve_job *next;
	uint64_t token, since_ms;
	char name[NAME_MAX_LEN + 1];
};

static void put(struct resolve_queue *q, struct resolve_job *job)
{
	if (q->last != NULL)
		q->last->next = job;
	else
		q->first = job;
	q->last = job;
	q->n++;
}

static struct resolve_job *get(struct resolve_queue *q)
{
	struct resolve_job *job = q->first;

	if (job == NULL)
		return NULL;
	q->first = job->next;
	if (q->first == NULL)
		q->last = NULL;
	job->next = NULL;
	q->n--;
	return job;
}

/* The next one that somebody still waits for. */
static struct resolve_job *next_job(struct resolve *r)
{
	struct resolve_job *job;

	while ((job = get(&r->requests)) != NULL) {
		if (uv_now(r->loop) - job->since_ms <= STALE_MS)
			return job;
		r->forgotten++;
		free(job);
	}
	return get(&r->leases);
}

static size_t addresses_of(const struct addrinfo *ai, uint32_t to[static ADDRESSES_MAX])
{
	size_t n = 0;

	for (; ai != NULL && n < ADDRESSES_MAX; ai = ai->ai_next) {
		struct sockaddr_in in;

		if (ai->ai_family != AF_INET || ai->ai_addrlen < sizeof(in))
			continue;
		memcpy(&in, ai->ai_addr, sizeof(in));
		to[n++] = ntohl(in.sin_addr.s_addr);
	}
	return n;
}

static void start(struct resolve *r);

static void on_found(uv_getaddrinfo_t *req, int status, struct addrinfo *ai)
{
	struct resolve_job *job = req->data;
	struct resolve *r = job->of;
	uint32_t addresses[ADDRESSES_MAX];
	size_t n = status == 0 ? addresses_of(ai, addresses) : 0;

	uv_freeaddrinfo(ai);
	for (size_t i = 0; i < BUSY; i++)
		if (r->busy[i] == job)
			r->busy[i] = NULL;
	r->failed += n == 0;
	if (!r->closed)
		r->found(r->ctx, job->token, addresses, n);
	free(job);
	start(r);
}

static bool begin(struct resolve *r, struct resolve_job *job)
{
	const struct addrinfo hints = { .ai_family = AF_INET,
		.ai_socktype = SOCK_STREAM };

	job->req.data = job;
	return uv_getaddrinfo(r->loop, &job->req, on_found, job->name, NULL, &hints) == 0;
}

static void start(struct resolve *r)
{
	for (size_t i = 0; i < BUSY && !r->closed; i++) {
		if (r->busy[i] != NULL)
			continue;
		r->busy[i] = next_job(r);
		if (r->busy[i] == NULL)
			return;
		if (begin(r, r->busy[i]))
			continue;
		/* Not a name that a resolver takes; the engine's deadline answers. */
		r->failed++;
		free(r->busy[i]);
		r->busy[i] = NULL;
	}
}

void resolve_open(struct resolve *r, uv_loop_t *loop)
{
	r->loop = loop;
	/* A look-up that outlasts its deadline by much delays others, and the end. */
	(void)setenv("RES_OPTIONS", "timeout:1 attempts:2", 0);
}

void resolve_ask(
	struct resolve *r, uint64_t token, const char *name, size_t len, bool request)
{
	struct resolve_queue *q = request ? &r->requests : &r->leases;
	struct resolve_job *job = NULL;

	r->asked++;
	if (r->loop != NULL && !r->closed && len <= NAME_MAX_LEN && q->n < QUEUE_MAX)
		job = calloc(1, sizeof(*job));
	if (job == NULL) {
		r->forgotten++;
		return;
	}
	job->of = r;
	job->token = token;
	job->since_ms = uv_now(r->loop);
	memcpy(job->name, name, len);
	put(q, job);
	start(r);
}

void resolve_close(struct resolve *r)
{
	struct resolve_job *job;

	r->closed = true;
	while ((job = get(&r->requests)) != NULL || (job = get(&r->leases)) != NULL)
		free(job);
	for (size_t i = 0; i < BUSY; i++)
		if (r->busy[i] != NULL)
			(void)uv_cancel((uv_req_t *)&r->busy[i]->req);
}
