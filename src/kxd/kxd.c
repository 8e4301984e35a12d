/*
 * What happens, as events for the decisions; and the daemon's life.
 *
 * Order at the start: first what can fail for a reason of the operator's, then the
 * control socket (which is also the lock against a second daemon), then the kernel's
 * policies, then fewer privileges, and libunbound with its thread last.
 */
#include "kxd/act.h"

#include "base/daemon.h"
#include "base/err.h"
#include "base/log.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACTIONS   64
#define SETTLE_MS 100
#define ACQ_FILE  "/proc/sys/net/core/xfrm_acq_expires"
#define ACQ_S     "2"

/* --- events ---------------------------------------------------------------------------
 */

static void step(struct kxd *d, struct kx_event *event)
{
	struct kx_action actions[ACTIONS];
	size_t n;

	event->now_ms = uv_now(d->loop);
	n = kx_step(d->kx, event, actions, ACTIONS);
	/*
	 * One by one: what they borrow holds until the next step, and carrying one out
	 * may bring up an event, which waits until all are done.
	 */
	for (size_t i = 0; i < n; i++)
		act(d, &actions[i]);
}

void kxd_event(struct kxd *d, struct kx_event *event)
{
	if (d->stepping) {
		/* Only "too many look-ups" comes here: static answers, nothing borrowed.
		 */
		if (d->n_later < KXD_LATER)
			d->later[d->n_later++] = *event;
		return;
	}
	d->stepping = true;
	step(d, event);
	while (d->n_later > 0) {
		struct kx_event next = d->later[0];

		memmove(d->later, d->later + 1, --d->n_later * sizeof(d->later[0]));
		step(d, &next);
	}
	d->stepping = false;
}

static void packet(struct kxd *d, uint32_t src, uint32_t dst, uint8_t protocol,
	uint16_t sport, uint16_t dport)
{
	struct kx_event e = {
		.kind = KX_PACKET,
		.source = kx_addr_from4(src),
		.destination = kx_addr_from4(dst),
		.flow = { .protocol = protocol, .source_port = sport, .port = dport },
	};

	e.flow.destination = e.destination;
	kxd_event(d, &e);
}

static void on_acquire(void *ctx, const struct spd_acquire *a)
{
	struct kxd *d = ctx;
	size_t at = d->next_acquire++ % KXD_ACQUIRES;

	d->counters.acquires++;
	d->acquires[at].src = a->src;
	d->acquires[at].dst = a->dst;
	d->acquires[at].seq = a->seq;
	packet(d, a->src, a->dst, a->protocol, a->sport, a->dport);
}

static void on_overrun(void *ctx)
{
	struct kxd *d = ctx;

	d->counters.overruns++;
}

/* A packet at the queue: kept while its pair is being decided. */
static bool on_hold(void *ctx, const struct hold_packet *p)
{
	struct kxd *d = ctx;
	const struct kx_flow flow = {
		.destination = kx_addr_from4(p->dst),
		.protocol = p->protocol,
		.source_port = p->sport,
		.port = p->dport,
	};
	const struct kx_rule *rule = kx_policy_find(d->conf->policy, &flow);

	if (traps_is_own(&d->traps, p->dst) || traps_is_own(&d->traps, p->src) ||
		!traps_protects(&d->traps, p->src) || rule == NULL ||
		(rule->group != KX_PRIVATE && rule->group != KX_PRIVATE_OR_CLEAR))
		return false;
	if (rule->negotiation != KX_SHUNT_DEFAULT && rule->negotiation != KX_SHUNT_HOLD)
		return false;
	packet(d, p->src, p->dst, p->protocol, p->sport, p->dport);
	/* What is decided has been released by now, but for what an SA takes. */
	return !peers_has(d->peers, p->src, p->dst);
}

static void on_ike(void *ctx, uint32_t pair, enum kx_ike result)
{
	struct kx_event e = { .kind = KX_IKE, .id = pair, .ike = result };

	kxd_event(ctx, &e);
}

