#pragma once

#include "conf/schema.h"
#include "conf/text.h"
#include "engine/engine.h"

/*
 * The sections as typed values, each with the line that it came from (of the section
 * where it is a default), for the checks that look at several of them.
 */

struct conf_string {
	const char *text;
	bool given; /* in the file; else it is the default */
	int line;
};
struct conf_number {
	uint32_t n; /* also KIND_BOOL, KIND_WORD (its index), KIND_ADDRESS */
	bool given; /* in the file; else it is the default */
	int line;
};
struct conf_endpoint {
	bool set;
	uint32_t addr;
	uint16_t port;
	const char *text;
	int line;
};
struct conf_list {
	void *items;      /* uint32_t (words), conf_endpoint, prefix4, range, rule */
	const int *lines; /* of each */
	size_t n;
	int line;
};

struct conf_gateway {
	struct conf_list listen, transports, local_networks;
	struct conf_number tunnel_endpoint, registration_lease, query_authoritative,
		sandbox, listen_rsip_ike;
	struct conf_string state_dir, control_socket, user;
	struct conf_number tcp_connections, tcp_connections_per_host, tcp_idle, tcp_stall;
	int line;
};
struct conf_dataplane {
	struct conf_number driver, ike_from_peer, ike_mappings;
	struct conf_string private_interface, public_interface;
	struct conf_list napt;
	struct conf_number napt_address;
	struct range napt_ports;
	int line;
};
struct conf_pool {
	struct conf_list addresses, dedicated, ports, spis;
	struct conf_number hold_down, exclusive_500;
	struct conf_number high_water, low_water;
	int line;
};
struct conf_policy {
	struct conf_list match, methods, tunnels, remote_allow, remote_deny;
	struct conf_number local_flow, remote_flow, lease_default, lease_max,
		max_bindings, max_ports, max_spis, listen, request_rate, request_burst;
	int line;
};
struct conf_audit {
	struct conf_number max_size, retention;
	int line;
};
struct conf_ipfix {
	struct conf_endpoint collector;
	struct conf_number domain, enterprise, template_interval;
	int line;
};
struct conf_slp {
	struct conf_number advertise, directory_agent, lifetime;
	struct conf_string scopes;
	int line;
};
struct conf_security {
	struct conf_list require;
	struct conf_string key_file, tls_certificate, tls_key, tls_authority;
	int line;
};
struct conf_host {
	struct conf_number address;
	struct conf_list identities;
	struct conf_string interface, mac;
	int line;
};
struct conf_metrics {
	struct conf_endpoint listen;
	int line;
};

/*
 * Fill the struct of a section (zeroed, of spec->size bytes) from the file's section, or
 * with the defaults where s is NULL.  0, ERR_CONFIG or -ENOMEM.
 */
int conf_values(struct arena *a, const struct conf_section_spec *spec,
	const struct conf_section *s, const struct conf_where *w, void *values);
