/*
 * `rsip up` and `rsip down`: register, ask what is local, lease, and let the network
 * follow; and all of it backwards.
 */
#include "base/err.h"
#include "base/log.h"
#include "host/discover.h"
#include "host/publish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORTS_PER_BINDING 255  /* Number is one byte (RFC 3103 section 8.2) */
#define PORTS_PER_BLOCK   128  /* the largest aligned block of that */
#define DOWN_WAIT_MS      2000 /* for a gateway that does not answer */
#define FAREWELL_MS       250  /* for the messages of IKE daemons */

/* One `rsip up` on its way. */
struct up {
	struct up *next; /* of those that wait for what is lost */
	struct ipc_call *call;
	struct host *host;
	struct gw *gw;
	struct ask ask;
	struct gw_wait wait;
	struct req query;
	enum rsip_kind kind;
	uint32_t left; /* ports still to ask for */
	size_t holds;  /* of this call */
};

static void up_free(struct up *up)
{
	ask_fini(&up->ask);
	free(up);
}

static void up_fail(struct up *up, int err, const char *why)
{
	struct gw *gw = up->gw;
	struct host *h = gw->host;

	for (struct hold *hold = h->holds, *next; hold != NULL; hold = next) {
		next = hold->next;
		if (hold->gw == gw && hold->use == HOLD_UP)
			hold_give(hold, NULL, NULL);
	}
	ipc_error_code(up->call, err, why);
	gw->upping = gw->follow = false;
	h->idle = true;
	up_free(up);
}

static void on_first_published(void *ctx)
{
	struct up *up = ctx;

	ipc_reply(up->call, json_status(up->host));
	up_free(up);
}

/* Everything is leased. */
static void up_finish(struct up *up)
{
	struct gw *gw = up->gw;
	struct host *h = gw->host;
	char why[IPC_WHY];
	int err;

	gw->up = true;
	gw->ports_max = up->ask.conf.ports_max;
	gw->ports_quiet_s = up->ask.conf.ports_quiet_s;
	err = net_sync(h, why, sizeof(why));
	if (err != 0) {
		char undone[IPC_WHY];

		gw->up = false;
		(void)net_sync(h, undone, sizeof(undone)); /* the first reason counts */
		up_fail(up, ERR_REFUSED, why);
		return;
	}
	gw->upping = false;
	/* Whoever waits for us may be looked for under the name at once. */
	if (!publish_wait(h, on_first_published, up))
		on_first_published(up);
}

static void up_ask(struct up *up);

static void on_up_granted(struct hold *hold, int err, const char *why)
{
	struct up *up = hold->done_ctx;
	const struct rsip_grant *g;

	if (err != 0) {
		char text[IPC_WHY];

		(void)snprintf(text, sizeof(text), "no lease: %s", why);
		hold_forget(hold);
		up_fail(up, err, text);
		return;
	}
	/* Further ports belong to the same address. */
	g = hold_grant(hold);
	if (g != NULL)
		up->ask.address = g->address;
	if (up->left == 0 || up->kind == RSIP_RSA_IP)
		up_finish(up);
	else
		up_ask(up);
}

static void up_ask(struct up *up)
{
	/* More than a binding holds comes in blocks that are powers of two. */
	uint32_t n = up->left <= PORTS_PER_BINDING ? up->left : PORTS_PER_BLOCK;
	/* The first binding carries the SPIs; the others need only ports. */
	enum rsip_kind kind =
		up->holds > 0 && up->kind == RSIP_RSIPSEC ? RSIP_RSAP_IP : up->kind;
	struct rsip_want want = ask_want(&up->ask, kind, n);
	struct hold *hold = hold_new(up->gw, HOLD_UP, &want);

	if (hold == NULL) {
		up_fail(up, ERR_REFUSED, "too many leases for one host");
		return;
	}
	up->left -= n;
	up->holds++;
	hold_ask(hold, on_up_granted, up);
}

/* The networks in an answer that are local, as the gateway's; a host route each address.
 */
