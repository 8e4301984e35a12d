/*
 * XFRM by libmnl.  One socket for changes, each acknowledged at once by the kernel; one
 * for ACQUIREs, with room for thousands: what overruns it leaves no waiting state, so
 * those packets come again.
 *
 * The template of a trap is in transport mode: with a tunnel's and wild ends, one waiting
 * state would silence every other destination.
 */
#include "kxd/spd.h"

#include "base/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <linux/xfrm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/*
 * selector.user: part of a policy's identity, but matched against nothing.  Without it a
 * shunt for a pair and charon's policy for the same pair would replace each other.
 */
#define ORIGIN     0x52534b58
#define TRAP_REQID 0x4b580001 /* charon counts from 1 */
#define RECEIVE    (4 << 20)
#define DUMP_SIZE  32768
#define SPI_MIN    0x100
#define SPI_MAX    0xffffffff

struct spd {
	struct spd_conf conf;
	struct mnl_socket *change, *listen;
	uv_poll_t poll;
	uint32_t seq;
	char buf[1024]; /* requests */
};

uint32_t spd_group_priority(uint8_t prefix_len, unsigned int narrow)
{
	return SPD_GROUP - prefix_len * 10000U - narrow * 1000U;
}

static struct nlmsghdr *request(struct spd *s, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(s->buf);

	h->nlmsg_type = type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	h->nlmsg_seq = ++s->seq;
	return h;
}

/*
 * Netlink aligns to 4 bytes, XFRM's structures want 8: they are copied in and out.
 */
static void extra(struct nlmsghdr *h, const void *bytes, size_t size)
{
	memcpy(mnl_nlmsg_put_extra_header(h, size), bytes, size);
}

static bool payload(const struct nlmsghdr *h, uint16_t type, void *to, size_t size)
{
	if (h->nlmsg_type != type || mnl_nlmsg_get_payload_len(h) < size)
		return false;
	memcpy(to, mnl_nlmsg_get_payload(h), size);
	return true;
}

/* Send, and feed each answer to fn until the end or the acknowledgement. */
static int talk(struct spd *s, const struct nlmsghdr *h, mnl_cb_t fn, void *ctx)
{
	char *answers = malloc(DUMP_SIZE);
	int result = MNL_CB_OK;

	if (answers == NULL)
		return -ENOMEM;
	if (mnl_socket_sendto(s->change, h, h->nlmsg_len) < 0)
		result = MNL_CB_ERROR;
	while (result > MNL_CB_STOP) {
		ssize_t n = mnl_socket_recvfrom(s->change, answers, DUMP_SIZE);

		result = n < 0 ? MNL_CB_ERROR
			       : mnl_cb_run(answers, (size_t)n, s->seq,
					 mnl_socket_get_portid(s->change), fn, ctx);
	}
	if (result == MNL_CB_ERROR)
		result = errno != 0 ? -errno : -EIO;
	free(answers);
	return result < 0 ? result : 0;
}

/* --- policies -------------------------------------------------------------------------
 */

static void selector_put(const struct spd_selector *from, struct xfrm_selector *to)
{
	*to = (struct xfrm_selector){
		.saddr.a4 = htonl(from->src.addr),
		.daddr.a4 = htonl(from->dst.addr),
		.prefixlen_s = from->src.len,
		.prefixlen_d = from->dst.len,
		.family = AF_INET,
		.proto = from->protocol,
		.sport = htons(from->sport),
		.sport_mask = from->sport != 0 ? 0xffff : 0,
		.dport = htons(from->dport),
		.dport_mask = from->dport != 0 ? 0xffff : 0,
		.user = ORIGIN,
	};
}

static void selector_get(const struct xfrm_selector *from, struct spd_selector *to)
{
	*to = (struct spd_selector){
		.src = { ntohl(from->saddr.a4), from->prefixlen_s },
		.dst = { ntohl(from->daddr.a4), from->prefixlen_d },
		.protocol = from->proto,
		.sport = ntohs(from->sport),
		.dport = ntohs(from->dport),
	};
}

static uint8_t dir_put(enum spd_dir dir)
{
	return dir == SPD_IN    ? XFRM_POLICY_IN
	       : dir == SPD_OUT ? XFRM_POLICY_OUT
				: XFRM_POLICY_FWD;
}

static void template_put(struct nlmsghdr *h)
{
	const struct xfrm_user_tmpl tmpl = {
		.id.proto = IPPROTO_ESP,
		.family = AF_INET,
		.reqid = TRAP_REQID,
		.mode = XFRM_MODE_TRANSPORT,
		.aalgos = UINT32_MAX,
		.ealgos = UINT32_MAX,
		.calgos = UINT32_MAX,
	};

	mnl_attr_put(h, XFRMA_TMPL, sizeof(tmpl), &tmpl);
}

