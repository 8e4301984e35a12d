#pragma once

#include "dataplane/core/flow.h"
#include "dataplane/core/tunnel.h"
#include "dataplane/forward.h"

/*
 * Inside of forward: one packet on its way.  The steps of forward_in.c and forward_out.c
 * share it and the few ways to send that pass.c has.
 */
struct pass {
	struct forward *f;
	uint64_t now_ms;
	enum dp_direction dir;
	uint8_t *p;
	struct ip4 ip;
	struct flow flow;
	bool joined; /* came in fragments: may leave so, whatever DF says */
	/* The tunnel it came by; host 0: from the public link. */
	uint32_t host, gateway;
	enum tunnel_type tunnel;
	uint8_t outer_tos;
	const struct tlease *lease; /* the host's, for the error it may earn */
};

/* Parse at p; false: not a whole, well-formed packet. */
bool pass_begin(struct pass *s, uint8_t *p, size_t len);
/* Read what is behind the IP header. */
void pass_read_flow(struct pass *s);
const uint8_t *pass_payload(const struct pass *s);
const uint8_t *pass_end(const struct pass *s);

/*
 * Join a fragment with its like.  True when s now is a whole packet (at once if it was no
 * fragment); false when it is kept or was dropped and counted.
 */
bool pass_join(struct pass *s, struct reasm *r, uint32_t realm);

/* Count the fate of the packet; a misuse is told to the program. */
void pass_drop(struct pass *s, enum dp_reason reason);
void pass_count(struct pass *s, uint32_t bytes);

/* An ICMP error about this packet to whoever sent it, within the rate. */
void pass_icmp(struct pass *s, uint8_t type, uint8_t code, uint32_t rest);
/* Send a packet back to where this one came from (its destination is set already). */
bool pass_return(struct pass *s, const uint8_t *packet, uint16_t len, uint32_t dst);

/* Send p as fragments of at most mtu bytes each. */
bool pass_fragments(struct forward *f, enum forward_link link, uint32_t dst,
	const uint8_t *p, uint16_t len, uint32_t mtu);
/* Send p through a tunnel to a host; `split` allows fragments whatever DF says. */
bool pass_tunnel(struct forward *f, const uint8_t *p, const struct ip4 *ip,
	enum tunnel_type tunnel, uint32_t gateway, uint32_t host, uint32_t mtu,
	bool split);

/*
 * The packet that an ICMP error quotes; false when its header is cut.  FLOW_NONE when the
 * eight bytes behind that are.
 */
bool pass_quoted(const struct pass *s, struct ip4 *ip, struct flow *flow);

/*
 * The lease of a port, or NULL.  Port 500 is IKE's, so who leases it (RFC 3104 appendix
 * G) has it for UDP.
 */
struct tlease *pass_by_port(const struct pass *s, const struct taddr *a, uint16_t port);

/*
 * A port's lease is l; may it be used with this remote, in this tunnel (0: any)?  Where
 * the host's leases share the port, one that allows suffices (A-D-03 of the catalogue):
 * *l becomes that one, else the one that got furthest.
 */
enum dp_reason pass_remote(const struct pass *s, uint16_t port, enum tunnel_type tunnel,
	uint32_t remote, uint16_t remote_port, const struct tlease **l);

/* The inbound procedure on a packet to a pool address; false: left to the kernel. */
bool pass_inbound(struct pass *s);
