#pragma once

#include "dataplane/forward.h"
#include "dataplane/packet/hops.h"
#include "dataplane/packet/silence.h"

#include <net/if.h>

/*
 * Inside of driver `packet`, which is also the slow path of driver `xdp`: what the
 * kernel's programs do not decide comes to these sockets.
 */

struct xdp;

struct dp_watch {
	/* Packets to dst go to this link address now. */
	void (*hop)(void *ctx, enum forward_link link, uint32_t dst,
		const struct link_mac *to);
	/* Netlink was read; `changed`: links, their MTUs or the gateway's addresses. */
	void (*followed)(void *ctx, bool changed);
};

struct dp {
	struct forward forward;
	struct link link[LINKS];
	struct hops hops;
	struct silence silence;
	char interface[LINKS][IF_NAMESIZE];
	bool silenced;
	int poll; /* an epoll descriptor over the others */
	uint64_t now_ms;
	const struct dp_watch *watch; /* or NULL */
	void *watch_ctx;
	struct xdp *xdp; /* of driver xdp */
	uint8_t segment[65536];
};
