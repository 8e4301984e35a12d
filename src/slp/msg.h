#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Messages of the Service Location Protocol, version 2 (RFC 2608 section 8): those that a
 * host needs to find a gateway and a gateway to be found (RFC 3105).  Pure.
 *
 * Authentication blocks and extensions are stepped over; none is ever written.
 */

#define SLP_PORT         427
#define SLP_GROUP        0xeffffffdU /* 239.255.255.253 */
#define SLP_DATAGRAM     1400        /* what is sent at most (RFC 2608 6.1) */
#define SLP_URLS_MAX     16
#define SLP_LIFETIME_MAX 65535

enum slp_function {
	SLP_SRV_RQST = 1,
	SLP_SRV_RPLY,
	SLP_SRV_REG,
	SLP_SRV_DEREG,
	SLP_SRV_ACK,
	SLP_ATTR_RQST,
	SLP_ATTR_RPLY,
	SLP_DA_ADVERT,
	SLP_TYPE_RQST,
	SLP_TYPE_RPLY,
	SLP_SA_ADVERT,
};

enum slp_flag { SLP_OVERFLOW = 0x8000, SLP_FRESH = 0x4000, SLP_MULTICAST = 0x2000 };

enum slp_error {
	SLP_OK = 0,
	SLP_LANGUAGE_NOT_SUPPORTED = 1,
	SLP_PARSE_ERROR = 2,
	SLP_INVALID_REGISTRATION = 3,
	SLP_SCOPE_NOT_SUPPORTED = 4,
	SLP_VER_NOT_SUPPORTED = 9,
};

/* Bytes of the message, or of whoever fills one in; not terminated. */
struct slp_text {
	const char *at;
	size_t len;
};

struct slp_url {
	uint16_t lifetime_s;
	struct slp_text url;
};

/* What a function does not have is zero. */
struct slp_msg {
	enum slp_function function;
	uint16_t flags; /* enum slp_flag */
	uint16_t xid;
	struct slp_text language;   /* "" is written as "en" */
	uint16_t error;             /* enum slp_error, or one that we do not know */
	uint32_t boot;              /* DAAdvert: seconds since 1970, 0: it goes */
	struct slp_text responders; /* addresses that have answered already */
	struct slp_text type;       /* service type; in TYPE_RPLY a list of them */
	struct slp_text scopes, predicate, spi;
	struct slp_text url;  /* or, in ATTR_RQST, a service type */
	struct slp_text tags; /* attribute names asked for, or to withdraw */
	struct slp_text attributes;
	struct slp_url urls[SLP_URLS_MAX]; /* SRV_REG and SRV_DEREG: the first */
	size_t n_urls;                     /* more than fit are left out */
};

/*
 * ERR_MALFORMED; ERR_VERSION for another version; ERR_UNSUPPORTED for a function without
 * a name above.  The texts of m point into bytes.
 */
int slp_decode(const uint8_t *bytes, size_t len, struct slp_msg *m);
/* The length, or 0 when it does not fit. */
size_t slp_encode(const struct slp_msg *m, uint8_t *buf, size_t size);
