/*
 * rsipd from its first step to its last: what is opened in which order, the loop's
 * callbacks, and what others (control socket, metrics) are lent.
 */
#include "gateway/rsipd.h"

#include "base/daemon.h"
#include "base/err.h"
#include "base/log.h"
#include "gateway/confine.h"
#include "gateway/event_log.h"
#include "gateway/own.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* The time line of the store stands in the file at least this often. */
#define MARK_MS   300000
#define SECOND_MS 1000
/* The loop's clock stops while the machine sleeps, the engine's does not. */
#define TIMER_MAX_MS 10000

uint64_t rsipd_clock_ms(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_BOOTTIME, &t) != 0)
		abort(); /* every Linux has it */
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- lent to control and metrics ------------------------------------------------------
 */

static uint64_t source_now(void *ctx)
{
	const struct rsipd *d = ctx;

	return d->turn.open ? d->turn.now_ms : rsipd_clock_ms();
}

static void source_stats(void *ctx, struct dp_stats *out)
{
	const struct rsipd *d = ctx;

	memset(out, 0, sizeof(*out));
	if (d->plane.dp != NULL)
		d->plane.driver->stats(d->plane.dp, out);
}

static int source_reload(void *ctx, char *why, size_t why_size)
{
	return rsipd_reload(ctx, why, why_size);
}

static struct control_config source_config(void *ctx)
{
	const struct rsipd *d = ctx;

	return (struct control_config){ d->config_file, d->conf->text,
		trial_left(&d->trial) };
}

static int source_apply(
	void *ctx, const char *text, uint32_t seconds, char *why, size_t why_size)
{
	int err = trial_begin(ctx, text, seconds, why, why_size);

	if (err != 0 && why[0] == 0)
		(void)snprintf(why, why_size, "%s", err_text(err));
	return err;
}

static int source_confirm(void *ctx)
{
	return trial_confirm(ctx);
}

static int source_settle(void *ctx, char *why, size_t why_size)
{
	struct rsipd *d = ctx;
	int err;

	err = turn_settle(d);
	if (err != 0)
		(void)snprintf(why, why_size,
			"done, but not yet stored (it is tried again): %s",
			store_error(d->store));
	return err;
}

static size_t source_reasons(void *ctx, struct health_reason *out)
{
	return health_reasons(ctx, out);
}

static bool source_healthy(void *ctx, char *why, size_t why_size)
{
	struct health_reason reasons[HEALTH_MAX];
	size_t n = health_reasons(ctx, reasons);

	if (n == 0 || !reasons[0].fault)
		return true;
	(void)snprintf(why, why_size, "%s", reasons[0].text);
	return false;
}

/* For the HTTP end, whose context is the source. */
static bool http_healthy(void *source, char *why, size_t why_size)
{
	const struct control_source *s = source;

	return s->healthy(s->ctx, why, why_size);
}

/* --- the loop's callbacks -------------------------------------------------------------
 */

static void timer_set(struct rsipd *d);

static void on_prepare(uv_prepare_t *prepare)
{
	struct rsipd *d = prepare->data;

	(void)turn_end(d); /* it has said what failed */
	timer_set(d);
	monitor_flush(&d->monitor);
	export_flush(&d->export);
	watch_turn(&d->watch, uv_now(d->loop));
	d->turn.slow_turns = d->watch.slow;
}

static void on_check(uv_check_t *check)
{
	struct rsipd *d = check->data;

	(void)turn_end(d); /* likewise */
	timer_set(d);
	watch_turn(&d->watch, uv_now(d->loop));
	d->turn.slow_turns = d->watch.slow;
}

static void on_conn_closed(void *ctx, uint64_t conn)
{
	struct rsipd *d = ctx;

	engine_conn_closed(d->engine, conn);
}

static void on_plane_ready(void *ctx)
{
	struct rsipd *d = ctx;

	watch_begin(&d->watch, "packets");
	plane_service(&d->plane, turn_begin(d));
	watch_end(&d->watch);
}

static void on_misuse(void *ctx, uint32_t host, uint16_t error, uint32_t bind_id)
{
	struct rsipd *d = ctx;

	engine_misuse(d->engine, host, error, bind_id, turn_begin(d));
}

/* While the store fails nothing may be promised: as if the name had no address. */
static void on_resolved(void *ctx, uint64_t token, const uint32_t *addresses, size_t n)
{
	struct rsipd *d = ctx;
	bool may_promise = !d->turn.failing && !d->turn.lost;

	engine_resolved(
		d->engine, token, addresses, may_promise ? n : 0, 0, turn_begin(d));
}