static void on_sa(
	void *ctx, bool up, uint32_t local, uint32_t remote, const struct kx_name *peer)
{
	struct kxd *d = ctx;
	char a[ADDR_TEXT_MAX], b[ADDR_TEXT_MAX], name[KX_NAME_TEXT];
	struct kx_event gone = {
		.kind = KX_FORGET,
		.peer = *peer,
		.source = kx_addr_from4(remote),
	};

	log_info(up ? "tunnel up" : "tunnel down", "local=%s remote=%s peer=%s",
		addr_format(local, a), addr_format(remote, b),
		kx_name_format(peer, name));
	if (!up) {
		kxd_event(d, &gone);
		return;
	}
	traps_unshunt(&d->traps, local, remote);
	if (d->hold != NULL)
		hold_release(d->hold, local, remote, true);
}

static void acq_expires(void)
{
	int fd = open(ACQ_FILE, O_WRONLY | O_CLOEXEC);

	/* Without it a pair that was refused for a limit is silent for longer. */
	if (fd < 0 || write(fd, ACQ_S, sizeof(ACQ_S) - 1) < 0)
		log_warn("cannot shorten the kernel's waiting states",
			"file=" ACQ_FILE " error=\"%s\"", err_text(-errno));
	if (fd >= 0)
		(void)close(fd);
}

static void on_charon(void *ctx, bool ready, const char *why)
{
	struct kxd *d = ctx;

	if (ready)
		log_info("charon follows", "vici=%s", d->conf->vici);
	else if (strcmp(d->charon, why) != 0)
		log_warn("charon does not follow", "vici=%s error=\"%s\"", d->conf->vici,
			why);
	(void)snprintf(d->charon, sizeof(d->charon), "%s", ready ? "" : why);
	if (ready)
		acq_expires(); /* it has set its own when it started */
}

/* --- what charon refused --------------------------------------------------------------
 */

/* Its identity as a name; false for an address and for what is neither. */
static bool peer_name(const struct enfy *e, struct kx_name *name)
{
	uint32_t addr;

	name->len = 0;
	return addr_parse(e->id, &addr) != 0 && strchr(e->id, '@') == NULL &&
	       strchr(e->id, '=') == NULL && kx_name_parse(e->id, name) == 0;
}

static void on_refused(void *ctx, const struct enfy *said)
{
	struct kxd *d = ctx;
	struct kx_event e = { .peer_addr = kx_addr_from4(said->addr) };
	uint32_t theirs, ours;
	bool named = peer_name(said, &e.peer);

	if (said->type == ENFY_PEER_AUTH_FAILED && named) {
		e.kind = KX_INBOUND_ID;
	} else if (said->type == ENFY_TS_MISMATCH && (named || said->id[0] != 0)) {
		if (enfy_selectors(said->text, &theirs, &ours) != 0) {
			d->counters.unreadable++;
			log_warn("selectors refused", "peer=%s text=\"%s\"", said->id,
				said->text);
			return;
		}
		e.kind = KX_INBOUND_TS;
		e.source = kx_addr_from4(theirs);
		e.destination = kx_addr_from4(ours);
		e.remote = kx_prefix_host(&e.source);
		e.local = kx_prefix_host(&e.destination);
	} else {
		d->counters.ignored++;
		return;
	}
	d->counters.inbound++;
	e.id = ++d->token;
	kxd_event(d, &e);
}

static void on_rubbish(void *ctx)
{
	struct kxd *d = ctx;

	d->counters.unreadable++;
	log_warn("a record of error-notify is none", "socket=%s", d->conf->notify);
}

static void on_notify_state(void *ctx, bool up)
{
	struct kxd *d = ctx;

	d->notify_up = up;
	if (up)
		log_info("charon tells what it refuses", "socket=%s", d->conf->notify);
	else
		log_warn("charon tells nothing of what it refuses",
			"socket=%s hint=\"the error-notify plugin\"", d->conf->notify);
}

/* --- the machine ----------------------------------------------------------------------
 */

static void on_settled(uv_timer_t *timer)
{
	struct kxd *d = timer->data;
	char why[KXD_WHY];

	if (traps_sync(&d->traps, why, sizeof(why)) == 0)
		return;
	d->counters.policy_errors++;
	log_error("policies do not follow the addresses", "error=\"%s\"", why);
}

