/*
 * What a successor needs after kill -9, as JSON below /run: values of sysctls before us,
 * names of interfaces, sessions, what was wanted.  Written whole and renamed into place.
 * Routes are not in it: they are known by their protocol number.
 */
#include "base/err.h"
#include "base/log.h"
#include "host/host.h"
#include "host/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERSION   1
#define BOOT_FILE "/proc/sys/kernel/random/boot_id"

static const char *const saved_keys[SAVED] = {
	[SAVED_PORT_RANGE] = "port_range",
	[SAVED_RESERVED] = "reserved",
	[SAVED_ARP_IGNORE] = "arp_ignore",
};
static const char *const use_words[] = {
	[HOLD_UP] = "up",
	[HOLD_LEASE] = "lease",
	[HOLD_FOLLOW] = "follow",
	[HOLD_EXEC] = "exec",
};

/* Session times count from boot; after another one they mean nothing. */
static void boot_read(char boot[static 64])
{
	FILE *f = fopen(BOOT_FILE, "re");

	boot[0] = 0;
	if (f == NULL)
		return;
	if (fgets(boot, 64, f) == NULL)
		boot[0] = 0;
	boot[strcspn(boot, "\n")] = 0;
	(void)fclose(f);
}

/* --- writing --------------------------------------------------------------------------
 */

static json_t *numbers_json(const struct rsip_numbers *n)
{
	json_t *list = json_array();

	for (uint32_t i = 0; n->form == RSIP_LIST && i < n->count; i++)
		(void)json_array_append_new(list, json_integer(n->list[i]));
	return json_pack("{s:i, s:I, s:I, s:o}", "form", (int)n->form, "count",
		(json_int_t)n->count, "first", (json_int_t)n->first, "list", list);
}

static json_t *range_json(const struct rsip_range *r)
{
	return json_pack("[I, I]", (json_int_t)r->lo, (json_int_t)r->hi);
}

static json_t *hold_json(const struct hold *hold)
{
	const struct rsip_want *w = &hold->want;

	return json_pack("{s:s, s:b, s:I, s:i, s:I, s:o, s:o, s:I, s:s?, s:i, s:I, s:i, "
			 "s:I, s:o, s:o}",
		"use", use_words[hold->use], "grown", hold->grown, "bind_id",
		(json_int_t)hold->bind_id, "kind", (int)w->kind, "address",
		(json_int_t)w->address, "ports", numbers_json(&w->ports), "spis",
		numbers_json(&w->spis), "remote", (json_int_t)w->remote.address,
		"remote_name", w->remote.name, "remote_port", (int)w->remote.port,
		"lease", (json_int_t)w->lease_s, "tunnel",
		w->n_tunnels > 0 ? (int)w->tunnels[0] : 0, "last_address",
		(json_int_t)hold->last_address, "last_ports",
		range_json(&hold->last_ports), "last_spis", range_json(&hold->last_spis));
}

