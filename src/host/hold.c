/*
 * What the daemon wants from a gateway and whether it has it.  A hold of `rsip up` or
 * `rsip exec` that is lost is asked for again, first for the very same numbers (a gateway
 * that lost its memory can give them, and connections survive), then for any, with
 * growing pauses.  A lease made by a script ends with its loss: the script knows it by a
 * bind ID that will not come back.
 */
#include "base/err.h"
#include "base/log.h"
#include "host/host.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_MIN_MS  500
#define AGAIN_MAX_MS  60000
#define AGAIN_TICK_MS 250

static struct hold *hold_of(struct req *req)
{
	return (struct hold *)(void *)((char *)req - offsetof(struct hold, req));
}

/* Our own copy of a list, into *copy. */
static bool numbers_copy(struct rsip_numbers *n, uint32_t **copy)
{
	if (n->form != RSIP_LIST)
		return true;
	*copy = calloc(n->count, sizeof(**copy));
	if (*copy == NULL)
		return false;
	memcpy(*copy, n->list, n->count * sizeof(**copy));
	n->list = *copy;
	return true;
}

static void hold_free(struct hold *hold)
{
	free(hold->ports_list);
	free(hold->spis_list);
	free(hold->lost_spis);
	free(hold->remote_name);
	free(hold->peer_data);
	free(hold);
}

struct hold *hold_new(struct gw *gw, enum hold_use use, const struct rsip_want *want)
{
	struct host *h = gw->host;
	struct hold *hold, **at = &h->holds;

	if (h->n_holds >= HOST_HOLDS_MAX)
		return NULL;
	hold = calloc(1, sizeof(*hold));
	if (hold == NULL)
		return NULL;
	hold->gw = gw;
	hold->use = use;
	hold->want = *want;
	if (want->remote.name != NULL)
		hold->want.remote.name = hold->remote_name = strdup(want->remote.name);
	if (want->peer.len > 0) {
		hold->want.peer.data = hold->peer_data = malloc(want->peer.len);
		if (hold->peer_data != NULL)
			memcpy(hold->peer_data, want->peer.data, want->peer.len);
	}
	if ((want->peer.len > 0 && hold->peer_data == NULL) ||
		!numbers_copy(&hold->want.ports, &hold->ports_list) ||
		!numbers_copy(&hold->want.spis, &hold->spis_list) ||
		(want->remote.name != NULL && hold->remote_name == NULL)) {
		hold_free(hold);
		return NULL;
	}
	while (*at != NULL)
		at = &(*at)->next;
	*at = hold;
	h->n_holds++;
	return hold;
}

static void hold_end(struct hold *hold, int err, const char *why)
{
	void (*done)(struct hold *, int, const char *) = hold->done;

	hold->done = NULL;
	if (done != NULL)
		done(hold, err, why);
}

void hold_forget(struct hold *hold)
{
	struct host *h = hold->gw->host;

	for (struct hold **at = &h->holds; *at != NULL; at = &(*at)->next) {
		if (*at == hold) {
			*at = hold->next;
			h->n_holds--;
			break;
		}
	}
	if (hold->exec != NULL)
		hold->exec->hold = NULL;
	h->resync = true;
	host_changed(h);
	hold_free(hold);
}

const struct rsip_grant *hold_grant(const struct hold *hold)
{
	if (hold->bind_id == 0 || hold->gw->freed)
		return NULL;
	return rsip_grant_find(hold->gw->session, hold->bind_id);
}

struct hold *hold_find(const struct host *h, uint32_t bind_id)
{
	for (struct hold *hold = h->holds; hold != NULL; hold = hold->next)
		if (bind_id != 0 && hold->bind_id == bind_id)
			return hold;
	return NULL;
}

bool hold_joins(const struct hold *hold)
{
	const struct rsip_grant *grant = hold_grant(hold), *up;

	if (grant == NULL || !hold->gw->up || hold->use == HOLD_EXEC || hold->freeing)
		return false;
	if (hold->use == HOLD_UP)
		return true;
	for (const struct hold *o = hold->gw->host->holds; o != NULL; o = o->next) {
		if (o->use != HOLD_UP || o->gw != hold->gw)
			continue;
		up = hold_grant(o);
		if (up != NULL && up->address == grant->address &&
			up->tunnel == grant->tunnel && up->endpoint == grant->endpoint)
			return true;
	}
	return false;
}

void hold_why(const struct rsip_event *ev, char *why, size_t size)
{
	if (ev->error != 0)
		(void)snprintf(why, size, "%s: %u %s", rsip_failure_text(ev->failure),
			ev->error, rsip_error_text(ev->error));
	else
		(void)snprintf(why, size, "%s", rsip_failure_text(ev->failure));
}

/* --- asking ---------------------------------------------------------------------------
 */

