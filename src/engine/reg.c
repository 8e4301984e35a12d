/*
 * Registrations (RFC 3103 9.2 to 9.5).  A host is its source address; one registration an
 * address.
 */
#include "engine/reg.h"

#include "engine/bind.h"
#include "engine/emit.h"
#include "engine/policy.h"
#include "engine/replay.h"
#include "engine/reply.h"
#include "engine/wait.h"

#include <stdlib.h>

struct reg *reg_find(const struct engine *e, uint32_t client_id)
{
	return table_find(&e->regs, client_id);
}

struct reg *reg_find_host(const struct engine *e, uint32_t host)
{
	return table_find(&e->hosts, host);
}

static struct reg *reg_alloc(struct engine *e, uint32_t client_id, uint32_t host)
{
	struct reg *r;

	if (timers_reserve(&e->timers, 1) != 0 || table_reserve(&e->regs, 1) != 0 ||
		table_reserve(&e->hosts, 1) != 0)
		return NULL;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return NULL;
	r->client_id = client_id;
	r->host = host;
	table_add(&e->regs, client_id, r);
	table_add(&e->hosts, host, r);
	return r;
}

struct reg *reg_add(struct engine *e, const struct registration *plain)
{
	struct reg *r = reg_alloc(e, plain->client_id, plain->host);

	if (r == NULL)
		return NULL;
	r->counters = plain->counters;
	r->counter = plain->counter;
	r->policy = policy_find(&e->conf, plain->host);
	r->identity = plain->identity;
	r->peer = plain->peer;
	r->peer.conn = 0;
	replay_follow(e, r, &plain->peer);
	r->timer.kind = TIMER_REG;
	timers_set(&e->timers, &r->timer, plain->expires_ms);
	e->counters.registrations++;
	return r;
}

static void reg_free(struct engine *e, struct reg *r)
{
	if (r->waiting != NULL)
		wait_drop(e, r->waiting);
	timers_unset(&e->timers, &r->timer);
	table_del(&e->regs, r->client_id);
	table_del(&e->hosts, r->host);
	if (r->peer.conn != 0)
		table_del(&e->conns, r->peer.conn);
	replay_last_fini(&r->last);
	free(r->misuse);
	free(r);
	e->counters.registrations--;
}

void reg_end(struct engine *e, struct reg *r, enum end_reason reason, uint64_t now_ms)
{
	while (r->binds != NULL)
		bind_end(e, r->binds, reason, false, now_ms);
	emit_keep_reg(e, r, true);
	emit_audit_reg(e, AUDIT_DEREGISTER, reason, r, now_ms);
	reg_free(e, r);
}

void reg_outlast(struct engine *e, struct reg *r, uint64_t expires_ms)
{
	if (expires_ms <= r->timer.at_ms)
		return;
	timers_set(&e->timers, &r->timer, expires_ms);
	emit_keep_reg(e, r, false);
}

/* --- requests --- */

static const uint8_t remote_words[] = {
	[REMOTE_NONE] = FLOW_NONE,
	[REMOTE_MACRO] = FLOW_MACRO,
	[REMOTE_MICRO] = FLOW_MICRO,
};

/* Methods and tunnels are listed only when there is more than the mandatory ones. */
static void put_offer(struct engine *e, const struct reg *r, struct wire_msg *m)
{
	uint8_t methods[3], tunnels[2];
	size_t n_methods = policy_methods(e, r->policy, methods);
	size_t n_tunnels = policy_tunnels(r->policy, tunnels);

	m->flow_local = r->policy->local_flow == LOCAL_MICRO ? FLOW_MICRO : FLOW_MACRO;
	m->flow_remote = remote_words[r->policy->remote_flow];
	if (n_methods == 1 && methods[0] == RSIP_METHOD_RSAP_IP && n_tunnels == 1 &&
		tunnels[0] == TUNNEL_IPIP)
		return;
	for (size_t i = 0; i < n_methods; i++)
		m->methods[m->n_methods++] = methods[i];
	for (size_t i = 0; i < n_tunnels; i++)
		m->tunnels[m->n_tunnels++] = tunnels[i];
	m->has |= (n_methods > 0 ? HAS_METHOD : 0U) | (n_tunnels > 0 ? HAS_TUNNEL : 0U);
}

static uint32_t client_id_new(struct engine *e)
{
	uint32_t id;

	do {
		id = engine_random_id(e);
	} while (reg_find(e, id) != NULL);
	return id;
}

uint16_t reg_on_register(struct engine *e, struct request *q)
{
	struct registration plain = { .client_id = client_id_new(e),
		.host = q->from->addr,
		.peer = *q->from,
		.identity = q->from->identity,
		.counters = (q->msg.has & HAS_COUNTER) != 0,
		.counter = q->counter,
		.expires_ms = q->now_ms + e->conf.registration_lease_s * 1000ULL };
	struct wire_msg m = { .type = MSG_REGISTER_RESPONSE,
		.has = HAS_CLIENT_ID | HAS_LEASE | HAS_FLOW,
		.client_id = plain.client_id,
		.lease_s = e->conf.registration_lease_s };
	struct reg *r;

	if (policy_find(&e->conf, q->from->addr) == NULL ||
		e->counters.registrations >= REGISTRATIONS_MAX)
		return RSIP_REGISTRATION_DENIED;
	r = reg_add(e, &plain);
	if (r == NULL)
		return RSIP_INTERNAL_SERVER_ERROR;
	put_offer(e, r, &m);
	emit_keep_reg(e, r, false);
	emit_audit_reg(e, AUDIT_REGISTER, END_FREED, r, q->now_ms);
	q->reg = r;
	q->settled = true;
	reply_send(e, q, &m);
	return 0;
}

uint16_t reg_on_deregister(struct engine *e, struct request *q)
{
	struct wire_msg m = { .type = MSG_DEREGISTER_RESPONSE,
		.has = HAS_CLIENT_ID,
		.client_id = q->reg->client_id };

	reg_end(e, q->reg, END_DEREGISTERED, q->now_ms);
	q->reg = NULL;
	q->buried = q->from->transport == TRANSPORT_UDP;
	reply_send(e, q, &m);
	return 0;
}
