/*
 * Learned entries.  One structure serves the three kinds, since they differ only in key,
 * lifetime and bound.
 */
#include "dataplane/learned.h"

#include "dataplane/tables.h"

#include <errno.h>
#include <stdlib.h>

static const struct {
	uint32_t max, max_per_owner;
	uint64_t ttl_ms;
	bool keeps; /* when full: refuse what is new, rather than forget what lives */
	bool peers; /* asked for its only host */
} bounds[LEARNED_KINDS] = {
	/* RFC 3104 6.1: 64 a bind, 120 s. */
	[LEARNED_IKE] = { 1U << 20, 64, 120000, true, true },
	/* Lives as its lease, least recent goes. */
	[LEARNED_SPI] = { 65536, 1024, 0, false, true },
	[LEARNED_QUERY] = { 65536, 1024, 60000, false, false },
};

int learned_init(
	struct learned_table *t, enum learned_kind kind, uint32_t max, uint64_t secret)
{
	*t = (struct learned_table){
		.kind = kind,
		.max = max ? max : bounds[kind].max,
		.max_per_owner = bounds[kind].max_per_owner,
		.ttl_ms = bounds[kind].ttl_ms,
	};
	TAILQ_INIT(&t->young);
	TAILQ_INIT(&t->settled);
	TAILQ_INIT(&t->spare);
	/* Touched only as far as it is used, so idle gateways pay no memory for it. */
	t->storage = calloc(t->max, sizeof *t->storage);
	if (!t->storage)
		return -ENOMEM;
	int err = peers_init(&t->peers, secret);
	return err ? err : htab_init(&t->keys, sizeof(struct learned_key), secret);
}

void learned_fini(struct learned_table *t)
{
	peers_fini(&t->peers);
	htab_fini(&t->keys);
	free(t->storage);
	*t = (struct learned_table){ 0 };
}

void learned_owner_init(struct learned_owner *o)
{
	TAILQ_INIT(&o->list);
	o->n = 0;
}

static struct learned_owner *owner_of(const struct learned_table *t, struct tlease *l)
{
	return &l->learned[t->kind];
}

static struct learned_list *age_list(struct learned_table *t, const struct learned *e)
{
	return e->settled ? &t->settled : &t->young;
}

static void own(struct learned_table *t, struct learned *e, struct tlease *owner)
{
	struct learned_owner *o = owner_of(t, owner);

	e->owner = owner;
	TAILQ_INSERT_TAIL(&o->list, e, by_owner);
	o->n++;
}

static void disown(struct learned_table *t, struct learned *e)
{
	struct learned_owner *o = owner_of(t, e->owner);

	TAILQ_REMOVE(&o->list, e, by_owner);
	o->n--;
}

/* Entries with a peer are counted by its host. */
static bool meet(struct learned_table *t, const struct learned_key *key, uint32_t peer,
	const struct tlease *owner)
{
	return !bounds[t->kind].peers || peers_add(&t->peers, key->nb, peer, owner->host);
}

static void part(struct learned_table *t, const struct learned *e, uint32_t peer)
{
	if (bounds[t->kind].peers)
		peers_del(&t->peers, e->key.nb, peer, e->owner->host);
}

static void forget(struct learned_table *t, struct learned *e)
{
	if (t->watch)
		t->watch(t->watch_ctx, e, false);
	for (uint8_t i = 0; i < e->n_peers; i++)
		part(t, e, e->peer[i]);
	disown(t, e);
	TAILQ_REMOVE(age_list(t, e), e, by_age);
	if (e->settled)
		t->n_settled--;
	htab_del(&t->keys, e);
	TAILQ_INSERT_HEAD(&t->spare, e, by_age);
}

static bool is_past(
	const struct learned_table *t, const struct learned *e, uint64_t now_ms)
{
	return t->ttl_ms && !e->settled && now_ms >= e->seen_ms + t->ttl_ms;
}

struct learned *learned_find(
	struct learned_table *t, const struct learned_key *key, uint64_t now_ms)
{
	struct learned *e = htab_find(&t->keys, key);

	if (e && is_past(t, e, now_ms)) {
		forget(t, e);
		return NULL;
	}
	return e;
}

