#pragma once

#include "engine/engine.h"

#include <uv.h>

/*
 * One turn of rsipd: what the engine wants done is collected while messages are handled,
 * and done at the end, in the order that keeps every promise: the store commits, the data
 * plane follows, then answers leave.
 *
 * The commit is written by another thread, so that packets and messages do not wait for
 * the disk.  What the loop collects meanwhile waits for that commit and then has one of
 * its own.  On a machine of one core the two threads would take turns, which costs more
 * than it gives: there the loop commits itself, unless it forwards the packets too.
 */
struct rsipd;
struct turn_reply;

/* What is to be done once a commit is through. */
struct turn_load {
	uint64_t began_ns; /* for rsip_request_seconds */
	struct turn_reply *replies;
	size_t n_replies, size_replies;
	uint8_t *bytes; /* of the replies */
	size_t used, size_bytes;
	uint32_t *binds; /* whose lease the data plane must look at again */
	size_t n_binds, size_binds;
	bool all_binds; /* it must look at every one */
	size_t requests;
};

struct turn {
	bool alone; /* no other thread: see above */
	bool open;
	uint64_t now_ms;    /* the engine's clock, read once */
	uint64_t opened_ns; /* for the watch */
	struct turn_load load;
	/* The commit that the other thread writes. */
	struct turn_load flight;
	uv_work_t work;
	uv_sem_t written;
	int result;  /* of store_write() */
	int audited; /* of audit_write() */
	bool flying; /* not yet landed */
	bool worker; /* the loop has not yet had `work` back */
	bool has_sem;
	bool failing;          /* the last commit did: see turn_end() */
	bool lost;             /* a record could not even be kept for the next commit */
	uint64_t retry_ms;     /* when a commit is tried again */
	uint64_t told_ms;      /* when the hosts were last told */
	uint64_t internal;     /* INTERNAL_SERVER_ERROR sent from here */
	uint64_t replies_lost; /* no memory for them */
	uint64_t plane_failed; /* leases that the data plane did not take */
	uint64_t commits, commit_errors;
	uint64_t slow_turns; /* as the watchdog counts them */
};

/* Once, when the data plane is known. */
void turn_init(struct rsipd *d);
/* The time of the turn, which begins now if none is under way. */
uint64_t turn_begin(struct rsipd *d);
/* The engine's sink. */
void turn_effect(void *rsipd, const struct effect *e);
/* A message of a host. */
void turn_message(void *rsipd, const struct peer *from, const uint8_t *bytes, size_t len);
/*
 * Commit, install, answer; or leave that to the other thread.  0, or what the commit
 * said; nothing to do is 0.
 */
int turn_end(struct rsipd *d);
/* The same for everything that was collected so far, before it returns. */
int turn_settle(struct rsipd *d);
/* Every lease into the data plane, which has just been opened. */
void turn_reinstall(struct rsipd *d);
void turn_fini(struct turn *t);
