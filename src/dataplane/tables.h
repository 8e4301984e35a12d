#pragma once

#include "dataplane/learned.h"
#include "engine/effect.h"

/*
 * The leases as packets need them: found by what an inbound packet carries (Nb and port
 * or SPI) and by what an outbound packet carries (host and Nb).
 *
 * SPIs are kept as aligned blocks of a power of two, one entry a block, so a range of any
 * length costs at most 62 entries and a lookup one probe for each block size in use on
 * that Nb.  Ports are one array a public address.
 */

#define TABLES_TUNNELS 4 /* enum tunnel_type is an index below this */

struct tlease {
	struct htab_node node;
	uint32_t bind_id; /* key */
	uint32_t host, gateway, address;
	enum lease_method method;
	enum tunnel_type tunnel;
	struct remote remote;
	struct range *ports, *spis;
	size_t n_ports, n_spis;
	uint8_t *ike_id; /* METHOD_IKE: ID type, data */
	uint16_t ike_id_len;
	bool shares;   /* a port, with another lease of this host (LISTEN) */
	uint64_t mark; /* the driver's own; 0 in a new lease and after a change of its
			  keys */
	LIST_ENTRY(tlease) of_pair;
	struct learned_owner learned[LEARNED_KINDS];
};
LIST_HEAD(tlease_list, tlease);

/* What one host holds on one public address. */
struct tpair {
	struct htab_node node;
	uint32_t host, address; /* key */
	struct tlease_list leases;
	uint32_t n;
};

struct thost {
	struct htab_node node;
	uint32_t host; /* key */
	uint32_t n;
	uint32_t tunnels[TABLES_TUNNELS]; /* leases by tunnel type */
	uint16_t mtu; /* learned path MTU of the private side; 0: none */
	uint64_t mtu_until_ms;
};

/* A public address with at least one lease. */
struct taddr {
	struct htab_node node;
	uint32_t address; /* key */
	uint32_t n;
	struct tlease *whole; /* RSA-IP */
	struct tlease **port; /* 65536, or NULL while no port is leased */
	uint32_t ports;       /* leased */
	uint32_t blocks[33];  /* SPI blocks by prefix length */
	uint64_t block_sizes; /* bit set where blocks[] is not 0 */
};

struct tables {
	struct htab leases, pairs, hosts, addresses, spis, identities;
	struct learned_table learned[LEARNED_KINDS];
	size_t max_leases;
};

/* max_ike: IKE mappings at once, 0 for the usual number.  0 or -ENOMEM. */
int tables_init(struct tables *t, uint32_t max_ike, uint64_t secret);
void tables_fini(struct tables *t);

/*
 * Add, or replace by bind ID; an extension (same host, address, ports, SPIs) keeps what
 * the lease learned.  Copies.  ERR_EXISTS when a port belongs to another host, an SPI
 * or whole address to another lease, and ERR_NOSPACE when the tables are full change
 * nothing; after -ENOMEM the lease is not there.
 */
int tables_install(struct tables *t, const struct lease *lease);
void tables_remove(struct tables *t, uint32_t bind_id);

struct thost *tables_host(const struct tables *t, uint32_t host);
struct tpair *tables_pair(const struct tables *t, uint32_t host, uint32_t address);
struct taddr *tables_address(const struct tables *t, uint32_t address);
/* Of several leases that share the port, which are one host's, any one. */
struct tlease *tables_by_port(const struct taddr *a, uint16_t port);
/* The lease behind l (NULL: the first) of this pair that covers the port, or NULL. */
struct tlease *tables_next_by_port(
	const struct tpair *pair, const struct tlease *l, uint16_t port);
/* The largest aligned block that begins at lo and ends at or before hi: prefix length. */
unsigned int tables_block_at(uint64_t lo, uint64_t hi);
struct tlease *tables_lease(const struct tables *t, uint32_t bind_id);
struct tlease *tables_by_spi(const struct tables *t, const struct taddr *a, uint32_t spi);
/* The listener on this address for an initiator's identity: ID type, then data; or NULL.
 */
struct tlease *tables_by_identity(
	const struct tables *t, uint32_t address, const uint8_t *id, size_t len);
