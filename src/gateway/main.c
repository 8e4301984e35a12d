/* rsipd: the command line and the steps around rsipd_run(). */
#include "base/daemon.h"
#include "base/err.h"
#include "base/log.h"
#include "gateway/rsipd.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct options {
	const char *file;
	bool foreground, check, verbose;
};

static const char help_text[] =
	"Usage: rsipd -c FILE [-f] [-v]\n"
	"       rsipd --check -c FILE\n"
	"The RSIP gateway: leases addresses, ports and SPIs to hosts and carries their "
	"packets.\n"
	"\n"
	"  -c, --config FILE  the configuration, see rsipd.conf(5)\n"
	"  -f, --foreground   stay in the foreground and log to stderr\n"
	"  -v, --verbose      log registrations and leases as they begin and end, too\n"
	"      --check        check the configuration, print what is wrong, and end\n"
	"      --help         this text\n"
	"      --version      the version\n";

static int usage(const char *text)
{
	(void)fprintf(stderr, "rsipd: %s\nTry: rsipd --help\n", text);
	return EXIT_USAGE;
}

static int print(const char *text)
{
	return fputs(text, stdout) >= 0 && fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
}

/* -1: go on; else the exit status. */
static int options_parse(int argc, char **argv, struct options *o)
{
	enum { OPT_CHECK = 256, OPT_HELP, OPT_VERSION };
	static const struct option rows[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "foreground", no_argument, NULL, 'f' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "check", no_argument, NULL, OPT_CHECK },
		{ "help", no_argument, NULL, OPT_HELP },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:fv", rows, NULL)) != -1)
		switch (c) {
		case 'c':
			o->file = optarg;
			break;
		case 'f':
			o->foreground = true;
			break;
		case 'v':
			o->verbose = true;
			break;
		case OPT_CHECK:
			o->check = true;
			break;
		case OPT_HELP:
			return print(help_text);
		case OPT_VERSION:
			return print("rsipd " RSIP_VERSION "\n");
		default:
			return usage("unknown option, or one without its value");
		}
	if (optind < argc)
		return usage("takes options only");
	if (o->file == NULL)
		return usage("no configuration: give -c FILE");
	return -1;
}

static int exit_of(int err)
{
	return err == ERR_CONFIG ? EXIT_USAGE : EXIT_FAILED;
}

/* Everything after the configuration is read, in the process that serves. */
static int serve(struct rsipd *d, const struct options *o, int parent)
{
	char why[RSIPD_WHY] = "";
	int status, null = o->foreground ? -1 : daemon_null();
	int err = rsipd_open(d, why, sizeof(why));

	if (err != 0) {
		log_error(why, "%s", "");
		rsipd_close(d);
		return exit_of(err);
	}
	(void)printf("rsipd ready driver=%s listen=%s\n", d->plane.driver->name,
		d->conf->listen[0].text);
	(void)fflush(stdout); /* whoever reads it may be gone */
	if (!o->foreground) {
		daemon_ready(parent, null);
		log_to_syslog();
	}
	log_info("ready", "driver=%s listen=%s version=" RSIP_VERSION,
		d->plane.driver->name, d->conf->listen[0].text);
	daemon_notify("READY=1");
	status = rsipd_run(d);
	rsipd_close(d);
	return status;
}

/* The files that the configuration names, too. */
static int check_files(const struct conf *conf)
{
	struct proof_files files;
	char why[PROOF_WHY] = "";
	int err = proof_load(conf, &files, why, sizeof(why));

	if (err != 0)
		(void)fprintf(stderr, "%s: %s\n", conf->file, why);
	proof_files_fini(&files);
	return err == 0 ? EXIT_OK : EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	struct rsipd *d;
	char why[CONF_WHY] = "";
	int parent = -1, err, status = options_parse(argc, argv, &o);

	if (status >= 0)
		return status;
	(void)signal(SIGPIPE, SIG_IGN);
	log_init("rsipd", o.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return EXIT_FAILED;
	d->config_file = o.file;
	d->verbose = o.verbose;
	err = conf_load(o.file, &d->conf, why, sizeof(why));
	if (err != 0) {
		(void)fprintf(stderr, "%s\n", why[0] != 0 ? why : err_text(err));
		status = EXIT_USAGE;
	} else if (o.check) {
		status = check_files(d->conf);
		conf_free(d->conf);
	} else {
		err = o.foreground ? 0 : daemon_start(&parent);
		if (err != 0)
			log_error("cannot go to the background", "error=\"%s\"",
				err_text(err));
		status = err == 0 ? serve(d, &o, parent) : EXIT_FAILED;
	}
	free(d);
	return status;
}
