/*
 * The checks that need more than one value, and the translation into the structs that the
 * engine and the gateway take.
 */
#include "conf/check.h"

#include "base/err.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* Ports that are never leased: IKE is shared by cookies, 4555 is ours (A-B-16). */
static const struct range reserved_ports[] = { { 500, 500 }, { 4500, 4500 },
	{ 4555, 4555 } };
#define RESERVED_PORTS (sizeof(reserved_ports) / sizeof(reserved_ports[0]))
/* Addresses over all pools: bounds the engine's tables. */
#define ADDRESSES_MAX 65536

/* --- gateway --------------------------------------------------------------------------
 */

static int check_listen(struct arena *a, const struct conf_gateway *g,
	const struct conf_where *w, struct conf *conf)
{
	const struct conf_endpoint *e = g->listen.items;
	struct conf_listen *out = arena_array(a, g->listen.n, sizeof(*out));

	if (out == NULL)
		return -ENOMEM;
	if (g->listen.n == 0)
		return conf_fail(w, g->listen.line,
			"listen is empty: give at least one ADDRESS:PORT");
	for (size_t i = 0; i < g->listen.n; i++) {
		out[i] = (struct conf_listen){ e[i].addr, e[i].port, e[i].text };
		for (size_t j = 0; j < i; j++)
			if (e[i].port == e[j].port &&
				(e[i].addr == e[j].addr || e[i].addr == 0 ||
					e[j].addr == 0))
				return conf_fail(w, e[i].line,
					"listen: %s and %s cannot both be listened to",
					e[j].text, e[i].text);
	}
	conf->listen = out;
	conf->n_listen = g->listen.n;
	return 0;
}

static int check_transports(
	const struct conf_gateway *g, const struct conf_where *w, struct conf *conf)
{
	const struct conf_number *t = g->transports.items;

	for (size_t i = 0; i < g->transports.n; i++) {
		conf->engine.tcp |= t[i].n == 0;
		conf->engine.udp |= t[i].n == 1;
	}
	if (g->transports.n == 0)
		return conf_fail(w, g->transports.line,
			"transports is empty: give \"tcp\", \"udp\" or both");
	return 0;
}

static int check_path(const struct conf_string *s, const char *name, size_t max,
	const struct conf_where *w)
{
	if (s->text[0] == 0)
		return conf_fail(w, s->line, "%s is empty: give a path", name);
	if (strlen(s->text) > max)
		return conf_fail(w, s->line, "%s: a path of at most %zu bytes is needed",
			name, max);
	return 0;
}

static int check_gateway(struct arena *a, const struct conf_gateway *g,
	const struct conf_where *w, struct conf *conf)
{
	/* The lock file beside the socket has a longer name. */
	size_t socket_max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
	int err = check_listen(a, g, w, conf);

	if (err == 0)
		err = check_transports(g, w, conf);
	if (err == 0)
		err = check_path(&g->state_dir, "state-dir", 4000, w);
	if (err == 0)
		err = check_path(&g->control_socket, "control-socket", socket_max, w);
	if (err == 0 && g->tcp_connections_per_host.given &&
		g->tcp_connections_per_host.n > g->tcp_connections.n)
		err = conf_fail(w, g->tcp_connections_per_host.line,
			"tcp-connections-per-host is more than tcp-connections (%u)",
			g->tcp_connections.n);
	if (err != 0)
		return err;
	conf->state_dir = g->state_dir.text;
	conf->control_socket = g->control_socket.text;
	conf->user = (struct conf_user){ g->user.text, g->user.given };
	conf->sandbox = g->sandbox.n != 0;
	conf->tcp = (struct conf_tcp){ g->tcp_connections.n,
		g->tcp_connections_per_host.n, g->tcp_idle.n, g->tcp_stall.n };
	conf->engine.tunnel_endpoint = g->tunnel_endpoint.n;
	conf->engine.local_networks = g->local_networks.items;
	conf->engine.n_local_networks = g->local_networks.n;
	conf->engine.query_authoritative = g->query_authoritative.n != 0;
	conf->engine.registration_lease_s = g->registration_lease.n;
	conf->engine.listen_rsip_ike = g->listen_rsip_ike.n != 0;
	return 0;
}

/* --- data plane -----------------------------------------------------------------------
 */

