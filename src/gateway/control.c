/*
 * The methods of rsipd's control socket.  Answers for the JSON that docs/control.md
 * promises and for never holding the loop: a long list notes the IDs first and is then
 * sent in pieces, each when the client has read the one before.
 */
#include "gateway/control.h"

#include "base/err.h"
#include "gateway/control_json.h"
#include "gateway/gw_metrics.h"
#include "gateway/monitor.h"
#include "gateway/trial.h"
#include "gateway/whois.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One piece of a list: about a millisecond's work. */
#define PIECE_ITEMS  256
#define PIECE_RANGES 4096

/* --- lists ----------------------------------------------------------------------------
 */

struct listing;

/* What a list is of. */
struct listing_kind {
	const char *key; /* of the array in the answer */
	/* Note the IDs of all there is now. */
	void (*gather)(struct listing *l);
	/*
	 * Append the item of an ID to the piece, or nothing when it is no more.  Adds to
	 * *weight what it cost beyond an item.
	 */
	int (*item)(struct listing *l, uint32_t id, json_t *piece, size_t *weight);
};

struct listing {
	const struct listing_kind *kind;
	struct control_source *source;
	uint32_t *ids;
	size_t n, size, next; /* next: behind the one that `item` is asked for */
	bool short_of_memory;
	struct whois whois; /* of Whois ... */
	json_t *ended;      /* ... records, whose places are the first IDs */
};

static bool listing_note(struct listing *l, uint32_t id)
{
	if (l->n == l->size) {
		size_t size = l->size > 0 ? l->size * 2 : 256;
		uint32_t *ids = realloc(l->ids, size * sizeof(*ids));

		if (ids == NULL) {
			l->short_of_memory = true;
			return false;
		}
		l->ids = ids;
		l->size = size;
	}
	l->ids[l->n++] = id;
	return true;
}

static void listing_free(struct listing *l)
{
	json_decref(l->ended);
	free(l->ids);
	free(l);
}

static int listing_piece(struct listing *l, json_t *piece)
{
	size_t weight = 0;

	for (size_t i = 0; i < PIECE_ITEMS && weight < PIECE_RANGES && l->next < l->n;
		i++) {
		int err = l->kind->item(l, l->ids[l->next++], piece, &weight);

		if (err != 0)
			return err;
	}
	return 0;
}

/* The next piece; the last one ends the call and the listing. */
static void listing_step(void *ctx, struct ipc_call *call)
{
	struct listing *l = ctx;
	json_t *piece = json_array();
	int err = piece != NULL ? listing_piece(l, piece) : -ENOMEM;
	json_t *answer = err == 0 ? json_pack("{s:O}", l->kind->key, piece) : NULL;

	json_decref(piece);
	if (answer == NULL) {
		ipc_error(call, IPC_INTERNAL, "%s", err_text(-ENOMEM));
	} else if (l->next == l->n) {
		ipc_reply(call, answer);
	} else if (!ipc_wants_more(call)) {
		json_decref(answer);
		ipc_error(call, IPC_REFUSED,
			"the %s do not fit in one answer: call with more", l->kind->key);
	} else if (ipc_continue(call, answer) != 0) {
		ipc_reply(call, NULL); /* nobody is there any more */
	} else {
		ipc_when_drained(call, listing_step, l);
		return;
	}
	listing_free(l);
}

static void listing_start(struct control_source *source, struct ipc_call *call,
	const struct listing_kind *kind, const struct whois *whois, json_t *ended)
{
	struct listing *l = calloc(1, sizeof(*l));

	if (l == NULL) {
		ipc_error(call, IPC_INTERNAL, "%s", err_text(-ENOMEM));
		return;
	}
	l->kind = kind;
	l->source = source;
	if (whois != NULL)
		l->whois = *whois;
	l->ended = json_incref(ended);
	kind->gather(l);
	if (!l->short_of_memory) {
		listing_step(l, call);
		return;
	}
	ipc_error(call, IPC_INTERNAL, "%s", err_text(-ENOMEM));
	listing_free(l);
}

static uint64_t source_now(const struct control_source *s)
{
	return s->now_ms(s->ctx);
}

static int piece_append(json_t *piece, json_t *item)
{
	return item != NULL && json_array_append_new(piece, item) == 0 ? 0 : -ENOMEM;
}

static bool note_registration(void *ctx, const struct registration *r)
{
	return listing_note(ctx, r->client_id);
}

static void gather_clients(struct listing *l)
{
	engine_each_registration(l->source->engine, note_registration, l);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): others of its kind write to weight */
