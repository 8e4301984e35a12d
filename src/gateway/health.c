/* Where the reasons come from.  Each says what is wrong and what to do. */
#include "gateway/health.h"

#include "base/log.h"
#include "gateway/rsipd.h"

#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct list {
	struct health_reason *at;
	size_t n;
};

static void put(struct list *l, const char *name, bool fault, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void put(struct list *l, const char *name, bool fault, const char *format, ...)
{
	struct health_reason *r = &l->at[l->n];
	va_list args;

	if (l->n == HEALTH_MAX)
		return;
	r->name = name;
	r->fault = fault;
	va_start(args, format);
	(void)vsnprintf(r->text, sizeof(r->text), format, args);
	va_end(args);
	l->n++;
}

/* --- links ----------------------------------------------------------------------------
 */

static const char *const link_words[] = {
	[HEALTH_LINK_UP] = "",
	[HEALTH_LINK_MISSING] = "is not there; packets pass again once it is",
	[HEALTH_LINK_DOWN] = "is down; set it up, and packets pass again",
	[HEALTH_LINK_NO_CARRIER] = "has no carrier; see to its cable or peer",
};

static enum health_link link_state(int fd, const char *name)
{
	struct ifreq r = { 0 };

	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFFLAGS, &r) != 0)
		return HEALTH_LINK_MISSING;
	if (!(r.ifr_flags & IFF_UP))
		return HEALTH_LINK_DOWN;
	return r.ifr_flags & IFF_RUNNING ? HEALTH_LINK_UP : HEALTH_LINK_NO_CARRIER;
}

static void look_links(struct rsipd *d)
{
	int fd;

	if (d->plane.dp == NULL || d->plane.private_interface[0] == 0)
		return;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return; /* out of descriptors: they stay as they were */
	d->links[0] = link_state(fd, d->plane.private_interface);
	d->links[1] = link_state(fd, d->plane.public_interface);
	(void)close(fd);
}

static void put_links(struct list *l, const struct rsipd *d)
{
	const char *names[] = { d->plane.private_interface, d->plane.public_interface };

	for (size_t i = 0; i < 2; i++)
		if (d->links[i] != HEALTH_LINK_UP)
			put(l, "link", true, "interface %s %s", names[i],
				link_words[d->links[i]]);
}

/* --- all ------------------------------------------------------------------------------
 */

static void put_pools(struct list *l, const struct rsipd *d)
{
	for (size_t i = 0; i < d->water.n_pools; i++) {
		const struct water_pool *p = &d->water.pools[i];

		if (p->high)
			put(l, "pool", false,
				"pool %s: %u %% of its ports are in use; add addresses, "
				"or "
				"lower what hosts may hold",
				p->name, p->percent);
		else if (p->high_addresses > 0)
			put(l, "pool", false,
				"pool %s: %u of its %llu addresses are nearly full",
				p->name, p->high_addresses,
				(unsigned long long)p->addresses);
	}
}

size_t health_reasons(const struct rsipd *d, struct health_reason out[static HEALTH_MAX])
{
	struct list l = { out, 0 };

	if (d->turn.lost)
		put(&l, "store", true,
			"the store failed for so long that records were lost; restart "
			"rsipd when it works again");
	else if (d->fault[0] != 0)
		put(&l, d->turn.failing ? "store" : "dataplane", true, "%s", d->fault);
	if (audit_error(d->audit)[0] != 0)
		put(&l, "audit", true, "%s", audit_error(d->audit));
	put_links(&l, d);
	put_pools(&l, d);
	return l.n;
}

/* The first fault, "" when there is none. */
static const char *first_fault(const struct rsipd *d, struct health_reason *reasons)
{
	size_t n = health_reasons(d, reasons);

	return n > 0 && reasons[0].fault ? reasons[0].text : "";
}

void health_look(struct rsipd *d)
{
	struct health_reason reasons[HEALTH_MAX];
	uint64_t now_ms = rsipd_clock_ms();
	struct event e = { .kind = EVENT_HEALTH };

	water_look(&d->water, now_ms);
	look_links(d);
	e.health = first_fault(d, reasons);
	if (strcmp(e.health, d->health_told) == 0)
		return;
	(void)snprintf(d->health_told, sizeof(d->health_told), "%s", e.health);
	e.at = audit_time_now(now_ms);
	events_put(&d->events, &e);
	if (e.health[0] != 0)
		log_warn("not healthy", "reason=\"%s\"", e.health);
	else
		log_info("healthy again", "%s", "");
}
