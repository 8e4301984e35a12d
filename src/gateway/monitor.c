/*
 * Watching.  Answers for a bounded cost whatever the watchers do: what one has not read
 * stays within WAITING events, packets within a rate, and what is left out is counted and
 * told.
 */
#include "gateway/monitor.h"

#include "base/limit.h"
#include "base/rfc3339.h"
#include "wire/proto.h"

#include <stdlib.h>
#include <string.h>

#define CLIENTS   8
#define WAITING   4096 /* events that one may not have read yet */
#define PACKETS_S 2000 /* packets a second, to all of them */
#define SNAP      2048 /* bytes of a packet */
#define SECOND_MS 1000

struct monitor_client {
	struct monitor_client *next;
	struct monitor *of;
	struct ipc_call *call;
	json_t *waiting; /* events */
	uint64_t missed;
	bool packets;
	bool sending; /* not yet read what was sent last */
	struct limit packet_rate;
};

/* --- events as JSON -------------------------------------------------------------------
 */

static json_t *address_json(uint32_t a)
{
	char text[ADDR_TEXT_MAX];

	return json_string(addr_format(a, text));
}

static json_t *error_json(const struct event *e)
{
	const char *name = rsip_error_name(e->error);

	return json_pack("{s:o, s:s, s:i, s:s}", "host", address_json(e->peer->addr),
		"transport", transport_name(e->peer->transport), "error", (int)e->error,
		"name", name != NULL ? name : "?");
}

static json_t *water_json(const struct event_water *w)
{
	return json_pack("{s:s, s:o, s:s, s:i}", "pool", w->pool, "address",
		w->address != 0 ? address_json(w->address) : json_null(), "level",
		w->high ? "high" : "low", "percent", (int)w->percent);
}

static json_t *object_json(const struct event *e)
{
	switch (e->kind) {
	case EVENT_REGISTERED:
	case EVENT_DEREGISTERED:
	case EVENT_QUOTA:
	case EVENT_EXHAUSTED:
		return control_registration_json(e->reg, e->at.now_ms);
	case EVENT_GRANTED:
	case EVENT_EXTENDED:
	case EVENT_ENDED:
		return control_lease_json(e->lease, e->at.now_ms);
	case EVENT_REFUSED:
		return error_json(e);
	case EVENT_WATER:
		return water_json(e->water);
	case EVENT_HEALTH:
		return json_pack("{s:b, s:s}", "healthy", e->health[0] == 0, "health",
			e->health[0] != 0 ? e->health : "ok");
	case EVENTS:
		break;
	}
	return NULL;
}

