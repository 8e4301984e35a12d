#pragma once

#include "engine/engine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * rsipd's configuration file: read whole into one object, checked, and only then used.
 * The options, their defaults and ranges are the rows of conf/schema.c; rsipd.conf(5)
 * says the same in words.
 */

#define CONF_WHY 512 /* room that every sentence written to `why` fits in */

struct conf_listen {
	uint32_t addr; /* 0: every address */
	uint16_t port;
	const char *text; /* "10.0.0.1:4555" */
};

/* What the data plane takes for one pool: its shared and dedicated addresses, its ports.
 */
struct conf_taken {
	const struct prefix4 *addresses;
	size_t n_addresses;
	const struct range *ports;
	size_t n_ports;
};

/* Hosts that the kernel translates, as the data plane is told. */
struct conf_napt {
	const struct prefix4 *hosts; /* n 0: none */
	size_t n_hosts;
	uint32_t address; /* 0: the public interface's own */
	struct range ports;
};

/* When a pool counts as full, and as no longer full: percent of its ports. */
struct conf_water {
	uint32_t high, low;
};

/* Bounds of the TCP server. */
struct conf_tcp {
	uint32_t connections, connections_per_host;
	uint32_t idle_s;  /* a connection without a request */
	uint32_t stall_s; /* an unfinished request, or answers that nobody reads */
};

/* Who rsipd becomes when it is started as root; "" for nobody. */
struct conf_user {
	const char *name;
	bool given; /* by the file: it must work then */
};

/* Names of files; "" where there is none. */
struct conf_files {
	const char *keys; /* auth/key.h */
	const char *certificate, *key, *authority;
};

/* Where a host's packets must come from. */
struct conf_place {
	uint32_t addr;
	const char *interface; /* "": any */
	bool has_mac;
	uint8_t mac[6];
};
#define CONF_PLACES_MAX 128

/* How the gateway lets itself be found (RFC 3105). */
struct conf_found {
	bool advertise;
	const char *scopes;
	uint32_t directory_agent; /* 0: looked for */
	uint16_t lifetime_s;
};

struct conf {
	struct engine_conf engine;
	const struct conf_listen *listen;
	size_t n_listen;
	struct conf_tcp tcp;
	const char *state_dir, *control_socket;
	struct conf_user user;
	bool sandbox;
	struct conf_files security;
	const struct conf_place *places;
	size_t n_places;
	const char *driver; /* "auto", "xdp", "packet", "none" */
	const char *private_interface, *public_interface; /* "" when not set */
	bool ike_only_host;                               /* ike-from-peer */
	uint32_t ike_mappings;                            /* at once */
	const struct conf_taken *taken;                   /* one a pool */
	size_t n_taken;
	struct conf_napt napt;
	uint64_t audit_bytes;           /* of the audit's files */
	uint32_t audit_keep_s;          /* how long a record is kept */
	const struct conf_water *water; /* one a pool */
	struct conf_found slp;
	bool ipfix; /* sent to the collector */
	struct conf_listen collector;
	uint32_t ipfix_domain, ipfix_enterprise, ipfix_templates_s;
	bool metrics; /* served at metrics_listen */
	struct conf_listen metrics_listen;
	const char *file, *text; /* the whole of it, as it was read */
	void *memory;            /* all of this */
};

/*
 * Read and check a file.  ERR_CONFIG with "FILE:LINE: what is wrong" (without the line
 * where the file as a whole is meant, or cannot be read) in why, or -ENOMEM.
 */
int conf_load(const char *file, struct conf **conf, char *why, size_t why_size);
/* The same for text that is called `file` in errors. */
int conf_parse(const char *file, const char *text, struct conf **conf, char *why,
	size_t why_size);
/* Everything of it, at once.  NULL is allowed. */
void conf_free(struct conf *c);
