/*
 * `rsip config ...`: the life of rsipd's configuration.  The daemon writes no file; who
 * calls this command does, and needs the right to.
 */
#include "base/err.h"
#include "cli/cli.h"
#include "conf/conf.h"
#include "conf/diff.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/rsip/rsipd.sock"
#define TIMEOUT_MS     10000
#define TRIAL_MAX_S    86400

static const char *socket_of(const struct cli *cli)
{
	return cli->socket != NULL ? cli->socket : DEFAULT_SOCKET;
}

static int load(const char *file, struct conf **conf)
{
	char why[CONF_WHY] = "";
	int err = conf_load(file, conf, why, sizeof(why));

	return err != 0 ? cli_fail(err, why[0] != 0 ? why : err_text(err)) : CLI_OK;
}

static int run_check(struct cli *cli, const void *options, int argc, char **argv)
{
	struct conf *conf;
	int status = load(argv[0], &conf);

	(void)cli, (void)options, (void)argc;
	if (status == CLI_OK)
		conf_free(conf);
	return status;
}

/* --- differences ----------------------------------------------------------------------
 */

static void print_change(void *ctx, const struct conf_change *c)
{
	(void)ctx;
	if (c->key == NULL)
		(void)printf("%c %s %s\n", c->gone ? '-' : '+', c->section, c->title);
	else
		(void)printf("  %s%s%s %s: %s -> %s\n", c->section,
			c->title != NULL ? " " : "", c->title != NULL ? c->title : "",
			c->key, c->before[0] != 0 ? c->before : "(empty)",
			c->after[0] != 0 ? c->after : "(empty)");
}

static void json_change(void *ctx, const struct conf_change *c)
{
	/* A member that cannot be made is null, a row that cannot is missing. */
	(void)json_array_append_new(ctx,
		c->key == NULL
			? json_pack("{s:s, s:s, s:s}", "section", c->section, "title",
				  c->title, "change", c->gone ? "gone" : "new")
			: json_pack("{s:s, s:s?, s:s, s:s, s:s}", "section", c->section,
				  "title", c->title, "key", c->key, "before", c->before,
				  "after", c->after));
}

static int run_diff(struct cli *cli, const void *options, int argc, char **argv)
{
	json_t *running, *rows = json_array();
	struct conf *conf;
	int n, status = load(argv[0], &conf);

	(void)options, (void)argc;
	if (status == CLI_OK) {
		status = cli_call(socket_of(cli), "org.rsipsec.gateway.GetConfiguration",
			NULL, TIMEOUT_MS, &running);
		if (status != CLI_OK)
			conf_free(conf);
	}
	if (status != CLI_OK) {
		json_decref(rows);
		return status;
	}
	n = conf_diff(json_string_value(json_object_get(running, "text")), conf->text,
		cli->json ? json_change : print_change, rows);
	conf_free(conf);
	json_decref(running);
	if (n < 0) {
		json_decref(rows);
		return cli_fail(n, err_text(n));
	}
	if (cli->json)
		status = cli_print_json(rows);
	else
		json_decref(rows);
	if (status != CLI_OK || fflush(stdout) != 0)
		return CLI_FAILED;
	return n > 0 ? CLI_FAILED : CLI_OK;
}

/* --- apply ----------------------------------------------------------------------------
 */

/* The new text beside the old file, then in its place: one or the other is there. */
static int file_replace(const char *file, const char *text)
{
	char temp[4096];
	struct stat st;
	bool known = stat(file, &st) == 0;
	size_t len = strlen(text);
	int fd, err = 0;

	if (snprintf(temp, sizeof(temp), "%s.new", file) >= (int)sizeof(temp))
		return -ENAMETOOLONG;
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		known ? st.st_mode & 0777 : 0644);
	if (fd < 0)
		return -errno;
	errno = 0;
	if (write(fd, text, len) != (ssize_t)len || fsync(fd) != 0)
		err = errno != 0 ? -errno : -ENOSPC;
	/* Its user reads it again. */
	if (err == 0 && known && geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid) != 0)
		err = -errno;
	if (close(fd) != 0 && err == 0)
		err = -errno;
	if (err == 0 && rename(temp, file) != 0)
		err = -errno;
	if (err != 0)
		(void)unlink(temp);
	return err;
}

