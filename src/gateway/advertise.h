#pragma once

#include "slp/agent.h"

#include <uv.h>

/*
 * The gateway lets itself be found: an SLP service agent (RFC 3105) on UDP port 427, fed
 * with what the configuration serves and how much of the pools is in use.
 */
struct conf;
struct engine;

struct advertise {
	uv_poll_t poll;
	uv_timer_t timer;
	int fd;   /* -1: not advertised */
	bool any; /* every address of ours is served */
	struct slp_agent agent;
	uint32_t directory_agent;
	const struct conf *const *conf;
	const struct engine *engine;
};

void advertise_init(struct advertise *a, uv_loop_t *loop);
/*
 * Nothing where the configuration says so.  *conf is read again at each update, since a
 * reload exchanges it.  0, or a negative code with a sentence in why.
 */
int advertise_open(struct advertise *a, uv_loop_t *loop, const struct conf *const *conf,
	const struct engine *engine, char *why, size_t why_size);
/* Withdraws from directory agents. */
void advertise_close(struct advertise *a);
