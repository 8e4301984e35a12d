#pragma once

#include "engine/state.h"

/* Tuples of the longest QUERY_REQUEST; an Indicator and an Address take 12 bytes. */
#define QUERIES_MAX (RSIP_LENGTH_MAX / 12)

/* Type 14. */
uint16_t query_on_request(struct engine *e, struct request *q);
