#pragma once

#include "audit/audit.h"
#include "dataplane/dp.h"

/*
 * What happens, told to whoever watches: the log, `rsip gateway monitor`, IPFIX, the
 * status page.  Nothing is kept here.
 */
enum event_kind {
	EVENT_REGISTERED,   /* reg */
	EVENT_DEREGISTERED, /* reg, reason */
	EVENT_QUOTA,        /* reg: more was asked for than the policy allows */
	EVENT_EXHAUSTED,    /* reg: or than the pools have left */
	EVENT_GRANTED,      /* lease */
	EVENT_EXTENDED,     /* lease */
	EVENT_ENDED,        /* lease, reason */
	EVENT_REFUSED,      /* peer, error */
	EVENT_WATER,        /* water */
	EVENT_HEALTH,       /* health */
	EVENTS
};
/* "granted", ...: the words of the monitor. */
const char *event_name(enum event_kind k);

/* A pool, or one address of it, crossed its high or low water mark. */
struct event_water {
	const char *pool;
	uint32_t number;  /* the pool's place in the configuration, from 1 */
	uint32_t address; /* 0: the whole pool */
	bool high;        /* filled above it; else emptied below the low one */
	uint32_t percent; /* in use or resting */
	uint32_t high_mark, low_mark;
};

struct event {
	enum event_kind kind;
	struct audit_time at;
	enum end_reason reason;
	union { /* borrowed */
		const struct registration *reg;
		const struct lease *lease;
		const struct peer *peer;
		const struct event_water *water;
		const char *health; /* what needs the operator; "" when all is well again
				     */
	};
	uint16_t error;
};

struct event_sink {
	void (*take)(void *ctx, const struct event *e);
	void *ctx;
	struct event_sink *next;
};

struct events {
	struct event_sink *first;
	uint64_t counts[EVENTS]; /* of all, watched or not */
};

/* The sink must outlive the events, or be taken away. */
void events_add(struct events *to, struct event_sink *sink);
void events_remove(struct events *from, struct event_sink *sink);
/* Cheap where nobody watches. */
void events_put(struct events *to, const struct event *e);
/* The event of an audit effect. */
struct event event_of_audit(const struct effect *e, uint64_t now_ms);
