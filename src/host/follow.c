/*
 * Follow mode.  Everything is found out by comparing the kernel's SAs with the leases:
 * when an IKE message wants to leave, when the kernel says that SAs came or went, and now
 * and then.  The leases are holds (HOLD_FOLLOW), so that they survive the daemon, are
 * extended and asked for again like any other.
 */
#include "host/follow.h"

#include "base/err.h"
#include "base/limit.h"
#include "base/log.h"
#include "host/host.h"
#include "host/tunpkt.h"
#include "host/xfrm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PACKETS_MAX 64 /* that wait at once */
#define WAITS_MAX   16 /* SPIs that one of them waits for */
#define SPI_MIN     256
#define LOOK_S      10 /* without any event */
#define BRAKE_PER_S 1
#define BRAKE_BURST 5

struct counters {
	uint64_t looks;             /* dumps of the kernel's SAs */
	uint64_t messages;          /* IKE messages that were looked at */
	uint64_t kept, sent;        /* of them that waited; left afterwards */
	uint64_t lost_late;         /* not leased in time */
	uint64_t lost_full;         /* too many waited */
	uint64_t leased;            /* SPIs */
	uint64_t whole;             /* of them: seen only when the SA had its keys */
	uint64_t refused;           /* SPIs, by the gateway or for want of room */
	uint64_t unanswered, freed; /* SPIs asked for in vain; given back */
};

/* An IKE message that waits until its SPIs are leased. */
struct packet {
	struct packet *next;
	struct iface *iface;
	uint64_t until_ms;
	uint32_t addr; /* the SPIs' */
	uint32_t waits[WAITS_MAX];
	size_t n_waits;
	size_t len;
	uint8_t bytes[];
};

struct follow {
	struct host *host;
	uv_poll_t watch;
	uv_timer_t timer; /* the oldest packet's end */
	size_t handles;
	int fd;
	struct packet *packets; /* oldest first */
	size_t n_packets;
	unsigned int idle_s; /* since the last look */
	bool again;          /* something is not leased and not asked for */
	struct limit limit;  /* of lines in the log */
	struct limit brake;  /* of messages whose SPI was refused */
	struct counters count;
};

static uint64_t now_ms(void)
{
	return host_now_us() / 1000;
}

/* --- messages that wait ---------------------------------------------------------------
 */

static void packet_drop(struct follow *f, struct packet **at)
{
	struct packet *p = *at;

	*at = p->next;
	f->n_packets--;
	free(p);
}

static void on_late(uv_timer_t *timer);

static void timer_set(struct follow *f)
{
	uint64_t now = now_ms();

	if (f->packets == NULL)
		(void)uv_timer_stop(&f->timer);
	else
		(void)uv_timer_start(&f->timer, on_late,
			f->packets->until_ms > now ? f->packets->until_ms - now : 0, 0);
}

static void on_late(uv_timer_t *timer)
{
	struct follow *f = timer->data;

	while (f->packets != NULL && f->packets->until_ms <= now_ms()) {
		f->count.lost_late++;
		if (limit_take(&f->limit, 1, 5, now_ms()))
			log_warn("IKE message dropped: its SPI was not leased in time",
				"spi=0x%08" PRIx32, f->packets->waits[0]);
		packet_drop(f, &f->packets);
	}
	timer_set(f);
}

/* Nobody waits for that SPI any more, and who waits for nothing else leaves. */
static void packets_release(struct follow *f, uint32_t addr, uint32_t spi)
{
	struct packet **at = &f->packets;

	while (*at != NULL) {
		struct packet *p = *at;
		size_t left = 0;

		for (size_t i = 0; i < p->n_waits; i++)
			if (p->addr != addr || p->waits[i] != spi)
				p->waits[left++] = p->waits[i];
		p->n_waits = left;
		if (left > 0) {
			at = &p->next;
			continue;
		}
		if (p->iface->end != NULL) {
			f->count.sent++;
			tunnel_end_send(p->iface->end, p->bytes, p->len);
		}
		packet_drop(f, at);
	}
	timer_set(f);
}

static struct packet *packet_new(struct iface *i, const uint8_t *bytes, size_t len)
{
	struct packet *p = calloc(1, sizeof(*p) + len);

	if (p == NULL)
		return NULL;
	p->iface = i;
	p->len = len;
	p->until_ms = now_ms() + FOLLOW_KEEP_MS;
	memcpy(p->bytes, bytes, len);
	return p;
}

static void packet_add(struct follow *f, struct packet *p)
{
	struct packet **at = &f->packets;

	while (*at != NULL)
		at = &(*at)->next;
	*at = p;
	f->n_packets++;
	f->count.kept++;
	timer_set(f);
}

void follow_forget(struct follow *f, const struct iface *i)
{
	struct packet **at;

	if (f == NULL)
		return;
	at = &f->packets;
	while (*at != NULL) {
		if ((*at)->iface == i)
			packet_drop(f, at);
		else
			at = &(*at)->next;
	}
	timer_set(f);
}

