/*
 * A user agent of SLP (RFC 2608, RFC 3105): asks the directory agent where there is one,
 * else all service agents; then each gateway for its load, and takes the least loaded
 * first (L-6-02).  What does not offer what is needed is only taken when nothing does
 * (A-L-06).
 */
#include "base/addr.h"
#include "base/random.h"
#include "host/seek.h"
#include "slp/text.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SERVICE      "service:rsip"
#define SERVICE_DA   "service:directory-agent"
#define SCOPE        "DEFAULT"
#define WAIT_MS      400 /* for each of the three tries of a multicast */
#define TRIES        3
#define LOAD_UNKNOWN 101 /* more than any */
#define RESPONDERS   256

struct gateway {
	uint32_t addr;
	uint16_t port;
	char url[64];
	int load;
	size_t order;
};

struct ua {
	int fd;
	const struct seek *seek;
	uint16_t xid;
	struct gateway found[SEEK_MAX];
	size_t n;
	struct seek_link links[SEEK_LINKS];
	size_t n_links;
	uint32_t agent; /* a directory agent that answered, or is known */
	char responders[RESPONDERS];
};

static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void send_to(const struct ua *u, uint32_t to, const struct slp_msg *m)
{
	const struct sockaddr_in addr = { .sin_family = AF_INET,
		.sin_port = htons(SLP_PORT),
		.sin_addr.s_addr = htonl(to) };
	uint8_t buf[SLP_DATAGRAM];
	size_t len = slp_encode(m, buf, sizeof(buf));

	if (len > 0)
		(void)sendto(u->fd, buf, len, MSG_NOSIGNAL,
			(const struct sockaddr *)&addr, sizeof(addr));
}

/* On every link, whatever the routes say. */
static void send_to_all(const struct ua *u, const struct slp_msg *m)
{
	for (size_t i = 0; i < u->n_links; i++) {
		const struct ip_mreqn link = { .imr_ifindex = u->links[i].index };

		if (setsockopt(u->fd, IPPROTO_IP, IP_MULTICAST_IF, &link, sizeof(link)) ==
			0)
			send_to(u, SLP_GROUP, m);
	}
}

/* --- answers --------------------------------------------------------------------------
 */

static void note_responder(struct ua *u, uint32_t from)
{
	size_t used = strlen(u->responders);
	char addr[ADDR_TEXT_MAX];

	(void)addr_format(from, addr);
	if (used + strlen(addr) + 2 > sizeof(u->responders) ||
		slp_list_has(slp_text(u->responders), slp_text(addr)))
		return;
	(void)snprintf(u->responders + used, sizeof(u->responders) - used, "%s%s",
		used > 0 ? "," : "", addr);
}

static void add_url(struct ua *u, const struct slp_url *url)
{
	struct gateway *g = &u->found[u->n];
	uint32_t addr;
	uint16_t port;

	if (u->n == SEEK_MAX || url->url.len >= sizeof(g->url) || url->lifetime_s == 0 ||
		slp_url_parse(url->url, &addr, &port) != 0)
		return;
	for (size_t i = 0; i < u->n; i++)
		if (u->found[i].addr == addr && u->found[i].port == port)
			return;
	*g = (struct gateway){ addr, port, "", LOAD_UNKNOWN, u->n };
	memcpy(g->url, url->url.at, url->url.len);
	g->url[url->url.len] = 0;
	u->n++;
}

/* What came to our question, until the time is over; stops at the first when `one`. */
static bool collect(struct ua *u, uint64_t until, bool one, struct slp_msg *last,
	uint8_t buf[static SLP_DATAGRAM])
{
	bool any = false;

	for (;;) {
		struct pollfd p = { u->fd, POLLIN, 0 };
		uint64_t now = now_ms();
		struct sockaddr_in from = { 0 };
		socklen_t len = sizeof(from);
		ssize_t n;

		if (now >= until || poll(&p, 1, (int)(until - now)) <= 0)
			return any;
		n = recvfrom(u->fd, buf, SLP_DATAGRAM, MSG_DONTWAIT,
			(struct sockaddr *)&from, &len);
		if (n <= 0 || slp_decode(buf, (size_t)n, last) != 0 ||
			last->xid != u->xid)
			continue;
		any = true;
		note_responder(u, ntohl(from.sin_addr.s_addr));
		if (last->function == SLP_DA_ADVERT && last->error == 0 &&
			last->boot != 0 && u->agent == 0)
			u->agent = ntohl(from.sin_addr.s_addr);
		for (size_t i = 0; last->function == SLP_SRV_RPLY && i < last->n_urls;
			i++)
			add_url(u, &last->urls[i]);
		if (one)
			return true;
	}
}

