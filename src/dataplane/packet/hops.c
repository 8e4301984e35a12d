/*
 * Routes and neighbours.  A route is asked of the kernel once per destination and kept
 * until any route changes, so policy routing and tables of any size work; resolution is
 * the kernel's too, told to start by NTF_USE.  All packets then go by AF_PACKET: a raw
 * socket would let the kernel fill in an identification of zero and so break AH.
 */
#include "dataplane/packet/hops.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUTES_MAX      65536
#define NEIGHBOURS_MAX  65536
#define HELD_MAX        512 /* packets */
#define HELD_EACH       3
#define HELD_MS         3000
#define NO_ROUTE_MS     1000
#define KICK_MISSING_MS 1000
#define KICK_STALE_MS   5000
#define MSG_SIZE        32768
#define GROUP_NEXTHOP   (1U << (RTNLGRP_NEXTHOP - 1))

#define NUD_USABLE \
	(NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)

struct route {
	struct htab_node node;
	uint32_t link, dst; /* key */
	uint32_t generation, next;
	bool there;
	uint64_t until_ms; /* of a missing one */
};

struct held {
	struct held *after;
	size_t len;
	uint64_t since_ms;
	uint8_t packet[];
};

struct neighbour {
	struct htab_node node;
	uint32_t index, addr; /* key */
	enum forward_link link;
	struct link_mac mac;
	bool usable, stale;
	uint64_t kicked_ms;
	struct held *first;
	unsigned int n_held;
};
#define KEY_SIZE (2 * sizeof(uint32_t))

static uint32_t attr_addr(const struct nlattr *a)
{
	return ntohl(mnl_attr_get_u32(a));
}

/* Collect attributes up to max by type; larger ones are ignored. */
#define ATTRS (RTA_MAX > NDA_MAX ? RTA_MAX + 1 : NDA_MAX + 1)
struct attrs {
	const struct nlattr *of[ATTRS];
};

