#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The records of strongSwan's error-notify plugin: what charon refused, whom and why.
 * Pure.  The layout is charon's own structure and the text of a refused selector its
 * log's, neither of them promised to stay; so whatever does not read exactly as known is
 * ERR_MALFORMED, and nothing is ever granted on it.
 */

#define ENFY_RECORD   768 /* bytes of one record */
#define ENFY_ID_MAX   256
#define ENFY_TEXT_MAX 384

enum enfy_type {
	ENFY_PEER_AUTH_FAILED = 3,
	ENFY_TS_MISMATCH = 10,
	ENFY_INSTALL_SA_FAILED = 11,
	ENFY_INSTALL_POLICY_FAILED = 12,
};

struct enfy {
	int32_t type; /* others than enum enfy_type exist and are of no interest */
	char text[ENFY_TEXT_MAX];
	char id[ENFY_ID_MAX]; /* the peer's identity; authenticated for ENFY_TS_MISMATCH
			       */
	uint32_t addr;        /* the peer's, host order; 0 when it is no IPv4 address */
	uint16_t port;
};

/* Texts end in their field, are printable, and nothing stands behind the end. */
int enfy_decode(const uint8_t record[static ENFY_RECORD], struct enfy *e);

/*
 * The selectors that a peer asked for, as ENFY_TS_MISMATCH names them: the peer's side
 * first.  0 when both are exactly one address without protocol and port; ERR_RANGE when
 * they read well but are more than that; else ERR_MALFORMED.
 */
int enfy_selectors(const char *text, uint32_t *theirs, uint32_t *ours);
