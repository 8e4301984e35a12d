#pragma once

#include "ike/strongswan.h"

#include <jansson.h>

/*
 * rsip ike strongswan --check: what is written and what runs against the lease.  One line
 * a finding on stdout; CLI_OK when nothing is wrong.
 */

struct ike_check {
	const struct strongswan *want;
	const char *file;    /* the drop-in */
	const char *socket;  /* charon's VICI */
	const char *swanctl; /* its connections */
	const json_t *status;
};

int ike_check(const struct ike_check *check);
