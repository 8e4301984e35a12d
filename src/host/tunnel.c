/*
 * Tunnel end in user space.  Everything is bounded per turn of the loop: a busy device
 * can keep neither the other ones nor the control protocol waiting.
 */
#include "host/tunnel.h"

#include "base/addr.h"
#include "base/err.h"
#include "host/tunpkt.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUT_BATCH  64 /* packets of one device a turn */
#define IN_BATCH   32 /* packets of the raw socket a turn */
#define IN_SIZE    65536
#define SOCKET_BUF (4 * 1024 * 1024)
#define TTL        64
#define ECHOES     256
#define IKE_PORT   500
#define NAT_T_PORT 4500

/* A claim with its ranges behind it: first the ports, then the SPIs. */
struct claim {
	uint32_t address;
	bool all;
	struct range *ranges;
	size_t n_ports, n_spis;
};

struct tunnel_end {
	struct tunnel *tunnel;
	struct tunnel_end *next;
	struct tunnel_owner *owner;
	uv_poll_t poll;
	int fd;
	struct claim *claims;
	size_t n_claims;
};

/* Packets of one turn that leave by the same socket. */
struct batch {
	struct mmsghdr msgs[OUT_BATCH];
	struct iovec iov[OUT_BATCH][2];
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} tos[OUT_BATCH];
	struct tunpkt pkt[OUT_BATCH];
	unsigned int n;
};

struct tunnel {
	struct tunnel_conf conf;
	struct tunnel_end *ends;
	int plain, df; /* send without and with DF; plain receives too */
	uv_poll_t poll;
	size_t handles; /* not closed yet */
	bool freed;
	uint8_t *in;  /* IN_BATCH packets of IN_SIZE */
	uint8_t *out; /* OUT_BATCH packets of out_size */
	size_t out_size;
	struct batch without_df, with_df;
	uint8_t gre[4]; /* header: no options, IPv4 */
	/* Whose query an ICMP answer is; a collision costs one answer. */
	struct {
		struct tunnel_end *end;
		uint16_t id;
	} echo[ECHOES];
	struct tunnel_counters counters;
};

uint32_t tunnel_overhead(enum rsip_tunnel type)
{
	return type == RSIP_GRE ? 24 : 20;
}

const struct tunnel_counters *tunnel_counters(const struct tunnel *t)
{
	return &t->counters;
}

uint32_t tunnel_mtu(const struct tunnel *t)
{
	return t->conf.mtu;
}

/* --- claims ---------------------------------------------------------------------------
 */

static bool claim_has(const struct claim *c, enum tunpkt_key key, uint32_t number)
{
	if (key == TUNPKT_PORT)
		return ranges_have(c->ranges, c->n_ports, number);
	return key == TUNPKT_SPI &&
	       ranges_have(c->ranges + c->n_ports, c->n_spis, number);
}

/* IKE on its own port comes to whoever holds SPIs of the address and no ports for it. */
static bool claim_takes_ike(const struct claim *c, uint32_t number)
{
	return c->n_spis > 0 && (number == IKE_PORT || number == NAT_T_PORT);
}

static bool end_owns(const struct tunnel_end *e, uint32_t address)
{
	for (size_t i = 0; i < e->n_claims; i++)
		if (e->claims[i].address == address)
			return true;
	return false;
}

static struct tunnel_end *end_by_number(
	const struct tunnel *t, uint32_t address, enum tunpkt_key key, uint32_t number)
{
	struct tunnel_end *ike = NULL;

	for (struct tunnel_end *e = t->ends; e != NULL; e = e->next) {
		for (size_t i = 0; i < e->n_claims; i++) {
			const struct claim *c = &e->claims[i];

			if (c->address != address)
				continue;
			if (c->all || claim_has(c, key, number))
				return e;
			if (key == TUNPKT_PORT && claim_takes_ike(c, number))
				ike = e;
		}
	}
	return ike;
}

/*
 * Whose an inbound packet is.  What carries no key of ours (an answer to nobody's query,
 * an error about ESP) goes to the only end of the address, or is dropped.
 */
static struct tunnel_end *end_find(
	const struct tunnel *t, const uint8_t *p, const struct tunpkt *pkt)
{
	uint32_t number = 0;
	enum tunpkt_key key = tunpkt_key_in(p, pkt, &number);
	struct tunnel_end *only = NULL;
	bool several = false;

	if (key == TUNPKT_ECHO) {
		struct tunnel_end *e = t->echo[number % ECHOES].end;

		if (e != NULL && t->echo[number % ECHOES].id == number &&
			end_owns(e, pkt->dst))
			return e;
	} else if (key != TUNPKT_NONE) {
		return end_by_number(t, pkt->dst, key, number);
	}
	for (struct tunnel_end *e = t->ends; e != NULL; e = e->next) {
		if (!end_owns(e, pkt->dst))
			continue;
		several = only != NULL;
		only = e;
	}
	return several ? NULL : only;
}

