/*
 * Driver `xdp`: driver `packet` with a fast path in front of it.  The programs forward
 * and drop what a lease decides; the rest passes on to the packet sockets, so what both
 * do is one.  User space keeps the tables of both.
 */
#include "dataplane/drivers.h"
#include "dataplane/packet/dp_packet.h"
#include "dataplane/xdp/load.h"

#include "base/err.h"
#include "base/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_MS 5000

struct xdp {
	struct load load;
	struct keep keep;
	struct dp_events events;
	uint32_t generation, moved; /* of the hops that the programs know */
	uint64_t swept_ms;
	bool attached;
};

/* --- what the slow path tells --- */

static void on_hop(
	void *ctx, enum forward_link link, uint32_t dst, const struct link_mac *to)
{
	const struct dp *dp = ctx;

	if (to->len == 6)
		keep_hop(&dp->xdp->keep, link, dst, to->byte);
}

static void on_path(void *ctx, uint32_t host, uint16_t mtu)
{
	const struct dp *dp = ctx;

	keep_path(&dp->xdp->keep, host, mtu);
}

static void on_out_spi(void *ctx, const struct learned *e, bool there)
{
	const struct dp *dp = ctx;

	keep_out_spi(&dp->xdp->keep, e, there);
}

static void on_cookie(void *ctx, const struct learned *e, bool there)
{
	const struct dp *dp = ctx;

	keep_cookie(&dp->xdp->keep, e, there);
}

static void take_conf(struct dp *dp)
{
	uint8_t mac[LINKS][6];

	for (int i = 0; i < LINKS; i++)
		memcpy(mac[i], dp->hops.link[i].mac.byte, sizeof mac[i]);
	keep_conf(&dp->xdp->keep, mac);
}

static int put_on(struct dp *dp, char *why, size_t size)
{
	const unsigned int index[LINKS] = { dp->hops.link[LINK_PRIVATE].index,
		dp->hops.link[LINK_PUBLIC].index };

	return load_attach(&dp->xdp->load, index, &dp->xdp->events, why, size);
}

/* On failure all goes the slow way, which an operator should know. */
static void put_on_again(struct dp *dp)
{
	char why[256];

	if (put_on(dp, why, sizeof why) && dp->xdp->events.note)
		dp->xdp->events.note(dp->xdp->events.ctx, why);
}

static bool find_hop(void *ctx, enum forward_link link, uint32_t dst)
{
	struct dp *dp = ctx;
	struct link_mac to;
	uint32_t next;

	if (hops_find(&dp->hops, link, dst, &to, &next) != HOP_READY || to.len != 6)
		return false;
	keep_hop(&dp->xdp->keep, link, dst, to.byte);
	return true;
}

static void on_followed(void *ctx, bool changed)
{
	struct dp *dp = ctx;
	struct xdp *x = dp->xdp;

	if (x->generation != dp->hops.generation || x->moved != dp->hops.moved) {
		x->generation = dp->hops.generation;
		x->moved = dp->hops.moved;
		keep_check_hops(&x->keep, find_hop, dp);
	}
	if (!changed)
		return;
	take_conf(dp);
	for (int i = 0; x->attached && i < LINKS; i++) {
		if (x->load.link[i].index != dp->hops.link[i].index &&
			dp->hops.link[i].up) {
			put_on_again(dp);
			break;
		}
	}
}

static const struct dp_watch watch = { on_hop, on_followed };

/* --- open and close --- */

static int start(struct dp *dp, const struct dp_conf *conf, uint64_t secret, char *why,
	size_t size)
{
	struct xdp *x = dp->xdp;

	for (int i = 0; i < LINKS; i++) {
		if (dp->hops.link[i].mac.len == 6 && !dp->hops.link[i].noarp)
			continue;
		(void)snprintf(why, size,
			"driver xdp: %s is no Ethernet link; set driver = \"packet\"",
			dp->interface[i]);
		return ERR_UNSUPPORTED;
	}
	keep_measure(&x->keep, &dp->forward, conf->room);
	int err = load_open(&x->load, &x->keep, conf->pins, &x->events, why, size);
	if (err)
		return err;
	err = keep_init(&x->keep, load_conf(&x->load), secret);
	if (err)
		return err;
	x->generation = dp->hops.generation;
	x->moved = dp->hops.moved;
	take_conf(dp);
	dp->watch = &watch;
	dp->watch_ctx = dp;
	dp->forward.path = on_path;
	dp->forward.path_ctx = dp;
	dp->forward.tables.learned[LEARNED_SPI].watch = on_out_spi;
	dp->forward.tables.learned[LEARNED_SPI].watch_ctx = dp;
	dp->forward.tables.learned[LEARNED_IKE].watch = on_cookie;
	dp->forward.tables.learned[LEARNED_IKE].watch_ctx = dp;
	return 0;
}

