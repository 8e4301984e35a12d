/*
 * The JSON of the control socket, value by value.  Its names are a promise to scripts:
 * they are added to, never changed.
 */
#include "gateway/control_json.h"

#include "gateway/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *address_json(uint32_t addr)
{
	char text[ADDR_TEXT_MAX];

	return json_string(addr_format(addr, text));
}

/* "lo-hi,..." of any length, null for none. */
static json_t *ranges_json(const struct range *r, size_t n, bool hex)
{
	char few[64];
	json_t *value;
	char *text;
	int len;

	if (n == 0)
		return json_null();
	len = ranges_format(r, n, hex, few, sizeof(few));
	if (len < 0 || (size_t)len < sizeof(few))
		return json_string(few);
	text = malloc((size_t)len + 1);
	if (text == NULL)
		return NULL;
	(void)ranges_format(r, n, hex, text, (size_t)len + 1);
	value = json_string(text);
	free(text);
	return value;
}

static json_int_t remaining_s(uint64_t until_ms, uint64_t now_ms)
{
	return until_ms > now_ms ? (json_int_t)((until_ms - now_ms) / 1000) : 0;
}

/* "TYPE:HEX" */
static json_t *identity_json(const struct lease *l)
{
	char text[8 + 2 * IKE_ID_MAX];
	int n = snprintf(text, sizeof(text), "%u:", (unsigned int)l->ike_id[0]);

	for (size_t i = 1; i < l->ike_id_len && i < IKE_ID_MAX; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%02x",
			(unsigned int)l->ike_id[i]);
	return json_string(text);
}

json_t *control_lease_json(const struct lease *l, uint64_t now_ms)
{
	bool has_address = l->remote.flow != REMOTE_NONE && l->remote.addr != 0;
	bool has_port = l->remote.flow == REMOTE_MICRO && l->remote.port != 0;
	struct range port = { l->remote.port, l->remote.port };

	json_t *json = json_pack(
		"{s:I, s:I, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:s?, s:I, s:s}",
		"client_id", (json_int_t)l->client_id, "bind_id", (json_int_t)l->bind_id,
		"host", address_json(l->host), "method", lease_method_name(l->method),
		"address", address_json(l->address), "ports",
		ranges_json(l->ports, l->n_ports, false), "spis",
		ranges_json(l->spis, l->n_spis, true), "remote_address",
		has_address ? address_json(l->remote.addr) : json_null(), "remote_ports",
		has_port ? ranges_json(&port, 1, false) : json_null(), "tunnel",
		tunnel_type_name(l->tunnel), "lease_remaining",
		remaining_s(l->expires_ms, now_ms), "state", "held");

	if (l->ike_id_len > 0 && json != NULL)
		(void)json_object_set_new(json, "ike_identity", identity_json(l));
	return json;
}

json_t *control_registration_json(const struct registration *r, uint64_t now_ms)
{
	return json_pack("{s:I, s:o, s:s, s:I, s:I}", "client_id",
		(json_int_t)r->client_id, "host", address_json(r->host), "transport",
		transport_name(r->peer.transport), "lease_remaining",
		remaining_s(r->expires_ms, now_ms), "bindings", (json_int_t)r->bindings);
}

json_t *control_registration_details(const struct registration *r, uint64_t now_ms)
{
	json_t *all = control_registration_json(r, now_ms);
	json_t *more = json_pack("{s:I, s:I, s:I, s:I, s:I}", "ports",
		(json_int_t)r->ports, "spis", (json_int_t)r->spis, "requests",
		(json_int_t)r->requests, "refused", (json_int_t)r->refused, "misused",
		(json_int_t)r->misused);

	if (json_object_update(all, more) != 0) {
		json_decref(all);
		all = NULL;
	}
	json_decref(more);
	return all;
}

/* The pool of that name in the array, made when it is not there. */
static json_t *pool_addresses(json_t *pools, const char *name)
{
	json_t *pool;
	size_t i;

	json_array_foreach(pools, i,
		pool) if (strcmp(json_string_value(json_object_get(pool, "name")),
				  name) == 0) return json_object_get(pool, "addresses");
	pool = json_pack("{s:s, s:[]}", "name", name, "addresses");
	if (pool == NULL || json_array_append_new(pools, pool) != 0)
		return NULL;
	return json_object_get(pool, "addresses");
}

int control_json_address(json_t *pools, const struct engine_address *a)
{
	json_t *list = pool_addresses(pools, a->pool);
	json_t *item = json_pack("{s:o, s:b, s:I, s:I, s:I, s:I, s:I}", "address",
		address_json(a->address), "dedicated", (int)a->dedicated, "ports_free",
		(json_int_t)a->ports_free, "ports_held", (json_int_t)a->ports_held,
		"ports_resting", (json_int_t)a->ports_resting, "spis_held",
		(json_int_t)a->spis_held, "spis_resting", (json_int_t)a->spis_resting);

	/* Takes over item, also when list is NULL. */
	return json_array_append_new(list, item) == 0 ? 0 : -ENOMEM;
}

/* --- counters -------------------------------------------------------------------------
 */

struct metrics_json {
	json_t *root;
	const char *family;
	bool failed;
};

static void json_family(
	void *ctx, const char *name, enum metrics_kind kind, const char *help)
{
	struct metrics_json *m = ctx;

	(void)kind;
	(void)help;
	m->family = name;
}

static void json_sample(
	void *ctx, const struct metrics_label *labels, size_t n, uint64_t value)
{
	struct metrics_json *m = ctx;
	json_t *at = m->root;
	const char *key = m->family;

	for (size_t i = 0; i < n; i++) {
		json_t *next = json_object_get(at, key);

		if (next == NULL) {
			next = json_object();
			m->failed |= json_object_set_new(at, key, next) != 0;
		}
		at = next;
		key = labels[i].value;
	}
	m->failed |= json_object_set_new(at, key, json_integer((json_int_t)value)) != 0;
}

static void json_histogram(void *ctx, const struct metrics_histogram *h)
{
	struct metrics_json *m = ctx;
	json_t *value = json_pack("{s:I, s:f}", "count", (json_int_t)h->count, "sum",
		(double)h->sum_ns / 1e9);

	m->failed |= json_object_set_new(m->root, m->family, value) != 0;
}

json_t *control_json_metrics(metrics_collect collect, void *ctx)
{
	struct metrics_json m = { .root = json_object(), .family = "" };
	struct metrics_sink sink = { &m, json_family, json_sample, json_histogram };

	if (m.root == NULL)
		return NULL;
	collect(ctx, &sink);
	if (m.failed) {
		json_decref(m.root);
		return NULL;
	}
	return m.root;
}
