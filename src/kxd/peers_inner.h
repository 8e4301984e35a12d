#pragma once

#include "kxd/peers.h"

#include "ike/spki.h"

/*
 * Between peers.c (the table and its calls), peers_msg.c (what charon is told) and
 * peers_charon.c (what charon tells, and its coming and going).
 */

#define PEER_TEXT 200 /* charon's names end at 255, "kx-" included */
#define CONN_TEXT (PEER_TEXT + 8)
#define ANY_CONN  "kx-any"
#define FILE_MOST 16384
#define STRANGERS 64

struct child {
	uint32_t local, remote;
	uint32_t pair;   /* of the decisions; 0: the peer asked for it */
	uint32_t up;     /* its SAs */
	bool asked;      /* an initiate is under way */
	bool authorised; /* the peer may begin */
	uint64_t used_ms;
	char name[40];
};

struct peer {
	struct peer *next;
	struct peers *of;
	struct kx_name name;
	char text[PEER_TEXT]; /* without the final dot */
	char conn[CONN_TEXT];
	struct kx_addr addrs[KX_ADDRS_MAX];
	size_t n_addrs;
	uint16_t port;
	struct {
		uint8_t bytes[SPKI_MAX];
		size_t len;
	} keys[KX_KEYS_MAX];
	size_t n_keys;
	struct child children[CHILDREN_MAX];
	size_t n_children;
	uint32_t ops; /* that point here */
	bool loading, dirty, loaded;
	uint64_t used_ms;
};

struct file {
	size_t len;
	char text[FILE_MOST];
};

/* What every connection has in common. */
struct own {
	const struct kxd_conf *conf;
	struct file key, certificate, ca;
	uint8_t spki[SPKI_MAX];
	size_t spki_len;
};

enum op_state {
	OP_LOAD,   /* waits for its peer's load */
	OP_READY,  /* to be asked */
	OP_ASKED,  /* charon has it, and will answer */
	OP_FAILED, /* to be ended */
};

/* One peers_connect() under way. */
struct op {
	struct op *next;
	struct peers *of;
	struct peer *peer;
	uint32_t pair, local, remote, timeout_ms;
	enum op_state state;
	enum kx_ike result; /* what charon's words came to */
};

/* An IKE_SA of kx-any: known by a certificate, authorised for nothing. */
struct stranger {
	char id[PEER_TEXT], number[16];
};

struct peers {
	struct peers_conf conf;
	uv_loop_t *loop;
	struct own own;
	struct vici *vici;
	uv_timer_t later, sweep;
	struct peer *first;
	struct op *ops;
	struct stranger strangers[STRANGERS];
	size_t next_stranger;
	unsigned int leaving; /* commands that end what an earlier run left */
	struct peers_counters counters;
	bool ready, down; /* neither: it is being reached */
	unsigned int closing;
};

/* --- peers.c --- */
/* One command; takes over body (NULL: no memory). */
int peers_call(struct peers *p, const char *name, uint8_t *body, size_t len,
	uint32_t timeout_ms, vici_done done, vici_said said, void *arg);
/* End SAs by one or two keys; what does not work is not there. */
void peers_end(struct peers *p, const char *a, const char *a_value, const char *b,
	const char *b_value);
void peers_unload(struct peers *p, const char *conn);
bool peers_succeeded(int err, const uint8_t *body, size_t len);
/* Make charon's connection what the table says. */
void peers_load(struct peers *p, struct peer *peer);
void peers_child_drop(struct peers *p, struct peer *peer, struct child *c);
/* What waits for a load fails: there is nobody to load. */
void peers_ops_fail(struct peers *p);

/* --- peers_charon.c --- */
void charon_event(void *ctx, const char *name, const uint8_t *body, size_t len);
void charon_state(void *ctx, bool up, const char *why);
void charon_key_load(struct peers *p);

/* --- peers_msg.c --- */
/* The files of the configuration; 0, or a code with a sentence in why. */
int own_read(struct own *own, const struct kxd_conf *conf, char *why, size_t why_size);

/* Bodies in malloc()ed memory, NULL when there is none. */
uint8_t *msg_load_key(const struct own *own, size_t *len);
uint8_t *msg_load_conn(const struct own *own, const struct peer *peer, size_t *len);
uint8_t *msg_load_any(const struct own *own, size_t *len);
