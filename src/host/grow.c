/*
 * More ports before they run out, and back again (RFC 3102 section 3.1).  The kernel
 * draws ports by itself and refuses a connection when none is left, without asking
 * anybody; so we look once a second how many of the leased ones are in use and lease more
 * at three quarters.  What was leased that way goes back after a quiet time.
 */
#include "base/log.h"
#include "host/host.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MORE_MIN    16  /* ports at once */
#define MORE_MAX    128 /* the largest aligned block of one binding */
#define REFUSED_MS  30000
#define LINE_MAX_   512
#define PORT_NUMBER 65536

/* Whatever has a local port, TIME_WAIT among it: the kernel does not draw that either. */
static const char *const tables[] = { "/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp",
	"/proc/net/udp6" };

struct used {
	uint8_t port[PORT_NUMBER / 8];
};

static bool is_used(const struct used *u, uint32_t port)
{
	return (u->port[port / 8] & 1u << port % 8) != 0;
}

/* "  0: 0100007F:1F90 ..." */
static void line_read(const char *line, struct used *u)
{
	const char *colon = strchr(line, ':');
	unsigned long port;

	if (colon != NULL)
		colon = strchr(colon + 1, ':');
	if (colon == NULL)
		return;
	port = strtoul(colon + 1, NULL, 16);
	if (port < PORT_NUMBER)
		u->port[port / 8] |= (uint8_t)(1u << port % 8);
}

static void used_read(struct used *u)
{
	char line[LINE_MAX_];

	memset(u, 0, sizeof(*u));
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		FILE *f = fopen(tables[i], "re");

		if (f == NULL)
			continue; /* a kernel without IPv6 */
		/* The first line is a heading. */
		if (fgets(line, sizeof(line), f) != NULL)
			while (fgets(line, sizeof(line), f) != NULL)
				line_read(line, u);
		(void)fclose(f);
	}
}

struct count {
	uint32_t leased, used;
};

static struct count hold_count(const struct hold *hold, const struct used *u)
{
	const struct rsip_grant *g = hold_grant(hold);
	struct count c = { 0, 0 };

	for (size_t i = 0; g != NULL && i < g->n_ports; i++) {
		for (uint32_t p = g->ports[i].lo; p <= g->ports[i].hi; p++) {
			c.leased++;
			c.used += is_used(u, p);
		}
	}
	return c;
}

static void on_more(struct hold *hold, int err, const char *why)
{
	struct gw *gw = hold->gw;

	if (err == 0)
		return; /* net_sync() follows */
	log_warn("no more ports", "reason=\"%s\"", why);
	gw->grow_again_ms = host_now_us() / 1000 + REFUSED_MS;
	hold_forget(hold);
}

static void more(struct gw *gw, const struct rsip_grant *up, uint32_t have)
{
	uint32_t n = have < MORE_MIN ? MORE_MIN : have;
	struct rsip_want want = {
		.kind = RSIP_RSAP_IP,
		.address = up->address,
		.ports = { .form = RSIP_ANY },
		.tunnels[0] = up->tunnel,
		.n_tunnels = 1,
	};
	struct hold *hold;

	if (n > MORE_MAX)
		n = MORE_MAX;
	if (n > gw->ports_max - have)
		n = gw->ports_max - have;
	want.ports.count = n;
	hold = hold_new(gw, HOLD_LEASE, &want);
	if (hold == NULL)
		return;
	hold->grown = true;
	log_info("ports run short, asking for more", "have=%" PRIu32 " more=%" PRIu32,
		have, n);
	hold_ask(hold, on_more, NULL);
}

/* One grown lease back, if it is quiet and the others have room. */
static bool less(struct hold *hold, const struct count *all, const struct count *own)
{
	hold->quiet_s = own->used == 0 ? hold->quiet_s + 1 : 0;
	if (hold->quiet_s < hold->gw->ports_quiet_s ||
		2 * all->used > all->leased - own->leased)
		return false;
	log_info("ports given back", "bind=%" PRIu32, hold->bind_id);
	hold_give(hold, NULL, NULL);
	return true;
}

static void gw_tick(struct gw *gw, const struct used *u)
{
	struct host *h = gw->host;
	const struct rsip_grant *up = NULL;
	struct count all = { 0, 0 };
	bool busy = false;

	for (const struct hold *hold = h->holds; hold != NULL; hold = hold->next) {
		struct count c;

		if (hold->gw != gw)
			continue;
		busy = busy || hold->asking || hold->freeing;
		if (!hold_joins(hold))
			continue;
		if (hold->use == HOLD_UP && up == NULL)
			up = hold_grant(hold);
		c = hold_count(hold, u);
		all.leased += c.leased;
		all.used += c.used;
	}
	if (busy || up == NULL || all.leased == 0)
		return;
	for (struct hold *hold = h->holds; hold != NULL; hold = hold->next) {
		struct count own;

		if (hold->gw != gw || !hold->grown || !hold_joins(hold))
			continue;
		own = hold_count(hold, u);
		if (less(hold, &all, &own))
			return; /* the next one at the next tick */
	}
	if (4 * all.used >= 3 * all.leased && all.leased < gw->ports_max &&
		host_now_us() / 1000 >= gw->grow_again_ms)
		more(gw, up, all.leased);
}

void grow_tick(struct host *h)
{
	struct used *u;

	if (h->ifaces == NULL || h->downing)
		return;
	u = malloc(sizeof(*u));
	if (u == NULL)
		return;
	used_read(u);
	for (struct gw *gw = h->gws; gw != NULL; gw = gw->next)
		if (gw->up)
			gw_tick(gw, u);
	free(u);
}
