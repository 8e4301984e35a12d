#pragma once

#include "store/store.h"

/* For tests: by how much the map grows when it is full (before the first record). */
void store_set_map_step(struct store *s, size_t bytes);
