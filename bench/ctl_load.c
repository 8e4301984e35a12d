/*
 * The hosts: one socket, many source addresses of 127.0.0.0/8, and for each host one
 * request under way at a time, sent again after 12.5 ms as RFC 3103 appendix D says.  The
 * requests are made once by wire and then patched, so that the generator costs little and
 * the same for every server.
 */
#include "ctl.h"

#include "wire/msg.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH     32
#define FIRST     0x7f010001U /* 127.1.0.1 and up */
#define REQUEST   96
#define RESEND_NS 12500000ULL
#define SWEEP_NS  1000000ULL
#define DRAIN_NS  200000000ULL
#define BUFFER    (4 * 1024 * 1024)

struct message {
	uint8_t bytes[REQUEST];
	size_t len, counter_at, bind_at;
};

struct host {
	uint32_t client_id;
	uint32_t held;              /* the binding that is extended */
	uint32_t bind_id;           /* the one of the pair; 0: to be asked for */
	uint32_t counter;           /* of the request under way */
	const struct message *sent; /* NULL: nothing is */
	uint64_t first_ns, last_ns;
	struct message extend, assign, free;
	bool done; /* while preparing */
};

union control {
	char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
	struct cmsghdr align;
};

struct batch {
	struct mmsghdr m[BATCH];
	struct iovec at[BATCH];
	struct sockaddr_in name[BATCH];
	union control control[BATCH];
	uint8_t bytes[BATCH][2048];
};

struct load {
	int fd;
	const struct server *server;
	enum load_kind kind;
	bool asking; /* an answer is followed by the next request */
	bool echo;
	struct sample *sample;
	struct load_result *result;
	uint64_t now, end;
	struct batch in, out;
	unsigned int n_out;
	struct host hosts[CTL_HOSTS];
};

uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void sample_add(struct sample *s, uint64_t us)
{
	s->count[us < SAMPLE_MAX ? us : SAMPLE_MAX]++;
	s->n++;
}

uint64_t sample_quantile(const struct sample *s, double q)
{
	uint64_t want = (uint64_t)(q * (double)s->n), seen = 0;

	for (uint64_t us = 0; us <= SAMPLE_MAX; us++) {
		seen += s->count[us];
		if (seen > want)
			return us;
	}
	return SAMPLE_MAX;
}

/* --- messages --------------------------------------------------------------------- */

static void put_u32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

/* Where the value of this parameter of 4 bytes stands; 0 when it is not there. */
static size_t value_at(const uint8_t *bytes, size_t len, uint8_t param)
{
	for (size_t at = RSIP_HEADER_LEN; at + 3 <= len;
		at += 3 + (size_t)(bytes[at + 1] << 8 | bytes[at + 2])) {
		if (bytes[at] == param && at + 7 <= len)
			return at + 3;
	}
	return 0;
}

static void message_make(struct message *to, struct wire_msg m)
{
	int len;

	m.version = RSIP_VERSION_1;
	m.has |= HAS_COUNTER;
	m.counter = 1;
	len = wire_encode(&m, to->bytes, sizeof(to->bytes));
	if (len < 0)
		abort(); /* a message of ours that wire does not take */
	to->len = (size_t)len;
	to->counter_at = value_at(to->bytes, to->len, PARAM_COUNTER);
	to->bind_at = value_at(to->bytes, to->len, PARAM_BIND_ID);
}

static struct message message_register(void)
{
	struct message m;

	message_make(&m, (struct wire_msg){ .type = MSG_REGISTER_REQUEST });
	return m;
}

static void host_messages(struct host *h)
{
	message_make(&h->assign,
		(struct wire_msg){ .type = MSG_ASSIGN_REQUEST_RSAP_IP,
			.has = HAS_CLIENT_ID | HAS_LOCAL | HAS_LOCAL_PORTS | HAS_REMOTE |
			       HAS_REMOTE_PORTS,
			.client_id = h->client_id,
			.local = { .type = ADDR_IPV4, .dont_care = true },
			.local_ports = { .form = FORM_DONT_CARE, .number = 1 },
			.remote = { .type = ADDR_IPV4, .dont_care = true },
			.remote_ports = { .form = FORM_DONT_CARE, .number = 1 } });
	message_make(&h->free, (struct wire_msg){ .type = MSG_FREE_REQUEST,
				       .has = HAS_CLIENT_ID | HAS_BIND_ID,
				       .client_id = h->client_id,
				       .bind_id = 1 });
	message_make(&h->extend, (struct wire_msg){ .type = MSG_EXTEND_REQUEST,
					 .has = HAS_CLIENT_ID | HAS_BIND_ID,
					 .client_id = h->client_id,
					 .bind_id = 1 });
}

/* --- sending ---------------------------------------------------------------------- */

