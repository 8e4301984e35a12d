#pragma once

#include "engine/state.h"

/* Registered hosts. */

struct reg *reg_find(const struct engine *e, uint32_t client_id);
struct reg *reg_find_host(const struct engine *e, uint32_t host);

/*
 * A new row for a host that has none; `plain` tells its values.  NULL when memory is
 * short.  Emits nothing.
 */
struct reg *reg_add(struct engine *e, const struct registration *plain);
/*
 * End a registration and its bindings (RFC 3103 9.4): no message, all other effects.  `r`
 * is gone then.
 */
void reg_end(struct engine *e, struct reg *r, enum end_reason reason, uint64_t now_ms);
/* R = max(R, Bi): it lasts at least as long as this binding; persists when it grew. */
void reg_outlast(struct engine *e, struct reg *r, uint64_t expires_ms);

/* Answers 0 when it has answered, else the error to send. */
uint16_t reg_on_register(struct engine *e, struct request *q);
uint16_t reg_on_deregister(struct engine *e, struct request *q);
