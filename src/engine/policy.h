#pragma once

#include "engine/state.h"

/* What a host may do and get: pure functions of the configuration. */

/* The first policy that matches, NULL for none (304). */
const struct engine_policy *policy_find(const struct engine_conf *c, uint32_t host);

/* Is the request type served to this host (V5)?  False is 208. */
bool policy_serves(const struct engine *e, const struct engine_policy *p, uint8_t type);

/* RSIP method and tunnel type numbers to announce, RSAP-IP and IP-IP first. */
size_t policy_methods(
	const struct engine *e, const struct engine_policy *p, uint8_t out[static 3]);
size_t policy_tunnels(const struct engine_policy *p, uint8_t out[static 2]);

/* Seconds granted for a wish (RFC 3103 8.3); 0 or no wish is the default. */
uint32_t policy_lease(const struct engine_policy *p, const struct wire_msg *m);

#define POLICY_NAME 0xffff /* no RSIP error: the addresses of a name are needed */

/*
 * Steps V15 to V18: may this host have this binding under its flow policy?  0, the RSIP
 * error, or POLICY_NAME.  On success the tunnel type and the remote restriction are
 * written.
 */
uint16_t policy_check(const struct engine_policy *p, const struct request *q,
	enum tunnel_type *tunnel, struct remote *remote);

/*
 * Add those of a name's addresses that the policy allows, the lowest first, as long as
 * there is room.  True when one was added.  `remote->flow` is that of the policy.
 */
bool policy_add_remotes(const struct engine_policy *p, const uint32_t *addresses,
	size_t n, struct remote *remote);