static void on_links(uv_poll_t *poll, int status, int events)
{
	struct kxd *d = poll->data;
	char buf[8192];

	(void)status, (void)events;
	/* What changed is found out by looking; an overrun says as much as a message. */
	while (recv(d->links_fd, buf, sizeof(buf), MSG_DONTWAIT) >= 0 || errno == ENOBUFS)
		;
	(void)uv_timer_start(&d->settle, on_settled, SETTLE_MS, 0);
}

static int links_open(struct kxd *d)
{
	const struct sockaddr_nl addr = { .nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_IPV4_IFADDR };

	d->links_fd = socket(
		AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (d->links_fd < 0 ||
		bind(d->links_fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0)
		return -errno;
	(void)uv_poll_init(d->loop, &d->links, d->links_fd);
	d->links.data = d;
	(void)uv_poll_start(&d->links, UV_READABLE, on_links);
	return 0;
}

/* --- configuration --------------------------------------------------------------------
 */

void kxd_core_conf(const struct kxd_conf *from, struct kx_conf *to)
{
	*to = (struct kx_conf){
		.policy = from->policy,
		.n_self = from->n_self,
		.no_forward = from->no_forward,
		.key_needed = from->ca[0] == 0,
		.direct_insecure = from->direct_insecure,
		.limits = from->limits,
		.random = random_system(),
	};
	memcpy(to->self, from->self, sizeof(to->self));
	for (size_t i = 0; i < from->n_protect; i++) {
		struct kx_prefix *p = &to->local[to->n_local++];

		p->addr = kx_addr_from4(from->protect[i].addr);
		p->len = from->protect[i].len;
	}
}

static const char *or_null(const char *text)
{
	return text[0] != 0 ? text : NULL;
}

static int resolve_open(struct kxd *d, char *why, size_t why_size)
{
	const struct kxd_conf *c = d->conf;
	const struct kx_resolve_conf conf = {
		.config = or_null(c->dns_config),
		.anchor =
			strcmp(c->dns_anchor, "none") == 0 ? "" : or_null(c->dns_anchor),
		.forward = or_null(c->dns_forward),
		.zones = or_null(c->dns_zones),
		.now = or_null(c->dns_time),
		.in_flight = c->limits.lookups,
	};

	return kx_resolve_new(d->loop, &conf, &d->resolve, why, why_size);
}

static bool same_networks(const struct kxd_conf *a, const struct kxd_conf *b)
{
	bool same = a->n_protect == b->n_protect && a->protect_own == b->protect_own;

	for (size_t i = 0; i < a->n_protect && same; i++)
		same = a->protect[i].addr == b->protect[i].addr &&
		       a->protect[i].len == b->protect[i].len;
	return same;
}

/* What a running daemon does not change; NULL when all is well. */
static const char *fixed(const struct kxd_conf *a, const struct kxd_conf *b)
{
	const struct {
		const char *key;
		bool differs;
	} rows[] = {
		{ "identity", a->n_self != b->n_self ||
				      memcmp(a->self, b->self, sizeof(a->self)) != 0 },
		{ "control-socket", strcmp(a->control_socket, b->control_socket) != 0 },
		{ "hold", a->hold != b->hold || a->hold_queue != b->hold_queue },
		{ "vici", strcmp(a->vici, b->vici) != 0 },
		{ "error-notify", strcmp(a->notify, b->notify) != 0 },
		{ "forward-confirmation", a->no_forward != b->no_forward },
		{ "kx-insecure", a->direct_insecure != b->direct_insecure },
		{ "protect", !same_networks(a, b) },
		{ "dns", strcmp(a->dns_config, b->dns_config) != 0 ||
				 strcmp(a->dns_anchor, b->dns_anchor) != 0 ||
				 strcmp(a->dns_forward, b->dns_forward) != 0 ||
				 strcmp(a->dns_zones, b->dns_zones) != 0 },
		{ "limits", memcmp(&a->limits, &b->limits, sizeof(a->limits)) != 0 },
		{ "metrics", a->metrics != b->metrics ||
				     a->metrics_addr != b->metrics_addr ||
				     a->metrics_port != b->metrics_port },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].differs)
			return rows[i].key;
	return NULL;
}

static void socket_set(struct kxd *d, struct kxd_conf *c)
{
	if (d->socket != NULL)
		(void)snprintf(
			c->control_socket, sizeof(c->control_socket), "%s", d->socket);
}

int kxd_reload(struct kxd *d, char *why, size_t why_size)
{
	struct kxd_conf *new, *old = d->conf;
	int err = kxd_conf_load(d->config_file, &new, why, why_size);
	const char *key;

	if (err != 0)
		return err;
	socket_set(d, new);
	key = fixed(old, new);
	if (key != NULL) {
		(void)snprintf(why, why_size, "%s: %s changes with a restart only",
			d->config_file, key);
		err = ERR_CONFIG;
	}
	if (err == 0)
		err = peers_reload(d->peers, new, why, why_size);
	if (err != 0) {
		kxd_conf_free(new);
		return err;
	}
	d->conf = new;
	d->traps.conf = new;
	kx_set_policy(d->kx, new->policy);
	err = traps_sync(&d->traps, why, why_size);
	if (err == 0 && d->hold != NULL)
		err = hold_rules(new, why, why_size);
	kxd_conf_free(old);
	return err;
}

/* --- life -----------------------------------------------------------------------------
 */

static void on_hup(uv_signal_t *signal, int number)
{
	struct kxd *d = signal->data;
	char why[KXD_WHY] = "";

	(void)number;
	if (kxd_reload(d, why, sizeof(why)) == 0)
		log_info("configuration read again", "file=%s", d->config_file);
	else
		log_error("configuration unchanged", "reason=\"%s\"", why);
}

static void on_term(uv_signal_t *signal, int number)
{
	struct kxd *d = signal->data;

	log_info("ending", "signal=%d traps=stay", number);
	uv_stop(d->loop);
}

static void handles_start(struct kxd *d)
{
	(void)uv_timer_init(d->loop, &d->wake);
	(void)uv_timer_init(d->loop, &d->settle);
	(void)uv_signal_init(d->loop, &d->hup);
	(void)uv_signal_init(d->loop, &d->term);
	(void)uv_signal_init(d->loop, &d->interrupt);
	d->wake.data = d->settle.data = d;
	d->hup.data = d->term.data = d->interrupt.data = d;
	(void)uv_signal_start(&d->hup, on_hup, SIGHUP);
	(void)uv_signal_start(&d->term, on_term, SIGTERM);
	(void)uv_signal_start(&d->interrupt, on_term, SIGINT);
}

static int kernel_open(struct kxd *d, char *why, size_t why_size)
{
	const struct spd_conf spd = { d, on_acquire, on_overrun };
	int err = spd_new(d->loop, &spd, &d->spd, why, why_size);

	if (err != 0)
		return err;
	d->traps.spd = d->spd;
	d->traps.conf = d->conf;
	acq_expires();
	err = links_open(d);
	if (err != 0) {
		(void)snprintf(why, why_size, "cannot watch the machine's addresses: %s",
			err_text(err));
		return err;
	}
	return traps_sync(&d->traps, why, why_size);
}

static int hold_open(struct kxd *d, char *why, size_t why_size)
{
	const struct hold_conf conf = {
		.queue = d->conf->hold_queue,
		.most_ms = d->conf->limits.total_ms,
		.ctx = d,
		.keep = on_hold,
	};
	int err = 0;

	if (d->conf->hold)
		err = hold_new(d->loop, &conf, &d->hold, why, why_size);
	if (err == 0 && d->conf->hold)
		err = hold_rules(d->conf, why, why_size);
	return err;
}

static int charon_open(struct kxd *d, char *why, size_t why_size)
{
	const struct peers_conf peers = { d->conf, d, on_ike, on_sa, on_charon };
	const struct notify_conf notify = { d->conf->notify, d, on_refused, on_rubbish,
		on_notify_state };
	int err = peers_new(d->loop, &peers, &d->peers, why, why_size);

	return err != 0 ? err : notify_new(d->loop, &notify, &d->notify);
}

static bool healthy(void *ctx, char *why, size_t why_size)
{
	const struct kxd *d = ctx;

	if (peers_is_ready(d->peers) && d->notify_up)
		return true;
	(void)snprintf(why, why_size, "charon: %s",
		d->charon[0] != 0 ? d->charon : "tells nothing of what it refuses");
	return false;
}

static int doors_open(struct kxd *d, char *why, size_t why_size)
{
	const struct ipc_server_conf ipc = {
		.path = d->conf->control_socket,
		.methods = kxd_methods,
		.ctx = d,
	};
	const struct metrics_http_conf http = {
		.addr = d->conf->metrics_addr,
		.port = d->conf->metrics_port,
		.collect = kxd_metrics_collect,
		.healthy = healthy,
		.ctx = d,
	};
	int err = daemon_mkdir_of(d->conf->control_socket, 0755);

	if (err != 0)
		(void)snprintf(why, why_size, "cannot make the directory of %s: %s",
			d->conf->control_socket, err_text(err));
	if (err == 0)
		err = ipc_server_new(d->loop, &ipc, &d->ipc, why, why_size);
	if (err == 0 && d->conf->metrics)
		err = metrics_http_new(d->loop, &http, &d->http, why, why_size);
	return err;
}

static int privileges_drop(struct kxd *d, char *why, size_t why_size)
{
	/* iptables' older half speaks by a raw socket. */
	const struct sandbox s = {
		.rights = SANDBOX_NET_ADMIN | (d->conf->hold ? SANDBOX_NET_RAW : 0U),
	};
	struct sandbox_got got;

	return sandbox_enter(&s, &got, why, why_size);
}

static int core_open(struct kxd *d, char *why, size_t why_size)
{
	struct kx_conf conf;

	kxd_core_conf(d->conf, &conf);
	d->kx = kx_new(&conf);
	if (d->kx != NULL)
		return 0;
	(void)snprintf(why, why_size, "no memory for the decisions");
	return -ENOMEM;
}

int kxd_open(struct kxd *d, char *why, size_t why_size)
{
	int (*const steps[])(struct kxd * d, char *why, size_t why_size) = { core_open,
		charon_open, doors_open, kernel_open, hold_open, privileges_drop,
		resolve_open };
	int err = uv_loop_init(&d->storage);

	d->links_fd = -1;
	if (err != 0)
		return err;
	d->loop = &d->storage;
	d->started_ms = uv_now(d->loop);
	socket_set(d, d->conf);
	handles_start(d);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && err == 0; i++)
		err = steps[i](d, why, why_size);
	if (err == 0) {
		struct kx_event first = { .kind = KX_TIMER };

		kxd_event(d, &first); /* rules by name are looked up */
	}
	return err;
}

