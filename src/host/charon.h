#pragma once

#include <jansson.h>

/*
 * strongSwan's charon, after `rsip ike strongswan`: its drop-in follows the leases.  SPIs
 * that changed are told by VICI (reload-settings); IKE ports and cookie prefix charon
 * reads only at its start, so a change of these is said until it was started again.
 */

struct host;
struct charon;

/*
 * From now on keep `file` ("": none, the ports are only reserved) in step; `socket` is
 * charon's VICI socket.  Paths are absolute.  0 or a negative code.
 */
int charon_keep(struct host *h, const char *file, const char *socket);
/* After leases changed. */
void charon_sync(struct host *h);
/* NULL is allowed; memory goes with the loop's close callbacks. */
void charon_free(struct host *h);
/* For `rsip status`, and the state file; null when nothing is kept. */
json_t *charon_json(const struct host *h);
void charon_load(struct host *h, const json_t *o);
