/*
 * Libbpf's side.  A pinned table is reused when its layout is ours; else new ones are
 * filled first and the programs replaced afterwards, so that no packet is lost either
 * way.
 */
#include "dataplane/xdp/load.h"

#include "base/err.h"
#include "dataplane/xdp/links.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <xdp.skel.h> /* generated */

#define PATH_SIZE 256

/* The first ones are written through memory. */
static const char *const map_names[] = { "leases", "addrs", "ports", "spis", "hops",
	"routes", "senders", "out_spis", "cookies" };
#define MAPS   (sizeof map_names / sizeof map_names[0])
#define MAPPED LOAD_MAPPED
static const char *const link_names[LINKS] = { "link_private", "link_public" };
static const char *const mode_words[] = { "none", "native", "generic" };

__attribute__((format(printf, 2, 3))) static void note(
	const struct dp_events *events, const char *format, ...)
{
	char text[512];
	va_list args;

	if (!events->note)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	events->note(events->ctx, text);
}

static char *path_of(char path[PATH_SIZE], const char *pins, const char *name)
{
	(void)snprintf(path, PATH_SIZE, "%s/%s", pins, name);
	return path;
}

/* --- pins --- */

/* Make the folder; false where it is in no BPF file system. */
static bool make_folder(const char *pins)
{
	char path[PATH_SIZE];
	struct statfs fs;

	(void)snprintf(path, sizeof path, "%s", pins);
	while (statfs(path, &fs)) {
		char *slash = strrchr(path, '/');

		if (errno != ENOENT || !slash || slash == path)
			return false;
		*slash = '\0';
	}
	if (fs.f_type != BPF_FS_MAGIC)
		return false;
	/* Those that are missing, from the top. */
	for (size_t at = strlen(path); pins[at]; at++) {
		if (pins[at + 1] != '/' && pins[at + 1] != '\0')
			continue;
		(void)snprintf(path, sizeof path, "%.*s", (int)at + 1, pins);
		if (mkdir(path, 0700) && errno != EEXIST)
			return false;
	}
	return true;
}

static struct maps_layout layout_of(const struct keep *k)
{
	struct maps_layout l;

	memset(&l, 0, sizeof l);
	l.version = MAPS_LAYOUT;
	l.n_prefixes = k->measured.n_prefixes;
	memcpy(l.prefix, k->measured.prefix, sizeof l.prefix);
	l.n_leases = k->n_leases;
	l.n_addrs = k->n_addrs;
	l.n_ports = k->n_ports;
	l.n_buckets = k->n_buckets;
	return l;
}

static bool layout_is(const char *pins, const struct maps_layout *want)
{
	struct maps_layout have;
	struct bpf_map_info info = { 0 };
	uint32_t zero = 0, len = sizeof info;
	char path[PATH_SIZE];
	int fd = bpf_obj_get(path_of(path, pins, "layout"));
	bool same = fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 &&
		    info.value_size == sizeof have &&
		    bpf_map_lookup_elem(fd, &zero, &have) == 0 &&
		    memcmp(&have, want, sizeof have) == 0;

	if (fd >= 0)
		(void)close(fd);
	return same;
}

static bool reuse_all(struct load *l)
{
	char path[PATH_SIZE];
	int fd[MAPS];
	size_t n = 0;
	bool all = true;

	for (; n < MAPS && all; n++) {
		fd[n] = bpf_obj_get(path_of(path, l->pins, map_names[n]));
		all = fd[n] >= 0;
	}
	for (size_t i = 0; i < MAPS && all; i++)
		all = bpf_map__reuse_fd(
			      bpf_object__find_map_by_name(l->skel->obj, map_names[i]),
			      fd[i]) == 0;
	for (size_t i = 0; i < n; i++)
		if (fd[i] >= 0)
			(void)close(fd[i]);
	return all;
}

