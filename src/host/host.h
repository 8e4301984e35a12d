#pragma once

#include "base/addr.h"
#include "host/conf.h"
#include "host/nl.h"
#include "host/tunnel.h"
#include "ipc/ipc.h"

#include <rsip/rsip.h>

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/*
 * What rsip-hostd holds: gateways (struct gw), what it wants from them (struct hold), the
 * interfaces that follow from that (struct iface), namespaces of `rsip exec` (struct
 * exec).
 *
 * The rule that keeps it simple: requests and events change holds; net_sync() makes
 * interfaces, routes and sysctls follow; state_save() writes down what a successor needs.
 */

#define HOST_HOLDS_MAX     64
#define HOST_ADDRESSES_MAX 16 /* leased addresses of one interface */

struct host;
struct gw;
struct hold;

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
	uv_timer_t timer;   /* session's deadline */
	uv_timer_t connect; /* next try */
	uv_timer_t check;   /* next question whether all is well */
	size_t handles;
	struct req *reqs; /* in the session */
	struct gw_wait *waits;
	struct req register_req, check_req, rest_req;
	struct prefix4 *locals; /* networks that QUERY called local */
	size_t n_locals;
	uint32_t connect_ms; /* pause before the next try */
	char trouble[160];   /* why there is no registration; "" none */
};

enum hold_use { HOLD_UP, HOLD_LEASE, HOLD_EXEC };

/* A lease wanted, held or not at the moment. */
struct hold {
	struct req req;
	struct hold *next;
	struct gw *gw;
	enum hold_use use;
	struct exec *exec;     /* HOLD_EXEC */
	struct rsip_want want; /* as wished; points at the three below */
	uint32_t *ports_list, *spis_list;
	char *remote_name;
	uint32_t bind_id; /* 0: not held */
	bool asking, freeing;
	/* After a loss: when to ask again, and whether for the same numbers. */
	uint64_t again_ms;
	uint32_t pause_ms;
	bool same;
	uint32_t last_address;
	struct rsip_range last_ports, last_spis; /* lo 0: was no single block */
	/* The first answer, or the end, of what a command waits for. */
	void (*done)(struct hold *hold, int err, const char *why);
	void *done_ctx;
};

struct iface {
	struct iface *next;
	struct gw *gw;
	enum rsip_tunnel type;
	uint32_t local, remote;
	char name[IFNAMSIZ];
	int index;
	bool kernel;
	struct tunnel_owner owner; /* TUN, with the two below */
	struct carrier *carrier;
	struct tunnel_end *end;
	uint32_t table; /* of the rule for its addresses; 0: the main table's */
	uint32_t addrs[HOST_ADDRESSES_MAX]; /* on it now */
	size_t n_addrs;
};

/* Tunnel ends of this process, one a (gateway, type, endpoint). */
struct carrier {
	struct carrier *next;
	struct gw *gw;
	enum rsip_tunnel type;
	uint32_t local, remote;
	struct tunnel *tunnel;
	size_t ends;
};

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

/* Sysctls of this namespace that we change. */
enum saved {
	SAVED_PORT_RANGE,
	SAVED_RESERVED,
	SAVED_ARP_IGNORE,
	SAVED,
};

struct host {
	uv_loop_t *loop;
	struct ipc_server *ipc;
	struct host_conf conf; /* file, below every command's options */
	char socket[108], state[128];
	bool on_demand;        /* started by a command: ends when nothing is left */
	bool end_wanted, stop; /* by a signal; now */
	bool downing;
	struct ipc_call *down; /* who asked for it, or NULL */
	struct up *ups;        /* calls that wait for a lost lease */
	struct nl *nl;
	struct gw *gws;
	struct hold *holds;
	size_t n_holds;
	struct iface *ifaces;
	struct carrier *carriers;
	struct exec *execs;
	uint32_t exec_ids;
	char *saved[SAVED];        /* value before ours; NULL: untouched */
	struct range ike[2];       /* ports that an IKE daemon was given; hi 0: none */
	bool no_kernel[RSIP_L2TP]; /* by tunnel type: this kernel has no such device */
	bool dirty;                /* state to save */
	bool resync;               /* a grant came or went: net_sync() due */
	bool idle;                 /* something ended: is anything left? */
	uv_prepare_t turn;
	uv_timer_t again; /* asks for lost leases */
	uv_timer_t end;   /* gives up waiting for gateways */
};

