/*
 * What the holds mean for this network namespace.  Everything is compared with what is
 * there and then changed, so that a second call, or a successor of a killed daemon, finds
 * its way: interfaces are known by name from the state, routes by their protocol number,
 * sysctls by the value saved before the first change.
 */
#include "base/err.h"
#include "base/log.h"
#include "host/host.h"
#include "host/sysctl.h"
#include "host/tundev.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_BASE 15500 /* routing tables of the second interface and on */
#define ENDS_MAX   16

/* --- tunnels in this process ----------------------------------------------------------
 */

static struct carrier *carrier_find(
	const struct gw *gw, enum rsip_tunnel type, uint32_t remote)
{
	for (struct carrier *c = gw->host->carriers; c != NULL; c = c->next)
		if (c->gw == gw && c->type == type && c->remote == remote &&
			c->local == gw->local)
			return c;
	return NULL;
}

static uint32_t link_mtu(const struct gw *gw, uint32_t remote)
{
	struct route4 *routes;
	size_t n;
	const struct route4 *r;
	uint32_t mtu = 0;

	if (nl_route_list(gw->host->nl, false, &routes, &n) != 0)
		return 0;
	r = route_find(routes, n, remote);
	if (r != NULL)
		mtu = nl_link_mtu(gw->host->nl, r->oif);
	free(routes);
	return mtu;
}

/* RFC 2003 section 5.1: what goes through without fragments. */
static uint32_t inner_mtu(const struct gw *gw, enum rsip_tunnel type, uint32_t remote)
{
	uint32_t mtu = link_mtu(gw, remote);

	if (mtu == 0 || mtu > 65535)
		mtu = mtu == 0 ? 1500 : 65535;
	return mtu - tunnel_overhead(type);
}

struct carrier *carrier_get(
	struct gw *gw, enum rsip_tunnel type, uint32_t remote, char *why, size_t why_size)
{
	struct host *h = gw->host;
	struct carrier *c = carrier_find(gw, type, remote);
	struct tunnel_conf conf = {
		.loop = h->loop,
		.local = gw->local,
		.remote = remote,
		.type = type,
		.mtu = inner_mtu(gw, type, remote),
	};

	if (c != NULL) {
		c->ends++;
		return c;
	}
	c = calloc(1, sizeof(*c));
	if (c == NULL || tunnel_new(&conf, &c->tunnel, why, why_size) != 0) {
		free(c);
		return NULL;
	}
	*c = (struct carrier){ h->carriers, gw, type, gw->local, remote, c->tunnel, 1 };
	h->carriers = c;
	return c;
}

void carrier_put(struct carrier *c)
{
	struct host *h;

	if (c == NULL || --c->ends > 0)
		return;
	h = c->gw->host;
	for (struct carrier **at = &h->carriers; *at != NULL; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			break;
		}
	}
	tunnel_free(c->tunnel);
	free(c);
}

bool net_claim(const struct hold *hold, struct tunnel_claim *claim)
{
	const struct rsip_grant *g = hold_grant(hold);

	if (g == NULL || hold->freeing)
		return false;
	*claim = (struct tunnel_claim){
		.address = g->address,
		.ports = g->ports,
		.n_ports = g->n_ports,
		.spis = g->spis,
		.n_spis = g->n_spis,
		.all = g->kind == RSIP_RSA_IP,
	};
	return true;
}

/* --- interfaces -----------------------------------------------------------------------
 */

static uint32_t remote_of(const struct gw *gw, const struct rsip_grant *g)
{
	return g->endpoint != 0 ? g->endpoint : gw->addr;
}

struct iface *iface_find(const struct host *h, const struct gw *gw)
{
	for (struct iface *i = h->ifaces; i != NULL; i = i->next)
		if (i->gw == gw)
			return i;
	return NULL;
}

/* Does the hold belong on the interface? */
static const struct rsip_grant *iface_grant(
	const struct iface *i, const struct hold *hold)
{
	const struct rsip_grant *g = hold_grant(hold);

	if (g == NULL || hold->gw != i->gw || !hold_joins(hold) || g->tunnel != i->type ||
		remote_of(i->gw, g) != i->remote)
		return NULL;
	return g;
}

