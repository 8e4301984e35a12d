#pragma once

#include "engine/state.h"

/* Steps V15 to V20 and the grant: types 6, 8, 16 and 22. */
uint16_t assign_on_request(struct engine *e, struct request *q);
