#pragma once

#include "host/route.h"

#include <rsip/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Links, addresses, routes and rules by rtnetlink, synchronously.  A handle works in the
 * network namespace in which it was opened.  Functions return 0 or -errno; what is there
 * already is -EEXIST, what is not -ENODEV, -ESRCH or -EADDRNOTAVAIL.
 */

/* Routes of ours carry this protocol number, so that a later run knows them. */
#define NL_ROUTE_PROTOCOL 155

struct nl;

int nl_open(struct nl **nl);
void nl_close(struct nl *nl); /* NULL is allowed */

/* A kernel tunnel device; -EOPNOTSUPP where the kernel has none of that type. */
int nl_tunnel_add(struct nl *nl, const char *name, enum rsip_tunnel type, uint32_t local,
	uint32_t remote);
int nl_link_del(struct nl *nl, int index);
int nl_link_up(struct nl *nl, int index, uint32_t mtu); /* mtu 0: as it is */
/* Into the namespace of fd, under that name. */
int nl_link_move(struct nl *nl, int index, int netns, const char *name);
/* Of a link by its index; 0 when unknown. */
uint32_t nl_link_mtu(struct nl *nl, int index);
int nl_link_index(struct nl *nl, const char *name); /* 0: no such link here */

/* A /32. */
int nl_addr_add(struct nl *nl, int index, uint32_t addr);
int nl_addr_del(struct nl *nl, int index, uint32_t addr);

/* Ours, in table (0: main), in front of an equal one of others. */
int nl_route_add(struct nl *nl, const struct route4 *r, uint32_t table);
/* One of the machine's own, in the main table. */
int nl_route_put_back(struct nl *nl, const struct route4 *r);
int nl_route_del(struct nl *nl, const struct route4 *r, uint32_t table);
/*
 * The unicast routes of the main table: those of others, or ours.  *routes is the
 * caller's to free.
 */
int nl_route_list(struct nl *nl, bool ours, struct route4 **routes, size_t *n);

/*
 * A socket that becomes readable when links, IPv4 addresses or routes change, by
 * whomever; _drain() empties it.
 */
int nl_watch_open(int *fd);
void nl_watch_drain(int fd);

/* "from addr lookup table", with the table's number as priority. */
int nl_rule_add(struct nl *nl, uint32_t from, uint32_t table);
int nl_rule_del(struct nl *nl, uint32_t from, uint32_t table);
