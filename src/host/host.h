#pragma once

#include "host/charon.h"
#include "host/exec.h"
#include "host/follow.h"
#include "host/nl.h"
#include "host/sas.h"
#include "ipc/ipc.h"

/*
 * What rsip-hostd holds: gateways (struct gw), what it wants from them (struct hold), the
 * interfaces that follow from that (struct iface), namespaces of `rsip exec` (struct
 * exec).
 *
 * The rule that keeps it simple: requests and events change holds; net_sync() makes
 * interfaces, routes and sysctls follow; state_save() writes down what a successor needs.
 */

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
	struct publish *publish; /* NULL: no name */
	struct ipc_call *down;   /* who asked for it, or NULL */
	struct up *ups;          /* calls that wait for a lost lease */
	struct nl *nl;
	struct nl *xfrm;       /* NULL: no SAs in this kernel */
	uint64_t sas_ended;    /* because their lease ended */
	struct follow *follow; /* NULL: nobody asked for it yet */
	struct charon *charon; /* NULL: `rsip ike strongswan` was not called */
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
	struct route4 former;      /* the default route last seen; oif 0: none */
	bool dirty;                /* state to save */
	bool resync;               /* a grant came or went: net_sync() due */
	uint32_t idle_s;           /* for so long there has been no gateway */
	size_t seeking;            /* commands whose gateway is looked for */
	bool idle;                 /* something ended: is anything left? */
	uv_prepare_t turn;
	uv_poll_t watch;  /* somebody changed links, addresses or routes */
	uv_timer_t moved; /* when it has settled */
	int watch_fd;
	uv_timer_t grow;  /* looks whether ports run short */
	uv_timer_t again; /* asks for lost leases */
	uv_timer_t end;   /* gives up waiting for gateways */
};

uint64_t host_now_us(void);
/* Something in the lists above changed: save the state. */
void host_changed(struct host *h);

/* state.c */
int state_save(const struct host *h);
void state_remove(const struct host *h);
/* What an earlier daemon of this namespace left; 0 also when there is nothing. */
int state_load(struct host *h, char *why, size_t why_size);

/* json.c */
json_t *json_binding(const struct hold *hold);
json_t *json_status(const struct host *h);

/* up.c */
void ops_up(void *ctx, struct ipc_call *call, json_t *params);
void ops_down(void *ctx, struct ipc_call *call, json_t *params);
/* Free and deregister everything, restore the network. */
void down_start(struct host *h);
/* Each turn: is it done? */
void down_check(struct host *h);
void up_check(struct host *h);
/* The gateway is about to go. */
void up_forget(struct host *h, const struct gw *gw);

/* grow.c */
/* Once a second while something is up. */
void grow_tick(struct host *h);

/* control.c */
extern const struct ipc_method control_methods[];
