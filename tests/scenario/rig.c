/*
 * Driving the engine: calls in, effects out to the store and data plane that are made of
 * them.  What the effects must look like is rig_watch.c, what must hold between calls
 * rig_check.c.
 */
#include "rig.h"

#include "rig_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool rig_in_engine;

void rig_fail(struct rig *r, const char *format, ...)
{
	va_list args;

	if (r->fault[0] != '\0')
		return;
	va_start(args, format);
	(void)vsnprintf(r->fault, sizeof(r->fault), format, args);
	va_end(args);
}

/* --- effects --------------------------------------------------------------------------
 */

static void log_add(struct rig *r, const struct effect *e)
{
	struct rig_effect *to;

	if (!r->words && e->kind != EFFECT_REPLY)
		return;
	if (r->n_log == r->log_room) {
		r->log_room = r->log_room == 0 ? 64 : 2 * r->log_room;
		r->log = realloc(r->log, r->log_room * sizeof(*r->log));
		if (r->log == NULL)
			abort();
	}
	to = &r->log[r->n_log++];
	*to = (struct rig_effect){ .kind = e->kind };
	if (e->kind == EFFECT_REPLY) {
		to->to = e->reply.to;
		to->async = e->reply.async;
		to->close = e->reply.close;
		to->error = e->reply.error;
		to->len = e->reply.len;
		to->bytes = malloc(e->reply.len + 1);
		if (to->bytes == NULL)
			abort();
		memcpy(to->bytes, e->reply.bytes, e->reply.len);
	}
	if (r->words)
		to->text = watch_text(e);
}

/*
 * A listener goes with the whole address that it listens on, and over TCP without a
 * connection the host can't be told (A-R-14).
 */
static void end_untold(struct rig *r, const struct lease *l)
{
	const struct registration *reg = model_registration(&r->store, l->client_id);

	if (l->method == METHOD_LISTEN && reg != NULL &&
		reg->peer.transport == TRANSPORT_TCP)
		watch_ended(r, l->bind_id);
}

static void persist(struct rig *r, const struct effect *e)
{
	bool gone = e->persist.gone;

	r->persists++;
	r->repeated = false;
	switch (e->persist.kind) {
	case PERSIST_REGISTRATION:
		if (!gone) {
			model_registration_put(&r->store, e->persist.reg);
			break;
		}
		(void)rows_put(&r->gone, &e->persist.reg->client_id);
		if (!model_registration_drop(&r->store, e->persist.reg->client_id))
			rig_fail(r, "forgets registration %u, which the store has not",
				e->persist.reg->client_id);
		break;
	case PERSIST_LEASE:
		if (!gone) {
			model_lease_put(&r->store, e->persist.lease);
			break;
		}
		(void)rows_put(&r->gone, &e->persist.lease->bind_id);
		end_untold(r, e->persist.lease);
		if (!model_lease_drop(&r->store, e->persist.lease->bind_id))
			rig_fail(r, "forgets lease %u, which the store has not",
				e->persist.lease->bind_id);
		break;
	case PERSIST_RESTING:
		if (!gone)
			model_resting_put(&r->store, e->persist.resting);
		else if (!model_resting_drop(&r->store, e->persist.resting))
			rig_fail(r, "forgets a resting tuple that the store has not");
		break;
	}
}

/* Newest last; where there are too many the oldest is never answered. */
static void resolve_put(struct rig *r, const struct effect *e)
{
	struct rig_name *to;

	if (e->resolve.token == 0 || e->resolve.len == 0)
		rig_fail(r, "a name is asked for without token or name");
	for (size_t i = 0; i < r->n_names; i++)
		if (r->names[i].token == e->resolve.token)
			return; /* asked again */
	if (r->n_names == RIG_NAMES)
		memmove(r->names, r->names + 1, --r->n_names * sizeof(r->names[0]));
	to = &r->names[r->n_names++];
	to->token = e->resolve.token;
	(void)snprintf(
		to->name, sizeof(to->name), "%.*s", (int)e->resolve.len, e->resolve.name);
}

