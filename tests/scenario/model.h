#pragma once

#include "engine/effect.h"

/*
 * Records as a store or a data plane would hold them: what the effects of an engine add
 * up to.  Everything is copied.
 */

/* A sorted array of rows of one size; row 0.. in the order of cmp. */
struct rows {
	char *row;
	size_t n, room, size;
	int (*cmp)(const void *a, const void *b);
};
void *rows_find(const struct rows *t, const void *key);
/* Adds, or writes over the row that equals it; returns the row. */
void *rows_put(struct rows *t, const void *row);
bool rows_drop(struct rows *t, const void *key);
void *rows_at(const struct rows *t, size_t i);

struct model {
	struct rows leases;        /* struct lease, by bind_id */
	struct rows registrations; /* struct registration, by client_id */
	struct rows resting;       /* struct resting, by address, kind, range.lo */
};

void model_init(struct model *m);
void model_fini(struct model *m);
void model_clear(struct model *m);

void model_lease_put(struct model *m, const struct lease *l);
bool model_lease_drop(struct model *m, uint32_t bind_id);
const struct lease *model_lease(const struct model *m, uint32_t bind_id);
const struct lease *model_lease_at(const struct model *m, size_t i);

void model_registration_put(struct model *m, const struct registration *r);
bool model_registration_drop(struct model *m, uint32_t client_id);
const struct registration *model_registration(const struct model *m, uint32_t client_id);
const struct registration *model_registration_at(const struct model *m, size_t i);

void model_resting_put(struct model *m, const struct resting *r);
bool model_resting_drop(struct model *m, const struct resting *r);
const struct resting *model_resting_at(const struct model *m, size_t i);

/* Do both hold the same numbers on the same address for the same host? */
bool lease_same_tuple(const struct lease *a, const struct lease *b);
/* Are all members equal? */
bool lease_equal(const struct lease *a, const struct lease *b);
bool registration_equal(const struct registration *a, const struct registration *b);
