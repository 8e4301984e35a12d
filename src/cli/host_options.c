/* Options of the host's commands, and how they travel to rsip-hostd. */
#include "cli/host.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(struct host_options, member)

#define OPT_GATEWAY                                                         \
	{                                                                   \
		"gateway", 'g', CLI_TEXT, AT(gateway), "ADDRESS[:PORT]",    \
			"the RSIP gateway (file, else default route)", 0, 0 \
	}
#define OPT_CONF                                                    \
	{                                                           \
		"config", 'c', CLI_TEXT, AT(conf), "FILE",          \
			"configuration (/etc/rsip/rsip.conf)", 0, 0 \
	}
#define OPT_METHOD                                                         \
	{                                                                  \
		"method", 0, CLI_TEXT, AT(method), "METHOD",               \
			"rsap-ip, rsa-ip or rsipsec (where offered)", 0, 0 \
	}
#define OPT_PORTS(most)                                                             \
	{                                                                           \
		"ports", 0, CLI_U32, AT(ports), "N", "how many ports (64)", 0, most \
	}
#define OPT_PORTS_MAX                                                          \
	{                                                                      \
		"ports-max", 0, CLI_U32, AT(ports_max), "N",                   \
			"grow to so many when they run short (1024)", 0, 65535 \
	}
#define OPT_SPIS                                                                  \
	{                                                                         \
		"spis", 0, CLI_U32, AT(spis), "N", "how many SPIs (64)", 1, 65535 \
	}
#define OPT_SPI_MODE                                                     \
	{                                                                \
		"spi-mode", 0, CLI_TEXT, AT(spi_mode), "block|follow",   \
			"who chooses SPIs: gateway or IKE (block)", 0, 0 \
	}
#define OPT_TRANSPORT                                               \
	{                                                           \
		"transport", 0, CLI_TEXT, AT(transport), "tcp|udp", \
			"to the gateway (tcp)", 0, 0                \
	}
#define OPT_SOURCE                                              \
	{                                                       \
		"source", 0, CLI_TEXT, AT(source), "ADDRESS",   \
			"our address towards the gateway", 0, 0 \
	}
#define OPT_TUNNEL                                                 \
	{                                                          \
		"tunnel", 0, CLI_TEXT, AT(tunnel), "ipip|gre",     \
			"tunnel type (the gateway's choice)", 0, 0 \
	}
#define OPT_ADDRESS                                             \
	{                                                       \
		"address", 0, CLI_TEXT, AT(address), "ADDRESS", \
			"the address to lease (any)", 0, 0      \
	}
#define OPT_LEASE                                                                        \
	{                                                                                \
		"lease", 0, CLI_U32, AT(lease), "SECONDS", "lease time wished for", 0, 0 \
	}
#define OPT_REMOTE                                                      \
	{                                                               \
		"remote", 0, CLI_TEXT, AT(remote), "ADDRESS[:PORT]",    \
			"the only peer, where policy demands one", 0, 0 \
	}
#define OPT_PORT                                                                         \
	{                                                                                \
		"port", 0, CLI_U32, AT(port), "N", "this port, or the first of --ports", \
			1, 65535                                                         \
	}
#define OPT_SPI                                                    \
	{                                                          \
		"spi", 0, CLI_TEXT, AT(spi), "0xN[,0xN...]",       \
			"these SPIs, or the first of --spis", 0, 0 \
	}
#define OPT_EXACT                                                                        \
	{                                                                                \
		"exact", 0, CLI_FLAG, AT(exact), NULL, "take nothing but what is named", \
			0, 0                                                             \
	}
#define OPT_FILE(name, member, help)                              \
	{                                                         \
		name, 0, CLI_TEXT, AT(member), "FILE", help, 0, 0 \
	}
#define OPTS_PUBLISH                                                                   \
	{ "publish", 0, CLI_TEXT, AT(publish), "NAME",                                 \
		"keep this name in signed DNS up to date", 0, 0 },                     \
		{ "publish-server", 0, CLI_TEXT, AT(publish_server), "ADDRESS[:PORT]", \
			"the zone's primary name server", 0, 0 },                      \
		OPT_FILE("publish-key", publish_key, "TSIG key for it"),               \
	{                                                                              \
		"publish-ipseckey", 0, CLI_TEXT, AT(publish_ipseckey), "RECORD",       \
			"our IKE key, as 10 0 4 . BASE64", 0, 0                        \
	}
#define OPTS_PROOF                                                                     \
	OPT_FILE("key-file", key_file, "the key that we share with the gateway"),      \
		OPT_FILE("tls-certificate", tls_certificate, "our certificate"),       \
		OPT_FILE("tls-key", tls_key, "its private key"),                       \
		OPT_FILE("tls-authority", tls_authority, "who signs the gateway's"),   \
	{                                                                              \
		"tls-name", 0, CLI_TEXT, AT(tls_name), "NAME",                         \
			"what the gateway's certificate must name (its address)", 0, 0 \
	}
#define OPT_END   \
	{         \
		0 \
	}

