#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * What needs the operator, or soon will: a fault makes the gateway unhealthy (/healthz is
 * 503), a warning does not.
 */
#define HEALTH_TEXT 512
#define HEALTH_MAX  16

struct health_reason {
	const char *name; /* "store", "audit", "link", "pool": a word that stays */
	bool fault;
	char text[HEALTH_TEXT]; /* a sentence */
};

struct rsipd;

/* Faults first; returns how many, at most HEALTH_MAX. */
size_t health_reasons(const struct rsipd *d, struct health_reason out[static HEALTH_MAX]);
/* Once a second: links, water marks, and the event when health changed. */
void health_look(struct rsipd *d);
