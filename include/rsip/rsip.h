#pragma once

#include <rsip/types.h>

/*
 * librsip: the host side of RSIP (RFC 3103, RFC 3104) without any I/O.  Bytes and time go
 * in, bytes and events come out; sockets, clocks and threads are the caller's.
 *
 * A session is one host with one gateway.  The caller
 *
 *   - passes what arrives to rsip_session_input() and sends what the `send` callback
 * gets;
 *   - calls rsip_session_tick() no later than rsip_session_deadline();
 *   - makes requests, each of which completes by exactly one event with its tag.
 *
 * Requests run one at a time, in the order made (RFC 3103 section 10.1).  By itself the
 * session retransmits (UDP), extends leases at half of their remaining time, clears a
 * stale registration (error 302), and after a loss registers anew with growing pauses. It
 * never asks for a lost binding again: the caller does, and the pause then holds the
 * request.
 *
 * Time is microseconds of one clock that never steps back (CLOCK_BOOTTIME).  IPv4
 * addresses are host-order uint32_t.  A session is not thread-safe; different sessions
 * are independent.  Callbacks may make requests, but not call rsip_session_free(),
 * _input(), _tick(), _connected() or _disconnected() of their own session.
 */

#ifdef __cplusplus
extern "C" {
#endif

#define RSIP_API       __attribute__((visibility("default")))

#define RSIP_LIB_MAJOR 0
#define RSIP_LIB_MINOR 1
#define RSIP_LIB_PATCH 0

/* "0.1.0": of the library that runs, the macros are of the header compiled against. */
RSIP_API const char *rsip_lib_version(void);

struct rsip_session;

struct rsip_session_conf {
	enum rsip_transport transport;
	/*
	 * One message to the gateway: a datagram, or bytes of the TCP stream.  Borrowed
	 * for the call.  What can't be sent counts as lost.  Required.
	 */
	void (*send)(void *ctx, const uint8_t *bytes, size_t len);
	/* Required.  The event and all it points at are borrowed for the call. */
	void (*event)(void *ctx, const struct rsip_event *ev);
	/* Every change of state; NULL is allowed. */
	void (*state)(void *ctx, enum rsip_state from, enum rsip_state to);
	void *ctx;
	/* From here 0 means the default. */
	uint32_t first_timeout_us;  /* UDP: first wait, each next one doubles; 12500 */
	unsigned int transmissions; /* UDP: 7, at most 16 */
	uint32_t answer_timeout_us; /* TCP: how long an answer may take; 10 s */
	uint32_t backoff_min_us;    /* pause after a forced loss; 1 s, doubling up to */
	uint32_t backoff_max_us;    /* 60 s */
	unsigned int max_requests;  /* waiting and in work; 32, at most 1024 */
	unsigned int max_bindings;  /* held or asked for; 64, at most 4096 */
	bool no_extend;             /* do not extend leases automatically */
	bool no_keep; /* do not renew a registration without bindings (A-R-09) */
};

/*
 * The configuration is copied.  NULL: memory is short or the configuration is illegal.
 */
RSIP_API struct rsip_session *rsip_session_new(const struct rsip_session_conf *conf);
/*
 * Sends nothing and reports nothing: the gateway keeps the registration until its lease
 * ends.  Use rsip_deregister() first to give it back.
 */
RSIP_API void rsip_session_free(struct rsip_session *s);

/* UDP: one datagram.  TCP: the next bytes of the stream, cut anywhere. */
RSIP_API void rsip_session_input(
	struct rsip_session *s, const uint8_t *bytes, size_t len, uint64_t now_us);
/* Does what is due: retransmissions, time-outs, extensions, expiries. */
RSIP_API void rsip_session_tick(struct rsip_session *s, uint64_t now_us);
/* When rsip_session_tick() has work next; UINT64_MAX for never. */
RSIP_API uint64_t rsip_session_deadline(const struct rsip_session *s);

/*
 * TCP only: the connection is there, or is gone.  Its loss ends neither registration nor
 * bindings (P-6-14): connect again, from the same address.  A request in work is sent
 * again then, but for an assign or listen, which fails (RSIP_FAIL_TIMEOUT) because the
 * gateway may have executed it.  _disconnected() also follows RSIP_EVENT_STREAM_BROKEN.
 */
RSIP_API void rsip_session_connected(struct rsip_session *s, uint64_t now_us);
RSIP_API void rsip_session_disconnected(struct rsip_session *s, uint64_t now_us);

/*
 * Requests.  Each returns 0, or a negative enum rsip_result and then no event follows.
 * `tag` comes back in the completing event: the type named below, or RSIP_EVENT_FAILED.
 * What is pointed at is copied.
 */

/* RSIP_EVENT_REGISTERED.  From now on the session registers again after every loss. */
RSIP_API int rsip_register(struct rsip_session *s, void *tag, uint64_t now_us);
/*
 * RSIP_EVENT_DEREGISTERED.  Requests that wait fail (RSIP_FAIL_CANCELLED), all bindings
 * end (RSIP_EVENT_BINDING_LOST, cause RSIP_CAUSE_DEREGISTERED) when the answer comes.
 */
RSIP_API int rsip_deregister(struct rsip_session *s, void *tag, uint64_t now_us);
/*
 * RSIP_EVENT_GRANTED.  RSIP_ERR_FULL also when max_bindings are held or asked for.
 * A grant that can't be used is freed by the session (RSIP_FAIL_UNUSABLE).
 */
RSIP_API int rsip_assign(
	struct rsip_session *s, const struct rsip_want *want, void *tag, uint64_t now_us);
/* RSIP_EVENT_EXTENDED; lease_s 0 leaves the length to the gateway. */
RSIP_API int rsip_extend(struct rsip_session *s, uint32_t bind_id, uint32_t lease_s,
	void *tag, uint64_t now_us);
/* RSIP_EVENT_FREED; the binding must not be used from this call on. */
RSIP_API int rsip_free(
	struct rsip_session *s, uint32_t bind_id, void *tag, uint64_t now_us);
/* RSIP_EVENT_ANSWER; n up to RSIP_QUERY_MAX, 0 asks for the networks in general. */
RSIP_API int rsip_query(struct rsip_session *s, const struct rsip_net *items, size_t n,
	void *tag, uint64_t now_us);

/*
 * The answers to a query one by one: *at starts at 0; false at the end.  Only inside the
 * event callback, of RSIP_EVENT_ANSWER.  An item that no answer covers is remote
 * (P-9.15-04); IPv6 and names are passed over.
 */
RSIP_API bool rsip_answer_next(
	const struct rsip_event *ev, size_t *at, struct rsip_answer *answer);

RSIP_API enum rsip_state rsip_session_state(const struct rsip_session *s);
/* NULL while not registered; valid until the next call into the session. */
RSIP_API const struct rsip_registration *rsip_session_registration(
	const struct rsip_session *s);
/* NULL when not held; valid until the next call into the session. */
RSIP_API const struct rsip_grant *rsip_grant_find(
	const struct rsip_session *s, uint32_t bind_id);
/* In the order granted; stops when fn returns false.  fn makes no requests. */
RSIP_API void rsip_grant_each(const struct rsip_session *s,
	bool (*fn)(void *ctx, const struct rsip_grant *g), void *ctx);
RSIP_API const struct rsip_session_counters *rsip_session_counters(
	const struct rsip_session *s);

/*
 * For a host program that restarts and wants to go on: registration, counter and bindings
 * as bytes.  Export after every event.  Returns the length needed, and writes nothing
 * when that is more than size; 0 while not registered.  Times in it are of the session's
 * clock, so the bytes are worthless after a reboot: keep them below /run.
 */
RSIP_API size_t rsip_session_export(
	const struct rsip_session *s, uint8_t *buf, size_t size);
/*
 * Into a fresh session, before anything else.  What is past its time is left out.  0, or
 * RSIP_ERR_INVALID for bytes that no export wrote, RSIP_ERR_STATE, RSIP_ERR_FULL,
 * RSIP_ERR_MEMORY; the session is then as fresh as before.  No event.
 */
RSIP_API int rsip_session_import(
	struct rsip_session *s, const uint8_t *bytes, size_t len, uint64_t now_us);

/* Names for people; never NULL. */
RSIP_API const char *rsip_kind_name(enum rsip_kind kind);       /* "rsap-ip" */
RSIP_API const char *rsip_tunnel_name(enum rsip_tunnel tunnel); /* "ipip" */
RSIP_API const char *rsip_state_text(enum rsip_state state);    /* "Registered" */
RSIP_API const char *rsip_failure_text(enum rsip_failure failure);
RSIP_API const char *rsip_result_text(int result);
/* "LOCAL_ADDR_UNAVAILABLE" for 308; "unknown error" for what has no name. */
RSIP_API const char *rsip_error_text(uint16_t error);

#ifdef __cplusplus
}
#endif
