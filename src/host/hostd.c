/*
 * rsip-hostd: the loop.  One daemon a network namespace; in the background it ends by
 * itself when nothing is left that it was started for.
 */
#include "host/host.h"
#include "host/publish.h"

#include "base/err.h"
#include "base/log.h"
#include "ipc/place.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SETTLE_MS    100
#define GROW_MS      1000
#define IDLE_S       5 /* a daemon that nobody calls after all */

#define LOCK_TRIES   100
#define LOCK_WAIT_US 20000

enum { EXIT_DONE, EXIT_FAILED, EXIT_USAGE };

struct options {
	const char *conf;
	bool conf_given;
	bool foreground;
	char socket[IPC_PLACE_MAX];
};

/* Everything of one run. */
struct daemon {
	struct host host;
	uv_signal_t term, interrupt, hangup;
	const struct options *options;
	char log[128];
	int ready; /* pipe to the process that started us; -1: none */
};

void host_changed(struct host *h)
{
	h->dirty = true;
}

/* --- command line ---------------------------------------------------------------------
 */

static void help(void)
{
	(void)fputs(
		"Usage: rsip-hostd [-c FILE] [-f] [--socket PATH]\n"
		"\n"
		"Leases addresses, ports and SPIs from an RSIP gateway for this host.\n"
		"`rsip up` starts it; `rsip down` ends it.\n"
		"\n"
		"  -c FILE        configuration (" HOST_CONF_DEFAULT ")\n"
		"  -f             stay in the foreground, log to stderr\n"
		"  --socket PATH  control socket (one in " IPC_RUN_DIR
		" for each network namespace)\n"
		"  --help, --version\n"
		"\n"
		"Exit status: 0 done, 1 failed, 2 usage or configuration.\n",
		stdout);
}

