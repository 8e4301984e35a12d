/* What charon was told, and what has become of it. */
#include "host/charon.h"

#include "base/err.h"
#include "base/log.h"
#include "host/host.h"
#include "ike/dropin.h"
#include "ike/strongswan.h"
#include "ike/vici.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX   1024
#define RANGES_MAX 512
#define PATH_SIZE  256

struct charon {
	char file[PATH_SIZE], socket[PATH_SIZE];
	struct strongswan as; /* as the file says */
	struct vici *vici;
	bool restart;    /* it runs with ports or cookies of before */
	bool reload;     /* it has not read the SPIs yet */
	bool seen;       /* it answered once */
	uint64_t writes; /* of the file, by the daemon */
	uint64_t reloads, failed;
};

static size_t ranges_of(const struct rsip_range *from, size_t n, struct range *to)
{
	if (n > RANGES_MAX)
		n = RANGES_MAX;
	for (size_t i = 0; i < n; i++)
		to[i] = (struct range){ from[i].lo, from[i].hi };
	return n;
}

/* The first lease with enough SPIs in a row, those of `up` first. */
static bool wanted(const struct host *h, struct strongswan *s)
{
	struct range ranges[RANGES_MAX];

	for (int use = HOLD_UP; use <= HOLD_LEASE; use++) {
		for (const struct hold *hold = h->holds; hold; hold = hold->next) {
			const struct rsip_grant *g = hold_grant(hold);

			if ((int)hold->use != use || g == NULL || hold->freeing ||
				strongswan_spis(ranges,
					ranges_of(g->spis, g->n_spis, ranges),
					&s->spis) != 0)
				continue;
			s->address = g->address;
			s->bind_id = g->bind_id;
			strongswan_ports(ranges, ranges_of(g->ports, g->n_ports, ranges),
				&s->port, &s->port_nat_t);
			return true;
		}
	}
	return false;
}

/* --- telling it -----------------------------------------------------------------------
 */

static void reload(struct host *h);

static void on_reloaded(void *arg, int err, const uint8_t *body, size_t len)
{
	struct host *h = arg;
	struct charon *c = h->charon;
	char text[160] = "";

	if (c == NULL)
		return;
	if (err == 0 && vici_text(body, len, "success", text, sizeof(text)) &&
		strcmp(text, "yes") == 0) {
		c->reloads++;
		log_info("charon has read its settings", "spi_min=0x%08" PRIx32,
			c->as.spis.lo);
		return;
	}
	c->failed++;
	(void)vici_text(body, err == 0 ? len : 0, "errmsg", text, sizeof(text));
	log_warn("charon has not read its settings", "socket=%s reason=\"%s\"", c->socket,
		err != 0 ? err_text(err) : text);
}

static void reload(struct host *h)
{
	struct charon *c = h->charon;
	const struct vici_command command = {
		.name = "reload-settings",
		.done = on_reloaded,
		.arg = h,
	};

	if (!c->reload || c->vici == NULL || !vici_is_up(c->vici))
		return;
	c->reload = vici_call(c->vici, &command) != 0;
}

/* One that answers anew was started anew, and has read everything. */
static void on_state(void *ctx, bool up, const char *why)
{
	struct host *h = ctx;
	struct charon *c = h->charon;

	(void)why; /* not running is no fault */
	if (c == NULL || !up)
		return;
	if (c->seen && c->restart) {
		c->restart = false;
		log_info("charon was started again", "port=%u", c->as.port);
	}
	c->seen = true;
	host_changed(h);
	reload(h);
}

static void on_event(void *ctx, const char *name, const uint8_t *body, size_t len)
{
	(void)ctx, (void)name, (void)body, (void)len;
}

static int connect_to(struct host *h)
{
	/* One event at least, by which its end is noticed. */
	static const char *const some[] = { "ike-updown", NULL };
	struct charon *c = h->charon;
	const struct vici_conf conf = {
		.path = c->socket,
		.events = some,
		.ctx = h,
		.event = on_event,
		.state = on_state,
	};

	return c->socket[0] != 0 ? vici_new(h->loop, &conf, &c->vici) : 0;
}

/* --- following ------------------------------------------------------------------------
 */

static void ports_reserve(struct host *h, const struct strongswan *s)
{
	const uint16_t ports[2] = { s->port, s->port_nat_t };

	for (int i = 0; i < 2; i++)
		h->ike[i] = ports[i] != 0 ? (struct range){ ports[i], ports[i] }
					  : (struct range){ 0, 0 };
	h->resync = true;
}

