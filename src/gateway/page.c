/*
 * What the status page shows.  Answers for a cost that stays small: an answer is made
 * anew only when that takes less than a twentieth of the time since the last one, and of
 * very many leases, hosts and addresses only the first are looked at.
 */
#include "gateway/page.h"

#include "base/rfc3339.h"
#include "gateway/control_json.h"
#include "gateway/page_assets.h"
#include "wire/proto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define HOSTS     64
#define BINDINGS  100
#define ADDRESSES 64
#define PEERS     32
#define CELLS     256
/* Beyond so many leases they are not walked through. */
#define LEASES_MAX 100000
#define SHARE      20
#define FRESH_NS   500000000ULL /* and never twice within this */

/* --- events ---------------------------------------------------------------------------
 */

static void on_event(void *ctx, const struct event *e)
{
	struct page *p = ctx;
	struct page_event *to = &p->latest[p->n % PAGE_EVENTS];

	*to = (struct page_event){ .kind = e->kind,
		.wall_ms = e->at.wall_ms,
		.reason = e->reason,
		.error = e->error };
	switch (e->kind) {
	case EVENT_GRANTED:
	case EVENT_ENDED:
		to->host = e->lease->host;
		to->address = e->lease->address;
		break;
	case EVENT_REGISTERED:
	case EVENT_DEREGISTERED:
	case EVENT_QUOTA:
	case EVENT_EXHAUSTED:
		to->host = e->reg->host;
		break;
	case EVENT_REFUSED:
		to->host = e->peer->addr;
		break;
	case EVENT_WATER:
		to->address = e->water->address;
		to->high = e->water->high;
		break;
	default:
		return; /* not worth a line */
	}
	p->n++;
}

static json_t *event_text(const struct page_event *e)
{
	char host[ADDR_TEXT_MAX], address[ADDR_TEXT_MAX];
	const char *h = addr_format(e->host, host), *a = addr_format(e->address, address);
	const char *error = rsip_error_name(e->error);

	switch (e->kind) {
	case EVENT_REGISTERED:
		return json_sprintf("%s registered", h);
	case EVENT_DEREGISTERED:
		return json_sprintf(
			"registration of %s ended: %s", h, end_reason_name(e->reason));
	case EVENT_QUOTA:
		return json_sprintf("%s asked for more than it may have", h);
	case EVENT_EXHAUSTED:
		return json_sprintf("%s asked for more than there is", h);
	case EVENT_GRANTED:
		return json_sprintf("%s got a lease on %s", h, a);
	case EVENT_ENDED:
		return json_sprintf(
			"lease of %s on %s ended: %s", h, a, end_reason_name(e->reason));
	case EVENT_REFUSED:
		return json_sprintf("%s was refused: %s", h, error != NULL ? error : "?");
	case EVENT_WATER:
		return json_sprintf("%s is %s", e->address != 0 ? a : "a pool",
			e->high ? "nearly full" : "less full again");
	default:
		return json_string(event_name(e->kind));
	}
}

static json_t *events_json(const struct page *p)
{
	json_t *list = json_array();
	size_t n = p->n < PAGE_EVENTS ? p->n : PAGE_EVENTS;

	for (size_t i = 1; i <= n; i++) {
		const struct page_event *e = &p->latest[(p->n - i) % PAGE_EVENTS];
		char time[RFC3339_MAX];

		(void)json_array_append_new(
			list, json_pack("{s:s, s:o}", "time",
				      rfc3339_format_ms(e->wall_ms, time), "text",
				      event_text(e)));
	}
	return list;
}

/* --- leases ---------------------------------------------------------------------------
 */

struct cells {
	uint32_t address;
	uint16_t held[CELLS];
	uint32_t leases;
};

/* What one walk through the leases finds. */
struct look {
	json_t *bindings, *hosts, *pools;
	struct cells *cells; /* sorted by address */
	size_t n_cells;
	uint32_t peers[PEERS];
	size_t n_peers, n_addresses;
	uint64_t now_ms;
};

static int compare_cells(const void *a, const void *b)
{
	uint32_t x = ((const struct cells *)a)->address;
	uint32_t y = ((const struct cells *)b)->address;

	return x < y ? -1 : x > y;
}

static struct cells *cells_find(const struct look *l, uint32_t address)
{
	const struct cells key = { .address = address };

	return bsearch(&key, l->cells, l->n_cells, sizeof(key), compare_cells);
}

