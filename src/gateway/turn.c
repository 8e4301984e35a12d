/*
 * A turn's effects, and their order.  Answers for these promises: an answer leaves only
 * when what it says is on the disk and in the data plane; a store that fails loses
 * nothing that was acknowledged, and its hosts hear INTERNAL_SERVER_ERROR (P-10.4-06)
 * instead of promises.
 *
 * While the store fails, requests that would change something are answered 104 without
 * being asked of the engine; the batch stays and is tried again, and when it is written
 * everything goes on.  What the engine granted in the one turn whose commit failed stays
 * granted, although the host was told 104: its last-answer cache may still hand out that
 * grant, and it must then be true.  It ends with the host's next DE-REGISTER or its
 * lease.
 *
 * While the other thread writes a commit, nothing leaves: an answer may repeat one that
 * is being written, and the answers on one connection keep their order.
 */
#include "gateway/turn.h"

#include "base/err.h"
#include "base/log.h"
#include "gateway/rsipd.h"
#include "wire/msg.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MS      200
#define TELL_EVERY_MS 60000
#define TELL_HOSTS    1000 /* at most, of the registered ones */
#define HELD_MAX      4096 /* asynchronous messages that wait for a commit */
#define ERROR_BYTES   64
/* More requests than these do not pile up behind a disk that hangs: the loop waits. */
#define REQUESTS_WAITING 4096

struct turn_reply {
	struct peer to;
	size_t at, len;
	bool async, close;
	uint16_t error;
};

static void fault_set(struct rsipd *d, const char *text)
{
	(void)snprintf(d->fault, sizeof(d->fault), "%s", text);
}

/* Room for one more element; false when memory is short. */
static bool grow(void **at, size_t n, size_t *size, size_t element)
{
	size_t more = *size > 0 ? *size * 2 : 64;
	void *p;

	if (n < *size)
		return true;
	p = realloc(*at, more * element);
	if (p == NULL)
		return false;
	*at = p;
	*size = more;
	return true;
}

void turn_init(struct rsipd *d)
{
	cpu_set_t cores;

	d->turn.alone = sched_getaffinity(0, sizeof(cores), &cores) == 0 &&
			CPU_COUNT(&cores) == 1 && !d->plane.driver->by_service;
}

uint64_t turn_begin(struct rsipd *d)
{
	struct turn *t = &d->turn;

	if (!t->open) {
		t->open = true;
		t->now_ms = rsipd_clock_ms();
		t->opened_ns = uv_hrtime();
		if (t->load.requests == 0)
			t->load.began_ns = t->opened_ns;
	}
	return t->now_ms;
}

/* --- collecting -----------------------------------------------------------------------
 */

static bool bytes_room(struct turn_load *l, size_t len)
{
	size_t size = l->size_bytes > 0 ? l->size_bytes : 4096;
	uint8_t *p;

	while (size - l->used < len)
		size *= 2;
	if (size == l->size_bytes)
		return true;
	p = realloc(l->bytes, size);
	if (p == NULL)
		return false;
	l->bytes = p;
	l->size_bytes = size;
	return true;
}

/* False when memory is short. */
static bool reply_add(
	struct turn_load *l, const struct turn_reply *r, const uint8_t *bytes)
{
	void *at = l->replies;

	if (!bytes_room(l, r->len) ||
		!grow(&at, l->n_replies, &l->size_replies, sizeof(*r)))
		return false;
	l->replies = at;
	l->replies[l->n_replies] = *r;
	l->replies[l->n_replies++].at = l->used;
	memcpy(l->bytes + l->used, bytes, r->len);
	l->used += r->len;
	return true;
}

static void bind_touch(struct turn_load *l, uint32_t bind_id)
{
	void *at = l->binds;

	if (grow(&at, l->n_binds, &l->size_binds, sizeof(*l->binds))) {
		l->binds = at;
		l->binds[l->n_binds++] = bind_id;
	} else {
		l->all_binds = true;
	}
}

static void persist(struct rsipd *d, const struct effect *e)
{
	int err = store_apply(d->store, e);

	if (err == 0)
		return;
	if (!d->turn.lost)
		log_error("a record could not be kept for the store", "error=\"%s\"",
			err_text(err));
	d->turn.lost = true;
}

