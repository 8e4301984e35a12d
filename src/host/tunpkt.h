#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the daemon does with single packets when it is the tunnel end.  Pure functions on
 * bytes: inner IPv4 packets unless said otherwise.
 */

#define TUNPKT_HEADER   20
#define TUNPKT_ICMP_MAX 576 /* no ICMP error of ours is longer */

struct tunpkt {
	uint32_t src, dst;
	uint8_t proto;
	uint8_t tos;
	bool df;
	bool fragment;      /* any but a whole packet */
	size_t header, len; /* bytes of the header, of the packet by its total length */
};

/* False: no well-formed IPv4 packet of at most `have` bytes. */
bool tunpkt_parse(const uint8_t *p, size_t have, struct tunpkt *t);

/* By what an inbound packet is told apart (RFC 3102 section 3.2, 6.2). */
enum tunpkt_key {
	TUNPKT_NONE, /* nothing that is leased */
	TUNPKT_PORT, /* TCP, UDP; also of a packet of ours that an ICMP error quotes */
	TUNPKT_SPI,  /* ESP, AH */
	TUNPKT_ECHO, /* identifier of an ICMP query */
};

/* The key of a packet from outside. */
enum tunpkt_key tunpkt_key_in(const uint8_t *p, const struct tunpkt *t, uint32_t *number);
/* The identifier of an ICMP query that leaves, to find the answer's owner by. */
bool tunpkt_echo_out(const uint8_t *p, const struct tunpkt *t, uint16_t *id);

/*
 * An IKE message, whole or its first fragment, of an exchange that can carry the SPI of a
 * new SA: Quick Mode, IKE_AUTH, CREATE_CHILD_SA and what is not known better.  Port and
 * non-ESP marker don't matter.  What anybody can make an IKE daemon send, answers to
 * first messages, is not among them.
 */
bool tunpkt_ike_spi(const uint8_t *p, const struct tunpkt *t);

/*
 * The inner ECN field after a tunnel whose outer header says `outer_tos` (RFC 6040
 * section 4.2).  False: the packet must be dropped.  Keeps the header checksum right.
 */
bool tunpkt_ecn_in(uint8_t *p, uint8_t outer_tos);

/*
 * A packet that never left this machine or was joined by the receiving interface may
 * carry an unfinished TCP or UDP checksum, the pseudo header's sum: finish it.
 */
void tunpkt_checksum(uint8_t *p, const struct tunpkt *t);

/*
 * ICMP "fragmentation needed" about packet p in the name of its destination; writes at
 * most TUNPKT_ICMP_MAX bytes and returns how many.
 */
size_t tunpkt_too_big(const uint8_t *p, const struct tunpkt *t, uint16_t mtu,
	uint8_t out[static TUNPKT_ICMP_MAX]);

/* GRE (RFC 2784) without options: the header's length when p is one that carries IPv4,
 * else 0. */
size_t tunpkt_gre(const uint8_t *p, size_t len);
