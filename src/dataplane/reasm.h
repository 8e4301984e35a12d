#pragma once

#include "dataplane/core/ip4.h"
#include "dataplane/htab.h"

#include <stddef.h>
#include <sys/queue.h>

/*
 * Reassembly of IPv4 fragments (RFC 791, RFC 3102 section 3.1) in bounded memory.  Any
 * overlap kills the whole datagram; what is not whole after 30 s is dropped.
 */

#define REASM_TIMEOUT_MS 30000
#define REASM_MAX        256 /* datagrams at once; the oldest makes room */
#define REASM_PER_SOURCE 32

enum reasm_result {
	REASM_HELD,    /* more is missing */
	REASM_DONE,    /* the datagram is whole */
	REASM_OVERLAP, /* it is dead */
	REASM_BAD,     /* no fragment that could belong to a datagram */
	REASM_IGNORED, /* belongs to a datagram that was killed before */
};

struct reasm_entry;
TAILQ_HEAD(reasm_list, reasm_entry);

struct reasm {
	struct htab keys;
	struct reasm_list waiting; /* oldest first */
	struct reasm_list spare;
	struct reasm_entry *storage;
	uint32_t used;
	uint64_t evicted; /* datagrams that made room for others */
};

/* A datagram that was not finished in time. */
struct reasm_gone {
	uint32_t realm;
	const uint8_t
		*head; /* its first fragment's header and 8 bytes, or NULL; borrowed */
	size_t head_len;
};

int reasm_init(struct reasm *r, uint64_t secret);
void reasm_fini(struct reasm *r);

/*
 * Add the fragment at p (ip: its parsed header).  realm tells apart equal addresses of
 * different links or hosts.  With REASM_DONE *whole is the packet, its checksum right and
 * its fragment fields zero (DF kept), borrowed until the next call.
 */
enum reasm_result reasm_add(struct reasm *r, uint32_t realm, const uint8_t *p,
	const struct ip4 *ip, uint64_t now_ms, uint8_t **whole, size_t *len);

/* Take one datagram that is past its time: true, or false when there is none. */
bool reasm_expire(struct reasm *r, uint64_t now_ms, struct reasm_gone *gone);
/* When the oldest is due; UINT64_MAX for never. */
uint64_t reasm_deadline(const struct reasm *r);