static void observe_audit(struct rsipd *d, const struct effect *e)
{
	const struct event event = event_of_audit(e, d->turn.now_ms);

	if (event.kind == EVENT_ENDED) {
		/* A failure is counted and shows in the health. */
		(void)audit_add(
			d->audit, event.lease, event.reason, e->audit.at_ms, &event.at);
	}
	events_put(&d->events, &event);
}

static void observe_refusal(struct rsipd *d, const struct effect *e)
{
	const struct event event = { .kind = EVENT_REFUSED,
		.at = audit_time_now(d->turn.now_ms),
		.peer = &e->reply.to,
		.error = e->reply.error };

	events_put(&d->events, &event);
}

void turn_effect(void *rsipd, const struct effect *e)
{
	struct rsipd *d = rsipd;
	struct turn_reply r;

	switch (e->kind) {
	case EFFECT_REPLY:
		r = (struct turn_reply){ .to = e->reply.to,
			.len = e->reply.len,
			.async = e->reply.async,
			.close = e->reply.close,
			.error = e->reply.error };
		if (r.error != 0)
			observe_refusal(d, e);
		if (reply_add(&d->turn.load, &r, e->reply.bytes))
			net_owe(d->net, &r.to, 1);
		else
			d->turn.replies_lost++;
		break;
	case EFFECT_INSTALL:
	case EFFECT_REMOVE:
		bind_touch(&d->turn.load, e->lease->bind_id);
		break;
	case EFFECT_PERSIST:
		persist(d, e);
		break;
	case EFFECT_RESOLVE:
		resolve_ask(&d->resolve, e->resolve.token, e->resolve.name,
			e->resolve.len, e->resolve.waits);
		break;
	case EFFECT_AUDIT:
		observe_audit(d, e);
		break;
	}
}

/* --- INTERNAL_SERVER_ERROR ------------------------------------------------------------
 */

/* A 104 with what the message it stands for names; its length, 0 if that cannot be. */
static size_t internal_error(const uint8_t *of, size_t len, bool udp, uint32_t client_id,
	uint8_t buf[static ERROR_BYTES])
{
	struct wire_msg m = { .version = RSIP_VERSION_1,
		.type = MSG_ERROR_RESPONSE,
		.has = HAS_ERROR,
		.error = RSIP_INTERNAL_SERVER_ERROR,
		.client_id = client_id };
	bool found;
	int n;

	m.counter = wire_find_counter(of, len, &found);
	if (found || udp)
		m.has |= HAS_COUNTER;
	if (client_id != 0)
		m.has |= HAS_CLIENT_ID;
	n = wire_encode(&m, buf, ERROR_BYTES);
	return n > 0 ? (size_t)n : 0;
}

/* The Client ID that a message names, if it is the sender's. */
static uint32_t client_of(
	struct rsipd *d, const struct peer *host, const uint8_t *bytes, size_t len)
{
	struct registration r;
	bool found;
	uint32_t id = wire_find_u32(bytes, len, PARAM_CLIENT_ID, &found);

	if (!found || engine_registration_find(d->engine, id, &r) != 0)
		return 0;
	return r.host == host->addr && r.identity == host->identity ? id : 0;
}

static void send_internal(
	struct rsipd *d, const struct peer *to, const uint8_t *of, size_t len)
{
	uint8_t buf[ERROR_BYTES];
	size_t n = internal_error(
		of, len, to->transport == TRANSPORT_UDP, client_of(d, to, of, len), buf);

	d->turn.internal++;
	if (n > 0)
		(void)net_send(d->net, to, buf, n, false); /* counted there */
}

struct telling {
	struct rsipd *d;
	size_t left;
};

static bool tell_host(void *ctx, const struct registration *r)
{
	static const uint8_t nothing[RSIP_HEADER_LEN] = { 0 };
	struct telling *t = ctx;
	uint8_t buf[ERROR_BYTES];
	size_t n;

	/* Without a counter a host cannot tell it from an answer (A-U-15). */
	if (!r->counters || (r->peer.transport == TRANSPORT_TCP && r->peer.conn == 0))
		return true;
	n = internal_error(nothing, sizeof(nothing), true, r->client_id, buf);
	if (n > 0)
		(void)net_send(t->d->net, &r->peer, buf, n, false);
	return --t->left > 0;
}