int spd_put(struct spd *s, const struct spd_policy *p)
{
	struct nlmsghdr *h = request(s, XFRM_MSG_UPDPOLICY, NLM_F_ACK);
	struct xfrm_userpolicy_info info = {
		.lft = { XFRM_INF, XFRM_INF, XFRM_INF, XFRM_INF,
			.hard_add_expires_seconds = p->lifetime_s },
		.priority = p->priority,
		.dir = dir_put(p->dir),
		.action = p->action == SPD_DENY ? XFRM_POLICY_BLOCK : XFRM_POLICY_ALLOW,
	};

	selector_put(&p->sel, &info.sel);
	extra(h, &info, sizeof(info));
	if (p->action == SPD_TRAP)
		template_put(h);
	return talk(s, h, NULL, NULL);
}

int spd_del(struct spd *s, const struct spd_selector *sel, enum spd_dir dir)
{
	struct nlmsghdr *h = request(s, XFRM_MSG_DELPOLICY, NLM_F_ACK);
	struct xfrm_userpolicy_id id = { .dir = dir_put(dir) };
	int err;

	selector_put(sel, &id.sel);
	extra(h, &id, sizeof(id));
	err = talk(s, h, NULL, NULL);
	return err == -ENOENT ? ERR_NOTFOUND : err;
}

struct list {
	struct spd_policy *items;
	size_t n, room;
	int err;
};

static bool has_template(const struct nlmsghdr *h)
{
	const struct nlattr *attr =
		mnl_nlmsg_get_payload_offset(h, sizeof(struct xfrm_userpolicy_info));
	const char *tail = mnl_nlmsg_get_payload_tail(h);

	for (; mnl_attr_ok(attr, (int)(tail - (const char *)attr));
		attr = mnl_attr_next(attr))
		if (mnl_attr_get_type(attr) == XFRMA_TMPL)
			return true;
	return false;
}

static struct spd_policy *list_add(struct list *list)
{
	if (list->n == list->room) {
		size_t room = list->room > 0 ? 2 * list->room : 16;
		struct spd_policy *items = realloc(list->items, room * sizeof(*items));

		if (items == NULL) {
			list->err = -ENOMEM;
			return NULL;
		}
		list->items = items;
		list->room = room;
	}
	return &list->items[list->n++];
}

static int on_policy(const struct nlmsghdr *h, void *ctx)
{
	struct xfrm_userpolicy_info info;
	struct spd_policy *p;

	if (!payload(h, XFRM_MSG_NEWPOLICY, &info, sizeof(info)) ||
		info.sel.family != AF_INET || info.sel.user != ORIGIN ||
		info.dir > XFRM_POLICY_FWD)
		return MNL_CB_OK;
	p = list_add(ctx);
	if (p == NULL)
		return MNL_CB_OK;
	*p = (struct spd_policy){
		.dir = info.dir == XFRM_POLICY_IN    ? SPD_IN
		       : info.dir == XFRM_POLICY_OUT ? SPD_OUT
						     : SPD_FWD,
		.action = info.action == XFRM_POLICY_BLOCK ? SPD_DENY
			  : has_template(h)                ? SPD_TRAP
							   : SPD_ALLOW,
		.priority = info.priority,
		.lifetime_s = (uint32_t)info.lft.hard_add_expires_seconds,
	};
	selector_get(&info.sel, &p->sel);
	return MNL_CB_OK;
}

int spd_list(struct spd *s, struct spd_policy **policies, size_t *n)
{
	struct nlmsghdr *h = request(s, XFRM_MSG_GETPOLICY, NLM_F_DUMP);
	struct list list = { 0 };
	int err;

	extra(h, &(const struct xfrm_userpolicy_id){ 0 },
		sizeof(struct xfrm_userpolicy_id));
	err = talk(s, h, on_policy, &list);
	if (err == 0)
		err = list.err;
	if (err != 0) {
		free(list.items);
		return err;
	}
	*policies = list.items;
	*n = list.n;
	return 0;
}

/* --- waiting states -------------------------------------------------------------------
 */

static int on_spi(const struct nlmsghdr *h, void *ctx)
{
	struct xfrm_usersa_info info;
	uint32_t *spi = ctx;

	if (payload(h, XFRM_MSG_NEWSA, &info, sizeof(info)))
		*spi = info.id.spi;
	return MNL_CB_STOP;
}

