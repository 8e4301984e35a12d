/*
 * Configuration for tests: words of rsipd.conf to struct engine_conf, all in one struct
 * that lives as long as the test wants.
 */
#include "setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void setup_init(struct setup *s)
{
	memset(s, 0, sizeof(*s));
	s->conf.registration_lease_s = 3600;
	s->conf.udp = s->conf.tcp = true;
	s->conf.unregistered_rate = 20;
	s->conf.unregistered_burst = 100;
	s->conf.query_max_udp = 1400;
}

/* --- values ---------------------------------------------------------------------------
 */

static int get_u32(const char *text, uint32_t *v)
{
	char *end;
	unsigned long long value = strtoull(text, &end, 0);

	if (end == text || *end != '\0' || value > UINT32_MAX)
		return -1;
	*v = (uint32_t)value;
	return 0;
}

/* The next entry of a list "a,b,c" into buf; false at its end. */
static bool entry(const char **list, char *buf, size_t size)
{
	size_t n = strcspn(*list, ",");

	if (**list == '\0' || n >= size)
		return false;
	memcpy(buf, *list, n);
	buf[n] = '\0';
	*list += n + ((*list)[n] == ',' ? 1 : 0);
	return true;
}

static int get_prefixes(const char *list, struct prefix4 *p, size_t *n)
{
	char text[64];

	for (*n = 0; entry(&list, text, sizeof(text)); (*n)++)
		if (*n == SETUP_LIST || prefix_parse(text, &p[*n]) != 0)
			return -1;
	return *list == '\0' ? 0 : -1;
}

static int get_ranges(
	const char *list, uint32_t min, uint32_t max, struct range *r, size_t *n)
{
	char text[64];

	for (*n = 0; entry(&list, text, sizeof(text)); (*n)++)
		if (*n == SETUP_LIST || range_parse(text, min, max, &r[*n]) != 0)
			return -1;
	*n = ranges_normalise(r, *n);
	return *list == '\0' ? 0 : -1;
}

/* ADDRESS[/LEN][:PORT[-PORT]] */
static int get_rules(const char *list, struct engine_remote_rule *r, size_t *n)
{
	char text[64];

	for (*n = 0; entry(&list, text, sizeof(text)); (*n)++) {
		char *colon = strchr(text, ':');
		struct range ports = { 0, 65535 };

		if (*n == SETUP_LIST)
			return -1;
		if (colon != NULL) {
			*colon = '\0';
			if (range_parse(colon + 1, 0, 65535, &ports) != 0)
				return -1;
		}
		if (prefix_parse(text, &r[*n].prefix) != 0)
			return -1;
		r[*n].port_lo = (uint16_t)ports.lo;
		r[*n].port_hi = (uint16_t)ports.hi;
	}
	return *list == '\0' ? 0 : -1;
}

/* Bits of the words of a list; names[i] is the word of bit i. */
static int get_bits(const char *list, const char *const *names, size_t n, uint32_t *bits)
{
	char text[64];

	*bits = 0;
	while (entry(&list, text, sizeof(text))) {
		size_t i = 0;

		while (i < n && (names[i] == NULL || strcmp(names[i], text) != 0))
			i++;
		if (i == n)
			return -1;
		*bits |= 1u << i;
	}
	return *list == '\0' ? 0 : -1;
}

static int get_word(const char *text, const char *const *names, size_t n, uint32_t *value)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(names[i], text) == 0) {
			*value = (uint32_t)i;
			return 0;
		}
	}
	return -1;
}

static const char *const method_names[] = { [METHOD_RSA_IP] = "rsa-ip",
	[METHOD_RSAP_IP] = "rsap-ip",
	[METHOD_RSIPSEC] = "rsipsec" };
static const char *const tunnel_names[] = {
	[TUNNEL_IPIP] = "ipip", [TUNNEL_GRE] = "gre"
};
static const char *const transport_names[] = { "udp", "tcp" };
static const char *const local_flows[] = { "macro", "micro" };
static const char *const remote_flows[] = { "none", "macro", "micro" };
static const char *const no_yes[] = { "no", "yes" };

/* --- lines ----------------------------------------------------------------------------
 */

static int pool_word(struct setup *s, const char *key, const char *value)
{
	struct engine_pool *p = &s->pools[s->conf.n_pools - 1];
	struct setup_pool *l = &s->pool_lists[s->conf.n_pools - 1];

	if (strcmp(key, "addresses") == 0)
		return get_prefixes(value, l->shared, &p->n_shared);
	if (strcmp(key, "dedicated") == 0)
		return get_prefixes(value, l->dedicated, &p->n_dedicated);
	if (strcmp(key, "ports") == 0)
		return get_ranges(value, 1, 65535, l->ports, &p->n_ports);
	if (strcmp(key, "spis") == 0)
		return get_ranges(value, 256, UINT32_MAX, l->spis, &p->n_spis);
	if (strcmp(key, "exclusive-500") == 0) {
		uint32_t v;

		if (get_word(value, no_yes, 2, &v) != 0)
			return -1;
		p->exclusive_500 = v == 1;
		return 0;
	}
	if (strcmp(key, "hold-down") == 0)
		return get_u32(value, &p->hold_down_s);
	if (strcmp(key, "address-hold-down") == 0)
		return get_u32(value, &p->address_hold_down_s);
	return -1;
}