static void pause_grow(struct hold *hold)
{
	hold->pause_ms = hold->pause_ms == 0 ? AGAIN_MIN_MS : 2 * hold->pause_ms;
	if (hold->pause_ms > AGAIN_MAX_MS)
		hold->pause_ms = AGAIN_MAX_MS;
	hold->again_ms = host_now_us() / 1000 + hold->pause_ms;
}

static void on_again(uv_timer_t *timer)
{
	hold_again(timer->data);
}

static void again_start(struct host *h)
{
	if (!uv_is_active((const uv_handle_t *)&h->again))
		(void)uv_timer_start(&h->again, on_again, AGAIN_TICK_MS, AGAIN_TICK_MS);
}

static void on_freed_at_once(struct req *req, const struct rsip_event *ev)
{
	struct hold *hold = hold_of(req);

	(void)ev; /* given back or not: we do not have it any more */
	hold_end(hold, 0, NULL);
	hold_forget(hold);
}

/* Give it back; only when nothing of it is in the session. */
static void free_start(struct hold *hold)
{
	int result = RSIP_ERR_NOTFOUND;

	hold->req.done = on_freed_at_once;
	if (hold->bind_id != 0 && !hold->gw->freed) {
		gw_link(hold->gw, &hold->req);
		result = gw_settle(hold->gw, &hold->req,
			rsip_free(hold->gw->session, hold->bind_id, &hold->req,
				host_now_us()));
	}
	if (result == 0)
		return;
	hold_end(hold, result == RSIP_ERR_NOTFOUND ? 0 : ERR_REFUSED,
		result == RSIP_ERR_NOTFOUND ? NULL : rsip_result_text(result));
	hold_forget(hold);
}

/* What it had and has not got again. */
static void lost_end(struct hold *hold, const char *why)
{
	(void)sas_sweep(hold->gw->host, hold->last_address, hold->lost_spis,
		hold->n_lost_spis, why);
	free(hold->lost_spis);
	hold->lost_spis = NULL;
	hold->n_lost_spis = 0;
}

static void granted(struct hold *hold, const struct rsip_event *ev)
{
	const struct rsip_grant *g = ev->grant;
	char addr[ADDR_TEXT_MAX];

	hold->gw->host->resync = true;
	hold->bind_id = g->bind_id;
	lost_end(hold, "its SPI block has changed");
	hold->again_ms = 0;
	hold->pause_ms = 0;
	hold->last_address = g->address;
	hold->last_ports = hold->last_spis = (struct rsip_range){ 0, 0 };
	if (g->n_ports == 1)
		hold->last_ports = g->ports[0];
	if (g->n_spis == 1)
		hold->last_spis = g->spis[0];
	log_info("lease granted",
		"bind=%" PRIu32 " address=%s method=%s seconds=%" PRIu32, g->bind_id,
		addr_format(g->address, addr), rsip_kind_name(g->kind), g->lease_s);
}

/* The registration is about to end, and this with it. */
static void granted_late(struct hold *hold)
{
	hold->bind_id = 0;
	if (hold->done != NULL && !hold->freeing) {
		hold_end(hold, ERR_REFUSED, "it is going down");
		return;
	}
	hold_end(hold, 0, NULL);
	hold_forget(hold);
}

static void on_answer(struct req *req, const struct rsip_event *ev)
{
	struct hold *hold = hold_of(req);
	char why[IPC_WHY];

	hold->asking = false;
	hold->failure = ev->failure;
	hold->error = ev->error;
	if (ev->type == RSIP_EVENT_GRANTED) {
		granted(hold, ev);
		if (hold->gw->resting)
			granted_late(hold);
		else if (hold->freeing)
			free_start(hold);
		else
			hold_end(hold, 0, NULL);
		return;
	}
	if (hold->freeing) {
		hold_end(hold, 0, NULL);
		hold_forget(hold);
		return;
	}
	hold_why(ev, why, sizeof(why));
	if (hold->done != NULL) {
		hold_end(hold, ERR_REFUSED, why);
		return;
	}
	log_warn("lease not granted again", "reason=\"%s\"", why);
	if (ev->failure == RSIP_FAIL_REFUSED)
		lost_end(hold, "its lease was not granted again");
	if (hold->use == HOLD_FOLLOW && ev->failure == RSIP_FAIL_REFUSED) {
		follow_refused(hold, why);
		hold_forget(hold);
		return;
	}
	/* The same numbers once; then whatever there is, at once the first time. */
	if (hold->same && ev->failure == RSIP_FAIL_REFUSED)
		hold->again_ms = host_now_us() / 1000;
	else
		pause_grow(hold);
	hold->same = false;
	again_start(hold->gw->host);
}

static void numbers_again(struct rsip_numbers *n, const struct rsip_range *last)
{
	if (n->form != RSIP_ANY || last->lo == 0 || last->hi - last->lo + 1 != n->count)
		return;
	n->form = RSIP_BLOCK;
	n->first = last->lo;
}