static int check_interface(
	const struct conf_string *s, const char *name, const struct conf_where *w)
{
	if (strlen(s->text) >= IF_NAMESIZE || strpbrk(s->text, "/ \t\n") != NULL)
		return conf_fail(w, s->line, "%s = \"%s\": not a name of an interface",
			name, s->text);
	return 0;
}

/* Do the ports have one of these numbers, or of these ranges? */
static bool ranges_meet(
	const struct range *r, const struct range *other, size_t n, uint32_t *at)
{
	for (size_t i = 0; i < n; i++)
		if (other[i].lo <= r->hi && r->lo <= other[i].hi) {
			*at = other[i].lo > r->lo ? other[i].lo : r->lo;
			return true;
		}
	return false;
}

static int check_napt(
	const struct conf_dataplane *d, const struct conf_where *w, struct conf *conf)
{
	const struct prefix4 *hosts = d->napt.items;
	const struct range *p = &d->napt_ports;
	char one[PREFIX_TEXT_MAX], two[PREFIX_TEXT_MAX];
	uint32_t port;

	conf->napt = (struct conf_napt){ hosts, d->napt.n, d->napt_address.n, *p };
	if (d->napt.n == 0)
		return 0;
	if (strcmp(conf->driver, "none") == 0)
		return conf_fail(w, d->napt.line,
			"napt: driver \"none\" carries no packets; leave napt out, or "
			"set "
			"another driver");
	if (ranges_meet(p, reserved_ports, RESERVED_PORTS, &port))
		return conf_fail(w, d->napt.line,
			"napt-ports %u-%u has port %u, which is not for other hosts "
			"(500, 4500 and 4555 are reserved)",
			p->lo, p->hi, port);
	for (size_t i = 0; i < d->napt.n; i++)
		for (size_t j = 0; j < i; j++)
			if (prefix_has(&hosts[i], hosts[j].addr) ||
				prefix_has(&hosts[j], hosts[i].addr))
				return conf_fail(w, d->napt.lines[i],
					"napt: %s and %s overlap; give the larger one",
					prefix_format(&hosts[j], one),
					prefix_format(&hosts[i], two));
	return 0;
}

/* Where the address that is translated to is known, its pool's ports are others. */
static int check_napt_pool(
	const struct conf_pieces *p, const struct conf_where *w, const struct conf *conf)
{
	uint32_t addr = conf->napt.address, port;
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < p->n_pools && conf->napt.n_hosts > 0 && addr != 0; i++) {
		const struct prefix4 *whole = p->pools[i].dedicated.items,
				     *shared = p->pools[i].addresses.items;

		for (size_t j = 0; j < p->pools[i].dedicated.n; j++)
			if (prefix_has(&whole[j], addr))
				return conf_fail(w, p->dataplane.napt_address.line,
					"napt-address %s is dedicated in pool %s: it is "
					"leased whole",
					addr_format(addr, text), p->pool_names[i]);
		for (size_t j = 0; j < p->pools[i].addresses.n; j++)
			if (prefix_has(&shared[j], addr) &&
				ranges_meet(&conf->napt.ports, conf->taken[i].ports,
					conf->taken[i].n_ports, &port))
				return conf_fail(w, p->pools[i].ports.line,
					"ports: pool %s leases port %u of %s, which "
					"napt-ports (%u-%u) has too; make them disjoint",
					p->pool_names[i], port, addr_format(addr, text),
					conf->napt.ports.lo, conf->napt.ports.hi);
	}
	return 0;
}

static int check_dataplane(
	const struct conf_dataplane *d, const struct conf_where *w, struct conf *conf)
{
	static const char *const drivers[] = { "auto", "xdp", "packet", "none" };
	int err = check_interface(&d->private_interface, "private-interface", w);

	if (err == 0)
		err = check_interface(&d->public_interface, "public-interface", w);
	if (err == 0 && d->private_interface.text[0] != 0 &&
		strcmp(d->private_interface.text, d->public_interface.text) == 0)
		err = conf_fail(w, d->public_interface.line,
			"private-interface and public-interface are both %s; they must "
			"differ",
			d->public_interface.text);
	conf->driver = drivers[d->driver.n];
	conf->private_interface = d->private_interface.text;
	conf->public_interface = d->public_interface.text;
	conf->ike_only_host = d->ike_from_peer.n == 1;
	conf->ike_mappings = d->ike_mappings.n;
	return err == 0 ? check_napt(d, w, conf) : err;
}

