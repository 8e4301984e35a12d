/*
 * The check of pool addresses that are the gateway's own.  Two owners of one port is the
 * complaint that address sharing hears most; it is found before the first lease.
 */
#include "gateway/own.h"

#include "base/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESERVED_MAX 1024 /* ranges that we read of ip_local_reserved_ports */

struct own {
	const struct own_view *view;
	struct range local;
	struct range reserved[RESERVED_MAX];
	size_t n_reserved;
	char *why;
	size_t why_size;
};

static FILE *proc_open(const struct own *o, const char *name)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", o->view->proc, name);
	return fopen(path, "re");
}

/* A kernel without the file has nothing of it. */
static void read_local_range(struct own *o)
{
	FILE *f = proc_open(o, "sys/net/ipv4/ip_local_port_range");
	char line[64], *end;
	unsigned long lo, hi;

	o->local = (struct range){ 1, 0 };
	if (f == NULL)
		return;
	if (fgets(line, sizeof(line), f) != NULL) {
		lo = strtoul(line, &end, 10);
		hi = strtoul(end, NULL, 10);
		if (lo >= 1 && lo <= hi && hi <= 65535)
			o->local = (struct range){ (uint32_t)lo, (uint32_t)hi };
	}
	(void)fclose(f);
}

static void read_reserved(struct own *o)
{
	FILE *f = proc_open(o, "sys/net/ipv4/ip_local_reserved_ports");
	char *line = NULL, *rest, *word;
	size_t size = 0;

	if (f == NULL)
		return;
	if (getline(&line, &size, f) > 0) {
		rest = line;
		while ((word = strsep(&rest, ",\n")) != NULL &&
			o->n_reserved < RESERVED_MAX)
			if (range_parse(word, 1, 65535, &o->reserved[o->n_reserved]) == 0)
				o->n_reserved++;
	}
	free(line);
	(void)fclose(f);
	o->n_reserved = ranges_normalise(o->reserved, o->n_reserved);
}

static bool is_leasable(const struct own *o, const struct conf_taken *t, uint32_t port)
{
	return ranges_have(t->ports, t->n_ports, port) &&
	       !ranges_have(o->reserved, o->n_reserved, port);
}

static int check_local_range(
	const struct own *o, const struct conf_taken *t, uint32_t addr)
{
	char text[ADDR_TEXT_MAX];

	for (uint32_t port = o->local.lo; port <= o->local.hi; port++) {
		if (!is_leasable(o, t, port))
			continue;
		(void)snprintf(o->why, o->why_size,
			"pool address %s is this machine's own, and programs here may "
			"get "
			"port %u of it (net.ipv4.ip_local_port_range is %u-%u), which "
			"the "
			"pool leases too; set that range outside of `ports`, or reserve: "
			"sysctl net.ipv4.ip_local_reserved_ports=%u-%u",
			addr_format(addr, text), port, o->local.lo, o->local.hi, port,
			o->local.hi);
		return ERR_CONFIG;
	}
	return 0;
}

static int socket_fail(
	const struct own *o, const char *kind, uint32_t addr, uint32_t port)
{
	char text[ADDR_TEXT_MAX];

	(void)snprintf(o->why, o->why_size,
		"pool address %s is this machine's own, and a %s socket uses its port "
		"%u, "
		"which the pool leases too; end that program, or take the port out of "
		"`ports`",
		addr_format(addr, text), kind, port);
	return ERR_CONFIG;
}

/* Eight hexadecimal digits are four bytes of an address as they lie in memory. */
static uint32_t hex_word(const char *digits)
{
	char copy[9] = "";

	memcpy(copy, digits, 8);
	return ntohl((uint32_t)strtoul(copy, NULL, 16));
}

/* The IPv4 address of an IPv6 one that is mapped, or of :: for every address. */
static bool local_v6(const char *hex, uint32_t *addr)
{
	uint32_t middle = hex_word(hex + 16);

	*addr = hex_word(hex + 24);
	return hex_word(hex) == 0 && hex_word(hex + 8) == 0 &&
	       (middle == 0xffff || (middle == 0 && *addr == 0));
}

/* Lines of /proc/net/tcp and its like: "  0: 0100007F:1F90 ...". */
static bool local_of(const char *line, bool v6, uint32_t *addr, uint32_t *port)
{
	const char *hex = strchr(line, ':');
	size_t len;

	if (hex == NULL)
		return false; /* the heading */
	hex += 1 + strspn(hex + 1, " ");
	len = strspn(hex, "0123456789abcdefABCDEF");
	if (hex[len] != ':' || len != (v6 ? 32U : 8U))
		return false;
	*port = (uint32_t)strtoul(hex + len + 1, NULL, 16);
	if (v6)
		return local_v6(hex, addr);
	*addr = hex_word(hex);
	return true;
}

static int check_sockets(const struct own *o, const struct conf_taken *t, uint32_t addr)
{
	static const struct {
		const char *file, *kind;
		bool v6;
	} tables[] = { { "net/tcp", "TCP", false }, { "net/tcp6", "TCP", true },
		{ "net/udp", "UDP", false }, { "net/udp6", "UDP", true } };
	int err = 0;

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]) && err == 0; i++) {
		FILE *f = proc_open(o, tables[i].file);
		uint32_t at, port;
		char line[512];

		while (f != NULL && err == 0 && fgets(line, sizeof(line), f) != NULL)
			if (local_of(line, tables[i].v6, &at, &port) &&
				(at == addr || at == 0) && is_leasable(o, t, port))
				err = socket_fail(o, tables[i].kind, addr, port);
		if (f != NULL)
			(void)fclose(f);
	}
	return err;
}

