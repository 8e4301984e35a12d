/*
 * SAs by XFRM netlink.  What changed is found out by looking at all of them: the dump is
 * filtered by address in the kernel, and larval states, which matter most, cause no event
 * anyway.
 */
#include "host/xfrm.h"

#include "host/nlmsg.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/xfrm.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESS_BITS 32

int xfrm_open(struct nl **nl)
{
	return nlmsg_open(NETLINK_XFRM, nl);
}

/* --- looking --------------------------------------------------------------------------
 */

struct sa_list {
	struct xfrm_sa *list;
	size_t n, room;
	uint32_t dst;
	int err;
};

static void attributes_read(const struct nlmsghdr *h, struct xfrm_sa *sa)
{
	const struct nlattr *attr = nlmsg_first(h, sizeof(struct xfrm_usersa_info));

	for (; nlmsg_more(h, attr); attr = mnl_attr_next(attr)) {
		const struct xfrm_mark *mark;

		switch (mnl_attr_get_type(attr)) {
		case XFRMA_ALG_AEAD:
		case XFRMA_ALG_AUTH:
		case XFRMA_ALG_AUTH_TRUNC:
		case XFRMA_ALG_CRYPT:
			sa->larval = false;
			break;
		case XFRMA_MARK:
			mark = mnl_attr_get_payload(attr);
			sa->mark = mark->v;
			sa->mask = mark->m;
			break;
		default:
			break;
		}
	}
}

static int on_sa(const struct nlmsghdr *h, void *ctx)
{
	struct sa_list *list = ctx;
	const struct xfrm_usersa_info *info = mnl_nlmsg_get_payload(h);
	struct xfrm_sa sa = { .larval = true };

	if (h->nlmsg_type != XFRM_MSG_NEWSA || info->family != AF_INET ||
		(info->id.proto != IPPROTO_ESP && info->id.proto != IPPROTO_AH))
		return MNL_CB_OK;
	sa.src = ntohl(info->saddr.a4);
	sa.dst = ntohl(info->id.daddr.a4);
	sa.spi = ntohl(info->id.spi);
	sa.proto = info->id.proto;
	sa.added_s = info->curlft.add_time;
	/* Without SPI: the kernel waits for a daemon to make one. */
	if (sa.spi == 0 || sa.dst != list->dst)
		return MNL_CB_OK;
	attributes_read(h, &sa);
	if (list->n == list->room) {
		size_t room = list->room > 0 ? 2 * list->room : 16;
		struct xfrm_sa *more = realloc(list->list, room * sizeof(*more));

		if (more == NULL) {
			list->err = -ENOMEM;
			return MNL_CB_OK;
		}
		list->list = more;
		list->room = room;
	}
	list->list[list->n++] = sa;
	return MNL_CB_OK;
}

int xfrm_list(struct nl *nl, uint32_t dst, struct xfrm_sa **result, size_t *n)
{
	struct nlmsghdr *h = nlmsg_new(nl, XFRM_MSG_GETSA, NLM_F_DUMP);
	struct xfrm_address_filter filter = {
		.daddr.a4 = htonl(dst),
		.family = AF_INET,
		.dplen = ADDRESS_BITS,
	};
	struct sa_list list = { .dst = dst };
	int err;

	/* The header of a dump is of no account, but must have its size. */
	memset(mnl_nlmsg_put_extra_header(h, sizeof(struct xfrm_usersa_id)), 0,
		sizeof(struct xfrm_usersa_id));
	mnl_attr_put(h, XFRMA_ADDRESS_FILTER, sizeof(filter), &filter);
	err = nlmsg_talk(nl, h, on_sa, &list);
	if (err == 0)
		err = list.err;
	if (err != 0) {
		free(list.list);
		return err;
	}
	*result = list.list;
	*n = list.n;
	return 0;
}

/* --- ending ---------------------------------------------------------------------------
 */

static void mark_put(struct nlmsghdr *h, const struct xfrm_sa *sa)
{
	struct xfrm_mark mark = { .v = sa->mark, .m = sa->mask };

	if (sa->mask != 0)
		mnl_attr_put(h, XFRMA_MARK, sizeof(mark), &mark);
}

static int sa_delete(struct nl *nl, const struct xfrm_sa *sa)
{
	struct nlmsghdr *h = nlmsg_new(nl, XFRM_MSG_DELSA, NLM_F_ACK);
	struct xfrm_usersa_id *id = mnl_nlmsg_put_extra_header(h, sizeof(*id));

	memset(id, 0, sizeof(*id));
	id->daddr.a4 = htonl(sa->dst);
	id->spi = htonl(sa->spi);
	id->family = AF_INET;
	id->proto = sa->proto;
	mark_put(h, sa);
	return nlmsg_change(nl, h);
}

static int sa_expire(struct nl *nl, const struct xfrm_sa *sa)
{
	struct nlmsghdr *h = nlmsg_new(nl, XFRM_MSG_EXPIRE, NLM_F_ACK);
	struct xfrm_user_expire *expire = mnl_nlmsg_put_extra_header(h, sizeof(*expire));

	memset(expire, 0, sizeof(*expire));
	expire->state.id.daddr.a4 = htonl(sa->dst);
	expire->state.id.spi = htonl(sa->spi);
	expire->state.id.proto = sa->proto;
	expire->state.family = AF_INET;
	expire->hard = 1;
	mark_put(h, sa);
	return nlmsg_change(nl, h);
}

int xfrm_end(struct nl *nl, const struct xfrm_sa *sa)
{
	/* A larval one cannot expire, nor can one that is on its way out. */
	if (!sa->larval && sa_expire(nl, sa) == 0)
		return 0;
	return sa_delete(nl, sa);
}

/* --- watching -------------------------------------------------------------------------
 */

int xfrm_watch_open(int *fd)
{
	struct sockaddr_nl addr = {
		.nl_family = AF_NETLINK,
		.nl_groups = 1u << (XFRMNLGRP_SA - 1) | 1u << (XFRMNLGRP_EXPIRE - 1),
	};
	int f = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_XFRM);

	if (f < 0)
		return -errno;
	if (bind(f, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
		int err = -errno;

		(void)close(f);
		return err;
	}
	*fd = f;
	return 0;
}