/* --- pools ----------------------------------------------------------------------------
 */

/* The numbers of r without those of `holes` (sorted); at most n + n_holes ranges. */
static size_t ranges_without(const struct range *r, size_t n, const struct range *holes,
	size_t n_holes, struct range *out)
{
	size_t made = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t lo = r[i].lo;
		bool whole = true; /* something is left from lo */

		for (size_t h = 0; h < n_holes && whole; h++) {
			if (holes[h].hi < lo || holes[h].lo > r[i].hi)
				continue;
			if (holes[h].lo > lo)
				out[made++] = (struct range){ lo, holes[h].lo - 1 };
			whole = holes[h].hi < r[i].hi;
			lo = holes[h].hi + 1;
		}
		if (whole)
			out[made++] = (struct range){ lo, r[i].hi };
	}
	return made;
}

static int pool_ranges(struct arena *a, const struct conf_pool *p, struct engine_pool *e,
	const struct conf_where *w)
{
	struct range *ports = p->ports.items, *spis = p->spis.items;
	size_t n = ranges_normalise(ports, p->ports.n);
	struct range *left = arena_array(a, n + RESERVED_PORTS, sizeof(*left));

	if (left == NULL)
		return -ENOMEM;
	e->ports = left;
	e->n_ports = ranges_without(ports, n, reserved_ports, RESERVED_PORTS, left);
	e->spis = spis;
	e->n_spis = ranges_normalise(spis, p->spis.n);
	if (p->ports.n > 0 && e->n_ports == 0)
		return conf_fail(w, p->ports.line,
			"ports: nothing is left to lease, as 500, 4500 and 4555 never "
			"are");
	return 0;
}

static int pool_fill(struct arena *a, const struct conf_pool *p, struct engine_pool *e,
	struct conf_taken *t, const struct conf_where *w)
{
	struct prefix4 *all =
		arena_array(a, p->addresses.n + p->dedicated.n, sizeof(*all));
	int err = pool_ranges(a, p, e, w);

	if (err != 0 || all == NULL)
		return err != 0 ? err : -ENOMEM;
	e->shared = p->addresses.items;
	e->n_shared = p->addresses.n;
	e->dedicated = p->dedicated.items;
	e->n_dedicated = p->dedicated.n;
	e->hold_down_s = p->hold_down.n;
	e->exclusive_500 = p->exclusive_500.n != 0;
	for (size_t i = 0; i < e->n_shared; i++)
		all[t->n_addresses++] = e->shared[i];
	for (size_t i = 0; i < e->n_dedicated; i++)
		all[t->n_addresses++] = e->dedicated[i];
	t->addresses = all;
	t->ports = e->ports;
	t->n_ports = e->n_ports;
	return 0;
}

/* A prefix of some pool, for finding two that overlap. */
struct placed {
	struct prefix4 prefix;
	const char *pool, *key;
	int line;
	size_t order; /* in the file */
};

static size_t place(struct placed *out, const struct conf_list *l, const char *pool,
	const char *key, size_t n)
{
	const struct prefix4 *p = l->items;

	for (size_t i = 0; i < l->n; i++, n++)
		out[n] = (struct placed){ p[i], pool, key, l->lines[i], n };
	return n;
}

/* By address, the shorter prefix first: of prefixes that overlap two then stand together.
 */
