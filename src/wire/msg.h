#pragma once

#include "wire/proto.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * One RSIP message as a struct.  A decoded message borrows from the bytes it was decoded
 * from (lists, names, query tuples, vendor data) and dies with them.
 *
 * A message has parameters with a role: the first Address of an ASSIGN is the local one,
 * the second the remote one, a third in a response the tunnel endpoint (RFC 3103 section
 * 9); the roles are members here.  `has` tells which are present, so that absent and zero
 * differ.
 */

enum wire_role { /* bits of wire_msg.has */
	HAS_ERROR = 1 << 0,
	HAS_CLIENT_ID = 1 << 1,
	HAS_BIND_ID = 1 << 2,
	HAS_LOCAL = 1 << 3,
	HAS_LOCAL_PORTS = 1 << 4,
	HAS_REMOTE = 1 << 5,
	HAS_REMOTE_PORTS = 1 << 6,
	HAS_SPI = 1 << 7,
	HAS_LEASE = 1 << 8,
	HAS_TUNNEL = 1 << 9,  /* n_tunnels >= 1 */
	HAS_METHOD = 1 << 10, /* n_methods >= 1 */
	HAS_FLOW = 1 << 11,
	HAS_COUNTER = 1 << 12,
	HAS_ENDPOINT = 1 << 13,
	HAS_QUERY = 1 << 14,
	HAS_VENDOR = 1 << 15,
	HAS_IKE_IDENTITY = 1 << 16,
};

struct wire_addr {
	uint8_t type;   /* enum rsip_addr_type as on the wire */
	bool dont_care; /* Length 1, or all zero (received only) */
	bool spelled;   /* don't care spelled as all-zero bytes: re-encodes as it came */
	uint32_t v4;    /* host order: ADDR_IPV4, ADDR_NETMASK */
	uint8_t v6[16];
	const char *fqdn; /* not terminated */
	uint8_t fqdn_len;
};

enum wire_form { FORM_DONT_NEED, FORM_DONT_CARE, FORM_BLOCK, FORM_LIST };

struct wire_ports {
	enum wire_form form;
	uint8_t number;      /* ports meant; a block of 1 is a single port */
	uint16_t first;      /* FORM_BLOCK */
	const uint8_t *list; /* FORM_LIST: number fields, big-endian, 2 bytes each */
	bool spelled;        /* don't care spelled as all zero: re-encodes as it came */
	uint8_t spelled_len; /* its Length then, 1 or 3 */
	uint8_t spelled_number; /* and its Number, which may be 0 for one remote port */
};

struct wire_spis {
	enum wire_form form; /* never FORM_DONT_NEED */
	uint16_t number;
	uint32_t first;
	const uint8_t *list; /* 4 bytes each */
};

struct wire_query {
	uint8_t indicator;
	uint8_t indicator_len; /* 1 or 2, as received; answers mirror it */
	struct wire_addr addr; /* address, or network */
	struct wire_addr mask; /* networks only */
};

#define WIRE_TUNNELS_MAX 8
#define WIRE_METHODS_MAX 8

struct wire_msg {
	uint8_t version;
	uint8_t type;
	uint16_t len;
	uint32_t has;
	uint16_t error;
	uint32_t client_id, bind_id, lease_s, counter;
	struct wire_addr local, remote, endpoint;
	struct wire_ports local_ports, remote_ports;
	struct wire_spis spis;
	/* In order of preference, each value once.  However long a list came, the values
	 * of RFC 3103 are all here; unknown ones only while there is room. */
	uint8_t tunnels[WIRE_TUNNELS_MAX];
	uint8_t n_tunnels;
	uint8_t methods[WIRE_METHODS_MAX];
	uint8_t n_methods;
	uint8_t flow_local, flow_remote;
	/* ID type (RFC 2407 4.6.2.1; 0: any peer, no data) and data, as in an ID payload.
	 */
	const uint8_t *ike_identity;
	uint16_t ike_identity_len;
	/* The optional part as bytes: query tuples and vendor parameters are walked
	 * there. */
	const uint8_t *optional;
	size_t optional_len;
	/* For encoding: tuples to write, borrowed; they replace those of `optional`. */
	const struct wire_query *queries;
	size_t n_queries;
};

enum wire_side { SIDE_GATEWAY, SIDE_HOST }; /* who receives */

/*
 * Steps V2 and V3: returns 0, or RSIP_UNSUPPORTED_RSIP_VERSION, or RSIP_BAD_MESSAGE when
 * Overall length is not len.  *type is 0 when there is no such byte.  A datagram of less
 * than RSIP_HEADER_LEN bytes gets no answer at all (V1): look before.
 */
uint16_t wire_header(const uint8_t *bytes, size_t len, uint8_t *type);

/*
 * Steps V5 to V10 of the validation table for a request at a gateway, or the host's
 * checks of a response: RFC 3103 sections 8 and 9, RFC 3104 6.2.  The caller has checked
 * version, length and transport (wire_header).  Returns 0, or the RSIP error number that
 * answers the message (at a host: why it is discarded).  On error *m holds what could be
 * read.  `udp` demands a Message Counter.
 */
uint16_t wire_decode(const uint8_t *bytes, size_t len, enum wire_side side, bool udp,
	struct wire_msg *m);
/* The same, and the messages and parameters of private use are known, too. */
uint16_t wire_decode_private(const uint8_t *bytes, size_t len, enum wire_side side,
	bool udp, struct wire_msg *m);

/*
 * The first Message Counter of Length 4 up to the first parameter that does not fit, for
 * the answer to a broken request; 0 when there is none.  *found tells the two zeros
 * apart.
 */
uint32_t wire_find_counter(const uint8_t *bytes, size_t len, bool *found);
/* Likewise for Client ID and Bind ID (host side: is this faulty grant ours?). */
uint32_t wire_find_u32(const uint8_t *bytes, size_t len, uint8_t param, bool *found);

/*
 * Encode in the order of the grammar (required, then optional; query tuples and vendor
 * parameters from optional/queries).  Returns the length, or ERR_NOSPACE, or ERR_RANGE
 * for a message that lacks what its type requires or has what it may not have.
 */
int wire_encode(const struct wire_msg *m, uint8_t *buf, size_t size);

/* Walk the query tuples of a decoded message; *at starts at 0.  False at the end. */
bool wire_query_next(const struct wire_msg *m, size_t *at, struct wire_query *q);

/* Port or SPI number i of a block or list, 0 <= i < number. */
uint16_t wire_port_at(const struct wire_ports *p, unsigned int i);
uint32_t wire_spi_at(const struct wire_spis *s, unsigned int i);

/*
 * One line of text, parameters in the order of the grammar, for example
 *     ASSIGN_REQUEST_RSAP-IP client=7 local=* ports=*4 remote=www.example.com
 *     remote-ports=80 counter=3 lease=600 tunnel=ipip,gre
 * "*" is don't care, "*4" don't care four times, "-" don't need; a block is "1234-1241",
 * a list "1012,1013", cut behind sixteen: ",+4".  The text depends on what `has` says
 * only, so a message that did not decode shows what could be read.  Returns the length it
 * would need (as snprintf does).
 */
int wire_print(const struct wire_msg *m, char *buf, size_t size);