static bool note_cells(void *ctx, const struct engine_address *a)
{
	struct look *l = ctx;

	l->n_addresses++;
	if (l->n_cells < ADDRESSES)
		l->cells[l->n_cells++].address = a->address;
	return l->n_addresses < LEASES_MAX;
}

static void mark_ports(struct cells *c, const struct range *r, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (uint32_t port = r[i].lo; port <= r[i].hi && port < 65536; port++)
			c->held[port / CELLS]++;
}

static void note_peer(struct look *l, uint32_t peer)
{
	for (size_t i = 0; i < l->n_peers; i++)
		if (l->peers[i] == peer)
			return;
	if (l->n_peers < PEERS)
		l->peers[l->n_peers++] = peer;
}

static bool note_lease(void *ctx, const struct lease *lease)
{
	struct look *l = ctx;
	struct cells *c = cells_find(l, lease->address);

	if (c != NULL) {
		c->leases++;
		mark_ports(c, lease->ports, lease->n_ports);
	}
	if (lease->remote.flow != REMOTE_NONE && lease->remote.addr != 0)
		note_peer(l, lease->remote.addr);
	/* A list of thousands of SPIs is nothing for a table. */
	if (json_array_size(l->bindings) < BINDINGS && lease->n_spis < 64)
		(void)json_array_append_new(
			l->bindings, control_lease_json(lease, l->now_ms));
	return true;
}

static bool note_host(void *ctx, const struct registration *r)
{
	struct look *l = ctx;

	(void)json_array_append_new(l->hosts, control_registration_json(r, l->now_ms));
	return json_array_size(l->hosts) < HOSTS;
}

/* "00" to "ff" a cell. */
static json_t *cells_json(const struct cells *c)
{
	char text[CELLS * 2 + 1];

	for (size_t i = 0; i < CELLS; i++)
		(void)snprintf(text + 2 * i, 3, "%02x",
			(unsigned int)(c->held[i] < 255 ? c->held[i] : 255));
	return json_string(text);
}

static bool put_address(void *ctx, const struct engine_address *a)
{
	struct look *l = ctx;
	const struct cells *c = cells_find(l, a->address);
	json_t *pool, *list, *item;

	if (c == NULL || control_json_address(l->pools, a) != 0)
		return false; /* the first ones are those that have cells */
	pool = json_array_get(l->pools, json_array_size(l->pools) - 1);
	list = json_object_get(pool, "addresses");
	item = json_array_get(list, json_array_size(list) - 1);
	(void)json_object_set_new(item, "map", cells_json(c));
	(void)json_object_set_new(item, "leases", json_integer(c->leases));
	return true;
}

static json_t *peers_json(const struct look *l)
{
	json_t *list = json_array();
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < l->n_peers; i++)
		(void)json_array_append_new(
			list, json_string(addr_format(l->peers[i], text)));
	return list;
}

static uint64_t sum(const uint64_t *of, size_t n)
{
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += of[i];
	return total;
}

/* Into `root`: hosts, leases, pools. */
static void look_json(struct page *p, json_t *root)
{
	const struct control_source *s = p->source;
	const struct engine_counters *c = engine_counters(s->engine);
	uint64_t leases = sum(c->bindings, METHODS);
	struct look l = { .bindings = json_array(),
		.hosts = json_array(),
		.pools = json_array(),
		.cells = calloc(ADDRESSES, sizeof(*l.cells)),
		.now_ms = s->now_ms(s->ctx) };
	char note[160] = "";

	if (l.cells != NULL) {
		engine_each_address(s->engine, note_cells, &l);
		qsort(l.cells, l.n_cells, sizeof(*l.cells), compare_cells);
		engine_each_registration(s->engine, note_host, &l);
		if (leases <= LEASES_MAX)
			engine_each_lease(s->engine, note_lease, &l);
		engine_each_address(s->engine, put_address, &l);
	}
	if (leases > LEASES_MAX)
		(void)snprintf(note, sizeof(note),
			"More than %d leases: the map is not drawn.", LEASES_MAX);
	else if (l.n_addresses > l.n_cells)
		(void)snprintf(note, sizeof(note), "The first %zu of %zu addresses.",
			l.n_cells, l.n_addresses);
	(void)json_object_set_new(root, "hosts", l.hosts);
	(void)json_object_set_new(root, "bindings", l.bindings);
	(void)json_object_set_new(root, "pools", l.pools);
	(void)json_object_set_new(root, "peers", peers_json(&l));
	(void)json_object_set_new(root, "map_note", json_string(note));
	(void)json_object_set_new(
		root, "hosts_total", json_integer((json_int_t)c->registrations));
	(void)json_object_set_new(
		root, "bindings_total", json_integer((json_int_t)leases));
	(void)json_object_set_new(
		root, "addresses_total", json_integer((json_int_t)l.n_addresses));
	free(l.cells);
}

