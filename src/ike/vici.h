#pragma once

#include "ike/vici_msg.h"

#include <uv.h>

/*
 * A client of charon's VICI socket on the program's loop.  Commands run side by side on a
 * few connections, events come on one of their own.  Where charon does not answer the
 * client tries again each second.
 */

#define VICI_EVENTS_MAX 8

struct vici_conf {
	const char *path;
	const char *const *events; /* wanted; ends with NULL, at most VICI_EVENTS_MAX */
	void *ctx;                 /* of the calls below */
	void (*event)(void *ctx, const char *name, const uint8_t *body, size_t len);
	/* The event connection is up (its events are registered), or was lost. */
	void (*state)(void *ctx, bool up, const char *why);
};

/* body borrows; err is 0, or ERR_UNREACHABLE, ERR_PROTOCOL, ERR_UNSUPPORTED, -ETIMEDOUT.
 */
typedef void (*vici_done)(void *arg, int err, const uint8_t *body, size_t len);
/* What charon streams while the command runs: "control-log", "list-sa". */
typedef void (*vici_said)(void *arg, const char *event, const uint8_t *body, size_t len);

struct vici_command {
	const char *name;    /* borrowed for good: a constant */
	const uint8_t *body; /* copied */
	size_t len;
	uint32_t timeout_ms; /* from when it is sent; 0 is 10 s */
	vici_done done;
	vici_said said; /* NULL: of no interest */
	void *arg;
};

struct vici;

/* conf->path and conf->events must outlive it.  0 or -ENOMEM. */
int vici_new(uv_loop_t *loop, const struct vici_conf *conf, struct vici **vici);
/*
 * No call-back comes afterwards: commands under way are forgotten.  Memory goes when the
 * loop has run the close call-backs.  NULL is allowed.
 */
void vici_free(struct vici *v);

bool vici_is_up(const struct vici *v);
/*
 * 0, and done is called once; else ERR_UNREACHABLE (charon does not answer), ERR_NOSPACE
 * (1,024 wait already) or -ENOMEM, and it is not.
 */
int vici_call(struct vici *v, const struct vici_command *command);