static int save(const char *file, const char *text)
{
	char why[512];
	int err = file_replace(file, text);

	if (err == 0)
		return CLI_OK;
	(void)snprintf(why, sizeof(why),
		"cannot write %s: %s; it runs, but not after the "
		"next start",
		file, err_text(err));
	return cli_fail(err, why);
}

struct apply_options {
	const char *confirm;
};

static const struct cli_option apply_options[] = {
	{ .name = "confirm",
		.kind = CLI_TEXT,
		.offset = offsetof(struct apply_options, confirm),
		.metavar = "TIME",
		.help = "go back after this time, as 60s or 5m, unless `rsip config "
			"confirm` comes" },
	{ 0 },
};

/* "60", "60s", "5m", "1h"; 0 when it cannot be. */
static uint32_t seconds_parse(const char *text)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long n = digits > 0 && digits < 8 ? strtoul(text, NULL, 10) : 0;
	const char *end = text + digits;

	if (n == 0 || n > TRIAL_MAX_S)
		return 0;
	if (strcmp(end, "m") == 0)
		n *= 60;
	else if (strcmp(end, "h") == 0)
		n *= 3600;
	else if (end[0] != 0 && strcmp(end, "s") != 0)
		return 0;
	return n <= TRIAL_MAX_S ? (uint32_t)n : 0;
}

static int try(const struct cli *cli, const struct conf *conf, uint32_t seconds)
{
	json_t *params = json_pack(
		"{s:s, s:I}", "text", conf->text, "seconds", (json_int_t)seconds);
	json_t *reply = NULL;
	int status = params != NULL ? cli_call(socket_of(cli),
					      "org.rsipsec.gateway.TryConfiguration",
					      params, TIMEOUT_MS, &reply)
				    : cli_fail(-ENOMEM, NULL);

	if (status == CLI_OK)
		json_decref(reply);
	return status;
}

static int confirm(const struct cli *cli)
{
	json_t *reply;
	int status = cli_call(socket_of(cli), "org.rsipsec.gateway.ConfirmConfiguration",
		NULL, TIMEOUT_MS, &reply);

	if (status != CLI_OK)
		return status;
	status = save(json_string_value(json_object_get(reply, "file")),
		json_string_value(json_object_get(reply, "text")));
	json_decref(reply);
	return status;
}

static int run_apply(struct cli *cli, const void *options, int argc, char **argv)
{
	const struct apply_options *o = options;
	uint32_t seconds = o->confirm != NULL ? seconds_parse(o->confirm) : 60;
	struct conf *conf;
	int status;

	(void)argc;
	if (seconds == 0)
		return cli_usage("--confirm \"%s\" is not a time up to a day, as 60s, 5m "
				 "or 1h",
			o->confirm);
	status = load(argv[0], &conf);
	if (status != CLI_OK)
		return status;
	status = try(cli, conf, seconds);
	conf_free(conf);
	if (status != CLI_OK)
		return status;
	if (o->confirm == NULL)
		return confirm(cli);
	(void)printf("on trial for %u s; `rsip config confirm` keeps it\n", seconds);
	return fflush(stdout) == 0 ? CLI_OK : cli_fail(-EIO, NULL);
}

static int run_confirm(struct cli *cli, const void *options, int argc, char **argv)
{
	(void)options, (void)argc, (void)argv;
	return confirm(cli);
}

const struct cli_command cli_config_commands[] = {
	{ .name = "check",
		.args = "FILE",
		.help = "check a configuration of rsipd, without rsipd",
		.run = run_check,
		.min_args = 1,
		.max_args = 1 },
	{ .name = "diff",
		.args = "FILE",
		.help = "what FILE says differently from what runs",
		.run = run_diff,
		.min_args = 1,
		.max_args = 1,
		.details = "The exit status is 1 when there are differences." },
	{ .name = "apply",
		.args = "FILE",
		.help = "let rsipd take FILE, and put it in the place of its own",
		.run = run_apply,
		.options = apply_options,
		.options_size = sizeof(struct apply_options),
		.min_args = 1,
		.max_args = 1 },
	{ .name = "confirm",
		.help = "keep what is on trial, also over the next start",
		.run = run_confirm },
	{ 0 },
};