/* --- from the gateway -----------------------------------------------------------------
 */

/* The inner packet of an outer one, or NULL. */
static uint8_t *inner_of(struct tunnel *t, uint8_t *p, size_t len, struct tunpkt *inner)
{
	struct tunpkt outer;
	uint8_t *data;
	size_t gre = 0;

	if (!tunpkt_parse(p, len, &outer))
		return NULL;
	data = p + outer.header;
	if (t->conf.type == RSIP_GRE) {
		gre = tunpkt_gre(data, outer.len - outer.header);
		if (gre == 0)
			return NULL;
	}
	data += gre;
	return tunpkt_parse(data, outer.len - outer.header - gre, inner) ? data : NULL;
}

static void packet_in(struct tunnel *t, uint8_t *p, size_t len)
{
	struct tunpkt inner;
	uint8_t outer_tos = p[1];
	uint8_t *data = inner_of(t, p, len, &inner);
	const struct tunnel_end *end;

	if (data == NULL) {
		t->counters.in_malformed++;
		return;
	}
	if (!tunpkt_ecn_in(data, outer_tos)) {
		t->counters.in_ecn++;
		return;
	}
	end = end_find(t, data, &inner);
	if (end == NULL) {
		t->counters.in_unclaimed++;
		return;
	}
	tunpkt_checksum(data, &inner);
	if (write(end->fd, data, inner.len) != (ssize_t)inner.len) {
		t->counters.failed++;
		return;
	}
	t->counters.in++;
	t->counters.in_bytes += inner.len;
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
	struct tunnel *t = poll->data;
	struct mmsghdr msgs[IN_BATCH];
	struct iovec iov[IN_BATCH];
	int n;

	(void)events;
	if (status < 0)
		return;
	memset(msgs, 0, sizeof(msgs));
	for (int i = 0; i < IN_BATCH; i++) {
		iov[i] = (struct iovec){ t->in + (size_t)i * IN_SIZE, IN_SIZE };
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	/* An error here is one that an ICMP message reported; reading it clears it. */
	n = recvmmsg(t->plain, msgs, IN_BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		if (msgs[i].msg_len >= TUNPKT_HEADER)
			packet_in(t, iov[i].iov_base, msgs[i].msg_len);
}

/* --- to the gateway -------------------------------------------------------------------
 */

static void batch_add(
	struct tunnel *t, struct batch *b, uint8_t *p, const struct tunpkt *pkt)
{
	unsigned int i = b->n++;
	struct msghdr *m = &b->msgs[i].msg_hdr;
	struct iovec *iov = b->iov[i];
	int tos = pkt->tos, parts = 0;

	if (t->conf.type == RSIP_GRE)
		iov[parts++] = (struct iovec){ t->gre, sizeof(t->gre) };
	iov[parts].iov_base = p;
	iov[parts++].iov_len = pkt->len;
	b->tos[i].head = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(sizeof(tos)),
		.cmsg_level = IPPROTO_IP,
		.cmsg_type = IP_TOS,
	};
	memcpy(CMSG_DATA(&b->tos[i].head), &tos, sizeof(tos));
	*m = (struct msghdr){
		.msg_iov = iov,
		.msg_iovlen = (size_t)parts,
		.msg_control = &b->tos[i],
		.msg_controllen = CMSG_SPACE(sizeof(tos)),
	};
	b->pkt[i] = *pkt;
}

/* The path to the gateway has become narrower than the device: tell the sender. */
static void answer_too_big(struct tunnel *t, const struct tunnel_end *e, const uint8_t *p,
	const struct tunpkt *pkt)
{
	uint8_t icmp[TUNPKT_ICMP_MAX];
	uint32_t overhead = tunnel_overhead(t->conf.type);
	int mtu = 0;
	socklen_t len = sizeof(mtu);
	size_t n;

	t->counters.out_too_big++;
	if (getsockopt(t->df, IPPROTO_IP, IP_MTU, &mtu, &len) != 0 ||
		mtu <= (int)overhead)
		return;
	n = tunpkt_too_big(p, pkt, (uint16_t)((uint32_t)mtu - overhead), icmp);
	if (write(e->fd, icmp, n) != (ssize_t)n)
		t->counters.failed++;
}

static void batch_send(
	struct tunnel *t, const struct tunnel_end *e, struct batch *b, int fd)
{
	unsigned int at = 0;

	while (at < b->n) {
		int n = sendmmsg(fd, b->msgs + at, b->n - at, MSG_DONTWAIT);

		for (int i = 0; i < n; i++) {
			t->counters.out++;
			t->counters.out_bytes += b->pkt[at + (unsigned int)i].len;
		}
		if (n > 0) {
			at += (unsigned int)n;
			continue;
		}
		/* The first one failed; the others may still go. */
		if (errno == EMSGSIZE)
			answer_too_big(t, e,
				b->iov[at][t->conf.type == RSIP_GRE].iov_base,
				&b->pkt[at]);
		else
			t->counters.failed++;
		at++;
	}
	b->n = 0;
}

/* May this packet of the end leave? */
static bool out_allowed(struct tunnel *t, const struct tunnel_end *e, const uint8_t *p,
	const struct tunpkt *pkt)
{
	const struct tunnel_end *owner = e;

	if (!end_owns(e, pkt->src)) {
		t->counters.out_source++;
		return false;
	}
	if ((pkt->proto == IPPROTO_TCP || pkt->proto == IPPROTO_UDP) && !pkt->fragment &&
		pkt->len >= pkt->header + 4)
		owner = end_by_number(t, pkt->src, TUNPKT_PORT,
			(uint32_t)(p[pkt->header] << 8 | p[pkt->header + 1]));
	/* A port that nobody here holds is the gateway's to refuse, aloud (313). */
	if (owner != e && owner != NULL) {
		t->counters.out_foreign++;
		return false;
	}
	return true;
}

static void packet_out(struct tunnel *t, struct tunnel_end *e, uint8_t *p, size_t len)
{
	struct tunpkt pkt;
	uint16_t id;

	/* The device also offers IPv6, which no lease of ours carries. */
	if (!tunpkt_parse(p, len, &pkt) || !out_allowed(t, e, p, &pkt))
		return;
	if (tunpkt_echo_out(p, &pkt, &id)) {
		t->echo[id % ECHOES].end = e;
		t->echo[id % ECHOES].id = id;
	}
	if (e->owner->keeps != NULL && tunpkt_ike_spi(p, &pkt) &&
		e->owner->keeps(e->owner, p, pkt.len))
		return;
	batch_add(t, pkt.df ? &t->with_df : &t->without_df, p, &pkt);
}

void tunnel_end_send(struct tunnel_end *end, uint8_t *p, size_t len)
{
	struct tunnel *t = end->tunnel;
	struct batch *b;
	struct tunpkt pkt;

	if (!tunpkt_parse(p, len, &pkt))
		return;
	b = pkt.df ? &t->with_df : &t->without_df;
	/* A device's turn may be under way: what it has goes first. */
	batch_send(t, end, b, pkt.df ? t->df : t->plain);
	batch_add(t, b, p, &pkt);
	batch_send(t, end, b, pkt.df ? t->df : t->plain);
}

static void on_device(uv_poll_t *poll, int status, int events)
{
	struct tunnel_end *e = poll->data;
	struct tunnel *t = e->tunnel;

	(void)events;
	if (status < 0) {
		e->owner->gone(e->owner);
		return;
	}
	for (int i = 0; i < OUT_BATCH; i++) {
		uint8_t *p = t->out + (size_t)i * t->out_size;
		ssize_t n = read(e->fd, p, t->out_size);

		if (n < 0 && errno == EBADFD) {
			e->owner->gone(e->owner);
			return;
		}
		if (n <= 0)
			break;
		packet_out(t, e, p, (size_t)n);
	}
	batch_send(t, e, &t->without_df, t->plain);
	batch_send(t, e, &t->with_df, t->df);
}

/* --- life -----------------------------------------------------------------------------
 */

static void tunnel_destroy(struct tunnel *t)
{
	if (t->plain >= 0)
		(void)close(t->plain);
	if (t->df >= 0)
		(void)close(t->df);
	free(t->in);
	free(t->out);
	free(t);
}

static void tunnel_release(struct tunnel *t)
{
	if (t->freed && t->handles == 0)
		tunnel_destroy(t);
}

static int socket_new(const struct tunnel_conf *conf, int discover)
{
	struct sockaddr_in local = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(conf->local) };
	struct sockaddr_in remote = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(conf->remote) };
	int fd = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
		conf->type == RSIP_GRE ? IPPROTO_GRE : IPPROTO_IPIP);
	int ttl = TTL, size = SOCKET_BUF;

	if (fd < 0)
		return -errno;
	/* Connected: the kernel passes only what this gateway sends to this address. */
	if (setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof(discover)) ||
		setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)) ||
		bind(fd, (const struct sockaddr *)&local, sizeof(local)) ||
		connect(fd, (const struct sockaddr *)&remote, sizeof(remote))) {
		int err = -errno;

		(void)close(fd);
		return err;
	}
	/* As large as we may; more is only better. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return fd;
}

/* The socket with DF only sends: each raw socket would get its own copy. */
static int socket_deafen(int fd)
{
	struct sock_filter none[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	struct sock_fprog program = { .len = 1, .filter = none };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ==
			       0
		       ? 0
		       : -errno;
}

static int tunnel_open(struct tunnel *t)
{
	int err;

	t->plain = socket_new(&t->conf, IP_PMTUDISC_DONT);
	t->df = t->plain >= 0 ? socket_new(&t->conf, IP_PMTUDISC_DO) : -1;
	if (t->plain < 0)
		return t->plain;
	if (t->df < 0)
		return t->df;
	err = socket_deafen(t->df);
	if (err != 0)
		return err;
	t->out_size = t->conf.mtu + 64;
	t->in = malloc((size_t)IN_BATCH * IN_SIZE);
	t->out = malloc(OUT_BATCH * t->out_size);
	return t->in != NULL && t->out != NULL ? 0 : -ENOMEM;
}

static void on_tunnel_closed(uv_handle_t *handle)
{
	struct tunnel *t = handle->data;

	t->handles--;
	tunnel_release(t);
}

int tunnel_new(const struct tunnel_conf *conf, struct tunnel **tunnel, char *why,
	size_t why_size)
{
	struct tunnel *t = calloc(1, sizeof(*t));
	int err;

	if (t == NULL)
		return -ENOMEM;
	t->conf = *conf;
	t->plain = t->df = -1;
	t->gre[2] = 0x08;
	err = tunnel_open(t);
	if (err == 0)
		err = uv_poll_init(conf->loop, &t->poll, t->plain);
	if (err != 0) {
		(void)snprintf(why, why_size,
			"cannot open the tunnel to the gateway (raw socket): %s",
			err_text(err));
		tunnel_destroy(t);
		return err;
	}
	t->poll.data = t;
	t->handles = 1;
	(void)uv_poll_start(&t->poll, UV_READABLE, on_socket);
	*tunnel = t;
	return 0;
}

void tunnel_free(struct tunnel *t)
{
	if (t == NULL)
		return;
	t->freed = true;
	uv_close((uv_handle_t *)&t->poll, on_tunnel_closed);
}

int tunnel_end_add(
	struct tunnel *t, int fd, struct tunnel_owner *owner, struct tunnel_end **end)
{
	struct tunnel_end *e = calloc(1, sizeof(*e));
	int err = e != NULL ? uv_poll_init(t->conf.loop, &e->poll, fd) : -ENOMEM;

	if (err != 0) {
		free(e);
		(void)close(fd);
		return err;
	}
	e->tunnel = t;
	e->fd = fd;
	e->owner = owner;
	e->poll.data = e;
	e->next = t->ends;
	t->ends = e;
	t->handles++;
	(void)uv_poll_start(&e->poll, UV_READABLE, on_device);
	*end = e;
	return 0;
}

static void claims_free(struct claim *claims, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(claims[i].ranges);
	free(claims);
}

static void on_end_closed(uv_handle_t *handle)
{
	struct tunnel_end *e = handle->data;
	struct tunnel *t = e->tunnel;

	(void)close(e->fd);
	claims_free(e->claims, e->n_claims);
	free(e);
	t->handles--;
	tunnel_release(t);
}

void tunnel_end_del(struct tunnel_end *end)
{
	struct tunnel *t;

	if (end == NULL)
		return;
	t = end->tunnel;
	for (struct tunnel_end **at = &t->ends; *at != NULL; at = &(*at)->next) {
		if (*at == end) {
			*at = end->next;
			break;
		}
	}
	for (int i = 0; i < ECHOES; i++)
		if (t->echo[i].end == end)
			t->echo[i].end = NULL;
	uv_close((uv_handle_t *)&end->poll, on_end_closed);
}

static int claim_copy(const struct tunnel_claim *from, struct claim *to)
{
	struct range *r = calloc(from->n_ports + from->n_spis + 1, sizeof(*r));

	if (r == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < from->n_ports; i++)
		r[i] = (struct range){ from->ports[i].lo, from->ports[i].hi };
	for (size_t i = 0; i < from->n_spis; i++)
		r[from->n_ports + i] =
			(struct range){ from->spis[i].lo, from->spis[i].hi };
	*to = (struct claim){
		.address = from->address,
		.all = from->all,
		.ranges = r,
		.n_ports = from->n_ports,
		.n_spis = from->n_spis,
	};
	return 0;
}

int tunnel_end_claim(struct tunnel_end *end, const struct tunnel_claim *claims, size_t n)
{
	struct claim *copy = calloc(n + 1, sizeof(*copy));

	if (copy == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (claim_copy(&claims[i], &copy[i]) != 0) {
			claims_free(copy, i);
			return -ENOMEM;
		}
	}
	claims_free(end->claims, end->n_claims);
	end->claims = copy;
	end->n_claims = n;
	return 0;
}
