#pragma once

#include "kxd/peers.h"

#include "ike/spki.h"

/* Between peers.c (the table and its calls) and peers_msg.c (what charon is told). */

#define PEER_TEXT 200 /* charon's names end at 255, "kx-" included */
#define CONN_TEXT (PEER_TEXT + 8)
#define ANY_CONN  "kx-any"
#define FILE_MOST 16384

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

/* The files of the configuration; 0, or a code with a sentence in why. */
int own_read(struct own *own, const struct kxd_conf *conf, char *why, size_t why_size);

/* Bodies in malloc()ed memory, NULL when there is none. */
uint8_t *msg_load_key(const struct own *own, size_t *len);
uint8_t *msg_load_conn(const struct own *own, const struct peer *peer, size_t *len);
uint8_t *msg_load_any(const struct own *own, size_t *len);
