/* What the daemon holds, as its control methods answer it. */
#include "host/host.h"
#include "host/publish.h"

#include <stdio.h>
#include <stdlib.h>

#define RANGES_TEXT 65536

/* A list of ranges as text; null where there are none. */
static json_t *json_ranges(const struct rsip_range *r, size_t n, bool hex)
{
	struct range *copy = calloc(n + 1, sizeof(*copy));
	char *text = malloc(RANGES_TEXT);
	json_t *value = NULL;

	for (size_t i = 0; i < n && copy != NULL; i++)
		copy[i] = (struct range){ r[i].lo, r[i].hi };
	if (n == 0) {
		value = json_null();
	} else if (copy != NULL && text != NULL) {
		(void)ranges_format(copy, n, hex, text, RANGES_TEXT);
		value = json_string(text);
	}
	free(copy);
	free(text);
	return value;
}

static json_t *json_remote(const struct rsip_grant *g)
{
	char text[ADDR_TEXT_MAX];

	if (g->remote_name != NULL)
		return json_string(g->remote_name);
	if (g->remote_address == 0)
		return json_null();
	return json_string(addr_format(g->remote_address, text));
}

static json_t *json_remote_port(const struct rsip_grant *g)
{
	char text[8];

	if (g->remote_port == 0)
		return json_null();
	(void)snprintf(text, sizeof(text), "%u", g->remote_port);
	return json_string(text);
}

/* "TYPE:HEX", as the gateway shows it. */
static json_t *json_identity(const struct rsip_identity *id)
{
	char text[8 + 2 * RSIP_IDENTITY_MAX];
	int n = snprintf(text, sizeof(text), "%u:", (unsigned int)id->type);

	for (size_t i = 0; i < id->len; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%02x",
			(unsigned int)id->data[i]);
	return json_string(text);
}

json_t *json_binding(const struct hold *hold)
{
	const struct rsip_grant *g = hold_grant(hold);
	const struct rsip_registration *r = rsip_session_registration(hold->gw->session);
	char host[ADDR_TEXT_MAX], address[ADDR_TEXT_MAX];
	uint64_t now = host_now_us();
	json_int_t left;

	if (g == NULL)
		return NULL;
	left = g->expires_us > now ? (json_int_t)((g->expires_us - now) / 1000000) : 0;
	json_t *json = json_pack(
		"{s:I, s:I, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:s, s:I, s:s}",
		"client_id", (json_int_t)(r != NULL ? r->client_id : 0), "bind_id",
		(json_int_t)g->bind_id, "host", addr_format(hold->gw->local, host),
		"method", rsip_kind_name(g->kind), "address",
		addr_format(g->address, address), "ports",
		json_ranges(g->ports, g->n_ports, false), "spis",
		json_ranges(g->spis, g->n_spis, true), "remote_address", json_remote(g),
		"remote_ports", json_remote_port(g), "tunnel",
		rsip_tunnel_name(g->tunnel), "lease_remaining", left, "state", "held");

	if (g->kind == RSIP_LISTEN_IKE && json != NULL)
		(void)json_object_set_new(json, "ike_identity", json_identity(&g->peer));
	return json;
}

static json_t *json_bindings(const struct host *h)
{
	json_t *list = json_array();

	/* What the whole host uses comes first, what one namespace uses last. */
	for (int use = HOLD_UP; use <= HOLD_EXEC; use++)
		for (const struct hold *hold = h->holds; hold != NULL; hold = hold->next)
			if ((int)hold->use == use && hold_grant(hold) != NULL)
				(void)json_array_append_new(list, json_binding(hold));
	return list;
}

static json_t *json_client_id(const struct gw *gw)
{
	const struct rsip_registration *r =
		gw != NULL ? rsip_session_registration(gw->session) : NULL;

	return r != NULL ? json_integer((json_int_t)r->client_id) : json_null();
}

static json_t *json_interface(const struct host *h, const struct gw *gw)
{
	const struct iface *i = gw != NULL ? iface_find(h, gw) : NULL;

	return i != NULL ? json_string(i->name) : json_null();
}

/* Who carries the packets of gw's interface. */
static json_t *json_end(const struct host *h, const struct gw *gw)
{
	const struct iface *i = iface_find(h, gw);

	if (i == NULL)
		return json_null();
	return json_string(i->kernel ? "kernel" : "rsip-hostd");
}

static json_t *json_gateway(const struct host *h, const struct gw *gw)
{
	char text[24], notice[64];

	gw_text(gw, text);
	(void)snprintf(notice, sizeof(notice), "%u %s", gw->notice_error,
		rsip_error_text(gw->notice_error));
	return json_pack("{s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:I, s:o, s:o}", "gateway",
		text, "client_id", json_client_id(gw), "transport",
		gw->transport == RSIP_UDP ? "udp" : "tcp", "session",
		rsip_state_text(rsip_session_state(gw->session)), "up",
		json_boolean(gw->up), "interface", json_interface(h, gw), "tunnel_end",
		json_end(h, gw), "notices", (json_int_t)gw->notices, "last_notice",
		gw->notices > 0 ? json_string(notice) : json_null(), "trouble",
		gw->trouble[0] != 0 ? json_string(gw->trouble) : json_null());
}

static json_t *json_counters(const struct carrier *c)
{
	const struct tunnel_counters *n = tunnel_counters(c->tunnel);
	char remote[ADDR_TEXT_MAX];

	return json_pack(
		"{s:s, s:s, s:I, s:I, s:I, s:I, s:{s:I, s:I, s:I, s:I, s:I, s:I, "
		"s:I}}",
		"type", rsip_tunnel_name(c->type), "remote",
		addr_format(c->remote, remote), "in", (json_int_t)n->in, "in_bytes",
		(json_int_t)n->in_bytes, "out", (json_int_t)n->out, "out_bytes",
		(json_int_t)n->out_bytes, "dropped", "in_malformed",
		(json_int_t)n->in_malformed, "in_ecn", (json_int_t)n->in_ecn,
		"in_unclaimed", (json_int_t)n->in_unclaimed, "out_source",
		(json_int_t)n->out_source, "out_foreign", (json_int_t)n->out_foreign,
		"out_too_big", (json_int_t)n->out_too_big, "failed",
		(json_int_t)n->failed);
}

json_t *json_status(const struct host *h)
{
	const struct gw *first = h->gws;
	json_t *gateways = json_array(), *tunnels = json_array(), *name = json_null();
	char text[24];

	/* The one that `up` uses speaks for the host, else the first. */
	for (const struct gw *gw = h->gws; gw != NULL; gw = gw->next) {
		(void)json_array_append_new(gateways, json_gateway(h, gw));
		if (gw->up && !first->up)
			first = gw;
	}
	for (const struct carrier *c = h->carriers; c != NULL; c = c->next)
		(void)json_array_append_new(tunnels, json_counters(c));
	if (first != NULL) {
		gw_text(first, text);
		name = json_string(text);
	}
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o}", "gateway",
		name, "client_id", json_client_id(first), "interface",
		json_interface(h, first), "bindings", json_bindings(h), "gateways",
		gateways, "tunnels", tunnels, "follow", follow_json(h), "sas_ended",
		(json_int_t)h->sas_ended, "charon", charon_json(h), "publish",
		publish_json(h));
}
