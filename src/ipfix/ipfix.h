#pragma once

#include "engine/effect.h"

/*
 * NAT events as IPFIX messages (RFC 7011, RFC 8158), from plain data to bytes.  No
 * sockets and no clock: a message that is full, or flushed, is handed to `send`.
 *
 * RFC 8158 has no elements for SPIs; ours are of the enterprise of the configuration:
 * see docs/ipfix.md.
 */

#define IPFIX_MESSAGE_MAX 1400 /* bytes: whole in one frame */

/* Elements of our own. */
enum ipfix_element {
	IPFIX_SPI_FIRST = 1, /* unsigned32 */
	IPFIX_SPI_LAST = 2,  /* unsigned32 */
	IPFIX_BIND = 3,      /* unsigned32 */
	IPFIX_CLIENT = 4,    /* unsigned32 */
	IPFIX_METHOD = 5,    /* unsigned8: enum lease_method + 1 */
	IPFIX_PERCENT = 6,   /* unsigned32 */
};

struct ipfix_conf {
	uint32_t domain;     /* observation domain */
	uint32_t enterprise; /* number of our elements */
	void (*send)(void *ctx, const uint8_t *message, size_t len);
	void *ctx;
};

struct ipfix {
	struct ipfix_conf conf;
	uint32_t sequence; /* data records sent so far, modulo 2^32 */
	uint32_t records;  /* in the message */
	size_t len;        /* of the message; 0: none begun */
	size_t set_at;     /* where its last set begins */
	uint16_t set_id;
	uint8_t message[IPFIX_MESSAGE_MAX];
};

void ipfix_init(struct ipfix *x, const struct ipfix_conf *conf);

/* All templates, in a message of their own: at the start and again and again. */
void ipfix_templates(struct ipfix *x, uint64_t wall_ms);

/* A host has, or has not any more, something of an address. */
void ipfix_binding(struct ipfix *x, const struct lease *l, bool begun, uint64_t wall_ms);
/* Its ranges of ports and SPIs, a record each. */
void ipfix_blocks(struct ipfix *x, const struct lease *l, bool begun, uint64_t wall_ms);
/* More was asked for than there is (address 0: of any). */
void ipfix_exhausted(struct ipfix *x, uint32_t address, uint64_t wall_ms);
/* Or than this host may have: max ports. */
void ipfix_quota(struct ipfix *x, uint32_t host, uint32_t max, uint64_t wall_ms);

struct ipfix_threshold {
	uint32_t pool;    /* its place in the configuration, from 1 */
	uint32_t address; /* 0: the whole pool */
	bool high;
	uint32_t percent, high_mark, low_mark;
};
void ipfix_threshold(struct ipfix *x, const struct ipfix_threshold *t, uint64_t wall_ms);

/* Send what there is. */
void ipfix_flush(struct ipfix *x, uint64_t wall_ms);