static int policy_enum(struct engine_policy *p, const char *key, const char *value)
{
	uint32_t v;

	if (strcmp(key, "local-flow") == 0) {
		if (get_word(value, local_flows, 2, &v) != 0)
			return -1;
		p->local_flow = v;
		return 0;
	}
	if (strcmp(key, "remote-flow") == 0) {
		if (get_word(value, remote_flows, 3, &v) != 0)
			return -1;
		p->remote_flow = v;
		return 0;
	}
	if (strcmp(key, "listen") == 0) {
		if (get_word(value, no_yes, 2, &v) != 0)
			return -1;
		p->listen = v == 1;
		return 0;
	}
	return -1;
}

static int policy_word(struct setup *s, const char *key, const char *value)
{
	struct engine_policy *p = &s->policies[s->conf.n_policies - 1];
	struct setup_policy *l = &s->policy_lists[s->conf.n_policies - 1];
	const struct {
		const char *key;
		uint32_t *to;
	} numbers[] = {
		{ "lease-default", &p->lease_default_s },
		{ "lease-max", &p->lease_max_s },
		{ "max-bindings", &p->max_bindings },
		{ "max-ports", &p->max_ports },
		{ "max-spis", &p->max_spis },
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (strcmp(numbers[i].key, key) == 0)
			return get_u32(value, numbers[i].to);
	if (strcmp(key, "match") == 0)
		return get_prefixes(value, l->match, &p->n_match);
	if (strcmp(key, "methods") == 0)
		return get_bits(value, method_names, 3, &p->methods);
	if (strcmp(key, "tunnels") == 0)
		return get_bits(value, tunnel_names, 3, &p->tunnels);
	if (strcmp(key, "remote-allow") == 0)
		return get_rules(value, l->allow, &p->n_allow);
	if (strcmp(key, "remote-deny") == 0)
		return get_rules(value, l->deny, &p->n_deny);
	return policy_enum(p, key, value);
}

static int gateway_word(struct setup *s, const char *key, const char *value)
{
	uint32_t v;

	if (strcmp(key, "transports") == 0) {
		if (get_bits(value, transport_names, 2, &v) != 0)
			return -1;
		s->conf.udp = (v & 1) != 0;
		s->conf.tcp = (v & 2) != 0;
		return 0;
	}
	if (strcmp(key, "local-networks") == 0)
		return get_prefixes(value, s->networks, &s->conf.n_local_networks);
	if (strcmp(key, "listen-rsip-ike") == 0) {
		if (get_word(value, no_yes, 2, &v) != 0)
			return -1;
		s->conf.listen_rsip_ike = v == 1;
		return 0;
	}
	if (strcmp(key, "query-authoritative") == 0) {
		if (get_word(value, no_yes, 2, &v) != 0)
			return -1;
		s->conf.query_authoritative = v == 1;
		return 0;
	}
	if (strcmp(key, "tunnel-endpoint") == 0)
		return addr_parse(value, &s->conf.tunnel_endpoint);
	if (strcmp(key, "registration-lease") == 0)
		return get_u32(value, &s->conf.registration_lease_s);
	if (strcmp(key, "unregistered-rate") == 0)
		return get_u32(value, &s->conf.unregistered_rate);
	if (strcmp(key, "unregistered-burst") == 0)
		return get_u32(value, &s->conf.unregistered_burst);
	if (strcmp(key, "query-max-udp") == 0)
		return get_u32(value, &s->conf.query_max_udp);
	return -1;
}

static bool pool_begin(struct setup *s, const char *name)
{
	size_t i = s->conf.n_pools;

	if (i == SETUP_PARTS)
		return false;
	(void)snprintf(s->pool_lists[i].name, sizeof(s->pool_lists[i].name), "%s", name);
	s->pool_lists[i].ports[0] = (struct range){ 1024, 65535 };
	s->pool_lists[i].spis[0] = (struct range){ 256, UINT32_MAX };
	s->pools[i] =
		(struct engine_pool){ .n_ports = 1, .n_spis = 1, .hold_down_s = 120 };
	s->conf.n_pools++;
	return true;
}

static bool policy_begin(struct setup *s, const char *name)
{
	size_t i = s->conf.n_policies;

	if (i == SETUP_PARTS)
		return false;
	(void)snprintf(
		s->policy_lists[i].name, sizeof(s->policy_lists[i].name), "%s", name);
	s->policies[i] = (struct engine_policy){
		.n_match = 1, /* 0.0.0.0/0 */
		.methods =
			1u << METHOD_RSA_IP | 1u << METHOD_RSAP_IP | 1u << METHOD_RSIPSEC,
		.tunnels = 1u << TUNNEL_IPIP | 1u << TUNNEL_GRE,
		.lease_default_s = 3600,
		.lease_max_s = 86400,
		.max_bindings = 64,
		.max_ports = 1024,
		.max_spis = 65536,
		.listen = true,
	};
	s->conf.n_policies++;
	return true;
}

int setup_line(struct setup *s, char *const *words, size_t n, char *why, size_t why_size)
{
	int (*word)(struct setup *, const char *, const char *) = gateway_word;
	size_t i = 1;

	if (n >= 2 && strcmp(words[0], "pool") == 0 && pool_begin(s, words[1])) {
		word = pool_word;
		i = 2;
	} else if (n >= 2 && strcmp(words[0], "policy") == 0 &&
		   policy_begin(s, words[1])) {
		word = policy_word;
		i = 2;
	} else if (n < 2 || strcmp(words[0], "gateway") != 0) {
		(void)snprintf(why, why_size, "no pool, policy or gateway, or too many");
		return -1;
	}
	for (; i < n; i++) {
		char key[32];
		size_t len = strcspn(words[i], "=");

		if (words[i][len] == '=' && len < sizeof(key)) {
			memcpy(key, words[i], len);
			key[len] = '\0';
			if (word(s, key, words[i] + len + 1) == 0)
				continue;
		}
		(void)snprintf(
			why, why_size, "'%s' is no setting of a %s", words[i], words[0]);
		return -1;
	}
	return 0;
}

void setup_text(struct setup *s, const char *line)
{
	char copy[512], why[256], *words[64], *rest = copy;
	size_t n = 0;

	(void)snprintf(copy, sizeof(copy), "%s", line);
	for (char *w; n < 64 && (w = strtok_r(rest, " ", &rest)) != NULL;)
		words[n++] = w;
	if (setup_line(s, words, n, why, sizeof(why)) != 0) {
		(void)fprintf(stderr, "%s: %s\n", line, why);
		abort();
	}
}

void setup_seal(struct setup *s)
{
	if (s->conf.n_pools == 0)
		setup_text(s, "pool public addresses=203.0.113.1");
	if (s->conf.n_policies == 0)
		setup_text(s, "policy default listen=yes");
	for (size_t i = 0; i < s->conf.n_pools; i++) {
		struct setup_pool *l = &s->pool_lists[i];

		s->pools[i].name = l->name;
		s->pools[i].shared = l->shared;
		s->pools[i].dedicated = l->dedicated;
		s->pools[i].ports = l->ports;
		s->pools[i].spis = l->spis;
	}
	for (size_t i = 0; i < s->conf.n_policies; i++) {
		struct setup_policy *l = &s->policy_lists[i];

		s->policies[i].name = l->name;
		s->policies[i].match = l->match;
		s->policies[i].allow = l->allow;
		s->policies[i].deny = l->deny;
	}
	s->conf.pools = s->pools;
	s->conf.policies = s->policies;
	s->conf.local_networks = s->networks;
}

/* --- what it says ---------------------------------------------------------------------
 */

bool setup_port_leasable(const struct engine_pool *p, uint32_t port)
{
	return port != 500 && port != 4500 && port != 4555 &&
	       ranges_have(p->ports, p->n_ports, port);
}

uint32_t setup_ports_count(const struct engine_pool *p)
{
	uint32_t n = (uint32_t)ranges_count(p->ports, p->n_ports);

	n -= ranges_have(p->ports, p->n_ports, 500);
	n -= ranges_have(p->ports, p->n_ports, 4500);
	n -= ranges_have(p->ports, p->n_ports, 4555);
	return n;
}

static bool listed(const struct prefix4 *p, size_t n, uint32_t addr)
{
	for (size_t i = 0; i < n; i++)
		if (prefix_has(&p[i], addr))
			return true;
	return false;
}

/* Network and broadcast address of a pool's prefix are not leased (A-C-01). */
static bool pooled(const struct prefix4 *p, size_t n, uint32_t addr)
{
	for (size_t i = 0; i < n; i++)
		if (prefix_has(&p[i], addr) &&
			(p[i].len >= 31 ||
				(addr != p[i].addr &&
					addr != (p[i].addr | ~prefix_mask(p[i].len)))))
			return true;
	return false;
}

const struct engine_pool *setup_pool_of(
	const struct setup *s, uint32_t addr, bool *dedicated)
{
	for (size_t i = 0; i < s->conf.n_pools; i++) {
		const struct engine_pool *p = &s->pools[i];

		*dedicated = pooled(p->dedicated, p->n_dedicated, addr);
		if (*dedicated || pooled(p->shared, p->n_shared, addr))
			return p;
	}
	return NULL;
}

const struct engine_policy *setup_policy_of(const struct setup *s, uint32_t host)
{
	for (size_t i = 0; i < s->conf.n_policies; i++)
		if (listed(s->policies[i].match, s->policies[i].n_match, host))
			return &s->policies[i];
	return NULL;
}
