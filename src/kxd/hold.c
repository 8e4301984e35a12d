/*
 * NFQUEUE by libmnl: packets come as netlink messages and go on by a verdict with their
 * number.  The rules let pass what a dead daemon would otherwise stop (queue-bypass): the
 * traps are the guard, not the queue.
 */
#include "kxd/hold.h"

#include "base/err.h"
#include "base/rd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS  128 /* bytes of each packet that we look at */
#define ROOM     65536
#define SWEEP_MS 250

struct held {
	uint32_t id, src, dst;
	uint64_t since_ms;
};

struct hold {
	struct hold_conf conf;
	uv_loop_t *loop;
	struct mnl_socket *nl;
	uv_poll_t poll;
	uv_timer_t sweep;
	struct held held[HOLD_MAX];
	struct hold_counters counters;
	unsigned int handles;
};

bool hold_parse(const uint8_t *bytes, size_t len, struct hold_packet *p)
{
	struct rd r = rd_init(bytes, len);
	uint8_t first = rd_u8(&r);
	size_t header = (size_t)(first & 15) * 4;
	uint16_t fragment;

	*p = (struct hold_packet){ 0 };
	if (first >> 4 != 4 || header < 20)
		return false;
	(void)rd_take(&r, 5);
	fragment = rd_u16(&r);
	(void)rd_u8(&r);
	p->protocol = rd_u8(&r);
	(void)rd_u16(&r);
	p->src = rd_u32(&r);
	p->dst = rd_u32(&r);
	(void)rd_take(&r, header - 20);
	if (r.bad)
		return false;
	/* Behind the first fragment there are no ports. */
	if ((fragment & 0x1fff) == 0 &&
		(p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP ||
			p->protocol == IPPROTO_SCTP)) {
		p->sport = rd_u16(&r);
		p->dport = rd_u16(&r);
		if (r.bad)
			p->sport = p->dport = 0;
	}
	return true;
}

static struct nlmsghdr *request(char *buf, uint8_t type, uint16_t queue, uint16_t flags)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg;

	h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type);
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	nfg = mnl_nlmsg_put_extra_header(h, sizeof(*nfg));
	nfg->nfgen_family = AF_UNSPEC;
	nfg->version = NFNETLINK_V0;
	nfg->res_id = htons(queue);
	return h;
}

static void verdict(struct hold *h, uint32_t id, bool pass)
{
	char buf[256];
	struct nlmsghdr *nlh = request(buf, NFQNL_MSG_VERDICT, h->conf.queue, 0);
	const struct nfqnl_msg_verdict_hdr v = {
		.verdict = htonl(pass ? NF_ACCEPT : NF_DROP),
		.id = htonl(id),
	};

	mnl_attr_put(nlh, NFQA_VERDICT_HDR, sizeof(v), &v);
	/* One that cannot be sent leaves the packet to the queue's end: it is dropped. */
	(void)mnl_socket_sendto(h->nl, nlh, nlh->nlmsg_len);
}

static bool keep(struct hold *h, uint32_t id, const struct hold_packet *p)
{
	struct held *free_one = NULL;

	for (size_t i = 0; i < HOLD_MAX && free_one == NULL; i++)
		if (h->held[i].since_ms == 0)
			free_one = &h->held[i];
	if (free_one == NULL) {
		h->counters.full++;
		return false;
	}
	/* Entered before it is asked about: the decision may be there at once. */
	*free_one = (struct held){ id, p->src, p->dst, uv_now(h->loop) + 1 };
	h->counters.held++;
	if (h->conf.keep(h->conf.ctx, p)) {
		h->counters.kept++;
		return true;
	}
	if (free_one->since_ms == 0)
		return true; /* released meanwhile */
	free_one->since_ms = 0;
	h->counters.held--;
	return false;
}

static int on_packet(const struct nlmsghdr *nlh, void *ctx)
{
	const struct nfqnl_msg_packet_hdr *head = NULL;
	struct hold *h = ctx;
	const struct nlattr *attr =
		mnl_nlmsg_get_payload_offset(nlh, sizeof(struct nfgenmsg));
	const char *tail = mnl_nlmsg_get_payload_tail(nlh);
	const uint8_t *bytes = NULL;
	struct hold_packet p;
	size_t len = 0;

	for (; mnl_attr_ok(attr, (int)(tail - (const char *)attr));
		attr = mnl_attr_next(attr)) {
		if (mnl_attr_get_type(attr) == NFQA_PACKET_HDR &&
			mnl_attr_get_payload_len(attr) >= sizeof(*head))
			head = mnl_attr_get_payload(attr);
		if (mnl_attr_get_type(attr) == NFQA_PAYLOAD) {
			bytes = mnl_attr_get_payload(attr);
			len = mnl_attr_get_payload_len(attr);
		}
	}
	if (head == NULL)
		return MNL_CB_OK;
	h->counters.seen++;
	if (!hold_parse(bytes, len, &p) || !keep(h, ntohl(head->packet_id), &p))
		verdict(h, ntohl(head->packet_id), true);
	return MNL_CB_OK;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct hold *h = poll->data;
	char *buf = malloc(ROOM);

	(void)status, (void)events;
	for (int i = 0; buf != NULL && i < 64; i++) {
		ssize_t n = recv(mnl_socket_get_fd(h->nl), buf, ROOM, MSG_DONTWAIT);

		if (n <= 0)
			break;
		(void)mnl_cb_run(buf, (size_t)n, 0, 0, on_packet, h);
	}
	free(buf);
}

