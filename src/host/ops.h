#pragma once

#include "host/host.h"

/*
 * What a control call asks for: options over the daemon's configuration, as a struct.
 * Keys of the call's parameters are those of host_conf_set(), and of a lease also "port",
 * "spi" (text: number, or numbers with commas), "address", "remote", "exact", "ike-id".
 */
struct ask {
	struct host_conf conf;
	bool spis_given; /* "spis" or "spi": RSIPSEC is meant */
	uint32_t address;
	uint32_t port; /* first one; 0: any */
	uint32_t *spi; /* named; owned */
	size_t n_spi;
	uint32_t remote;
	uint16_t remote_port;
	bool exact;
	bool for_ike; /* "ike-id": a peer by this identity */
	struct rsip_identity peer;
	uint8_t peer_data[RSIP_IDENTITY_MAX];
};

/* 0, or ERR_CONFIG or ERR_MALFORMED with the sentence in why. */
int ask_parse(const struct host *h, json_t *params, struct ask *ask, char *why,
	size_t why_size);
void ask_fini(struct ask *ask);
/* The method where none was named: RSIPSEC if the gateway lists it. */
enum rsip_kind ask_kind(const struct ask *ask, const struct rsip_registration *r);
/* The wish of one request of that method for n ports; borrows from ask. */
struct rsip_want ask_want(const struct ask *ask, enum rsip_kind kind, uint32_t ports);
/* The default route's next hop; 0: none. */
uint32_t ask_next_hop(const struct host *h);
/* The gateway that is named, or the one that is there; 0 and NULL: look for one. */
int ask_gateway(struct host *h, const struct ask *ask, struct gw **gw, char *why,
	size_t why_size);