/* The session's bytes in hexadecimal; null while not registered. */
static json_t *session_json(const struct rsip_session *s)
{
	size_t len = rsip_session_export(s, NULL, 0);
	uint8_t *bytes = malloc(len + 1);
	char *text = malloc(2 * len + 1);
	json_t *value = NULL;

	if (len > 0 && bytes != NULL && text != NULL) {
		/* The first answer may be a little more than is needed in the end. */
		len = rsip_session_export(s, bytes, len);
		for (size_t i = 0; i < len; i++)
			(void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
		value = json_string(text);
	}
	free(bytes);
	free(text);
	return value != NULL ? value : json_null();
}

static json_t *gw_json(const struct gw *gw)
{
	json_t *locals = json_array(), *holds = json_array();
	const struct host_keys *k = &gw->proof.files;

	for (size_t i = 0; i < gw->n_locals; i++)
		(void)json_array_append_new(
			locals, json_pack("[I, i]", (json_int_t)gw->locals[i].addr,
					gw->locals[i].len));
	for (const struct hold *hold = gw->host->holds; hold != NULL; hold = hold->next)
		if (hold->gw == gw && !hold->freeing)
			(void)json_array_append_new(holds, hold_json(hold));
	return json_pack(
		"{s:I, s:i, s:I, s:I, s:i, s:b, s:b, s:I, s:I, s:o, s:o, s:o, s:o}",
		"address", (json_int_t)gw->addr, "port", (int)gw->port, "source",
		(json_int_t)gw->source, "local", (json_int_t)gw->local, "transport",
		(int)gw->transport, "up", gw->up, "follow", gw->follow, "ports_max",
		(json_int_t)gw->ports_max, "ports_quiet", (json_int_t)gw->ports_quiet_s,
		"locals", locals, "holds", holds, "session", session_json(gw->session),
		"keys",
		json_pack("[s, s, s, s, s]", k->key_file, k->tls_certificate, k->tls_key,
			k->tls_authority, k->tls_name));
}

static json_t *iface_json(const struct iface *i)
{
	json_t *addrs = json_array();

	for (size_t k = 0; k < i->n_addrs; k++)
		(void)json_array_append_new(addrs, json_integer(i->addrs[k]));
	return json_pack("{s:s, s:b, s:I, s:i, s:i, s:I, s:I, s:I, s:o}", "name", i->name,
		"kernel", i->kernel, "gateway", (json_int_t)i->gw->addr, "port",
		(int)i->gw->port, "type", (int)i->type, "local", (json_int_t)i->local,
		"remote", (json_int_t)i->remote, "table", (json_int_t)i->table,
		"addresses", addrs);
}

static json_t *route_json(const struct route4 *r)
{
	return json_pack("{s:i, s:I, s:I, s:I}", "oif", r->oif, "via", (json_int_t)r->via,
		"src", (json_int_t)r->src, "metric", (json_int_t)r->metric);
}

static json_t *state_json(const struct host *h)
{
	json_t *gateways = json_array(), *ifaces = json_array(), *saved = json_object(),
	       *ike = json_array();
	char boot[64];

	boot_read(boot);
	for (int i = 0; i < SAVED; i++)
		if (h->saved[i] != NULL)
			(void)json_object_set_new(
				saved, saved_keys[i], json_string(h->saved[i]));
	for (const struct gw *gw = h->gws; gw != NULL; gw = gw->next)
		(void)json_array_append_new(gateways, gw_json(gw));
	for (const struct iface *i = h->ifaces; i != NULL; i = i->next)
		(void)json_array_append_new(ifaces, iface_json(i));
	for (int i = 0; i < 2; i++)
		(void)json_array_append_new(ike, json_integer(h->ike[i].hi));
	return json_pack("{s:i, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "version",
		VERSION, "boot", boot, "on_demand", h->on_demand, "saved", saved,
		"interfaces", ifaces, "gateways", gateways, "ike", ike, "former",
		route_json(&h->former), "charon", charon_json(h), "publish",
		publish_state(h));
}

int state_save(const struct host *h)
{
	char temp[sizeof(h->state) + 8];
	json_t *state = state_json(h);
	int fd, err = 0;

	if (state == NULL)
		return -ENOMEM;
	(void)snprintf(temp, sizeof(temp), "%s.new", h->state);
	/* Who can read it can speak for us to the gateway. */
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		err = -errno;
	} else {
		if (json_dumpfd(state, fd, JSON_COMPACT) != 0)
			err = -EIO;
		if (close(fd) != 0 && err == 0)
			err = -errno;
		if (err == 0 && rename(temp, h->state) != 0)
			err = -errno;
	}
	json_decref(state);
	return err;
}

void state_remove(const struct host *h)
{
	(void)unlink(h->state); /* there may be none */
}

/* --- reading --------------------------------------------------------------------------
 */

static uint32_t u32_of(const json_t *object, const char *key)
{
	return (uint32_t)json_integer_value(json_object_get(object, key));
}

/* The list is malloc'd into *list; hold_new() makes a copy of its own. */
static struct rsip_numbers numbers_of(
	const json_t *object, const char *key, uint32_t **numbers)
{
	const json_t *o = json_object_get(object, key),
		     *list = json_object_get(o, "list");
	struct rsip_numbers n = {
		.form = (enum rsip_form)u32_of(o, "form"),
		.count = u32_of(o, "count"),
		.first = u32_of(o, "first"),
	};

	*numbers = NULL;
	if (n.form != RSIP_LIST)
		return n;
	n.count = (uint32_t)json_array_size(list);
	*numbers = calloc(n.count + 1, sizeof(**numbers));
	for (uint32_t i = 0; i < n.count && *numbers != NULL; i++)
		(*numbers)[i] = (uint32_t)json_integer_value(json_array_get(list, i));
	n.list = *numbers;
	if (*numbers == NULL)
		n.form = RSIP_ANY;
	return n;
}

