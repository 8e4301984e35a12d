/*
 * libunbound behind resolve.h.  It validates in one thread of its own and hands answers
 * over a pipe that the loop watches; a hostile zone that is slow to validate (KeyTrap and
 * its like) costs that thread, not the loop.
 *
 * Traps that this file knows: a bogus answer comes with its forged records and rcode 0,
 * so that bogus is looked at first; its answers' TTLs are not cut to the signatures' end;
 * a dead server costs it 17 s, so that deadlines are ours; ub_ctx_async(.., 0) would fork
 * the process; an option set after the first zone or query is refused, so that everything
 * is in one configuration text.
 */
#include "kx/resolve.h"

#include "base/err.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unbound.h>
#include <unistd.h>

#define IN_FLIGHT  384
#define CNAMES_MAX 8
#define ANCHOR     "/usr/share/dns/root.key"

struct job {
	struct kx_resolve *of;
	bool used;
	uint32_t id;
	int async_id;
	uint64_t deadline_ms;
	kx_resolve_done done;
	void *ctx;
	struct kx_name name;
	struct job *next_free;
};

struct kx_resolve {
	uv_loop_t *loop;
	struct ub_ctx *ub;
	uv_poll_t poll;
	uv_timer_t timer;
	int handles; /* that the loop still knows */
	time_t fixed_now;
	struct job *jobs, *free;
	uint32_t n_jobs, used, serial;
};

/* --- configuration --------------------------------------------------------------------
 */

static const char settings[] =
	"server:\n"
	"  verbosity: 0\n"
	"  use-syslog: no\n"
	"  module-config: \"validator iterator\"\n"
	/* Hosts in private address space have reverse zones too. */
	"  unblock-lan-zones: yes\n"
	"  do-not-query-localhost: no\n"
	/* A name that was published a moment ago must not be denied by an old NSEC. */
	"  aggressive-nsec: no\n"
	"  qname-minimisation: yes\n"
	"  serve-expired: no\n"
	"  prefetch: no\n"
	"  rrset-roundrobin: no\n"
	/* After an outage of the forwarder it is asked again within seconds. */
	"  outbound-msg-retry: 3\n"
	"  infra-keep-probing: yes\n"
	"  infra-host-ttl: 60\n"
	/* Bounded, whatever is asked for. */
	"  msg-cache-size: 2m\n"
	"  rrset-cache-size: 4m\n"
	"  key-cache-size: 1m\n"
	"  neg-cache-size: 256k\n"
	"  infra-cache-numhosts: 1000\n"
	"  num-queries-per-thread: 512\n";

static void write_zone(FILE *out, const char *dir, const char *file)
{
	size_t len = strlen(file) - strlen(".zone");

	if (strcmp(file, "root.zone") == 0)
		len = 0;
	(void)fprintf(out,
		"auth-zone:\n  name: \"%.*s.\"\n  zonefile: \"%s/%s\"\n"
		"  for-downstream: no\n  for-upstream: yes\n  fallback-enabled: no\n",
		(int)len, file, dir, file);
}

static int write_zones(FILE *out, const char *path, char *why, size_t why_size)
{
	DIR *dir = opendir(path);
	const struct dirent *e;
	size_t n = 0;

	if (dir == NULL) {
		int err = -errno;

		(void)snprintf(why, why_size, "%s: %s", path, strerror(errno));
		return err;
	}
	/* The resolver answers test. by itself, with nothing in it. */
	(void)fputs("  local-zone: \"test.\" nodefault\n", out);
	while ((e = readdir(dir)) != NULL) {
		size_t len = strlen(e->d_name);

		if (len <= 5 || strcmp(e->d_name + len - 5, ".zone") != 0)
			continue;
		write_zone(out, path, e->d_name);
		n++;
	}
	(void)closedir(dir);
	if (n > 0)
		return 0;
	(void)snprintf(why, why_size, "%s: no file NAME.zone in it", path);
	return ERR_NOTFOUND;
}