static void device_unmake(struct iface *i)
{
	struct host *h = i->gw->host;
	int index = nl_link_index(h->nl, i->name);

	follow_forget(h->follow, i);
	if (i->end != NULL) {
		tunnel_end_del(i->end);
		carrier_put(i->carrier);
		i->end = NULL;
		i->carrier = NULL;
	}
	if (index != 0)
		(void)nl_link_del(h->nl, index);
	i->index = 0;
}

/* Somebody deleted our device: it is made again by the next net_sync(). */
static void on_device_gone(struct tunnel_owner *owner)
{
	struct iface *i =
		(struct iface *)(void *)((char *)owner - offsetof(struct iface, owner));

	log_warn("interface deleted by somebody", "name=%s", i->name);
	device_unmake(i);
	i->gw->host->resync = true;
}

static bool on_ike(struct tunnel_owner *owner, const uint8_t *p, size_t len)
{
	struct iface *i =
		(struct iface *)(void *)((char *)owner - offsetof(struct iface, owner));

	return follow_keeps(i, p, len);
}

static int tun_make(struct iface *i, char *why, size_t why_size)
{
	struct carrier *c = carrier_get(i->gw, i->type, i->remote, why, why_size);
	char option[64];
	int fd, err;

	if (c == NULL)
		return ERR_REFUSED;
	err = tundev_open(i->name, true, &fd);
	if (err != 0) {
		(void)snprintf(why, why_size, "cannot make the TUN device %s: %s",
			i->name, err_text(err));
		carrier_put(c);
		return err;
	}
	i->owner.gone = on_device_gone;
	i->owner.keeps = i->gw->follow ? on_ike : NULL;
	err = tunnel_end_add(c->tunnel, fd, &i->owner, &i->end);
	if (err != 0) {
		(void)snprintf(why, why_size, "%s: %s", i->name, err_text(err));
		carrier_put(c);
		return err;
	}
	i->carrier = c;
	/* Nothing of IPv6 is leased; a kernel without it has no such file. */
	(void)snprintf(option, sizeof(option), "net/ipv6/conf/%s/disable_ipv6", i->name);
	(void)sysctl_write(option, "1");
	return 0;
}

/* An exec namespace of the same gateway and type needs the packets told apart. */
static bool wants_kernel(const struct iface *i)
{
	const struct host *h = i->gw->host;

	/* In follow mode IKE messages have to wait in here. */
	if (h->conf.device == HOST_DEVICE_TUN || h->no_kernel[i->type] || i->gw->follow)
		return false;
	for (const struct exec *e = h->execs; e != NULL; e = e->next)
		if (e->carrier != NULL && e->carrier->gw == i->gw &&
			e->carrier->type == i->type)
			return false;
	return true;
}

/* The device of either kind; a kernel without the type is remembered. */
static int device_make(struct iface *i, char *why, size_t why_size)
{
	struct host *h = i->gw->host;
	int err;

	i->kernel = wants_kernel(i);
	if (i->kernel) {
		err = nl_tunnel_add(h->nl, i->name, i->type, i->local, i->remote);
		if (err == 0)
			return 0;
		if (err != -EOPNOTSUPP || h->conf.device == HOST_DEVICE_KERNEL) {
			(void)snprintf(why, why_size,
				"cannot make the %s interface %s: %s",
				rsip_tunnel_name(i->type), i->name, err_text(err));
			return err;
		}
		h->no_kernel[i->type] = true;
		i->kernel = false;
	}
	return tun_make(i, why, why_size);
}

/* Also once more, on one that is there. */
static int iface_open(struct iface *i, char *why, size_t why_size)
{
	struct host *h = i->gw->host;
	int err = device_make(i, why, why_size);

	if (err == 0) {
		i->index = nl_link_index(h->nl, i->name);
		err = nl_link_up(h->nl, i->index, inner_mtu(i->gw, i->type, i->remote));
		if (err != 0)
			(void)snprintf(why, why_size, "cannot bring %s up: %s", i->name,
				err_text(err));
	}
	return err;
}

static void iface_del(struct host *h, struct iface *i)
{
	for (struct iface **at = &h->ifaces; *at != NULL; at = &(*at)->next) {
		if (*at == i) {
			*at = i->next;
			break;
		}
	}
	for (size_t k = 0; i->table != 0 && k < i->n_addrs; k++)
		(void)nl_rule_del(h->nl, i->addrs[k], i->table);
	device_unmake(i);
	log_info("interface removed", "name=%s", i->name);
	free(i);
	host_changed(h);
}