static int pin(const char *pins, const char *name, int fd)
{
	char path[PATH_SIZE];

	(void)unlink(path_of(path, pins, name));
	return bpf_obj_pin(fd, path) ? -errno : 0;
}

static int pin_layout(const struct load *l, const struct maps_layout *layout)
{
	uint32_t zero = 0;
	int fd = bpf_map_create(
		BPF_MAP_TYPE_ARRAY, "layout", sizeof zero, sizeof *layout, 1, NULL);
	int err = fd < 0 ? -errno : 0;

	if (!err && bpf_map_update_elem(fd, &zero, layout, BPF_ANY))
		err = -errno;
	err = err ? err : pin(l->pins, "layout", fd);
	if (fd >= 0)
		(void)close(fd);
	return err;
}

int load_map(const struct load *l, const char *name)
{
	const struct bpf_map *m = bpf_object__find_map_by_name(l->skel->obj, name);

	return m ? bpf_map__fd(m) : -ENOENT;
}

static int map_fd(const struct load *l, size_t i)
{
	return load_map(l, map_names[i]);
}

/* New tables in the place of others: the layout goes first, so half is never reused. */
static int pin_maps(struct load *l, const struct maps_layout *layout)
{
	char path[PATH_SIZE];
	int err = 0;

	(void)unlink(path_of(path, l->pins, "layout"));
	for (size_t i = 0; i < MAPS && !err; i++)
		err = pin(l->pins, map_names[i], map_fd(l, i));
	return err ? err : pin_layout(l, layout);
}

void load_unpin(const char *pins)
{
	char path[PATH_SIZE];

	/* Detached first: what is only unlinked goes some time later. */
	for (int i = 0; i < LINKS; i++) {
		int fd = bpf_obj_get(path_of(path, pins, link_names[i]));

		if (fd < 0)
			continue;
		(void)bpf_link_detach(fd);
		(void)close(fd);
		(void)unlink(path);
	}
	(void)unlink(path_of(path, pins, "layout"));
	for (size_t i = 0; i < MAPS; i++)
		(void)unlink(path_of(path, pins, map_names[i]));
	(void)rmdir(pins);
}

/* --- loading --- */

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

static void set_sizes(struct load *l, const struct keep *k)
{
	(void)bpf_map__set_max_entries(l->skel->maps.leases, k->n_leases);
	(void)bpf_map__set_max_entries(l->skel->maps.addrs, k->n_addrs);
	(void)bpf_map__set_max_entries(l->skel->maps.ports, k->n_ports * 65536);
	(void)bpf_map__set_max_entries(l->skel->maps.spis, k->n_buckets);
}

static int map_all(struct load *l, struct keep *k)
{
	const size_t size[MAPPED] = { k->n_leases * sizeof *k->lease,
		k->n_addrs * sizeof *k->addr,
		(size_t)k->n_ports * 65536 * sizeof *k->port,
		k->n_buckets * sizeof *k->spi, MAPS_HOPS * sizeof *k->hop,
		(sizeof *k->route) << MAPS_ROUTE_BITS,
		(sizeof *k->sender) << MAPS_SENDER_BITS,
		(sizeof *k->peer) << MAPS_PEER_BITS };

	for (size_t i = 0; i < MAPPED; i++) {
		void *at = mmap(NULL, size[i], PROT_READ | PROT_WRITE, MAP_SHARED,
			map_fd(l, i), 0);

		if (at == MAP_FAILED)
			return -errno;
		l->mapped[i] = at;
		l->mapped_size[i] = size[i];
	}
	k->lease = l->mapped[0];
	k->addr = l->mapped[1];
	k->port = l->mapped[2];
	k->spi = l->mapped[3];
	k->hop = l->mapped[4];
	k->route = l->mapped[5];
	k->sender = l->mapped[6];
	k->peer = l->mapped[7];
	k->cookies = map_fd(l, MAPPED);
	return 0;
}

