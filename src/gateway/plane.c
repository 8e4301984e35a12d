/*
 * The data plane driver and the loop.  The driver itself knows packets and leases; here
 * is only who it is, when it runs and what it is told about pools and interfaces.
 */
#include "gateway/plane.h"

#include "base/err.h"
#include "base/log.h"
#include "sandbox/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_none(const struct plane *p)
{
	return strcmp(p->driver->name, "none") == 0;
}

static int interfaces_take(
	struct plane *p, const struct conf *conf, char *why, size_t why_size)
{
	if (conf->private_interface[0] == 0 || conf->public_interface[0] == 0) {
		(void)snprintf(why, why_size,
			"%s: dataplane: driver \"%s\" needs private-interface and "
			"public-interface; name them, or set driver = \"none\"",
			conf->file, conf->driver);
		return ERR_CONFIG;
	}
	(void)snprintf(p->private_interface, sizeof(p->private_interface), "%s",
		conf->private_interface);
	(void)snprintf(p->public_interface, sizeof(p->public_interface), "%s",
		conf->public_interface);
	return 0;
}

int plane_choose(struct plane *p, const struct conf *conf, char *why, size_t why_size)
{
	bool is_auto = strcmp(conf->driver, "auto") == 0;
	const char *name = is_auto ? "xdp" : conf->driver;

	p->fallback = is_auto ? dp_driver_find("packet") : NULL;
	p->driver = dp_driver_find(name);
	if (p->driver == NULL) {
		(void)snprintf(why, why_size,
			"%s: dataplane: driver \"%s\" is not built into this rsipd; set "
			"driver = \"packet\"",
			conf->file, name);
		return ERR_CONFIG;
	}
	return is_none(p) ? 0 : interfaces_take(p, conf, why, why_size);
}

unsigned int plane_rights(const struct plane *p)
{
	if (is_none(p))
		return 0;
	return SANDBOX_NET_ADMIN | SANDBOX_NET_RAW |
	       (strcmp(p->driver->name, "xdp") == 0 ? SANDBOX_BPF : 0);
}

/* --- the loop -------------------------------------------------------------------------
 */

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct plane *p = poll->data;

	(void)status;
	(void)events;
	p->ready(p->ctx);
}

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static void polls_stop(struct plane *p)
{
	for (int i = 0; i < p->n_polls; i++) {
		(void)uv_poll_stop(p->polls[i]);
		uv_close((uv_handle_t *)p->polls[i], on_poll_closed);
	}
	p->n_polls = 0;
}

static int polls_start(struct plane *p)
{
	int fds[4], n = p->driver->fds(p->dp, fds);

	for (int i = 0; i < n; i++) {
		uv_poll_t *poll = calloc(1, sizeof(*poll));
		int err = poll != NULL ? uv_poll_init(p->loop, poll, fds[i]) : -ENOMEM;

		if (err != 0) {
			free(poll);
			return err;
		}
		poll->data = p;
		(void)uv_poll_start(poll, UV_READABLE, on_readable);
		p->polls[p->n_polls++] = poll;
	}
	return 0;
}

/* --- open and close -------------------------------------------------------------------
 */

/* The addresses of `listen` without repeats; none when one of them is every address. */
static size_t tunnel_ends(const struct conf *conf, uint32_t *ends)
{
	size_t n = 0;

	for (size_t i = 0; i < conf->n_listen; i++) {
		bool known = false;

		if (conf->listen[i].addr == 0)
			return 0;
		for (size_t j = 0; j < n; j++)
			known |= ends[j] == conf->listen[i].addr;
		if (!known)
			ends[n++] = conf->listen[i].addr;
	}
	return n;
}

/*
 * Where the kernel's part of this gateway is kept: by the names of its interfaces and the
 * network namespace that they are in.
 */
