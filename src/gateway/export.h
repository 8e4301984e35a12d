#pragma once

#include "base/limit.h"
#include "engine/engine.h"
#include "gateway/events.h"
#include "ipfix/ipfix.h"

#include <uv.h>

/*
 * Events to a collector, as IPFIX over UDP: what a turn of the loop brought leaves with
 * its end.  Nothing is kept for a collector that is not there.
 */
struct export_pair;

struct export_counters {
	uint64_t messages, records, errors; /* errors: messages not sent */
};

struct export
{
	struct ipfix ipfix;
	struct event_sink sink;
	const struct engine *engine;
	struct export_pair *pairs; /* who holds something of which address */
	int fd;                    /* -1: there is no export */
	uint32_t collector_addr;
	uint16_t collector_port;
	uv_timer_t templates;
	struct limit shortages; /* exhausted and quota: a host can ask very often */
	struct export_counters counters;
};

struct export_conf {
	uint32_t addr; /* of the collector */
	uint16_t port;
	uint32_t domain, enterprise;
	uint64_t templates_ms; /* how often they are sent again */
};

/* Before anything else; its timer is closed with the loop. */
void export_init(struct export *x, uv_loop_t *loop);
/* -errno.  Templates leave at once. */
int export_open(struct export *x, const struct export_conf *conf,
	const struct engine *engine, struct events *events);
void export_flush(struct export *x);
void export_close(struct export *x);