static int ask(struct hold *hold)
{
	struct rsip_want want = hold->want;
	int result;

	if (hold->same) {
		want.address = hold->last_address;
		numbers_again(&want.ports, &hold->last_ports);
		numbers_again(&want.spis, &hold->last_spis);
	}
	hold->req.done = on_answer;
	hold->asking = true;
	gw_link(hold->gw, &hold->req);
	result = gw_settle(hold->gw, &hold->req,
		rsip_assign(hold->gw->session, &want, &hold->req, host_now_us()));
	if (result != 0)
		hold->asking = false;
	return result;
}

void hold_ask(
	struct hold *hold, void (*done)(struct hold *, int, const char *), void *ctx)
{
	int result;

	hold->done = done;
	hold->done_ctx = ctx;
	result = ask(hold);
	if (result == 0)
		return;
	hold->failure =
		result == RSIP_ERR_STATE ? RSIP_FAIL_UNREGISTERED : RSIP_FAIL_REFUSED;
	hold_end(hold, ERR_REFUSED, rsip_result_text(result));
}

void hold_give(
	struct hold *hold, void (*done)(struct hold *, int, const char *), void *ctx)
{
	hold->done = done;
	hold->done_ctx = ctx;
	if (hold->use != HOLD_FOLLOW)
		(void)sas_sweep_hold(hold, "its lease was given back");
	hold->freeing = true;
	host_changed(hold->gw->host);
	if (!hold->asking)
		free_start(hold); /* else when the answer comes */
}

/* --- losing ---------------------------------------------------------------------------
 */

static const char *const causes[] = {
	[RSIP_CAUSE_NONE] = "no cause",
	[RSIP_CAUSE_EXPIRED] = "its time is over",
	[RSIP_CAUSE_REVOKED] = "the gateway took it",
	[RSIP_CAUSE_UNKNOWN] = "the gateway does not know it",
	[RSIP_CAUSE_DEREGISTERED] = "deregistered",
	[RSIP_CAUSE_RENEWED] = "registering anew",
};

/* Its SPIs are remembered until it is known whether it gets them again. */
static void lost_keep(struct hold *hold, const struct rsip_grant *g)
{
	static const struct rsip_range all = { 1, UINT32_MAX };
	const struct rsip_range *spis = g->kind == RSIP_RSA_IP ? &all : g->spis;
	size_t n = g->kind == RSIP_RSA_IP ? 1 : g->n_spis;

	free(hold->lost_spis);
	hold->lost_spis = calloc(n + 1, sizeof(*spis));
	hold->n_lost_spis = hold->lost_spis != NULL ? n : 0;
	if (hold->n_lost_spis > 0)
		memcpy(hold->lost_spis, spis, n * sizeof(*spis));
}

void hold_lost(struct gw *gw, const struct rsip_event *ev)
{
	struct hold *hold = hold_find(gw->host, ev->grant->bind_id);
	bool over = ev->cause == RSIP_CAUSE_REVOKED || ev->cause == RSIP_CAUSE_EXPIRED;
	char addr[ADDR_TEXT_MAX];

	/* Of `rsip down` it is what was wanted. */
	log_at(gw->resting ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "lease lost",
		"bind=%" PRIu32 " address=%s reason=\"%s\" error=%u", ev->grant->bind_id,
		addr_format(ev->grant->address, addr), causes[ev->cause], ev->error);
	gw->host->resync = true;
	if (hold == NULL || hold->freeing)
		return;
	hold->bind_id = 0;
	if (hold->use != HOLD_EXEC)
		lost_keep(hold, ev->grant);
	if (over || hold->use == HOLD_LEASE)
		lost_end(hold, causes[ev->cause]);
	if (hold->use == HOLD_LEASE || (hold->use == HOLD_FOLLOW && over)) {
		if (hold->done == NULL)
			hold_forget(hold);
		return;
	}
	hold->same = ev->cause != RSIP_CAUSE_REVOKED;
	hold->again_ms = host_now_us() / 1000;
	again_start(gw->host);
}

void hold_again(struct host *h)
{
	uint64_t now = host_now_us() / 1000;
	bool waiting = false;

	for (struct hold *hold = h->holds; hold != NULL; hold = hold->next) {
		if (hold->bind_id != 0 || hold->asking || hold->freeing ||
			hold->done != NULL || hold->use == HOLD_LEASE)
			continue;
		waiting = true;
		if (hold->again_ms > now)
			continue;
		if (ask(hold) == 0)
			continue;
		/* The session gave registering up: its turn to be pushed. */
		if (rsip_session_state(hold->gw->session) == RSIP_UNREGISTERED)
			gw_start(hold->gw);
		pause_grow(hold);
	}
	if (!waiting)
		(void)uv_timer_stop(&h->again);
	else
		again_start(h);
}
