#pragma once

#include "cli/cli.h"

#include <stddef.h>

/* The commands of a host, for the table in commands.c. */
int host_up(struct cli *cli, const void *options, int argc, char **argv);
int host_down(struct cli *cli, const void *options, int argc, char **argv);
int host_status(struct cli *cli, const void *options, int argc, char **argv);
int host_lease(struct cli *cli, const void *options, int argc, char **argv);
int host_listen(struct cli *cli, const void *options, int argc, char **argv);
int host_extend(struct cli *cli, const void *options, int argc, char **argv);
int host_free(struct cli *cli, const void *options, int argc, char **argv);
int host_query(struct cli *cli, const void *options, int argc, char **argv);
int host_exec(struct cli *cli, const void *options, int argc, char **argv);
int host_ike_strongswan(struct cli *cli, const void *options, int argc, char **argv);
int host_ike_libreswan(struct cli *cli, const void *options, int argc, char **argv);

/* Options of every command that may ask a gateway; each uses some of them. */
struct host_options {
	const char *gateway, *conf, *method, *transport, *tunnel, *source, *spi_mode;
	const char *publish, *publish_server, *publish_key, *publish_ipseckey;
	const char *key_file, *tls_certificate, *tls_key, *tls_authority, *tls_name;
	const char *address, *spi, *remote, *user, *output, *vici, *swanctl, *ike_id;
	struct cli_u32 ports, ports_max, spis, port, lease;
	bool exact, check;
};

extern const struct cli_option host_up_options[];
extern const struct cli_option host_lease_options[];
extern const struct cli_option host_listen_options[];
extern const struct cli_option host_query_options[];
extern const struct cli_option host_exec_options[];
extern const struct cli_option host_ike_options[];
extern const struct cli_option host_ike_libreswan_options[];

/* The options that are given, as a call's parameters. */
json_t *host_params(const struct host_options *o);
