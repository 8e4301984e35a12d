/*
 * IKE cookies for the programs.  User space learns and forgets them; the programs get
 * those that are answered, so that an IKE SA's further packets need not go there.
 */
#include "dataplane/xdp/keep.h"

#include <bpf/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The programs' own clock, whatever time packets are said to have come at. */
static uint32_t now_units(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint32_t)(((uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000) /
			  64);
}

static struct maps_cookie cookie_of(const struct learned *e)
{
	return (struct maps_cookie){ e->key.nb, { e->key.a, e->key.b } };
}

void keep_cookie(struct keep *k, const struct learned *e, bool there)
{
	struct maps_known known = {
		.key = cookie_of(e), .seen = now_units(), .life = e->owner->mark
	};

	if (!e->settled)
		return; /* it never was there */
	if (!there || !known.life) {
		(void)bpf_map_delete_elem(k->cookies, &known.key);
		return;
	}
	for (uint8_t i = 0; i < e->n_peers; i++)
		known.peer[i] = e->peer[i];
	(void)bpf_map_update_elem(k->cookies, &known.key, &known, BPF_ANY);
}

void keep_cookies_of(struct keep *k, const struct tlease *l)
{
	const struct learned *e;

	for (e = TAILQ_FIRST(&l->learned[LEARNED_IKE].list); e;
		e = TAILQ_NEXT(e, by_owner))
		if (e->settled)
			keep_cookie(k, e, true);
}

static void settle_cookie(
	struct keep *k, struct tables *t, const struct maps_cookie *at, uint64_t now_ms)
{
	const struct learned_key key = { at->nb, at->cookie[0], at->cookie[1], 0 };
	struct learned_table *ike = &t->learned[LEARNED_IKE];
	struct maps_known known;
	struct learned *e = NULL;

	if (bpf_map_lookup_elem(k->cookies, at, &known))
		return;
	for (int i = 0; i < MAPS_COOKIE_PEERS && known.peer[i]; i++) {
		struct tlease *l = keep_owner_of(k, t, at->nb, known.peer[i], known.life);

		if (l)
			e = learned_refresh(ike, &key, l, known.peer[i], now_ms);
	}
	if (e)
		learned_settle(ike, e);
	else
		(void)bpf_map_delete_elem(k->cookies, at);
}

void keep_settle_cookies(struct keep *k, struct tables *t, uint64_t now_ms)
{
	struct maps_cookie *key = calloc(MAPS_COOKIES, sizeof *key);
	uint32_t n = 0;

	if (!key)
		return;
	/* The keys first: the walk would not survive changes. */
	while (n < MAPS_COOKIES &&
		bpf_map_get_next_key(k->cookies, n ? &key[n - 1] : NULL, &key[n]) == 0)
		n++;
	for (uint32_t i = 0; i < n; i++)
		settle_cookie(k, t, &key[i], now_ms);
	free(key);
}
