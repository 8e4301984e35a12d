/*
 * Driver `fake`.
 */
#include "dataplane/fake.h"

#include "dataplane/drivers.h"
#include "dataplane/htab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	struct htab_node node;
	uint32_t bind_id;
	struct lease lease;
	struct range *ports, *spis; /* of the lease */
};

struct dp {
	struct htab leases;
	struct dp_events events;
	struct dp_stats stats;
	struct fake_call *calls;
	size_t n_calls, room;
	unsigned int failing;
	int err;
};

static void entry_release(void *at)
{
	struct entry *e = at;

	free(e->ports);
	free(e->spis);
	free(e);
}

static int fake_open(const struct dp_conf *conf, const struct dp_events *events,
	struct dp **dp, char *why, size_t why_size)
{
	struct dp *d = calloc(1, sizeof *d);

	(void)conf;
	if (why_size)
		why[0] = '\0';
	if (!d || htab_init(&d->leases, sizeof(uint32_t), 1)) {
		free(d);
		return -ENOMEM;
	}
	if (events)
		d->events = *events;
	*dp = d;
	return 0;
}

static int record(struct dp *d, struct fake_call call)
{
	if (d->n_calls == d->room) {
		size_t room = d->room ? d->room * 2 : 64;
		struct fake_call *bigger = reallocarray(d->calls, room, sizeof *bigger);

		if (!bigger)
			return -ENOMEM;
		d->calls = bigger;
		d->room = room;
	}
	d->calls[d->n_calls++] = call;
	return 0;
}

static struct range *copy(const struct range *r, size_t n)
{
	struct range *c = calloc(n ? n : 1, sizeof *c);

	if (c && n)
		memcpy(c, r, n * sizeof *c);
	return c;
}

static void fake_remove(struct dp *d, uint32_t bind_id)
{
	struct entry *e = htab_find(&d->leases, &bind_id);

	(void)record(d, (struct fake_call){ FAKE_REMOVE, bind_id });
	if (e) {
		htab_del(&d->leases, e);
		entry_release(e);
	}
}

static int fake_install(struct dp *d, const struct lease *lease)
{
	if (d->failing) {
		d->failing--;
		return d->err;
	}
	struct entry *e = calloc(1, sizeof *e);
	if (!e || record(d, (struct fake_call){ FAKE_INSTALL, lease->bind_id })) {
		free(e);
		return -ENOMEM;
	}
	e->bind_id = lease->bind_id;
	e->lease = *lease;
	e->lease.ports = e->ports = copy(lease->ports, lease->n_ports);
	e->lease.spis = e->spis = copy(lease->spis, lease->n_spis);
	struct entry *old = htab_find(&d->leases, &lease->bind_id);
	if (old) {
		htab_del(&d->leases, old);
		entry_release(old);
	}
	htab_add(&d->leases, e);
	return 0;
}

static void stats(struct dp *d, struct dp_stats *out)
{
	*out = d->stats;
}

static int fds(struct dp *d, int out[4])
{
	(void)d;
	out[0] = -1; /* nothing to poll */
	return 0;
}

static void service(struct dp *d, uint64_t now_ms)
{
	(void)d;
	(void)now_ms;
}

static uint64_t deadline(const struct dp *d)
{
	(void)d;
	return UINT64_MAX;
}

static void fake_close(struct dp *d)
{
	if (!d)
		return;
	htab_clear(&d->leases, entry_release);
	htab_fini(&d->leases);
	free(d->calls);
	free(d);
}

const struct dp_driver dp_fake = { "fake", false, fake_open, fake_install, fake_remove,
	NULL, stats, fds, service, deadline, fake_close };

size_t fake_calls(const struct dp *d, const struct fake_call **calls)
{
	*calls = d->calls;
	return d->n_calls;
}

const struct lease *fake_lease(const struct dp *d, uint32_t bind_id)
{
	const struct entry *e = htab_find(&d->leases, &bind_id);

	return e ? &e->lease : NULL;
}

size_t fake_leases(const struct dp *d)
{
	return d->leases.n;
}

void fake_fail(struct dp *d, unsigned int n, int err)
{
	d->failing = n;
	d->err = err;
}

void fake_misuse(struct dp *d, uint32_t host, uint16_t error, uint32_t bind_id)
{
	if (d->events.misuse)
		d->events.misuse(d->events.ctx, host, error, bind_id);
}

struct dp_stats *fake_stats(struct dp *d)
{
	return &d->stats;
}
