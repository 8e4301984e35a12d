#pragma once

#include "engine/effect.h"

/*
 * What began and ended as lines of the log, at level debug (`rsipd -v`): for finding out
 * what a host did, not for keeping.
 */
void audit_log(const struct effect *e, uint64_t now_ms);