static void xdp_close(struct dp *dp)
{
	struct xdp *x = dp ? dp->xdp : NULL;

	if (!x)
		return;
	dp->watch = NULL;
	dp->forward.path = NULL;
	dp->forward.tables.learned[LEARNED_SPI].watch = NULL;
	dp->forward.tables.learned[LEARNED_IKE].watch = NULL;
	if (x->load.pins[0] && x->attached)
		dp->silenced = false; /* the rules stay with the programs */
	keep_fini(&x->keep);
	load_close(&x->load);
	free(x);
	dp->xdp = NULL;
	dp_packet.close(dp);
}

static int xdp_open(const struct dp_conf *conf, const struct dp_events *events,
	struct dp **out, char *why, size_t why_size)
{
	struct dp_conf slow = *conf;
	struct random random = random_system();
	uint64_t secret = (uint64_t)random.next(&random) << 32 | random.next(&random);
	struct xdp *x = calloc(1, sizeof *x);
	struct dp *dp;

	if (!x)
		return -ENOMEM;
	slow.pins = NULL;
	int err = dp_packet.open(&slow, events, &dp, why, why_size);
	if (err) {
		free(x);
		return err;
	}
	x->events = *events;
	dp->xdp = x;
	err = start(dp, conf, secret, why, why_size);
	if (err) {
		xdp_close(dp);
		return err;
	}
	*out = dp;
	return 0;
}

static void xdp_settled(struct dp *dp)
{
	struct xdp *x = dp->xdp;
	char why[256];

	keep_settle(&x->keep, &dp->forward.tables, dp->now_ms);
	keep_check_hops(&x->keep, find_hop, dp);
	x->attached = true;
	if (put_on(dp, why, sizeof why) && x->events.note)
		x->events.note(x->events.ctx, why);
}

/* --- leases --- */

static int xdp_install(struct dp *dp, const struct lease *lease)
{
	return keep_install(&dp->xdp->keep, &dp->forward.tables, lease);
}

static void xdp_remove(struct dp *dp, uint32_t bind_id)
{
	keep_remove(&dp->xdp->keep, &dp->forward.tables, bind_id);
}

/* --- running --- */

static void xdp_stats(struct dp *dp, struct dp_stats *out)
{
	dp_packet.stats(dp, out);
	load_stats(&dp->xdp->load, out);
}

static int xdp_fds(struct dp *dp, int fds[4])
{
	return dp_packet.fds(dp, fds);
}

static void xdp_service(struct dp *dp, uint64_t now_ms)
{
	struct xdp *x = dp->xdp;

	dp->now_ms = now_ms;
	/* Before, packets wait: they may belong to leases that are yet to be installed.
	 */
	if (!x->attached)
		return;
	dp_packet.service(dp, now_ms);
	if (now_ms < x->swept_ms + SWEEP_MS)
		return;
	x->swept_ms = now_ms;
	keep_used_hops(&x->keep, find_hop, dp);
	if (x->attached && load_is_stale(&x->load))
		put_on_again(dp);
}

static uint64_t xdp_deadline(const struct dp *dp)
{
	uint64_t at = dp_packet.deadline(dp), sweep = dp->xdp->swept_ms + SWEEP_MS;

	return at < sweep ? at : sweep;
}

const struct dp_driver dp_xdp = { "xdp", false, xdp_open, xdp_install, xdp_remove,
	xdp_settled, xdp_stats, xdp_fds, xdp_service, xdp_deadline, xdp_close };