/* The first name that nobody has. */
static void name_choose(struct host *h, struct iface *i, unsigned int *number)
{
	for (unsigned int n = 0;; n++) {
		bool used = false;

		(void)snprintf(i->name, sizeof(i->name), "rsip%u", n);
		for (const struct iface *o = h->ifaces; o != NULL; o = o->next)
			used = used || strcmp(o->name, i->name) == 0;
		*number = n;
		if (!used && nl_link_index(h->nl, i->name) == 0)
			return;
	}
}

static int iface_add(
	struct gw *gw, enum rsip_tunnel type, uint32_t remote, char *why, size_t why_size)
{
	struct host *h = gw->host;
	struct iface *i = calloc(1, sizeof(*i)), **at = &h->ifaces;
	unsigned int number;
	int err;

	if (i == NULL)
		return -ENOMEM;
	i->gw = gw;
	i->type = type;
	i->local = gw->local;
	i->remote = remote;
	name_choose(h, i, &number);
	if (h->ifaces != NULL)
		i->table = TABLE_BASE + number;
	while (*at != NULL)
		at = &(*at)->next;
	*at = i;
	err = state_save(h);
	if (err == 0)
		err = iface_open(i, why, why_size);
	else
		(void)snprintf(
			why, why_size, "cannot write %s: %s", h->state, err_text(err));
	if (err != 0) {
		iface_del(h, i);
		return err;
	}
	log_info("interface made", "name=%s type=%s end=%s", i->name,
		rsip_tunnel_name(type), i->kernel ? "kernel" : "rsip-hostd");
	return 0;
}

/* Every lease of `up` has its interface. */
static int ifaces_add(struct host *h, char *why, size_t why_size)
{
	for (const struct hold *hold = h->holds; hold != NULL; hold = hold->next) {
		const struct rsip_grant *g = hold_grant(hold);
		struct iface *i;
		int err;

		if (g == NULL || hold->use != HOLD_UP || !hold_joins(hold))
			continue;
		if (g->tunnel != RSIP_IPIP && g->tunnel != RSIP_GRE) {
			(void)snprintf(why, why_size,
				"the gateway granted a tunnel that is not built: %s",
				rsip_tunnel_name(g->tunnel));
			return ERR_UNSUPPORTED;
		}
		for (i = h->ifaces; i != NULL && iface_grant(i, hold) == NULL;)
			i = i->next;
		if (i != NULL)
			continue;
		err = iface_add(
			hold->gw, g->tunnel, remote_of(hold->gw, g), why, why_size);
		if (err != 0)
			return err;
	}
	return 0;
}

/* The leased addresses of an interface, each once; how many. */
static size_t iface_addresses(
	const struct iface *i, uint32_t addresses[static HOST_ADDRESSES_MAX])
{
	size_t n = 0;

	for (const struct hold *hold = i->gw->host->holds; hold != NULL;
		hold = hold->next) {
		const struct rsip_grant *g = iface_grant(i, hold);
		size_t at = 0;

		if (g == NULL)
			continue;
		while (at < n && addresses[at] != g->address)
			at++;
		if (at == n && n < HOST_ADDRESSES_MAX)
			addresses[n++] = g->address;
	}
	return n;
}

static int iface_claim(struct iface *i)
{
	struct tunnel_claim claims[HOST_HOLDS_MAX];
	size_t n = 0;

	if (i->end == NULL)
		return 0;
	for (const struct hold *hold = i->gw->host->holds; hold != NULL;
		hold = hold->next)
		if (iface_grant(i, hold) != NULL && net_claim(hold, &claims[n]))
			n++;
	return tunnel_end_claim(i->end, claims, n);
}

static bool has(const uint32_t *list, size_t n, uint32_t value)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == value)
			return true;
	return false;
}

