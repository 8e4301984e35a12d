/*
 * Namespaces of `rsip exec`.  The namespace itself is the process's that asked; ours is
 * the device in it.  The device's file descriptor was opened in our namespace and so does
 * not keep the other one alive: when the last process in there ends, the kernel takes
 * namespace and device away and we see the descriptor fail.
 */
#include "base/err.h"
#include "base/log.h"
#include "host/discipline.h"
#include "host/host.h"
#include "host/sysctl.h"
#include "host/tundev.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define INSIDE        "rsip0" /* the device's name in there */
#define LOOPBACK      1       /* index of lo, in every namespace */
#define RESERVED_TEXT 65536

struct exec_watch {
	uv_poll_t poll;
	int fd;
	struct exec *exec; /* NULL: nobody cares any more */
};

/* --- inside ---------------------------------------------------------------------------
 */

/* What must be done while this thread is in the other namespace. */
struct inside {
	struct nl *nl;
	int home; /* our own namespace */
};

static int inside_enter(struct inside *in, int netns)
{
	*in = (struct inside){ .home = -1 };
	in->home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (in->home < 0)
		return -errno;
	if (setns(netns, CLONE_NEWNET) != 0) {
		int err = -errno;

		(void)close(in->home);
		in->home = -1;
		return err;
	}
	return nl_open(&in->nl);
}

/* Back, whatever happened; a daemon in the wrong namespace must not go on. */
static void inside_leave(struct inside *in)
{
	nl_close(in->nl);
	if (in->home < 0)
		return;
	if (setns(in->home, CLONE_NEWNET) != 0) {
		log_error("cannot return to our network namespace", "reason=%s",
			strerror(errno));
		abort();
	}
	(void)close(in->home);
}

static int ports_confine(const struct rsip_grant *g)
{
	struct range *leased = calloc(g->n_ports + 1, sizeof(*leased));
	struct discipline d = { 0 };
	char range[32], *reserved = malloc(RESERVED_TEXT);
	int err = leased != NULL && reserved != NULL ? 0 : -ENOMEM;

	for (size_t i = 0; i < g->n_ports && err == 0; i++)
		leased[i] = (struct range){ g->ports[i].lo, g->ports[i].hi };
	if (err == 0)
		err = discipline_plan(leased, g->n_ports, NULL, 0, 0, &d);
	if (err == 0 && d.confine) {
		(void)ranges_format(
			d.reserved, d.n_reserved, false, reserved, RESERVED_TEXT);
		(void)snprintf(range, sizeof(range), "%u %u", d.lo, d.hi);
		/* Nobody else lives here: any leased port may be bound by anybody. */
		err = sysctl_write("net/ipv4/ip_unprivileged_port_start", "1");
		if (err == 0)
			err = sysctl_write("net/ipv4/ip_local_reserved_ports", reserved);
		if (err == 0)
			err = sysctl_write("net/ipv4/ip_local_port_range", range);
	}
	discipline_fini(&d);
	free(reserved);
	free(leased);
	return err;
}

/* The address, the only route and the ports of the grant (NULL: none held). */
static int inside_apply(struct exec *e, const struct rsip_grant *g)
{
	uint32_t address = g != NULL ? g->address : 0;
	struct inside in;
	int err = inside_enter(&in, e->netns);

	if (err == 0 && e->address != 0 && e->address != address)
		(void)nl_addr_del(in.nl, e->index, e->address);
	if (err == 0 && address != 0) {
		struct route4 all = { .oif = e->index, .src = address };

		err = nl_addr_add(in.nl, e->index, address);
		if (err == 0 || err == -EEXIST)
			err = nl_route_add(in.nl, &all, 0);
		if (err == -EEXIST)
			err = 0;
		if (err == 0 && g->kind != RSIP_RSA_IP)
			err = ports_confine(g);
	}
	inside_leave(&in);
	if (err == 0)
		e->address = address;
	return err;
}

static int inside_open(struct exec *e, uint32_t mtu)
{
	struct inside in;
	int err = inside_enter(&in, e->netns);

	if (err == 0)
		err = nl_link_up(in.nl, LOOPBACK, 0);
	if (err == 0) {
		e->index = nl_link_index(in.nl, INSIDE);
		(void)sysctl_write("net/ipv6/conf/" INSIDE "/disable_ipv6", "1");
		err = nl_link_up(in.nl, e->index, mtu);
	}
	inside_leave(&in);
	return err;
}

/* --- outside --------------------------------------------------------------------------
 */

static void on_device_gone(struct tunnel_owner *owner)
{
	struct exec *e =
		(struct exec *)(void *)((char *)owner - offsetof(struct exec, owner));

	exec_end(e, NULL, NULL);
}

/* Make the device here, so that its descriptor belongs here, and send it there. */
static int device_make(struct exec *e, char *why, size_t why_size)
{
	struct host *h = e->host;
	char name[IFNAMSIZ] = "rsipx%d";
	uint32_t mtu;
	int fd, err = tundev_open(name, false, &fd);

	if (err != 0) {
		(void)snprintf(
			why, why_size, "cannot make a TUN device: %s", err_text(err));
		return err;
	}
	mtu = tunnel_mtu(e->carrier->tunnel);
	err = nl_link_move(h->nl, nl_link_index(h->nl, name), e->netns, INSIDE);
	if (err != 0) {
		(void)close(fd);
	} else {
		e->owner.gone = on_device_gone;
		err = tunnel_end_add(e->carrier->tunnel, fd, &e->owner, &e->end);
	}
	if (err == 0)
		err = inside_open(e, mtu);
	if (err != 0)
		(void)snprintf(why, why_size, "cannot set up the network namespace: %s",
			err_text(err));
	return err;
}