/* --- messages -------------------------------------------------------------------------
 */

static int commit(struct rsipd *d);
static void flight_land(struct rsipd *d);

/* Would the engine's answer to this promise something that must be stored? */
static bool is_promise(const uint8_t *bytes, size_t len)
{
	if (len < RSIP_HEADER_LEN || bytes[0] != RSIP_VERSION_1)
		return false;
	switch (bytes[1]) {
	case MSG_REGISTER_REQUEST:
	case MSG_DEREGISTER_REQUEST:
	case MSG_ASSIGN_REQUEST_RSA_IP:
	case MSG_ASSIGN_REQUEST_RSAP_IP:
	case MSG_EXTEND_REQUEST:
	case MSG_FREE_REQUEST:
	case MSG_LISTEN_REQUEST:
	case MSG_ASSIGN_REQUEST_RSIPSEC:
		return true;
	default:
		return false;
	}
}

void turn_message(void *rsipd, const struct peer *from, const uint8_t *bytes, size_t len)
{
	struct rsipd *d = rsipd;
	uint64_t now_ms = turn_begin(d);

	if (d->turn.flying && d->turn.load.requests >= REQUESTS_WAITING)
		flight_land(d);
	d->turn.load.requests++;
	if (d->turn.failing && now_ms >= d->turn.retry_ms)
		(void)commit(d);
	if ((d->turn.failing || d->turn.lost) && is_promise(bytes, len))
		send_internal(d, from, bytes, len);
	else
		engine_message(d->engine, from, bytes, len, now_ms);
}

/* --- commit, data plane, answers ------------------------------------------------------
 */

static void commit_failed(struct rsipd *d)
{
	struct telling telling = { d, TELL_HOSTS };
	struct turn *t = &d->turn;

	fault_set(d, store_error(d->store));
	t->retry_ms = t->now_ms + RETRY_MS;
	if (!t->failing)
		log_error("the store fails, requests are refused until it works again",
			"error=\"%s\"", store_error(d->store));
	t->failing = true;
	if (t->told_ms != 0 && t->now_ms - t->told_ms < TELL_EVERY_MS)
		return;
	t->told_ms = t->now_ms;
	engine_each_registration(d->engine, tell_host, &telling);
}

/* What a commit, here or in the other thread, came to. */
static int committed(struct rsipd *d, int err)
{
	struct turn *t = &d->turn;

	t->commits++;
	if (err != 0) {
		t->commit_errors++;
		commit_failed(d);
		return err;
	}
	if (t->failing) {
		log_warn("the store works again", "%s", "");
		t->failing = false;
		d->fault[0] = 0;
	}
	return 0;
}

static int commit(struct rsipd *d)
{
	int err;

	if (store_pending(d->store) == 0)
		return 0;
	watch_begin(&d->watch, "store commit");
	(void)audit_flush(d->audit); /* what fails waits there */
	err = store_commit(d->store);
	watch_end(&d->watch);
	return committed(d, err);
}

/*
 * What the engine holds under this Bind ID now, the data plane carries.  An end counts at
 * once, a grant only when it is stored.
 */
static void plane_sync(struct rsipd *d, uint32_t bind_id, bool stored)
{
	const struct dp_driver *driver = d->plane.driver;
	struct lease lease;
	int err;

	if (engine_lease_find(d->engine, bind_id, &lease) != 0) {
		driver->remove(d->plane.dp, bind_id);
		return;
	}
	err = stored ? driver->install(d->plane.dp, &lease) : 0;
	if (err == 0)
		return;
	d->turn.plane_failed++;
	(void)snprintf(d->fault, sizeof(d->fault),
		"the data plane does not carry every lease: %s; release some, or "
		"restart rsipd",
		err_text(err));
	log_error("the data plane did not take a lease", "bind=%u error=\"%s\"", bind_id,
		err_text(err));
}

