/* The two interfaces of the gateway: there, up, large enough, fit for XDP. */
#include "cli/doctor.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

#define TUNNEL_GRE_OVERHEAD 24
/* What native XDP of the usual drivers takes: a page less what is around a frame. */
#define XDP_MTU_MOST 3498

static struct ifreq named(const char *name)
{
	struct ifreq r = { 0 };

	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	return r;
}

/* 0 when it cannot be told. */
static int mtu_of(const struct doctor *d, const char *name)
{
	struct ifreq r = named(name);

	return ioctl(d->fd, SIOCGIFMTU, &r) == 0 ? r.ifr_mtu : 0;
}

/* False when there is nothing more to say about it. */
static bool check_link(struct doctor *d, const char *which, const char *name)
{
	struct ifreq r = named(name);
	char todo[128];

	if (name[0] == 0) {
		doctor_add(d, "interface", DOCTOR_PROBLEM,
			"name it in the section dataplane", "there is no %s", which);
		return false;
	}
	if (ioctl(d->fd, SIOCGIFFLAGS, &r) != 0) {
		doctor_add(d, "interface", DOCTOR_PROBLEM,
			"look at ip link, and name one that is there", "%s %s: %s", which,
			name, strerror(errno));
		return false;
	}
	(void)snprintf(todo, sizeof(todo), "ip link set %s up", name);
	if (!(r.ifr_flags & IFF_UP))
		doctor_add(d, "interface", DOCTOR_PROBLEM, todo, "%s %s is down", which,
			name);
	else if (!(r.ifr_flags & IFF_RUNNING))
		doctor_add(d, "interface", DOCTOR_PROBLEM, "see to its cable or peer",
			"%s %s has no carrier", which, name);
	else
		doctor_add(d, "interface", DOCTOR_OK, NULL, "%s %s is up", which, name);
	return true;
}

/* A packet of the public side has to fit into the tunnel of the private one. */
static void check_mtu(struct doctor *d)
{
	int inside = mtu_of(d, d->conf->private_interface);
	int outside = mtu_of(d, d->conf->public_interface);
	char todo[256];

	if (inside == 0 || outside == 0)
		return;
	(void)snprintf(todo, sizeof(todo),
		"set the MTU of %s, and of every link to the hosts, to %d; or leave it: "
		"senders are told, but some firewalls drop what tells them",
		d->conf->private_interface, outside + TUNNEL_GRE_OVERHEAD);
	if (inside < outside + TUNNEL_GRE_OVERHEAD)
		doctor_add(d, "mtu", DOCTOR_WARNING, todo,
			"packets of %d bytes do not fit into tunnels over %s (MTU %d): "
			"peers may send %d at most",
			outside, d->conf->private_interface, inside,
			inside - TUNNEL_GRE_OVERHEAD);
	else
		doctor_add(d, "mtu", DOCTOR_OK, NULL, "tunnels carry whole packets");
}

static bool has_lro(const struct doctor *d, const char *name)
{
	struct ethtool_value v = { .cmd = ETHTOOL_GFLAGS };
	struct ifreq r = named(name);

	r.ifr_data = (void *)&v;
	return ioctl(d->fd, SIOCETHTOOL, &r) == 0 && (v.data & ETH_FLAG_LRO) != 0;
}

static bool is_bridge(const struct doctor *d, const char *name)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq r = named(name);

	r.ifr_data = (void *)&info;
	return ioctl(d->fd, SIOCETHTOOL, &r) == 0 && strcmp(info.driver, "bridge") == 0;
}

static void check_xdp(struct doctor *d, const char *name)
{
	int mtu = mtu_of(d, name);
	char todo[128];

	if (has_lro(d, name)) {
		(void)snprintf(todo, sizeof(todo), "ethtool -K %s lro off", name);
		doctor_add(d, "xdp", DOCTOR_WARNING, todo,
			"XDP is refused on %s: it joins packets (LRO)", name);
	} else if (mtu > XDP_MTU_MOST) {
		(void)snprintf(todo, sizeof(todo),
			"set it to %d or less: ip link set %s mtu", XDP_MTU_MOST, name);
		doctor_add(d, "xdp", DOCTOR_WARNING, todo,
			"most drivers refuse native XDP with an MTU of %d (%s)", mtu,
			name);
	} else if (is_bridge(d, name)) {
		doctor_add(d, "xdp", DOCTOR_WARNING,
			"put the bridge outside of the gateway, and name the link to it",
			"%s is a bridge: it takes generic XDP only, which is slow", name);
	} else {
		doctor_add(d, "xdp", DOCTOR_OK, NULL,
			"%s has none of the usual hindrances", name);
	}
}

void doctor_interfaces(struct doctor *d)
{
	const char *names[2];
	bool there = true;

	if (d->conf == NULL || strcmp(d->conf->driver, "none") == 0)
		return;
	names[0] = d->conf->private_interface;
	names[1] = d->conf->public_interface;
	there &= check_link(d, "private-interface", names[0]);
	there &= check_link(d, "public-interface", names[1]);
	if (!there)
		return;
	check_mtu(d);
	if (strcmp(d->conf->driver, "packet") == 0)
		return;
	for (size_t i = 0; i < 2; i++)
		check_xdp(d, names[i]);
}
