#pragma once

#include "host/nl.h"

#include <libmnl/libmnl.h>

/*
 * Requests over a netlink socket and their answers, for the files that speak netlink
 * (nl.c, xfrm.c).  Functions return 0 or -errno.
 */

struct nl {
	struct mnl_socket *socket;
	uint32_t seq;
	char buf[1024]; /* requests */
};

/* A socket on that bus (NETLINK_ROUTE, ...) of this network namespace. */
int nlmsg_open(int bus, struct nl **nl);
/* A new request in nl's buffer; valid until the next one. */
struct nlmsghdr *nlmsg_new(struct nl *nl, uint16_t type, uint16_t flags);
/* Send, and feed each answer to fn until the end or the acknowledgement. */
int nlmsg_talk(struct nl *nl, const struct nlmsghdr *h, mnl_cb_t fn, void *ctx);
int nlmsg_change(struct nl *nl, const struct nlmsghdr *h);
/* The attributes behind a header of that size, without libmnl's mixed signs. */
const struct nlattr *nlmsg_first(const struct nlmsghdr *h, size_t header);
bool nlmsg_more(const struct nlmsghdr *h, const struct nlattr *attr);
