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
 */
#include "gateway/turn.h"

#include "base/err.h"
#include "base/log.h"
#include "gateway/rsipd.h"
#include "wire/msg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MS      200
#define TELL_EVERY_MS 60000
#define TELL_HOSTS    1000 /* at most, of the registered ones */
#define HELD_MAX      4096 /* asynchronous messages that wait for a commit */
#define ERROR_BYTES   64

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

uint64_t turn_begin(struct rsipd *d)
{
	struct turn *t = &d->turn;

	if (!t->open) {
		t->open = true;
		t->now_ms = rsipd_clock_ms();
		t->began_ns = uv_hrtime();
	}
	return t->now_ms;
}

/* --- collecting -----------------------------------------------------------------------
 */

static bool bytes_room(struct turn *t, size_t len)
{
	size_t size = t->size_bytes > 0 ? t->size_bytes : 4096;
	uint8_t *p;

	while (size - t->used < len)
		size *= 2;
	if (size == t->size_bytes)
		return true;
	p = realloc(t->bytes, size);
	if (p == NULL)
		return false;
	t->bytes = p;
	t->size_bytes = size;
	return true;
}

static void reply_add(struct turn *t, const struct turn_reply *r, const uint8_t *bytes)
{
	void *at = t->replies;

	if (!bytes_room(t, r->len) ||
		!grow(&at, t->n_replies, &t->size_replies, sizeof(*r))) {
		t->replies_lost++;
		return;
	}
	t->replies = at;
	t->replies[t->n_replies] = *r;
	t->replies[t->n_replies++].at = t->used;
	memcpy(t->bytes + t->used, bytes, r->len);
	t->used += r->len;
}

static void bind_touch(struct turn *t, uint32_t bind_id)
{
	void *at = t->binds;

	if (grow(&at, t->n_binds, &t->size_binds, sizeof(*t->binds))) {
		t->binds = at;
		t->binds[t->n_binds++] = bind_id;
	} else {
		t->all_binds = true;
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
		reply_add(&d->turn, &r, e->reply.bytes);
		break;
	case EFFECT_INSTALL:
	case EFFECT_REMOVE:
		bind_touch(&d->turn, e->lease->bind_id);
		break;
	case EFFECT_PERSIST:
		persist(d, e);
		break;
	case EFFECT_AUDIT:
		break; /* nobody reads it yet */
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
	return r.host == host->addr ? id : 0;
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

	d->turn.requests++;
	if (d->turn.failing && now_ms >= d->turn.retry_ms)
		(void)commit(d);
	if ((d->turn.failing || d->turn.lost) && is_promise(bytes, len))
		send_internal(d, from, bytes, len);
	else
		engine_message(d->engine, from, bytes, len, now_ms);
}

/* --- the end --------------------------------------------------------------------------
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

static int commit(struct rsipd *d)
{
	struct turn *t = &d->turn;
	int err;

	if (store_pending(d->store) == 0)
		return 0;
	watch_begin(&d->watch, "store commit");
	err = store_commit(d->store);
	watch_end(&d->watch);
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

static void plane_follow(struct rsipd *d, bool stored)
{
	struct turn *t = &d->turn;

	if (d->plane.dp == NULL || (t->n_binds == 0 && !t->all_binds))
		return;
	watch_begin(&d->watch, "data plane");
	for (size_t i = 0; i < t->n_binds; i++)
		plane_sync(d, t->binds[i], stored);
	if (t->all_binds && stored)
		engine_each_lease(d->engine, plane_sync_lease, d);
	watch_end(&d->watch);
	if (!stored)
		return; /* the grants among them are looked at again */
	t->n_binds = 0;
	t->all_binds = false;
}

void turn_reinstall(struct rsipd *d)
{
	uint64_t before = d->turn.plane_failed;

	engine_each_lease(d->engine, plane_sync_lease, d);
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

static void reply_send(struct rsipd *d, const struct turn_reply *r)
{
	const uint8_t *bytes = d->turn.bytes + r->at;

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
static void replies_send(struct rsipd *d)
{
	struct turn *t = &d->turn;
	bool in_order = !t->failing && !t->lost;
	size_t held = 0, held_bytes = 0;

	for (size_t i = 0; i < t->n_replies; i++) {
		struct turn_reply r = t->replies[i];

		if (in_order || is_harmless(&r, t->bytes + r.at)) {
			reply_send(d, &r);
		} else if (!r.async) {
			send_internal(d, &r.to, t->bytes + r.at, r.len);
		} else if (held < HELD_MAX) {
			memmove(t->bytes + held_bytes, t->bytes + r.at, r.len);
			r.at = held_bytes;
			held_bytes += r.len;
			t->replies[held++] = r;
		} else {
			t->replies_lost++;
		}
	}
	t->n_replies = held;
	t->used = held_bytes;
}

static void observe(struct rsipd *d)
{
	uint64_t took = uv_hrtime() - d->turn.began_ns;

	for (size_t i = 0; i < d->turn.requests; i++)
		metrics_observe(&d->source.request_seconds, took);
	d->turn.requests = 0;
}

int turn_end(struct rsipd *d)
{
	struct turn *t = &d->turn;
	int err = 0;

	if (t->requests > 0)
		watch_note(&d->watch, "requests", uv_hrtime() - t->began_ns);
	if (t->open) {
		if (!t->failing || t->now_ms >= t->retry_ms)
			err = commit(d);
		else
			err = store_pending(d->store) > 0 ? ERR_REFUSED : 0;
		plane_follow(d, err == 0);
		replies_send(d);
		t->open = false;
	}
	watch_begin(&d->watch, "sending");
	net_flush(d->net);
	watch_end(&d->watch);
	if (t->requests > 0)
		observe(d);
	return t->lost ? -ENOSPC : err;
}

void turn_fini(struct turn *t)
{
	free(t->replies);
	free(t->bytes);
	free(t->binds);
	*t = (struct turn){ 0 };
}
