/*
 * One table of keys serves the file and the options of a command, so that both take and
 * refuse the same values.
 */
#include "host/conf.h"

#include "base/addr.h"
#include "base/err.h"
#include "host/dhcp.h"
#include "host/seek.h"

#include <confuse.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RSIP_PORT_DEFAULT 4555

void host_conf_init(struct host_conf *c)
{
	*c = (struct host_conf){
		.port = RSIP_PORT_DEFAULT,
		.discover = (1U << SEEK_WAYS) - 1,
		.dhcp_option = DHCP_OPTION_DEFAULT,
		.transport = RSIP_TCP,
		.ports = HOST_PORTS,
		.ports_max = HOST_PORTS_MAX,
		.ports_quiet_s = HOST_PORTS_QUIET,
	};
}

uint32_t host_conf_spis(const struct host_conf *c)
{
	if (c->spis != 0)
		return c->spis;
	return c->spi_mode == HOST_SPI_FOLLOW ? 1 : HOST_SPIS;
}

/* --- values ---------------------------------------------------------------------------
 */

struct word {
	const char *word;
	int value;
};

static const struct word methods[] = {
	{ "rsap-ip", RSIP_RSAP_IP },
	{ "rsa-ip", RSIP_RSA_IP },
	{ "rsipsec", RSIP_RSIPSEC },
	{ "", 0 },
	{ NULL, 0 },
};
static const struct word transports[] = {
	{ "tcp", RSIP_TCP },
	{ "udp", RSIP_UDP },
	{ NULL, 0 },
};
static const struct word tunnels[] = {
	{ "ipip", RSIP_IPIP },
	{ "gre", RSIP_GRE },
	{ "", 0 },
	{ NULL, 0 },
};
static const struct word devices[] = {
	{ "auto", HOST_DEVICE_AUTO },
	{ "kernel", HOST_DEVICE_KERNEL },
	{ "tun", HOST_DEVICE_TUN },
	{ NULL, 0 },
};

static const struct word spi_modes[] = {
	{ "block", HOST_SPI_BLOCK },
	{ "follow", HOST_SPI_FOLLOW },
	{ NULL, 0 },
};

static int word_find(const struct word *words, const char *text)
{
	for (; words->word != NULL; words++)
		if (strcmp(words->word, text) == 0)
			return words->value;
	return -1;
}

static bool set_gateway(struct host_conf *c, const char *v)
{
	if (v[0] == 0) {
		c->gateway = 0;
		return true;
	}
	return endpoint_parse(v, RSIP_PORT_DEFAULT, &c->gateway, &c->port) == 0 &&
	       c->gateway != 0;
}

/* "dhcp,slp": words with commas between, or none. */
static bool set_discover(struct host_conf *c, const char *v)
{
	size_t len = strcspn(v, ",");

	c->discover = 0;
	for (; v[0] != 0; len = strcspn(v, ",")) {
		unsigned int i = 0;

		while (i < SEEK_WAYS && (strlen(seek_name(i)) != len ||
						strncmp(seek_name(i), v, len) != 0))
			i++;
		if (i == SEEK_WAYS)
			return false;
		c->discover |= 1U << i;
		v += len + (v[len] == ',');
	}
	return true;
}

static bool set_scopes(struct host_conf *c, const char *v)
{
	if (strlen(v) >= sizeof(c->slp_scopes) || strpbrk(v, "()\\!<=>~;*+ ") != NULL)
		return false;
	memcpy(c->slp_scopes, v, strlen(v) + 1);
	return true;
}

static bool set_slp_agent(struct host_conf *c, const char *v)
{
	c->slp_agent = 0;
	return v[0] == 0 || addr_parse(v, &c->slp_agent) == 0;
}

static bool set_number(uint32_t *into, const char *v, uint32_t min, uint32_t max);

static bool set_dhcp_option(struct host_conf *c, const char *v)
{
	return set_number(&c->dhcp_option, v, 0, 254);
}

static bool set_source(struct host_conf *c, const char *v)
{
	c->source = 0;
	return v[0] == 0 || addr_parse(v, &c->source) == 0;
}

static bool set_method(struct host_conf *c, const char *v)
{
	int found = word_find(methods, v);

	c->method = found > 0 ? (enum rsip_kind)found : 0;
	return found >= 0;
}

static bool set_transport(struct host_conf *c, const char *v)
{
	int found = word_find(transports, v);

	c->transport = found == RSIP_UDP ? RSIP_UDP : RSIP_TCP;
	return found >= 0;
}

static bool set_tunnel(struct host_conf *c, const char *v)
{
	int found = word_find(tunnels, v);

	c->tunnel = found > 0 ? (enum rsip_tunnel)found : 0;
	return found >= 0;
}

