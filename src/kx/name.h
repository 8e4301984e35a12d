#pragma once

#include "base/rd.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Names and addresses as signed DNS has them.  Pure.
 *
 * A name is always absolute, in wire form and lower case, so that two equal names are
 * equal bytes (RFC 4034 section 6.2).
 */

#define KX_NAME_MAX  255  /* bytes on the wire, root label included */
#define KX_NAME_TEXT 1024 /* room that every name's text fits in, NUL included */

struct kx_name {
	uint8_t len; /* 0: no name; 1: the root */
	uint8_t wire[KX_NAME_MAX];
};

/*
 * The next name of r, lowered.  A compression pointer, a label of more than 63 bytes and
 * a name of more than 255 are ERR_MALFORMED: RDATA of KX must not be compressed (RFC 2230
 * section 3.1), and a validator hands out no pointers at all.
 */
int kx_name_decode(struct rd *r, struct kx_name *name);
/* "gw.example.net" or with the final dot; escapes \. and \DDD.  0 or ERR_MALFORMED. */
int kx_name_parse(const char *text, struct kx_name *name);
/* With the final dot; bytes that are not letters, digits, - or _ escaped.  Returns buf.
 */
char *kx_name_format(const struct kx_name *name, char buf[static KX_NAME_TEXT]);
bool kx_name_same(const struct kx_name *a, const struct kx_name *b);
/* Canonical order of RFC 4034 section 6.1: labels from the right. */
int kx_name_compare(const struct kx_name *a, const struct kx_name *b);
bool kx_name_is_root(const struct kx_name *name);
/* name is zone, or below it. */
bool kx_name_within(const struct kx_name *name, const struct kx_name *zone);
/* front ("_isakmp._udp") before name; ERR_NOSPACE when it gets too long. */
int kx_name_prefix(const char *front, const struct kx_name *name, struct kx_name *out);

/* IPv4 or IPv6, bytes as on the wire. */
struct kx_addr {
	uint8_t len; /* 4 or 16; 0: none */
	uint8_t b[16];
};

#define KX_ADDR_TEXT 48 /* INET6_ADDRSTRLEN and more */

int kx_addr_parse(const char *text, struct kx_addr *a);
char *kx_addr_format(const struct kx_addr *a, char buf[static KX_ADDR_TEXT]);
bool kx_addr_same(const struct kx_addr *a, const struct kx_addr *b);
/* IPv4 from the host-order number of base/addr.h. */
struct kx_addr kx_addr_from4(uint32_t addr);
/* Its name under in-addr.arpa or ip6.arpa. */
void kx_addr_reverse(const struct kx_addr *a, struct kx_name *name);
/* The address whose reverse name that is; ERR_MALFORMED for any other name. */
int kx_addr_from_reverse(const struct kx_name *name, struct kx_addr *a);

struct kx_prefix {
	struct kx_addr addr; /* host bits zero */
	uint8_t len;         /* 0..32 or 0..128 */
};

#define KX_PREFIX_TEXT (KX_ADDR_TEXT + 4)

/* "ADDRESS[/LEN]", either family.  Host bits set are ERR_RANGE. */
int kx_prefix_parse(const char *text, struct kx_prefix *p);
char *kx_prefix_format(const struct kx_prefix *p, char buf[static KX_PREFIX_TEXT]);
bool kx_prefix_has(const struct kx_prefix *p, const struct kx_addr *a);
/* Is all of inner in outer? */
bool kx_prefix_within(const struct kx_prefix *inner, const struct kx_prefix *outer);
bool kx_prefix_is_host(const struct kx_prefix *p);
struct kx_prefix kx_prefix_host(const struct kx_addr *a);
