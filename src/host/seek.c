/* The ways to a gateway, but for SLP (seek_slp.c). */
#include "host/seek.h"

#include "base/random.h"
#include "host/dhcp.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEFAULT_PORT 4555
#define DHCP_SERVER  67
#define DHCP_CLIENT  68
#define DHCP_WAIT_MS 400
#define DHCP_TRIES   2
#define SERVICE      "_rsip._tcp"
#define SERVICE_UDP  "_rsip._udp"

bool seek_add(struct seek *s, uint32_t addr, uint16_t port)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->found[i].addr == addr && s->found[i].port == port)
			return false;
	if (s->n == SEEK_MAX || addr == 0 || port == 0)
		return false;
	s->found[s->n++] = (struct seek_found){ addr, port };
	return true;
}

static void said(struct seek *s, const char *why)
{
	(void)snprintf(s->why, sizeof(s->why), "%s", why);
}

size_t seek_links(struct seek_link links[SEEK_LINKS])
{
	struct ifaddrs *all, *i;
	size_t n = 0;

	if (getifaddrs(&all) != 0)
		return 0;
	for (i = all; i != NULL && n < SEEK_LINKS; i = i->ifa_next) {
		struct seek_link *l = &links[n];
		struct sockaddr_in in;

		if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET ||
			(i->ifa_flags & (IFF_UP | IFF_LOOPBACK | IFF_BROADCAST)) !=
				(IFF_UP | IFF_BROADCAST))
			continue;
		memcpy(&in, i->ifa_addr, sizeof(in));
		(void)snprintf(l->name, sizeof(l->name), "%s", i->ifa_name);
		l->index = (int)if_nametoindex(l->name);
		l->address = ntohl(in.sin_addr.s_addr);
		n++;
	}
	freeifaddrs(all);
	return n;
}

/* --- DHCP -----------------------------------------------------------------------------
 */

struct link {
	char name[IF_NAMESIZE];
	struct dhcp_ask ask;
	int fd;
};

/* A socket of the link's, since the answer comes to our address, port 68. */
static int link_open(const char *name)
{
	const struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_port = htons(DHCP_CLIENT) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name,
			(socklen_t)strlen(name)) != 0 ||
		bind(fd, (const struct sockaddr *)&at, sizeof(at)) != 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static bool mac_of(const struct link *l, uint8_t mac[6])
{
	struct ifreq r = { 0 };

	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", l->name);
	if (ioctl(l->fd, SIOCGIFHWADDR, &r) != 0)
		return false;
	memcpy(mac, r.ifr_hwaddr.sa_data, 6);
	return true;
}

static size_t links_open(const struct seek *s, struct link links[SEEK_LINKS])
{
	struct seek_link all[SEEK_LINKS];
	size_t n = 0, n_all = seek_links(all);
	struct random random = random_system();

	for (size_t i = 0; i < n_all; i++) {
		struct link *l = &links[n];

		memcpy(l->name, all[i].name, sizeof(l->name));
		l->fd = link_open(l->name);
		if (l->fd < 0)
			continue;
		l->ask = (struct dhcp_ask){ .xid = random.next(&random),
			.address = all[i].address,
			.option = (uint8_t)s->option };
		if (mac_of(l, l->ask.mac))
			n++;
		else
			(void)close(l->fd);
	}
	return n;
}

static void link_ask(const struct link *l)
{
	const struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons(DHCP_SERVER),
		.sin_addr.s_addr = INADDR_BROADCAST };
	uint8_t buf[DHCP_MESSAGE_MAX];
	size_t len = dhcp_inform(&l->ask, buf);

	(void)sendto(
		l->fd, buf, len, MSG_NOSIGNAL, (const struct sockaddr *)&to, sizeof(to));
}

static bool link_hear(const struct link *l, struct seek *s)
{
	uint8_t buf[DHCP_MESSAGE_MAX];
	ssize_t n = recv(l->fd, buf, sizeof(buf), MSG_DONTWAIT);
	struct dhcp_answer a;

	if (n <= 0 || !dhcp_read(&l->ask, buf, (size_t)n, &a))
		return false;
	for (size_t i = 0; i < a.n_gateways; i++)
		(void)seek_add(s, a.gateways[i], DEFAULT_PORT);
	if (s->agent == 0)
		s->agent = a.slp_agent;
	if (s->scopes[0] == 0)
		(void)snprintf(s->scopes, sizeof(s->scopes), "%s", a.slp_scopes);
	return true;
}