static int item_client(struct listing *l, uint32_t id, json_t *piece, size_t *weight)
{
	struct registration r;

	(void)weight;
	if (engine_registration_find(l->source->engine, id, &r) != 0)
		return 0; /* ended since it was noted */
	return piece_append(piece, control_registration_json(&r, source_now(l->source)));
}

static int item_details(struct listing *l, uint32_t id, json_t *piece, size_t *weight)
{
	struct registration r;

	*weight += PIECE_RANGES / PIECE_ITEMS;
	if (engine_registration_find(l->source->engine, id, &r) != 0)
		return 0;
	return piece_append(
		piece, control_registration_details(&r, source_now(l->source)));
}

static bool note_lease(void *ctx, const struct lease *lease)
{
	return listing_note(ctx, lease->bind_id);
}

static void gather_bindings(struct listing *l)
{
	engine_each_lease(l->source->engine, note_lease, l);
}

static int item_binding(struct listing *l, uint32_t id, json_t *piece, size_t *weight)
{
	struct lease lease;

	if (engine_lease_find(l->source->engine, id, &lease) != 0)
		return 0;
	*weight += lease.n_ports + lease.n_spis;
	return piece_append(piece, control_lease_json(&lease, source_now(l->source)));
}

/*
 * Addresses have no ID of their own; they are walked in the engine's order, one noted
 * "ID" for each piece's worth, so that a /16 is not one piece either.
 */
struct address_walk {
	struct listing *l; /* while gathering */
	json_t *pools;     /* while making a piece */
	size_t at, from;
	bool failed;
};

static bool note_addresses(void *ctx, const struct engine_address *a)
{
	struct address_walk *w = ctx;

	(void)a;
	return w->at++ % PIECE_ITEMS != 0 || listing_note(w->l, (uint32_t)(w->at - 1));
}

static void gather_pools(struct listing *l)
{
	struct address_walk w = { .l = l };

	engine_each_address(l->source->engine, note_addresses, &w);
}

static bool put_address(void *ctx, const struct engine_address *a)
{
	struct address_walk *w = ctx;

	if (w->at++ < w->from)
		return true;
	if (w->at > w->from + PIECE_ITEMS)
		return false;
	w->failed = control_json_address(w->pools, a) != 0;
	return !w->failed;
}

static int item_pools(struct listing *l, uint32_t from, json_t *piece, size_t *weight)
{
	struct address_walk w = { .pools = piece, .from = from };

	engine_each_address(l->source->engine, put_address, &w);
	*weight = PIECE_RANGES; /* a piece by itself */
	return w.failed ? -ENOMEM : 0;
}

static void list_clients(void *ctx, struct ipc_call *call, json_t *params)
{
	static const struct listing_kind kind = { "clients", gather_clients,
		item_client };
	static const struct listing_kind details = { "clients", gather_clients,
		item_details };
	bool more = json_is_true(json_object_get(params, "details"));

	listing_start(ctx, call, more ? &details : &kind, NULL, NULL);
}

static void list_bindings(void *ctx, struct ipc_call *call, json_t *params)
{
	static const struct listing_kind kind = { "bindings", gather_bindings,
		item_binding };

	(void)params;
	listing_start(ctx, call, &kind, NULL, NULL);
}

static void list_pools(void *ctx, struct ipc_call *call, json_t *params)
{
	static const struct listing_kind kind = { "pools", gather_pools, item_pools };

	(void)params;
	listing_start(ctx, call, &kind, NULL, NULL);
}

static bool note_match(void *ctx, const struct lease *lease)
{
	struct listing *l = ctx;

	return !whois_holds(&l->whois, lease) || listing_note(l, lease->bind_id);
}

/* First those that have ended, by their places, then the Bind IDs of those held. */
static void gather_whois(struct listing *l)
{
	for (size_t i = 0; i < json_array_size(l->ended); i++)
		if (!listing_note(l, (uint32_t)i))
			return;
	engine_each_lease(l->source->engine, note_match, l);
}

static int item_whois(struct listing *l, uint32_t id, json_t *piece, size_t *weight)
{
	struct lease lease;

	if (l->next <= json_array_size(l->ended)) {
		*weight += PIECE_RANGES / PIECE_ITEMS;
		return piece_append(
			piece, whois_ended_json(json_array_get(l->ended, id)));
	}
	if (engine_lease_find(l->source->engine, id, &lease) != 0)
		return 0;
	*weight += lease.n_ports + lease.n_spis;
	return piece_append(piece, whois_json(&l->whois, &lease));
}

