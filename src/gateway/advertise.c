/* The socket and the facts of the gateway's service agent. */
#include "gateway/advertise.h"

#include "base/err.h"
#include "conf/conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define UPDATE_MS    10000
#define AT_ONCE      64 /* datagrams before others have their turn */
#define DATAGRAM_MAX 1500

static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- what is said ---------------------------------------------------------------------
 */

/* L-7-01, L-7-02: all that the template has, as it is served. */
static void attributes_of(const struct conf *c, char *buf, size_t size)
{
	unsigned int methods = 0, tunnels = 0;
	bool both = c->engine.udp && c->engine.tcp;

	for (size_t i = 0; i < c->engine.n_policies; i++) {
		methods |= c->engine.policies[i].methods;
		tunnels |= c->engine.policies[i].tunnels;
	}
	(void)snprintf(buf, size,
		"(ipsec-support=%s),(ike-support=%s),(tunnel-type=%s%s%s),(transport=%s)",
		methods & (1U << METHOD_RSIPSEC) ? "true" : "false",
		methods & (1U << METHOD_RSIPSEC) ? "true" : "false",
		tunnels & (1U << TUNNEL_IPIP) ? "IP-IP" : "",
		(tunnels >> TUNNEL_IPIP & 1) && (tunnels >> TUNNEL_GRE & 1) ? "," : "",
		tunnels & (1U << TUNNEL_GRE) ? "GRE" : "",
		both            ? "TCP,UDP"
		: c->engine.tcp ? "TCP"
				: "UDP");
}

struct use {
	uint64_t used, all;
};

static bool add_use(void *ctx, const struct engine_address *a)
{
	struct use *u = ctx;

	if (a->dedicated)
		return true;
	u->used += a->ports_held + a->ports_resting;
	u->all += (uint64_t)a->ports_held + a->ports_resting + a->ports_free;
	return true;
}

/* A-L-02: of the ports, which run out first. */
static int load_of(const struct engine *e)
{
	struct use u = { 0, 0 };

	engine_each_address(e, add_use, &u);
	return u.all > 0 ? (int)((u.used * 100 + u.all - 1) / u.all) : 0;
}

/* --- the socket -----------------------------------------------------------------------
 */

static void on_send(
	void *ctx, uint32_t to, uint16_t port, const uint8_t *bytes, size_t len)
{
	struct advertise *a = ctx;
	const struct sockaddr_in addr = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(to) };

	/* What cannot leave is asked for again. */
	(void)sendto(a->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL,
		(const struct sockaddr *)&addr, sizeof(addr));
}

static void on_timer(uv_timer_t *timer);

static void arm(struct advertise *a)
{
	uint64_t now = now_ms(), due = slp_agent_deadline(&a->agent);
	uint64_t ms = due > now ? due - now : 0;

	(void)uv_timer_start(&a->timer, on_timer, ms < UPDATE_MS ? ms : UPDATE_MS, 0);
}

static void update(struct advertise *a)
{
	char attributes[SLP_AGENT_TEXT - 16];

	attributes_of(*a->conf, attributes, sizeof(attributes));
	slp_agent_update(&a->agent, attributes, load_of(a->engine), now_ms());
}

static void on_timer(uv_timer_t *timer)
{
	struct advertise *a = timer->data;

	update(a);
	slp_agent_tick(&a->agent, now_ms());
	arm(a);
}

/* Where we were spoken to: of a datagram to many, our address on that link. */
static uint32_t local_of(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
		struct in_pktinfo info;

		if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_PKTINFO)
			continue;
		memcpy(&info, CMSG_DATA(c), sizeof(info));
		return ntohl(info.ipi_spec_dst.s_addr);
	}
	return 0;
}