int spd_forget(struct spd *s, uint32_t seq, uint32_t dst)
{
	/* A waiting state has no SPI and cannot be named; so it is given one first. */
	struct nlmsghdr *h = request(s, XFRM_MSG_ALLOCSPI, 0);
	const struct xfrm_userspi_info alloc = {
		.info = { .seq = seq,
			.family = AF_INET,
			.mode = XFRM_MODE_TRANSPORT,
			.reqid = TRAP_REQID,
			.id = { .proto = IPPROTO_ESP, .daddr.a4 = htonl(dst) } },
		.min = SPI_MIN,
		.max = SPI_MAX,
	};
	struct xfrm_usersa_id id = {
		.daddr.a4 = htonl(dst),
		.family = AF_INET,
		.proto = IPPROTO_ESP,
	};
	int err;

	extra(h, &alloc, sizeof(alloc));
	err = talk(s, h, on_spi, &id.spi);
	if (err != 0 || id.spi == 0)
		return err != 0 ? err : ERR_NOTFOUND;
	h = request(s, XFRM_MSG_DELSA, NLM_F_ACK);
	extra(h, &id, sizeof(id));
	return talk(s, h, NULL, NULL);
}

/* --- ACQUIRE --------------------------------------------------------------------------
 */

static int on_acquire(const struct nlmsghdr *h, void *ctx)
{
	const struct spd *s = ctx;
	struct xfrm_user_acquire u;
	struct spd_acquire a;

	/* charon's own traps raise the same message. */
	if (!payload(h, XFRM_MSG_ACQUIRE, &u, sizeof(u)) || u.sel.family != AF_INET ||
		u.policy.sel.user != ORIGIN)
		return MNL_CB_OK;
	a = (struct spd_acquire){
		.src = ntohl(u.sel.saddr.a4),
		.dst = ntohl(u.sel.daddr.a4),
		.protocol = u.sel.proto,
		.sport = ntohs(u.sel.sport),
		.dport = ntohs(u.sel.dport),
		.seq = u.seq,
	};
	s->conf.acquire(s->conf.ctx, &a);
	return MNL_CB_OK;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct spd *s = poll->data;
	char *bytes = malloc(DUMP_SIZE);
	ssize_t n = -1;

	(void)status, (void)events;
	/* What does not fit in a turn waits for the next: other work goes on between. */
	for (int i = 0; bytes != NULL && i < 64; i++) {
		n = recv(mnl_socket_get_fd(s->listen), bytes, DUMP_SIZE, MSG_DONTWAIT);
		if (n <= 0)
			break;
		(void)mnl_cb_run(bytes, (size_t)n, 0, 0, on_acquire, s);
	}
	if (n < 0 && errno == ENOBUFS)
		s->conf.overrun(s->conf.ctx);
	free(bytes);
}

/* --- life -----------------------------------------------------------------------------
 */

static struct mnl_socket *socket_open(unsigned int groups)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_XFRM, SOCK_CLOEXEC);
	int room = RECEIVE;

	if (nl == NULL)
		return NULL;
	if (groups != 0 && setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVBUFFORCE,
				   &room, sizeof(room)) != 0)
		(void)setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVBUF, &room,
			sizeof(room));
	if (mnl_socket_bind(nl, groups, MNL_SOCKET_AUTOPID) != 0) {
		int err = errno;

		(void)mnl_socket_close(nl);
		errno = err;
		return NULL;
	}
	return nl;
}

static void sockets_close(struct spd *s)
{
	if (s->change != NULL)
		(void)mnl_socket_close(s->change);
	if (s->listen != NULL)
		(void)mnl_socket_close(s->listen);
	free(s);
}

int spd_new(uv_loop_t *loop, const struct spd_conf *conf, struct spd **spd, char *why,
	size_t why_size)
{
	struct spd *s = calloc(1, sizeof(*s));
	int err = 0;

	if (s == NULL)
		return -ENOMEM;
	s->conf = *conf;
	s->change = socket_open(0);
	if (s->change != NULL)
		s->listen = socket_open(XFRMGRP_ACQUIRE);
	if (s->listen == NULL) {
		err = errno != 0 ? -errno : -EIO;
		(void)snprintf(why, why_size,
			err == -EPERM ? "cannot listen for XFRM's ACQUIREs: %s; start as "
					"root, or give the program CAP_NET_ADMIN"
				      : "this kernel has no XFRM netlink: %s",
			err_text(err));
		sockets_close(s);
		return err;
	}
	(void)uv_poll_init(loop, &s->poll, mnl_socket_get_fd(s->listen));
	s->poll.data = s;
	(void)uv_poll_start(&s->poll, UV_READABLE, on_readable);
	*spd = s;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	sockets_close(handle->data);
}

void spd_free(struct spd *s)
{
	if (s != NULL)
		uv_close((uv_handle_t *)&s->poll, on_closed);
}
