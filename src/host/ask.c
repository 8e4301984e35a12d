/* Parameters of a control call to what the session is asked. */
#include "base/err.h"
#include "host/ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPIS_NAMED_MAX 16000
/* RFC 2407 section 4.6.2.1 */
#define ID_ANY       0
#define ID_IPV4_ADDR 1
#define ID_FQDN      2
#define ID_USER_FQDN 3
#define ID_KEY_ID    11

/* A parameter as text: strings as they are, numbers in decimal; false: neither. */
static bool text_of(const json_t *value, char *text, size_t size)
{
	if (json_is_string(value))
		return (size_t)snprintf(text, size, "%s", json_string_value(value)) <
		       size;
	if (!json_is_integer(value))
		return false;
	(void)snprintf(text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return true;
}

static int spi_parse(struct ask *ask, const char *text)
{
	size_t most = 1;
	struct range one;

	for (const char *p = text; *p != 0; p++)
		most += *p == ',';
	free(ask->spi);
	ask->n_spi = 0;
	ask->spi = calloc(most, sizeof(*ask->spi));
	if (ask->spi == NULL || most > SPIS_NAMED_MAX)
		return ERR_RANGE;
	while (*text != 0) {
		char number[16];
		size_t len = strcspn(text, ",");

		if (len == 0 || len >= sizeof(number))
			return ERR_MALFORMED;
		memcpy(number, text, len);
		number[len] = 0;
		if (strchr(number, '-') != NULL ||
			range_parse(number, 1, UINT32_MAX, &one) != 0)
			return ERR_MALFORMED;
		ask->spi[ask->n_spi++] = one.lo;
		text += len + (text[len] == ',');
	}
	return ask->n_spi > 0 ? 0 : ERR_MALFORMED;
}

static int remote_parse(struct ask *ask, const char *text)
{
	if (strchr(text, ':') == NULL) {
		ask->remote_port = 0;
		return addr_parse(text, &ask->remote);
	}
	return endpoint_parse(text, 0, &ask->remote, &ask->remote_port);
}

static int port_parse(struct ask *ask, const char *text)
{
	struct range r;

	if (strchr(text, '-') != NULL || range_parse(text, 1, UINT16_MAX, &r) != 0)
		return ERR_MALFORMED;
	ask->port = r.lo;
	return 0;
}

static int address_parse(struct ask *ask, const char *text)
{
	return addr_parse(text, &ask->address);
}

/* An identity: its data to ask->peer_data. */
static int identity_set(struct ask *ask, uint8_t type, const void *data, size_t len)
{
	if ((len == 0) != (type == ID_ANY) || len > sizeof(ask->peer_data))
		return ERR_RANGE;
	memcpy(ask->peer_data, data, len);
	ask->peer = (struct rsip_identity){ type, (uint8_t)len, ask->peer_data };
	ask->for_ike = true;
	return 0;
}

/* "keyid:HEX" */
static int key_id_parse(struct ask *ask, const char *hex)
{
	uint8_t data[RSIP_IDENTITY_MAX];
	size_t n = strlen(hex) / 2;

	if (strlen(hex) % 2 != 0 || n > sizeof(data) ||
		strspn(hex, "0123456789abcdefABCDEF") != 2 * n)
		return ERR_MALFORMED;
	for (size_t i = 0; i < n; i++) {
		const char two[] = { hex[2 * i], hex[2 * i + 1], 0 };

		data[i] = (uint8_t)strtoul(two, NULL, 16);
	}
	return identity_set(ask, ID_KEY_ID, data, n);
}

/* As IKE daemons write them: an address, a name, a mail address, "keyid:HEX", "any". */
static int ike_id_parse(struct ask *ask, const char *text)
{
	uint8_t bytes[4];
	uint32_t addr;

	if (strcmp(text, "any") == 0)
		return identity_set(ask, ID_ANY, "", 0);
	if (strncmp(text, "keyid:", 6) == 0)
		return key_id_parse(ask, text + 6);
	if (addr_parse(text, &addr) == 0) {
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)(addr >> (24 - 8 * i));
		return identity_set(ask, ID_IPV4_ADDR, bytes, sizeof(bytes));
	}
	if (text[0] == '@') /* a name that is meant as one, whatever it looks like */
		text++;
	return identity_set(ask, strchr(text, '@') != NULL ? ID_USER_FQDN : ID_FQDN, text,
		strlen(text));
}

/* What one lease may name besides the configuration's keys. */
static const struct {
	const char *key;
	int (*parse)(struct ask *ask, const char *text);
	const char *problem;
} more[] = {
	{ "port", port_parse, "is not a port" },
	{ "spi", spi_parse, "is not a number above 0, or several with commas" },
	{ "address", address_parse, "is not an IPv4 address" },
	{ "remote", remote_parse, "is not ADDRESS[:PORT]" },
	{ "ike-id", ike_id_parse,
		"is no identity: an address, a name, a mail address, keyid:HEX or any" },
};

#define N_MORE (sizeof(more) / sizeof(more[0]))

