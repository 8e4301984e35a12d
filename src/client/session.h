#pragma once

#include "rsip/rsip.h"
#include "wire/msg.h"

/*
 * What the files of librsip share.  Who does what:
 *
 *   request.c  the caller's requests: checked, copied, queued
 *   run.c      what is sent next, retransmission, time-outs, expiry; the only sender
 *   ask.c      a request to the bytes of its message
 *   input.c    received bytes: framing, and what a message belongs to
 *   answer.c   what each answer does
 *   async.c    what the gateway sends unasked
 *   loss.c     how requests, bindings and registrations end otherwise
 *   grant.c    the bindings held
 *   query.c    the answers to a query, one by one
 *   step.c     the state table
 *   keep.c     export and import
 *   text.c     names
 *
 * Callbacks may queue requests, so nothing here holds a pointer into the queue or the
 * table of bindings across an event; what is sent next is decided when the outermost call
 * ends.
 */

#define NEVER UINT64_MAX

/* A registration that another one replaces in 302 after 302 is given up. */
#define CLEARS_MAX 3
/* Bindings the gateway may hold and we do not want. */
#define ORPHANS_MAX 8

struct request {
	struct request *prev, *next;
	enum rsip_request kind; /* REQ_CLEAR for the session's own */
	void *tag;
	enum rsip_failure fail; /* not to be sent: report this */
	uint64_t made_us;
	uint32_t bind_id;
	uint32_t lease_s;
	bool own;   /* of the session itself; lives in session.own */
	bool probe; /* own assign: the lost one again, to learn what it was granted */
	bool again; /* TCP: sent before on a connection that was lost */
	struct rsip_want want; /* lists and name are behind the struct */
	const struct rsip_net *items;
	size_t n_items;
};

/* DE-REGISTER_REQUEST for a registration that is not ours any more. */
#define REQ_CLEAR ((enum rsip_request)(RSIP_REQ_QUERY + 1))
#define REQ_KINDS (RSIP_REQ_QUERY + 2)

struct binding {
	struct rsip_grant grant;
	uint32_t wish_s;    /* Lease Time of automatic extensions; 0: none */
	uint64_t extend_us; /* when to extend by itself */
	bool leaving;       /* the caller freed it */
	/* What grant.ports and grant.spis point at, then grant.remote_name. */
	struct rsip_range numbers[];
};

/* A binding at the gateway to be freed by the session. */
struct orphan {
	uint32_t bind_id;
	unsigned int tries; /* FREE_REQUESTs that went wrong */
	uint64_t at_us;
};

enum step {
	STEP_REGISTER,
	STEP_CLEAR,
	STEP_QUERY,
	STEP_DEREGISTER,
	STEP_ASSIGN,
	STEP_EXTEND,
	STEP_FREE,
	STEP_REGISTERED, /* a registration was granted */
	STEP_DONE_BARE,  /* what was in work ended; no binding held */
	STEP_DONE_BOUND,
	STEP_EMPTIED, /* the last binding ended */
	STEP_GONE,    /* the registration ended */
	STEPS,
};

struct rsip_session {
	struct rsip_session_conf conf; /* defaults filled in */
	struct rsip_session_counters count;
	enum rsip_state state;
	unsigned int depth; /* calls of ours on the stack: callbacks only queue */

	/* Registration. */
	bool registered;
	bool wanted; /* the caller's last word was register */
	bool lost;   /* to be registered anew by the session */
	bool renew;  /* de-register and register to be in step */
	struct rsip_registration reg;
	uint32_t clear_id;   /* registration to be cleared first; 0: none */
	unsigned int clears; /* 302 after 302 */
	uint64_t keep_us;    /* when a bare registration is renewed */

	/* The pause after a loss. */
	uint32_t pause_us;
	uint64_t pause_until_us;

	/* The message in work. */
	struct request *work;
	struct request own;
	uint32_t counter; /* of the last message sent */
	bool answered;    /* and the gateway answered it */
	unsigned int tries;
	uint64_t sent_us; /* first transmission */
	uint64_t due_us;  /* retransmission or time-out */
	uint8_t *out;
	size_t out_size, out_len;

	/* An assign that was given up, yet may have been executed; its bytes are in `out`
	 * as long as nothing else was sent (UDP). */
	bool lost_assign;
	uint32_t lost_counter;
	enum rsip_kind lost_kind;

	struct request *queue;
	size_t n_queue, n_asks; /* asks: assign and listen among them */
	struct binding **held;
	size_t n_held;
	struct orphan orphans[ORPHANS_MAX];
	size_t n_orphans;

	/* TCP. */
	bool connected, broken;
	uint8_t *in;
	size_t in_size, in_len;

	uint64_t deadline_us;
};

