/* `rsip doctor`: what is asked, and how it is shown. */
#include "cli/doctor.h"

#include "base/err.h"
#include "cli/gateway.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONF "/etc/rsip/rsipd.conf"
#define TEXT 640

const struct cli_option doctor_options[] = {
	{ .name = "config",
		.letter = 'c',
		.kind = CLI_TEXT,
		.offset = offsetof(struct doctor_options, conf),
		.metavar = "FILE",
		.help = "the gateway's configuration; default " CONF " where it is" },
	{ 0 },
};

static const char *const levels[] = {
	[DOCTOR_OK] = "ok",
	[DOCTOR_WARNING] = "warning",
	[DOCTOR_PROBLEM] = "problem",
};

void doctor_add(struct doctor *d, const char *check, enum doctor_level level,
	const char *todo, const char *format, ...)
{
	char text[TEXT];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	d->counts[level]++;
	(void)json_array_append_new(
		d->findings, json_pack("{s:s, s:s, s:s, s:s?}", "check", check, "level",
				     levels[level], "text", text, "todo",
				     todo != NULL && todo[0] != 0 ? todo : NULL));
}

bool doctor_read(const char *path, char *line, size_t size)
{
	FILE *f = fopen(path, "re");
	bool got = f != NULL && fgets(line, (int)size, f) != NULL;

	if (f != NULL)
		(void)fclose(f);
	if (got)
		line[strcspn(line, "\n")] = 0;
	return got;
}

long doctor_number(long otherwise, const char *format, ...)
{
	char path[256], line[64], *end;
	va_list args;
	long n;

	va_start(args, format);
	(void)vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	if (!doctor_read(path, line, sizeof(line)))
		return otherwise;
	n = strtol(line, &end, 10);
	return end != line ? n : otherwise;
}

static int print_findings(const struct doctor *d)
{
	json_t *finding;
	size_t i;

	if (d->cli->json)
		return cli_print_json(json_incref(d->findings));
	json_array_foreach(d->findings, i, finding)
	{
		const char *todo = json_string_value(json_object_get(finding, "todo"));

		(void)printf("%-8s %s: %s\n",
			json_string_value(json_object_get(finding, "level")),
			json_string_value(json_object_get(finding, "check")),
			json_string_value(json_object_get(finding, "text")));
		if (todo != NULL)
			(void)printf("         -> %s\n", todo);
	}
	(void)printf("%zu problems, %zu warnings, %zu checks without one\n",
		d->counts[DOCTOR_PROBLEM], d->counts[DOCTOR_WARNING],
		d->counts[DOCTOR_OK]);
	return fflush(stdout) == 0 ? CLI_OK : cli_fail(-EIO, NULL);
}

/* The gateway's configuration, if this is one. */
static void read_conf(struct doctor *d, const char *file, struct conf **conf)
{
	char why[CONF_WHY] = "";
	int err;

	if (file == NULL && access(CONF, F_OK) != 0)
		return; /* a host */
	err = conf_load(file != NULL ? file : CONF, conf, why, sizeof(why));
	if (err != 0)
		doctor_add(d, "configuration", DOCTOR_PROBLEM,
			"mend it; rsipd --check says when it is right", "%s",
			why[0] != 0 ? why : err_text(err));
	else
		doctor_add(d, "configuration", DOCTOR_OK, NULL, "%s has no error",
			(*conf)->file);
}

int doctor_run(struct cli *cli, const void *options, int argc, char **argv)
{
	static void (*const checks[])(struct doctor * d) = { doctor_system,
		doctor_interfaces, doctor_network, doctor_daemons };
	const struct doctor_options *o = options;
	struct doctor d = { .cli = cli, .findings = json_array() };
	struct conf *conf = NULL;
	int status;

	(void)argc, (void)argv;
	if (d.findings == NULL)
		return cli_fail(-ENOMEM, NULL);
	d.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	read_conf(&d, o->conf, &conf);
	d.conf = conf;
	d.socket = cli->socket != NULL ? cli->socket
		   : conf != NULL      ? conf->control_socket
				       : GATEWAY_SOCKET;
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		checks[i](&d);
	status = print_findings(&d);
	if (status == CLI_OK && d.counts[DOCTOR_PROBLEM] > 0)
		status = CLI_FAILED;
	if (d.fd >= 0)
		(void)close(d.fd);
	json_decref(d.findings);
	conf_free(conf);
	return status;
}
