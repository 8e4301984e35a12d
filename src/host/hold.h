#pragma once

#include "host/gw.h"

/* What the daemon wants from a gateway, held or not at the moment. */

enum hold_use { HOLD_UP, HOLD_LEASE, HOLD_FOLLOW, HOLD_EXEC };

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
	uint8_t *peer_data;
	uint32_t bind_id; /* 0: not held */
	bool asking, freeing;
	bool seen;  /* HOLD_FOLLOW: its SA was among the kernel's at the last look */
	bool grown; /* a HOLD_LEASE of our own, because ports ran short */
	uint32_t quiet_s; /* for so long none of its ports has been in use */
	/* After a loss: when to ask again, and whether for the same numbers. */
	uint64_t again_ms;
	uint32_t pause_ms;
	bool same;
	uint32_t last_address;
	struct rsip_range last_ports, last_spis; /* lo 0: was no single block */
	/* SPIs that it had when it was lost: their SAs end unless it gets them again. */
	struct rsip_range *lost_spis;
	size_t n_lost_spis;
	enum rsip_failure failure; /* of the last request */
	uint16_t error;            /* the same */
	/* The first answer, or the end, of what a command waits for. */
	void (*done)(struct hold *hold, int err, const char *why);
	void *done_ctx;
};

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