/* --- packets --------------------------------------------------------------------------
 */

static json_t *direction_json(const struct dp_stats *stats, enum dp_direction d)
{
	return json_pack("{s:I, s:I, s:I}", "forward", (json_int_t)stats->forwarded[d],
		"bytes", (json_int_t)stats->forwarded_bytes[d], "drop",
		(json_int_t)sum(stats->dropped[d] + 1, DP_REASONS - 1));
}

static json_t *drops_json(const struct dp_stats *stats)
{
	json_t *drops = json_object();

	for (unsigned int r = DP_OK + 1; r < DP_REASONS; r++) {
		uint64_t n = stats->dropped[DP_IN][r] + stats->dropped[DP_OUT][r];

		(void)json_object_set_new(
			drops, dp_reason_name(r), json_integer((json_int_t)n));
	}
	return drops;
}

/* --- the answer -----------------------------------------------------------------------
 */

static json_t *page_json(struct page *p)
{
	const struct control_source *s = p->source;
	const struct engine_counters *c = engine_counters(s->engine);
	struct audit_time now = audit_time_now(s->now_ms(s->ctx));
	json_t *root = control_status_json(s);
	struct dp_stats stats;
	char time[RFC3339_MAX];

	if (root == NULL)
		return NULL;
	s->stats(s->ctx, &stats);
	look_json(p, root);
	(void)json_object_set_new(root, "packets",
		json_pack("{s:o, s:o}", "in", direction_json(&stats, DP_IN), "out",
			direction_json(&stats, DP_OUT)));
	(void)json_object_set_new(root, "drops", drops_json(&stats));
	(void)json_object_set_new(root, "events", events_json(p));
	(void)json_object_set_new(
		root, "requests", json_integer((json_int_t)sum(c->requests, 256)));
	(void)json_object_set_new(
		root, "errors", json_integer((json_int_t)sum(c->errors, 512)));
	(void)json_object_set_new(
		root, "time", json_string(rfc3339_format_ms(now.wall_ms, time)));
	(void)json_object_set_new(root, "now_ms", json_integer((json_int_t)now.now_ms));
	(void)json_object_set_new(
		root, "started_ms", json_integer((json_int_t)s->started_ms));
	/* What file is read is nobody's business here. */
	(void)json_object_del(root, "config");
	return root;
}

static const char *page_text(struct page *p, size_t *len)
{
	uint64_t now_ns = uv_hrtime();
	json_t *root;
	char *text;

	if (p->text == NULL || (now_ns - p->made_ns > FRESH_NS &&
				       now_ns - p->made_ns > SHARE * p->took_ns)) {
		root = page_json(p);
		text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
		json_decref(root);
		if (text != NULL) {
			free(p->text);
			p->text = text;
			p->len = strlen(text);
		}
		p->made_ns = uv_hrtime();
		p->took_ns = p->made_ns - now_ns;
	}
	*len = p->len;
	return p->text;
}

const void *page_file(void *source, const char *url, const char **type, size_t *len)
{
	static const struct {
		const char *end, *type;
	} types[] = { { ".html", "text/html; charset=utf-8" },
		{ ".css", "text/css; charset=utf-8" },
		{ ".js", "text/javascript; charset=utf-8" } };
	const struct control_source *s = source;

	if (strcmp(url, "/status.json") == 0) {
		*type = "application/json";
		return page_text(s->page, len);
	}
	if (strcmp(url, "/") == 0)
		url = "/index.html";
	for (const struct page_asset *a = page_assets; a->name != NULL; a++) {
		if (strcmp(url + 1, a->name) != 0)
			continue;
		for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
			if (strstr(a->name, types[i].end) != NULL)
				*type = types[i].type;
		*len = a->len;
		return a->bytes;
	}
	return NULL;
}

void page_open(struct page *p, struct control_source *source, struct events *events)
{
	*p = (struct page){ .source = source, .sink = { on_event, p, NULL } };
	events_add(events, &p->sink);
}

void page_close(struct page *p)
{
	free(p->text);
	p->text = NULL;
}