static const struct listing_kind whois_kind = { "bindings", gather_whois, item_whois };

/* A question about the past, while the audit is searched. */
struct inquiry {
	struct control_source *source;
	struct ipc_call *call;
	struct whois whois;
};

static void on_searched(void *ctx, int err, json_t *found)
{
	struct inquiry *i = ctx;

	if (err == ERR_NOSPACE)
		ipc_error(i->call, IPC_REFUSED,
			"more than %d leases answer: give a port or an SPI",
			AUDIT_FOUND_MAX);
	else if (err != 0)
		ipc_error(i->call, IPC_INTERNAL, "the audit cannot be read: %s",
			err_text(err));
	else
		listing_start(i->source, i->call, &whois_kind, &i->whois, found);
	free(i);
}

static void list_whois(void *ctx, struct ipc_call *call, json_t *params)
{
	struct control_source *source = ctx;
	struct inquiry *i;
	struct whois whois;

	if (!whois_read(&whois, call, params, source_now(source)))
		return;
	if (!whois.has_at) {
		listing_start(source, call, &whois_kind, &whois, NULL);
		return;
	}
	i = malloc(sizeof(*i));
	if (i != NULL)
		*i = (struct inquiry){ source, call, whois };
	if (i == NULL ||
		archive_ask(source->archive, &whois.question, on_searched, i) != 0) {
		free(i);
		ipc_error(call, IPC_INTERNAL, "%s", err_text(-ENOMEM));
	}
}

/* --- objects --------------------------------------------------------------------------
 */

static void reply_or_fail(struct ipc_call *call, json_t *answer)
{
	if (answer != NULL)
		ipc_reply(call, answer);
	else
		ipc_error(call, IPC_INTERNAL, "%s", err_text(-ENOMEM));
}

static void get_counters(void *ctx, struct ipc_call *call, json_t *params)
{
	(void)params;
	reply_or_fail(call, control_json_metrics(gw_metrics_collect, ctx));
}

static json_t *transports_json(const struct control_source *s)
{
	json_t *list = json_array();

	if (s->tcp)
		(void)json_array_append_new(list, json_string("tcp"));
	if (s->udp)
		(void)json_array_append_new(list, json_string("udp"));
	return list;
}

static json_t *listen_json(const struct control_source *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->n_listen; i++)
		(void)json_array_append_new(list, json_string(s->listen[i]));
	return list;
}

static uint64_t bindings_count(const struct engine_counters *c)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < METHODS; i++)
		n += c->bindings[i];
	return n;
}

static json_t *reasons_json(const struct control_source *s)
{
	struct health_reason reasons[HEALTH_MAX];
	size_t n = s->reasons(s->ctx, reasons);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(list,
			json_pack("{s:s, s:b, s:s}", "reason", reasons[i].name, "fault",
				(int)reasons[i].fault, "text", reasons[i].text));
	return list;
}

json_t *control_status_json(const struct control_source *s)
{
	const struct engine_counters *c = engine_counters(s->engine);
	char why[IPC_WHY] = "ok";
	bool healthy = s->healthy == NULL || s->healthy(s->ctx, why, sizeof(why));

	return json_pack("{s:s, s:I, s:s, s:o, s:o, s:s?, s:I, s:I, s:b, s:s, s:o}",
		"version", RSIP_VERSION, "uptime",
		(json_int_t)((source_now(s) - s->started_ms) / 1000), "driver", s->driver,
		"transports", transports_json(s), "listen", listen_json(s), "config",
		s->config_file, "clients", (json_int_t)c->registrations, "bindings",
		(json_int_t)bindings_count(c), "healthy", (int)healthy, "health",
		healthy ? "ok" : why, "reasons", reasons_json(s));
}

static void get_status(void *ctx, struct ipc_call *call, json_t *params)
{
	(void)params;
	reply_or_fail(call, control_status_json(ctx));
}

/* --- verbs ----------------------------------------------------------------------------
 */

/* An ID among the parameters, or the call ended with what is wrong. */
static bool id_param(
	struct ipc_call *call, const json_t *params, const char *name, uint32_t *id)
{
	const json_t *value = json_object_get(params, name);
	json_int_t n = json_integer_value(value);

	if (!json_is_integer(value) || n < 1 || n > (json_int_t)UINT32_MAX) {
		ipc_error(call, IPC_INVALID_PARAMETER,
			"%s must be a number from 1 to 4294967295", name);
		return false;
	}
	*id = (uint32_t)n;
	return true;
}