static void on_timer(uv_timer_t *timer)
{
	struct rsipd *d = timer->data;
	uint64_t now_ms = turn_begin(d);

	d->timer_ms = 0;
	if (engine_deadline(d->engine) <= now_ms) {
		watch_begin(&d->watch, "expiry");
		engine_tick(d->engine, now_ms);
		watch_end(&d->watch);
	}
	if (plane_deadline(&d->plane) <= now_ms)
		plane_service(&d->plane, now_ms);
}

/* The next thing that has its time; started anew only when that changed. */
static void timer_set(struct rsipd *d)
{
	uint64_t due = engine_deadline(d->engine), now_ms;

	if (plane_deadline(&d->plane) < due)
		due = plane_deadline(&d->plane);
	if (d->turn.failing && d->turn.retry_ms < due)
		due = d->turn.retry_ms;
	if (due == d->timer_ms)
		return;
	d->timer_ms = due;
	now_ms = rsipd_clock_ms(); /* the turn may have begun long before: a start */
	due = due > now_ms ? due - now_ms : 0;
	/* The timer may fire early by the loop's rounding; then it is set again. */
	(void)uv_timer_start(
		&d->timer, on_timer, due < TIMER_MAX_MS ? due : TIMER_MAX_MS, 0);
}

static void on_mark(uv_timer_t *timer)
{
	struct rsipd *d = timer->data;

	if (!d->turn.failing && !d->turn.flying)
		(void)store_mark(d->store); /* a store that fails is met at a commit */
}

static void on_second(uv_timer_t *timer)
{
	health_look(timer->data);
}

static void on_alive(uv_timer_t *timer)
{
	(void)timer;
	daemon_notify("WATCHDOG=1");
}

static void on_hup(uv_signal_t *signal, int number)
{
	struct rsipd *d = signal->data;
	char why[RSIPD_WHY] = "";

	(void)number;
	daemon_notify("RELOADING=1");
	(void)rsipd_reload(d, why, sizeof(why)); /* has logged what it did */
	daemon_notify("READY=1");
}

static void on_stop(uv_signal_t *signal, int number)
{
	struct rsipd *d = signal->data;

	log_info("stopping", "signal=%d", number);
	daemon_notify("STOPPING=1");
	uv_stop(d->loop);
}

/* --- opening --------------------------------------------------------------------------
 */

static int handles_init(struct rsipd *d)
{
	uv_signal_t *signals[] = { &d->hup, &d->term, &d->interrupt };

	d->loop = calloc(1, sizeof(*d->loop));
	if (d->loop == NULL || uv_loop_init(d->loop) != 0) {
		free(d->loop);
		d->loop = NULL;
		return -ENOMEM;
	}
	(void)uv_prepare_init(d->loop, &d->prepare);
	(void)uv_check_init(d->loop, &d->check);
	(void)uv_timer_init(d->loop, &d->timer);
	(void)uv_timer_init(d->loop, &d->mark);
	(void)uv_timer_init(d->loop, &d->alive);
	(void)uv_timer_init(d->loop, &d->second);
	d->second.data = d;
	d->prepare.data = d->check.data = d->timer.data = d->mark.data = d->alive.data =
		d;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		(void)uv_signal_init(d->loop, signals[i]);
		signals[i]->data = d;
	}
	monitor_open(&d->monitor, d->loop, &d->events, &d->source);
	export_init(&d->export, d->loop);
	trial_init(&d->trial, d, d->loop);
	advertise_init(&d->advertise, d->loop);
	d->resolve.ctx = d;
	d->resolve.found = on_resolved;
	resolve_open(&d->resolve, d->loop);
	return 0;
}

static int directories(struct rsipd *d, char *why, size_t why_size)
{
	const char *what = d->conf->state_dir;
	int err = daemon_mkdir(what, 0700);

	if (err == 0) {
		what = d->conf->control_socket;
		err = daemon_mkdir_of(what, 0755);
	}
	if (err != 0)
		(void)snprintf(why, why_size,
			"cannot make the directory of %s: %s; make it, or name another "
			"in %s",
			what, err_text(err), d->config_file);
	return err;
}

static int restore_registration(void *ctx, const struct registration *r)
{
	struct rsipd *d = ctx;

	return engine_restore_registration(d->engine, r, turn_begin(d));
}

