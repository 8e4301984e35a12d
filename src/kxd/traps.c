/*
 * From rules to policies.  The set is computed anew each time and put over what the
 * kernel holds; some dozens of policies, changed when a file or an address changes.
 */
#include "kxd/traps.h"

#include "base/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cover {
	struct cover *next;
	struct kx_name name;
	enum kx_group group;
	uint32_t addrs[KX_ADDRS_MAX];
	size_t n;
};

/* The wanted policies as they are collected. */
struct set {
	struct spd_policy *items;
	size_t n, room;
	int err;
};

static void add(struct set *s, const struct spd_policy *p)
{
	if (s->n == s->room) {
		size_t room = s->room > 0 ? 2 * s->room : 64;
		struct spd_policy *items = realloc(s->items, room * sizeof(*items));

		if (items == NULL) {
			s->err = -ENOMEM;
			return;
		}
		s->items = items;
		s->room = room;
	}
	s->items[s->n++] = *p;
}

static void add_as(struct set *s, const struct spd_policy *p, enum spd_dir dir,
	enum spd_action action)
{
	struct spd_policy with = *p;

	with.dir = dir;
	with.action = action;
	add(s, &with);
}

static struct spd_policy reversed(const struct spd_policy *p)
{
	struct spd_policy r = *p;

	r.sel.src = p->sel.dst;
	r.sel.dst = p->sel.src;
	r.sel.sport = p->sel.dport;
	r.sel.dport = p->sel.sport;
	return r;
}

/*
 * One rule for one network of ours; p has selector (outbound) and priority.  Walls
 * against inbound plaintext stand where packets are forwarded, and at the machine's own
 * door only where it is one of the protected hosts.
 */
static void add_rule(struct set *s, const struct traps *t, enum kx_group group,
	const struct spd_policy *p)
{
	struct spd_policy back = reversed(p);
	enum spd_action in =
		group == KX_PRIVATE || group == KX_BLOCK ? SPD_DENY : SPD_ALLOW;

	add_as(s, p, SPD_OUT,
		group == KX_BLOCK                                     ? SPD_DENY
		: group == KX_PRIVATE || group == KX_PRIVATE_OR_CLEAR ? SPD_TRAP
								      : SPD_ALLOW);
	add_as(s, &back, SPD_FWD, in);
	if (t->conf->protect_own)
		add_as(s, &back, SPD_IN, in);
}

static unsigned int narrow(const struct kx_rule *r)
{
	return (r->protocol != 0 ? 1U : 0) + (r->source_port != 0 ? 1U : 0) +
	       (r->port != 0 ? 1U : 0);
}

static uint32_t addr4(const struct kx_addr *a)
{
	return (uint32_t)a->b[0] << 24 | (uint32_t)a->b[1] << 16 |
	       (uint32_t)a->b[2] << 8 | a->b[3];
}

static void add_rules(struct set *s, const struct traps *t, const struct prefix4 *src)
{
	for (size_t i = 0; i < kx_policy_count(t->conf->policy); i++) {
		const struct kx_rule *r = kx_policy_at(t->conf->policy, i);
		const struct spd_policy p = {
			.sel = { .src = *src,
				.dst = { addr4(&r->prefix.addr), r->prefix.len },
				.protocol = r->protocol,
				.sport = r->source_port,
				.dport = r->port },
			.priority = spd_group_priority(r->prefix.len, narrow(r)),
		};

		if (r->name.len == 0)
			add_rule(s, t, r->group, &p);
	}
	for (const struct cover *c = t->covers; c != NULL; c = c->next)
		for (size_t i = 0; i < c->n; i++) {
			const struct spd_policy p = {
				.sel = { .src = *src, .dst = { c->addrs[i], 32 } },
				/* Behind a rule that names the address itself. */
				.priority = spd_group_priority(32, 0) + 1,
			};

			add_rule(s, t, c->group, &p);
		}
}

/* Own traffic that must never wait for a decision which it is needed for. */
static const struct {
	uint8_t protocol;
	uint16_t sport, dport;
} needed[] = {
	{ IPPROTO_UDP, 0, 53 },
	{ IPPROTO_TCP, 0, 53 },
	{ IPPROTO_TCP, 0, 853 },
	{ IPPROTO_UDP, 500, 0 },
	{ IPPROTO_UDP, 4500, 0 },
	{ IPPROTO_UDP, 0, 500 },
	{ IPPROTO_UDP, 0, 4500 },
	{ IPPROTO_ESP, 0, 0 },
	{ IPPROTO_AH, 0, 0 },
};

static void add_own(struct set *s, const struct traps *t, uint32_t own)
{
	struct spd_policy p = {
		.sel = { .src = { own, 32 } },
		.priority = SPD_EXEMPT,
	};

	if (!t->conf->protect_own) {
		add_as(s, &p, SPD_OUT, SPD_ALLOW);
		return;
	}
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		struct spd_policy back;

		p.sel.protocol = needed[i].protocol;
		p.sel.sport = needed[i].sport;
		p.sel.dport = needed[i].dport;
		back = reversed(&p);
		add_as(s, &p, SPD_OUT, SPD_ALLOW);
		add_as(s, &back, SPD_IN, SPD_ALLOW);
	}
}

static int own_read(struct traps *t)
{
	struct ifaddrs *list;

	if (getifaddrs(&list) != 0)
		return -errno;
	t->n_own = 0;
	for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
		struct sockaddr_in in;

		if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET)
			continue;
		memcpy(&in, i->ifa_addr, sizeof(in));
		if (t->n_own < TRAPS_OWN_MAX)
			t->own[t->n_own++] = ntohl(in.sin_addr.s_addr);
	}
	freeifaddrs(list);
	return 0;
}