static int netns_open(int pid, int *netns, char *why, size_t why_size)
{
	struct stat mine, theirs;
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &theirs) != 0 || stat("/proc/self/ns/net", &mine) != 0) {
		(void)snprintf(why, why_size, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			(void)close(fd);
		return ERR_REFUSED;
	}
	if (mine.st_ino == theirs.st_ino && mine.st_dev == theirs.st_dev) {
		(void)snprintf(why, why_size,
			"process %d has no network namespace of its own", pid);
		(void)close(fd);
		return ERR_REFUSED;
	}
	*netns = fd;
	return 0;
}

static void on_watch_closed(uv_handle_t *handle)
{
	struct exec_watch *w = handle->data;

	(void)close(w->fd);
	free(w);
}

static void watch_end(struct exec *e)
{
	if (e->watch == NULL)
		return;
	e->watch->exec = NULL;
	uv_close((uv_handle_t *)&e->watch->poll, on_watch_closed);
	e->watch = NULL;
}

static void on_process_end(uv_poll_t *poll, int status, int events)
{
	const struct exec_watch *w = poll->data;

	(void)status, (void)events;
	if (w->exec != NULL)
		exec_end(w->exec, NULL, NULL);
}

static int watch_start(struct exec *e, int pid)
{
	struct exec_watch *w = calloc(1, sizeof(*w));
	int err;

	if (w == NULL)
		return -ENOMEM;
	w->fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (w->fd < 0) {
		err = -errno;
		free(w);
		return err;
	}
	err = uv_poll_init(e->host->loop, &w->poll, w->fd);
	if (err != 0) {
		(void)close(w->fd);
		free(w);
		return err;
	}
	w->poll.data = w;
	w->exec = e;
	e->watch = w;
	return uv_poll_start(&w->poll, UV_READABLE, on_process_end);
}

struct exec *exec_find(const struct host *h, uint32_t id)
{
	for (struct exec *e = h->execs; e != NULL; e = e->next)
		if (e->id == id)
			return e;
	return NULL;
}

int exec_sync(struct exec *e, char *why, size_t why_size)
{
	const struct rsip_grant *g = e->hold != NULL ? hold_grant(e->hold) : NULL;
	struct tunnel_claim claim;
	size_t n = g != NULL && net_claim(e->hold, &claim) ? 1 : 0;
	int err;

	if (e->end == NULL)
		return 0;
	err = tunnel_end_claim(e->end, &claim, n);
	if (err == 0)
		err = inside_apply(e, g);
	if (err != 0)
		(void)snprintf(why, why_size, "cannot set up the network namespace: %s",
			err_text(err));
	return err;
}

static int exec_open(struct exec *e, int pid, int watch, char *why, size_t why_size)
{
	const struct rsip_grant *g = hold_grant(e->hold);
	struct gw *gw = e->hold->gw;
	int err = netns_open(pid, &e->netns, why, why_size);

	if (err != 0)
		return err;
	if (g == NULL) {
		(void)snprintf(why, why_size, "the lease was lost meanwhile");
		return ERR_REFUSED;
	}
	e->carrier = carrier_get(
		gw, g->tunnel, g->endpoint != 0 ? g->endpoint : gw->addr, why, why_size);
	if (e->carrier == NULL)
		return ERR_REFUSED;
	/* A kernel device of the same gateway makes way now. */
	err = net_sync(e->host, why, why_size);
	if (err == 0)
		err = device_make(e, why, why_size);
	if (err == 0)
		err = exec_sync(e, why, why_size);
	if (err == 0) {
		err = watch_start(e, watch);
		if (err != 0)
			(void)snprintf(
				why, why_size, "process %d: %s", watch, err_text(err));
	}
	return err;
}

/* Everything but the hold. */
static void exec_free(struct exec *e)
{
	struct host *h = e->host;

	for (struct exec **at = &h->execs; *at != NULL; at = &(*at)->next) {
		if (*at == e) {
			*at = e->next;
			break;
		}
	}
	watch_end(e);
	tunnel_end_del(e->end); /* closes the device, and so ends it */
	carrier_put(e->carrier);
	if (e->netns >= 0)
		(void)close(e->netns);
	if (e->hold != NULL)
		e->hold->exec = NULL;
	h->resync = true;
	host_changed(h);
	free(e);
}

int exec_new(struct hold *hold, int pid, int watch, struct exec **exec, char *why,
	size_t why_size)
{
	struct host *h = hold->gw->host;
	struct exec *e = calloc(1, sizeof(*e));
	int err;

	if (e == NULL)
		return -ENOMEM;
	e->host = h;
	e->id = ++h->exec_ids;
	e->netns = -1;
	e->hold = hold;
	hold->exec = e;
	e->next = h->execs;
	h->execs = e;
	err = exec_open(e, pid, watch, why, why_size);
	if (err != 0) {
		exec_free(e);
		return err;
	}
	log_info("namespace connected", "exec=%" PRIu32 " pid=%d bind=%" PRIu32, e->id,
		pid, hold->bind_id);
	*exec = e;
	return 0;
}

/* After a namespace nobody asked to end: nothing of it stays. */
static void on_given(struct hold *hold, int err, const char *why)
{
	(void)err, (void)why;
	hold->gw->host->idle = true;
}

void exec_end(struct exec *e, void (*done)(struct hold *, int, const char *), void *ctx)
{
	struct hold *hold = e->hold;

	log_info("namespace ended", "exec=%" PRIu32, e->id);
	exec_free(e);
	if (hold != NULL)
		hold_give(hold, done != NULL ? done : on_given, ctx);
}
