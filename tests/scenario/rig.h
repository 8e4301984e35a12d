#pragma once

#include "engine/engine.h"
#include "model.h"
#include "setup.h"

#define RIG_FAULT_MAX 400

/*
 * An engine on a bench: fake clock, seeded random numbers, a store and a data plane made
 * of nothing but its effects, and a list of everything that hosts were told.  Every call
 * below drives the engine and watches its effects; rig_check() then compares all of them
 * with each other.  The first thing found wrong stays in `fault`.
 */

struct rig_effect {
	enum effect_kind kind;
	struct peer to; /* replies */
	uint8_t *bytes;
	size_t len;
	bool async, close;
	uint16_t error;
	char *text; /* as words, where rig.words is set */
	bool taken; /* free for the reader of the log */
};

struct rig_client { /* a Client ID that was handed out, and to whom */
	uint32_t client_id, host;
};
struct rig_bind { /* likewise a Bind ID */
	uint32_t bind_id, host, client_id;
	bool ended; /* its end was acknowledged */
};

#define RIG_NAMES 64
struct rig_name { /* that the engine asked for */
	uint64_t token;
	char name[254];
};

struct rig {
	struct engine *engine;
	struct setup setup;
	uint64_t seed;
	uint64_t now_ms;
	bool words; /* spell effects as text */
	bool quick; /* leave out engine_invariants(), which is slow */

	struct rig_effect *log; /* since rig_clear() */
	size_t n_log, log_room;

	struct model store, plane;
	struct model told; /* leases and registrations that hosts were told they hold */
	struct rows clients, binds; /* by ID: every one ever handed out */
	struct rows gone;           /* Bind and Client IDs deleted in this call */

	unsigned long persists; /* so far */
	unsigned long crash_at; /* the store stops before this one; 0: never */
	bool crashed;
	bool lost; /* the power fails before this call's effects are stored */
	bool torn; /* the store has half of what one call wrote */

	/* The request in work, and the last one of each source. */
	const struct peer *from;
	const uint8_t *request;
	size_t request_len;
	bool repeated; /* byte for byte, and nothing was stored on it */
	struct rows last;

	struct rig_name names[RIG_NAMES]; /* not yet resolved */
	size_t n_names;
	/* Addresses that the pools once had, in `seen` of rig_check(). */
	char fault[RIG_FAULT_MAX];
};

void rig_init(struct rig *r, const struct setup *setup, uint64_t seed);
void rig_fini(struct rig *r);

void rig_message(
	struct rig *r, const struct peer *from, const uint8_t *bytes, size_t len);
/* Let time pass, with a tick at every deadline of the engine. */
void rig_until(struct rig *r, uint64_t ms);
void rig_conn_closed(struct rig *r, uint64_t conn);
void rig_misuse(struct rig *r, uint32_t host, uint16_t error, uint32_t bind_id);
/* An answer for names[i], which is forgotten. */
void rig_resolved(struct rig *r, size_t i, const uint32_t *addresses, size_t n);
int rig_release(struct rig *r, uint32_t bind_id);
int rig_deregister(struct rig *r, uint32_t client_id);
int rig_reload(struct rig *r, const struct setup *setup);
/* The next call is the last of this engine, and nothing of it is stored or sent. */
void rig_lose(struct rig *r);
/* A new engine, after some time, from what the store has or from nothing. */
void rig_restart(struct rig *r, bool with_store, uint64_t down_ms);

/* True while the engine runs, for what watches or disturbs its allocations. */
extern bool rig_in_engine;

/* Forget the log. */
void rig_clear(struct rig *r);
/* The next reply of the log that nobody took, NULL for none. */
struct rig_effect *rig_reply(struct rig *r);

/* Everything against everything; true when nothing is or was wrong. */
bool rig_check(struct rig *r);
void rig_fail(struct rig *r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Ranges of a Ports or SPI parameter in joined form; false for one without numbers. */
struct tlv;
bool rig_ranges(const struct tlv *p, size_t number_size, size_t field_size,
	struct range **ranges, size_t *n);
