/*
 * Driver `packet`: the forwarding procedures on AF_PACKET sockets, in user space.  Needs
 * CAP_NET_RAW and CAP_NET_ADMIN in its network namespace and nothing of BPF, so it also
 * runs where an unprivileged user made that namespace.
 */
#include "dataplane/packet/dp_packet.h"
#include "dataplane/core/be.h"
#include "dataplane/drivers.h"
#include "dataplane/forward.h"
#include "dataplane/packet/filter.h"
#include "dataplane/segment.h"
#include "dataplane/xdp/load.h"

#include "base/err.h"
#include "base/random.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Frames of one link in one call: others wait for the loop too. */
#define BUDGET   1024

#define ARP_SIZE 28

static const char *const link_words[LINKS] = { "private", "public" };

/* --- out --- */

static bool on_send(void *ctx, enum forward_link link, uint32_t dst,
	const struct forward_piece *piece, int n)
{
	struct dp *dp = ctx;
	struct link_mac to;
	uint32_t next;

	switch (hops_find(&dp->hops, link, dst, &to, &next)) {
	case HOP_READY:
		if (dp->watch)
			dp->watch->hop(dp->watch_ctx, link, dst, &to);
		link_send(&dp->link[link], &to, ETH_P_IP, piece, n);
		return true;
	case HOP_WAIT:
		return hops_hold(&dp->hops, link, next, piece, n);
	case HOP_NONE:
	default:
		return false;
	}
}

static void on_ready(void *ctx, enum forward_link link, const struct link_mac *to,
	const void *packet, size_t len)
{
	struct dp *dp = ctx;
	const struct forward_piece piece = { packet, len };

	link_send(&dp->link[link], to, ETH_P_IP, &piece, 1);
}

static void on_lost(void *ctx, enum forward_link link)
{
	struct dp *dp = ctx;

	forward_unsent(&dp->forward, link);
}

/* --- in --- */

/*
 * ARP for pool addresses (RFC 826): answered with the link's own address, unless the
 * kernel holds the address and answers itself, or another machine has it.
 */
static void on_arp(struct dp *dp, const struct link_frame *f)
{
	const struct hop_link *l = &dp->hops.link[LINK_PUBLIC];
	const uint8_t *p = f->l3;
	uint8_t reply[ARP_SIZE];
	struct link_mac to = { .len = 6 };
	const struct forward_piece piece = { reply, sizeof reply };

	if (f->len < ARP_SIZE || l->mac.len != 6 || be_get32(p) != 0x00010800 ||
		be_get32(p + 4) != 0x06040001)
		return;
	uint32_t asker = be_get32(p + 14), target = be_get32(p + 24);
	if (asker == target || !forward_pool_of(&dp->forward, target) ||
		forward_is_local(&dp->forward, target) ||
		hops_has_neighbour(&dp->hops, LINK_PUBLIC, target))
		return;
	memcpy(reply, p, 6);
	be_put16(reply + 6, 2);
	memcpy(reply + 8, l->mac.byte, 6);
	be_put32(reply + 14, target);
	memcpy(reply + 18, p + 8, 10); /* sender's link and protocol address */
	memcpy(to.byte, p + 8, 6);
	link_send(&dp->link[LINK_PUBLIC], &to, ETH_P_ARP, &piece, 1);
	dp->forward.stats.arp_answered++;
}

static void on_private_packet(void *ctx, uint8_t *packet, size_t len)
{
	struct dp *dp = ctx;

	(void)forward_private(&dp->forward, packet, len, dp->now_ms);
}

static void on_public_packet(void *ctx, uint8_t *packet, size_t len)
{
	struct dp *dp = ctx;

	(void)forward_public(&dp->forward, packet, len, dp->now_ms);
}

static void finish(
	struct dp *dp, enum forward_link link, struct link_frame *f, segment_fn fn)
{
	int n = segment_each(f->l3, f->len, &f->offload, dp->segment, fn, dp);

	if (n < 0)
		dp->link[link].lost++;
	else if (f->offload.gso_type)
		dp->forward.stats.segments += (unsigned int)n;
}

static void on_private(void *ctx, struct link_frame *f)
{
	if (f->protocol == ETH_P_IP)
		finish(ctx, LINK_PRIVATE, f, on_private_packet);
}

