/* rsip-kxd: the command line and the steps around kxd_run(). */
#include "base/daemon.h"
#include "base/err.h"
#include "base/log.h"
#include "kx/control.h"
#include "kxd/kxd.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct options {
	const char *file, *socket;
	bool foreground, check, verbose;
};

static const char help_text[] =
	"Usage: rsip-kxd [-c FILE] [-f] [-v] [--socket PATH]\n"
	"       rsip-kxd --check [-c FILE]\n"
	"Finds key exchangers (RFC 2230) in signed DNS and drives strongSwan by them.\n"
	"\n"
	"  -c, --config FILE  the configuration (" KXD_CONF_DEFAULT "), see kxd.conf(5)\n"
	"  -f, --foreground   stay in the foreground and log to stderr\n"
	"  -v, --verbose      log every decision, too\n"
	"      --socket PATH  the control socket, in place of the file's\n"
	"      --check        check the configuration, print what is wrong, and end\n"
	"      --help, --version\n"
	"\n"
	"SIGHUP reads the configuration again; SIGTERM ends and leaves the traps in the "
	"kernel.\n"
	"Exit status: 0 done, 1 failed, 2 usage or configuration.\n";

static int usage(const char *what)
{
	(void)fprintf(stderr, "rsip-kxd: %s\nTry: rsip-kxd --help\n", what);
	return EXIT_USAGE;
}

static int print(const char *text)
{
	(void)fputs(text, stdout);
	return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
}

/* -1: go on; else the exit status. */
static int options_parse(int argc, char **argv, struct options *o)
{
	enum { OPT_CHECK = 256, OPT_SOCKET, OPT_HELP, OPT_VERSION };
	static const struct option rows[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "foreground", no_argument, NULL, 'f' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "socket", required_argument, NULL, OPT_SOCKET },
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
		case OPT_SOCKET:
			o->socket = optarg;
			break;
		case OPT_CHECK:
			o->check = true;
			break;
		case OPT_HELP:
			return print(help_text);
		case OPT_VERSION:
			return print("rsip-kxd " RSIP_VERSION "\n");
		default:
			return usage("unknown option, or one without its value");
		}
	if (optind < argc)
		return usage("takes options only");
	if (o->socket != NULL && strlen(o->socket) >= KXD_SOCKET_MAX)
		return usage("too long a name for a socket");
	return -1;
}

/* Everything after the configuration is read, in the process that serves. */
static int serve(struct kxd *d, const struct options *o, int parent)
{
	char why[KXD_WHY] = "";
	int status, null = o->foreground ? -1 : daemon_null();
	int err = kxd_open(d, why, sizeof(why));

	if (err != 0) {
		log_error("cannot start", "reason=\"%s\"", why[0] ? why : err_text(err));
		kxd_close(d);
		return err == ERR_CONFIG ? EXIT_USAGE : EXIT_FAILED;
	}
	(void)printf("rsip-kxd ready identity=%s socket=%s\n", d->conf->identity,
		d->conf->control_socket);
	(void)fflush(stdout); /* whoever reads it may be gone */
	if (!o->foreground) {
		daemon_ready(parent, null);
		log_to_syslog();
	}
	log_info("ready", "identity=%s socket=%s version=" RSIP_VERSION,
		d->conf->identity, d->conf->control_socket);
	daemon_notify("READY=1");
	status = kxd_run(d) == 0 ? EXIT_OK : EXIT_FAILED;
	kxd_close(d);
	return status;
}

int main(int argc, char **argv)
{
	struct options o = { .file = KXD_CONF_DEFAULT };
	char why[KXD_WHY] = "";
	struct kxd *d;
	int parent = -1, err, status = options_parse(argc, argv, &o);

	if (status >= 0)
		return status;
	(void)signal(SIGPIPE, SIG_IGN);
	log_init("rsip-kxd", o.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return EXIT_FAILED;
	d->config_file = o.file;
	d->socket = o.socket;
	err = kxd_conf_load(o.file, &d->conf, why, sizeof(why));
	if (err != 0) {
		(void)fprintf(stderr, "%s\n", why[0] != 0 ? why : err_text(err));
		status = EXIT_USAGE;
	} else if (o.check) {
		status = EXIT_OK;
	} else {
		/* Before libunbound has a thread, which a fork would lose. */
		err = o.foreground ? 0 : daemon_start(&parent);
		if (err != 0)
			log_error("cannot go to the background", "error=\"%s\"",
				err_text(err));
		status = err == 0 ? serve(d, &o, parent) : EXIT_FAILED;
	}
	kxd_conf_free(d->conf);
	free(d);
	return status;
}