/* --- questions ------------------------------------------------------------------------
 */

static struct slp_msg question(struct ua *u, enum slp_function f, const char *type)
{
	return (struct slp_msg){ .function = f,
		.xid = ++u->xid,
		.type = slp_text(type),
		.scopes = slp_text(u->seek->scopes[0] != 0 ? u->seek->scopes : SCOPE) };
}

/* All agents of the links, some times, with those that answered already told. */
static void ask_all(struct ua *u, struct slp_msg m, int tries)
{
	uint8_t buf[SLP_DATAGRAM];
	struct slp_msg last;

	m.flags = SLP_MULTICAST;
	u->responders[0] = 0;
	for (int i = 0; i < tries; i++) {
		m.responders = slp_text(u->responders);
		send_to_all(u, &m);
		if (!collect(u, now_ms() + WAIT_MS, false, &last, buf) && i > 0)
			break; /* all have answered */
	}
}

static bool ask_one(struct ua *u, uint32_t whom, const struct slp_msg *m,
	struct slp_msg *answer, uint8_t buf[static SLP_DATAGRAM])
{
	for (int i = 0; i < 2; i++) {
		send_to(u, whom, m);
		if (collect(u, now_ms() + WAIT_MS, true, answer, buf))
			return true;
	}
	return false;
}

static void ask_services(struct ua *u, const char *predicate)
{
	struct slp_msg m = question(u, SLP_SRV_RQST, SERVICE), answer;
	uint8_t buf[SLP_DATAGRAM];

	m.predicate = slp_text(predicate);
	if (u->agent == 0 || !ask_one(u, u->agent, &m, &answer, buf))
		ask_all(u, m, TRIES);
}

/* L-4-05, L-7-03 */
static void predicate_of(const struct seek *s, char *buf, size_t size)
{
	(void)snprintf(buf, size, "(&(tunnel-type=%s)(transport=%s)%s)",
		s->tunnel == RSIP_GRE ? "GRE" : "IP-IP", s->udp ? "UDP" : "TCP",
		s->rsipsec ? "(ipsec-support=true)" : "");
}

static void ask_load(struct ua *u, struct gateway *g)
{
	struct slp_msg m = question(u, SLP_ATTR_RQST, ""), answer;
	uint8_t buf[SLP_DATAGRAM];
	int load;

	m.url = slp_text(g->url);
	m.tags = slp_text("load");
	if (!ask_one(u, u->agent != 0 ? u->agent : g->addr, &m, &answer, buf) ||
		answer.function != SLP_ATTR_RPLY || answer.error != 0)
		return;
	load = slp_attribute_percent(answer.attributes, "load");
	if (load >= 0)
		g->load = load;
}

/* A-L-10: the least loaded, then as they came. */
static int by_load(const void *a, const void *b)
{
	const struct gateway *x = a, *y = b;

	if (x->load != y->load)
		return x->load - y->load;
	return x->order < y->order ? -1 : 1;
}

static void find(struct ua *u)
{
	char predicate[96];

	if (u->agent == 0)
		ask_all(u, question(u, SLP_SRV_RQST, SERVICE_DA), 1);
	predicate_of(u->seek, predicate, sizeof(predicate));
	ask_services(u, predicate);
	if (u->n == 0)
		ask_services(u, "");
	for (size_t i = 0; u->n > 1 && i < u->n; i++)
		ask_load(u, &u->found[i]);
	qsort(u->found, u->n, sizeof(u->found[0]), by_load);
}

void seek_slp(struct seek *s)
{
	struct random random = random_system();
	struct ua u = {
		.seek = s, .agent = s->agent, .xid = (uint16_t)random.next(&random)
	};

	(void)snprintf(s->why, sizeof(s->why), "no SLP agent of scope %s names one",
		s->scopes[0] != 0 ? s->scopes : SCOPE);
	u.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (u.fd < 0)
		return;
	u.n_links = seek_links(u.links);
	find(&u);
	(void)close(u.fd);
	for (size_t i = 0; i < u.n; i++)
		(void)seek_add(s, u.found[i].addr, u.found[i].port);
}