static bool set_device(struct host_conf *c, const char *v)
{
	int found = word_find(devices, v);

	c->device = found > 0 ? (enum host_device)found : HOST_DEVICE_AUTO;
	return found >= 0;
}

static bool set_spi_mode(struct host_conf *c, const char *v)
{
	int found = word_find(spi_modes, v);

	c->spi_mode = found == HOST_SPI_FOLLOW ? HOST_SPI_FOLLOW : HOST_SPI_BLOCK;
	return found >= 0;
}

static bool set_number(uint32_t *into, const char *v, uint32_t min, uint32_t max)
{
	struct range r;

	if (strchr(v, '-') != NULL || range_parse(v, min, max, &r) != 0)
		return false;
	*into = r.lo;
	return true;
}

static bool set_ports(struct host_conf *c, const char *v)
{
	return set_number(&c->ports, v, 0, 65535);
}

static bool set_ports_max(struct host_conf *c, const char *v)
{
	return set_number(&c->ports_max, v, 0, 65535);
}

static bool set_ports_quiet(struct host_conf *c, const char *v)
{
	return set_number(&c->ports_quiet_s, v, 1, 86400);
}

static bool set_spis(struct host_conf *c, const char *v)
{
	return set_number(&c->spis, v, 1, 65535);
}

static bool set_lease(struct host_conf *c, const char *v)
{
	return set_number(&c->lease_s, v, 0, UINT32_MAX);
}

static bool set_file(char *into, const char *v)
{
	if (strlen(v) >= HOST_FILE_MAX)
		return false;
	memcpy(into, v, strlen(v) + 1);
	return true;
}

static bool set_publish(struct host_conf *c, const char *v)
{
	return set_file(c->publish.name, v);
}

static bool set_publish_server(struct host_conf *c, const char *v)
{
	uint32_t addr;
	uint16_t port;

	return (*v == 0 || endpoint_parse(v, 53, &addr, &port) == 0) &&
	       (size_t)snprintf(c->publish.server, sizeof(c->publish.server), "%s", v) <
		       sizeof(c->publish.server);
}

static bool set_publish_key(struct host_conf *c, const char *v)
{
	return set_file(c->publish.key, v);
}

static bool set_publish_ipseckey(struct host_conf *c, const char *v)
{
	return (size_t)snprintf(c->publish.ipseckey, sizeof(c->publish.ipseckey), "%s",
		       v) < sizeof(c->publish.ipseckey);
}

static bool set_key_file(struct host_conf *c, const char *v)
{
	return set_file(c->keys.key_file, v);
}

static bool set_tls_certificate(struct host_conf *c, const char *v)
{
	return set_file(c->keys.tls_certificate, v);
}

static bool set_tls_key(struct host_conf *c, const char *v)
{
	return set_file(c->keys.tls_key, v);
}

static bool set_tls_authority(struct host_conf *c, const char *v)
{
	return set_file(c->keys.tls_authority, v);
}

static bool set_tls_name(struct host_conf *c, const char *v)
{
	return set_file(c->keys.tls_name, v);
}

static const struct key {
	const char *name;
	bool (*set)(struct host_conf *c, const char *value);
	const char *problem; /* "KEY" in front, the value behind */
} keys[] = {
	{ "gateway", set_gateway, "is not ADDRESS[:PORT]" },
	{ "discover", set_discover, "is not a list of dhcp, slp, dns, route" },
	{ "dhcp-option", set_dhcp_option, "is not a number from 0 to 254" },
	{ "slp-scopes", set_scopes, "is not a list of scopes" },
	{ "slp-agent", set_slp_agent, "is not an IPv4 address" },
	{ "source", set_source, "is not an IPv4 address" },
	{ "transport", set_transport, "is neither tcp nor udp" },
	{ "method", set_method, "is not rsap-ip, rsa-ip or rsipsec" },
	{ "tunnel", set_tunnel, "is neither ipip nor gre" },
	{ "ports", set_ports, "is not a number from 0 to 65535" },
	{ "ports-max", set_ports_max, "is not a number from 0 to 65535" },
	{ "ports-quiet", set_ports_quiet, "is not a number of seconds from 1 to 86400" },
	{ "spis", set_spis, "is not a number from 1 to 65535" },
	{ "spi-mode", set_spi_mode, "is neither block nor follow" },
	{ "lease", set_lease, "is not a number of seconds" },
	{ "device", set_device, "is not auto, kernel or tun" },
	{ "publish", set_publish, "is longer than 255 bytes" },
	{ "publish-server", set_publish_server, "is not ADDRESS[:PORT]" },
	{ "publish-key", set_publish_key, "is longer than 255 bytes" },
	{ "publish-ipseckey", set_publish_ipseckey, "is longer than 1023 bytes" },
	{ "key-file", set_key_file, "is longer than 255 bytes" },
	{ "tls-certificate", set_tls_certificate, "is longer than 255 bytes" },
	{ "tls-key", set_tls_key, "is longer than 255 bytes" },
	{ "tls-authority", set_tls_authority, "is longer than 255 bytes" },
	{ "tls-name", set_tls_name, "is longer than 255 bytes" },
};