static int write_all(
	FILE *out, const struct kx_resolve_conf *conf, char *why, size_t why_size)
{
	int err = 0;

	(void)fputs(settings, out);
	if (conf->now != NULL)
		(void)fprintf(out, "  val-override-date: \"%s\"\n", conf->now);
	if (conf->zones != NULL)
		err = write_zones(out, conf->zones, why, why_size);
	if (conf->config != NULL)
		(void)fprintf(out, "include: \"%s\"\n", conf->config);
	return err;
}

/* libunbound reads files only; this one has no name that anybody could change. */
static int config_load(
	struct ub_ctx *ub, const struct kx_resolve_conf *conf, char *why, size_t why_size)
{
	int fd = memfd_create("unbound.conf", MFD_CLOEXEC), err;
	FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
	char path[32];

	if (out == NULL) {
		err = -errno;
		if (fd >= 0)
			(void)close(fd);
		(void)snprintf(why, why_size, "no memory file: %s", err_text(err));
		return err;
	}
	err = write_all(out, conf, why, why_size);
	if (err == 0 && fflush(out) != 0)
		err = -errno;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (err == 0) {
		int result = ub_ctx_config(ub, path);

		if (result != 0) {
			(void)snprintf(why, why_size,
				"%s: the resolver does not take it: %s",
				conf->config != NULL ? conf->config : "its settings",
				ub_strerror(result));
			err = ERR_CONFIG;
		}
	}
	(void)fclose(out);
	return err;
}

static int now_parse(const char *text, time_t *now)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y%m%d%H%M%S", &tm);

	if (end == NULL || *end != 0 || strlen(text) != 14)
		return ERR_MALFORMED;
	*now = timegm(&tm);
	return 0;
}

static int anchor_load(struct ub_ctx *ub, const char *anchor, char *why, size_t why_size)
{
	int result;

	if (anchor != NULL && anchor[0] == 0)
		return 0;
	anchor = anchor != NULL ? anchor : ANCHOR;
	/* It would only complain at the first look-up, as an answer that never comes. */
	if (access(anchor, R_OK) != 0) {
		(void)snprintf(why, why_size,
			"%s: %s: without a trust anchor nothing is secure", anchor,
			strerror(errno));
		return ERR_CONFIG;
	}
	result = ub_ctx_add_ta_file(ub, anchor);
	if (result == 0)
		return 0;
	(void)snprintf(why, why_size, "%s: %s", anchor, ub_strerror(result));
	return ERR_CONFIG;
}

static int ub_open(struct kx_resolve *r, const struct kx_resolve_conf *conf, char *why,
	size_t why_size)
{
	int err, result;

	r->ub = ub_ctx_create();
	if (r->ub == NULL) {
		(void)snprintf(why, why_size, "no resolver: %s", strerror(errno));
		return -ENOMEM;
	}
	if (conf->now != NULL && now_parse(conf->now, &r->fixed_now) != 0) {
		(void)snprintf(why, why_size, "\"%s\" is not YYYYMMDDHHMMSS", conf->now);
		return ERR_CONFIG;
	}
	result = ub_ctx_async(r->ub, 1); /* a thread; 0 would fork us */
	err = config_load(r->ub, conf, why, why_size);
	if (err == 0)
		err = anchor_load(r->ub, conf->anchor, why, why_size);
	if (err != 0)
		return err;
	if (result == 0 && conf->forward != NULL)
		result = ub_ctx_set_fwd(r->ub, conf->forward);
	if (result == 0)
		return 0;
	(void)snprintf(why, why_size, "%s: %s",
		conf->forward != NULL ? conf->forward : "resolver", ub_strerror(result));
	return ERR_CONFIG;
}

/* --- jobs -----------------------------------------------------------------------------
 */

static void job_free(struct kx_resolve *r, struct job *job)
{
	job->used = false;
	job->next_free = r->free;
	r->free = job;
	r->used--;
}

static void job_done(struct job *job, const struct kx_answer *answer)
{
	struct kx_resolve *r = job->of;
	kx_resolve_done done = job->done;
	void *ctx = job->ctx;
	uint32_t id = job->id;

	job_free(r, job); /* first: done may ask again */
	done(ctx, id, answer);
}

static void on_timer(uv_timer_t *timer);

