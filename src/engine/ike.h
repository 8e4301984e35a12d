#pragma once

#include "engine/state.h"

/*
 * Who hears IKE that a peer begins on a shared address (RFC 3104 appendix G): one host
 * for each identity of an initiator, and one for all others (identity type 0).  An
 * identity is as in parameter IKE Identity: type, then data.
 */

/* The binding that holds this identity on the address, or NULL. */
struct bind *ike_find(
	const struct engine *e, uint32_t address, const uint8_t *id, size_t len);
/* Room for one more; 0 or -ENOMEM. */
int ike_reserve(struct engine *e);
/* Its identity is its own now; needs room, and an identity that is not there yet. */
void ike_add(struct engine *e, struct bind *b);
void ike_del(struct engine *e, struct bind *b);
