/* From those who know that something happened to those who want to. */
#include "gateway/events.h"

#include <stddef.h>

const char *event_name(enum event_kind k)
{
	static const char *const names[EVENTS] = {
		[EVENT_REGISTERED] = "registered",
		[EVENT_DEREGISTERED] = "deregistered",
		[EVENT_QUOTA] = "quota",
		[EVENT_EXHAUSTED] = "exhausted",
		[EVENT_GRANTED] = "granted",
		[EVENT_EXTENDED] = "extended",
		[EVENT_ENDED] = "ended",
		[EVENT_REFUSED] = "refused",
		[EVENT_WATER] = "water",
		[EVENT_HEALTH] = "health",
	};

	return names[k];
}

void events_add(struct events *to, struct event_sink *sink)
{
	sink->next = to->first;
	to->first = sink;
}

void events_remove(struct events *from, struct event_sink *sink)
{
	struct event_sink **at = &from->first;

	while (*at != NULL && *at != sink)
		at = &(*at)->next;
	if (*at != NULL)
		*at = sink->next;
}

void events_put(struct events *to, const struct event *e)
{
	struct event_sink *sink = to->first, *next;

	to->counts[e->kind]++;
	for (; sink != NULL; sink = next) {
		next = sink->next; /* it may take itself away */
		sink->take(sink->ctx, e);
	}
}

struct event event_of_audit(const struct effect *e, uint64_t now_ms)
{
	static const enum event_kind kinds[] = {
		[AUDIT_REGISTER] = EVENT_REGISTERED,
		[AUDIT_DEREGISTER] = EVENT_DEREGISTERED,
		[AUDIT_QUOTA] = EVENT_QUOTA,
		[AUDIT_EXHAUSTED] = EVENT_EXHAUSTED,
		[AUDIT_GRANT] = EVENT_GRANTED,
		[AUDIT_EXTEND] = EVENT_EXTENDED,
		[AUDIT_END] = EVENT_ENDED,
	};
	struct event event = { .kind = kinds[e->audit.kind],
		.at = audit_time_now(now_ms),
		.reason = e->audit.reason };

	if (e->audit.lease != NULL)
		event.lease = e->audit.lease;
	else
		event.reg = e->audit.reg;
	return event;
}
