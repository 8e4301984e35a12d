/*
 * rtnetlink by libmnl: one request, one acknowledgement.
 */
#include "host/nlmsg.h"

#include <net/if.h> /* before the kernel's, which then leave its names alone */

#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/if_tunnel.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TTL 64

int nl_open(struct nl **nl)
{
	return nlmsg_open(NETLINK_ROUTE, nl);
}

/* --- links ----------------------------------------------------------------------------
 */

static struct nlmsghdr *link_request(struct nl *nl, uint16_t type, int flags, int index)
{
	struct nlmsghdr *h = nlmsg_new(nl, type, (uint16_t)(NLM_F_ACK | flags));
	struct ifinfomsg *info = mnl_nlmsg_put_extra_header(h, sizeof(*info));

	info->ifi_family = AF_UNSPEC;
	info->ifi_index = index;
	return h;
}

int nl_tunnel_add(struct nl *nl, const char *name, enum rsip_tunnel type, uint32_t local,
	uint32_t remote)
{
	bool gre = type == RSIP_GRE;
	struct nlmsghdr *h = link_request(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
	struct nlattr *link, *data;

	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	link = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, gre ? "gre" : "ipip");
	data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	mnl_attr_put_u32(h, gre ? IFLA_GRE_LOCAL : IFLA_IPTUN_LOCAL, htonl(local));
	mnl_attr_put_u32(h, gre ? IFLA_GRE_REMOTE : IFLA_IPTUN_REMOTE, htonl(remote));
	mnl_attr_put_u8(h, gre ? IFLA_GRE_TTL : IFLA_IPTUN_TTL, TTL);
	/* 1: the inner packet's. */
	mnl_attr_put_u8(h, gre ? IFLA_GRE_TOS : IFLA_IPTUN_TOS, 1);
	mnl_attr_put_u8(h, gre ? IFLA_GRE_PMTUDISC : IFLA_IPTUN_PMTUDISC, 1);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, link);
	return nlmsg_change(nl, h);
}

int nl_link_del(struct nl *nl, int index)
{
	return nlmsg_change(nl, link_request(nl, RTM_DELLINK, 0, index));
}

int nl_link_up(struct nl *nl, int index, uint32_t mtu)
{
	struct nlmsghdr *h = link_request(nl, RTM_NEWLINK, 0, index);
	struct ifinfomsg *info = mnl_nlmsg_get_payload(h);

	info->ifi_flags = IFF_UP;
	info->ifi_change = IFF_UP;
	if (mtu > 0)
		mnl_attr_put_u32(h, IFLA_MTU, mtu);
	return nlmsg_change(nl, h);
}

int nl_link_move(struct nl *nl, int index, int netns, const char *name)
{
	struct nlmsghdr *h = link_request(nl, RTM_NEWLINK, 0, index);

	mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)netns);
	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	return nlmsg_change(nl, h);
}

struct link_answer {
	int index;
	uint32_t mtu;
};

static int on_link(const struct nlmsghdr *h, void *ctx)
{
	struct link_answer *answer = ctx;
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(h);
	const struct nlattr *attr;

	answer->index = info->ifi_index;
	for (attr = nlmsg_first(h, sizeof(*info)); nlmsg_more(h, attr);
		attr = mnl_attr_next(attr)) {
		if (mnl_attr_get_type(attr) == IFLA_MTU)
			answer->mtu = mnl_attr_get_u32(attr);
	}
	return MNL_CB_OK;
}

static struct link_answer link_get(struct nl *nl, int index, const char *name)
{
	struct nlmsghdr *h = link_request(nl, RTM_GETLINK, 0, index);
	struct link_answer answer = { 0 };

	if (name != NULL)
		mnl_attr_put_strz(h, IFLA_IFNAME, name);
	if (nlmsg_talk(nl, h, on_link, &answer) != 0)
		return (struct link_answer){ 0 };
	return answer;
}

uint32_t nl_link_mtu(struct nl *nl, int index)
{
	return link_get(nl, index, NULL).mtu;
}

int nl_link_index(struct nl *nl, const char *name)
{
	return link_get(nl, 0, name).index;
}

/* --- addresses ------------------------------------------------------------------------
 */

