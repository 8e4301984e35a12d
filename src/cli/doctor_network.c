/* Settings of the kernel that get in the way, and who else wants the same ports. */
#include "cli/doctor.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IPV4 "/proc/sys/net/ipv4"

/* The kernel takes the larger of the two. */
static long rp_filter(const char *interface)
{
	long all = doctor_number(0, IPV4 "/conf/all/rp_filter");
	long own = doctor_number(0, IPV4 "/conf/%s/rp_filter", interface);

	return all > own ? all : own;
}

static void check_rp_filter(struct doctor *d, const char *interface)
{
	char todo[160];

	(void)snprintf(todo, sizeof(todo),
		"sysctl net.ipv4.conf.%s.rp_filter=2 net.ipv4.conf.all.rp_filter=0, "
		"unless "
		"every host is reached by one way only",
		interface);
	if (rp_filter(interface) == 1)
		doctor_add(d, "rp_filter", DOCTOR_WARNING, todo,
			"%s drops packets whose way back is another one (rp_filter 1)",
			interface);
	else
		doctor_add(d, "rp_filter", DOCTOR_OK, NULL, "%s: not strict", interface);
}

/* --- connection tracking --------------------------------------------------------------
 */

/* Does the rule set translate addresses?  -1: cannot be read. */
static int has_nat(void)
{
	char line[512];
	int found = 0;
	FILE *f = popen("PATH=$PATH:/usr/sbin:/sbin nft list ruleset 2>&1", "re");

	if (f == NULL)
		return -1;
	while (fgets(line, sizeof(line), f) != NULL)
		if (strstr(line, "masquerade") != NULL || strstr(line, "snat to") != NULL)
			found = 1;
	return pclose(f) == 0 ? found : -1;
}

static void check_conntrack(struct doctor *d)
{
	int nat;

	if (doctor_number(-1, "/proc/sys/net/netfilter/nf_conntrack_count") < 0) {
		doctor_add(d, "conntrack", DOCTOR_OK, NULL, "is not in use");
		return;
	}
	nat = has_nat();
	if (nat > 0)
		doctor_add(d, "conntrack", DOCTOR_WARNING,
			"except the pool's addresses from the rule (ip saddr ... accept "
			"before it), and give NAT ports outside of the pool's",
			"a rule translates addresses (masquerade or snat)");
	else if (nat < 0)
		doctor_add(d, "conntrack", DOCTOR_WARNING, "run this as root to know",
			"in use; whether rules translate addresses could not be read");
	else
		doctor_add(d, "conntrack", DOCTOR_OK, NULL,
			"in use, but no rule translates addresses");
}

/* --- ports that two want --------------------------------------------------------------
 */

static bool is_taken(const struct conf *c, uint32_t address, struct range *ports)
{
	for (size_t i = 0; i < c->n_taken; i++)
		for (size_t k = 0; k < c->taken[i].n_addresses; k++)
			if (prefix_has(&c->taken[i].addresses[k], address) &&
				c->taken[i].n_ports > 0) {
				*ports = (struct range){ c->taken[i].ports[0].lo,
					c->taken[i].ports[c->taken[i].n_ports - 1].hi };
				return true;
			}
	return false;
}

static void check_own_address(
	struct doctor *d, uint32_t address, const struct range *ports)
{
	char line[64], text[ADDR_TEXT_MAX], todo[256], *end;
	unsigned long lo, hi;

	if (!doctor_read(IPV4 "/ip_local_port_range", line, sizeof(line)))
		return;
	lo = strtoul(line, &end, 10);
	hi = strtoul(end, NULL, 10);
	(void)snprintf(todo, sizeof(todo),
		"sysctl net.ipv4.ip_local_reserved_ports=%u-%u, or take ports out of the "
		"pool, or lease another address",
		ports->lo, ports->hi);
	if (lo <= ports->hi && hi >= ports->lo &&
		(!doctor_read(IPV4 "/ip_local_reserved_ports", line, sizeof(line)) ||
			line[0] == 0))
		doctor_add(d, "local ports", DOCTOR_PROBLEM, todo,
			"%s of the pool is the gateway's own, and its programs take "
			"ports "
			"%lu-%lu of it",
			addr_format(address, text), lo, hi);
	else
		doctor_add(d, "local ports", DOCTOR_OK, NULL,
			"%s of the pool is the gateway's own; its ports are apart or "
			"reserved",
			addr_format(address, text));
}

static void check_local_ports(struct doctor *d)
{
	struct ifaddrs *all, *i;
	struct range ports;

	if (getifaddrs(&all) != 0)
		return;
	for (i = all; i != NULL; i = i->ifa_next) {
		struct sockaddr_in at;
		uint32_t address;

		if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET)
			continue;
		memcpy(&at, i->ifa_addr, sizeof(at));
		address = ntohl(at.sin_addr.s_addr);
		if (is_taken(d->conf, address, &ports))
			check_own_address(d, address, &ports);
	}
	freeifaddrs(all);
}

/* --- a host ---------------------------------------------------------------------------
 */

static void check_default_route(struct doctor *d)
{
	char line[256];
	bool found = false;
	FILE *f = fopen("/proc/net/route", "re");

	/* Interface, destination, gateway, ... */
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		const char *destination = strchr(line, '\t');

		found |= destination != NULL &&
			 strncmp(destination, "\t00000000\t", 10) == 0;
	}
	if (f != NULL)
		(void)fclose(f);
	if (found)
		doctor_add(d, "route", DOCTOR_OK, NULL, "there is a default route");
	else
		doctor_add(d, "route", DOCTOR_WARNING,
			"ip route add default via GATEWAY, or name the gateway with -g",
			"there is no default route: no gateway can be guessed");
}

void doctor_network(struct doctor *d)
{
	if (d->conf == NULL) {
		check_rp_filter(d, "default");
		check_default_route(d);
		return;
	}
	if (strcmp(d->conf->driver, "none") == 0)
		return;
	if (d->conf->private_interface[0] != 0)
		check_rp_filter(d, d->conf->private_interface);
	check_conntrack(d);
	check_local_ports(d);
}