/* --- leases ---------------------------------------------------------------------------
 */

static bool is_for(const struct hold *hold, uint32_t addr, uint32_t spi)
{
	return hold->use == HOLD_FOLLOW && hold->want.address == addr &&
	       hold->want.spis.first == spi && !hold->freeing;
}

static struct hold *followed(const struct host *h, uint32_t addr, uint32_t spi)
{
	for (struct hold *hold = h->holds; hold != NULL; hold = hold->next)
		if (is_for(hold, addr, spi))
			return hold;
	return NULL;
}

/* It can't have that SPI: the SA ends, the daemon will choose another one. */
static void refuse(struct host *h, uint32_t addr, uint32_t spi, const char *why)
{
	h->follow->count.refused++;
	if (limit_take(&h->follow->limit, 1, 5, now_ms()))
		log_warn("SPI not leased, its security association ends",
			"spi=0x%08" PRIx32 " reason=\"%s\"", spi, why);
	if (sas_refuse(h, addr, spi, "its SPI is not to be had"))
		h->follow->again = true;
}

void follow_refused(struct hold *hold, const char *why)
{
	struct host *h = hold->gw->host;

	if (h->follow != NULL)
		refuse(h, hold->want.address, hold->want.spis.first, why);
}

static void on_answer(struct hold *hold, int err, const char *why)
{
	struct follow *f = hold->done_ctx;
	uint32_t addr = hold->want.address, spi = hold->want.spis.first;
	bool refused = hold->failure == RSIP_FAIL_REFUSED;

	if (err == 0) {
		f->count.leased++;
		packets_release(f, addr, spi);
		return;
	}
	hold_forget(hold);
	if (refused) {
		/*
		 * The message leaves all the same: its SA can't be made any more, so what
		 * comes of it is that the daemon fails now and not after minutes.  But
		 * one that fails again and again, and at once tries again, is slowed
		 * down: its message ends with its time.
		 */
		refuse(f->host, addr, spi, why);
		if (limit_take(&f->brake, BRAKE_PER_S, BRAKE_BURST, now_ms()))
			packets_release(f, addr, spi);
		return;
	}
	f->count.unanswered++;
	f->again = true;
}

static void lease(struct follow *f, const struct hold *up, const struct xfrm_sa *sa)
{
	const struct rsip_grant *g = hold_grant(up);
	const struct rsip_registration *r = rsip_session_registration(up->gw->session);
	struct rsip_want want = {
		.kind = RSIP_RSIPSEC,
		.address = g->address,
		.ports.form = RSIP_DONT_NEED,
		.spis = { .form = RSIP_BLOCK, .count = 1, .first = sa->spi },
		.lease_s = up->want.lease_s,
		.tunnels[0] = g->tunnel,
		.n_tunnels = 1,
		.exact = true,
	};
	struct hold *hold;

	if (r != NULL && (r->remote == RSIP_MACRO || r->remote == RSIP_MICRO))
		want.remote.address = sa->src;
	if (!sa->larval)
		f->count.whole++;
	hold = hold_new(up->gw, HOLD_FOLLOW, &want);
	if (hold == NULL) {
		refuse(f->host, g->address, sa->spi, "too many leases for one host");
		return;
	}
	hold->seen = true;
	hold_ask(hold, on_answer, f);
}

/* --- looking --------------------------------------------------------------------------
 */

/* The SAs towards one leased address against the leases. */
static void look_at(struct follow *f, const struct hold *up)
{
	struct host *h = f->host;
	uint32_t addr = hold_grant(up)->address;
	struct xfrm_sa *sas;
	size_t n;

	f->count.looks++;
	if (xfrm_list(h->xfrm, addr, &sas, &n) != 0) {
		f->again = true;
		return;
	}
	for (struct hold *hold = h->holds; hold != NULL; hold = hold->next)
		if (hold->use == HOLD_FOLLOW && hold->want.address == addr)
			hold->seen = false;
	for (size_t i = 0; i < n; i++) {
		struct hold *hold = followed(h, addr, sas[i].spi);

		if (hold != NULL)
			hold->seen = true;
		else if (sas[i].spi >= SPI_MIN && !sas_leased(h, addr, sas[i].spi) &&
			 hold_grant(up) != NULL)
			lease(f, up, &sas[i]);
	}
	free(sas);
	for (struct hold *hold = h->holds, *next; hold != NULL; hold = next) {
		next = hold->next;
		if (hold->use != HOLD_FOLLOW || hold->want.address != addr ||
			hold->seen || hold->freeing)
			continue;
		f->count.freed++;
		packets_release(f, addr, hold->want.spis.first);
		hold_give(hold, NULL, NULL);
	}
}