static void file_update(struct charon *c)
{
	char text[TEXT_MAX];
	int err;

	(void)strongswan_format(&c->as, text, sizeof(text));
	err = dropin_write(c->file, text);
	c->writes++;
	if (err != 0)
		log_error("charon's drop-in not written", "file=%s reason=\"%s\"",
			c->file, err_text(err));
}

void charon_sync(struct host *h)
{
	struct charon *c = h->charon;
	struct strongswan s = { 0 };

	/* While nothing is held nothing is better than what it has. */
	if (c == NULL || c->file[0] == 0 || !wanted(h, &s))
		return;
	if (s.bind_id == c->as.bind_id && s.address == c->as.address &&
		s.spis.lo == c->as.spis.lo && s.spis.hi == c->as.spis.hi &&
		s.port == c->as.port && s.port_nat_t == c->as.port_nat_t)
		return;
	if (s.port != c->as.port || s.port_nat_t != c->as.port_nat_t ||
		s.spis.lo != c->as.spis.lo || s.address != c->as.address) {
		c->restart = true;
		log_warn("restart charon: its leased IKE port, cookie prefix or address "
			 "has "
			 "changed",
			"port=%u was=%u file=%s", s.port, c->as.port, c->file);
		ports_reserve(h, &s);
	}
	c->reload = c->reload || s.spis.lo != c->as.spis.lo || s.spis.hi != c->as.spis.hi;
	c->as = s;
	file_update(c);
	reload(h);
	host_changed(h);
}

int charon_keep(struct host *h, const char *file, const char *socket)
{
	struct charon *c = calloc(1, sizeof(*c));
	int err;

	if (c == NULL)
		return -ENOMEM;
	if ((size_t)snprintf(c->file, PATH_SIZE, "%s", file) >= PATH_SIZE ||
		(size_t)snprintf(c->socket, PATH_SIZE, "%s", socket) >= PATH_SIZE ||
		!wanted(h, &c->as)) {
		free(c);
		return ERR_NOSPACE;
	}
	charon_free(h);
	h->charon = c;
	ports_reserve(h, &c->as);
	/* Somebody has just written the file. */
	c->reload = c->file[0] != 0;
	err = c->file[0] != 0 ? connect_to(h) : 0;
	if (err != 0)
		charon_free(h);
	host_changed(h);
	return err;
}

void charon_free(struct host *h)
{
	struct charon *c = h->charon;

	if (c == NULL)
		return;
	h->charon = NULL;
	vici_free(c->vici);
	free(c);
}

/* --- status, state --------------------------------------------------------------------
 */

json_t *charon_json(const struct host *h)
{
	const struct charon *c = h->charon;

	if (c == NULL || c->file[0] == 0)
		return json_null();
	return json_pack(
		"{s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:i, s:i, s:I, s:I, s:I}",
		"file", c->file, "socket", c->socket, "answers",
		c->vici != NULL && vici_is_up(c->vici), "restart", c->restart, "writes",
		(json_int_t)c->writes, "reloads", (json_int_t)c->reloads, "failed",
		(json_int_t)c->failed, "address", (json_int_t)c->as.address, "port",
		(int)c->as.port, "port_nat_t", (int)c->as.port_nat_t, "spi_min",
		(json_int_t)c->as.spis.lo, "spi_max", (json_int_t)c->as.spis.hi,
		"bind_id", (json_int_t)c->as.bind_id);
}

static uint32_t u32_of(const json_t *o, const char *key)
{
	return (uint32_t)json_integer_value(json_object_get(o, key));
}

void charon_load(struct host *h, const json_t *o)
{
	const char *file = json_string_value(json_object_get(o, "file"));
	const char *socket = json_string_value(json_object_get(o, "socket"));
	struct charon *c = file != NULL && socket != NULL ? calloc(1, sizeof(*c)) : NULL;

	if (c == NULL)
		return;
	(void)snprintf(c->file, PATH_SIZE, "%s", file);
	(void)snprintf(c->socket, PATH_SIZE, "%s", socket);
	c->restart = json_is_true(json_object_get(o, "restart"));
	c->as = (struct strongswan){
		.address = u32_of(o, "address"),
		.bind_id = u32_of(o, "bind_id"),
		.spis = { u32_of(o, "spi_min"), u32_of(o, "spi_max") },
		.port = (uint16_t)u32_of(o, "port"),
		.port_nat_t = (uint16_t)u32_of(o, "port_nat_t"),
	};
	h->charon = c;
	if (connect_to(h) != 0)
		charon_free(h);
}