/*
 * A lease that ended while nobody ran has its record before the store forgets it.  One
 * whose registration ended first counts to its own end: packets may have passed so long.
 */
static int restore_lease(void *ctx, const struct lease *l)
{
	struct rsipd *d = ctx;
	uint64_t now_ms = turn_begin(d);
	struct audit_time t = audit_time_now(now_ms);
	int err = engine_restore_lease(d->engine, l, now_ms);

	if (err != ERR_RANGE && err != ERR_NOTFOUND)
		return err;
	if (audit_add(d->audit, l, END_EXPIRED,
		    l->expires_ms < now_ms ? l->expires_ms : now_ms, &t) != 0 ||
		audit_flush(d->audit) != 0)
		log_error("the end of a lease is not in the audit",
			"bind=%u error=\"%s\"", l->bind_id, audit_error(d->audit));
	return err;
}

static int restore_resting(void *ctx, const struct resting *r)
{
	struct rsipd *d = ctx;

	return engine_restore_resting(d->engine, r, turn_begin(d));
}

static int open_audit(struct rsipd *d, char *why, size_t why_size)
{
	const struct audit_conf conf = { .dir = d->conf->state_dir,
		.max_bytes = d->conf->audit_bytes,
		.keep_s = d->conf->audit_keep_s,
		.sync = true };
	int err = archive_open(&d->archive, d->loop, d->conf->state_dir);

	return err != 0 ? err : audit_open(&conf, &d->audit, why, why_size);
}

static int open_leases(struct rsipd *d, char *why, size_t why_size)
{
	const struct store_clock clock = store_clock_system();
	const struct store_callbacks cb = { d, restore_registration, restore_lease,
		restore_resting };
	struct store_loaded loaded = { 0 };
	int err = store_open(d->conf->state_dir, &clock, &d->store, why, why_size);

	if (err == 0)
		err = open_audit(d, why, why_size); /* behind the store's lock */
	if (err != 0)
		return err;
	d->engine = engine_new(&d->conf->engine, random_system(), turn_effect, d);
	if (d->engine == NULL)
		return -ENOMEM;
	err = store_load(d->store, &cb, &loaded);
	if (err != 0) {
		(void)snprintf(why, why_size,
			"%s/" STORE_FILE " cannot be taken back: %s", d->conf->state_dir,
			err_text(err));
		return err;
	}
	log_info("leases restored", "clients=%zu leases=%zu resting=%zu dropped=%zu",
		loaded.registrations, loaded.leases, loaded.resting, loaded.dropped);
	return 0;
}

static void on_note(void *ctx, const char *text)
{
	(void)ctx;
	log_info("data plane", "note=\"%s\"", text);
}

static void on_packet(void *ctx, enum dp_direction direction, enum dp_reason reason,
	const uint8_t *packet, size_t len)
{
	struct rsipd *d = ctx;

	monitor_packet(&d->monitor, direction, reason, packet, len);
}

static int open_plane(struct rsipd *d, char *why, size_t why_size)
{
	int err;

	d->plane.loop = d->loop;
	d->plane.ctx = d;
	d->plane.ready = on_plane_ready;
	d->plane.events = (struct dp_events){ .ctx = d,
		.misuse = on_misuse,
		.note = on_note,
		.wants_packets = &d->monitor.packets,
		.packet = on_packet };
	err = plane_open(&d->plane, d->conf, why, why_size);
	if (err != 0)
		return err;
	turn_init(d);
	turn_reinstall(d);
	return 0;
}

static struct net_endpoint *endpoints_new(const struct conf *c)
{
	struct net_endpoint *at = calloc(c->n_listen, sizeof(*at));

	for (size_t i = 0; i < c->n_listen && at != NULL; i++)
		at[i] = (struct net_endpoint){ c->listen[i].addr, c->listen[i].port };
	return at;
}

static int open_proof(struct rsipd *d, char *why, size_t why_size)
{
	struct proof_files files;
	int err = proof_load(d->conf, &files, why, why_size);

	if (err == 0)
		err = proof_take(&d->proof, &files);
	return err;
}