/* The first hold of `up` for each address speaks for it. */
static bool is_first(const struct host *h, const struct hold *up)
{
	for (const struct hold *o = h->holds; o != up; o = o->next)
		if (o->gw == up->gw && o->use == HOLD_UP && hold_grant(o) != NULL &&
			hold_grant(o)->address == hold_grant(up)->address)
			return false;
	return true;
}

static void look(struct follow *f, const struct gw *only)
{
	struct host *h = f->host;

	f->idle_s = 0;
	f->again = false;
	for (struct hold *hold = h->holds; hold != NULL; hold = hold->next) {
		const struct rsip_grant *g = hold_grant(hold);

		if (hold->use != HOLD_UP || g == NULL || !hold->gw->follow ||
			hold->gw->resting || (only != NULL && hold->gw != only) ||
			g->kind == RSIP_RSA_IP || !is_first(h, hold))
			continue;
		look_at(f, hold);
	}
}

bool follow_keeps(struct iface *i, const uint8_t *bytes, size_t len)
{
	struct host *h = i->gw->host;
	struct follow *f = h->follow;
	struct tunpkt pkt;
	struct packet *p;

	if (f == NULL || !i->gw->follow || !tunpkt_parse(bytes, len, &pkt))
		return false;
	f->count.messages++;
	look(f, i->gw);
	p = packet_new(i, bytes, len);
	if (p == NULL)
		return false;
	p->addr = pkt.src;
	for (const struct hold *hold = h->holds; hold != NULL; hold = hold->next)
		if (is_for(hold, pkt.src, hold->want.spis.first) && hold->bind_id == 0 &&
			p->n_waits < WAITS_MAX)
			p->waits[p->n_waits++] = hold->want.spis.first;
	if (p->n_waits == 0 && !f->again) {
		free(p);
		return false;
	}
	if (f->n_packets >= PACKETS_MAX || p->n_waits == 0) {
		f->count.lost_full++;
		free(p);
		return true;
	}
	packet_add(f, p);
	return true;
}

void follow_tick(struct host *h)
{
	struct follow *f = h->follow;

	if (f != NULL && (++f->idle_s >= LOOK_S || f->again))
		look(f, NULL);
}

/* --- life -----------------------------------------------------------------------------
 */

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct follow *f = poll->data;

	(void)status, (void)events;
	nl_watch_drain(f->fd);
	look(f, NULL);
}

int follow_start(struct host *h, char *why, size_t why_size)
{
	struct follow *f;
	int fd, err;

	if (h->follow != NULL)
		return 0;
	err = h->xfrm != NULL ? xfrm_watch_open(&fd) : ERR_UNSUPPORTED;
	f = err == 0 ? calloc(1, sizeof(*f)) : NULL;
	if (f == NULL) {
		if (err == 0)
			(void)close(fd);
		(void)snprintf(why, why_size,
			"spi-mode follow needs to see the security associations of the "
			"kernel (NETLINK_XFRM): %s",
			err_text(err != 0 ? err : -ENOMEM));
		return ERR_UNSUPPORTED;
	}
	f->host = h;
	f->fd = fd;
	f->again = true; /* SAs may have come and gone before us */
	(void)uv_timer_init(h->loop, &f->timer);
	(void)uv_poll_init(h->loop, &f->watch, fd);
	f->timer.data = f->watch.data = f;
	f->handles = 2;
	(void)uv_poll_start(&f->watch, UV_READABLE, on_event);
	h->follow = f;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct follow *f = handle->data;

	if (--f->handles > 0)
		return;
	(void)close(f->fd);
	free(f);
}

void follow_free(struct follow *f)
{
	if (f == NULL)
		return;
	f->host->follow = NULL;
	while (f->packets != NULL)
		packet_drop(f, &f->packets);
	uv_close((uv_handle_t *)&f->timer, on_closed);
	uv_close((uv_handle_t *)&f->watch, on_closed);
}

json_t *follow_json(const struct host *h)
{
	const struct follow *f = h->follow;
	const struct counters *c;
	json_int_t held = 0;
	bool any = false;

	for (const struct gw *gw = h->gws; gw != NULL; gw = gw->next)
		any = any || gw->follow;
	if (f == NULL || !any)
		return json_null();
	for (const struct hold *hold = h->holds; hold != NULL; hold = hold->next)
		held += hold->use == HOLD_FOLLOW && hold_grant(hold) != NULL;
	c = &f->count;
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		"spis", held, "waiting", (json_int_t)f->n_packets, "looks",
		(json_int_t)c->looks, "messages", (json_int_t)c->messages, "kept",
		(json_int_t)c->kept, "sent", (json_int_t)c->sent, "lost",
		(json_int_t)c->lost_late + (json_int_t)c->lost_full, "leased",
		(json_int_t)c->leased, "whole", (json_int_t)c->whole, "refused",
		(json_int_t)c->refused, "unanswered", (json_int_t)c->unanswered, "freed",
		(json_int_t)c->freed);
}
