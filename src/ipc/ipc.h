#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/*
 * Control sockets: varlink framing (one JSON object and a NUL a message) over a Unix
 * stream socket.  A call is {"method": "org.rsipsec.gateway.Release", "parameters":
 * {...}}, its answer {"parameters": {...}} or {"error": "...", "parameters": {"text":
 * "..."}}.  A call with "more": true may be answered several times, all but the last with
 * "continues": true.
 */

#define IPC_WHY 512 /* room that every sentence written to `why` fits in */

/* Errors that every server of ours uses; the client maps them to codes of base/err.h. */
#define IPC_METHOD_NOT_FOUND  "org.varlink.service.MethodNotFound"
#define IPC_INVALID_PARAMETER "org.varlink.service.InvalidParameter"
#define IPC_NOT_FOUND         "org.rsipsec.NotFound"      /* ERR_NOTFOUND */
#define IPC_REFUSED           "org.rsipsec.Refused"       /* ERR_REFUSED */
#define IPC_CONFIG            "org.rsipsec.Configuration" /* ERR_CONFIG */
#define IPC_UNREACHABLE       "org.rsipsec.Unreachable"   /* ERR_UNREACHABLE */
#define IPC_INTERNAL          "org.rsipsec.Internal"      /* ERR_REFUSED */

/* --- server ---------------------------------------------------------------------------
 */

struct ipc_server;
struct ipc_call;

/*
 * `params` is an object, borrowed for the call (json_incref to keep).  The handler must
 * end the call once, now or later, with ipc_reply() or ipc_error(); until then nothing
 * else is read from that connection.  A call whose client went away stays valid until it
 * is ended.
 */
typedef void (*ipc_handler)(void *ctx, struct ipc_call *call, json_t *params);

struct ipc_method {
	const char *name; /* in full: "org.rsipsec.gateway.Release" */
	ipc_handler run;
};

struct ipc_server_conf {
	const char *path;
	const struct ipc_method
		*methods;       /* ends with a NULL name; must outlive the server */
	void *ctx;              /* for the handlers */
	unsigned int mode;      /* of the socket; 0 is 0660 */
	size_t max_connections; /* 0 is 32; over it the longest idle one is closed */
	size_t max_request;     /* bytes of one request; 0 is 64 KiB */
	uint32_t stall_ms;      /* a client that reads nothing for so long is closed;
				   0 is 30 s */
};

/*
 * Listens.  The directory must exist.  A socket nobody listens on is replaced; where a
 * daemon answers, or something else has that name, ERR_EXISTS.  The sentence goes to why.
 * The process ignores SIGPIPE from then on.
 */
int ipc_server_new(uv_loop_t *loop, const struct ipc_server_conf *conf,
	struct ipc_server **server, char *why, size_t why_size);
/*
 * Stop listening, remove the socket, close every connection.  Memory goes when the loop
 * has run the close callbacks.  Calls not ended yet must still be ended.  NULL is
 * allowed.
 */
void ipc_server_free(struct ipc_server *s);

/* End the call.  Takes over `params` (NULL is {}), also when the client is gone. */
void ipc_reply(struct ipc_call *call, json_t *params);
/* End it with an error name of above and a sentence. */
void ipc_error(struct ipc_call *call, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* End it with the error name that belongs to a code of base/err.h. */
void ipc_error_code(struct ipc_call *call, int code, const char *text);

/* The client asked for "more". */
bool ipc_wants_more(const struct ipc_call *call);
/* The client has gone: work for it may stop (the call is still to be ended). */
bool ipc_is_gone(const struct ipc_call *call);
/* One answer of several; takes over `params`.  ERR_UNREACHABLE when the client is gone.
 */
int ipc_continue(struct ipc_call *call, json_t *params);
/*
 * Call fn once from the loop as soon as what was sent has been read by the client (also
 * when it went away): the way to send a long answer in pieces.
 */
void ipc_when_drained(
	struct ipc_call *call, void (*fn)(void *ctx, struct ipc_call *call), void *ctx);

/* --- client: blocking -----------------------------------------------------------------
 */

struct ipc_client;

/* ERR_UNREACHABLE when nobody listens there; why gets the sentence. */
int ipc_client_new(
	const char *path, struct ipc_client **client, char *why, size_t why_size);
void ipc_client_free(struct ipc_client *c);

/*
 * One call, one answer.  Takes over `params` (NULL is {}); `reply` is the answer's
 * parameters, owned by the caller.  timeout_ms 0 waits for ever.  An error answer gives
 * its code (ERR_NOTFOUND, ERR_REFUSED, ERR_CONFIG, ...) and its text in why; no answer in
 * time or a closed connection ERR_UNREACHABLE; rubbish ERR_PROTOCOL.
 */
int ipc_client_call(struct ipc_client *c, const char *method, json_t *params,
	uint32_t timeout_ms, json_t **reply, char *why, size_t why_size);
/*
 * The same with "more": fn gets each answer's parameters (borrowed), the timeout is that
 * between two answers.  Stops with fn's code when that is not 0 (the connection is then
 * of no more use).
 */
int ipc_client_call_more(struct ipc_client *c, const char *method, json_t *params,
	uint32_t timeout_ms, int (*fn)(void *ctx, json_t *params), void *ctx, char *why,
	size_t why_size);