static void pins_name(const struct plane *p, char *path, size_t size)
{
	char folder[64] = "/sys/fs/bpf/rsip";
	struct stat ns = { 0 };

	(void)stat("/proc/self/ns/net", &ns);
	if (p->pins_open)
		(void)snprintf(folder, sizeof(folder), "/proc/self/fd/%d", p->pins_fd);
	(void)snprintf(path, size, "%s/%s_%s_%llu", folder, p->private_interface,
		p->public_interface, (unsigned long long)ns.st_ino);
}

/* Of one namespace's folder, which has no folders in it. */
static void pins_give(const char *folder, const char *user)
{
	DIR *dir = opendir(folder);
	const struct dirent *e;
	char path[512];

	if (dir == NULL)
		return;
	(void)sandbox_user_owns(user, folder);
	while ((e = readdir(dir)) != NULL)
		if (e->d_name[0] != '.' && snprintf(path, sizeof(path), "%s/%s", folder,
						   e->d_name) < (int)sizeof(path))
			(void)sandbox_user_owns(user, path);
	(void)closedir(dir);
}

void plane_pins_are_at(struct plane *p, int fd, const char *user)
{
	char pins[128];

	p->pins_fd = fd;
	p->pins_open = true;
	pins_name(p, pins, sizeof(pins));
	pins_give(pins, user);
}

static int driver_open(
	struct plane *p, const struct conf *conf, char *why, size_t why_size)
{
	uint32_t *ends = calloc(conf->n_listen + 1, sizeof(*ends));
	struct dp_pool *pools = calloc(conf->n_taken + 1, sizeof(*pools));
	struct dp_conf dc = {
		.private_interface = p->private_interface,
		.public_interface = p->public_interface,
		.tunnel_ends = ends,
		.pools = pools,
		.n_pools = conf->n_taken,
		.ike_mappings = conf->ike_mappings,
		.ike_only_host = conf->ike_only_host,
		.napt = { conf->napt.hosts, conf->napt.n_hosts, conf->napt.address,
			conf->napt.ports },
	};
	char pins[128];
	int err = -ENOMEM;

	pins_name(p, pins, sizeof(pins));
	dc.pins = pins;
	if (ends != NULL && pools != NULL) {
		dc.n_tunnel_ends = tunnel_ends(conf, ends);
		for (size_t i = 0; i < conf->n_taken; i++)
			pools[i] = (struct dp_pool){ conf->taken[i].addresses,
				conf->taken[i].n_addresses, conf->taken[i].ports,
				conf->taken[i].n_ports };
		err = p->driver->open(&dc, &p->events, &p->dp, why, why_size);
	}
	free(ends);
	free(pools);
	return err;
}

/* The first opening of "auto": xdp where BPF loads, else packet, and which it was. */
static int auto_open(struct plane *p, const struct conf *conf, char *why, size_t why_size)
{
	int err = driver_open(p, conf, why, why_size);

	if (err != 0) {
		p->driver = p->fallback;
		log_info("data plane driver chosen", "driver=%s reason=\"xdp: %s\"",
			p->driver->name, why);
		why[0] = 0;
		err = driver_open(p, conf, why, why_size);
	} else {
		log_info("data plane driver chosen", "driver=%s", p->driver->name);
	}
	p->fallback = NULL;
	return err;
}

int plane_open(struct plane *p, const struct conf *conf, char *why, size_t why_size)
{
	int err = p->fallback != NULL ? auto_open(p, conf, why, why_size)
				      : driver_open(p, conf, why, why_size);

	if (err != 0) {
		p->dp = NULL;
		return err;
	}
	err = polls_start(p);
	if (err != 0) {
		(void)snprintf(why, why_size, "data plane %s: %s", p->driver->name,
			err_text(err));
		plane_close(p);
	}
	return err;
}

void plane_close(struct plane *p)
{
	if (p->dp == NULL)
		return;
	polls_stop(p);
	p->driver->close(p->dp);
	p->dp = NULL;
}

void plane_service(struct plane *p, uint64_t now_ms)
{
	if (p->dp != NULL)
		p->driver->service(p->dp, now_ms);
}

uint64_t plane_deadline(const struct plane *p)
{
	return p->dp != NULL ? p->driver->deadline(p->dp) : UINT64_MAX;
}