static int placed_compare(const void *left, const void *right)
{
	const struct placed *a = left, *b = right;

	if (a->prefix.addr != b->prefix.addr)
		return a->prefix.addr < b->prefix.addr ? -1 : 1;
	if (a->prefix.len != b->prefix.len)
		return a->prefix.len < b->prefix.len ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

static int check_prefix(
	const struct placed *p, uint64_t *total, const struct conf_where *w)
{
	char text[PREFIX_TEXT_MAX];
	uint32_t first = p->prefix.addr >> 24;

	(void)prefix_format(&p->prefix, text);
	if (p->prefix.addr == 0 || first == 0 || first >= 224)
		return conf_fail(w, p->line,
			"%s: %s is no address that a host can have on the Internet",
			p->key, text);
	*total += (uint64_t)1 << (32 - p->prefix.len);
	if (*total > ADDRESSES_MAX)
		return conf_fail(w, p->line,
			"%s: with %s the pools have more than %d addresses", p->key, text,
			ADDRESSES_MAX);
	return 0;
}

static int overlap_fail(
	const struct placed *a, const struct placed *b, const struct conf_where *w)
{
	const struct placed *late = a->order > b->order ? a : b;
	const struct placed *early = late == a ? b : a;
	char one[PREFIX_TEXT_MAX], two[PREFIX_TEXT_MAX];

	return conf_fail(w, late->line,
		"%s: %s stands already in %s of pool %s (%s, line %d); an address "
		"belongs to one of them",
		late->key, prefix_format(&late->prefix, one), early->key, early->pool,
		prefix_format(&early->prefix, two), early->line);
}

static int check_addresses(
	struct arena *a, const struct conf_pieces *p, const struct conf_where *w)
{
	struct placed *all;
	uint64_t total = 0;
	size_t n = 0;

	for (size_t i = 0; i < p->n_pools; i++)
		n += p->pools[i].addresses.n + p->pools[i].dedicated.n;
	all = arena_array(a, n, sizeof(*all));
	if (all == NULL)
		return -ENOMEM;
	n = 0;
	for (size_t i = 0; i < p->n_pools; i++) {
		n = place(all, &p->pools[i].addresses, p->pool_names[i], "addresses", n);
		n = place(all, &p->pools[i].dedicated, p->pool_names[i], "dedicated", n);
	}
	for (size_t i = 0; i < n; i++) {
		int err = check_prefix(&all[i], &total, w);

		if (err != 0)
			return err;
	}
	qsort(all, n, sizeof(*all), placed_compare);
	for (size_t i = 1; i < n; i++)
		if (prefix_has(&all[i - 1].prefix, all[i].prefix.addr))
			return overlap_fail(&all[i - 1], &all[i], w);
	return 0;
}

static int water_fill(const struct conf_pool *p, const char *name,
	struct conf_water *water, const struct conf_where *w)
{
	*water = (struct conf_water){ p->high_water.n, p->low_water.n };
	if (p->low_water.n < p->high_water.n)
		return 0;
	/* A high mark that was lowered alone takes the other along. */
	if (!p->low_water.given) {
		water->low = p->high_water.n - 1;
		return 0;
	}
	return conf_fail(w, p->low_water.line,
		"low-water of pool %s is not below its high-water (%u)", name,
		p->high_water.n);
}

static int check_pools(struct arena *a, const struct conf_pieces *p,
	const struct conf_where *w, struct conf *conf)
{
	struct engine_pool *e = arena_array(a, p->n_pools, sizeof(*e));
	struct conf_taken *t = arena_array(a, p->n_pools, sizeof(*t));
	struct conf_water *water = arena_array(a, p->n_pools, sizeof(*water));

	if (e == NULL || t == NULL || water == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_pools; i++) {
		int err = pool_fill(a, &p->pools[i], &e[i], &t[i], w);

		if (err != 0)
			return err;
		e[i].name = p->pool_names[i];
		err = water_fill(&p->pools[i], p->pool_names[i], &water[i], w);
		if (err != 0)
			return err;
	}
	conf->engine.pools = e;
	conf->engine.n_pools = p->n_pools;
	conf->taken = t;
	conf->water = water;
	conf->n_taken = p->n_pools;
	return check_addresses(a, p, w);
}

/* --- policies -------------------------------------------------------------------------
 */

/* Bits of the words of a list; `bit` gives the bit of word i. */
static uint32_t words_bits(const struct conf_list *l, const unsigned int *bit)
{
	const struct conf_number *word = l->items;
	uint32_t bits = 0;

	for (size_t i = 0; i < l->n; i++)
		bits |= 1U << bit[word[i].n];
	return bits;
}

static int policy_check(
	const struct conf_policy *p, const char *name, const struct conf_where *w)
{
	if (p->match.n == 0)
		return conf_fail(w, p->match.line,
			"match of policy %s is empty: it would hold no host; leave the "
			"policy out",
			name);
	if (p->methods.n == 0)
		return conf_fail(w, p->methods.line,
			"methods of policy %s is empty; to refuse hosts, leave them out "
			"of every match",
			name);
	if (p->tunnels.n == 0)
		return conf_fail(w, p->tunnels.line,
			"tunnels of policy %s is empty: give \"ipip\", \"gre\" or both",
			name);
	if (p->lease_default.given && p->lease_default.n > p->lease_max.n)
		return conf_fail(w, p->lease_default.line,
			"lease-default of policy %s is more than its lease-max (%u)",
			name, p->lease_max.n);
	return 0;
}

static void policy_fill(
	const struct conf_policy *p, const char *name, struct engine_policy *e)
{
	/* In the order of the words in conf/schema.c. */
	static const unsigned int methods[] = { METHOD_RSA_IP, METHOD_RSAP_IP,
		METHOD_RSIPSEC };
	static const unsigned int tunnels[] = { TUNNEL_IPIP, TUNNEL_GRE };
	static const enum local_flow local[] = { LOCAL_MACRO, LOCAL_MICRO };
	static const enum remote_flow remote[] = { REMOTE_NONE, REMOTE_MACRO,
		REMOTE_MICRO };

	*e = (struct engine_policy){
		.name = name,
		.match = p->match.items,
		.n_match = p->match.n,
		.methods = words_bits(&p->methods, methods),
		.tunnels = words_bits(&p->tunnels, tunnels),
		.local_flow = local[p->local_flow.n],
		.remote_flow = remote[p->remote_flow.n],
		/* A default never stands in the way of a lower maximum. */
		.lease_default_s = p->lease_default.n < p->lease_max.n
					   ? p->lease_default.n
					   : p->lease_max.n,
		.lease_max_s = p->lease_max.n,
		.max_bindings = p->max_bindings.n,
		.max_ports = p->max_ports.n,
		.max_spis = p->max_spis.n,
		.allow = p->remote_allow.items,
		.n_allow = p->remote_allow.n,
		.deny = p->remote_deny.items,
		.n_deny = p->remote_deny.n,
		.listen = p->listen.n != 0,
		.request_rate = p->request_rate.n,
		.request_burst = p->request_burst.n,
	};
}

static int check_policies(struct arena *a, const struct conf_pieces *p,
	const struct conf_where *w, struct conf *conf)
{
	struct engine_policy *e = arena_array(a, p->n_policies, sizeof(*e));

	if (e == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_policies; i++) {
		int err = policy_check(&p->policies[i], p->policy_names[i], w);

		if (err != 0)
			return err;
		policy_fill(&p->policies[i], p->policy_names[i], &e[i]);
	}
	conf->engine.policies = e;
	conf->engine.n_policies = p->n_policies;
	return 0;
}

/* --- all ------------------------------------------------------------------------------
 */

static void check_ipfix(const struct conf_ipfix *x, struct conf *conf)
{
	conf->ipfix = x->collector.set;
	conf->collector = (struct conf_listen){ x->collector.addr, x->collector.port,
		x->collector.text };
	conf->ipfix_domain = x->domain.n;
	conf->ipfix_enterprise = x->enterprise.n;
	conf->ipfix_templates_s = x->template_interval.n;
}

int conf_check(struct arena *a, const struct conf_pieces *p, const struct conf_where *w,
	struct conf *conf)
{
	const struct conf_endpoint *m = &p->metrics.listen;
	int err = check_gateway(a, &p->gateway, w, conf);

	if (err == 0)
		err = check_dataplane(&p->dataplane, w, conf);
	if (err == 0)
		err = check_pools(a, p, w, conf);
	if (err == 0)
		err = check_napt_pool(p, w, conf);
	if (err == 0)
		err = check_policies(a, p, w, conf);
	if (err == 0)
		err = conf_check_security(&p->security, w, conf);
	if (err == 0)
		err = conf_check_hosts(a, p, w, conf);
	if (err != 0)
		return err;
	conf->audit_bytes = (uint64_t)p->audit.max_size.n * 1024 * 1024;
	conf->audit_keep_s = p->audit.retention.n * 86400;
	check_ipfix(&p->ipfix, conf);
	conf->slp = (struct conf_found){ p->slp.advertise.n != 0, p->slp.scopes.text,
		p->slp.directory_agent.n, (uint16_t)p->slp.lifetime.n };
	conf->metrics = m->set;
	conf->metrics_listen = (struct conf_listen){ m->addr, m->port, m->text };
	/* Not in the file: protocol constants of ours (A-R-16, A-W-16). */
	conf->engine.unregistered_rate = 20;
	conf->engine.unregistered_burst = 100;
	conf->engine.query_max_udp = 1400;
	return 0;
}