static json_t *stamped(json_t *object, const char *name, uint64_t wall_ms)
{
	char text[RFC3339_MAX];

	if (object == NULL ||
		json_object_set_new(object, "time",
			json_string(rfc3339_format_ms(wall_ms, text))) != 0 ||
		json_object_set_new(object, "event", json_string(name)) != 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

json_t *event_json(const struct event *e)
{
	bool ended = e->kind == EVENT_ENDED || e->kind == EVENT_DEREGISTERED;
	json_t *object = stamped(object_json(e), event_name(e->kind), e->at.wall_ms);

	/* "held" is what a binding of the other lists is. */
	(void)json_object_del(object, "state");
	if (ended && json_object_set_new(object, "reason",
			     json_string(end_reason_name(e->reason))) != 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

/* --- clients --------------------------------------------------------------------------
 */

/* Whether anybody watches, and packets. */
static void audience_changed(struct monitor *m)
{
	bool was = uv_is_active((uv_handle_t *)&m->second);

	m->packets = false;
	for (const struct monitor_client *c = m->clients; c != NULL; c = c->next)
		m->packets |= c->packets;
	if (m->clients == NULL && was) {
		events_remove(m->events, &m->sink);
		(void)uv_timer_stop(&m->second);
	}
}

static void client_end(struct monitor_client *c)
{
	struct monitor_client **at = &c->of->clients;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	ipc_reply(c->call, NULL);
	audience_changed(c->of);
	json_decref(c->waiting);
	free(c);
}

static void client_put(struct monitor_client *c, json_t *event)
{
	if (event == NULL || json_array_size(c->waiting) >= WAITING ||
		json_array_append(c->waiting, event) != 0)
		c->missed++;
}

static void client_flush(struct monitor_client *c);

static void on_drained(void *ctx, struct ipc_call *call)
{
	struct monitor_client *c = ctx;

	(void)call;
	c->sending = false;
	/* With the next flush: not from within the one that found nothing to wait for. */
}

static void client_flush(struct monitor_client *c)
{
	json_t *events = c->waiting, *answer;

	if (ipc_is_gone(c->call)) {
		client_end(c);
		return;
	}
	if (c->sending || (json_array_size(events) == 0 && c->missed == 0))
		return;
	answer = json_pack(
		"{s:O, s:I}", "events", events, "missed", (json_int_t)c->missed);
	c->waiting = json_array();
	json_decref(events);
	c->missed = 0;
	if (c->waiting == NULL || ipc_continue(c->call, answer) != 0) {
		client_end(c);
		return;
	}
	c->sending = true;
	ipc_when_drained(c->call, on_drained, c);
}

void monitor_flush(struct monitor *m)
{
	struct monitor_client *next;

	for (struct monitor_client *c = m->clients; c != NULL; c = next) {
		next = c->next;
		client_flush(c);
	}
}

static void on_event(void *ctx, const struct event *e)
{
	struct monitor *m = ctx;
	json_t *event = event_json(e);

	for (struct monitor_client *c = m->clients; c != NULL; c = c->next)
		client_put(c, event);
	json_decref(event);
}

/* --- drops by reason, and packets -----------------------------------------------------
 */

static const char *const directions[DP_DIRECTIONS] = { [DP_IN] = "in", [DP_OUT] = "out" };

static uint64_t wall_now(void)
{
	return audit_time_now(0).wall_ms;
}

static void drops_put(struct monitor *m, enum dp_direction dir, enum dp_reason reason,
	uint64_t packets, uint64_t wall_ms)
{
	json_t *event = stamped(
		json_pack("{s:s, s:s, s:I}", "direction", directions[dir], "reason",
			dp_reason_name(reason), "packets", (json_int_t)packets),
		"drops", wall_ms);

	for (struct monitor_client *c = m->clients; c != NULL; c = c->next)
		client_put(c, event);
	json_decref(event);
}

static void on_second(uv_timer_t *timer)
{
	struct monitor *m = timer->data;
	uint64_t wall_ms = wall_now();
	struct dp_stats now;

	m->source->stats(m->source->ctx, &now);
	for (unsigned int d = 0; d < DP_DIRECTIONS; d++)
		for (unsigned int r = DP_OK + 1; r < DP_REASONS; r++) {
			/* A data plane that was opened anew counts from 0. */
			uint64_t before = m->before.dropped[d][r];
			uint64_t more = now.dropped[d][r];

			more -= more >= before ? before : 0;
			if (more > 0)
				drops_put(m, d, r, more, wall_ms);
		}
	m->before = now;
	monitor_flush(m); /* also finds who is gone */
}

static json_t *bytes_json(const uint8_t *at, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char text[SNAP * 2];

	if (len > SNAP)
		len = SNAP;
	for (size_t i = 0; i < len; i++) {
		text[2 * i] = digits[at[i] >> 4];
		text[2 * i + 1] = digits[at[i] & 15];
	}
	return json_stringn(text, len * 2);
}

void monitor_packet(struct monitor *m, enum dp_direction direction, enum dp_reason reason,
	const uint8_t *at, size_t len)
{
	uint64_t wall_ms = wall_now(), now_ms = uv_now(m->second.loop);
	json_t *event = NULL;

	for (struct monitor_client *c = m->clients; c != NULL; c = c->next) {
		if (!c->packets)
			continue;
		if (!limit_take(&c->packet_rate, PACKETS_S, PACKETS_S, now_ms)) {
			c->missed++;
			continue;
		}
		if (event == NULL)
			event = stamped(
				json_pack("{s:s, s:s, s:s?, s:I, s:o}", "direction",
					directions[direction], "verdict",
					reason == DP_OK ? "forward" : "drop", "reason",
					reason == DP_OK ? NULL : dp_reason_name(reason),
					"length", (json_int_t)len, "bytes",
					bytes_json(at, len)),
				"packet", wall_ms);
		client_put(c, event);
	}
	json_decref(event);
}

/* --- opening and closing --------------------------------------------------------------
 */

void monitor_open(struct monitor *m, uv_loop_t *loop, struct events *events,
	struct control_source *source)
{
	m->events = events;
	m->source = source;
	m->sink = (struct event_sink){ on_event, m, NULL };
	(void)uv_timer_init(loop, &m->second);
	m->second.data = m;
}

void monitor_close(struct monitor *m)
{
	struct monitor_client *next;

	for (struct monitor_client *c = m->clients; c != NULL; c = next) {
		next = c->next;
		client_end(c);
	}
}

size_t monitor_clients(const struct monitor *m)
{
	size_t n = 0;

	for (const struct monitor_client *c = m->clients; c != NULL; c = c->next)
		n++;
	return n;
}

void monitor_start(struct monitor *m, struct ipc_call *call, json_t *params)
{
	size_t n = monitor_clients(m);
	struct monitor_client *c;

	if (!ipc_wants_more(call) || n >= CLIENTS) {
		ipc_error(call, IPC_REFUSED, "%s",
			n >= CLIENTS ? "too many are watching already"
				     : "events come in many answers: call with more");
		return;
	}
	c = calloc(1, sizeof(*c));
	if (c != NULL)
		c->waiting = json_array();
	if (c == NULL || c->waiting == NULL) {
		free(c);
		ipc_error(call, IPC_INTERNAL, "no memory");
		return;
	}
	c->of = m;
	c->call = call;
	c->packets = json_is_true(json_object_get(params, "packets"));
	if (m->clients == NULL) {
		m->source->stats(m->source->ctx, &m->before);
		events_add(m->events, &m->sink);
		(void)uv_timer_start(&m->second, on_second, SECOND_MS, SECOND_MS);
	}
	c->next = m->clients;
	m->clients = c;
	audience_changed(m);
	/* An empty answer: from here on nothing is left out. */
	if (ipc_continue(call, json_pack("{s:[], s:i}", "events", "missed", 0)) == 0) {
		c->sending = true;
		ipc_when_drained(call, on_drained, c);
	}
}