static int set(struct ask *ask, const char *key, const char *text, const char **problem)
{
	int err = host_conf_set(&ask->conf, key, text, problem);

	for (size_t i = 0; i < N_MORE && err == ERR_NOTFOUND; i++) {
		if (strcmp(more[i].key, key) != 0)
			continue;
		err = more[i].parse(ask, text) == 0 ? 0 : ERR_CONFIG;
		*problem = more[i].problem;
	}
	return err;
}

int ask_parse(
	const struct host *h, json_t *params, struct ask *ask, char *why, size_t why_size)
{
	const char *key, *file = json_string_value(json_object_get(params, "config"));
	const char *problem = "";
	json_t *value;

	*ask = (struct ask){ .conf = h->conf };
	if (file != NULL) {
		int err;

		host_conf_init(&ask->conf);
		err = host_conf_load(&ask->conf, file, true, why, why_size);
		if (err != 0)
			return err;
	}
	json_object_foreach(params, key, value)
	{
		char text[4096];
		int err;

		if (strcmp(key, "config") == 0 || json_is_array(value))
			continue; /* lists are the command's own */
		if (strcmp(key, "exact") == 0) {
			ask->exact = json_is_true(value);
			continue;
		}
		if (!text_of(value, text, sizeof(text))) {
			(void)snprintf(why, why_size, "%s is too long or no text", key);
			return ERR_CONFIG;
		}
		err = set(ask, key, text, &problem);
		if (err == ERR_NOTFOUND)
			continue; /* of another command, or of a newer client */
		if (err != 0) {
			(void)snprintf(why, why_size, "%s \"%s\" %s", key, text, problem);
			return ERR_CONFIG;
		}
		ask->spis_given = ask->spis_given || strcmp(key, "spi") == 0 ||
				  strcmp(key, "spis") == 0;
	}
	return 0;
}

void ask_fini(struct ask *ask)
{
	free(ask->spi);
	ask->spi = NULL;
}

enum rsip_kind ask_kind(const struct ask *ask, const struct rsip_registration *r)
{
	if (ask->conf.method != 0)
		return ask->conf.method;
	/* A host may try it where it is not listed (S-6-01). */
	if (ask->spis_given || (r->methods & 1u << RSIP_RSIPSEC) != 0)
		return RSIP_RSIPSEC;
	return RSIP_RSAP_IP;
}

static struct rsip_numbers ports_wanted(const struct ask *ask, uint32_t n)
{
	if (n == 0)
		return (struct rsip_numbers){ .form = RSIP_DONT_NEED };
	return (struct rsip_numbers){
		.form = ask->port != 0 ? RSIP_BLOCK : RSIP_ANY,
		.count = n,
		.first = ask->port,
	};
}

/* One named SPI and a number of them is a block; several named ones are a list. */
static struct rsip_numbers spis_wanted(const struct ask *ask)
{
	if (ask->n_spi > 1)
		return (struct rsip_numbers){
			.form = RSIP_LIST,
			.count = (uint32_t)ask->n_spi,
			.list = ask->spi,
		};
	return (struct rsip_numbers){
		.form = ask->n_spi == 1 ? RSIP_BLOCK : RSIP_ANY,
		.count = host_conf_spis(&ask->conf),
		.first = ask->n_spi == 1 ? ask->spi[0] : 0,
	};
}

struct rsip_want ask_want(const struct ask *ask, enum rsip_kind kind, uint32_t ports)
{
	struct rsip_want want = {
		.kind = kind,
		.address = ask->address,
		.remote = { .address = ask->remote, .port = ask->remote_port },
		.lease_s = ask->conf.lease_s,
		.tunnels[0] = ask->conf.tunnel,
		.n_tunnels = ask->conf.tunnel != 0,
		.exact = ask->exact,
	};

	if (kind == RSIP_LISTEN_IKE)
		want.peer = ask->peer;
	else if (kind != RSIP_RSA_IP)
		want.ports = ports_wanted(ask, ports);
	if (kind == RSIP_RSIPSEC)
		want.spis = spis_wanted(ask);
	return want;
}

uint32_t ask_next_hop(const struct host *h)
{
	struct route4 *routes;
	const struct route4 *best = NULL;
	size_t n;
	uint32_t hop = 0;

	if (h->nl == NULL || nl_route_list(h->nl, false, &routes, &n) != 0)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (routes[i].dst.len == 0 && routes[i].via != 0 &&
			(best == NULL || routes[i].metric < best->metric))
			best = &routes[i];
	if (best != NULL)
		hop = best->via;
	free(routes);
	return hop;
}

int ask_gateway(
	struct host *h, const struct ask *ask, struct gw **gw, char *why, size_t why_size)
{
	struct host_conf conf = ask->conf;

	if (h->stop) {
		(void)snprintf(why, why_size, "rsip-hostd is ending");
		return ERR_UNREACHABLE; /* whoever asks starts another one */
	}
	if (h->downing) {
		(void)snprintf(why, why_size, "it is going down; try again");
		return ERR_REFUSED;
	}
	if (conf.gateway == 0 && h->gws != NULL) {
		*gw = h->gws;
		return 0;
	}
	*gw = NULL;
	if (conf.gateway == 0)
		return 0;
	return gw_get(h, &conf, gw, why, why_size);
}
