#pragma once

#include "host/tunnel.h"

#include <jansson.h>

/*
 * SPI discipline for any IKE daemon ("spi-mode = follow"): the daemon chooses its SPIs as
 * ever, and each is leased by name before the IKE message that carries it leaves.
 *
 * Where this process is the tunnel's end, such a message waits in here until the kernel's
 * SAs towards the leased address, larval ones among them, all have their leases, for
 * FOLLOW_KEEP_MS at most.  What is refused ends, so that the daemon negotiates again.
 * When an SA has gone its lease is given back.
 */

struct host;
struct iface;
struct gw;
struct hold;
struct follow;

#define FOLLOW_KEEP_MS 3000

/* Needs the kernel's XFRM (sas_open() before): else a negative code and the reason. */
int follow_start(struct host *h, char *why, size_t why_size);
/* NULL is allowed.  Memory goes with the loop's close callbacks. */
void follow_free(struct follow *f);
/* For struct tunnel_owner: does the message wait in here? */
bool follow_keeps(struct iface *i, const uint8_t *p, size_t len);
/* The interface is going: what waits is lost, IKE sends it again. */
void follow_forget(struct follow *f, const struct iface *i);
/* Once a second: what no event told. */
void follow_tick(struct host *h);
/* A lost lease of ours (HOLD_FOLLOW) was refused when asked for again. */
void follow_refused(struct hold *hold, const char *why);
/* Counters; null while no gateway is followed. */
json_t *follow_json(const struct host *h);
