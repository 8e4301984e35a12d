/*
 * rsip ike strongswan: the lease of `rsip up` as a drop-in for charon.
 */
#include "cli/host.h"

#include "base/addr.h"
#include "base/err.h"
#include "cli/hostd.h"
#include "cli/ike_check.h"
#include "ike/dropin.h"
#include "ike/libreswan.h"
#include "ike/strongswan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_FILE    "/etc/strongswan.d/rsip.conf"
#define DEFAULT_SOCKET  "/var/run/charon.vici"
#define DEFAULT_SWANCTL "/etc/swanctl/swanctl.conf"
#define RANGES_MAX      512
#define TEXT_MAX        1024

/* "0xc0010000-0xc001003f,0xc0020000" as ranges; how many. */
static size_t ranges_read(const json_t *binding, const char *key, struct range *r)
{
	const char *text = json_string_value(json_object_get(binding, key));
	size_t n = 0;

	while (text != NULL && *text != 0 && n < RANGES_MAX) {
		char one[32];
		size_t len = strcspn(text, ",");

		if (len >= sizeof(one))
			break;
		memcpy(one, text, len);
		one[len] = 0;
		if (range_parse(one, 0, UINT32_MAX, &r[n]) != 0)
			break;
		n++;
		text += len + (text[len] == ',');
	}
	return n;
}

/* The first binding with enough SPIs in a row, and the address's ports. */
static int lease_choose(const json_t *status, struct strongswan *s)
{
	const json_t *bindings = json_object_get(status, "bindings"), *b;
	struct range *r = calloc(RANGES_MAX, sizeof(*r));
	int err = ERR_NOTFOUND;
	size_t i;

	if (r == NULL)
		return -ENOMEM;
	json_array_foreach(bindings, i, b)
	{
		size_t n = ranges_read(b, "spis", r);
		const char *address = json_string_value(json_object_get(b, "address"));

		if (strongswan_spis(r, n, &s->spis) != 0 || address == NULL)
			continue;
		err = addr_parse(address, &s->address);
		s->bind_id = (uint32_t)json_integer_value(json_object_get(b, "bind_id"));
		n = ranges_read(b, "ports", r);
		strongswan_ports(r, n, &s->port, &s->port_nat_t);
		break;
	}
	free(r);
	return err;
}

/* No other program draws these ports from now on. */
static int ports_reserve(const struct cli *cli, const struct strongswan *s,
	const char *file, const char *socket)
{
	json_t *reply = NULL;
	int status = hostd_call(cli, HOSTD_NEVER, NULL, "org.rsipsec.host.Reserve",
		json_pack("{s:[i, i], s:s?, s:s?}", "ports", (int)s->port,
			(int)s->port_nat_t, "file", file, "socket", socket),
		&reply);

	if (status == CLI_OK)
		json_decref(reply);
	return status;
}

static void say_what_else(const struct strongswan *s, const char *path)
{
	char address[ADDR_TEXT_MAX];

	(void)fputs("rsip: what must also hold:\n", stderr);
	if (strcmp(path, "-") == 0)
		(void)fputs(
			"  - strongswan.conf includes this, and charon was started after "
			"that\n",
			stderr);
	else
		(void)fprintf(stderr,
			"  - strongswan.conf includes %s, and charon was started after "
			"that;\n"
			"    rsip-hostd keeps the file in step with the lease and has "
			"charon read its SPIs\n",
			path);
	(void)fprintf(stderr,
		"  - each connection has local_addrs = %s\n"
		"  - each connection has mobike = no%s\n"
		"  - transport mode names leased ports in local_ts, as an aligned "
		"block\n"
		"rsip ike strongswan --check looks whether it does\n",
		addr_format(s->address, address),
		s->port_nat_t != 0 ? ", or port_nat_t stays as it is here" : "");
}

/* Somebody's path as the daemon, which stands elsewhere, must have it; free it. */
static char *absolute(const char *path)
{
	char *dir, *full = NULL;

	if (path[0] == '/')
		return strdup(path);
	dir = realpath(".", NULL);
	if (dir == NULL || asprintf(&full, "%s/%s", dir, path) < 0)
		full = NULL;
	free(dir);
	return full;
}