static int on_attr(const struct nlattr *a, void *data)
{
	struct attrs *t = data;

	if (mnl_attr_get_type(a) < ATTRS)
		t->of[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

static bool link_of(const struct hops *h, unsigned int index, enum forward_link *link)
{
	for (int i = 0; i < LINKS; i++) {
		if (h->link[i].index == index) {
			*link = (enum forward_link)i;
			return true;
		}
	}
	return false;
}

/* One request on the asking socket; fn sees each answer.  The kernel answers at once. */
static int ask(struct hops *h, struct nlmsghdr *n, mnl_cb_t fn, void *data)
{
	char buf[MSG_SIZE];
	unsigned int port = mnl_socket_get_portid(h->ask);
	static const unsigned int one = 1;
	int rc = MNL_CB_OK;

	n->nlmsg_seq = one;
	if (mnl_socket_sendto(h->ask, n, n->nlmsg_len) < 0)
		return -errno;
	while (rc > MNL_CB_STOP) {
		ssize_t len = mnl_socket_recvfrom(h->ask, buf, sizeof buf);

		if (len < 0)
			return -errno;
		rc = mnl_cb_run(buf, (size_t)len, one, port, fn, data);
		if (rc > MNL_CB_STOP && !(n->nlmsg_flags & NLM_F_DUMP) &&
			!(n->nlmsg_flags & NLM_F_ACK))
			break;
	}
	return rc < 0 ? -errno : 0;
}

/* --- neighbours --- */

static struct neighbour *neighbour_find(
	const struct hops *h, enum forward_link link, uint32_t addr)
{
	const uint32_t key[] = { h->link[link].index, addr };

	return htab_find(&h->neighbours, key);
}

static struct neighbour *neighbour_make(
	struct hops *h, enum forward_link link, uint32_t addr)
{
	struct neighbour *n = neighbour_find(h, link, addr);

	if (n || h->neighbours.n >= NEIGHBOURS_MAX)
		return n;
	n = calloc(1, sizeof *n);
	if (!n)
		return NULL;
	n->index = h->link[link].index;
	n->addr = addr;
	n->link = link;
	htab_add(&h->neighbours, n);
	return n;
}

static void take_held(struct hops *h, struct neighbour *n, bool send)
{
	for (struct held *p = n->first, *after; p; p = after) {
		after = p->after;
		if (send)
			h->ready(h->ctx, n->link, &n->mac, p->packet, p->len);
		else
			h->lost(h->ctx, n->link);
		free(p);
		h->held--;
	}
	n->first = NULL;
	n->n_held = 0;
}

static void on_neighbour(struct hops *h, const struct nlmsghdr *m)
{
	const struct ndmsg *nd = mnl_nlmsg_get_payload(m);
	struct attrs t = { { 0 } };
	enum forward_link link;

	if (nd->ndm_family != AF_INET ||
		!link_of(h, (unsigned int)nd->ndm_ifindex, &link))
		return;
	(void)mnl_attr_parse(m, sizeof *nd, on_attr, &t);
	if (!t.of[NDA_DST] || mnl_attr_get_payload_len(t.of[NDA_DST]) != 4)
		return;
	const struct nlattr *mac = t.of[NDA_LLADDR];
	bool usable = m->nlmsg_type == RTM_NEWNEIGH && (nd->ndm_state & NUD_USABLE) &&
		      mac &&
		      mnl_attr_get_payload_len(mac) <= sizeof((struct link_mac *)0)->byte;
	uint32_t addr = attr_addr(t.of[NDA_DST]);
	struct neighbour *n =
		usable ? neighbour_make(h, link, addr) : neighbour_find(h, link, addr);
	if (!n)
		return;
	if (n->usable && (!usable || memcmp(n->mac.byte, mnl_attr_get_payload(mac),
					     mnl_attr_get_payload_len(mac)) != 0))
		h->moved++;
	n->usable = usable;
	n->stale = nd->ndm_state == NUD_STALE;
	if (usable) {
		n->mac.len = (uint8_t)mnl_attr_get_payload_len(mac);
		memcpy(n->mac.byte, mnl_attr_get_payload(mac), n->mac.len);
		take_held(h, n, true);
	} else if (nd->ndm_state & NUD_FAILED) {
		take_held(h, n, false);
	}
}

/* Ask the kernel to find out, or to confirm, the neighbour's address. */
static void kick(struct hops *h, struct neighbour *n)
{
	char buf[128];
	struct nlmsghdr *m = mnl_nlmsg_put_header(buf);
	struct ndmsg *nd;

	m->nlmsg_type = RTM_NEWNEIGH;
	m->nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK;
	nd = mnl_nlmsg_put_extra_header(m, sizeof *nd);
	nd->ndm_family = AF_INET;
	nd->ndm_ifindex = (int)n->index;
	nd->ndm_flags = NTF_USE;
	mnl_attr_put_u32(m, NDA_DST, htonl(n->addr));
	n->kicked_ms = h->now_ms;
	(void)ask(
		h, m, NULL, NULL); /* a refusal shows as a neighbour that never answers */
}

/* --- routes --- */

static int on_route(const struct nlmsghdr *m, void *data)
{
	const struct rtmsg *rt = mnl_nlmsg_get_payload(m);
	struct route *r = data;
	struct attrs t = { { 0 } };

	if (m->nlmsg_type != RTM_NEWROUTE || rt->rtm_type != RTN_UNICAST)
		return MNL_CB_OK;
	(void)mnl_attr_parse(m, sizeof *rt, on_attr, &t);
	/* key.link holds the interface's index here. */
	if (!t.of[RTA_OIF] || mnl_attr_get_u32(t.of[RTA_OIF]) != r->link)
		return MNL_CB_OK;
	r->there = !t.of[RTA_VIA];
	r->next = t.of[RTA_GATEWAY] ? attr_addr(t.of[RTA_GATEWAY]) : r->dst;
	return MNL_CB_OK;
}

static void route_ask(struct hops *h, struct route *r)
{
	char buf[128];
	struct nlmsghdr *m = mnl_nlmsg_put_header(buf);
	struct rtmsg *rt;

	m->nlmsg_type = RTM_GETROUTE;
	m->nlmsg_flags = NLM_F_REQUEST;
	rt = mnl_nlmsg_put_extra_header(m, sizeof *rt);
	rt->rtm_family = AF_INET;
	rt->rtm_dst_len = 32;
	mnl_attr_put_u32(m, RTA_DST, htonl(r->dst));
	r->there = false;
	r->generation = h->generation;
	r->until_ms = h->now_ms + NO_ROUTE_MS;
	(void)ask(h, m, on_route, r); /* an error says the same as no answer: not there */
}

static struct route *route_find(struct hops *h, enum forward_link link, uint32_t dst)
{
	const uint32_t key[] = { h->link[link].index, dst };
	struct route *r = htab_find(&h->routes, key);

	if (!r) {
		if (h->routes.n >= ROUTES_MAX)
			htab_clear(&h->routes, free);
		r = calloc(1, sizeof *r);
		if (!r)
			return NULL;
		r->link = key[0];
		r->dst = dst;
		r->generation = h->generation - 1;
		htab_add(&h->routes, r);
	}
	if (r->generation != h->generation || (!r->there && h->now_ms >= r->until_ms))
		route_ask(h, r);
	return r;
}

enum hop_result hops_find(struct hops *h, enum forward_link link, uint32_t dst,
	struct link_mac *to, uint32_t *next)
{
	const struct route *r = h->link[link].up ? route_find(h, link, dst) : NULL;

	if (!r || !r->there)
		return HOP_NONE;
	*next = r->next;
	if (h->link[link].noarp) {
		to->len = 0;
		return HOP_READY;
	}
	struct neighbour *n = neighbour_make(h, link, r->next);
	if (!n)
		return HOP_NONE;
	if (!n->usable || n->stale) {
		uint64_t pause = n->usable ? KICK_STALE_MS : KICK_MISSING_MS;

		if (n->kicked_ms == 0 || h->now_ms >= n->kicked_ms + pause)
			kick(h, n);
	}
	*to = n->mac;
	return n->usable ? HOP_READY : HOP_WAIT;
}

bool hops_hold(struct hops *h, enum forward_link link, uint32_t next,
	const struct forward_piece *piece, int n)
{
	struct neighbour *to = neighbour_find(h, link, next);
	size_t len = 0;

	for (int i = 0; i < n; i++)
		len += piece[i].len;
	if (!to || to->n_held >= HELD_EACH || h->held >= HELD_MAX)
		return false;
	struct held *p = malloc(sizeof *p + len), **last = &to->first;
	if (!p)
		return false;
	*p = (struct held){ .len = len, .since_ms = h->now_ms };
	uint8_t *at = p->packet;
	for (int i = 0; i < n; i++) {
		memcpy(at, piece[i].at, piece[i].len);
		at += piece[i].len;
	}
	while (*last)
		last = &(*last)->after;
	*last = p;
	to->n_held++;
	h->held++;
	return true;
}

bool hops_has_neighbour(const struct hops *h, enum forward_link link, uint32_t addr)
{
	const struct neighbour *n = neighbour_find(h, link, addr);

	return n && n->usable;
}

static void give_up(void *entry, void *ctx)
{
	struct neighbour *n = entry;
	struct hops *h = ctx;

	if (n->first && h->now_ms >= n->first->since_ms + HELD_MS)
		take_held(h, n, false);
}

void hops_sweep(struct hops *h, uint64_t now_ms)
{
	h->now_ms = now_ms;
	if (h->held == 0 || now_ms < h->swept_ms + 1000)
		return;
	h->swept_ms = now_ms;
	htab_each(&h->neighbours, give_up, h);
}

/* --- links and addresses --- */

static void release_neighbour(void *entry)
{
	struct neighbour *n = entry;

	for (struct held *p = n->first, *after; p; p = after) {
		after = p->after;
		free(p);
	}
	free(n);
}

/* An interface of a link's name: the link itself, or one made anew in its place. */
static bool adopt(struct hops *h, unsigned int index, const char *name)
{
	enum forward_link link;

	if (link_of(h, index, &link))
		return true;
	for (int i = 0; name && i < LINKS; i++) {
		if (strcmp(h->link[i].name, name) != 0)
			continue;
		h->link[i].index = index;
		htab_clear(&h->neighbours, release_neighbour);
		h->held = 0;
		return true;
	}
	return false;
}

static void on_link(struct hops *h, const struct nlmsghdr *m)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(m);
	struct attrs t = { { 0 } };
	enum forward_link link;

	(void)mnl_attr_parse(m, sizeof *ifi, on_attr, &t);
	const char *name = t.of[IFLA_IFNAME] ? mnl_attr_get_str(t.of[IFLA_IFNAME]) : NULL;
	if (!adopt(h, (unsigned int)ifi->ifi_index,
		    m->nlmsg_type == RTM_NEWLINK ? name : NULL) ||
		!link_of(h, (unsigned int)ifi->ifi_index, &link))
		return;
	struct hop_link *l = &h->link[link];
	l->up = m->nlmsg_type == RTM_NEWLINK && (ifi->ifi_flags & IFF_UP);
	l->noarp = (ifi->ifi_flags & IFF_NOARP) != 0;
	if (t.of[IFLA_MTU])
		l->mtu = mnl_attr_get_u32(t.of[IFLA_MTU]);
	if (t.of[IFLA_ADDRESS] &&
		mnl_attr_get_payload_len(t.of[IFLA_ADDRESS]) <= sizeof l->mac.byte) {
		l->mac.len = (uint8_t)mnl_attr_get_payload_len(t.of[IFLA_ADDRESS]);
		memcpy(l->mac.byte, mnl_attr_get_payload(t.of[IFLA_ADDRESS]), l->mac.len);
	}
	h->links_changed = true;
	h->generation++;
}

static void local_add(struct hops *h, uint32_t addr)
{
	if (h->n_local == h->room_local) {
		size_t room = h->room_local ? h->room_local * 2 : 16;
		uint32_t *bigger = reallocarray(h->local, room, sizeof *bigger);

		if (!bigger)
			return;
		h->local = bigger;
		h->room_local = room;
	}
	h->local[h->n_local++] = addr;
}

/* From a list of all addresses. */
static void on_address(struct hops *h, const struct nlmsghdr *m)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(m);
	struct attrs t = { { 0 } };
	enum forward_link link;

	if (ifa->ifa_family != AF_INET)
		return;
	(void)mnl_attr_parse(m, sizeof *ifa, on_attr, &t);
	const struct nlattr *a = t.of[IFA_LOCAL] ? t.of[IFA_LOCAL] : t.of[IFA_ADDRESS];
	if (!a || mnl_attr_get_payload_len(a) != 4)
		return;
	local_add(h, attr_addr(a));
	if (link_of(h, ifa->ifa_index, &link) && h->primary[link] == 0)
		h->primary[link] = attr_addr(a);
}