const struct cli_option host_up_options[] = { OPT_GATEWAY, OPT_CONF, OPT_METHOD,
	OPT_PORTS(65535), OPT_PORTS_MAX, OPT_SPIS, OPT_SPI_MODE, OPT_TRANSPORT,
	OPT_TUNNEL, OPT_SOURCE, OPTS_PROOF, OPTS_PUBLISH, OPT_ADDRESS, OPT_LEASE,
	OPT_END };

const struct cli_option host_lease_options[] = { OPT_GATEWAY, OPT_CONF, OPT_METHOD,
	OPT_PORTS(255), OPT_PORT, OPT_SPIS, OPT_SPI, OPT_ADDRESS, OPT_REMOTE, OPT_LEASE,
	OPT_EXACT, OPT_TRANSPORT, OPT_TUNNEL, OPT_SOURCE, OPTS_PROOF, OPT_END };

const struct cli_option host_listen_options[] = { OPT_GATEWAY, OPT_CONF, OPT_PORT,
	{ "ike-id", 0, CLI_TEXT, AT(ike_id), "ID",
		"in place of a port: IKE of the peer with this identity", 0, 0 },
	OPT_PORTS(255), OPT_ADDRESS, OPT_REMOTE, OPT_LEASE, OPT_TRANSPORT, OPT_TUNNEL,
	OPT_SOURCE, OPTS_PROOF, OPT_END };

const struct cli_option host_query_options[] = { OPT_GATEWAY, OPT_CONF, OPT_TRANSPORT,
	OPT_SOURCE, OPTS_PROOF, OPT_END };

const struct cli_option host_exec_options[] = { OPT_GATEWAY, OPT_CONF, OPT_METHOD,
	OPT_PORTS(255), OPT_PORT, OPT_SPIS, OPT_SPI, OPT_ADDRESS, OPT_REMOTE, OPT_LEASE,
	OPT_TRANSPORT, OPT_TUNNEL, OPT_SOURCE, OPTS_PROOF,
	{ "user", 0, CLI_TEXT, AT(user), "NAME", "run as that user (who called)", 0, 0 },
	OPT_END };

const struct cli_option host_ike_options[] = {
	{ "output", 'o', CLI_TEXT, AT(output), "FILE",
		"where to, - is standard output (/etc/strongswan.d/rsip.conf)", 0, 0 },
	{ "check", 0, CLI_FLAG, AT(check), NULL,
		"write nothing: compare file and running charon with the lease", 0, 0 },
	{ "vici", 0, CLI_TEXT, AT(vici), "PATH",
		"charon's control socket (/var/run/charon.vici)", 0, 0 },
	{ "swanctl", 0, CLI_TEXT, AT(swanctl), "FILE",
		"its connections, to check (/etc/swanctl/swanctl.conf)", 0, 0 },
	OPT_END
};

const struct cli_option host_ike_libreswan_options[] = {
	{ "output", 'o', CLI_TEXT, AT(output), "FILE",
		"where to, - is standard output (-)", 0, 0 },
	OPT_END
};

static int put_text(json_t *params, const char *key, const char *value)
{
	return value == NULL ? 0 : json_object_set_new(params, key, json_string(value));
}

static int put_number(json_t *params, const char *key, const struct cli_u32 *value)
{
	return value->set ? json_object_set_new(params, key, json_integer(value->value))
			  : 0;
}

/* The daemon stands in another directory. */
static int put_file(json_t *params, const char *key, const char *value)
{
	char *full = value != NULL ? realpath(value, NULL) : NULL;
	int bad = put_text(params, key, full != NULL ? full : value);

	free(full);
	return bad;
}

json_t *host_params(const struct host_options *o)
{
	json_t *params = json_object();
	int bad = 0;

	bad |= put_file(params, "config", o->conf);
	bad |= put_text(params, "publish", o->publish);
	bad |= put_text(params, "publish-server", o->publish_server);
	bad |= put_file(params, "publish-key", o->publish_key);
	bad |= put_text(params, "publish-ipseckey", o->publish_ipseckey);
	bad |= put_file(params, "key-file", o->key_file);
	bad |= put_file(params, "tls-certificate", o->tls_certificate);
	bad |= put_file(params, "tls-key", o->tls_key);
	bad |= put_file(params, "tls-authority", o->tls_authority);
	bad |= put_text(params, "tls-name", o->tls_name);
	bad |= put_text(params, "gateway", o->gateway);
	bad |= put_text(params, "method", o->method);
	bad |= put_text(params, "transport", o->transport);
	bad |= put_text(params, "spi-mode", o->spi_mode);
	bad |= put_text(params, "tunnel", o->tunnel);
	bad |= put_text(params, "source", o->source);
	bad |= put_text(params, "address", o->address);
	bad |= put_text(params, "spi", o->spi);
	bad |= put_text(params, "remote", o->remote);
	bad |= put_text(params, "ike-id", o->ike_id);
	bad |= put_number(params, "ports", &o->ports);
	bad |= put_number(params, "ports-max", &o->ports_max);
	bad |= put_number(params, "port", &o->port);
	bad |= put_number(params, "spis", &o->spis);
	bad |= put_number(params, "lease", &o->lease);
	if (o->exact)
		bad |= json_object_set_new(params, "exact", json_true());
	if (bad != 0) {
		json_decref(params);
		return NULL;
	}
	return params;
}
