#pragma once

#include "engine/engine.h"

/* A copy of a configuration that shares nothing with it; 0 or -ENOMEM. */
int conf_copy(struct engine_conf *to, const struct engine_conf *from);
void conf_fini(struct engine_conf *c);