static int load_all(struct load *l, struct keep *k, const char **what)
{
	const struct maps_layout layout = layout_of(k);

	*what = "read the BPF object";
	l->skel = xdp_bpf__open();
	if (!l->skel)
		return -errno;
	set_sizes(l, k);
	l->reused = l->pins[0] && layout_is(l->pins, &layout) && reuse_all(l);
	*what = "load the BPF programs";
	int err = xdp_bpf__load(l->skel);
	if (err)
		return err;
	*what = "map the BPF tables";
	err = map_all(l, k);
	if (!err && l->pins[0] && !l->reused) {
		*what = "pin the BPF tables";
		err = pin_maps(l, &layout);
	}
	return err;
}

int load_open(struct load *l, struct keep *k, const char *pins,
	const struct dp_events *events, char *why, size_t size)
{
	const char *what;

	memset(l, 0, sizeof *l);
	for (int i = 0; i < LINKS; i++)
		l->link[i].fd = -1;
	if (pins && strlen(pins) < sizeof l->pins && make_folder(pins))
		(void)snprintf(l->pins, sizeof l->pins, "%s", pins);
	else if (pins)
		note(events,
			"%s is in no BPF file system: a restart will interrupt "
			"forwarding; mount one (bpffs) there",
			pins);
	libbpf_print_fn_t print = libbpf_set_print(silent);
	int err = load_all(l, k, &what);
	(void)libbpf_set_print(print);
	if (err)
		(void)snprintf(why, size, "driver xdp: can't %s: %s%s", what,
			err_text(err),
			err == -EPERM ? "; it needs CAP_BPF, CAP_PERFMON and "
					"CAP_NET_ADMIN"
				      : "");
	return err;
}

struct maps_conf *load_conf(const struct load *l)
{
	return &l->skel->bss->conf;
}

/* --- interfaces --- */

int load_program(const struct load *l, enum forward_link link)
{
	return bpf_program__fd(link == LINK_PRIVATE ? l->skel->progs.rsip_private
						    : l->skel->progs.rsip_public);
}

int load_set_link(struct load *l, enum forward_link link, unsigned int index)
{
	uint32_t at = link, value = index;

	return bpf_map_update_elem(bpf_map__fd(l->skel->maps.links), &at, &value, BPF_ANY)
		       ? -errno
		       : 0;
}

static enum load_mode mode_at(unsigned int index)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, q);

	if (bpf_xdp_query((int)index, 0, &q))
		return LOAD_NONE;
	return q.attach_mode == XDP_ATTACHED_DRV   ? LOAD_NATIVE
	       : q.attach_mode == XDP_ATTACHED_SKB ? LOAD_GENERIC
						   : LOAD_NONE;
}

static int create(const struct load *l, int i, unsigned int index, enum load_mode mode)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		.flags = mode == LOAD_NATIVE ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
	int fd = bpf_link_create(
		load_program(l, (enum forward_link)i), (int)index, BPF_XDP, &opts);

	return fd < 0 ? -errno : fd;
}

/* A predecessor's link on this interface in this mode, with our program from now; or -1.
 */
static int take_over(const struct load *l, int i, unsigned int index, enum load_mode most)
{
	char path[PATH_SIZE];
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof info;
	int fd = l->pins[0] ? bpf_obj_get(path_of(path, l->pins, link_names[i])) : -1;

	if (fd < 0)
		return -1;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.xdp.ifindex == index &&
		(mode_at(index) == most || mode_at(index) == LOAD_GENERIC) &&
		bpf_link_update(fd, load_program(l, (enum forward_link)i), NULL) == 0)
		return fd;
	(void)bpf_link_detach(fd);
	(void)close(fd);
	(void)unlink(path);
	return -1;
}