/* The first server that answers is the site's; what it does not say nobody else does. */
static void seek_dhcp(struct seek *s)
{
	struct link links[SEEK_LINKS];
	struct pollfd p[SEEK_LINKS];
	size_t n = s->option != 0 ? links_open(s, links) : 0;
	bool heard = false;

	for (int try = 0; try < DHCP_TRIES && n > 0 && !heard; try++) {
		for (size_t i = 0; i < n; i++) {
			p[i] = (struct pollfd){ links[i].fd, POLLIN, 0 };
			link_ask(&links[i]);
		}
		while (!heard && poll(p, n, DHCP_WAIT_MS) > 0)
			for (size_t i = 0; i < n; i++)
				heard |= link_hear(&links[i], s);
	}
	for (size_t i = 0; i < n; i++)
		(void)close(links[i].fd);
	said(s, n == 0  ? "no link to ask on, or UDP port 68 is taken"
		: heard ? "the DHCP server names none"
			: "no DHCP server answers");
}

/* --- DNS ------------------------------------------------------------------------------
 */

static void add_host(struct seek *s, const char *name, uint16_t port)
{
	const struct addrinfo hints = { .ai_family = AF_INET,
		.ai_socktype = SOCK_STREAM };
	struct addrinfo *all, *i;

	if (getaddrinfo(name, NULL, &hints, &all) != 0)
		return;
	for (i = all; i != NULL; i = i->ai_next) {
		struct sockaddr_in in;

		memcpy(&in, i->ai_addr, sizeof(in));
		(void)seek_add(s, ntohl(in.sin_addr.s_addr), port);
	}
	freeaddrinfo(all);
}

struct srv {
	unsigned int priority, weight;
	uint16_t port;
	char name[NS_MAXDNAME];
};

/* By priority; of the same the weightier first (RFC 2782 draws lots among them). */
static int srv_compare(const void *a, const void *b)
{
	const struct srv *x = a, *y = b;

	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	return x->weight > y->weight ? -1 : x->weight < y->weight;
}

static bool srv_read(ns_msg *m, int i, struct srv *srv)
{
	const unsigned char *at;
	ns_rr rr;

	if (ns_parserr(m, ns_s_an, i, &rr) != 0 || ns_rr_type(rr) != ns_t_srv ||
		ns_rr_rdlen(rr) < 7)
		return false;
	at = ns_rr_rdata(rr);
	srv->priority = ns_get16(at);
	srv->weight = ns_get16(at + 2);
	srv->port = (uint16_t)ns_get16(at + 4);
	return dn_expand(ns_msg_base(*m), ns_msg_end(*m), at + 6, srv->name,
		       sizeof(srv->name)) > 0 &&
	       srv->name[0] != 0;
}

/* In the domains that the resolver searches. */
static void seek_dns(struct seek *s)
{
	struct __res_state res = { 0 };
	unsigned char answer[4096];
	struct srv found[SEEK_MAX];
	size_t n = 0;
	int len = -1;
	ns_msg m;

	said(s, "no SRV record of " SERVICE);
	if (res_ninit(&res) != 0)
		return;
	res.retrans = 1;
	res.retry = 1;
	len = res_nsearch(&res, s->udp ? SERVICE_UDP : SERVICE, ns_c_in, ns_t_srv, answer,
		sizeof(answer));
	res_nclose(&res);
	if (len < 0 || ns_initparse(answer, len, &m) != 0)
		return;
	for (int i = 0; i < ns_msg_count(m, ns_s_an) && n < SEEK_MAX; i++)
		n += srv_read(&m, i, &found[n]);
	qsort(found, n, sizeof(found[0]), srv_compare);
	for (size_t i = 0; i < n; i++)
		add_host(s, found[i].name, found[i].port);
	if (n > 0 && s->n == 0)
		said(s, "its SRV record names no host with an IPv4 address");
}

/* --- all ------------------------------------------------------------------------------
 */

static void seek_route(struct seek *s)
{
	said(s, "there is no default route");
	(void)seek_add(s, s->next_hop, DEFAULT_PORT);
}

static const struct {
	const char *name;
	void (*run)(struct seek *s);
} ways[SEEK_WAYS] = {
	[SEEK_DHCP] = { "dhcp", seek_dhcp },
	[SEEK_SLP] = { "slp", seek_slp },
	[SEEK_DNS] = { "dns", seek_dns },
	[SEEK_ROUTE] = { "route", seek_route },
};

const char *seek_name(enum seek_way way)
{
	return ways[way].name;
}

void seek_run(struct seek *s, enum seek_way way)
{
	s->n = 0;
	s->why[0] = 0;
	ways[way].run(s);
}