static void take(struct rig *r, const struct effect *e)
{
	if (e->kind == EFFECT_PERSIST && r->crash_at != 0 &&
		r->persists + 1 == r->crash_at)
		r->crashed = true;
	if (r->crashed || r->lost)
		return; /* nobody is there any more to do it */
	switch (e->kind) {
	case EFFECT_PERSIST:
		persist(r, e);
		break;
	case EFFECT_INSTALL:
		model_lease_put(&r->plane, e->lease);
		break;
	case EFFECT_REMOVE:
		if (!model_lease_drop(&r->plane, e->lease->bind_id))
			rig_fail(r, "removes lease %u, which the data plane has not",
				e->lease->bind_id);
		break;
	case EFFECT_REPLY:
		watch_reply(r, e);
		break;
	case EFFECT_AUDIT:
		watch_audit(r, e);
		break;
	case EFFECT_RESOLVE:
		resolve_put(r, e);
		break;
	}
	log_add(r, e);
}

static void sink(void *ctx, const struct effect *e)
{
	bool was = rig_in_engine;

	rig_in_engine = false;
	take(ctx, e);
	rig_in_engine = was;
}

/* --- life -----------------------------------------------------------------------------
 */

static int u32_cmp(const void *a, const void *b)
{
	uint32_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return (x > y) - (x < y);
}

static void engine_start(struct rig *r)
{
	r->seed = r->seed * 6364136223846793005u + 1;
	r->engine = engine_new(&r->setup.conf, random_seeded(r->seed), sink, r);
	if (r->engine == NULL)
		rig_fail(r, "engine_new() gave NULL");
}

void rig_init(struct rig *r, const struct setup *setup, uint64_t seed)
{
	memset(r, 0, sizeof(*r));
	r->setup = *setup;
	setup_seal(&r->setup);
	r->seed = seed;
	/* Not 0, so that a time that was never set shows. */
	r->now_ms = 1000000;
	model_init(&r->store);
	model_init(&r->plane);
	model_init(&r->told);
	r->clients = (struct rows){ .size = sizeof(struct rig_client), .cmp = u32_cmp };
	r->binds = (struct rows){ .size = sizeof(struct rig_bind), .cmp = u32_cmp };
	r->gone = (struct rows){ .size = sizeof(uint32_t), .cmp = u32_cmp };
	watch_init(r);
	engine_start(r);
}

void rig_clear(struct rig *r)
{
	for (size_t i = 0; i < r->n_log; i++) {
		free(r->log[i].bytes);
		free(r->log[i].text);
	}
	r->n_log = 0;
}

void rig_fini(struct rig *r)
{
	rig_clear(r);
	free(r->log);
	engine_free(r->engine);
	model_fini(&r->store);
	model_fini(&r->plane);
	model_fini(&r->told);
	free(r->clients.row);
	free(r->binds.row);
	free(r->gone.row);
	watch_fini(r);
}

struct rig_effect *rig_reply(struct rig *r)
{
	for (size_t i = 0; i < r->n_log; i++)
		if (r->log[i].kind == EFFECT_REPLY && !r->log[i].taken)
			return &r->log[i];
	return NULL;
}

/* --- calls ----------------------------------------------------------------------------
 */

void rig_message(struct rig *r, const struct peer *from, const uint8_t *bytes, size_t len)
{
	if (r->crashed)
		return;
	r->gone.n = 0;
	r->from = from;
	r->request = bytes;
	r->request_len = len;
	r->repeated = watch_repeated(r);
	rig_in_engine = true;
	engine_message(r->engine, from, bytes, len, r->now_ms);
	rig_in_engine = false;
	r->from = NULL;
}

static void tick(struct rig *r)
{
	uint64_t before = r->now_ms, due;

	r->gone.n = 0;
	rig_in_engine = true;
	r->repeated = false;
	engine_tick(r->engine, r->now_ms);
	rig_in_engine = false;
	due = engine_deadline(r->engine);
	if (!r->crashed && due <= before)
		rig_fail(r, "engine_tick() left work that was due (%llu <= %llu)",
			(unsigned long long)due, (unsigned long long)before);
}

void rig_until(struct rig *r, uint64_t ms)
{
	uint64_t due;

	while (!r->crashed && r->fault[0] == '\0' &&
		(due = engine_deadline(r->engine)) <= ms) {
		if (due > r->now_ms)
			r->now_ms = due;
		tick(r);
	}
	if (!r->crashed && ms > r->now_ms)
		r->now_ms = ms;
}

void rig_conn_closed(struct rig *r, uint64_t conn)
{
	if (r->crashed)
		return;
	engine_conn_closed(r->engine, conn);
	if (engine_deadline(r->engine) <= r->now_ms)
		tick(r); /* of what waited on that connection */
}

