#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What a host that has its address asks a DHCP server for: DHCPINFORM (RFC 2131 3.4), so
 * that it does not matter which client got the address.  Pure.
 */

#define DHCP_OPTION_DEFAULT 224 /* of the site's own (A-L-08) */
#define DHCP_GATEWAYS       8
#define DHCP_SCOPES         128
#define DHCP_MESSAGE_MAX    1500

struct dhcp_ask {
	uint32_t xid, address;
	uint8_t mac[6];
	uint8_t option; /* whose value is addresses of gateways, the best first */
};

struct dhcp_answer {
	uint32_t gateways[DHCP_GATEWAYS];
	size_t n_gateways;
	uint32_t slp_agent;           /* option 78, the first; 0: none */
	char slp_scopes[DHCP_SCOPES]; /* option 79; "" none */
};

/* The length. */
size_t dhcp_inform(const struct dhcp_ask *a, uint8_t buf[static DHCP_MESSAGE_MAX]);
/* Is it the DHCPACK to this question?  Then its answer. */
bool dhcp_read(const struct dhcp_ask *a, const uint8_t *bytes, size_t len,
	struct dhcp_answer *answer);
