#pragma once

#include "host/net.h"

/* A namespace of `rsip exec`. */

struct exec {
	struct exec *next;
	struct host *host;
	uint32_t id;
	struct hold *hold;
	int netns;
	int index;        /* of its device, inside */
	uint32_t address; /* on it now; 0: none */
	struct tunnel_owner owner;
	struct carrier *carrier;
	struct tunnel_end *end;
	struct exec_watch *watch; /* the process that stands for it */
};

/*
 * The namespace of process pid gets its only way out by the hold, which must be
 * held; it ends with process `watch` at the latest.
 */
int exec_new(struct hold *hold, int pid, int watch, struct exec **exec, char *why,
	size_t why_size);
/* Free the lease, end the device. done as of hold_give. */
void exec_end(
	struct exec *exec, void (*done)(struct hold *, int, const char *), void *ctx);
struct exec *exec_find(const struct host *h, uint32_t id);
/* Its lease was lost, extended or won again. */
int exec_sync(struct exec *exec, char *why, size_t why_size);
