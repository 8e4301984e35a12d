#pragma once

#include "gateway/control.h"
#include "gateway/events.h"

#include <uv.h>

/*
 * The method Monitor of the control socket: events as they happen, to each connection
 * that asked.  One that reads too slowly misses some, and is told how many.
 */
struct monitor_client;

struct monitor {
	struct events *events;
	struct event_sink sink; /* in `events` while somebody watches */
	struct monitor_client *clients;
	struct control_source *source;
	struct dp_stats before; /* for the drops of a second */
	uv_timer_t second;
	/* For the data plane: somebody wants to see packets. */
	bool packets;
};

void monitor_open(struct monitor *m, uv_loop_t *loop, struct events *events,
	struct control_source *source);
/* Ends the calls; the timer is closed with the loop. */
void monitor_close(struct monitor *m);

/* The handler's: takes over the call. */
void monitor_start(struct monitor *m, struct ipc_call *call, json_t *params);
/* A packet's fate; `at` is an IPv4 packet or what there is of one. */
void monitor_packet(struct monitor *m, enum dp_direction direction, enum dp_reason reason,
	const uint8_t *at, size_t len);
/* How many watch. */
size_t monitor_clients(const struct monitor *m);
/* Send what has come together; at the end of a turn. */
void monitor_flush(struct monitor *m);

/* An event as docs/control.md has it; NULL when memory is short. */
json_t *event_json(const struct event *e);