static int addr_change(struct nl *nl, uint16_t type, int flags, int index, uint32_t addr)
{
	struct nlmsghdr *h = nlmsg_new(nl, type, (uint16_t)(NLM_F_ACK | flags));
	struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(h, sizeof(*ifa));

	ifa->ifa_family = AF_INET;
	ifa->ifa_prefixlen = 32;
	ifa->ifa_scope = RT_SCOPE_UNIVERSE;
	ifa->ifa_index = (uint32_t)index;
	mnl_attr_put_u32(h, IFA_LOCAL, htonl(addr));
	mnl_attr_put_u32(h, IFA_ADDRESS, htonl(addr));
	return nlmsg_change(nl, h);
}

int nl_addr_add(struct nl *nl, int index, uint32_t addr)
{
	return addr_change(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, addr);
}

int nl_addr_del(struct nl *nl, int index, uint32_t addr)
{
	return addr_change(nl, RTM_DELADDR, 0, index, addr);
}

/* --- routes ---------------------------------------------------------------------------
 */

static struct nlmsghdr *route_request(
	struct nl *nl, uint16_t type, int flags, const struct route4 *r, uint32_t table)
{
	struct nlmsghdr *h = nlmsg_new(nl, type, (uint16_t)(NLM_F_ACK | flags));
	struct rtmsg *rt = mnl_nlmsg_put_extra_header(h, sizeof(*rt));

	rt->rtm_family = AF_INET;
	rt->rtm_dst_len = r->dst.len;
	rt->rtm_protocol = NL_ROUTE_PROTOCOL;
	rt->rtm_type = RTN_UNICAST;
	rt->rtm_scope = r->via != 0 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	rt->rtm_table = RT_TABLE_UNSPEC;
	mnl_attr_put_u32(h, RTA_TABLE, table != 0 ? table : RT_TABLE_MAIN);
	if (r->dst.len > 0)
		mnl_attr_put_u32(h, RTA_DST, htonl(r->dst.addr));
	mnl_attr_put_u32(h, RTA_OIF, (uint32_t)r->oif);
	if (r->via != 0)
		mnl_attr_put_u32(h, RTA_GATEWAY, htonl(r->via));
	if (r->src != 0)
		mnl_attr_put_u32(h, RTA_PREFSRC, htonl(r->src));
	if (r->metric != 0)
		mnl_attr_put_u32(h, RTA_PRIORITY, r->metric);
	return h;
}

int nl_route_add(struct nl *nl, const struct route4 *r, uint32_t table)
{
	/* CREATE without EXCL and APPEND puts it before an equal one of others. */
	return nlmsg_change(nl, route_request(nl, RTM_NEWROUTE, NLM_F_CREATE, r, table));
}

int nl_route_put_back(struct nl *nl, const struct route4 *r)
{
	struct nlmsghdr *h =
		route_request(nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, r, 0);
	struct rtmsg *rt = mnl_nlmsg_get_payload(h);

	rt->rtm_protocol = RTPROT_BOOT;
	return nlmsg_change(nl, h);
}

int nl_route_del(struct nl *nl, const struct route4 *r, uint32_t table)
{
	return nlmsg_change(nl, route_request(nl, RTM_DELROUTE, 0, r, table));
}

struct route_list {
	struct route4 *routes;
	size_t n, room;
	bool ours;
	int err;
};

/* Of a route with several next hops the first one speaks. */
static void route_hop(const struct nlattr *multipath, struct route4 *r)
{
	const struct rtnexthop *hop = mnl_attr_get_payload(multipath);
	const char *at = (const char *)(hop + 1),
		   *end = (const char *)hop + hop->rtnh_len;

	r->oif = hop->rtnh_ifindex;
	while (at < end && mnl_attr_ok((const struct nlattr *)at, (int)(end - at))) {
		const struct nlattr *attr = (const struct nlattr *)at;

		if (mnl_attr_get_type(attr) == RTA_GATEWAY)
			r->via = ntohl(mnl_attr_get_u32(attr));
		at += MNL_ALIGN(attr->nla_len);
	}
}