/* --- following --- */

static int on_event(const struct nlmsghdr *m, void *data)
{
	struct hops *h = data;

	switch (m->nlmsg_type) {
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		on_neighbour(h, m);
		break;
	case RTM_NEWLINK:
	case RTM_DELLINK:
		on_link(h, m);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		h->addresses_stale = true;
		break;
	default: /* routes, rules, next hop objects */
		h->generation++;
		break;
	}
	return MNL_CB_OK;
}

static int on_dump(const struct nlmsghdr *m, void *data)
{
	if (m->nlmsg_type == RTM_NEWADDR) {
		on_address(data, m);
		return MNL_CB_OK;
	}
	return on_event(m, data);
}

static int dump(struct hops *h, uint16_t type, uint8_t family, size_t body_size)
{
	char buf[128];
	struct nlmsghdr *m = mnl_nlmsg_put_header(buf);

	m->nlmsg_type = type;
	m->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	uint8_t *body = mnl_nlmsg_put_extra_header(m, body_size);
	body[0] = family; /* the first byte of every body */
	return ask(h, m, on_dump, h);
}

static int dump_addresses(struct hops *h)
{
	h->addresses_stale = false;
	h->n_local = 0;
	memset(h->primary, 0, sizeof h->primary);
	h->local_changed = true;
	h->generation++;
	return dump(h, RTM_GETADDR, AF_INET, sizeof(struct ifaddrmsg));
}