/* step.c: the only place where the state changes. */
void step_take(struct rsip_session *s, enum step step);
bool step_may(enum rsip_state state, enum step step);
/* The step with which a request of this kind is sent. */
enum step step_of(enum rsip_request kind);

/* request.c */
struct request *request_new(size_t extra);
/* Takes it out of the queue, without freeing it. */
void request_unqueue(struct rsip_session *s, struct request *r);
/* Every waiting request up to the next rsip_deregister() fails; is there one? */
bool request_fail_waiting(struct rsip_session *s, enum rsip_failure why);
/* The waiting requests about a binding that ended. */
void request_forget(struct rsip_session *s, uint32_t bind_id);

/* ask.c: into s->out.  RSIP_FAIL_NONE, _MEMORY or _POLICY. */
enum rsip_failure ask_encode(
	struct rsip_session *s, const struct request *r, uint32_t counter);
/* What the answer to a request is. */
uint8_t ask_answer_type(const struct request *r);

/* run.c */
void run_enter(struct rsip_session *s);
/* Sends and reports what is due, unless a caller further up the stack will. */
void run_leave(struct rsip_session *s, uint64_t now_us);
/* The request in work has ended; what it asked for is in the event.  NULL: no event. */
void run_finish(struct rsip_session *s, const struct rsip_event *ev);
void run_fail(struct rsip_session *s, enum rsip_failure why, uint16_t error);
void run_emit(struct rsip_session *s, struct rsip_event ev);
/* The message in work once more. */
void run_transmit(struct rsip_session *s, uint64_t now_us);

/* answer.c: a message with the counter of the one in work. */
void answer_take(struct rsip_session *s, const struct wire_msg *m, uint64_t now_us);
/* A grant that can't be read, but whose Bind ID can. */
void answer_unusable(struct rsip_session *s, uint32_t bind_id, uint64_t now_us);
/* async.c: what the gateway sends without being asked. */
void async_take(struct rsip_session *s, const struct wire_msg *m, uint64_t now_us);
/* The answer to an assign that was given up. */
void async_late(struct rsip_session *s, const struct wire_msg *m, uint64_t now_us);

/* loss.c: how requests, bindings and registrations end without being asked to. */
/* Nothing will answer the request in work: TIMEOUT, or MEMORY when it was not sent. */
void loss_request(struct rsip_session *s, enum rsip_failure why, uint64_t now_us);
void loss_binding(struct rsip_session *s, uint32_t bind_id, enum rsip_cause cause,
	uint16_t error, uint64_t now_us);
/* With all bindings and the request in work. */
void loss_registration(
	struct rsip_session *s, enum rsip_cause cause, uint16_t error, uint64_t now_us);
/* The caller's DE-REGISTER_REQUEST came true. */
void loss_deregistered(struct rsip_session *s, enum rsip_failure failure, uint16_t error,
	uint64_t now_us);
/* The gateway does not know us any more: clears and registers anew. */
void loss_of_step(struct rsip_session *s, uint16_t error, uint64_t now_us);
/* The registration asked for is not to be had now. */
void loss_refused(
	struct rsip_session *s, enum rsip_failure why, uint16_t error, uint64_t now_us);
void loss_pause(struct rsip_session *s, uint64_t now_us);
/* The gateway may hold a binding that we do not want: frees it at that time. */
void loss_orphan(
	struct rsip_session *s, uint32_t bind_id, unsigned int tries, uint64_t at_us);
/* After a FREE_REQUEST that went wrong; not for ever. */
void loss_orphan_again(struct rsip_session *s, uint32_t bind_id, uint64_t now_us);
void loss_orphan_del(struct rsip_session *s, uint32_t bind_id);

/* grant.c */
enum grant_verdict { GRANT_GOOD, GRANT_UNUSABLE, GRANT_MEMORY };
enum grant_verdict grant_from(
	const struct wire_msg *m, const struct request *r, struct binding **made);
/* An empty one, with room for its ranges, name and peer's identity, in this order. */
struct binding *grant_new(size_t n_ports, size_t n_spis, size_t name_len, size_t id_len);
void grant_add(struct rsip_session *s, struct binding *b);
struct binding *grant_by_id(const struct rsip_session *s, uint32_t bind_id);
/* Takes it out of the table; the caller's to free. */
struct binding *grant_pull(struct rsip_session *s, uint32_t bind_id);
/* New lease: expiry, next extension, and the registration's expiry with it. */
void grant_lease(struct rsip_session *s, struct binding *b, uint32_t lease_s,
	uint64_t sent_us, uint64_t now_us);
/* A failed extension is tried again at half of what remains. */
void grant_later(const struct rsip_session *s, struct binding *b, uint64_t now_us);
/* When a bare registration is renewed. */
void grant_keep(struct rsip_session *s);
