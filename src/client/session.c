/*
 * A session as the caller sees it: made, ticked, connected, looked at.
 */
#include "client/session.h"

#include <stdlib.h>
#include <utlist.h>

#define REQUESTS_MAX      1024
#define BINDINGS_MAX      4096
#define TRANSMISSIONS_MAX 16
/* The longest first wait that doubles TRANSMISSIONS_MAX times without an overflow. */
#define WAIT_MAX_US 60000000

static unsigned int value_or(unsigned int value, unsigned int otherwise)
{
	return value ? value : otherwise;
}

static bool conf_fill(struct rsip_session_conf *c)
{
	c->first_timeout_us = value_or(c->first_timeout_us, 12500);
	c->transmissions = value_or(c->transmissions, 7);
	c->answer_timeout_us = value_or(c->answer_timeout_us, 10000000);
	c->backoff_min_us = value_or(c->backoff_min_us, 1000000);
	c->backoff_max_us = value_or(c->backoff_max_us, 60000000);
	c->max_requests = value_or(c->max_requests, 32);
	c->max_bindings = value_or(c->max_bindings, 64);
	return c->send && c->event && c->transport <= RSIP_TCP &&
	       c->first_timeout_us <= WAIT_MAX_US &&
	       c->transmissions <= TRANSMISSIONS_MAX &&
	       c->backoff_min_us <= c->backoff_max_us &&
	       c->max_requests <= REQUESTS_MAX && c->max_bindings <= BINDINGS_MAX;
}

struct rsip_session *rsip_session_new(const struct rsip_session_conf *conf)
{
	struct rsip_session *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->conf = *conf;
	s->answered = true;
	s->deadline_us = NEVER;
	if (conf_fill(&s->conf))
		s->held = calloc(s->conf.max_bindings, sizeof(struct binding *));
	if (!s->held) {
		free(s);
		return NULL;
	}
	return s;
}

void rsip_session_free(struct rsip_session *s)
{
	struct request *r, *next;

	if (!s)
		return;
	for (r = s->queue; r; r = next) {
		next = r->next;
		free(r);
	}
	for (size_t i = 0; i < s->n_held; i++)
		free(s->held[i]);
	free(s->held);
	free(s->out);
	free(s->in);
	free(s);
}

void rsip_session_tick(struct rsip_session *s, uint64_t now_us)
{
	run_enter(s);
	run_leave(s, now_us);
}

uint64_t rsip_session_deadline(const struct rsip_session *s)
{
	return s->deadline_us;
}

void rsip_session_connected(struct rsip_session *s, uint64_t now_us)
{
	if (s->conf.transport != RSIP_TCP)
		return;
	run_enter(s);
	s->connected = true;
	s->broken = false;
	s->in_len = 0;
	/* The gateway may have executed it: its answer may then be an error. */
	if (s->work) {
		s->work->again = true;
		run_transmit(s, now_us);
	}
	run_leave(s, now_us);
}

void rsip_session_disconnected(struct rsip_session *s, uint64_t now_us)
{
	if (s->conf.transport != RSIP_TCP || !s->connected)
		return;
	run_enter(s);
	s->connected = false;
	if (s->work && s->work->kind == RSIP_REQ_ASSIGN) {
		s->count.timeouts++;
		loss_request(s, RSIP_FAIL_TIMEOUT, now_us);
	}
	run_leave(s, now_us);
}

enum rsip_state rsip_session_state(const struct rsip_session *s)
{
	return s->state;
}

const struct rsip_registration *rsip_session_registration(const struct rsip_session *s)
{
	return s->registered ? &s->reg : NULL;
}

const struct rsip_session_counters *rsip_session_counters(const struct rsip_session *s)
{
	return &s->count;
}