void rig_resolved(struct rig *r, size_t i, const uint32_t *addresses, size_t n)
{
	uint64_t token = r->names[i].token;

	r->n_names--;
	memmove(r->names + i, r->names + i + 1, (r->n_names - i) * sizeof(r->names[0]));
	if (r->crashed)
		return;
	r->gone.n = 0;
	r->repeated = false;
	rig_in_engine = true;
	engine_resolved(r->engine, token, addresses, n, 0, r->now_ms);
	rig_in_engine = false;
}

void rig_misuse(struct rig *r, uint32_t host, uint16_t error, uint32_t bind_id)
{
	rig_in_engine = true;
	if (!r->crashed)
		engine_misuse(r->engine, host, error, bind_id, r->now_ms);
	rig_in_engine = false;
}

/* An operator's act holds whether or not the host can be told (A-R-14). */
int rig_release(struct rig *r, uint32_t bind_id)
{
	int err;

	if (r->crashed)
		return 0;
	r->gone.n = 0;
	rig_in_engine = true;
	err = engine_release(r->engine, bind_id, r->now_ms);
	rig_in_engine = false;
	if (err == 0 && !r->crashed)
		watch_ended(r, bind_id);
	return err;
}

int rig_deregister(struct rig *r, uint32_t client_id)
{
	int err;

	if (r->crashed)
		return 0;
	r->gone.n = 0;
	rig_in_engine = true;
	err = engine_deregister(r->engine, client_id, r->now_ms);
	rig_in_engine = false;
	if (err == 0 && !r->crashed)
		watch_client_ended(r, client_id);
	return err;
}

int rig_reload(struct rig *r, const struct setup *setup)
{
	struct setup *next = malloc(sizeof(*next));
	int err;

	if (next == NULL)
		abort();
	*next = *setup;
	setup_seal(next);
	r->gone.n = 0;
	rig_in_engine = true;
	err = r->crashed ? 0 : engine_reload(r->engine, &next->conf, r->now_ms);
	rig_in_engine = false;
	if (err == 0) {
		r->setup = *next;
		setup_seal(&r->setup);
		if (!r->crashed)
			watch_reloaded(r);
	}
	free(next);
	return err;
}

/* --- restart --------------------------------------------------------------------------
 */

/* After a reload or a torn write a resting tuple may have no place any more. */
static bool is_pooled(const struct rig *r, const struct resting *rest)
{
	bool dedicated;

	return !r->torn && setup_pool_of(&r->setup, rest->address, &dedicated) != NULL &&
	       dedicated == (rest->kind == REST_ADDRESS);
}

/*
 * As the daemon does it: registrations, then leases, then resting tuples; a record that
 * the engine refuses as past or clashing is deleted.
 */
static void restore(struct rig *r, struct model *kept)
{
	for (size_t i = 0; i < kept->registrations.n; i++) {
		struct registration reg = *model_registration_at(kept, i);

		reg.peer.conn = 0;
		reg.bindings = 0;
		if (engine_restore_registration(r->engine, &reg, r->now_ms) == 0)
			model_registration_put(&r->store, &reg);
		else if (reg.expires_ms > r->now_ms)
			rig_fail(r, "refuses its own registration %u", reg.client_id);
	}
	for (size_t i = 0; i < kept->leases.n; i++) {
		const struct lease *l = model_lease_at(kept, i);

		if (engine_restore_lease(r->engine, l, r->now_ms) == 0)
			model_lease_put(&r->store, l);
		else if (l->expires_ms > r->now_ms &&
			 model_registration(&r->store, l->client_id) != NULL)
			rig_fail(r, "refuses its own lease %u", l->bind_id);
	}
	for (size_t i = 0; i < kept->resting.n; i++) {
		const struct resting *rest = model_resting_at(kept, i);

		if (engine_restore_resting(r->engine, rest, r->now_ms) == 0)
			model_resting_put(&r->store, rest);
		else if (rest->until_ms > r->now_ms && is_pooled(r, rest))
			rig_fail(r, "refuses its own resting tuple");
	}
}

void rig_lose(struct rig *r)
{
	r->lost = true;
}

void rig_restart(struct rig *r, bool with_store, uint64_t down_ms)
{
	struct model kept = r->store;

	engine_free(r->engine);
	r->n_names = 0;
	if (!r->crashed)
		r->gone.n = 0; /* else they say whose end was stored before the crash */
	r->now_ms += down_ms;
	r->torn = r->torn || r->crashed;
	r->crashed = r->lost = false;
	model_init(&r->store);
	model_clear(&r->plane);
	engine_start(r);
	watch_restarted(r, with_store);
	if (with_store && r->engine != NULL)
		restore(r, &kept);
	model_fini(&kept);
}