static int open_net(struct rsipd *d, char *why, size_t why_size)
{
	const struct conf *c = d->conf;
	struct net_place places[CONF_PLACES_MAX];
	struct net_endpoint *at = endpoints_new(c);
	const struct net_conf nc = {
		.endpoints = at,
		.n_endpoints = c->n_listen,
		.tcp = c->engine.tcp,
		.limits = { c->tcp.connections, c->tcp.connections_per_host,
			(uint64_t)c->tcp.idle_s * 1000, (uint64_t)c->tcp.stall_s * 1000 },
		.proof = { d->proof.guard, d->proof.tls },
		.places = places,
		.n_places = proof_places(c, places),
		.ctx = d,
		.message = turn_message,
		.closed = on_conn_closed,
	};
	int err = -ENOMEM;

	if (at != NULL)
		err = net_new(d->loop, &nc, &d->net, why, why_size);
	free(at);
	return err;
}

static void texts_free(char **texts)
{
	for (size_t i = 0; texts != NULL && texts[i] != NULL; i++)
		free(texts[i]);
	free(texts);
}

/* `listen` as it stands in the file; outlives the configuration that it is of. */
static int texts_take(struct rsipd *d, const struct conf *c)
{
	char **texts = calloc(c->n_listen + 1, sizeof(char *));

	for (size_t i = 0; i < c->n_listen; i++) {
		if (texts != NULL)
			texts[i] = strdup(c->listen[i].text);
		if (texts == NULL || texts[i] == NULL) {
			texts_free(texts);
			return -ENOMEM;
		}
	}
	texts_free(d->listen_text);
	d->listen_text = texts;
	d->source.listen = (const char *const *)texts;
	d->source.n_listen = c->n_listen;
	return 0;
}

int rsipd_listen(struct rsipd *d, const struct conf *conf, char *why, size_t why_size)
{
	struct net_endpoint *at = endpoints_new(conf);
	int err = -ENOMEM;

	if (at != NULL)
		err = net_listen(d->net, at, conf->n_listen, why, why_size);
	free(at);
	/* Without memory for the texts, status shows the old ones. */
	if (err == 0)
		(void)texts_take(d, conf);
	return err;
}

/* What control and metrics see. */
static int source_fill(struct rsipd *d)
{
	struct control_source *s = &d->source;

	s->ctx = d;
	s->engine = d->engine;
	s->archive = &d->archive;
	s->monitor = &d->monitor;
	s->events = &d->events;
	s->audit = d->audit;
	s->exported = &d->export.counters;
	s->slp = &d->advertise.agent.counters;
	s->now_ms = source_now;
	s->stats = source_stats;
	s->reload = source_reload;
	s->config = source_config;
	s->apply = source_apply;
	s->confirm = source_confirm;
	s->settle = source_settle;
	s->healthy = source_healthy;
	s->reasons = source_reasons;
	s->water = &d->water;
	s->net = net_counters(d->net);
	s->sockets = d->net;
	s->turn = &d->turn;
	s->driver = d->plane.driver->name;
	s->config_file = d->config_file;
	s->udp = d->conf->engine.udp;
	s->tcp = d->conf->engine.tcp;
	s->started_ms = rsipd_clock_ms();
	return texts_take(d, d->conf);
}

static int open_export(struct rsipd *d, char *why, size_t why_size)
{
	const struct conf *c = d->conf;
	const struct export_conf conf = { .addr = c->collector.addr,
		.port = c->collector.port,
		.domain = c->ipfix_domain,
		.enterprise = c->ipfix_enterprise,
		.templates_ms = (uint64_t)c->ipfix_templates_s * 1000 };
	int err = 0;

	if (c->ipfix)
		err = export_open(&d->export, &conf, d->engine, &d->events);
	if (err != 0)
		(void)snprintf(why, why_size, "IPFIX: %s", err_text(err));
	return err;
}

static int open_watchers(struct rsipd *d, char *why, size_t why_size)
{
	const struct ipc_server_conf control = { .path = d->conf->control_socket,
		.methods = control_methods,
		.max_request = CONTROL_REQUEST_MAX,
		.ctx = &d->source };
	const struct metrics_http_conf http = { .addr = d->conf->metrics_listen.addr,
		.port = d->conf->metrics_listen.port,
		.collect = gw_metrics_collect,
		.healthy = http_healthy,
		.file = page_file,
		.ctx = &d->source };
	int err = source_fill(d);

	d->water.engine = d->engine;
	d->water.events = &d->events;
	if (err == 0)
		err = water_conf(&d->water, d->conf);

	if (d->verbose) {
		d->log_sink = (struct event_sink){ event_log, NULL, NULL };
		events_add(&d->events, &d->log_sink);
	}
	if (err == 0)
		err = open_export(d, why, why_size);
	if (err == 0)
		err = advertise_open(&d->advertise, d->loop,
			(const struct conf *const *)&d->conf, d->engine, why, why_size);
	if (err == 0)
		err = ipc_server_new(d->loop, &control, &d->control, why, why_size);
	if (err == 0 && d->conf->metrics) {
		page_open(&d->page, &d->source, &d->events);
		d->source.page = &d->page;
	}
	if (err == 0 && d->conf->metrics)
		err = metrics_http_new(d->loop, &http, &d->http, why, why_size);
	return err;
}