static struct rsip_range range_of(const json_t *object, const char *key)
{
	const json_t *pair = json_object_get(object, key);

	return (struct rsip_range){
		(uint32_t)json_integer_value(json_array_get(pair, 0)),
		(uint32_t)json_integer_value(json_array_get(pair, 1)),
	};
}

static enum hold_use use_of(const json_t *object)
{
	const char *word = json_string_value(json_object_get(object, "use"));

	for (int use = HOLD_UP; use <= HOLD_EXEC; use++)
		if (word != NULL && strcmp(word, use_words[use]) == 0)
			return (enum hold_use)use;
	return HOLD_LEASE;
}

static void hold_load(struct gw *gw, const json_t *o)
{
	uint32_t *ports, *spis;
	struct rsip_want want = {
		.kind = (enum rsip_kind)u32_of(o, "kind"),
		.address = u32_of(o, "address"),
		.ports = numbers_of(o, "ports", &ports),
		.spis = numbers_of(o, "spis", &spis),
		.remote.address = u32_of(o, "remote"),
		.remote.name = json_string_value(json_object_get(o, "remote_name")),
		.remote.port = (uint16_t)u32_of(o, "remote_port"),
		.lease_s = u32_of(o, "lease"),
		.tunnels[0] = (enum rsip_tunnel)u32_of(o, "tunnel"),
		.n_tunnels = u32_of(o, "tunnel") != 0,
	};
	struct hold *hold = hold_new(gw, use_of(o), &want);

	free(ports);
	free(spis);
	if (hold == NULL)
		return;
	hold->bind_id = u32_of(o, "bind_id");
	hold->grown = json_is_true(json_object_get(o, "grown"));
	hold->last_address = u32_of(o, "last_address");
	hold->last_ports = range_of(o, "last_ports");
	hold->last_spis = range_of(o, "last_spis");
	if (hold_grant(hold) != NULL)
		return;
	/* It ended while nobody was here. */
	hold->bind_id = 0;
	hold->same = true;
}

