/*
 * The only place that builds effects.
 */
#include "engine/emit.h"

struct lease emit_lease(const struct bind *b)
{
	return (struct lease){
		.client_id = b->reg->client_id,
		.bind_id = b->id,
		.host = b->reg->host,
		.gateway = b->gateway,
		.address = b->addr->address,
		.method = b->method,
		.tunnel = b->tunnel,
		.ports = bind_ports(b),
		.n_ports = b->n_port_ranges,
		.spis = bind_spis(b),
		.n_spis = b->n_spi_ranges,
		.remote = b->remote,
		.remote_name = b->named != NULL ? b->named->name : NULL,
		.remote_name_len = b->named != NULL ? b->named->len : 0,
		.ike_id = b->ike_id_len > 0 ? bind_ike_id(b) : NULL,
		.ike_id_len = b->ike_id_len,
		.granted_ms = b->granted_ms,
		.expires_ms = b->timer.at_ms,
	};
}

struct registration emit_registration(const struct reg *r)
{
	return (struct registration){
		.client_id = r->client_id,
		.host = r->host,
		.peer = r->peer,
		.counters = r->counters,
		.counter = r->counter,
		.identity = r->identity,
		.expires_ms = r->timer.at_ms,
		.bindings = r->n_binds,
		.ports = r->n_ports,
		.spis = r->n_spis,
		.requests = r->asked,
		.refused = r->refused,
		.misused = r->misused,
	};
}

void emit_reply(struct engine *e, const struct peer *to, const uint8_t *bytes, size_t len,
	uint16_t error, bool async, bool close)
{
	struct effect x = { .kind = EFFECT_REPLY };

	x.reply.to = *to;
	x.reply.bytes = bytes;
	x.reply.len = len;
	x.reply.async = async;
	x.reply.close = close;
	x.reply.error = error;
	e->sink(e->ctx, &x);
}

static void emit_lease_effect(
	struct engine *e, enum effect_kind kind, const struct bind *b)
{
	struct lease l = emit_lease(b);
	struct effect x = { .kind = kind };

	x.lease = &l;
	e->sink(e->ctx, &x);
}

void emit_install(struct engine *e, const struct bind *b)
{
	emit_lease_effect(e, EFFECT_INSTALL, b);
}

void emit_remove(struct engine *e, const struct bind *b)
{
	emit_lease_effect(e, EFFECT_REMOVE, b);
}

void emit_keep_bind(struct engine *e, const struct bind *b, bool gone)
{
	struct lease l = emit_lease(b);
	struct effect x = { .kind = EFFECT_PERSIST };

	x.persist.kind = PERSIST_LEASE;
	x.persist.gone = gone;
	x.persist.lease = &l;
	e->sink(e->ctx, &x);
}

void emit_keep_reg(struct engine *e, const struct reg *r, bool gone)
{
	struct registration plain = emit_registration(r);
	struct effect x = { .kind = EFFECT_PERSIST };

	x.persist.kind = PERSIST_REGISTRATION;
	x.persist.gone = gone;
	x.persist.reg = &plain;
	e->sink(e->ctx, &x);
}

void emit_keep_rest(struct engine *e, const struct rest *r, bool gone)
{
	struct resting plain = {
		.address = r->addr->address, .range = r->range, .until_ms = r->timer.at_ms
	};
	struct effect x = { .kind = EFFECT_PERSIST };

	plain.kind = r->kind;
	x.persist.kind = PERSIST_RESTING;
	x.persist.gone = gone;
	x.persist.resting = &plain;
	e->sink(e->ctx, &x);
}

void emit_audit_bind(struct engine *e, enum audit_kind kind, enum end_reason reason,
	const struct bind *b, uint64_t now_ms)
{
	struct lease l = emit_lease(b);
	struct effect x = { .kind = EFFECT_AUDIT };

	x.audit.kind = kind;
	x.audit.reason = reason;
	x.audit.at_ms = now_ms;
	x.audit.lease = &l;
	e->sink(e->ctx, &x);
}

void emit_audit_reg(struct engine *e, enum audit_kind kind, enum end_reason reason,
	const struct reg *r, uint64_t now_ms)
{
	struct registration plain = emit_registration(r);
	struct effect x = { .kind = EFFECT_AUDIT };

	x.audit.kind = kind;
	x.audit.reason = reason;
	x.audit.at_ms = now_ms;
	x.audit.reg = &plain;
	e->sink(e->ctx, &x);
}

void emit_resolve(
	struct engine *e, uint64_t token, const char *name, uint8_t len, bool waits)
{
	struct effect x = { .kind = EFFECT_RESOLVE };

	x.resolve.token = token;
	x.resolve.name = name;
	x.resolve.len = len;
	x.resolve.waits = waits;
	e->sink(e->ctx, &x);
}