/* Our own sockets, which are not open yet. */
static int check_listen(const struct own *o, const struct conf *conf,
	const struct conf_taken *t, uint32_t addr)
{
	for (size_t i = 0; i < conf->n_listen; i++) {
		const struct conf_listen *l = &conf->listen[i];

		if ((l->addr == 0 || l->addr == addr) && is_leasable(o, t, l->port))
			return socket_fail(o, "`listen`", addr, l->port);
	}
	return 0;
}

/* Without the file nothing is known, and the driver speaks of the interface. */
static bool is_forwarding_off(const struct own *o, const char *interface)
{
	char name[64 + IF_NAMESIZE];
	FILE *f;
	int c;

	(void)snprintf(name, sizeof(name), "sys/net/ipv4/conf/%s/forwarding", interface);
	f = proc_open(o, name);
	c = f != NULL ? fgetc(f) : EOF;
	if (f != NULL)
		(void)fclose(f);
	return c == '0';
}

static int check_forwarding(const struct own *o, const struct conf *conf)
{
	const char *interface[] = { conf->private_interface, conf->public_interface };

	for (size_t i = 0; i < 2; i++) {
		if (interface[i][0] == 0 || !is_forwarding_off(o, interface[i]))
			continue;
		(void)snprintf(o->why, o->why_size,
			"napt: the kernel does not forward packets of %s, so it would "
			"translate nothing; sysctl net.ipv4.conf.%s.forwarding=1 (or "
			"net.ipv4.ip_forward=1)",
			interface[i], interface[i]);
		return ERR_CONFIG;
	}
	return 0;
}

/* Translated to an own address that the pool leases too; another one the file's checks
 * know. */
static int check_napt(const struct own *o, const struct conf *conf,
	const struct conf_taken *t, uint32_t addr)
{
	const struct range *p = &conf->napt.ports;
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < t->n_ports; i++) {
		const struct range *r = &t->ports[i];

		if (r->lo > p->hi || p->lo > r->hi)
			continue;
		(void)snprintf(o->why, o->why_size,
			"pool address %s is this machine's own, and napt-ports (%u-%u) "
			"has port %u of it, which the pool leases too; make napt-ports "
			"and `ports` disjoint",
			addr_format(addr, text), p->lo, p->hi,
			r->lo > p->lo ? r->lo : p->lo);
		return ERR_CONFIG;
	}
	return 0;
}

static bool is_taken(const struct conf_taken *t, uint32_t addr)
{
	for (size_t i = 0; i < t->n_addresses; i++)
		if (prefix_has(&t->addresses[i], addr))
			return true;
	return false;
}

int own_check_view(
	const struct own_view *v, const struct conf *conf, char *why, size_t why_size)
{
	struct own *o = calloc(1, sizeof(*o));
	int err = 0;

	if (o == NULL)
		return -ENOMEM;
	o->view = v;
	o->why = why;
	o->why_size = why_size;
	read_local_range(o);
	read_reserved(o);
	if (conf->napt.n_hosts > 0)
		err = check_forwarding(o, conf);
	for (size_t a = 0; a < v->n_addresses && err == 0; a++)
		for (size_t i = 0; i < conf->n_taken && err == 0; i++) {
			if (!is_taken(&conf->taken[i], v->addresses[a]))
				continue;
			err = check_local_range(o, &conf->taken[i], v->addresses[a]);
			if (err == 0 && conf->napt.n_hosts > 0 && conf->napt.address == 0)
				err = check_napt(
					o, conf, &conf->taken[i], v->addresses[a]);
			if (err == 0)
				err = check_listen(
					o, conf, &conf->taken[i], v->addresses[a]);
			if (err == 0)
				err = check_sockets(o, &conf->taken[i], v->addresses[a]);
		}
	free(o);
	return err;
}

int own_check(const struct conf *conf, char *why, size_t why_size)
{
	struct own_view v = { .proc = "/proc" };
	struct ifaddrs *list, *i;
	uint32_t *addresses;
	size_t n = 0;
	int err;

	if (getifaddrs(&list) != 0) {
		(void)snprintf(why, why_size, "cannot list this machine's addresses: %s",
			err_text(-errno));
		return -errno;
	}
	for (i = list; i != NULL; i = i->ifa_next)
		n++;
	addresses = calloc(n + 1, sizeof(*addresses));
	for (i = list; i != NULL && addresses != NULL; i = i->ifa_next) {
		struct sockaddr_in at;

		if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET)
			continue;
		memcpy(&at, i->ifa_addr, sizeof(at));
		addresses[v.n_addresses++] = ntohl(at.sin_addr.s_addr);
	}
	freeifaddrs(list);
	v.addresses = addresses;
	err = addresses != NULL ? own_check_view(&v, conf, why, why_size) : -ENOMEM;
	free(addresses);
	return err;
}