static bool plane_sync_lease(void *ctx, const struct lease *l)
{
	struct rsipd *d = ctx;

	if (d->plane.driver->install(d->plane.dp, l) != 0)
		d->turn.plane_failed++;
	return true;
}

static void plane_follow(struct rsipd *d, struct turn_load *l, bool stored)
{
	if (d->plane.dp == NULL || (l->n_binds == 0 && !l->all_binds))
		return;
	watch_begin(&d->watch, "data plane");
	for (size_t i = 0; i < l->n_binds; i++)
		plane_sync(d, l->binds[i], stored);
	if (l->all_binds && stored)
		engine_each_lease(d->engine, plane_sync_lease, d);
	watch_end(&d->watch);
	if (!stored)
		return; /* the grants among them are looked at again */
	l->n_binds = 0;
	l->all_binds = false;
}

void turn_reinstall(struct rsipd *d)
{
	uint64_t before = d->turn.plane_failed;

	/* What the engine asked to be installed so far, a million restored ones say, is
	 * among them; what it asked to be removed the driver never had. */
	d->turn.load.n_binds = 0;
	d->turn.load.all_binds = false;
	engine_each_lease(d->engine, plane_sync_lease, d);
	if (d->plane.driver->settled != NULL)
		d->plane.driver->settled(d->plane.dp);
	if (d->turn.plane_failed == before)
		return;
	fault_set(d, "the data plane does not carry every lease; see the log");
	log_error("the data plane did not take leases", "leases=%llu",
		(unsigned long long)(d->turn.plane_failed - before));
}

static void log_refusal(struct rsipd *d, const struct turn_reply *r)
{
	char addr[ADDR_TEXT_MAX];
	const char *name = rsip_error_name(r->error);

	if (!limit_take(&d->refused_log, 1, 20, d->turn.now_ms))
		return;
	log_info("request refused", "host=%s transport=%s error=%u %s",
		addr_format(r->to.addr, addr), transport_name(r->to.transport), r->error,
		name != NULL ? name : "");
}

static void reply_send(
	struct rsipd *d, const struct turn_load *l, const struct turn_reply *r)
{
	const uint8_t *bytes = l->bytes + r->at;

	if (r->error != 0)
		log_refusal(d, r);
	(void)net_send(d->net, &r->to, bytes, r->len, r->close); /* counted there */
}

/* An answer that says nothing about what was, or was not, stored. */
static bool is_harmless(const struct turn_reply *r, const uint8_t *bytes)
{
	return !r->async && (r->error != 0 || bytes[1] == MSG_QUERY_RESPONSE);
}

/*
 * With the store in order everything leaves.  Otherwise errors do, and what else promises
 * nothing; an answer becomes a 104; asynchronous messages wait.
 */
static void replies_send(struct rsipd *d, struct turn_load *l)
{
	struct turn *t = &d->turn;
	bool in_order = !t->failing && !t->lost;
	size_t held = 0, held_bytes = 0;

	for (size_t i = 0; i < l->n_replies; i++) {
		struct turn_reply r = l->replies[i];

		if (in_order || is_harmless(&r, l->bytes + r.at)) {
			reply_send(d, l, &r);
			net_owe(d->net, &r.to, -1);
		} else if (!r.async) {
			send_internal(d, &r.to, l->bytes + r.at, r.len);
			net_owe(d->net, &r.to, -1);
		} else if (held < HELD_MAX) {
			memmove(l->bytes + held_bytes, l->bytes + r.at, r.len);
			r.at = held_bytes;
			held_bytes += r.len;
			l->replies[held++] = r;
		} else {
			net_owe(d->net, &r.to, -1);
			t->replies_lost++;
		}
	}
	l->n_replies = held;
	l->used = held_bytes;
}

static void observe(struct rsipd *d, struct turn_load *l)
{
	uint64_t took = uv_hrtime() - l->began_ns;

	for (size_t i = 0; i < l->requests; i++)
		metrics_observe(&d->source.request_seconds, took);
	l->requests = 0;
}

