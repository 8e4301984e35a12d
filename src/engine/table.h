#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Rows found by a number: the key stands in the table itself, so that a look-up among a
 * million touches one cache line and then the row.  The table owns no row.
 */

struct table {
	struct table_slot *slots;
	uint32_t n, size; /* size is a power of two, or 0 */
	uint64_t seed;    /* hosts choose some keys; they must not choose their places */
};

/* Room for `more` table_add(); 0 or -ENOMEM. */
int table_reserve(struct table *t, uint32_t more);
void table_fini(struct table *t);

void *table_find(const struct table *t, uint64_t key);
/* Needs room, a key that is not there yet, and a row. */
void table_add(struct table *t, uint64_t key, void *row);
/* Nothing when the key is not there. */
void table_del(struct table *t, uint64_t key);

/*
 * Each row in no order: *at starts at 0; NULL at the end.  After deleting the row in hand
 * go on with *at one less; a row may be met twice then, none is missed.
 */
void *table_next(const struct table *t, size_t *at);