/* The end of a verb: what it changed is committed and told before the operator is. */
static void verb_end(struct control_source *s, struct ipc_call *call, int err,
	const char *what, uint32_t id)
{
	char why[IPC_WHY] = "";

	if (err == ERR_NOTFOUND) {
		ipc_error(call, IPC_NOT_FOUND, "there is no %s %u", what, id);
		return;
	}
	if (err == 0)
		err = s->settle(s->ctx, why, sizeof(why));
	if (err != 0)
		ipc_error_code(call, err, why[0] != 0 ? why : err_text(err));
	else
		ipc_reply(call, NULL);
}

static void do_release(void *ctx, struct ipc_call *call, json_t *params)
{
	struct control_source *s = ctx;
	uint32_t id;

	if (id_param(call, params, "bind_id", &id))
		verb_end(s, call, engine_release(s->engine, id, source_now(s)), "binding",
			id);
}

static void do_deregister(void *ctx, struct ipc_call *call, json_t *params)
{
	struct control_source *s = ctx;
	uint32_t id;

	if (id_param(call, params, "client_id", &id))
		verb_end(s, call, engine_deregister(s->engine, id, source_now(s)),
			"client", id);
}

static void do_monitor(void *ctx, struct ipc_call *call, json_t *params)
{
	const struct control_source *s = ctx;

	monitor_start(s->monitor, call, params);
}

static void do_reload(void *ctx, struct ipc_call *call, json_t *params)
{
	struct control_source *s = ctx;
	char why[IPC_WHY] = "";
	int err = s->reload(s->ctx, why, sizeof(why));

	(void)params;
	if (err != 0)
		ipc_error_code(call, err, why[0] != 0 ? why : err_text(err));
	else
		ipc_reply(call, NULL);
}

static json_t *config_json(const struct control_source *s)
{
	const struct control_config c = s->config(s->ctx);
	char *full = realpath(c.file, NULL);
	json_t *value = json_pack("{s:s, s:s, s:o}", "file", full != NULL ? full : c.file,
		"text", c.text, "trial",
		c.trial_s > 0 ? json_integer(c.trial_s) : json_null());

	free(full);
	return value;
}

static void get_configuration(void *ctx, struct ipc_call *call, json_t *params)
{
	(void)params;
	ipc_reply(call, config_json(ctx));
}

static void do_try(void *ctx, struct ipc_call *call, json_t *params)
{
	struct control_source *s = ctx;
	const char *text = json_string_value(json_object_get(params, "text"));
	json_int_t seconds = json_integer_value(json_object_get(params, "seconds"));
	char why[IPC_WHY] = "";
	int err;

	if (text == NULL || seconds < 1 || seconds > TRIAL_MAX_S) {
		ipc_error(call, IPC_INVALID_PARAMETER,
			"text, and seconds from 1 to %d, are needed", TRIAL_MAX_S);
		return;
	}
	err = s->apply(s->ctx, text, (uint32_t)seconds, why, sizeof(why));
	if (err != 0)
		ipc_error_code(call, err, why);
	else
		ipc_reply(call, NULL);
}

static void do_confirm(void *ctx, struct ipc_call *call, json_t *params)
{
	struct control_source *s = ctx;

	(void)params;
	if (s->confirm(s->ctx) != 0)
		ipc_error(call, IPC_NOT_FOUND,
			"no configuration is on trial; its time may be over");
	else
		ipc_reply(call, config_json(s));
}

const struct ipc_method control_methods[] = {
	{ "org.rsipsec.gateway.ListClients", list_clients },
	{ "org.rsipsec.gateway.ListBindings", list_bindings },
	{ "org.rsipsec.gateway.ListPools", list_pools },
	{ "org.rsipsec.gateway.Whois", list_whois },
	{ "org.rsipsec.gateway.GetCounters", get_counters },
	{ "org.rsipsec.gateway.GetStatus", get_status },
	{ "org.rsipsec.gateway.Release", do_release },
	{ "org.rsipsec.gateway.Deregister", do_deregister },
	{ "org.rsipsec.gateway.Monitor", do_monitor },
	{ "org.rsipsec.gateway.Reload", do_reload },
	{ "org.rsipsec.gateway.GetConfiguration", get_configuration },
	{ "org.rsipsec.gateway.TryConfiguration", do_try },
	{ "org.rsipsec.gateway.ConfirmConfiguration", do_confirm },
	{ NULL, NULL },
};
