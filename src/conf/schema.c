/*
 * Every option of rsipd.conf: section, name, kind, default, range.  Reader, checks and
 * the manual's check all use these rows, so an option is one line here and one in the
 * manual.
 */
#include "conf/schema.h"

#include "conf/value.h"

#define PORTS    1, 65535
#define SPIS     256, UINT32_MAX
#define SECONDS  1, UINT32_MAX
#define ANY      0, 0
#define AT(s, m) offsetof(struct conf_##s, m)
#define ONE      false
#define LIST     true
#define DAY      86400

static const char *const transports[] = { "tcp", "udp", NULL };
static const char *const drivers[] = { "auto", "xdp", "packet", "none", NULL };
static const char *const from_peer[] = { "drop", "only-host", NULL };
static const char *const methods[] = { "rsa-ip", "rsap-ip", "rsipsec", NULL };
static const char *const tunnels[] = { "ipip", "gre", NULL };
static const char *const guards[] = { "tls", "hmac", NULL };
static const char *const local_flows[] = { "macro", "micro", NULL };
static const char *const remote_flows[] = { "none", "macro", "micro", NULL };

/* clang-format off */
const struct conf_option conf_options[] = {
	{ "gateway", "listen", KIND_ENDPOINT, LIST, "0.0.0.0:4555", ANY, NULL, AT(gateway, listen) },
	{ "gateway", "transports", KIND_WORD, LIST, "tcp udp", ANY, transports, AT(gateway, transports) },
	{ "gateway", "tunnel-endpoint", KIND_ADDRESS, ONE, "", ANY, NULL, AT(gateway, tunnel_endpoint) },
	{ "gateway", "local-networks", KIND_PREFIX, LIST, "", ANY, NULL, AT(gateway, local_networks) },
	{ "gateway", "query-authoritative", KIND_BOOL, ONE, "false", ANY, NULL, AT(gateway, query_authoritative) },
	{ "gateway", "state-dir", KIND_TEXT, ONE, "/var/lib/rsip", ANY, NULL, AT(gateway, state_dir) },
	{ "gateway", "control-socket", KIND_TEXT, ONE, "/run/rsip/rsipd.sock", ANY, NULL, AT(gateway, control_socket) },
	{ "gateway", "registration-lease", KIND_NUMBER, ONE, "3600", SECONDS, NULL, AT(gateway, registration_lease) },
	{ "gateway", "user", KIND_TEXT, ONE, "rsip", ANY, NULL, AT(gateway, user) },
	{ "gateway", "sandbox", KIND_BOOL, ONE, "true", ANY, NULL, AT(gateway, sandbox) },
	{ "gateway", "tcp-connections", KIND_NUMBER, ONE, "4096", 1, 100000, NULL, AT(gateway, tcp_connections) },
	{ "gateway", "tcp-connections-per-host", KIND_NUMBER, ONE, "32", 1, 100000, NULL, AT(gateway, tcp_connections_per_host) },
	{ "gateway", "tcp-idle", KIND_NUMBER, ONE, "7200", 1, DAY, NULL, AT(gateway, tcp_idle) },
	{ "gateway", "tcp-stall", KIND_NUMBER, ONE, "30", 1, 3600, NULL, AT(gateway, tcp_stall) },
	{ "gateway", "listen-rsip-ike", KIND_BOOL, ONE, "false", ANY, NULL, AT(gateway, listen_rsip_ike) },

	{ "dataplane", "driver", KIND_WORD, ONE, "auto", ANY, drivers, AT(dataplane, driver) },
	{ "dataplane", "private-interface", KIND_TEXT, ONE, "", ANY, NULL, AT(dataplane, private_interface) },
	{ "dataplane", "public-interface", KIND_TEXT, ONE, "", ANY, NULL, AT(dataplane, public_interface) },
	{ "dataplane", "ike-from-peer", KIND_WORD, ONE, "drop", ANY, from_peer, AT(dataplane, ike_from_peer) },
	{ "dataplane", "ike-mappings", KIND_NUMBER, ONE, "1048576", 64, 16777216, NULL, AT(dataplane, ike_mappings) },
	{ "dataplane", "napt", KIND_PREFIX, LIST, "", ANY, NULL, AT(dataplane, napt) },
	{ "dataplane", "napt-address", KIND_ADDRESS, ONE, "", ANY, NULL, AT(dataplane, napt_address) },
	{ "dataplane", "napt-ports", KIND_RANGE, ONE, "32768-60999", PORTS, NULL, AT(dataplane, napt_ports) },

	{ "pool", "addresses", KIND_PREFIX, LIST, "", ANY, NULL, AT(pool, addresses) },
	{ "pool", "dedicated", KIND_PREFIX, LIST, "", ANY, NULL, AT(pool, dedicated) },
	{ "pool", "ports", KIND_RANGE, LIST, "1024-65535", PORTS, NULL, AT(pool, ports) },
	{ "pool", "spis", KIND_RANGE, LIST, "256-4294967295", SPIS, NULL, AT(pool, spis) },
	{ "pool", "exclusive-500", KIND_BOOL, ONE, "false", ANY, NULL, AT(pool, exclusive_500) },
	{ "pool", "hold-down", KIND_NUMBER, ONE, "120", 0, DAY, NULL, AT(pool, hold_down) },
	{ "pool", "high-water", KIND_NUMBER, ONE, "95", 1, 100, NULL, AT(pool, high_water) },
	{ "pool", "low-water", KIND_NUMBER, ONE, "80", 0, 99, NULL, AT(pool, low_water) },

	{ "policy", "match", KIND_PREFIX, LIST, "0.0.0.0/0", ANY, NULL, AT(policy, match) },
	{ "policy", "methods", KIND_WORD, LIST, "rsap-ip rsa-ip rsipsec", ANY, methods, AT(policy, methods) },
	{ "policy", "tunnels", KIND_WORD, LIST, "ipip gre", ANY, tunnels, AT(policy, tunnels) },
	{ "policy", "local-flow", KIND_WORD, ONE, "macro", ANY, local_flows, AT(policy, local_flow) },
	{ "policy", "remote-flow", KIND_WORD, ONE, "none", ANY, remote_flows, AT(policy, remote_flow) },
	{ "policy", "lease-default", KIND_NUMBER, ONE, "3600", SECONDS, NULL, AT(policy, lease_default) },
	{ "policy", "lease-max", KIND_NUMBER, ONE, "86400", SECONDS, NULL, AT(policy, lease_max) },
	{ "policy", "max-bindings", KIND_NUMBER, ONE, "64", 1, 65535, NULL, AT(policy, max_bindings) },
	{ "policy", "max-ports", KIND_NUMBER, ONE, "1024", 0, 4194304, NULL, AT(policy, max_ports) },
	{ "policy", "max-spis", KIND_NUMBER, ONE, "65536", 0, UINT32_MAX, NULL, AT(policy, max_spis) },
	{ "policy", "remote-allow", KIND_RULE, LIST, "", ANY, NULL, AT(policy, remote_allow) },
	{ "policy", "remote-deny", KIND_RULE, LIST, "", ANY, NULL, AT(policy, remote_deny) },
	{ "policy", "listen", KIND_BOOL, ONE, "true", ANY, NULL, AT(policy, listen) },
	{ "policy", "request-rate", KIND_NUMBER, ONE, "0", 0, 1000000, NULL, AT(policy, request_rate) },
	{ "policy", "request-burst", KIND_NUMBER, ONE, "0", 0, 1000000, NULL, AT(policy, request_burst) },

	{ "audit", "max-size", KIND_NUMBER, ONE, "256", 8, 1048576, NULL, AT(audit, max_size) },
	{ "audit", "retention", KIND_NUMBER, ONE, "90", 1, 36500, NULL, AT(audit, retention) },

	{ "ipfix", "collector", KIND_ENDPOINT, ONE, "", ANY, NULL, AT(ipfix, collector) },
	{ "ipfix", "domain", KIND_NUMBER, ONE, "1", 0, UINT32_MAX, NULL, AT(ipfix, domain) },
	{ "ipfix", "enterprise", KIND_NUMBER, ONE, "32473", 1, UINT32_MAX, NULL, AT(ipfix, enterprise) },
	{ "ipfix", "template-interval", KIND_NUMBER, ONE, "60", 1, DAY, NULL, AT(ipfix, template_interval) },

	{ "slp", "advertise", KIND_BOOL, ONE, "false", ANY, NULL, AT(slp, advertise) },
	{ "slp", "scopes", KIND_TEXT, ONE, "DEFAULT", ANY, NULL, AT(slp, scopes) },
	{ "slp", "directory-agent", KIND_ADDRESS, ONE, "", ANY, NULL, AT(slp, directory_agent) },
	{ "slp", "lifetime", KIND_NUMBER, ONE, "3600", 60, 65535, NULL, AT(slp, lifetime) },

	{ "security", "require", KIND_WORD, LIST, "", ANY, guards, AT(security, require) },
	{ "security", "key-file", KIND_TEXT, ONE, "", ANY, NULL, AT(security, key_file) },
	{ "security", "tls-certificate", KIND_TEXT, ONE, "", ANY, NULL, AT(security, tls_certificate) },
	{ "security", "tls-key", KIND_TEXT, ONE, "", ANY, NULL, AT(security, tls_key) },
	{ "security", "tls-authority", KIND_TEXT, ONE, "", ANY, NULL, AT(security, tls_authority) },

	{ "host", "address", KIND_ADDRESS, ONE, "", ANY, NULL, AT(host, address) },
	{ "host", "identities", KIND_TEXT, LIST, "", ANY, NULL, AT(host, identities) },
	{ "host", "interface", KIND_TEXT, ONE, "", ANY, NULL, AT(host, interface) },
	{ "host", "mac", KIND_TEXT, ONE, "", ANY, NULL, AT(host, mac) },

	{ "metrics", "listen", KIND_ENDPOINT, ONE, "", ANY, NULL, AT(metrics, listen) },
	{ NULL, NULL, KIND_TEXT, ONE, NULL, ANY, NULL, 0 },
};
/* clang-format on */

const struct conf_section_spec conf_sections[] = {
	{ "gateway", false, sizeof(struct conf_gateway) },
	{ "dataplane", false, sizeof(struct conf_dataplane) },
	{ "pool", true, sizeof(struct conf_pool) },
	{ "policy", true, sizeof(struct conf_policy) },
	{ "audit", false, sizeof(struct conf_audit) },
	{ "ipfix", false, sizeof(struct conf_ipfix) },
	{ "slp", false, sizeof(struct conf_slp) },
	{ "security", false, sizeof(struct conf_security) },
	{ "host", true, sizeof(struct conf_host) },
	{ "metrics", false, sizeof(struct conf_metrics) },
	{ NULL, false, 0 },
};
