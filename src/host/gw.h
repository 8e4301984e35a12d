#pragma once

#include "base/addr.h"
#include "base/limit.h"
#include "host/conf.h"
#include "host/prove.h"

#include <rsip/rsip.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* A gateway: one session of librsip with its sockets and timers. */

#define HOST_HOLDS_MAX 256

struct host;

/* A request to a session: its tag.  done() is called once, also when the gateway goes. */
struct req {
	struct req *next;
	void (*done)(struct req *req, const struct rsip_event *ev);
};

/* Somebody who waits for a gateway's registration; err 0 and why "" when it is there. */
struct gw_wait {
	struct gw_wait *next;
	void (*done)(struct gw_wait *wait, int err, const char *why);
};

struct gw {
	struct host *host;
	struct gw *next;
	uint32_t addr;
	uint32_t source; /* configured; 0: as routed */
	uint32_t local;  /* our address on the way there; 0: not known yet */
	uint16_t port;
	bool registering, checking, resting; /* requests of ours under way */
	bool upping, up;                     /* `rsip up`: on its way; done */
	bool freed;
	enum rsip_transport transport;
	struct rsip_session *session;
	struct gw_conn *conn; /* TCP; NULL while there is none */
	struct gw_udp *udp;
	struct prove proof;
	uv_timer_t timer;   /* session's deadline */
	uv_timer_t connect; /* next try */
	uv_timer_t check;   /* next question whether all is well */
	size_t handles;
	struct req *reqs; /* in the session */
	struct gw_wait *waits;
	struct req register_req, check_req, rest_req;
	struct prefix4 *locals; /* networks that QUERY called local */
	size_t n_locals;
	bool follow;                       /* `up` with spi-mode follow */
	uint32_t ports_max, ports_quiet_s; /* of `up` */
	uint64_t grow_again_ms;            /* after a refusal */
	uint32_t connect_ms;               /* pause before the next try */
	uint64_t notices;                  /* asynchronous errors, and the last one */
	uint16_t notice_error;
	struct limit notice_limit; /* of lines in the log */
	char trouble[160];         /* why there is no registration; "" none */
};

struct gw *gw_find(const struct host *h, uint32_t addr, uint16_t port);
/* A known one, or a new one by conf, which must name it. */
int gw_get(struct host *h, const struct host_conf *conf, struct gw **gw, char *why,
	size_t why_size);
int gw_new(struct host *h, const struct host_conf *conf, struct gw **result);
/* Ends what waits; forgets holds.  Does not tell the gateway. */
void gw_free(struct gw *gw);
/* Registered, sooner or later; wait->done is called once, perhaps at once. */
void gw_wait(struct gw *gw, struct gw_wait *wait);
/* Deregister, then free. */
void gw_deregister(struct gw *gw);
/* The same if nothing is wanted from it. */
void gw_rest(struct gw *gw);
/* Addresses of this machine changed: connect anew if ours is gone. */
void gw_moved(struct gw *gw);
/* Before the loop sleeps: timers follow the sessions' deadlines. */
void gw_turn(struct host *h);
/* Connect as the transport needs. */
void gw_start(struct gw *gw);
/*
 * A request to the session: gw_link() first, since the answer may come before the call
 * returns; then gw_settle() with the call's result, which it returns.  With 0 the request
 * may be over and its memory gone.
 */
void gw_link(struct gw *gw, struct req *req);
int gw_settle(struct gw *gw, const struct req *req, int result);
/* Our address towards the gateway is what makes us this host. */
void gw_local(struct gw *gw, const struct sockaddr_in *local);
struct sockaddr_in gw_sockaddr(uint32_t addr, uint16_t port);
/* gw_udp.c; why is "" where a code of libuv says enough. */
int gw_udp_open(struct gw *gw, char *why, size_t why_size);
void gw_udp_drop(struct gw *gw);
void gw_udp_send(struct gw *gw, const uint8_t *bytes, size_t len);
void gw_text(const struct gw *gw, char buf[static 24]);
