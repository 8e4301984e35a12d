#pragma once

#include "dataplane/forward.h"
#include "dataplane/packet/link.h"

/*
 * Next hops: what the kernel knows of routes, neighbours, the gateway's addresses and its
 * two links, followed by netlink and asked for where it is missing.
 */

struct mnl_socket;
struct nlmsghdr;

enum hop_result {
	HOP_READY, /* send to this address */
	HOP_WAIT,  /* the neighbour is being asked for: hops_hold() */
	HOP_NONE   /* no route over this link */
};

struct hop_link {
	const char *name; /* borrowed from the caller */
	unsigned int index;
	uint32_t mtu;
	struct link_mac mac;
	bool up;
	bool noarp; /* no link addresses: a tunnel, TUN, PPP */
};

struct hops {
	struct mnl_socket *events, *ask;
	struct htab routes, neighbours;
	uint32_t generation; /* of routes; older ones are asked for again */
	uint32_t moved;      /* counts neighbours that went or have another address now */
	unsigned int held;
	uint64_t swept_ms;
	struct hop_link link[LINKS];
	uint32_t *local; /* one entry for each address of each interface */
	size_t n_local, room_local;
	uint32_t primary[LINKS]; /* first address of the link, or 0 */
	/* Held packets: sent on, or given up. */
	void (*ready)(void *ctx, enum forward_link link, const struct link_mac *to,
		const void *packet, size_t len);
	void (*lost)(void *ctx, enum forward_link link);
	void *ctx;
	uint64_t now_ms;
	bool addresses_stale;
	bool local_changed, links_changed; /* set by hops_follow(), reset by the reader */
};

/*
 * ready, lost, ctx and each link's name must be set; fills the rest.  On failure *what
 * says what failed.  A link that is deleted and made anew under its name is followed.
 */
int hops_open(struct hops *h, uint64_t secret, const char **what);
void hops_close(struct hops *h);
int hops_fd(const struct hops *h);

/* Take in what the kernel reports. */
void hops_follow(struct hops *h, uint64_t now_ms);
/* Give up packets that waited too long. */
void hops_sweep(struct hops *h, uint64_t now_ms);

enum hop_result hops_find(struct hops *h, enum forward_link link, uint32_t dst,
	struct link_mac *to, uint32_t *next);
/* After HOP_WAIT: keep a copy until the neighbour answers; false when too many wait. */
bool hops_hold(struct hops *h, enum forward_link link, uint32_t next,
	const struct forward_piece *piece, int n);
/* Is there a machine with this address on this link? */
bool hops_has_neighbour(const struct hops *h, enum forward_link link, uint32_t addr);