static int session_load(struct gw *gw, const char *text)
{
	size_t len = strlen(text) / 2;
	uint8_t *bytes = malloc(len + 1);
	int result = RSIP_ERR_INVALID;

	for (size_t i = 0; i < len && bytes != NULL; i++) {
		char digits[3] = { text[2 * i], text[2 * i + 1], 0 };

		bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	if (bytes != NULL)
		result = rsip_session_import(gw->session, bytes, len, host_now_us());
	free(bytes);
	return result;
}

static void keys_load(struct host_keys *k, const json_t *list)
{
	char *const into[] = { k->key_file, k->tls_certificate, k->tls_key,
		k->tls_authority, k->tls_name };

	for (size_t i = 0; i < sizeof(into) / sizeof(into[0]); i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (text != NULL)
			(void)snprintf(into[i], HOST_FILE_MAX, "%s", text);
	}
}

static void gw_load(struct host *h, const json_t *o)
{
	struct host_conf conf = h->conf;
	const char *session = json_string_value(json_object_get(o, "session"));
	const json_t *locals = json_object_get(o, "locals");
	json_t *item;
	struct gw *gw;
	size_t i;

	conf.gateway = u32_of(o, "address");
	conf.port = (uint16_t)u32_of(o, "port");
	conf.source = u32_of(o, "source");
	conf.transport = (enum rsip_transport)u32_of(o, "transport");
	keys_load(&conf.keys, json_object_get(o, "keys"));
	if (gw_new(h, &conf, &gw) != 0)
		return;
	gw->local = u32_of(o, "local");
	gw->up = json_is_true(json_object_get(o, "up"));
	gw->follow = json_is_true(json_object_get(o, "follow"));
	gw->ports_max = u32_of(o, "ports_max");
	gw->ports_quiet_s = u32_of(o, "ports_quiet");
	gw->locals = calloc(json_array_size(locals) + 1, sizeof(*gw->locals));
	json_array_foreach(locals, i, item)
	{
		if (gw->locals != NULL)
			gw->locals[gw->n_locals++] = (struct prefix4){
				(uint32_t)json_integer_value(json_array_get(item, 0)),
				(uint8_t)json_integer_value(json_array_get(item, 1)),
			};
	}
	if (session != NULL && session_load(gw, session) != 0)
		log_warn("session not taken over, registering anew", "file=%s", h->state);
	json_array_foreach(json_object_get(o, "holds"), i, item)
	{
		hold_load(gw, item);
	}
}

static void iface_load(struct host *h, const json_t *o)
{
	struct gw *gw = gw_find(h, u32_of(o, "gateway"), (uint16_t)u32_of(o, "port"));
	const char *name = json_string_value(json_object_get(o, "name"));
	struct iface *i, **at = &h->ifaces;
	const json_t *addrs = json_object_get(o, "addresses");

	if (gw == NULL || name == NULL)
		return;
	i = calloc(1, sizeof(*i));
	if (i == NULL)
		return;
	i->gw = gw;
	(void)snprintf(i->name, sizeof(i->name), "%s", name);
	i->type = (enum rsip_tunnel)u32_of(o, "type");
	i->local = u32_of(o, "local");
	i->remote = u32_of(o, "remote");
	i->table = u32_of(o, "table");
	i->kernel = json_is_true(json_object_get(o, "kernel"));
	/* So that it is taken over as it is, without another try of the kernel's. */
	if (!i->kernel && (i->type == RSIP_IPIP || i->type == RSIP_GRE))
		h->no_kernel[i->type] = true;
	i->n_addrs = json_array_size(addrs);
	if (i->n_addrs > HOST_ADDRESSES_MAX)
		i->n_addrs = HOST_ADDRESSES_MAX;
	for (size_t k = 0; k < i->n_addrs; k++)
		i->addrs[k] = (uint32_t)json_integer_value(json_array_get(addrs, k));
	while (*at != NULL)
		at = &(*at)->next;
	*at = i;
}

static struct route4 route_of(const json_t *o)
{
	return (struct route4){
		.oif = (int)u32_of(o, "oif"),
		.via = u32_of(o, "via"),
		.src = u32_of(o, "src"),
		.metric = u32_of(o, "metric"),
	};
}

static void state_apply(struct host *h, const json_t *state)
{
	json_t *item;
	size_t i;

	for (int s = 0; s < SAVED; s++) {
		const char *value = json_string_value(
			json_object_get(json_object_get(state, "saved"), saved_keys[s]));

		if (value != NULL)
			h->saved[s] = strdup(value);
	}
	charon_load(h, json_object_get(state, "charon"));
	h->former = route_of(json_object_get(state, "former"));
	for (int k = 0; k < 2; k++) {
		uint32_t port = (uint32_t)json_integer_value(
			json_array_get(json_object_get(state, "ike"), (size_t)k));

		h->ike[k] = (struct range){ port, port };
	}
	json_array_foreach(json_object_get(state, "gateways"), i, item)
	{
		gw_load(h, item);
	}
	json_array_foreach(json_object_get(state, "interfaces"), i, item)
	{
		iface_load(h, item);
	}
	publish_load(h, json_object_get(state, "publish"));
}

int state_load(struct host *h, char *why, size_t why_size)
{
	json_error_t error;
	json_t *state;
	const char *boot;
	char now[64];

	if (access(h->state, F_OK) != 0)
		return 0;
	state = json_load_file(h->state, 0, &error);
	if (state == NULL) {
		(void)snprintf(why, why_size, "%s:%d: %s; remove the file to go on",
			h->state, error.line, error.text);
		return ERR_CORRUPT;
	}
	boot_read(now);
	boot = json_string_value(json_object_get(state, "boot"));
	if (u32_of(state, "version") != VERSION) {
		(void)snprintf(why, why_size,
			"%s was written by another version; remove the file to go on",
			h->state);
		json_decref(state);
		return ERR_VERSION;
	}
	if (boot != NULL && strcmp(boot, now) == 0)
		state_apply(h, state);
	json_decref(state);
	return 0;
}
