#pragma once

#include "wire/msg.h"

#include <jansson.h>

/*
 * tests/vectors.json: messages byte for byte, with what they mean or how a gateway
 * answers them.  Everything in a vector is borrowed from its set.
 */
struct vector {
	const char *name;
	const char *kind;    /* valid, malformed, parameter, extension, dns-rdata, ... */
	enum wire_side side; /* who receives it */
	bool udp;
	const uint8_t *bytes;
	size_t len;
	const json_t *fields; /* valid: .parameters; malformed: .fault */
	/* Malformed only, else NULL. */
	const json_t *state;     /* the gateway before: registered, client_id, ... */
	const char *action;      /* "error_response" or "silent_drop" */
	uint16_t error;          /* 0: none */
	const uint8_t *response; /* the exact answer, or NULL */
	size_t response_len;
};

struct vectors {
	struct vector *list;
	size_t n;
	json_t *json;
	uint8_t *bytes;
};

/* Aborts with a message when the file cannot be used: a test has nothing to go on then.
 */
void vectors_load(struct vectors *v, const char *path);
void vectors_free(struct vectors *v);

/* A member of a vector's fields or state; 0, "" or NULL when there is none. */
long long vector_int(const json_t *object, const char *key);
const char *vector_text(const json_t *object, const char *key);