static void flush(struct load *l)
{
	unsigned int at = 0;

	while (at < l->n_out) {
		int n = sendmmsg(l->fd, l->out.m + at, l->n_out - at, 0);

		at += n > 0 ? (unsigned int)n : 1; /* lost ones are sent again */
	}
	l->n_out = 0;
}

static void send_from(struct load *l, size_t host, const struct message *m)
{
	struct batch *b = &l->out;
	unsigned int i = l->n_out;
	const struct in_pktinfo info = { .ipi_spec_dst.s_addr =
						 htonl(FIRST + (uint32_t)host) };

	memcpy(b->bytes[i], m->bytes, m->len);
	b->at[i] = (struct iovec){ b->bytes[i], m->len };
	b->name[i] = (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port = htons(l->server->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	b->control[i].align = (struct cmsghdr){ .cmsg_level = IPPROTO_IP,
		.cmsg_type = IP_PKTINFO,
		.cmsg_len = CMSG_LEN(sizeof(info)) };
	memcpy(CMSG_DATA(&b->control[i].align), &info, sizeof(info));
	b->m[i].msg_hdr = (struct msghdr){ .msg_name = &b->name[i],
		.msg_namelen = sizeof(b->name[i]),
		.msg_iov = &b->at[i],
		.msg_iovlen = 1,
		.msg_control = b->control[i].bytes,
		.msg_controllen = sizeof(b->control[i].bytes) };
	if (++l->n_out == BATCH)
		flush(l);
}

static void ask(struct load *l, size_t host, struct message *m, uint32_t bind_id)
{
	struct host *h = &l->hosts[host];

	put_u32(m->bytes + m->counter_at, ++h->counter);
	if (m->bind_at)
		put_u32(m->bytes + m->bind_at, bind_id);
	h->sent = m;
	h->first_ns = h->last_ns = l->now;
	send_from(l, host, m);
}

static void ask_next(struct load *l, size_t host)
{
	struct host *h = &l->hosts[host];

	if (l->kind == LOAD_EXTEND)
		ask(l, host, &h->extend, h->held);
	else if (h->bind_id)
		ask(l, host, &h->free, h->bind_id);
	else
		ask(l, host, &h->assign, 0);
}

/* --- receiving -------------------------------------------------------------------- */

static uint32_t destination(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct in_pktinfo info;

		if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_PKTINFO)
			continue;
		memcpy(&info, CMSG_DATA(c), sizeof(info));
		return ntohl(info.ipi_addr.s_addr);
	}
	return 0;
}

static uint32_t value(const uint8_t *bytes, size_t len, uint8_t param)
{
	size_t at = value_at(bytes, len, param);

	return at ? (uint32_t)bytes[at] << 24 | (uint32_t)bytes[at + 1] << 16 |
			       (uint32_t)bytes[at + 2] << 8 | bytes[at + 3]
		  : 0;
}

/* An answer to the request under way, if it is one. */
static void take(struct load *l, size_t host, const uint8_t *bytes, size_t len)
{
	struct host *h = &l->hosts[host];

	if (!h->sent || len < RSIP_HEADER_LEN ||
		value(bytes, len, PARAM_COUNTER) != h->counter)
		return;
	h->sent = NULL;
	l->result->answers++;
	sample_add(l->sample, (l->now - h->first_ns) / 1000);
	if (bytes[1] == MSG_ERROR_RESPONSE)
		l->result->refused++;
	if (bytes[1] == MSG_ASSIGN_RESPONSE_RSAP_IP)
		h->bind_id = value(bytes, len, PARAM_BIND_ID);
	else
		h->bind_id = 0;
	if (l->asking)
		ask_next(l, host);
}

static void receive(struct load *l, int wait_ms)
{
	struct pollfd p = { .fd = l->fd, .events = POLLIN };
	struct batch *b = &l->in;
	int n;

	for (unsigned int i = 0; i < BATCH; i++) {
		b->at[i] = (struct iovec){ b->bytes[i], sizeof(b->bytes[i]) };
		b->m[i].msg_hdr = (struct msghdr){ .msg_name = &b->name[i],
			.msg_namelen = sizeof(b->name[i]),
			.msg_iov = &b->at[i],
			.msg_iovlen = 1,
			.msg_control = b->control[i].bytes,
			.msg_controllen = sizeof(b->control[i].bytes) };
	}
	n = recvmmsg(l->fd, b->m, BATCH, MSG_DONTWAIT, NULL);
	if (n < 0 && errno == EAGAIN)
		(void)poll(&p, 1, wait_ms);
	l->now = now_ns();
	for (int i = 0; i < n; i++) {
		uint32_t host = destination(&b->m[i].msg_hdr) - FIRST;

		/* What another server still sends is of an earlier run. */
		if (host < CTL_HOSTS && ntohs(b->name[i].sin_port) == l->server->port)
			take(l, host, b->bytes[i], b->m[i].msg_len);
	}
	flush(l);
}

