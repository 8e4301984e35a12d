#pragma once

#include "kx/decide.h"

/*
 * A gateway's decisions played with a fake clock and fake DNS.  Look-ups are answered at
 * once from rows, unless a row says never; what else is decided is written down as lines:
 *
 *     connect d.d-net.test. r2.d-net.test. 203.0.113.1 [port 5400] [key]
 *     pass|drop REASON SECONDS         terminate REASON PEER
 *     authorise|refuse TOKEN REASON    trust TOKEN NAME KEYS
 *     unshunt, log REASON, cover NAME ADDRESSES
 */

#define RIG_ROWS  512
#define RIG_LINES 4096

struct rig_row {
	struct kx_name name;
	uint16_t type;
	enum kx_status status;
	uint32_t ttl_s;
	const char *records; /* zone file text, ';' between; "never": no answer comes */
	const char *canon;   /* or NULL */
};

struct rig {
	struct kx *kx;
	struct kx_policy *policy;
	struct kx_conf conf;
	struct rig_row rows[RIG_ROWS];
	size_t n_rows;
	char *lines; /* since the last rig_take() */
	size_t n_lines, asked;
	uint64_t now_ms, wake_ms;
	uint32_t pair;      /* of the last connect */
	uint32_t never[64]; /* asks without an answer */
	size_t n_never, cancelled;
	struct kx_name never_name[64];
	bool count_only; /* lines are counted, not kept: for floods */
};

/* Before rig_start(): conf and policy may be changed. */
void rig_init(struct rig *r);
void rig_rule(struct rig *r, const char *group, const char *prefix);
void rig_start(struct rig *r);
void rig_free(struct rig *r);

void rig_set(struct rig *r, const char *name, uint16_t type, enum kx_status status,
	uint32_t ttl_s, const char *records);
void rig_cname(struct rig *r, const char *name, uint16_t type, const char *canon,
	const char *records);
/* PTR of an address. */
void rig_ptr(struct rig *r, const char *addr, enum kx_status status, uint32_t ttl_s,
	const char *records);
/* d.d-net.test at 203.0.113.10 with exchanger r2 (and key), all secure; r1 is ours. */
void rig_world(struct rig *r);

void rig_packet(struct rig *r, const char *source, const char *destination);
void rig_inbound(struct rig *r, uint32_t token, const char *peer, const char *peer_addr,
	const char *remote, const char *local);
void rig_id(struct rig *r, uint32_t token, const char *peer, const char *peer_addr);
void rig_ike(struct rig *r, enum kx_ike ike);
/* Time passes; every wake-up on the way happens. */
void rig_pass(struct rig *r, uint64_t ms);
void rig_event(struct rig *r, struct kx_event *ev);
/* An answer to what was held back by "never": by its place. */
void rig_answer(struct rig *r, size_t i, enum kx_status status);
/* What happened since, lines joined by ", "; valid until the next call. */
const char *rig_take(struct rig *r);