static int locals_read(struct gw *gw, const struct rsip_event *ev)
{
	struct prefix4 *locals = NULL;
	struct rsip_answer answer;
	size_t at = 0, n = 0;

	while (rsip_answer_next(ev, &at, &answer)) {
		struct prefix4 *more;
		uint8_t len = answer.net.network ? answer.net.prefix : 32;

		if (!answer.local || len == 0)
			continue;
		more = realloc(locals, (n + 1) * sizeof(*locals));
		if (more == NULL) {
			free(locals);
			return -ENOMEM;
		}
		locals = more;
		locals[n++] = (struct prefix4){
			answer.net.address & prefix_mask(len),
			len,
		};
	}
	free(gw->locals);
	gw->locals = locals;
	gw->n_locals = n;
	return 0;
}

static void on_up_answer(struct req *req, const struct rsip_event *ev)
{
	struct up *up = (struct up *)(void *)((char *)req - offsetof(struct up, query));
	char why[IPC_WHY];

	if (up->gw->freed) {
		up_fail(up, ERR_REFUSED, "the gateway was given up meanwhile");
		return;
	}
	/* A gateway that does not say what is local leaves us what is connected. */
	if (ev->type != RSIP_EVENT_ANSWER) {
		hold_why(ev, why, sizeof(why));
		log_warn("no answer about local networks", "reason=\"%s\"", why);
	} else if (locals_read(up->gw, ev) != 0) {
		up_fail(up, -ENOMEM, err_text(-ENOMEM));
		return;
	}
	up_ask(up);
}

/* An owner of a whole address needs to follow nothing. */
static bool follow_begin(struct up *up, char *why, size_t why_size)
{
	const struct host_conf *conf = &up->ask.conf;

	if (conf->spi_mode != HOST_SPI_FOLLOW || up->kind == RSIP_RSA_IP)
		return true;
	if (up->kind != RSIP_RSIPSEC || conf->device == HOST_DEVICE_KERNEL) {
		(void)snprintf(why, why_size,
			"spi-mode follow needs method rsipsec, and the tunnel's end in "
			"rsip-hostd (device auto or tun)");
		return false;
	}
	if (follow_start(up->gw->host, why, why_size) != 0)
		return false;
	up->gw->follow = true;
	return true;
}

static void on_up_registered(struct gw_wait *wait, int err, const char *why)
{
	struct up *up = (struct up *)(void *)((char *)wait - offsetof(struct up, wait));
	char text[IPC_WHY];
	int result;

	if (err != 0) {
		up_fail(up, err, why);
		return;
	}
	up->kind = ask_kind(&up->ask, rsip_session_registration(up->gw->session));
	up->left = up->kind == RSIP_RSA_IP ? 0 : up->ask.conf.ports;
	if (up->kind == RSIP_RSAP_IP && up->left == 0) {
		up_fail(up, ERR_CONFIG,
			"rsap-ip without ports leases nothing; give --ports 1 or more");
		return;
	}
	if (!follow_begin(up, text, sizeof(text)) ||
		publish_start(up->host, &up->ask.conf.publish, text, sizeof(text)) != 0) {
		up_fail(up, ERR_CONFIG, text);
		return;
	}
	up->query.done = on_up_answer;
	gw_link(up->gw, &up->query);
	result = gw_settle(up->gw, &up->query,
		rsip_query(up->gw->session, NULL, 0, &up->query, host_now_us()));
	if (result != 0)
		up_fail(up, ERR_REFUSED, rsip_result_text(result));
}

/* --- up, again ------------------------------------------------------------------------
 */

/* Is everything held that `up` wants? */
static bool all_held(const struct gw *gw)
{
	for (const struct hold *hold = gw->host->holds; hold != NULL; hold = hold->next)
		if (hold->gw == gw && hold->use == HOLD_UP && hold_grant(hold) == NULL)
			return false;
	return true;
}

/* It is up, or will be as soon as what was lost is leased again. */
static void again_wait(struct up *up)
{
	struct host *h = up->gw->host;

	up->next = h->ups;
	h->ups = up;
}

void up_forget(struct host *h, const struct gw *gw)
{
	for (struct up *up = h->ups; up != NULL; up = up->next)
		if (up->gw == gw)
			up->gw = NULL;
}