static int drop_in(const struct cli *cli, const char *path, const char *socket,
	const struct strongswan *s)
{
	bool is_file = strcmp(path, "-") != 0;
	char text[TEXT_MAX], *full = is_file ? absolute(path) : NULL;
	int err = 0, status;

	(void)strongswan_format(s, text, sizeof(text));
	if (is_file)
		err = full != NULL ? dropin_write(path, text) : -ENOMEM;
	else if (fputs(text, stdout) == EOF || fflush(stdout) != 0)
		err = -EIO;
	if (err != 0) {
		free(full);
		(void)fprintf(stderr, "rsip: %s: %s\n", path, err_text(err));
		return CLI_FAILED;
	}
	status = ports_reserve(cli, s, full, is_file ? socket : NULL);
	free(full);
	if (status == CLI_OK)
		say_what_else(s, path);
	return status;
}

int host_ike_strongswan(struct cli *cli, const void *options, int argc, char **argv)
{
	const struct host_options *o = options;
	const char *path = o->output != NULL ? o->output : DEFAULT_FILE;
	const char *socket = o->vici != NULL ? o->vici : DEFAULT_SOCKET;
	struct strongswan s = { 0 };
	struct ike_check check = {
		.want = &s,
		.file = path,
		.socket = socket,
		.swanctl = o->swanctl != NULL ? o->swanctl : DEFAULT_SWANCTL,
	};
	json_t *reply = NULL;
	int status = hostd_call(
		cli, HOSTD_NEVER, NULL, "org.rsipsec.host.Status", json_object(), &reply);
	int err;

	(void)argc, (void)argv;
	if (status != CLI_OK)
		return status;
	check.status = reply;
	err = lease_choose(reply, &s);
	if (err == ERR_NOTFOUND)
		status = cli_fail(ERR_REFUSED,
			"no lease has 16 SPIs in a row, which charon needs; "
			"`rsip up --method rsipsec --spis 64` makes one");
	else if (err != 0)
		status = cli_fail(err, NULL);
	else
		status = o->check ? ike_check(&check) : drop_in(cli, path, socket, &s);
	json_decref(reply);
	return status;
}

/* The section to a file or to standard output, and the port kept free for it. */
static int conn_put(const struct cli *cli, const char *path, const struct libreswan *l,
	const char *text)
{
	const struct strongswan ports = { .port = l->port, .port_nat_t = 0 };
	int err = 0;

	if (strcmp(path, "-") != 0)
		err = dropin_write(path, text);
	else if (fputs(text, stdout) == EOF || fflush(stdout) != 0)
		err = -EIO;
	if (err != 0) {
		(void)fprintf(stderr, "rsip: %s: %s\n", path, err_text(err));
		return CLI_FAILED;
	}
	return ports_reserve(cli, &ports, NULL, NULL);
}

/* The first leased address, of `up` if anything is. */
static const json_t *first_binding(const json_t *status)
{
	return json_array_get(json_object_get(status, "bindings"), 0);
}

int host_ike_libreswan(struct cli *cli, const void *options, int argc, char **argv)
{
	const struct host_options *o = options;
	const char *address;
	struct range *r = calloc(RANGES_MAX, sizeof(*r));
	struct libreswan l = { 0 };
	json_t *reply = NULL;
	char text[TEXT_MAX];
	int status = hostd_call(
		cli, HOSTD_NEVER, NULL, "org.rsipsec.host.Status", json_object(), &reply);

	(void)argc, (void)argv;
	if (status != CLI_OK || r == NULL) {
		free(r);
		return status != CLI_OK ? status : cli_fail(-ENOMEM, NULL);
	}
	address = json_string_value(json_object_get(first_binding(reply), "address"));
	if (!json_is_object(json_object_get(reply, "follow")) || address == NULL ||
		addr_parse(address, &l.address) != 0) {
		status = cli_fail(ERR_REFUSED,
			"libreswan chooses its SPIs itself: rsip up --spi-mode follow");
	} else {
		size_t n = ranges_read(first_binding(reply), "ports", r);

		l.port = n > 0 ? (uint16_t)r[0].lo : 0;
		(void)libreswan_format(&l, text, sizeof(text));
		status = conn_put(cli, o->output != NULL ? o->output : "-", &l, text);
	}
	free(r);
	json_decref(reply);
	return status;
}