/* To the first deadline. */
static void timer_set(struct kx_resolve *r)
{
	uint64_t first = UINT64_MAX, now = uv_now(r->loop);

	for (uint32_t i = 0; i < r->n_jobs; i++)
		if (r->jobs[i].used && r->jobs[i].deadline_ms < first)
			first = r->jobs[i].deadline_ms;
	if (first != UINT64_MAX)
		(void)uv_timer_start(
			&r->timer, on_timer, first > now ? first - now : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
	struct kx_resolve *r = timer->data;
	const struct kx_answer late = { .status = KX_ERROR, .why = "no answer in time" };

	for (uint32_t i = 0; i < r->n_jobs; i++) {
		struct job *job = &r->jobs[i];

		if (!job->used || job->deadline_ms > uv_now(r->loop))
			continue;
		(void)ub_cancel(r->ub, job->async_id);
		job_done(job, &late);
	}
	timer_set(r);
}

/* --- answers --------------------------------------------------------------------------
 */

/* The order matters: bogus and insecure answers carry records too. */
static enum kx_status status_of(int err, const struct ub_result *u)
{
	if (err != 0 || u == NULL)
		return KX_ERROR;
	if (u->bogus)
		return KX_BOGUS;
	if (u->rcode != 0 && u->rcode != 3)
		return KX_ERROR;
	if (!u->secure)
		return KX_INSECURE;
	if (u->nxdomain)
		return KX_NXDOMAIN;
	return u->havedata ? KX_SECURE : KX_NODATA;
}

static void why_fill(struct kx_answer *a, int err, const struct ub_result *u)
{
	a->why = "";
	if (a->status == KX_ERROR)
		a->why = err != 0 ? ub_strerror(err) : "the name servers failed";
	if (a->status == KX_BOGUS)
		a->why = u->why_bogus != NULL ? u->why_bogus
					      : "the signatures do not hold";
}

/*
 * No longer than the first signature (RFC 4035 section 5.3.3), and no more than so many
 * CNAMEs: who makes us follow more has nothing good in mind.
 */
static void packet_check(
	const struct kx_resolve *r, struct kx_answer *a, const struct ub_result *u)
{
	uint32_t now = (uint32_t)(r->fixed_now != 0 ? r->fixed_now : time(NULL));
	struct kx_packet p = { 0 };

	if (a->status > KX_NXDOMAIN || u->answer_packet == NULL || u->answer_len <= 0)
		return;
	if (kx_packet_read(u->answer_packet, (size_t)u->answer_len, now, &p) != 0 ||
		p.cnames > CNAMES_MAX) {
		a->status = KX_ERROR;
		a->why = p.cnames > CNAMES_MAX ? "more than 8 CNAMEs in a row"
					       : "the answer cannot be read";
		a->ttl_s = 0;
		return;
	}
	if (p.left_s == 0) {
		a->status = KX_BOGUS;
		a->why = "a signature ended while the answer was in the cache";
	}
	a->ttl_s = p.left_s < a->ttl_s ? p.left_s : a->ttl_s;
}

static void records_fill(struct kx_answer *a, const struct ub_result *u)
{
	for (size_t i = 0; u->data[i] != NULL; i++) {
		if (a->n == KX_RDATA_MAX) {
			a->more++;
			continue;
		}
		a->rdata[a->n].bytes = (const uint8_t *)u->data[i];
		a->rdata[a->n++].len = (uint16_t)u->len[i];
	}
}

static void on_answer(void *ctx, int err, struct ub_result *u)
{
	struct job *job = ctx;
	struct kx_answer a = { .status = status_of(err, u) };

	if (u != NULL) {
		a.ttl_s = u->ttl > 0 && a.status != KX_ERROR ? (uint32_t)u->ttl : 0;
		why_fill(&a, err, u);
		packet_check(job->of, &a, u);
		a.canon = job->name;
		if (u->canonname != NULL && kx_name_parse(u->canonname, &a.canon) != 0)
			a.canon.len = 0;
		if (a.status == KX_SECURE)
			records_fill(&a, u);
	} else {
		a.why = ub_strerror(err);
	}
	job_done(job, &a);
	ub_resolve_free(u);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct kx_resolve *r = poll->data;

	(void)status, (void)events;
	(void)ub_process(r->ub);
}

/* --- the interface --------------------------------------------------------------------
 */

static void jobs_init(struct kx_resolve *r)
{
	for (uint32_t i = 0; i < r->n_jobs; i++) {
		r->jobs[i].of = r;
		r->jobs[i].next_free = r->free;
		r->free = &r->jobs[i];
	}
}

int kx_resolve_new(uv_loop_t *loop, const struct kx_resolve_conf *conf,
	struct kx_resolve **resolve, char *why, size_t why_size)
{
	struct kx_resolve *r = calloc(1, sizeof(*r));
	int err = -ENOMEM;

	if (r != NULL) {
		r->loop = loop;
		r->n_jobs = conf->in_flight != 0 ? conf->in_flight : IN_FLIGHT;
		r->jobs = calloc(r->n_jobs, sizeof(*r->jobs));
	}
	if (r == NULL || r->jobs == NULL)
		(void)snprintf(why, why_size, "%s", err_text(err));
	else
		err = ub_open(r, conf, why, why_size);
	if (err == 0) {
		err = uv_poll_init(loop, &r->poll, ub_fd(r->ub));
		if (err != 0)
			(void)snprintf(why, why_size, "resolver: %s", uv_strerror(err));
	}
	if (err != 0) {
		if (r != NULL) {
			ub_ctx_delete(r->ub);
			free(r->jobs);
		}
		free(r);
		return err;
	}
	jobs_init(r);
	(void)uv_timer_init(loop, &r->timer);
	r->handles = 2;
	r->poll.data = r->timer.data = r;
	(void)uv_poll_start(&r->poll, UV_READABLE, on_readable);
	*resolve = r;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct kx_resolve *r = handle->data;

	if (--r->handles > 0)
		return;
	ub_ctx_delete(r->ub); /* now that nobody polls its pipe */
	free(r->jobs);
	free(r);
}

void kx_resolve_free(struct kx_resolve *r)
{
	if (r == NULL)
		return;
	for (uint32_t i = 0; i < r->n_jobs; i++) {
		if (!r->jobs[i].used)
			continue;
		(void)ub_cancel(r->ub, r->jobs[i].async_id);
		job_free(r, &r->jobs[i]);
	}
	uv_close((uv_handle_t *)&r->poll, on_closed);
	uv_close((uv_handle_t *)&r->timer, on_closed);
}

int kx_resolve_ask(struct kx_resolve *r, uint32_t id, const struct kx_name *name,
	uint16_t type, uint64_t deadline_ms, kx_resolve_done done, void *ctx)
{
	char text[KX_NAME_TEXT];
	struct job *job = r->free;

	if (job == NULL)
		return ERR_NOSPACE;
	r->free = job->next_free;
	*job = (struct job){ .of = r,
		.used = true,
		.id = id,
		.done = done,
		.ctx = ctx,
		.deadline_ms = deadline_ms,
		.name = *name };
	r->used++;
	if (ub_resolve_async(r->ub, kx_name_format(name, text), type, 1, job, on_answer,
		    &job->async_id) != 0) {
		job_free(r, job);
		return ERR_NOSPACE;
	}
	if (!uv_is_active((const uv_handle_t *)&r->timer) ||
		uv_timer_get_due_in(&r->timer) + uv_now(r->loop) > deadline_ms)
		timer_set(r);
	return 0;
}

void kx_resolve_cancel(struct kx_resolve *r, uint32_t id)
{
	for (uint32_t i = 0; i < r->n_jobs; i++) {
		if (!r->jobs[i].used || r->jobs[i].id != id)
			continue;
		(void)ub_cancel(r->ub, r->jobs[i].async_id);
		job_free(r, &r->jobs[i]);
		return;
	}
}

size_t kx_resolve_count(const struct kx_resolve *r)
{
	return r->used;
}

uint32_t kx_resolve_id(struct kx_resolve *r)
{
	return 0x80000000U | ++r->serial;
}