/* Addresses that came appear, those that went vanish (RFC 3102 section 3.1). */
static int iface_sync(struct iface *i, char *why, size_t why_size)
{
	struct host *h = i->gw->host;
	uint32_t want[HOST_ADDRESSES_MAX];
	size_t n = iface_addresses(i, want);
	int err = 0;

	for (size_t k = 0; k < n && err == 0; k++) {
		err = nl_addr_add(h->nl, i->index, want[k]);
		if (err == -EEXIST)
			err = 0;
		if (err == 0 && i->table != 0) {
			int rule = nl_rule_add(h->nl, want[k], i->table);

			err = rule == -EEXIST ? 0 : rule;
		}
	}
	for (size_t k = 0; k < i->n_addrs; k++) {
		if (has(want, n, i->addrs[k]))
			continue;
		(void)nl_addr_del(h->nl, i->index, i->addrs[k]); /* gone already: fine */
		if (i->table != 0)
			(void)nl_rule_del(h->nl, i->addrs[k], i->table);
	}
	memcpy(i->addrs, want, n * sizeof(want[0]));
	i->n_addrs = n;
	if (err == 0)
		err = iface_claim(i);
	if (err != 0)
		(void)snprintf(why, why_size, "cannot put the leased address on %s: %s",
			i->name, err_text(err));
	return err;
}

/* The link to the gateway may have got another MTU, or the way there another link. */
static void mtu_sync(const struct iface *i)
{
	struct nl *nl = i->gw->host->nl;
	uint32_t want = inner_mtu(i->gw, i->type, i->remote);

	/* No way at all at the moment says nothing; our buffers have their size. */
	if (link_mtu(i->gw, i->remote) == 0)
		return;
	if (i->carrier != NULL && want > tunnel_mtu(i->carrier->tunnel))
		want = tunnel_mtu(i->carrier->tunnel);
	if (nl_link_mtu(nl, i->index) == want)
		return;
	if (nl_link_up(nl, i->index, want) != 0)
		log_warn("MTU not set", "interface=%s mtu=%u", i->name, want);
}

/* What a killed daemon left and is as it should be: its addresses stay on it. */
static bool iface_adopt(struct iface *i)
{
	struct host *h = i->gw->host;
	int index = nl_link_index(h->nl, i->name);
	char why[IPC_WHY];

	if (i->index != 0 || index == 0 || i->kernel != wants_kernel(i))
		return false;
	if (!i->kernel && tun_make(i, why, sizeof(why)) != 0)
		return false;
	i->index = index;
	log_info("interface taken over", "name=%s", i->name);
	return true;
}

/* The device of the kind that is needed now, at the place where we are now. */
static int iface_check(struct iface *i, char *why, size_t why_size)
{
	struct host *h = i->gw->host;
	bool here = i->index != 0 && nl_link_index(h->nl, i->name) == i->index;

	if (i->local == i->gw->local &&
		((here && i->kernel == wants_kernel(i)) || iface_adopt(i))) {
		mtu_sync(i);
		return 0;
	}
	device_unmake(i);
	i->local = i->gw->local;
	i->n_addrs = 0;
	return iface_open(i, why, why_size);
}

/* `rsip free` may take the last lease of an `up`: it is then no more. */
static bool is_up(const struct gw *gw)
{
	for (const struct hold *hold = gw->host->holds; hold != NULL; hold = hold->next)
		if (hold->gw == gw && hold->use == HOLD_UP && !hold->freeing)
			return gw->up;
	return false;
}

static int ifaces_sync(struct host *h, char *why, size_t why_size)
{
	struct iface *next;
	int err;

	for (struct gw *gw = h->gws; gw != NULL; gw = gw->next)
		gw->up = is_up(gw);

	for (struct iface *i = h->ifaces; i != NULL; i = next) {
		next = i->next;
		if (!i->gw->up)
			iface_del(h, i);
	}
	err = ifaces_add(h, why, why_size);
	for (struct iface *i = h->ifaces; i != NULL && err == 0; i = i->next) {
		err = iface_check(i, why, why_size);
		if (err == 0)
			err = iface_sync(i, why, why_size);
	}
	return err;
}

/* --- routes ---------------------------------------------------------------------------
 */

/* Of one interface; *plan must have room for ENDS_MAX + locals + 1 more. */
static size_t plan_iface(const struct iface *i, const struct route4 *now, size_t n,
	bool first, struct route4 *plan)
{
	uint32_t ends[ENDS_MAX] = { i->gw->addr, i->remote };
	struct route_wish wish = {
		.ends = ends,
		.n_ends = i->remote != i->gw->addr ? 2 : 1,
		.locals = i->gw->locals,
		.n_locals = i->gw->n_locals,
		.tunnel_if = first ? i->index : 0,
		.leased = i->n_addrs > 0 ? i->addrs[0] : 0,
	};

	return route_plan(now, n, &wish, plan);
}