static int dump_all(struct hops *h)
{
	int err = dump(h, RTM_GETLINK, AF_UNSPEC, sizeof(struct ifinfomsg));

	err = err ? err : dump_addresses(h);
	return err ? err : dump(h, RTM_GETNEIGH, AF_INET, sizeof(struct ndmsg));
}

void hops_follow(struct hops *h, uint64_t now_ms)
{
	char buf[MSG_SIZE];

	h->now_ms = now_ms;
	for (int i = 0; i < 64; i++) {
		ssize_t n = recv(hops_fd(h), buf, sizeof buf, MSG_DONTWAIT);

		if (n < 0 && errno == ENOBUFS) /* events were lost: ask for everything */
			(void)dump_all(h);
		else if (n <= 0)
			break;
		else
			(void)mnl_cb_run(buf, (size_t)n, 0, 0, on_event, h);
	}
	if (h->addresses_stale)
		(void)dump_addresses(h);
}

static struct mnl_socket *netlink(unsigned int groups)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);

	if (s && mnl_socket_bind(s, groups, MNL_SOCKET_AUTOPID)) {
		(void)mnl_socket_close(s);
		return NULL;
	}
	return s;
}

int hops_open(struct hops *h, uint64_t secret, const char **what)
{
	const struct timeval patience = { .tv_sec = 2 };

	*what = "netlink socket";
	int err = htab_init(&h->routes, KEY_SIZE, secret);
	err = err ? err : htab_init(&h->neighbours, KEY_SIZE, secret);
	if (err)
		return err;
	h->events = netlink(RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR |
			    RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_RULE | GROUP_NEXTHOP);
	h->ask = netlink(0);
	if (!h->events || !h->ask)
		return -errno;
	(void)setsockopt(mnl_socket_get_fd(h->ask), SOL_SOCKET, SO_RCVTIMEO, &patience,
		sizeof patience);
	*what = "list of links, addresses and neighbours";
	return dump_all(h);
}

void hops_close(struct hops *h)
{
	if (h->events)
		(void)mnl_socket_close(h->events);
	if (h->ask)
		(void)mnl_socket_close(h->ask);
	h->events = h->ask = NULL;
	if (h->routes.bucket)
		htab_clear(&h->routes, free);
	if (h->neighbours.bucket)
		htab_clear(&h->neighbours, release_neighbour);
	htab_fini(&h->routes);
	htab_fini(&h->neighbours);
	free(h->local);
	h->local = NULL;
	h->n_local = h->room_local = 0;
}

int hops_fd(const struct hops *h)
{
	return mnl_socket_get_fd(h->events);
}