/* -1: go on; else the exit status. */
static int options_parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ "socket", required_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	*o = (struct options){ .conf = HOST_CONF_DEFAULT };
	ipc_host_place(o->socket);
	while ((c = getopt_long(argc, argv, "c:f", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->conf = optarg;
			o->conf_given = true;
			break;
		case 'f':
			o->foreground = true;
			break;
		case 's':
			if ((size_t)snprintf(o->socket, sizeof(o->socket), "%s",
				    optarg) >= sizeof(o->socket)) {
				(void)fprintf(stderr,
					"rsip-hostd: %s: too long a name for a socket\n",
					optarg);
				return EXIT_USAGE;
			}
			break;
		case 'h':
			help();
			return EXIT_DONE;
		case 'V':
			(void)printf("rsip-hostd %s\n", RSIP_VERSION);
			return EXIT_DONE;
		default:
			(void)fputs("Try: rsip-hostd --help\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (optind == argc)
		return -1;
	(void)fprintf(stderr, "rsip-hostd: takes no arguments: %s\n", argv[optind]);
	return EXIT_USAGE;
}

/* --- background -----------------------------------------------------------------------
 */

/*
 * The child becomes the daemon and goes on; the parent waits until it is ready, so that
 * whoever started us can call, and ends with its status.
 */
static int detach(void)
{
	int ends[2];
	pid_t child;
	char byte;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	child = fork();
	if (child < 0)
		return -errno;
	if (child > 0) {
		int status = 0;

		(void)close(ends[1]);
		if (read(ends[0], &byte, 1) == 1)
			_exit(EXIT_DONE);
		(void)waitpid(child, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED);
	}
	(void)close(ends[0]);
	(void)setsid();
	return ends[1];
}

/* stderr goes to a file beside the socket as soon as nobody reads along. */
static void quieten(struct daemon *d)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int log = open(d->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

	if (null >= 0) {
		(void)dup2(null, STDIN_FILENO);
		(void)dup2(null, STDOUT_FILENO);
		(void)dup2(log >= 0 ? log : null, STDERR_FILENO);
	}
	if (log > STDERR_FILENO)
		(void)close(log);
	if (null > STDERR_FILENO)
		(void)close(null);
	if (chdir("/") != 0)
		log_warn("cannot leave the directory", "reason=%s", strerror(errno));
	log_init("rsip-hostd", LOG_LEVEL_INFO);
}

static void ready(struct daemon *d)
{
	if (d->options->foreground) {
		(void)puts("ready");
		(void)fflush(stdout);
		log_info("ready", "socket=%s", d->host.socket);
		return;
	}
	quieten(d);
	if (write(d->ready, "r", 1) != 1)
		log_warn("who started us is gone", "pid=%d", (int)getpid());
	(void)close(d->ready);
	log_info("ready", "socket=%s", d->host.socket);
}

/* --- the loop -------------------------------------------------------------------------
 */

static void resync(struct host *h)
{
	char why[IPC_WHY];

	h->resync = false;
	if (h->ifaces != NULL && net_sync(h, why, sizeof(why)) != 0)
		log_error("network does not follow the leases", "reason=\"%s\"", why);
	charon_sync(h);
	for (struct exec *e = h->execs; e != NULL; e = e->next)
		if (exec_sync(e, why, sizeof(why)) != 0)
			log_error("namespace does not follow its lease", "reason=\"%s\"",
				why);
}

/* Nothing is left of what a command started us for. */
static void rest(struct host *h)
{
	struct gw *next;

	h->idle = false;
	for (struct gw *gw = h->gws; gw != NULL; gw = next) {
		next = gw->next;
		gw_rest(gw);
	}
	if (h->on_demand && h->gws == NULL && h->execs == NULL && h->seeking == 0 &&
		!publish_is_busy(h))
		h->stop = true;
}

/* Before each sleep of the loop. */
static void on_turn(uv_prepare_t *turn)
{
	struct host *h = turn->data;
	int err;

	if (h->resync)
		resync(h);
	publish_check(h);
	up_check(h);
	down_check(h);
	if (h->idle)
		rest(h);
	if (h->stop) {
		uv_stop(h->loop); /* calls that still come are sent away */
		return;
	}
	gw_turn(h);
	if (!h->dirty)
		return;
	h->dirty = false;
	err = state_save(h);
	if (err != 0)
		log_error("cannot write the state", "file=%s reason=\"%s\"", h->state,
			err_text(err));
}

static void on_settled(uv_timer_t *timer)
{
	struct host *h = timer->data;

	h->resync = true;
	for (struct gw *gw = h->gws, *next; gw != NULL; gw = next) {
		next = gw->next;
		gw_moved(gw);
	}
}

/* Routes follow once a burst of changes, perhaps our own, is over. */
static void on_moved(uv_poll_t *poll, int status, int events)
{
	struct host *h = poll->data;

	(void)status, (void)events;
	nl_watch_drain(h->watch_fd);
	if (!uv_is_active((const uv_handle_t *)&h->moved))
		(void)uv_timer_start(&h->moved, on_settled, SETTLE_MS, 0);
}

static void on_grow(uv_timer_t *timer)
{
	struct host *h = timer->data;

	grow_tick(h);
	follow_tick(h);
	h->idle_s = h->gws == NULL && !h->downing ? h->idle_s + 1 : 0;
	if (h->idle_s >= IDLE_S)
		h->idle = true;
}

static void on_term(uv_signal_t *handle, int number)
{
	struct host *h = handle->data;

	log_info("ending", "signal=%d", number);
	if (h->end_wanted)
		h->stop = true; /* asked twice: not waiting for gateways any more */
	h->end_wanted = true;
	if (!h->downing)
		down_start(h);
}

static void on_hangup(uv_signal_t *handle, int number)
{
	struct daemon *d = (struct daemon *)handle->data;
	struct host_conf conf;
	char why[IPC_WHY];

	(void)number;
	host_conf_init(&conf);
	if (host_conf_load(&conf, d->options->conf, d->options->conf_given, why,
		    sizeof(why)) != 0) {
		log_error("configuration unchanged", "reason=\"%s\"", why);
		return;
	}
	d->host.conf = conf;
	log_info("configuration read again", "file=%s", d->options->conf);
}

static void signals_start(struct daemon *d)
{
	uv_loop_t *loop = d->host.loop;

	(void)uv_signal_init(loop, &d->term);
	(void)uv_signal_init(loop, &d->interrupt);
	(void)uv_signal_init(loop, &d->hangup);
	d->term.data = d->interrupt.data = &d->host;
	d->hangup.data = d;
	(void)uv_signal_start(&d->term, on_term, SIGTERM);
	(void)uv_signal_start(&d->interrupt, on_term, SIGINT);
	(void)uv_signal_start(&d->hangup, on_hangup, SIGHUP);
}

/* Go on where a killed daemon was. */
static void take_over(struct host *h)
{
	struct hold *next;
	char why[IPC_WHY];

	if (h->gws == NULL && h->saved[SAVED_PORT_RANGE] == NULL)
		return;
	log_info("taking over from an earlier daemon", "file=%s", h->state);
	h->resync = true;
	for (struct gw *gw = h->gws; gw != NULL; gw = gw->next) {
		if (gw->follow && follow_start(h, why, sizeof(why)) != 0)
			log_error("SPIs are not followed", "reason=\"%s\"", why);
		gw_start(gw);
	}
	for (struct hold *hold = h->holds; hold != NULL; hold = next) {
		next = hold->next;
		/* Its namespace lost its device with the daemon; its `up` its caller. */
		if (hold->use == HOLD_EXEC || (hold->use == HOLD_UP && !hold->gw->up) ||
			(hold->use == HOLD_LEASE && hold->bind_id == 0))
			hold_give(hold, NULL, NULL);
	}
	hold_again(h);
}

static bool somebody_answers(const char *socket)
{
	struct ipc_client *client;
	char why[IPC_WHY];

	if (ipc_client_new(socket, &client, why, sizeof(why)) != 0)
		return false;
	ipc_client_free(client);
	return true;
}

static int host_open(struct daemon *d, char *why, size_t why_size)
{
	struct host *h = &d->host;
	struct ipc_server_conf ipc = {
		.path = h->socket,
		.methods = control_methods,
		.ctx = h,
	};
	int err = nl_open(&h->nl);

	if (err == 0)
		err = nl_watch_open(&h->watch_fd);
	if (err != 0) {
		(void)snprintf(why, why_size, "cannot open rtnetlink: %s", err_text(err));
		return err;
	}
	/* The socket is also the lock: the state is ours once we have it. */
	for (int i = 0; i < LOCK_TRIES; i++) {
		err = ipc_server_new(h->loop, &ipc, &h->ipc, why, why_size);
		if (err != ERR_EXISTS || somebody_answers(h->socket))
			break;
		(void)usleep(LOCK_WAIT_US); /* one that ends still holds it */
	}
	if (err == 0)
		err = state_load(h, why, why_size);
	if (err != 0)
		return err;
	sas_open(h);
	(void)uv_prepare_init(h->loop, &h->turn);
	(void)uv_timer_init(h->loop, &h->again);
	(void)uv_timer_init(h->loop, &h->end);
	(void)uv_timer_init(h->loop, &h->moved);
	(void)uv_timer_init(h->loop, &h->grow);
	(void)uv_poll_init(h->loop, &h->watch, h->watch_fd);
	h->turn.data = h->again.data = h->end.data = h;
	h->moved.data = h->grow.data = h->watch.data = h;
	(void)uv_poll_start(&h->watch, UV_READABLE, on_moved);
	(void)uv_timer_start(&h->grow, on_grow, GROW_MS, GROW_MS);
	(void)uv_prepare_start(&h->turn, on_turn);
	signals_start(d);
	return 0;
}

static void host_close(struct daemon *d)
{
	struct host *h = &d->host;

	net_restore(h);
	publish_free(h);
	while (h->gws != NULL)
		gw_free(h->gws);
	state_remove(h);
	if (!d->options->foreground)
		(void)unlink(d->log);
	follow_free(h->follow);
	charon_free(h);
	/* Only now: with the socket goes the lock, and a successor may start. */
	ipc_server_free(h->ipc);
	uv_close((uv_handle_t *)&h->turn, NULL);
	uv_close((uv_handle_t *)&h->again, NULL);
	uv_close((uv_handle_t *)&h->end, NULL);
	uv_close((uv_handle_t *)&h->moved, NULL);
	uv_close((uv_handle_t *)&h->grow, NULL);
	uv_close((uv_handle_t *)&h->watch, NULL);
	uv_close((uv_handle_t *)&d->term, NULL);
	uv_close((uv_handle_t *)&d->interrupt, NULL);
	uv_close((uv_handle_t *)&d->hangup, NULL);
	(void)uv_run(h->loop, UV_RUN_DEFAULT);
	sas_close(h);
	nl_close(h->nl);
	(void)close(h->watch_fd);
}

/*
 * No program is started from now on, no capability gained, and few system calls are left.
 * Files stay: configurations and keys lie where a caller says.
 */
static bool confine(void)
{
	struct sandbox s = {
		.rights = sandbox_held(SANDBOX_NET_ADMIN | SANDBOX_NET_RAW |
				       SANDBOX_NAMESPACES | SANDBOX_READ_ANY |
				       SANDBOX_LOW_PORTS),
		.confine = true,
		.any_files = true,
		.may = SANDBOX_WRITES | SANDBOX_RENAMES,
	};
	struct sandbox_got got;
	char why[SANDBOX_WHY] = "";

	if (sandbox_enter(&s, &got, why, sizeof(why)) == 0) {
		log_info("confined", "calls=%s", got.calls ? "few" : "all");
		return true;
	}
	log_error("cannot give up rights, ending", "reason=\"%s\"", why);
	return false;
}

static int run(struct daemon *d)
{
	int status = EXIT_DONE;
	char why[IPC_WHY] = "";
	uv_loop_t loop;
	int err = uv_loop_init(&loop);

	if (err != 0)
		return EXIT_FAILED;
	d->host.loop = &loop;
	err = host_open(d, why, sizeof(why));
	if (err != 0) {
		/* Started twice at the same time: the other one will do. */
		if (err == ERR_EXISTS && d->host.on_demand &&
			somebody_answers(d->host.socket))
			why[0] = 0;
		else
			(void)fprintf(stderr, "rsip-hostd: %s\n", why);
		ipc_server_free(d->host.ipc);
		(void)uv_run(&loop, UV_RUN_DEFAULT);
		(void)uv_loop_close(&loop);
		nl_close(d->host.nl);
		if (d->host.watch_fd >= 0)
			(void)close(d->host.watch_fd);
		return why[0] == 0 ? EXIT_DONE : EXIT_FAILED;
	}
	ready(d);
	if (!confine()) {
		status = EXIT_FAILED;
		d->host.stop = true;
	}
	take_over(&d->host);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	host_close(d);
	(void)uv_loop_close(&loop);
	log_info("ended", "pid=%d", (int)getpid());
	return status;
}

int main(int argc, char **argv)
{
	struct options options;
	struct daemon *d = calloc(1, sizeof(*d));
	char why[IPC_WHY];
	int status = options_parse(argc, argv, &options);

	if (status >= 0 || d == NULL) {
		free(d);
		return status >= 0 ? status : EXIT_FAILED;
	}
	d->options = &options;
	d->ready = -1;
	d->host.watch_fd = -1;
	log_init("rsip-hostd", LOG_LEVEL_INFO);
	host_conf_init(&d->host.conf);
	if (host_conf_load(&d->host.conf, options.conf, options.conf_given, why,
		    sizeof(why)) != 0) {
		(void)fprintf(stderr, "%s\n", why);
		free(d);
		return EXIT_USAGE;
	}
	(void)mkdir(IPC_RUN_DIR, 0755); /* there already, or the socket's error says it */
	(void)snprintf(d->host.socket, sizeof(d->host.socket), "%s", options.socket);
	(void)snprintf(d->host.state, sizeof(d->host.state), "%s.state", options.socket);
	(void)snprintf(d->log, sizeof(d->log), "%s.log", options.socket);
	d->host.on_demand = !options.foreground;
	if (!options.foreground) {
		d->ready = detach();
		if (d->ready < 0) {
			(void)fprintf(stderr, "rsip-hostd: cannot detach: %s\n",
				err_text(d->ready));
			free(d);
			return EXIT_FAILED;
		}
	}
	status = run(d);
	free(d);
	return status;
}
