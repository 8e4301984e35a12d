#pragma once

#include "engine/state.h"

/* Tuples of the longest QUERY_REQUEST; an Indicator and an Address take 12 bytes. */
#define QUERIES_MAX (RSIP_LENGTH_MAX / 12)

/* Where a name's addresses lie: all local, none of them, or some (or no address). */
enum where query_where(const struct engine *e, const uint32_t *addresses, size_t n);
/* Name number i of a QUERY; false when there are not so many. */
bool query_name_at(const struct wire_msg *m, size_t i, struct wire_addr *name);

/* Type 14. */
uint16_t query_on_request(struct engine *e, struct request *q);