static void on_public(void *ctx, struct link_frame *f)
{
	if (f->protocol == ETH_P_ARP)
		on_arp(ctx, f);
	else if (f->protocol == ETH_P_IP)
		finish(ctx, LINK_PUBLIC, f, on_public_packet);
}

/* --- what the kernel tells --- */

/* What of the public link is for us. */
static int take_filter(struct dp *dp)
{
	struct filter filter;
	int err = filter_init(&filter, LINK_PUBLIC, &dp->forward);

	if (err)
		return err;
	err = link_filter(&dp->link[LINK_PUBLIC], &filter.program);
	filter_fini(&filter);
	return err;
}

/* The gateway's own addresses decide what is taken from the kernel. */
static int take_addresses(struct dp *dp, bool anew, char *why, size_t size)
{
	int err = forward_set_local(&dp->forward, dp->hops.local, dp->hops.n_local);

	dp->hops.local_changed = false;
	for (int i = 0; i < LINKS; i++)
		dp->forward.address[i] = dp->hops.primary[i];
	err = err ? err : take_filter(dp);
	return err ? err : silence_set(&dp->silence, &dp->forward, anew, why, size);
}

/* True when an interface was made anew and is served again. */
static bool take_links(struct dp *dp)
{
	bool anew = false;

	dp->hops.links_changed = false;
	for (int i = 0; i < LINKS; i++) {
		const struct hop_link *l = &dp->hops.link[i];

		dp->forward.mtu[i] = l->mtu;
		if (dp->link[i].rx >= 0 && dp->link[i].index != l->index)
			anew = link_rebind(&dp->link[i], l->index) == 0 || anew;
	}
	return anew;
}

static void packet_service(struct dp *dp, uint64_t now_ms)
{
	dp->now_ms = now_ms;
	hops_follow(&dp->hops, now_ms);
	bool links = dp->hops.links_changed, local = dp->hops.local_changed;
	bool anew = links && take_links(dp);
	if (local || anew)
		(void)take_addresses(
			dp, anew, NULL, 0); /* tried again at the next change */
	if (dp->watch)
		dp->watch->followed(dp->watch_ctx, links || local);
	(void)link_receive(&dp->link[LINK_PRIVATE], BUDGET, on_private, dp);
	(void)link_receive(&dp->link[LINK_PUBLIC], BUDGET, on_public, dp);
	forward_sweep(&dp->forward, now_ms);
	hops_sweep(&dp->hops, now_ms);
	for (int i = 0; i < LINKS; i++)
		for (unsigned int n = link_flush(&dp->link[i]); n > 0; n--)
			forward_unsent(&dp->forward, (enum forward_link)i);
}

/* --- open and close --- */

static int open_link(struct dp *dp, enum forward_link i, const char **what)
{
	const struct hop_link *l = &dp->hops.link[i];
	struct filter filter;
	int err = filter_init(&filter, i, &dp->forward);

	if (err)
		return err;
	err = link_open(&dp->link[i], l->index, l->mtu, &filter.program, what);
	filter_fini(&filter);
	return err;
}

/*
 * One descriptor for the loop.  A link that goes down raises an error on its socket, and
 * event loops give up a descriptor with an error; on this one it is only a wake-up.
 */
static int open_poll(struct dp *dp)
{
	const int fds[] = { dp->link[LINK_PRIVATE].rx, dp->link[LINK_PUBLIC].rx,
		hops_fd(&dp->hops) };
	struct epoll_event event = { .events = EPOLLIN };

	dp->poll = epoll_create1(EPOLL_CLOEXEC);
	if (dp->poll < 0)
		return -errno;
	for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
		if (epoll_ctl(dp->poll, EPOLL_CTL_ADD, fds[i], &event))
			return -errno;
	return 0;
}

static int open_all(struct dp *dp, uint64_t secret, const char **what)
{
	dp->hops.ready = on_ready;
	dp->hops.lost = on_lost;
	dp->hops.ctx = dp;
	int err = hops_open(&dp->hops, secret, what);
	if (err)
		return err;
	(void)take_links(dp);
	err = open_link(dp, LINK_PRIVATE, what);
	err = err ? err : open_link(dp, LINK_PUBLIC, what);
	if (err)
		return err;
	*what = "descriptor for the event loop";
	return open_poll(dp);
}

