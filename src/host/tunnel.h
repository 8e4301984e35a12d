#pragma once

#include <rsip/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/*
 * The tunnel end in this process, for kernels without IP-in-IP or GRE and while several
 * consumers share one leased address: raw socket on one side, one TUN device a consumer
 * ("end") on the other.  Inbound packets go to the end that claims their port or SPI.
 */

/* What an end holds: numbers of one leased address. */
struct tunnel_claim {
	const struct rsip_range *ports;
	size_t n_ports;
	const struct rsip_range *spis;
	size_t n_spis;
	uint32_t address;
	bool all; /* RSA-IP: whatever comes to the address */
};

struct tunnel_counters {
	uint64_t in, in_bytes, out, out_bytes; /* carried */
	uint64_t in_malformed; /* outer or inner packet, or GRE with options */
	uint64_t in_ecn; /* RFC 6040: congestion mark on a packet that can't take it */
	uint64_t in_unclaimed; /* for an address, port or SPI that no end holds */
	uint64_t out_source;   /* not from a leased address of that end */
	uint64_t out_foreign;  /* from a port that another end holds */
	uint64_t out_too_big;  /* answered by "fragmentation needed" */
	uint64_t failed;       /* the kernel did not take it */
};

struct tunnel;
struct tunnel_end;

struct tunnel_conf {
	uv_loop_t *loop;
	uint32_t local, remote; /* our address on the link, the gateway's tunnel end */
	enum rsip_tunnel type;
	uint32_t mtu; /* of the inner packets */
};

/* Embedded in what an end belongs to. */
struct tunnel_owner {
	/* The device is gone, perhaps with its network namespace: delete the end. */
	void (*gone)(struct tunnel_owner *owner);
	/*
	 * An IKE message that may carry a new SPI (tunpkt_ike_spi()) wants to leave.
	 * True: it was copied and leaves by tunnel_end_send(), or never.  NULL: nothing
	 * waits.
	 */
	bool (*keeps)(struct tunnel_owner *owner, const uint8_t *p, size_t len);
};

int tunnel_new(const struct tunnel_conf *conf, struct tunnel **tunnel, char *why,
	size_t why_size);
/* Ends must be deleted before.  Memory goes with the loop's close callbacks. */
void tunnel_free(struct tunnel *t);
const struct tunnel_counters *tunnel_counters(const struct tunnel *t);
uint32_t tunnel_mtu(const struct tunnel *t);

/* Takes over fd, a TUN device.  0 or a negative code, and fd is closed. */
int tunnel_end_add(
	struct tunnel *t, int fd, struct tunnel_owner *owner, struct tunnel_end **end);
void tunnel_end_del(struct tunnel_end *end);
/* Send one packet that was kept.  It is borrowed for the call. */
void tunnel_end_send(struct tunnel_end *end, uint8_t *p, size_t len);
/* From now on these; all is copied. */
int tunnel_end_claim(struct tunnel_end *end, const struct tunnel_claim *claims, size_t n);
/* Inner overhead of a type: 20 or 24 bytes. */
uint32_t tunnel_overhead(enum rsip_tunnel type);