static bool route_in(const struct route4 *list, size_t n, const struct route4 *r)
{
	for (size_t i = 0; i < n; i++)
		if (route_equal(&list[i], r))
			return true;
	return false;
}

static int routes_apply(
	struct host *h, const struct route4 *plan, size_t n, char *why, size_t why_size)
{
	struct route4 *ours;
	size_t n_ours;
	int err = nl_route_list(h->nl, true, &ours, &n_ours);

	if (err != 0) {
		(void)snprintf(
			why, why_size, "cannot read the routes: %s", err_text(err));
		return err;
	}
	/* Old ones first: a deletion without source takes a new one that has one. */
	for (size_t i = 0; i < n_ours; i++)
		if (!route_in(plan, n, &ours[i]))
			(void)nl_route_del(h->nl, &ours[i], 0); /* gone: fine */
	for (size_t i = 0; i < n && err == 0; i++) {
		if (route_in(ours, n_ours, &plan[i]))
			continue;
		err = nl_route_add(h->nl, &plan[i], 0);
		if (err != 0)
			(void)snprintf(
				why, why_size, "cannot add a route: %s", err_text(err));
	}
	free(ours);
	return err;
}

/*
 * Ours stands where a link that comes back would put its default route, whose owner then
 * finds the place taken.  So the last one seen is remembered, and put back in the end
 * where there is none.
 */
static void former_keep(struct host *h, const struct route4 *now, size_t n)
{
	const struct route4 *seen = NULL;

	for (size_t i = 0; i < n; i++)
		if (now[i].dst.len == 0 && (seen == NULL || now[i].metric < seen->metric))
			seen = &now[i];
	if (h->ifaces != NULL) {
		if (seen != NULL)
			h->former = *seen;
		return;
	}
	if (seen == NULL && h->former.oif != 0)
		(void)nl_route_put_back(h->nl, &h->former); /* where it still leads */
	h->former = (struct route4){ 0 };
}

static int routes_sync(struct host *h, char *why, size_t why_size)
{
	struct route4 *now, *plan;
	size_t n, have = 0, room = 0;
	int err;

	for (const struct iface *i = h->ifaces; i != NULL; i = i->next)
		room += ENDS_MAX + i->gw->n_locals + 1;
	plan = calloc(room + 1, sizeof(*plan));
	if (plan == NULL)
		return -ENOMEM;
	err = nl_route_list(h->nl, false, &now, &n);
	if (err != 0) {
		free(plan);
		return err;
	}
	for (const struct iface *i = h->ifaces; i != NULL; i = i->next)
		have += plan_iface(i, now, n, i == h->ifaces, plan + have);
	err = routes_apply(h, plan, have, why, why_size);
	former_keep(h, now, n);
	/* Further interfaces carry what is sent from their addresses. */
	for (const struct iface *i = h->ifaces; i != NULL && err == 0; i = i->next) {
		struct route4 all = {
			.oif = i->index,
			.src = i->n_addrs > 0 ? i->addrs[0] : 0,
		};

		if (i->table != 0)
			err = nl_route_add(h->nl, &all, i->table);
		if (err == -EEXIST)
			err = 0;
	}
	free(now);
	free(plan);
	return err;
}

/* --- all ------------------------------------------------------------------------------
 */

int net_sync(struct host *h, char *why, size_t why_size)
{
	int err;

	(void)snprintf(why, why_size, "%s", "");
	/* Before the address is there, so that no link ever answers for it. */
	err = ifaces_sync(h, why, why_size);
	if (err == 0)
		err = settings_arp(h);
	if (err == 0)
		err = settings_ports(h);
	if (err == 0)
		err = routes_sync(h, why, why_size);
	if (err != 0 && why[0] == 0)
		(void)snprintf(
			why, why_size, "cannot set up the network: %s", err_text(err));
	host_changed(h);
	return err;
}

void net_forget(struct host *h, const struct gw *gw)
{
	struct iface *next;

	for (struct iface *i = h->ifaces; i != NULL; i = next) {
		next = i->next;
		if (i->gw == gw)
			iface_del(h, i);
	}
}

void net_restore(struct host *h)
{
	char why[IPC_WHY];

	for (struct gw *gw = h->gws; gw != NULL; gw = gw->next)
		gw->up = false;
	if (net_sync(h, why, sizeof(why)) != 0)
		log_error("network not restored", "reason=\"%s\"", why);
}