bool traps_is_own(const struct traps *t, uint32_t addr)
{
	for (size_t i = 0; i < t->n_own; i++)
		if (t->own[i] == addr)
			return true;
	return false;
}

bool traps_protects(const struct traps *t, uint32_t addr)
{
	for (size_t i = 0; i < t->conf->n_protect; i++)
		if (prefix_has(&t->conf->protect[i], addr))
			return true;
	return false;
}

static bool same(const struct spd_policy *a, const struct spd_policy *b)
{
	return a->dir == b->dir && a->sel.src.addr == b->sel.src.addr &&
	       a->sel.src.len == b->sel.src.len && a->sel.dst.addr == b->sel.dst.addr &&
	       a->sel.dst.len == b->sel.dst.len && a->sel.protocol == b->sel.protocol &&
	       a->sel.sport == b->sel.sport && a->sel.dport == b->sel.dport;
}

/* Those of ours that are neither wanted nor shunts, which end by themselves. */
static int surplus_delete(struct traps *t, const struct set *wanted)
{
	struct spd_policy *have;
	size_t n;
	int err = spd_list(t->spd, &have, &n);

	if (err != 0)
		return err;
	for (size_t i = 0; i < n && err == 0; i++) {
		bool keep = have[i].priority == SPD_SHUNT;

		for (size_t k = 0; k < wanted->n && !keep; k++)
			keep = same(&have[i], &wanted->items[k]);
		if (!keep)
			err = spd_del(t->spd, &have[i].sel, have[i].dir);
		if (err == ERR_NOTFOUND)
			err = 0;
	}
	free(have);
	return err;
}

int traps_sync(struct traps *t, char *why, size_t why_size)
{
	struct set s = { 0 };
	int err = own_read(t);

	for (size_t i = 0; i < t->n_own; i++)
		if (traps_protects(t, t->own[i]))
			add_own(&s, t, t->own[i]);
	for (size_t i = 0; i < t->conf->n_protect; i++)
		add_rules(&s, t, &t->conf->protect[i]);
	if (err == 0)
		err = s.err;
	for (size_t i = 0; i < s.n && err == 0; i++)
		err = spd_put(t->spd, &s.items[i]);
	if (err == 0)
		err = surplus_delete(t, &s);
	free(s.items);
	if (err != 0)
		(void)snprintf(why, why_size, "cannot set the kernel's policies: %s",
			err_text(err));
	return err;
}

int traps_cover(struct traps *t, const struct kx_name *name, enum kx_group group,
	const struct kx_addr *addrs, size_t n, char *why, size_t why_size)
{
	struct cover **at = &t->covers, *c;

	while (*at != NULL && !kx_name_same(&(*at)->name, name))
		at = &(*at)->next;
	c = *at;
	if (n == 0) {
		if (c == NULL)
			return 0;
		*at = c->next;
		free(c);
		return traps_sync(t, why, why_size);
	}
	if (c == NULL) {
		c = calloc(1, sizeof(*c));
		if (c == NULL)
			return -ENOMEM;
		c->name = *name;
		*at = c;
	}
	c->group = group;
	c->n = 0;
	for (size_t i = 0; i < n && c->n < KX_ADDRS_MAX; i++)
		if (addrs[i].len == 4)
			c->addrs[c->n++] = addr4(&addrs[i]);
	return traps_sync(t, why, why_size);
}

int traps_shunt(struct traps *t, uint32_t src, uint32_t dst, bool pass, uint32_t seconds)
{
	struct spd_policy p = {
		.sel = { .src = { src, 32 }, .dst = { dst, 32 } },
		.dir = SPD_OUT,
		.action = pass ? SPD_ALLOW : SPD_DENY,
		.priority = SPD_SHUNT,
		.lifetime_s = seconds > 0 ? seconds : 1, /* 0 would be for ever */
	};
	int err = spd_put(t->spd, &p);

	if (!pass || err != 0)
		return err;
	/* What passes is answered, through the walls of a wider private. */
	p = reversed(&p);
	p.dir = SPD_FWD;
	err = spd_put(t->spd, &p);
	if (err == 0 && t->conf->protect_own) {
		p.dir = SPD_IN;
		err = spd_put(t->spd, &p);
	}
	return err;
}

void traps_unshunt(struct traps *t, uint32_t a, uint32_t b)
{
	struct spd_selector way = { .src = { a, 32 }, .dst = { b, 32 } };
	const struct spd_selector back = { .src = { b, 32 }, .dst = { a, 32 } };

	/* Most are not there, which is what is wanted; a lost one ends by itself. */
	for (enum spd_dir dir = SPD_IN; dir <= SPD_FWD; dir++) {
		(void)spd_del(t->spd, &way, dir);
		(void)spd_del(t->spd, &back, dir);
	}
}

int traps_open(struct traps *t, size_t *removed)
{
	struct spd_policy *have;
	size_t n;
	int err = spd_list(t->spd, &have, &n);

	*removed = 0;
	if (err != 0)
		return err;
	for (size_t i = 0; i < n; i++)
		if (spd_del(t->spd, &have[i].sel, have[i].dir) == 0)
			++*removed;
	free(have);
	return 0;
}

void traps_fini(struct traps *t)
{
	for (struct cover *c = t->covers, *next; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
	t->covers = NULL;
}