static void packet_close(struct dp *dp)
{
	if (!dp)
		return;
	if (dp->poll >= 0)
		(void)close(dp->poll);
	for (int i = 0; i < LINKS; i++)
		link_close(&dp->link[i]);
	if (dp->silenced)
		silence_end(&dp->silence);
	else
		silence_leave(&dp->silence);
	hops_close(&dp->hops);
	forward_fini(&dp->forward);
	free(dp);
}

static int find_interfaces(
	struct dp *dp, const struct dp_conf *conf, char *why, size_t size)
{
	const char *name[LINKS] = { conf->private_interface, conf->public_interface };

	for (int i = 0; i < LINKS; i++) {
		struct hop_link *l = &dp->hops.link[i];

		l->index = name[i] ? if_nametoindex(name[i]) : 0;
		if (l->index == 0) {
			(void)snprintf(why, size,
				"no interface \"%s\"; set dataplane %s-interface to one "
				"that"
				" is there",
				name[i] ? name[i] : "", link_words[i]);
			return ERR_NOTFOUND;
		}
		(void)snprintf(dp->interface[i], IF_NAMESIZE, "%s", name[i]);
		l->name = dp->interface[i];
	}
	if (dp->hops.link[LINK_PRIVATE].index == dp->hops.link[LINK_PUBLIC].index) {
		(void)snprintf(why, size,
			"private-interface and public-interface are both \"%s\"; driver "
			"packet"
			" needs two",
			name[LINK_PUBLIC]);
		return ERR_CONFIG;
	}
	return 0;
}

static int packet_open(const struct dp_conf *conf, const struct dp_events *events,
	struct dp **out, char *why, size_t why_size)
{
	struct dp *dp = calloc(1, sizeof *dp);
	const struct forward_out to = { dp, on_send };
	struct random random = random_system();
	uint64_t secret = (uint64_t)random.next(&random) << 32 | random.next(&random);
	const char *what = "memory for the tables";

	if (!dp)
		return -ENOMEM;
	dp->poll = -1;
	for (int i = 0; i < LINKS; i++)
		dp->link[i].rx = dp->link[i].tx = -1;
	int err = find_interfaces(dp, conf, why, why_size);
	if (err) {
		free(dp);
		return err;
	}
	err = forward_init(&dp->forward, conf, events, &to, secret);
	err = err ? err : open_all(dp, secret, &what);
	if (err) {
		(void)snprintf(why, why_size, "driver packet: %s: %s%s", what,
			err_text(err),
			err == -EPERM ? "; it needs CAP_NET_RAW and CAP_NET_ADMIN" : "");
		packet_close(dp);
		return err;
	}
	silence_init(
		&dp->silence, dp->interface[LINK_PRIVATE], dp->interface[LINK_PUBLIC]);
	err = take_addresses(dp, true, why, why_size);
	if (err) {
		packet_close(dp);
		return err;
	}
	if (conf->pins) /* of driver xdp, which was here before */
		load_unpin(conf->pins);
	dp->silenced = true;
	*out = dp;
	return 0;
}

static int packet_install(struct dp *dp, const struct lease *lease)
{
	return tables_install(&dp->forward.tables, lease);
}

static void packet_remove(struct dp *dp, uint32_t bind_id)
{
	tables_remove(&dp->forward.tables, bind_id);
}

static void packet_stats(struct dp *dp, struct dp_stats *out)
{
	forward_stats(&dp->forward, out);
	for (int i = 0; i < LINKS; i++)
		out->lost += link_lost(&dp->link[i]);
}

static int packet_fds(struct dp *dp, int fds[4])
{
	fds[0] = dp->poll;
	return 1;
}

static uint64_t packet_deadline(const struct dp *dp)
{
	uint64_t at = forward_deadline(&dp->forward);

	if (dp->hops.held && dp->hops.swept_ms + 1000 < at)
		at = dp->hops.swept_ms + 1000;
	return at;
}

const struct dp_driver dp_packet = { "packet", true, packet_open, packet_install,
	packet_remove, NULL, packet_stats, packet_fds, packet_service, packet_deadline,
	packet_close };
