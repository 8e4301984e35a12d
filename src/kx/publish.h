#pragma once

#include "kx/update.h"

#include <uv.h>

/*
 * One name made to be what it should be at a name server, over UDP in the loop: the zone
 * is asked for, the update sent until it is answered, and for a whole address the PTR
 * record likewise.
 */
struct kx_publisher;

/* why NULL: done; else the sentence.  Called once, from the loop. */
typedef void (*kx_publish_done)(void *ctx, const char *why);

struct kx_publish_job {
	uint32_t server; /* IPv4, host order */
	uint16_t port;
	struct kx_tsig key;
	struct kx_publish what;
	bool ptr; /* the address is ours alone: its reverse name too */
};

/* The job is copied.  0 or -ENOMEM, or the code of the socket. */
int kx_publish_new(uv_loop_t *loop, const struct kx_publish_job *job,
	kx_publish_done done, void *ctx, struct kx_publisher **result);
/* Stops; done is not called.  NULL is allowed.  After done it is freed by itself. */
void kx_publish_free(struct kx_publisher *p);