static int attach(struct load *l, int i, unsigned int index, enum load_mode most)
{
	int fd = take_over(l, i, index, most);
	enum load_mode mode = fd >= 0 ? mode_at(index) : most;

	if (fd < 0) {
		fd = create(l, i, index, mode);
		if (fd < 0 && mode == LOAD_NATIVE) {
			mode = LOAD_GENERIC;
			fd = create(l, i, index, mode);
		}
		if (fd < 0)
			return fd;
		if (l->pins[0])
			(void)pin(l->pins, link_names[i], fd);
	}
	l->link[i].fd = fd;
	l->link[i].index = index;
	l->link[i].mode = mode;
	return 0;
}

static void detach(struct load *l, int i)
{
	if (l->link[i].fd < 0)
		return;
	(void)bpf_link_detach(l->link[i].fd);
	(void)close(l->link[i].fd);
	l->link[i].fd = -1;
}

static enum load_mode most_for(const unsigned int index[LINKS])
{
	for (int i = 0; i < LINKS; i++)
		if (!links_take_frames(index[i]))
			return LOAD_GENERIC;
	return LOAD_NATIVE;
}

int load_attach(struct load *l, const unsigned int index[LINKS],
	const struct dp_events *events, char *why, size_t size)
{
	enum load_mode most = most_for(index);
	char name[IF_NAMESIZE];
	int err = 0;

	/* Both before the first program: each sends to the other's interface. */
	for (int i = 0; i < LINKS && !err; i++)
		err = load_set_link(l, (enum forward_link)i, index[i]);
	for (int i = 0; i < LINKS; i++) {
		detach(l, i);
		err = err ? err : attach(l, i, index[i], most);
		if (!if_indextoname(index[i], name))
			(void)snprintf(name, sizeof name, "%u", index[i]);
		if (err) {
			(void)snprintf(why, size,
				"driver xdp: can't attach to %s: %s; is another XDP "
				"program there?",
				name, err_text(err));
			return err;
		}
		note(events, "XDP on %s is %s%s", name, mode_words[l->link[i].mode],
			l->link[i].mode == LOAD_NATIVE ? ""
			: most == LOAD_NATIVE          ? ": its driver refuses native XDP"
					      : ": native XDP can't send on one of the "
						"two interfaces (a veth "
						"needs GRO on at its peer)");
	}
	return 0;
}

bool load_is_stale(const struct load *l)
{
	unsigned int index[LINKS];

	for (int i = 0; i < LINKS; i++)
		index[i] = l->link[i].index;
	return l->link[LINK_PRIVATE].fd >= 0 && l->link[LINK_PUBLIC].fd >= 0 &&
	       most_for(index) == LOAD_GENERIC &&
	       (l->link[LINK_PRIVATE].mode == LOAD_NATIVE ||
		       l->link[LINK_PUBLIC].mode == LOAD_NATIVE);
}

void load_stats(const struct load *l, struct dp_stats *add)
{
	int n = libbpf_num_possible_cpus();
	struct maps_state *s = n > 0 ? calloc((size_t)n, sizeof *s) : NULL;
	uint32_t zero = 0;

	if (!s || bpf_map_lookup_elem(bpf_map__fd(l->skel->maps.state), &zero, s))
		n = 0;
	for (int c = 0; c < n; c++) {
		for (int d = 0; d < DP_DIRECTIONS; d++) {
			add->forwarded[d] += s[c].forwarded[d];
			add->fast += s[c].forwarded[d];
			add->forwarded_bytes[d] += s[c].bytes[d];
			for (int r = 0; r < DP_REASONS; r++)
				add->dropped[d][r] += s[c].dropped[d][r],
					add->fast += s[c].dropped[d][r];
		}
	}
	free(s);
}

void load_close(struct load *l)
{
	if (!l->skel) /* not even opened: its descriptors are not set */
		return;
	for (int i = 0; i < LINKS; i++)
		if (l->link[i].fd >= 0)
			(void)close(l->link[i].fd);
	for (size_t i = 0; i < MAPPED; i++)
		if (l->mapped[i])
			(void)munmap(l->mapped[i], l->mapped_size[i]);
	xdp_bpf__destroy(l->skel);
	l->skel = NULL;
}
