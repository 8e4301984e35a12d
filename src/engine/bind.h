#pragma once

#include "engine/state.h"

/* The bindings: who holds what, until when. */

struct bind *bind_find(const struct engine *e, uint32_t bind_id);

/* What a new binding holds; ranges are borrowed. */
struct bind_grant {
	uint32_t id;
	uint32_t gateway;
	enum lease_method method;
	enum tunnel_type tunnel;
	struct remote remote;
	const char *name; /* of the remote; copied */
	uint8_t name_len; /* 0: none */
	uint64_t granted_ms, expires_ms, now_ms;
	struct pool_addr *addr;
	const struct range *ports, *spis; /* sorted, disjoint */
	size_t n_ports, n_spis;
	const uint8_t *ike_id; /* METHOD_IKE; held by no other binding of the address */
	uint16_t ike_id_len;
};

/*
 * Make a binding and take what it holds; nothing is taken when it fails (-ENOMEM).
 * Emits nothing.  Ports of a LISTEN may be held by the same host already.
 */
int bind_add(
	struct engine *e, struct reg *r, const struct bind_grant *g, struct bind **out);

/*
 * End a binding: what it held rests, the data plane and the store are told.  Emits no
 * message, except with `notify` (also for listeners that end with an RSA-IP address).
 */
void bind_end(struct engine *e, struct bind *b, enum end_reason reason, bool notify,
	uint64_t now_ms);

/* Does the host hold this port of this address? */
bool bind_holds_port(const struct reg *r, const struct pool_addr *a, uint32_t port);

/*
 * A listener that was put back before the RSA-IP binding of its address: its ports are
 * the owner's, as for one made later.
 */
void bind_note(struct bind *b);

uint16_t bind_on_extend(struct engine *e, struct request *q);
uint16_t bind_on_free(struct engine *e, struct request *q);
