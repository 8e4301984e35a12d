/*
 * Settings of the namespace that follow the leases: local port range, reserved ports,
 * ARP.  The value before ours is saved, in the state too, before the first change.
 */
#include "base/err.h"
#include "base/log.h"
#include "host/discipline.h"
#include "host/host.h"
#include "host/sysctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESERVED_TEXT 65536

static const char *const saved_names[SAVED] = {
	[SAVED_PORT_RANGE] = "net/ipv4/ip_local_port_range",
	[SAVED_RESERVED] = "net/ipv4/ip_local_reserved_ports",
	[SAVED_ARP_IGNORE] = "net/ipv4/conf/all/arp_ignore",
};

/* --- sysctls --------------------------------------------------------------------------
 */

/* What was there goes to the state before anything is changed. */
static int saved_set(struct host *h, enum saved which, const char *value)
{
	if (h->saved[which] == NULL) {
		int err = sysctl_read(saved_names[which], &h->saved[which]);

		if (err == 0)
			err = state_save(h);
		if (err != 0)
			return err;
	}
	return sysctl_write(saved_names[which], value);
}

static void saved_restore(struct host *h, enum saved which)
{
	int err;

	if (h->saved[which] == NULL)
		return;
	err = sysctl_write(saved_names[which], h->saved[which]);
	if (err != 0)
		log_error("cannot restore a setting",
			"name=%s value=\"%s\" reason=\"%s\"", saved_names[which],
			h->saved[which], err_text(err));
	free(h->saved[which]);
	h->saved[which] = NULL;
	host_changed(h);
}

/* --- ports ----------------------------------------------------------------------------
 */

/*
 * Ports of the leases behind the first interface, which has the default route; sorted.
 * The kernel draws ports without regard to the address, so those of further gateways are
 * only for programs that name them.
 */
static int leased_ports(const struct host *h, struct range **ports, size_t *n)
{
	struct range *all = NULL;
	size_t have = 0;

	*ports = NULL;
	*n = 0;
	for (const struct hold *hold = h->holds; hold != NULL; hold = hold->next) {
		const struct rsip_grant *g = hold_grant(hold);
		struct range *more;

		if (g == NULL || !hold_joins(hold) || g->n_ports == 0 ||
			h->ifaces == NULL || hold->gw != h->ifaces->gw)
			continue;
		more = realloc(all, (have + g->n_ports) * sizeof(*all));
		if (more == NULL) {
			free(all);
			return -ENOMEM;
		}
		all = more;
		for (size_t i = 0; i < g->n_ports; i++)
			all[have++] = (struct range){ g->ports[i].lo, g->ports[i].hi };
	}
	*ports = all;
	*n = all != NULL ? ranges_normalise(all, have) : 0;
	return 0;
}

static bool holds_whole_address(const struct host *h)
{
	for (const struct hold *hold = h->holds; hold != NULL; hold = hold->next) {
		const struct rsip_grant *g = hold_grant(hold);

		if (g != NULL && hold_joins(hold) && g->kind == RSIP_RSA_IP)
			return true;
	}
	return false;
}

/* The value that a setting had before us; free it. */
static char *saved_before(const struct host *h, enum saved which)
{
	char *value = NULL;

	if (h->saved[which] != NULL)
		return strdup(h->saved[which]);
	return sysctl_read(saved_names[which], &value) == 0 ? value : NULL;
}

/* What nothing may draw besides the gaps: reserved before us, or an IKE daemon's. */
static int ports_kept(const struct host *h, struct range **kept, size_t *n)
{
	char *before = saved_before(h, SAVED_RESERVED);
	struct range *ranges = NULL, *more;
	size_t have = 0;
	int err = discipline_parse(before != NULL ? before : "", &ranges, &have);

	free(before);
	if (err != 0)
		return err;
	more = realloc(ranges, (have + 2) * sizeof(*ranges));
	if (more == NULL) {
		free(ranges);
		return -ENOMEM;
	}
	for (int i = 0; i < 2; i++)
		if (h->ike[i].hi != 0)
			more[have++] = h->ike[i];
	*kept = more;
	*n = have;
	return 0;
}

static int discipline_apply(struct host *h, const struct discipline *d)
{
	char range[32], *reserved = malloc(RESERVED_TEXT);
	int err, len;

	if (reserved == NULL)
		return -ENOMEM;
	(void)snprintf(range, sizeof(range), "%u %u", d->lo, d->hi);
	len = ranges_format(d->reserved, d->n_reserved, false, reserved, RESERVED_TEXT);
	err = len < RESERVED_TEXT ? 0 : ERR_NOSPACE;
	/* The gaps first, so that there is no moment in which one may be drawn. */
	if (err == 0)
		err = saved_set(h, SAVED_RESERVED, reserved);
	if (err == 0)
		err = saved_set(h, SAVED_PORT_RANGE, range);
	free(reserved);
	return err;
}

int settings_ports(struct host *h)
{
	struct range *leased, *kept = NULL;
	struct discipline d = { 0 };
	char *floor = NULL;
	size_t n, n_kept = 0;
	int err = leased_ports(h, &leased, &n);

	if (err != 0)
		return err;
	if (n > 0 && !holds_whole_address(h)) {
		err = ports_kept(h, &kept, &n_kept);
		if (err == 0)
			err = sysctl_read("net/ipv4/ip_unprivileged_port_start", &floor);
		if (err == 0)
			err = discipline_plan(leased, n, kept, n_kept,
				(uint32_t)strtoul(floor, NULL, 10), &d);
	}
	if (err == 0 && d.confine) {
		err = discipline_apply(h, &d);
	} else if (err == 0 && h->ifaces == NULL) {
		/* While `up` lasts, a lost lease frees no other port. */
		saved_restore(h, SAVED_PORT_RANGE);
		saved_restore(h, SAVED_RESERVED);
	}
	discipline_fini(&d);
	free(floor);
	free(kept);
	free(leased);
	return err;
}

/*
 * The leased address is on the tunnel interface only; with arp_ignore 1 no other link
 * answers for it (RFC 3102 section 3.1).  Values 1, 2 and 8 hold that already.
 */
int settings_arp(struct host *h)
{
	char *now;
	int err;

	if (h->ifaces == NULL) {
		saved_restore(h, SAVED_ARP_IGNORE);
		return 0;
	}
	err = sysctl_read(saved_names[SAVED_ARP_IGNORE], &now);
	if (err != 0)
		return err;
	if (strcmp(now, "1") != 0 && strcmp(now, "2") != 0 && strcmp(now, "8") != 0)
		err = saved_set(h, SAVED_ARP_IGNORE, "1");
	free(now);
	return err;
}