static bool receive(struct advertise *a)
{
	uint8_t bytes[DATAGRAM_MAX];
	char control[CMSG_SPACE(sizeof(struct in_pktinfo))];
	struct sockaddr_in from;
	struct iovec iov = { bytes, sizeof(bytes) };
	struct msghdr m = { .msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(a->fd, &m, MSG_DONTWAIT);
	uint32_t local;

	if (n < 0)
		return false;
	local = a->any ? local_of(&m) : a->agent.conf.address;
	if (local != 0)
		slp_agent_input(&a->agent, ntohl(from.sin_addr.s_addr),
			ntohs(from.sin_port), local, bytes, (size_t)n, now_ms());
	return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct advertise *a = poll->data;

	(void)events;
	/* The load of this moment, for who asks for it. */
	update(a);
	for (int i = 0; status == 0 && i < AT_ONCE && receive(a); i++)
		;
	arm(a);
}

/* --- opening --------------------------------------------------------------------------
 */

static uint32_t address_of_interface(const char *name)
{
	struct ifreq r = { .ifr_addr.sa_family = AF_INET };
	struct sockaddr_in in = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (name[0] != 0 && ioctl(fd, SIOCGIFADDR, &r) == 0)
		memcpy(&in, &r.ifr_addr, sizeof(in));
	(void)close(fd);
	return ntohl(in.sin_addr.s_addr);
}

static int socket_open(uint32_t address)
{
	const struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_port = htons(SLP_PORT),
	};
	const struct ip_mreqn group = { .imr_multiaddr.s_addr = htonl(SLP_GROUP),
		.imr_address.s_addr = htonl(address) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

	if (fd < 0)
		return -errno;
	/* Reused, because other agents of the machine may listen to the group, too. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
		setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) != 0 ||
		setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &group, sizeof(group)) != 0 ||
		bind(fd, (const struct sockaddr *)&at, sizeof(at)) != 0 ||
		setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)) !=
			0) {
		int err = -errno;

		(void)close(fd);
		return err;
	}
	return fd;
}

void advertise_init(struct advertise *a, uv_loop_t *loop)
{
	a->fd = -1;
	(void)uv_timer_init(loop, &a->timer);
	a->timer.data = a;
}

/* The first address that is named, or that of the hosts' side. */
static uint32_t address_of(const struct conf *c)
{
	for (size_t i = 0; i < c->n_listen; i++)
		if (c->listen[i].addr != 0)
			return c->listen[i].addr;
	return address_of_interface(c->private_interface);
}

static bool listens_to_any(const struct conf *c)
{
	for (size_t i = 0; i < c->n_listen; i++)
		if (c->listen[i].addr == 0)
			return true;
	return false;
}

int advertise_open(struct advertise *a, uv_loop_t *loop, const struct conf *const *conf,
	const struct engine *engine, char *why, size_t why_size)
{
	const struct conf *c = *conf;
	struct slp_agent_conf agent = { .scopes = c->slp.scopes,
		.address = address_of(c),
		.port = c->listen[0].port,
		.das = &a->directory_agent,
		.n_das = c->slp.directory_agent != 0,
		.lifetime_s = c->slp.lifetime_s,
		.send = on_send,
		.ctx = a };

	if (!c->slp.advertise)
		return 0;
	if (agent.address == 0) {
		(void)snprintf(why, why_size,
			"%s: slp: there is no address to advertise; name one in listen",
			c->file);
		return ERR_CONFIG;
	}
	a->conf = conf;
	a->engine = engine;
	a->any = listens_to_any(c);
	a->directory_agent = c->slp.directory_agent;
	a->fd = socket_open(agent.address);
	if (a->fd < 0) {
		(void)snprintf(why, why_size,
			"SLP, UDP port %d: %s; end what holds it, or leave out "
			"slp { advertise }",
			SLP_PORT, err_text(a->fd));
		return a->fd;
	}
	a->poll.data = a;
	(void)uv_poll_init(loop, &a->poll, a->fd);
	(void)uv_poll_start(&a->poll, UV_READABLE, on_readable);
	slp_agent_init(&a->agent, &agent, now_ms());
	on_timer(&a->timer);
	return 0;
}

void advertise_close(struct advertise *a)
{
	if (a->fd < 0)
		return;
	slp_agent_end(&a->agent);
	(void)uv_poll_stop(&a->poll);
	uv_close((uv_handle_t *)&a->poll, NULL);
	(void)close(a->fd);
	a->fd = -1;
}
