/*
 * Leases ports from an RSIP gateway over UDP, shows them, and gives them back.
 *
 *     cc -o lease lease.c $(pkg-config --cflags --libs rsip)
 *     ./lease GATEWAY [PORTS [SECONDS]]
 *
 * The library has no sockets and no clock: this loop brings it both.  The leased address
 * can be used only through a tunnel to the gateway, which is what rsip-hostd makes.
 */
#include <rsip/rsip.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RSIP_PORT 4555

struct lease {
	int fd;
	struct rsip_session *session;
	unsigned int hold_s;
	uint64_t release_us; /* when to give the lease back; 0: not yet leased */
	int done;            /* 1: ended well, -1: ended badly */
};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* What can't be sent is lost, and the session sends it again. */
static void on_send(void *ctx, const uint8_t *bytes, size_t len)
{
	const struct lease *l = ctx;

	if (send(l->fd, bytes, len, 0) < 0)
		perror("lease: send");
}

static void print_grant(const struct rsip_grant *g)
{
	struct in_addr address = { htonl(g->address) };

	printf("bind %u: %s ports", g->bind_id, inet_ntoa(address));
	for (size_t i = 0; i < g->n_ports; i++)
		printf(" %u-%u", g->ports[i].lo, g->ports[i].hi);
	printf(" for %u s, tunnel %s\n", g->lease_s, rsip_tunnel_name(g->tunnel));
}

/* One event for each request; a request made here is sent when the event is over. */
static void on_event(void *ctx, const struct rsip_event *ev)
{
	struct lease *l = ctx;

	switch (ev->type) {
	case RSIP_EVENT_GRANTED:
		print_grant(ev->grant);
		l->release_us = now_us() + l->hold_s * 1000000ULL;
		break;
	case RSIP_EVENT_DEREGISTERED:
		l->done = l->release_us ? 1 : -1;
		break;
	case RSIP_EVENT_FAILED:
		if (ev->failure == RSIP_FAIL_UNREGISTERED)
			break; /* the registration's own failure was shown */
		fprintf(stderr, "lease: %s%s%s\n", rsip_failure_text(ev->failure),
			ev->error ? ": " : "",
			ev->error ? rsip_error_text(ev->error) : "");
		if (ev->request == RSIP_REQ_ASSIGN &&
			rsip_deregister(l->session, NULL, now_us()) == 0)
			break;
		l->done = -1;
		break;
	case RSIP_EVENT_BINDING_LOST:
		if (ev->cause != RSIP_CAUSE_DEREGISTERED)
			fprintf(stderr, "lease: the gateway took bind %u back\n",
				ev->bind_id);
		break;
	default:
		break;
	}
}

static int open_socket(const char *gateway)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(RSIP_PORT) };
	int fd;

	if (inet_pton(AF_INET, gateway, &to.sin_addr) != 1) {
		fprintf(stderr, "lease: %s is no IPv4 address\n", gateway);
		return -1;
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
		return fd;
	perror("lease: socket");
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Until the session, or the lease, wants something; at most a second. */
static int wait_ms(const struct lease *l)
{
	uint64_t until = rsip_session_deadline(l->session), now = now_us();

	if (l->release_us && l->release_us < until)
		until = l->release_us;
	if (until <= now)
		return 0;
	return until - now < 1000000 ? (int)((until - now) / 1000) + 1 : 1000;
}

static void run(struct lease *l)
{
	uint8_t bytes[65535];

	while (!l->done) {
		struct pollfd p = { .fd = l->fd, .events = POLLIN };
		int ready = poll(&p, 1, wait_ms(l));
		ssize_t len = ready > 0 ? recv(l->fd, bytes, sizeof bytes, 0) : 0;

		/* Nobody listens: no different from no answer. */
		if (len < 0 && errno != ECONNREFUSED)
			perror("lease: recv");
		if (len > 0)
			rsip_session_input(l->session, bytes, (size_t)len, now_us());
		if (l->release_us && l->release_us <= now_us()) {
			rsip_deregister(l->session, NULL, now_us());
			l->release_us = UINT64_MAX;
		}
		rsip_session_tick(l->session, now_us());
	}
}

int main(int argc, char **argv)
{
	struct lease l = { .fd = -1 };
	int status = 1;
	struct rsip_session_conf conf = {
		.transport = RSIP_UDP, .send = on_send, .event = on_event, .ctx = &l
	};
	struct rsip_want want = { .kind = RSIP_RSAP_IP, .ports = { .form = RSIP_ANY } };

	if (argc < 2 || argc > 4) {
		fprintf(stderr, "usage: lease GATEWAY [PORTS [SECONDS]]\n");
		return 2;
	}
	want.ports.count = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 4;
	l.hold_s = argc > 3 ? (unsigned int)strtoul(argv[3], NULL, 10) : 0;
	l.fd = open_socket(argv[1]);
	l.session = rsip_session_new(&conf);
	if (l.fd < 0 || !l.session)
		return 1;
	rsip_register(l.session, NULL, now_us());
	if (rsip_assign(l.session, &want, NULL, now_us()) == 0) {
		run(&l);
	} else {
		fprintf(stderr, "lease: PORTS is 1 to 255\n");
		status = 2;
	}
	rsip_session_free(l.session);
	close(l.fd);
	return l.done > 0 ? 0 : status;
}