#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

int host_conf_set(
	struct host_conf *c, const char *key, const char *value, const char **problem)
{
	for (size_t i = 0; i < N_KEYS; i++) {
		struct host_conf with = *c;

		if (strcmp(keys[i].name, key) != 0)
			continue;
		if (!keys[i].set(&with, value)) {
			*problem = keys[i].problem;
			return ERR_CONFIG;
		}
		*c = with;
		return 0;
	}
	return ERR_NOTFOUND;
}

/* --- file -----------------------------------------------------------------------------
 */

/*
 * libconfuse's callbacks carry no pointer of ours, and inside a section not even the
 * file's name, so one parse at a time leaves its context here.
 */
static _Thread_local struct parse {
	const char *path;
	char *why;
	size_t size;
	struct host_conf conf;
	bool failed;
} * parse_now;

/* The first complaint is the cause; later ones are consequences. */
__attribute__((format(printf, 2, 0))) static void complain(
	const cfg_t *cfg, const char *format, va_list args)
{
	struct parse *p = parse_now;
	int n;

	if (p->failed)
		return;
	p->failed = true;
	n = snprintf(p->why, p->size, "%s:%d: ", p->path, cfg->line);
	if (n > 0 && (size_t)n < p->size)
		(void)vsnprintf(p->why + n, p->size - (size_t)n, format, args);
}

__attribute__((format(printf, 2, 0))) static void on_error(
	cfg_t *cfg, const char *format, va_list args)
{
	complain(cfg, format, args);
}

/* Values are checked while their line is known. */
static int on_value(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *name = cfg_opt_name(opt), *value = cfg_opt_getstr(opt), *problem;

	if (host_conf_set(&parse_now->conf, name, value != NULL ? value : "", &problem) ==
		0)
		return 0;
	cfg_error(cfg, "%s \"%s\" %s", name, value != NULL ? value : "", problem);
	return -1;
}

static int file_parse(struct parse *p, FILE *file)
{
	cfg_opt_t host[N_KEYS + 1];
	cfg_opt_t root[] = { CFG_SEC("host", host, CFGF_NONE), CFG_END() };
	cfg_t *cfg;
	int result;

	/* Every value is text here; CFG_END is all zero. */
	memset(host, 0, sizeof(host));
	for (size_t i = 0; i < N_KEYS; i++) {
		cfg_opt_t opt = CFG_STR(keys[i].name, NULL, CFGF_NODEFAULT);

		host[i] = opt;
	}
	cfg = cfg_init(root, CFGF_NONE);
	if (cfg == NULL)
		return -ENOMEM;
	(void)cfg_set_error_function(cfg, on_error);
	for (size_t i = 0; i < N_KEYS; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "host|%s", keys[i].name);
		(void)cfg_set_validate_func(cfg, name, on_value);
	}
	parse_now = p;
	result = cfg_parse_fp(cfg, file);
	parse_now = NULL;
	(void)cfg_free(cfg);
	if (result == CFG_SUCCESS && !p->failed)
		return 0;
	if (!p->failed)
		(void)snprintf(p->why, p->size, "%s: cannot be read", p->path);
	return ERR_CONFIG;
}

int host_conf_load(struct host_conf *c, const char *path, bool must_exist, char *why,
	size_t why_size)
{
	struct parse p = { .path = path, .why = why, .size = why_size, .conf = *c };
	FILE *file = fopen(path, "re");
	struct stat st;
	int err;

	if (file == NULL) {
		if (errno == ENOENT && !must_exist)
			return 0;
		(void)snprintf(why, why_size, "%s: %s", path, strerror(errno));
		return ERR_CONFIG;
	}
	/* The parser ends the program when it cannot read, as from a directory. */
	if (fstat(fileno(file), &st) == 0 && S_ISDIR(st.st_mode)) {
		(void)snprintf(why, why_size, "%s: %s", path, strerror(EISDIR));
		err = ERR_CONFIG;
	} else {
		err = file_parse(&p, file);
	}
	(void)fclose(file);
	if (err == 0)
		*c = p.conf;
	return err;
}
