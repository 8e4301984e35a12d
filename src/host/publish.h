#pragma once

#include "host/conf.h"

#include <jansson.h>

/*
 * The name of `rsip up --publish`: signed DNS says where we are as long as we hold the
 * lease, and nothing after it.  What the name server was told last is in the state file,
 * so that a killed daemon's successor takes it back.
 */
struct host;
struct publish;

/* What `up` asked for; NULL: no memory.  0, or the sentence in why. */
int publish_start(
	struct host *h, const struct host_publish *conf, char *why, size_t why_size);
/* Each turn of the loop: follow the leases. */
void publish_check(struct host *h);
/*
 * Take the name back: true, and done() is called once it has gone or 3 s are over; false:
 * there is nothing to take back.
 */
bool publish_withdraw(struct host *h, void (*done)(struct host *h));
/* done() is called when the name server has answered for the first time, or at once. */
bool publish_wait(struct host *h, void (*done)(void *ctx), void *ctx);
void publish_free(struct host *h);
bool publish_is_busy(const struct host *h);
/* { "name", "state": "published" | "pending" | "failed" | "withdrawn", "why" } or null.
 */
json_t *publish_json(const struct host *h);
/* For the state file, which only we can read; and back. */
json_t *publish_state(const struct host *h);
void publish_load(struct host *h, const json_t *state);