static void let_go(struct hold *h, struct held *p, bool pass)
{
	p->since_ms = 0;
	h->counters.held--;
	verdict(h, p->id, pass);
}

void hold_release(struct hold *h, uint32_t src, uint32_t dst, bool pass)
{
	for (size_t i = 0; h->counters.held > 0 && i < HOLD_MAX; i++) {
		struct held *p = &h->held[i];

		if (p->since_ms == 0 || p->src != src || p->dst != dst)
			continue;
		let_go(h, p, pass);
		h->counters.released += pass;
		h->counters.dropped += !pass;
	}
}

static void on_sweep(uv_timer_t *timer)
{
	struct hold *h = timer->data;
	uint64_t now = uv_now(h->loop);

	for (size_t i = 0; h->counters.held > 0 && i < HOLD_MAX; i++) {
		struct held *p = &h->held[i];

		if (p->since_ms == 0 || now - p->since_ms < h->conf.most_ms)
			continue;
		let_go(h, p, true);
		h->counters.late++;
	}
}

const struct hold_counters *hold_count(const struct hold *h)
{
	return &h->counters;
}

/* --- life -----------------------------------------------------------------------------
 */

static int acknowledged(struct hold *h, const struct nlmsghdr *nlh)
{
	char buf[8192];
	ssize_t n;

	if (mnl_socket_sendto(h->nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	n = mnl_socket_recvfrom(h->nl, buf, sizeof(buf));
	if (n < 0 || mnl_cb_run(buf, (size_t)n, 0, 0, NULL, NULL) < 0)
		return errno != 0 ? -errno : -EIO;
	return 0;
}

static int queue_bind(struct hold *h)
{
	const struct nfqnl_msg_config_cmd bind = { .command = NFQNL_CFG_CMD_BIND };
	const struct nfqnl_msg_config_params params = {
		.copy_range = htonl(HEADERS),
		.copy_mode = NFQNL_COPY_PACKET,
	};
	char buf[512];
	struct nlmsghdr *nlh = request(buf, NFQNL_MSG_CONFIG, h->conf.queue, NLM_F_ACK);
	int err;

	mnl_attr_put(nlh, NFQA_CFG_CMD, sizeof(bind), &bind);
	err = acknowledged(h, nlh);
	if (err != 0)
		return err;
	nlh = request(buf, NFQNL_MSG_CONFIG, h->conf.queue, NLM_F_ACK);
	mnl_attr_put(nlh, NFQA_CFG_PARAMS, sizeof(params), &params);
	mnl_attr_put_u32(nlh, NFQA_CFG_QUEUE_MAXLEN, htonl(2 * HOLD_MAX));
	return acknowledged(h, nlh);
}

int hold_new(uv_loop_t *loop, const struct hold_conf *conf, struct hold **hold, char *why,
	size_t why_size)
{
	struct hold *h = calloc(1, sizeof(*h));
	int err;

	if (h == NULL)
		return -ENOMEM;
	h->conf = *conf;
	h->loop = loop;
	h->nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	err = h->nl == NULL || mnl_socket_bind(h->nl, 0, MNL_SOCKET_AUTOPID) != 0
		      ? -errno
		      : queue_bind(h);
	if (err != 0) {
		(void)snprintf(why, why_size,
			"cannot hold packets in NFQUEUE %u: %s; another program may have "
			"it (hold-queue), or the kernel has none (hold = false)",
			conf->queue, err_text(err));
		if (h->nl != NULL)
			(void)mnl_socket_close(h->nl);
		free(h);
		return err;
	}
	(void)uv_poll_init(loop, &h->poll, mnl_socket_get_fd(h->nl));
	(void)uv_timer_init(loop, &h->sweep);
	h->poll.data = h->sweep.data = h;
	h->handles = 2;
	(void)uv_poll_start(&h->poll, UV_READABLE, on_readable);
	(void)uv_timer_start(&h->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	*hold = h;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct hold *h = handle->data;

	if (--h->handles > 0)
		return;
	(void)mnl_socket_close(h->nl);
	free(h);
}

void hold_free(struct hold *h)
{
	if (h == NULL)
		return;
	uv_close((uv_handle_t *)&h->poll, on_closed);
	uv_close((uv_handle_t *)&h->sweep, on_closed);
}
