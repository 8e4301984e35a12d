/*
 * From ways to gateways: each way is gone in a thread of its own, each gateway that it
 * finds is tried in turn.
 */
#include "host/discover.h"

#include "base/err.h"
#include "base/log.h"
#include "host/seek.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct discovery {
	uv_work_t work;
	struct gw_wait wait;
	struct host *host;
	struct host_conf conf;
	struct seek seek;
	enum seek_way way;
	size_t next; /* of what it found */
	struct gw *gw;
	char tried[IPC_WHY - 128]; /* what went wrong so far */
	void (*done)(void *ctx, struct gw *gw, int err, const char *why);
	void *ctx;
};

static void way_start(struct discovery *d);

static void note(struct discovery *d, const char *what, const char *why)
{
	size_t used = strlen(d->tried);

	(void)snprintf(d->tried + used, sizeof(d->tried) - used, "%s%s: %s",
		used > 0 ? "; " : "", what, why);
}

static void discovery_end(struct discovery *d, struct gw *gw, int err, const char *why)
{
	d->host->seeking--;
	if (gw == NULL)
		d->host->idle = true;
	d->done(d->ctx, gw, err, why);
	free(d);
}

static void gateway_next(struct discovery *d);

static void on_tried(struct gw_wait *wait, int err, const char *why)
{
	struct discovery *d =
		(struct discovery *)(void *)((char *)wait -
					     offsetof(struct discovery, wait));
	struct gw *gw = d->gw;
	char text[24];

	gw_text(gw, text);
	if (err == 0) {
		log_info("gateway found", "gateway=%s found_by=%s", text,
			seek_name(d->way));
		discovery_end(d, gw, 0, "");
		return;
	}
	note(d, seek_name(d->way), why);
	gw_rest(gw);
	gateway_next(d);
}

static void gateway_next(struct discovery *d)
{
	struct host *h = d->host;
	char why[IPC_WHY];
	int err;

	if (h->stop || h->downing) {
		discovery_end(d, NULL, ERR_REFUSED, "it is going down; try again");
		return;
	}
	if (d->next == d->seek.n) {
		d->way++;
		way_start(d);
		return;
	}
	d->conf.gateway = d->seek.found[d->next].addr;
	d->conf.port = d->seek.found[d->next++].port;
	err = gw_get(h, &d->conf, &d->gw, why, sizeof(why));
	if (err != 0) {
		discovery_end(d, NULL, err, why);
		return;
	}
	d->wait.done = on_tried;
	gw_wait(d->gw, &d->wait);
}

static void seek_on_thread(uv_work_t *work)
{
	struct discovery *d = work->data;

	seek_run(&d->seek, d->way);
}

static void on_sought(uv_work_t *work, int status)
{
	struct discovery *d = work->data;

	if (status == 0 && d->seek.n == 0)
		note(d, seek_name(d->way), d->seek.why);
	d->next = 0;
	gateway_next(d);
}

static void not_found(struct discovery *d)
{
	char why[IPC_WHY];

	(void)snprintf(why, sizeof(why),
		"no gateway was found; name one with -g, or as gateway in %s (%s)",
		HOST_CONF_DEFAULT, d->tried[0] != 0 ? d->tried : "nothing was tried");
	discovery_end(d, NULL, ERR_CONFIG, why);
}

/* The way, or the next one that is allowed. */
static void way_start(struct discovery *d)
{
	while (d->way < SEEK_WAYS && !(d->conf.discover & (1U << d->way)))
		d->way++;
	if (d->way == SEEK_WAYS) {
		not_found(d);
		return;
	}
	d->work.data = d;
	if (uv_queue_work(d->host->loop, &d->work, seek_on_thread, on_sought) != 0)
		discovery_end(d, NULL, ERR_REFUSED, "no thread to look for a gateway");
}

static bool wants_rsipsec(const struct ask *ask)
{
	return ask->conf.method == RSIP_RSIPSEC ||
	       (ask->conf.method == 0 && ask->spis_given);
}

void discover(struct host *h, const struct ask *ask,
	void (*done)(void *ctx, struct gw *gw, int err, const char *why), void *ctx)
{
	char why[IPC_WHY];
	struct discovery *d;
	struct gw *gw = NULL;
	int err = ask_gateway(h, ask, &gw, why, sizeof(why));

	if (err != 0 || gw != NULL) {
		done(ctx, gw, err, err != 0 ? why : "");
		return;
	}
	d = calloc(1, sizeof(*d));
	if (d == NULL) {
		done(ctx, NULL, -ENOMEM, err_text(-ENOMEM));
		return;
	}
	d->host = h;
	d->conf = ask->conf;
	d->done = done;
	d->ctx = ctx;
	d->seek = (struct seek){ .option = d->conf.dhcp_option,
		.agent = d->conf.slp_agent,
		.rsipsec = wants_rsipsec(ask),
		.udp = d->conf.transport == RSIP_UDP,
		.tunnel = d->conf.tunnel,
		.next_hop = ask_next_hop(h) };
	memcpy(d->seek.scopes, d->conf.slp_scopes, sizeof(d->seek.scopes));
	h->seeking++;
	way_start(d);
}
