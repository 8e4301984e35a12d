#pragma once

#include "engine/state.h"

/* Effects, from the engine's tables to the caller's sink. */

void emit_reply(struct engine *e, const struct peer *to, const uint8_t *bytes, size_t len,
	uint16_t error, bool async, bool close);
void emit_install(struct engine *e, const struct bind *b);
void emit_remove(struct engine *e, const struct bind *b);
void emit_keep_bind(struct engine *e, const struct bind *b, bool gone);
void emit_keep_reg(struct engine *e, const struct reg *r, bool gone);
void emit_keep_rest(struct engine *e, const struct rest *r, bool gone);
void emit_audit_bind(struct engine *e, enum audit_kind kind, enum end_reason reason,
	const struct bind *b, uint64_t now_ms);
void emit_resolve(
	struct engine *e, uint64_t token, const char *name, uint8_t len, bool waits);
void emit_audit_reg(struct engine *e, enum audit_kind kind, enum end_reason reason,
	const struct reg *r, uint64_t now_ms);

/* The tables' rows as the plain data of effect.h; ranges are borrowed. */
struct lease emit_lease(const struct bind *b);
struct registration emit_registration(const struct reg *r);