uint64_t host_now_us(void);
/* Something in the lists above changed: save the state. */
void host_changed(struct host *h);

/* --- gw.c -----------------------------------------------------------------------------
 */

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
/* Before the loop sleeps: timers follow the sessions' deadlines. */
void gw_turn(struct host *h);
/* Connect as the transport needs. */
void gw_start(struct gw *gw);
/* Put a request's tag into the list of those in the session; result of the request. */
int gw_request(struct gw *gw, struct req *req, int result);
void gw_text(const struct gw *gw, char buf[static 24]);

/* --- hold.c ---------------------------------------------------------------------------
 */

struct hold *hold_new(struct gw *gw, enum hold_use use, const struct rsip_want *want);
/* Without telling the gateway. */
void hold_forget(struct hold *hold);
/* Ask; done is called once, with why NULL on success. */
void hold_ask(
	struct hold *hold, void (*done)(struct hold *, int, const char *), void *ctx);
/* Give back and forget; done (or NULL) is called once, then hold is gone. */
void hold_give(
	struct hold *hold, void (*done)(struct hold *, int, const char *), void *ctx);
struct hold *hold_find(const struct host *h, uint32_t bind_id);
const struct rsip_grant *hold_grant(const struct hold *hold); /* NULL: not held */
/* Do its ports and SPIs belong to the interface of `rsip up`? */
bool hold_joins(const struct hold *hold);
/* An event of the session about a binding nobody is waiting for. */
void hold_lost(struct gw *gw, const struct rsip_event *ev);
/* Everything not held is asked for again. */
void hold_again(struct host *h);
/* A sentence about a failed request. */
void hold_why(const struct rsip_event *ev, char *why, size_t size);

/* --- net.c ----------------------------------------------------------------------------
 */

/* Interfaces, routes, sysctls as the holds demand. */
int net_sync(struct host *h, char *why, size_t why_size);
/* Everything as it was; also what a killed daemon left. */
void net_restore(struct host *h);
struct carrier *carrier_get(struct gw *gw, enum rsip_tunnel type, uint32_t remote,
	char *why, size_t why_size);
void carrier_put(struct carrier *c);
/* What a hold lets an end claim; borrowed from the grant. */
bool net_claim(const struct hold *hold, struct tunnel_claim *claim);
struct iface *iface_find(const struct host *h, const struct gw *gw);

/* --- exec.c ---------------------------------------------------------------------------
 */

/*
 * The namespace of process pid gets its only way out by the hold, which must be held; it
 * ends with process `watch` at the latest.
 */
int exec_new(struct hold *hold, int pid, int watch, struct exec **exec, char *why,
	size_t why_size);
/* Free the lease, end the device. done as of hold_give. */
void exec_end(
	struct exec *exec, void (*done)(struct hold *, int, const char *), void *ctx);
struct exec *exec_find(const struct host *h, uint32_t id);
/* Its lease was lost, extended or won again. */
int exec_sync(struct exec *exec, char *why, size_t why_size);

/* --- state.c --------------------------------------------------------------------------
 */

int state_save(const struct host *h);
void state_remove(const struct host *h);
/* What an earlier daemon of this namespace left; 0 also when there is nothing. */
int state_load(struct host *h, char *why, size_t why_size);

/* --- json.c ---------------------------------------------------------------------------
 */

json_t *json_binding(const struct hold *hold);
json_t *json_status(const struct host *h);

/* --- up.c -----------------------------------------------------------------------------
 */

void ops_up(void *ctx, struct ipc_call *call, json_t *params);
void ops_down(void *ctx, struct ipc_call *call, json_t *params);
/* Free and deregister everything, restore the network. */
void down_start(struct host *h);
/* Each turn: is it done? */
void down_check(struct host *h);
void up_check(struct host *h);

/* --- control.c ------------------------------------------------------------------------
 */

extern const struct ipc_method control_methods[];