bool learned_has_peer(const struct learned *e, uint32_t peer)
{
	for (uint8_t i = 0; i < e->n_peers; i++)
		if (e->peer[i] == peer)
			return true;
	return false;
}

/* The peer has been met. */
static void add_peer(struct learned_table *t, struct learned *e, uint32_t peer)
{
	if (e->n_peers == LEARNED_PEERS) {
		part(t, e, e->peer[0]);
		for (uint8_t i = 1; i < LEARNED_PEERS; i++)
			e->peer[i - 1] = e->peer[i];
		e->n_peers--;
	}
	e->peer[e->n_peers++] = peer;
}

/* The owner's oldest entry that is still unanswered, else its oldest. */
static struct learned *oldest_of(struct learned_owner *o)
{
	struct learned *e;

	for (e = TAILQ_FIRST(&o->list); e; e = TAILQ_NEXT(e, by_owner))
		if (!e->settled)
			return e;
	return TAILQ_FIRST(&o->list);
}

/* Storage for one more entry of this owner. */
static struct learned *room(
	struct learned_table *t, struct tlease *owner, uint64_t now_ms)
{
	struct learned_owner *o = owner_of(t, owner);
	struct learned *e;

	if (o->n >= t->max_per_owner) {
		forget(t, oldest_of(o));
	} else if (TAILQ_EMPTY(&t->spare) && t->used == t->max &&
		   !TAILQ_EMPTY(&t->young)) {
		e = TAILQ_FIRST(&t->young);
		if (!bounds[t->kind].keeps || is_past(t, e, now_ms))
			forget(t, e);
	}
	e = TAILQ_FIRST(&t->spare);
	if (e) {
		TAILQ_REMOVE(&t->spare, e, by_age);
		return e;
	}
	return t->used < t->max ? &t->storage[t->used++] : NULL;
}

struct learned *learned_refresh(struct learned_table *t, const struct learned_key *key,
	struct tlease *owner, uint32_t peer, uint64_t now_ms)
{
	struct learned *e = learned_find(t, key, now_ms);

	if (e && e->owner->host != owner->host)
		return NULL;
	bool known = e && learned_has_peer(e, peer);
	if (!known && !meet(t, key, peer, owner))
		return NULL;
	if (e) {
		disown(t, e);
		TAILQ_REMOVE(age_list(t, e), e, by_age);
	} else {
		e = room(t, owner, now_ms);
		if (!e) {
			if (bounds[t->kind].peers)
				peers_del(&t->peers, key->nb, peer, owner->host);
			return NULL;
		}
		e->key = *key;
		e->settled = false;
		e->n_peers = 0;
		htab_add(&t->keys, e);
	}
	own(t, e, owner);
	e->begun = false;
	e->seen_ms = now_ms;
	TAILQ_INSERT_TAIL(age_list(t, e), e, by_age);
	if (!known)
		add_peer(t, e, peer);
	if (t->watch)
		t->watch(t->watch_ctx, e, true);
	if (owner_of(t, owner)->n >
		t->max_per_owner) /* it moved here from another lease */
		forget(t, oldest_of(owner_of(t, owner)));
	return e;
}

void learned_settle(struct learned_table *t, struct learned *e)
{
	if (e->settled || e->begun)
		return;
	TAILQ_REMOVE(&t->young, e, by_age);
	e->settled = true;
	t->n_settled++;
	TAILQ_INSERT_TAIL(&t->settled, e, by_age);
	if (t->watch)
		t->watch(t->watch_ctx, e, true);
}

void learned_owner_end(struct learned_table *t, struct tlease *owner)
{
	struct learned_owner *o = owner_of(t, owner);
	struct learned *e;

	while ((e = TAILQ_FIRST(&o->list)))
		forget(t, e);
}

void learned_expire(struct learned_table *t, uint64_t now_ms, uint32_t most)
{
	struct learned *e;

	while (most-- > 0 && (e = TAILQ_FIRST(&t->young)) && is_past(t, e, now_ms))
		forget(t, e);
}

uint32_t learned_only_host(const struct learned_table *t, uint32_t nb, uint32_t peer)
{
	return peers_only(&t->peers, nb, peer);
}
