#pragma once

#include "store/store.h"

/*
 * For tests, before the first record: start with a map of so many bytes and let it grow
 * by as many when it is full.
 */
void store_set_map_step(struct store *s, size_t bytes);