int kxd_run(struct kxd *d)
{
	(void)uv_run(d->loop, UV_RUN_DEFAULT);
	return 0;
}

void kxd_close(struct kxd *d)
{
	char why[KXD_WHY];

	if (d->loop == NULL)
		return;
	if (d->hold != NULL)
		(void)hold_rules(NULL, why, sizeof(why));
	kx_resolve_free(d->resolve);
	metrics_http_free(d->http);
	ipc_server_free(d->ipc);
	notify_free(d->notify);
	peers_free(d->peers);
	hold_free(d->hold);
	spd_free(d->spd);
	if (d->links_fd >= 0 && d->links.data != NULL)
		uv_close((uv_handle_t *)&d->links, NULL);
	uv_close((uv_handle_t *)&d->wake, NULL);
	uv_close((uv_handle_t *)&d->settle, NULL);
	uv_close((uv_handle_t *)&d->hup, NULL);
	uv_close((uv_handle_t *)&d->term, NULL);
	uv_close((uv_handle_t *)&d->interrupt, NULL);
	(void)uv_run(d->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(d->loop) != 0)
		log_warn("the loop still has handles", "%s", "");
	if (d->links_fd >= 0)
		(void)close(d->links_fd);
	traps_fini(&d->traps);
	kx_free(d->kx);
}