/* Lost ones once more; how many are under way. */
static size_t sweep(struct load *l, size_t n)
{
	size_t waiting = 0;

	for (size_t i = 0; i < n; i++) {
		struct host *h = &l->hosts[i];

		if (!h->sent)
			continue;
		waiting++;
		if (l->now - h->last_ns < RESEND_NS)
			continue;
		h->last_ns = l->now;
		l->result->resent++;
		send_from(l, i, h->sent);
	}
	flush(l);
	return waiting;
}

/* Until the time is over, and then until every answer is there, for a while. */
static void loop(struct load *l, size_t n)
{
	uint64_t swept = l->now;
	size_t waiting = n;

	while (l->now < l->end || (waiting && l->now < l->end + DRAIN_NS)) {
		l->asking = l->asking && l->now < l->end;
		receive(l, 1);
		if (l->now - swept < SWEEP_NS)
			continue;
		swept = l->now;
		waiting = sweep(l, n);
	}
}

void load_run(struct load *l, const struct server *s, enum load_kind kind, size_t n,
	double seconds, struct sample *sample, struct load_result *r)
{
	double cpu = server_cpu_s(s);
	uint64_t start;

	*r = (struct load_result){ 0 };
	l->server = s;
	l->kind = kind;
	l->sample = sample;
	l->result = r;
	l->asking = true;
	l->now = start = now_ns();
	l->end = start + (uint64_t)(seconds * 1e9);
	for (size_t i = 0; i < n; i++)
		ask_next(l, i);
	flush(l);
	loop(l, n);
	for (size_t i = 0; i < n; i++)
		l->hosts[i].sent = NULL;
	/* What was answered while draining was asked within the time. */
	r->seconds = (double)(l->now - start) / 1e9;
	r->cpu_s = server_cpu_s(s) - cpu;
}

/* --- preparing -------------------------------------------------------------------- */

/* One request and its answer, whatever it takes; its type, or 0. */
static uint8_t exchange(struct load *l, size_t host, struct message *m,
	uint32_t *client_id, uint32_t *bind_id)
{
	struct host *h = &l->hosts[host];
	uint64_t until = now_ns() + 2000000000ULL, sent = 0;

	put_u32(m->bytes + m->counter_at, ++h->counter);
	for (;;) {
		uint8_t bytes[2048];
		struct pollfd p = { .fd = l->fd, .events = POLLIN };
		ssize_t n;

		l->now = now_ns();
		if (l->now >= until)
			return 0;
		if (l->now - sent >= RESEND_NS) {
			send_from(l, host, m);
			flush(l);
			sent = l->now;
		}
		if (poll(&p, 1, 5) <= 0)
			continue;
		n = recv(l->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (n < RSIP_HEADER_LEN ||
			value(bytes, (size_t)n, PARAM_COUNTER) != h->counter)
			continue;
		*client_id = value(bytes, (size_t)n, PARAM_CLIENT_ID);
		*bind_id = value(bytes, (size_t)n, PARAM_BIND_ID);
		return bytes[1];
	}
}

int load_prepare(struct load *l, const struct server *s)
{
	struct message hello = message_register();

	l->server = s;
	for (size_t i = 0; i < CTL_HOSTS; i++) {
		struct host *h = &l->hosts[i];
		uint32_t client_id, none;

		if (exchange(l, i, &hello, &h->client_id, &none) !=
			MSG_REGISTER_RESPONSE) {
			(void)fprintf(stderr, "ctl: host %zu could not register\n", i);
			return -1;
		}
		host_messages(h);
		if (exchange(l, i, &h->assign, &client_id, &h->held) !=
			MSG_ASSIGN_RESPONSE_RSAP_IP) {
			(void)fprintf(stderr, "ctl: host %zu got no lease\n", i);
			return -1;
		}
	}
	return 0;
}

struct load *load_new(int cpu)
{
	struct sockaddr_in any = { .sin_family = AF_INET };
	struct load *l = calloc(1, sizeof(*l));
	int on = 1, size = BUFFER;

	if (!l)
		return NULL;
	l->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0 ||
		setsockopt(l->fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) != 0 ||
		bind(l->fd, (struct sockaddr *)&any, sizeof(any)) != 0 || pin(cpu) != 0) {
		perror("ctl: the hosts' socket");
		load_free(l);
		return NULL;
	}
	(void)setsockopt(l->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	(void)setsockopt(l->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return l;
}

void load_free(struct load *l)
{
	if (!l)
		return;
	if (l->fd >= 0)
		(void)close(l->fd);
	free(l);
}