static void route_read(const struct nlmsghdr *h, struct route4 *r, uint32_t *table)
{
	const struct rtmsg *rt = mnl_nlmsg_get_payload(h);
	const struct nlattr *attr;

	*r = (struct route4){ .dst.len = rt->rtm_dst_len };
	*table = rt->rtm_table;
	for (attr = nlmsg_first(h, sizeof(*rt)); nlmsg_more(h, attr);
		attr = mnl_attr_next(attr)) {
		switch (mnl_attr_get_type(attr)) {
		case RTA_DST:
			r->dst.addr = ntohl(mnl_attr_get_u32(attr));
			break;
		case RTA_OIF:
			r->oif = (int)mnl_attr_get_u32(attr);
			break;
		case RTA_GATEWAY:
			r->via = ntohl(mnl_attr_get_u32(attr));
			break;
		case RTA_PREFSRC:
			r->src = ntohl(mnl_attr_get_u32(attr));
			break;
		case RTA_PRIORITY:
			r->metric = mnl_attr_get_u32(attr);
			break;
		case RTA_TABLE:
			*table = mnl_attr_get_u32(attr);
			break;
		case RTA_MULTIPATH:
			route_hop(attr, r);
			break;
		default:
			break;
		}
	}
}

static int on_route(const struct nlmsghdr *h, void *ctx)
{
	struct route_list *list = ctx;
	const struct rtmsg *rt = mnl_nlmsg_get_payload(h);
	struct route4 r;
	uint32_t table;

	if (h->nlmsg_type != RTM_NEWROUTE || rt->rtm_family != AF_INET ||
		rt->rtm_type != RTN_UNICAST ||
		(rt->rtm_protocol == NL_ROUTE_PROTOCOL) != list->ours)
		return MNL_CB_OK;
	route_read(h, &r, &table);
	if (table != RT_TABLE_MAIN)
		return MNL_CB_OK;
	if (list->n == list->room) {
		size_t room = list->room > 0 ? 2 * list->room : 16;
		struct route4 *more = realloc(list->routes, room * sizeof(*more));

		if (more == NULL) {
			list->err = -ENOMEM;
			return MNL_CB_OK;
		}
		list->routes = more;
		list->room = room;
	}
	list->routes[list->n++] = r;
	return MNL_CB_OK;
}

int nl_route_list(struct nl *nl, bool ours, struct route4 **routes, size_t *n)
{
	struct nlmsghdr *h = nlmsg_new(nl, RTM_GETROUTE, NLM_F_DUMP);
	struct rtmsg *rt = mnl_nlmsg_put_extra_header(h, sizeof(*rt));
	struct route_list list = { .ours = ours };
	int err;

	rt->rtm_family = AF_INET;
	err = nlmsg_talk(nl, h, on_route, &list);
	if (err == 0)
		err = list.err;
	if (err != 0) {
		free(list.routes);
		return err;
	}
	*routes = list.routes;
	*n = list.n;
	return 0;
}

/* --- changes --------------------------------------------------------------------------
 */

int nl_watch_open(int *fd)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE };
	int f = socket(
		AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (f < 0)
		return -errno;
	if (bind(f, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
		int err = -errno;

		(void)close(f);
		return err;
	}
	*fd = f;
	return 0;
}

void nl_watch_drain(int fd)
{
	char buf[8192];

	/* What changed is found out by looking; an overrun says as much as a message. */
	while (recv(fd, buf, sizeof(buf), 0) >= 0 || errno == ENOBUFS)
		;
}

/* --- rules ----------------------------------------------------------------------------
 */

static int rule_change(
	struct nl *nl, uint16_t type, int flags, uint32_t from, uint32_t table)
{
	struct nlmsghdr *h = nlmsg_new(nl, type, (uint16_t)(NLM_F_ACK | flags));
	struct fib_rule_hdr *rule = mnl_nlmsg_put_extra_header(h, sizeof(*rule));

	rule->family = AF_INET;
	rule->src_len = 32;
	rule->action = FR_ACT_TO_TBL;
	mnl_attr_put_u32(h, FRA_SRC, htonl(from));
	mnl_attr_put_u32(h, FRA_TABLE, table);
	/* One that the kernel chose would make each addition a new rule. */
	mnl_attr_put_u32(h, FRA_PRIORITY, table);
	return nlmsg_change(nl, h);
}

int nl_rule_add(struct nl *nl, uint32_t from, uint32_t table)
{
	return rule_change(nl, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, from, table);
}

int nl_rule_del(struct nl *nl, uint32_t from, uint32_t table)
{
	return rule_change(nl, RTM_DELRULE, 0, from, table);
}
