/*
 * The "netdev" family of generic netlink tells what an interface can do (Linux 6.3);
 * before that only the driver's name is a hint.
 */
#include "dataplane/xdp/links.h"

#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of linux/netdev.h, which older headers lack. */
#define DEV_GET      1
#define DEV_IFINDEX  1
#define DEV_FEATURES 3
#define ACT_NDO_XMIT 4
#define ATTRS        8 /* that are looked at */

static int on_attr(const struct nlattr *a, void *data)
{
	const struct nlattr **of = data;

	if (mnl_attr_get_type(a) < ATTRS)
		of[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

static int on_answer(const struct nlmsghdr *m, void *data)
{
	(void)mnl_attr_parse(m, sizeof(struct genlmsghdr), on_attr, data);
	return MNL_CB_STOP;
}

/* One request; of[]: the attributes of its answer, in buf.  0 or -1. */
static int ask(struct mnl_socket *s, char *buf, size_t size, struct nlmsghdr *m,
	const struct nlattr *of[ATTRS])
{
	for (int i = 0; i < ATTRS; i++)
		of[i] = NULL;
	m->nlmsg_flags = NLM_F_REQUEST;
	if (mnl_socket_sendto(s, m, m->nlmsg_len) < 0)
		return -1;
	ssize_t n = mnl_socket_recvfrom(s, buf, size);
	return n < 0 ? -1 : mnl_cb_run(buf, (size_t)n, 0, 0, on_answer, of);
}

static struct nlmsghdr *request(char *buf, uint16_t family, uint8_t cmd)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(buf);
	struct genlmsghdr *g;

	m->nlmsg_type = family;
	g = mnl_nlmsg_put_extra_header(m, sizeof *g);
	g->cmd = cmd;
	g->version = 1;
	return m;
}

/* 1, 0, or -1 where this kernel does not say. */
static int ask_features(struct mnl_socket *s, unsigned int index)
{
	char buf[8192];
	const struct nlattr *of[ATTRS];
	struct nlmsghdr *m = request(buf, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);

	mnl_attr_put_strz(m, CTRL_ATTR_FAMILY_NAME, "netdev");
	if (ask(s, buf, sizeof buf, m, of) < 0 || !of[CTRL_ATTR_FAMILY_ID])
		return -1;
	m = request(buf, mnl_attr_get_u16(of[CTRL_ATTR_FAMILY_ID]), DEV_GET);
	mnl_attr_put_u32(m, DEV_IFINDEX, index);
	if (ask(s, buf, sizeof buf, m, of) < 0 || !of[DEV_FEATURES])
		return -1;
	return (mnl_attr_get_u64(of[DEV_FEATURES]) & ACT_NDO_XMIT) != 0;
}

static bool is_veth(unsigned int index)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq r = { .ifr_data = (void *)&info };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool veth = if_indextoname(index, r.ifr_name) && fd >= 0 &&
		    ioctl(fd, SIOCETHTOOL, &r) == 0 && strcmp(info.driver, "veth") == 0;

	if (fd >= 0)
		(void)close(fd);
	return veth;
}

bool links_take_frames(unsigned int index)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
	int known = s && mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) == 0
			    ? ask_features(s, index)
			    : -1;

	if (s)
		(void)mnl_socket_close(s);
	return known < 0 ? !is_veth(index) : known == 1;
}
