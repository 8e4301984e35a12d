#pragma once

#include "wire/table.h"

/*
 * A message as a row of parameters that tests reorder, repeat, leave out or spoil before
 * it becomes bytes.
 */
struct part {
	enum role role; /* ROLE_NONE: added by the test */
	uint8_t type;
	const uint8_t *value; /* borrowed */
	size_t len;
	bool glued; /* belongs to the part before it (tuples) */
};

#define DRAFT_PARTS 24

struct draft {
	uint8_t type;
	const struct msg_spec *spec;
	size_t n, n_must;
	struct part part[DRAFT_PARTS];
};

/* The required parameters with sample values; then also each optional one. */
struct draft draft_short(uint8_t type);
struct draft draft_full(uint8_t type);

void draft_add(struct draft *d, size_t at, struct part part);
void draft_del(struct draft *d, size_t at);
/* Position of a role's parameter, or d->n. */
size_t draft_find(const struct draft *d, enum role role);

/* A parameter of a legal value for that role. */
struct part draft_sample(enum role role);

/* Returns the length; buf holds RSIP_LENGTH_MAX bytes. */
size_t draft_bytes(const struct draft *d, uint8_t *buf);
/* Its bytes through wire_decode() at the side that receives such messages. */
uint16_t draft_decode(const struct draft *d, bool udp);