static void handles_start(struct rsipd *d)
{
	uint64_t alive_ms = daemon_watchdog_ms();

	(void)uv_prepare_start(&d->prepare, on_prepare);
	(void)uv_check_start(&d->check, on_check);
	(void)uv_timer_start(&d->mark, on_mark, MARK_MS, MARK_MS);
	(void)uv_timer_start(&d->second, on_second, 0, SECOND_MS);
	if (alive_ms > 0)
		(void)uv_timer_start(&d->alive, on_alive, alive_ms / 2, alive_ms / 2);
	(void)uv_signal_start(&d->hup, on_hup, SIGHUP);
	(void)uv_signal_start(&d->term, on_stop, SIGTERM);
	(void)uv_signal_start(&d->interrupt, on_stop, SIGINT);
}

/* As many descriptors as we may have: each connection is one. */
static void files_raise(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0)
		return;
	r.rlim_cur = r.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &r); /* then we have fewer */
}

int rsipd_open(struct rsipd *d, char *why, size_t why_size)
{
	int (*const steps[])(struct rsipd * d, char *why, size_t why_size) = {
		directories, open_leases, open_plane, open_proof, open_net, open_watchers
	};
	int err = plane_choose(&d->plane, d->conf, why, why_size);

	d->advertise.fd = -1; /* rsipd_close() comes also when nothing was opened */
	files_raise();
	if (err == 0 && strcmp(d->plane.driver->name, "none") != 0)
		err = own_check(d->conf, why, why_size);
	if (err == 0)
		err = handles_init(d);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && err == 0; i++)
		err = steps[i](d, why, why_size);
	if (err == 0)
		err = confine(d, why, why_size);
	if (err != 0) {
		if (why[0] == 0)
			(void)snprintf(why, why_size, "%s", err_text(err));
		return err;
	}
	handles_start(d);
	return 0;
}

/* --- running and closing --------------------------------------------------------------
 */

int rsipd_run(struct rsipd *d)
{
	(void)uv_run(d->loop, UV_RUN_DEFAULT);
	if (turn_settle(d) != 0)
		d->exit_status = 1;
	return d->exit_status;
}

static void close_handle(uv_handle_t *handle, void *ctx)
{
	(void)ctx;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/* The modules close what is theirs; the rest of the loop's handles are our own. */
static void close_loop(struct rsipd *d)
{
	uv_handle_t *own[] = { (uv_handle_t *)&d->prepare, (uv_handle_t *)&d->check,
		(uv_handle_t *)&d->timer, (uv_handle_t *)&d->mark,
		(uv_handle_t *)&d->monitor.second, (uv_handle_t *)&d->export.templates,
		(uv_handle_t *)&d->alive, (uv_handle_t *)&d->hup, (uv_handle_t *)&d->term,
		(uv_handle_t *)&d->interrupt, (uv_handle_t *)&d->trial.timer,
		(uv_handle_t *)&d->second, (uv_handle_t *)&d->advertise.timer };

	if (d->loop == NULL)
		return;
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		close_handle(own[i], NULL);
	(void)uv_run(d->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(d->loop) != 0)
		log_warn("the loop still has handles", "%s", "");
	free(d->loop);
}

void rsipd_close(struct rsipd *d)
{
	metrics_http_free(d->http);
	monitor_close(&d->monitor);
	export_close(&d->export);
	page_close(&d->page);
	water_fini(&d->water);
	advertise_close(&d->advertise);
	ipc_server_free(d->control);
	net_free(d->net);
	plane_close(&d->plane);
	resolve_close(&d->resolve);
	archive_close(&d->archive);
	close_loop(d);
	if (d->store != NULL && d->exit_status == 0)
		(void)store_mark(d->store); /* at worst an older time stands there */
	proof_fini(&d->proof);
	trial_forget(&d->trial);
	store_close(d->store);
	engine_free(d->engine);
	archive_fini(&d->archive);
	audit_close(d->audit);
	turn_fini(&d->turn);
	texts_free(d->listen_text);
	conf_free(d->conf);
}
