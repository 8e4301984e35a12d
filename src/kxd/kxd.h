#pragma once

#include "base/limit.h"
#include "ike/notify.h"
#include "ipc/ipc.h"
#include "kx/resolve.h"
#include "kxd/hold.h"
#include "kxd/peers.h"
#include "kxd/traps.h"
#include "metrics/http.h"
#include "metrics/metrics.h"

/*
 * rsip-kxd: the loop between the kernel (traps, the queue), signed DNS, the decisions of
 * src/kx and strongSwan.  It decides nothing itself.
 */

#define KXD_ACQUIRES 1024 /* waiting states of the kernel that are remembered */
#define KXD_LATER    64   /* events that came up inside of a step */

struct kxd_counters {
	uint64_t acquires, overruns, ignored, inbound, unreadable, policy_errors;
};

struct kxd {
	/* Set by the caller. */
	const char *config_file, *socket; /* socket NULL: as configured */
	struct kxd_conf *conf;

	/* The rest belongs to kxd_open(). */
	uv_loop_t *loop, storage;
	struct kx *kx;
	struct kx_resolve *resolve;
	struct spd *spd;
	struct traps traps;
	struct peers *peers;
	struct notify *notify;
	struct hold *hold;
	struct ipc_server *ipc;
	struct metrics_http *http;
	uv_timer_t wake, settle;
	uv_signal_t hup, term, interrupt;
	uv_poll_t links; /* the machine's addresses change */
	int links_fd;
	struct {
		uint32_t src, dst, seq;
	} acquires[KXD_ACQUIRES];
	size_t next_acquire;
	struct kx_event later[KXD_LATER];
	size_t n_later;
	bool stepping;
	uint32_t token; /* of the last inbound question */
	uint64_t started_ms;
	struct kxd_counters counters;
	char charon[KXD_WHY]; /* why it does not answer; "" when it does */
	bool notify_up;
	struct limit told;
};

/* 0; ERR_CONFIG or another code with a sentence in why: kxd_close() is still due. */
int kxd_open(struct kxd *d, char *why, size_t why_size);
/* Until a signal ends it. */
int kxd_run(struct kxd *d);
void kxd_close(struct kxd *d);

/* Hand an event to the decisions and carry out what they say. */
void kxd_event(struct kxd *d, struct kx_event *event);
/* Read the configuration anew; a bad one changes nothing. */
int kxd_reload(struct kxd *d, char *why, size_t why_size);

/* kxd_control.c, kxd_metrics.c */
extern const struct ipc_method kxd_methods[];
void kxd_metrics_collect(void *ctx, const struct metrics_sink *to);
/* What the core must know of the configuration. */
void kxd_core_conf(const struct kxd_conf *from, struct kx_conf *to);
