#pragma once

#include "kx/rr.h"

/*
 * What a look-up can end in.  RFC 2230 section 4 makes the first three statements of the
 * name's owner; INSECURE and worse say nothing about KX, and above all not that there is
 * none.
 */
enum kx_status {
	KX_SECURE,   /* records, validated, through every CNAME on the way */
	KX_NODATA,   /* proof that the name has no record of this type */
	KX_NXDOMAIN, /* proof that there is no such name */
	KX_INSECURE, /* proof that the zone is not signed: whatever it says is ignored */
	KX_BOGUS,    /* signatures are missing, wrong, or out of their time */
	KX_ERROR, /* no answer: timeout, server failure, cancelled, too much under way */
	KX_STATUSES,
};

/* "SECURE", ... */
const char *kx_status_text(enum kx_status status);

#define KX_RDATA_MAX 64 /* records of one answer that are handed on */

struct kx_rdata {
	const uint8_t *bytes;
	uint16_t len;
};

/* Everything is borrowed for the call that hands it on. */
struct kx_answer {
	enum kx_status status;
	uint32_t ttl_s; /* cut to the signatures' end; SOA minimum for denials; 0 for
			   KX_ERROR */
	struct kx_name canon; /* what the name is called after CNAMEs; len 0: not known */
	size_t n, more;       /* records; how many the answer had above KX_RDATA_MAX */
	struct kx_rdata rdata[KX_RDATA_MAX]; /* empty unless KX_SECURE */
	const char *why;                     /* a sentence for BOGUS and ERROR, else "" */
};
