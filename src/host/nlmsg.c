/*
 * One request, one acknowledgement, or a dump to its end.
 */
#include "host/nlmsg.h"

#include <errno.h>
#include <stdlib.h>

#define DUMP_SIZE 32768

int nlmsg_open(int bus, struct nl **nl)
{
	struct nl *new = calloc(1, sizeof(*new));

	if (new == NULL)
		return -ENOMEM;
	new->socket = mnl_socket_open2(bus, SOCK_CLOEXEC);
	if (new->socket == NULL || mnl_socket_bind(new->socket, 0, MNL_SOCKET_AUTOPID)) {
		int err = -errno;

		nl_close(new);
		return err;
	}
	*nl = new;
	return 0;
}

void nl_close(struct nl *nl)
{
	if (nl == NULL)
		return;
	if (nl->socket != NULL)
		(void)mnl_socket_close(nl->socket);
	free(nl);
}

struct nlmsghdr *nlmsg_new(struct nl *nl, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(nl->buf);

	h->nlmsg_type = type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	h->nlmsg_seq = ++nl->seq;
	return h;
}

int nlmsg_talk(struct nl *nl, const struct nlmsghdr *h, mnl_cb_t fn, void *ctx)
{
	char *answers = malloc(DUMP_SIZE);
	int result = MNL_CB_OK;

	if (answers == NULL)
		return -ENOMEM;
	if (mnl_socket_sendto(nl->socket, h, h->nlmsg_len) < 0)
		result = MNL_CB_ERROR;
	while (result > MNL_CB_STOP) {
		ssize_t n = mnl_socket_recvfrom(nl->socket, answers, DUMP_SIZE);

		if (n < 0) {
			result = MNL_CB_ERROR;
			break;
		}
		result = mnl_cb_run(answers, (size_t)n, nl->seq,
			mnl_socket_get_portid(nl->socket), fn, ctx);
	}
	if (result == MNL_CB_ERROR)
		result = errno != 0 ? -errno : -EIO;
	free(answers);
	return result < 0 ? result : 0;
}

int nlmsg_change(struct nl *nl, const struct nlmsghdr *h)
{
	return nlmsg_talk(nl, h, NULL, NULL);
}

const struct nlattr *nlmsg_first(const struct nlmsghdr *h, size_t header)
{
	return mnl_nlmsg_get_payload_offset(h, header);
}

bool nlmsg_more(const struct nlmsghdr *h, const struct nlattr *attr)
{
	return mnl_attr_ok(attr,
		(int)((const char *)mnl_nlmsg_get_payload_tail(h) - (const char *)attr));
}
