/*
 * rsip ike strongswan: the lease of `rsip up` as a drop-in for charon.
 */
#include "cli/host.h"

#include "base/addr.h"
#include "base/err.h"
#include "cli/hostd.h"
#include "ike/strongswan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_FILE "/etc/strongswan.d/rsip.conf"
#define RANGES_MAX   512
#define TEXT_MAX     1024

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

static int write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Whole or not at all: charon may read it at any moment. */
static int file_write(const char *path, const char *text)
{
	char temp[4096];
	int fd, err;

	if ((size_t)snprintf(temp, sizeof(temp), "%s.XXXXXX", path) >= sizeof(temp))
		return -ENAMETOOLONG;
	fd = mkstemp(temp);
	if (fd < 0)
		return -errno;
	err = write_all(fd, text, strlen(text));
	if (err == 0 && (fchmod(fd, 0644) != 0 || fsync(fd) != 0))
		err = -errno;
	if (close(fd) != 0 && err == 0)
		err = -errno;
	if (err == 0 && rename(temp, path) != 0)
		err = -errno;
	if (err != 0)
		(void)unlink(temp);
	return err;
}

/* No other program draws these ports from now on. */
static int ports_reserve(const struct cli *cli, const struct strongswan *s)
{
	json_t *reply = NULL;
	int status = hostd_call(cli, HOSTD_NEVER, NULL, "org.rsipsec.host.Reserve",
		json_pack("{s:[i, i]}", "ports", (int)s->port, (int)s->port_nat_t),
		&reply);

	if (status == CLI_OK)
		json_decref(reply);
	return status;
}

static void say_what_else(const struct strongswan *s, const char *path)
{
	char address[ADDR_TEXT_MAX];

	(void)fprintf(stderr,
		"rsip: what must also hold:\n"
		"  - %s is included by strongswan.conf, and charon is started, or told\n"
		"    `swanctl --reload-settings`, after this (port and cookies: "
		"started)\n"
		"  - each connection has mobike = no and local_addrs = %s\n"
		"  - transport mode names leased ports in local_ts, as an aligned "
		"block\n",
		path, addr_format(s->address, address));
}

static int drop_in(const struct cli *cli, const char *path, const struct strongswan *s)
{
	char text[TEXT_MAX];
	int err = 0, status = ports_reserve(cli, s);

	if (status != CLI_OK)
		return status;
	(void)strongswan_format(s, text, sizeof(text));
	if (strcmp(path, "-") == 0) {
		if (fputs(text, stdout) == EOF || fflush(stdout) != 0)
			err = -EIO;
	} else {
		err = file_write(path, text);
	}
	if (err != 0) {
		(void)fprintf(stderr, "rsip: %s: %s\n", path, err_text(err));
		return CLI_FAILED;
	}
	say_what_else(s, path);
	return CLI_OK;
}

int host_ike_strongswan(struct cli *cli, const void *options, int argc, char **argv)
{
	const struct host_options *o = options;
	struct strongswan s = { 0 };
	json_t *reply = NULL;
	int status = hostd_call(
		cli, HOSTD_NEVER, NULL, "org.rsipsec.host.Status", json_object(), &reply);
	int err;

	(void)argc, (void)argv;
	if (status != CLI_OK)
		return status;
	err = lease_choose(reply, &s);
	json_decref(reply);
	if (err == ERR_NOTFOUND)
		return cli_fail(ERR_REFUSED,
			"no lease has 16 SPIs in a row, which charon needs; "
			"`rsip up --method rsipsec --spis 64` makes one");
	if (err != 0)
		return cli_fail(err, NULL);
	return drop_in(cli, o->output != NULL ? o->output : DEFAULT_FILE, &s);
}