/* Everything collected, here and now. */
static int close_now(struct rsipd *d)
{
	struct turn *t = &d->turn;
	int err;

	if (!t->failing || t->now_ms >= t->retry_ms)
		err = commit(d);
	else
		err = store_pending(d->store) > 0 ? ERR_REFUSED : 0;
	plane_follow(d, &t->load, err == 0);
	replies_send(d, &t->load);
	return err;
}

/* --- the other thread -----------------------------------------------------------------
 */

static void write_on_thread(uv_work_t *work)
{
	struct rsipd *d = work->data;

	/* First who held what, then that it is held no more. */
	d->turn.audited = audit_write(d->audit);
	d->turn.result = store_write(d->store);
	uv_sem_post(&d->turn.written);
}

/* What must still be done when the store works again. */
static void flight_keep(struct rsipd *d)
{
	struct turn *t = &d->turn;
	struct turn_load *l = &t->flight;

	for (size_t i = 0; i < l->n_replies; i++) {
		struct turn_reply r = l->replies[i];

		if (!reply_add(&t->load, &r, l->bytes + r.at)) {
			net_owe(d->net, &r.to, -1);
			t->replies_lost++;
		}
	}
	for (size_t i = 0; i < l->n_binds; i++)
		bind_touch(&t->load, l->binds[i]);
	t->load.all_binds |= l->all_binds;
	l->n_replies = l->used = l->n_binds = 0;
	l->all_binds = false;
}

/* The commit is written, or has failed: what waited for it follows. */
static void flight_land(struct rsipd *d)
{
	struct turn *t = &d->turn;
	int err;

	uv_sem_wait(&t->written);
	t->flying = false;
	(void)turn_begin(d);
	(void)audit_end(d->audit, t->audited); /* shows in the health */
	err = committed(d, store_end(d->store, t->result));
	plane_follow(d, &t->flight, err == 0);
	replies_send(d, &t->flight);
	flight_keep(d);
	observe(d, &t->flight);
}

static void on_written(uv_work_t *work, int status)
{
	struct rsipd *d = work->data;

	(void)status;
	d->turn.worker = false;
	if (d->turn.flying)
		flight_land(d);
}

/* False when it has to be done here. */
static bool flight_start(struct rsipd *d)
{
	struct turn *t = &d->turn;
	struct turn_load empty = t->flight;

	if (t->alone || t->worker || t->failing || t->lost ||
		store_pending(d->store) == 0)
		return false;
	if (!t->has_sem && uv_sem_init(&t->written, 0) != 0)
		return false;
	t->has_sem = true;
	t->work.data = d;
	store_begin(d->store);
	audit_begin(d->audit);
	if (uv_queue_work(d->loop, &t->work, write_on_thread, on_written) != 0) {
		(void)audit_end(d->audit, audit_write(d->audit));
		(void)committed(d, store_end(d->store, store_write(d->store)));
		return false;
	}
	t->flying = t->worker = true;
	t->flight = t->load;
	t->load = empty;
	t->load.requests = 0;
	return true;
}

/* --- the end --------------------------------------------------------------------------
 */

int turn_end(struct rsipd *d)
{
	struct turn *t = &d->turn;
	int err = 0;

	if (t->open && t->load.requests > 0)
		watch_note(&d->watch, "requests", uv_hrtime() - t->opened_ns);
	/* What was collected may build on the commit that is being written. */
	if (t->open && !t->flying && !flight_start(d)) {
		err = close_now(d);
		observe(d, &t->load);
	}
	t->open = false;
	watch_begin(&d->watch, "sending");
	net_flush(d->net);
	watch_end(&d->watch);
	return t->lost ? -ENOSPC : err;
}

int turn_settle(struct rsipd *d)
{
	struct turn *t = &d->turn;
	int err;

	if (t->flying)
		flight_land(d);
	(void)turn_begin(d);
	err = close_now(d);
	observe(d, &t->load);
	t->open = false;
	net_flush(d->net);
	return t->lost ? -ENOSPC : err;
}

static void load_fini(struct turn_load *l)
{
	free(l->replies);
	free(l->bytes);
	free(l->binds);
}

void turn_fini(struct turn *t)
{
	load_fini(&t->load);
	load_fini(&t->flight);
	if (t->has_sem)
		uv_sem_destroy(&t->written);
	*t = (struct turn){ 0 };
}