void up_check(struct host *h)
{
	struct up **at = &h->ups;

	while (*at != NULL) {
		struct up *up = *at;

		if (up->gw != NULL && !ipc_is_gone(up->call) &&
			(up->gw->upping || (up->gw->up && !all_held(up->gw)))) {
			at = &up->next;
			continue;
		}
		*at = up->next;
		if (up->gw != NULL && up->gw->up)
			ipc_reply(up->call, json_status(h));
		else
			ipc_error(up->call, IPC_REFUSED,
				"it did not come up, or went down meanwhile");
		up_free(up);
	}
}

static void on_up_gateway(void *ctx, struct gw *gw, int err, const char *why)
{
	struct up *up = ctx;

	if (err != 0) {
		ipc_error_code(up->call, err, why);
		up_free(up);
		return;
	}
	up->gw = gw;
	if (gw->up || gw->upping) {
		again_wait(up);
		return;
	}
	gw->upping = true;
	up->wait.done = on_up_registered;
	gw_wait(gw, &up->wait);
}

void ops_up(void *ctx, struct ipc_call *call, json_t *params)
{
	struct host *h = ctx;
	struct up *up = calloc(1, sizeof(*up));
	char why[IPC_WHY];
	int err = up != NULL ? ask_parse(h, params, &up->ask, why, sizeof(why)) : -ENOMEM;

	if (err != 0) {
		ipc_error_code(call, err, up != NULL ? why : err_text(err));
		h->idle = true;
		if (up != NULL)
			up_free(up);
		return;
	}
	up->call = call;
	up->host = h;
	discover(h, &up->ask, on_up_gateway, up);
}

/* --- down -----------------------------------------------------------------------------
 */

static void down_finish(struct host *h)
{
	struct ipc_call *call = h->down;

	h->downing = false;
	h->down = NULL;
	h->stop = h->end_wanted;
	if (call != NULL)
		ipc_reply(call, json_object());
	h->idle = true;
	host_changed(h);
}

static void on_down_late(uv_timer_t *timer)
{
	struct host *h = timer->data;

	while (h->gws != NULL) {
		char text[24];

		gw_text(h->gws, text);
		log_warn("not deregistered, no answer", "gateway=%s", text);
		gw_free(h->gws);
	}
}

/* Called each turn. */
void down_check(struct host *h)
{
	if (!h->downing || h->gws != NULL || h->publish != NULL)
		return; /* h->gws is not empty while there was an SA to end */
	(void)uv_timer_stop(&h->end);
	down_finish(h);
}

static void down_leave(struct host *h)
{
	struct gw *next;

	/* First the way there, then what it was leased by. */
	net_restore(h);
	(void)uv_timer_start(&h->end, on_down_late, DOWN_WAIT_MS, 0);
	for (struct gw *gw = h->gws; gw != NULL; gw = next) {
		next = gw->next;
		gw_deregister(gw);
	}
}

static void on_farewell_over(uv_timer_t *timer)
{
	down_leave(timer->data);
}

static void down_go(struct host *h)
{
	size_t ended = 0;

	while (h->execs != NULL)
		exec_end(h->execs, NULL, NULL);
	for (struct hold *hold = h->holds; hold != NULL; hold = hold->next)
		ended += sas_sweep_hold(hold, "the lease is given back");
	/* IKE daemons that have just been told of it may tell their peers. */
	if (ended > 0)
		(void)uv_timer_start(&h->end, on_farewell_over, FAREWELL_MS, 0);
	else
		down_leave(h);
}

void down_start(struct host *h)
{
	if (h->downing)
		return;
	h->downing = true;
	/* The name first: nobody is to be sent to a lease that somebody else may get. */
	if (!publish_withdraw(h, down_go))
		down_go(h);
}

void ops_down(void *ctx, struct ipc_call *call, json_t *params)
{
	struct host *h = ctx;

	(void)params;
	if (h->downing) {
		ipc_error(call, IPC_REFUSED, "it is going down already");
		return;
	}
	h->down = call;
	h->ike[0] = h->ike[1] = (struct range){ 0, 0 };
	charon_free(h); /* its file stays, as somebody has put it there */
	down_start(h);
}
