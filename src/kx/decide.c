/*
 * The one way in: an event is handled, what became ready by it is served as far as there
 * is room for actions, look-ups that queued up are started, and the next wake-up is set.
 * Who decides what is in state.h.
 */
#include "kx/decide.h"

#include "kx/state.h"

#include <stdlib.h>
#include <string.h>

#define ASKS_A_WALK    16
#define ASKS_AN_EXCH   6
#define FLIGHT_MOST    1024
#define DECISIONS_MOST (1U << 20)
/* What one thing on a list may emit at most. */
#define ROOM 16

static const struct kx_limits defaults = {
	.lookup_ms = 2000,
	.decision_ms = 4000,
	.ike_ms = 3000,
	.total_ms = 10000,
	.stagger_ms = 250,
	.lookups = 256,
	.undecided = 128,
	.waiting = 4096,
	.source_waiting = 64,
	.source_rate = 20,
	.source_burst = 100,
	.rate = 200,
	.burst = 400,
	.decisions = 16384,
	.exchangers = 1024,
	.peer_rate = 10,
	.id_rate = 1,
	.grace_s = 300,
};

/* Every member is one number, in the same order in both. */
static bool limits_fill(struct kx_limits *l)
{
	uint32_t *at = (uint32_t *)l;
	const uint32_t *from = (const uint32_t *)&defaults;

	for (size_t i = 0; i < sizeof(*l) / sizeof(*at); i++)
		at[i] = at[i] != 0 ? at[i] : from[i];
	return l->lookups <= FLIGHT_MOST && l->undecided <= 4096 &&
	       l->decisions <= DECISIONS_MOST && l->exchangers <= 65536 &&
	       l->waiting <= l->decisions && l->exchangers >= TRY_MAX &&
	       l->decisions >= TRY_MAX;
}

/* --- memory ---------------------------------------------------------------------------
 */

static bool tables_new(struct kx *kx)
{
	const struct kx_limits *l = &kx->limit;

	kx->n_walks = l->undecided;
	kx->n_checks = l->decisions / 4;
	kx->n_asks =
		kx->n_walks * ASKS_A_WALK + l->exchangers * ASKS_AN_EXCH + 2 * NAMED_MAX;
	kx->n_askers = l->waiting;
	kx->pairs = calloc(l->decisions, sizeof(*kx->pairs));
	kx->dests = calloc(l->decisions, sizeof(*kx->dests));
	kx->exchs = calloc(l->exchangers, sizeof(*kx->exchs));
	kx->checks = calloc(kx->n_checks, sizeof(*kx->checks));
	kx->sources = calloc(l->waiting, sizeof(*kx->sources));
	kx->walks = calloc(kx->n_walks, sizeof(*kx->walks));
	kx->named = calloc(NAMED_MAX, sizeof(*kx->named));
	kx->asks = calloc(kx->n_asks, sizeof(*kx->asks));
	kx->askers = calloc(kx->n_askers, sizeof(*kx->askers));
	kx->flight = calloc(l->lookups, sizeof(*kx->flight));
	kx->flight_free = calloc(l->lookups, sizeof(*kx->flight_free));
	return kx->pairs && kx->dests && kx->exchs && kx->checks && kx->sources &&
	       kx->walks && kx->named && kx->asks && kx->askers && kx->flight &&
	       kx->flight_free && cache_init(&kx->pair_index, l->decisions) == 0 &&
	       cache_init(&kx->dest_index, l->decisions) == 0 &&
	       cache_init(&kx->exch_index, l->exchangers) == 0 &&
	       cache_init(&kx->check_index, kx->n_checks) == 0 &&
	       cache_init(&kx->source_index, l->waiting) == 0 &&
	       heap_init(&kx->heap,
		       2 * l->decisions + kx->n_checks + kx->n_walks + NAMED_MAX) == 0;
}

static void lists_init(struct kx *kx)
{
	for (uint32_t i = 0; i < kx->n_asks; i++)
		kx->asks[i].next = i + 1 < kx->n_asks ? i + 1 : NONE;
	for (uint32_t i = 0; i < kx->n_askers; i++)
		kx->askers[i].next = i + 1 < kx->n_askers ? i + 1 : NONE;
	for (uint32_t i = 0; i < kx->limit.lookups; i++) {
		kx->flight[i] = NONE;
		kx->flight_free[kx->n_flight_free++] = (uint16_t)i;
	}
	kx->ask_first = kx->ask_last = NONE;
	kx->dest_first = kx->dest_last = kx->check_first = kx->check_last = NONE;
	kx->ready_pair = kx->ready_check = kx->ready_exch = kx->active = NONE;
}

struct kx *kx_new(const struct kx_conf *conf)
{
	struct kx *kx = calloc(1, sizeof(*kx));

	if (kx == NULL)
		return NULL;
	kx->conf = *conf;
	kx->limit = conf->limits;
	if (!limits_fill(&kx->limit) || !tables_new(kx)) {
		kx_free(kx);
		return NULL;
	}
	kx->seed = (uint64_t)kx->conf.random.next(&kx->conf.random) << 32;
	kx->seed |= kx->conf.random.next(&kx->conf.random);
	lists_init(kx);
	kx_set_policy(kx, conf->policy);
	return kx;
}

void kx_free(struct kx *kx)
{
	if (kx == NULL)
		return;
	heap_fini(&kx->heap);
	cache_fini(&kx->pair_index);
	cache_fini(&kx->dest_index);
	cache_fini(&kx->exch_index);
	cache_fini(&kx->check_index);
	cache_fini(&kx->source_index);
	free(kx->pairs);
	free(kx->dests);
	free(kx->exchs);
	free(kx->checks);
	free(kx->sources);
	free(kx->walks);
	free(kx->named);
	free(kx->asks);
	free(kx->askers);
	free(kx->flight);
	free(kx->flight_free);
	free(kx);
}

void kx_set_policy(struct kx *kx, const struct kx_policy *policy)
{
	kx->policy = policy;
	kx->policy_new = true;
}

/* --- what all parts use ---------------------------------------------------------------
 */

struct kx_action *emit(struct kx *kx, enum kx_action_kind kind)
{
	/* Callers leave room (ROOM); what is over would be a bug, and not written. */
	struct kx_action *a =
		kx->n_out < kx->max_out ? &kx->out[kx->n_out++] : &kx->nowhere;

	memset(a, 0, sizeof(*a));
	a->kind = kind;
	return a;
}

void log_it(struct kx *kx, enum kx_why why, bool bad, const struct kx_name *name,
	const struct kx_addr *source, const struct kx_addr *destination)
{
	struct kx_action *a = emit(kx, KX_LOG);

	a->why = why;
	a->bad = bad;
	if (name != NULL)
		a->name = *name;
	if (source != NULL)
		a->source = *source;
	if (destination != NULL)
		a->destination = *destination;
}

uint64_t hash_addr(const struct kx *kx, const struct kx_addr *a)
{
	return cache_hash(kx->seed, a->b, a->len);
}

uint32_t asker_new(struct kx *kx, uint32_t token, uint32_t next)
{
	uint32_t slot = kx->free_asker;

	if (slot == NONE)
		return NONE;
	kx->free_asker = kx->askers[slot].next;
	kx->askers[slot] = (struct asker){ .next = next, .token = token };
	return slot;
}

void asker_free(struct kx *kx, uint32_t asker)
{
	kx->askers[asker].next = kx->free_asker;
	kx->free_asker = asker;
}

enum kx_why why_of(enum kx_status status)
{
	static const enum kx_why of[KX_STATUSES] = {
		[KX_SECURE] = KX_WHY_EXCHANGER,
		[KX_NODATA] = KX_WHY_SELF,
		[KX_NXDOMAIN] = KX_WHY_NAME,
		[KX_INSECURE] = KX_WHY_INSECURE,
		[KX_BOGUS] = KX_WHY_BOGUS,
		[KX_ERROR] = KX_WHY_ERROR,
	};

	return status < KX_STATUSES ? of[status] : KX_WHY_ERROR;
}

enum kx_why why_worse(enum kx_why a, enum kx_why b)
{
	/* The loudest first; what is not here matters least. */
	static const enum kx_why order[] = { KX_WHY_BOGUS, KX_WHY_ERROR, KX_WHY_LIMIT,
		KX_WHY_INSECURE, KX_WHY_NAME, KX_WHY_FORWARD, KX_WHY_REVERSE, KX_WHY_NULL,
		KX_WHY_UNUSABLE };

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if (a == order[i] || b == order[i])
			return order[i];
	return a != KX_WHY_NONE ? a : b;
}

static uint32_t clamp(uint32_t v, uint32_t least, uint32_t most)
{
	return v < least ? least : v > most ? most : v;
}

uint64_t keep_until(struct kx *kx, enum kx_why why, uint32_t ttl_s, uint32_t errors)
{
	uint32_t ms;

	switch (why) {
	case KX_WHY_EXCHANGER:
		return kx->now_ms + 1000ULL * clamp(ttl_s, 5, 3600);
	case KX_WHY_BOGUS:
		return kx->now_ms + 60000;
	case KX_WHY_INSECURE:
		return kx->now_ms + 1000ULL * clamp(ttl_s, 5, 300);
	case KX_WHY_ERROR:
	case KX_WHY_LIMIT:
		/* Doubling, and spread so that all who failed together don't return so.
		 */
		ms = 5000U << clamp(errors, 0, 6);
		ms = clamp(ms, 5000, 300000);
		return kx->now_ms + ms - ms / 4 + random_below(&kx->conf.random, ms / 2);
	default:
		return kx->now_ms + 1000ULL * clamp(ttl_s, 5, 900);
	}
}

/* --- look-ups -------------------------------------------------------------------------
 */

bool ask_new(struct kx *kx, enum owner owner, uint32_t index, enum role role,
	uint8_t part, const struct kx_name *name, uint64_t deadline_ms)
{
	uint32_t slot = kx->free_ask;
	struct ask *ask;

	if (slot == NONE) /* sized so that there always is one */
		return false;
	ask = &kx->asks[slot];
	kx->free_ask = ask->next;
	*ask = (struct ask){ .next = NONE,
		.owner = (uint8_t)owner,
		.role = (uint8_t)role,
		.part = part,
		.index = index,
		.name = *name,
		.queued = true,
		.deadline_ms = deadline_ms };
	if (kx->ask_last != NONE)
		kx->asks[kx->ask_last].next = slot;
	else
		kx->ask_first = slot;
	kx->ask_last = slot;
	return true;
}

static void ask_free(struct kx *kx, uint32_t slot)
{
	kx->asks[slot].id = 0;
	kx->asks[slot].next = kx->free_ask;
	kx->free_ask = slot;
}

static void flight_end(struct kx *kx, uint32_t place)
{
	ask_free(kx, kx->flight[place]);
	kx->flight[place] = NONE;
	kx->flight_free[kx->n_flight_free++] = (uint16_t)place;
	kx->count.lookups--;
}

void ask_drop(struct kx *kx, enum owner owner, uint32_t index)
{
	for (uint32_t i = kx->ask_first; i != NONE; i = kx->asks[i].next)
		if (kx->asks[i].owner == owner && kx->asks[i].index == index)
			kx->asks[i].dead = true;
	for (uint32_t i = 0; i < kx->limit.lookups; i++) {
		const struct ask *ask =
			kx->flight[i] != NONE ? &kx->asks[kx->flight[i]] : NULL;

		if (ask == NULL || ask->owner != owner || ask->index != index)
			continue;
		emit(kx, KX_CANCEL)->id = ask->id;
		flight_end(kx, i);
	}
}

static const uint16_t role_types[ROLES] = {
	[ROLE_REVERSE] = KX_T_PTR,
	[ROLE_FORWARD] = KX_T_A,
	[ROLE_KX] = KX_T_KX,
	[ROLE_ALIAS] = KX_T_A,
	[ROLE_A] = KX_T_A,
	[ROLE_AAAA] = KX_T_AAAA,
	[ROLE_KEY] = KX_T_IPSECKEY,
	[ROLE_SRV] = KX_T_SRV,
};

static uint16_t ask_type(const struct kx *kx, const struct ask *ask)
{
	bool six = ask->role == ROLE_FORWARD && kx->walks[ask->index].addr.len == 16;

	if (ask->role == ROLE_ALIAS)
		six = kx->checks[kx->walks[ask->index].index].peer_addr.len == 16;
	return six ? KX_T_AAAA : role_types[ask->role];
}

/* Never 0, and ids stay below 2^31. */
static uint32_t id_next(struct kx *kx)
{
	kx->ask_serial = kx->ask_serial % 0x1fffff + 1;
	return kx->ask_serial;
}

/* Start what queued up, as long as there are places and room. */
static void ask_pump(struct kx *kx)
{
	while (kx->ask_first != NONE && kx->n_out + 1 < kx->max_out) {
		uint32_t slot = kx->ask_first, place;
		struct ask *ask = &kx->asks[slot];
		struct kx_action *a;

		if (!ask->dead && kx->n_flight_free == 0) {
			kx->count.limited_lookups++;
			return;
		}
		kx->ask_first = ask->next;
		if (kx->ask_first == NONE)
			kx->ask_last = NONE;
		if (ask->dead) {
			ask_free(kx, slot);
			continue;
		}
		place = kx->flight_free[--kx->n_flight_free];
		kx->flight[place] = slot;
		ask->queued = false;
		ask->id = id_next(kx) << 10 | place;
		kx->count.asks++;
		kx->count.lookups++;
		a = emit(kx, KX_ASK);
		a->id = ask->id;
		a->name = ask->name;
		a->type = ask_type(kx, ask);
		a->until_ms = kx->now_ms + kx->limit.lookup_ms;
		if (ask->deadline_ms != 0 && ask->deadline_ms < a->until_ms)
			a->until_ms = ask->deadline_ms;
	}
}

static void on_answer(struct kx *kx, const struct kx_event *ev)
{
	uint32_t place = ev->id & (FLIGHT_MOST - 1);
	struct ask ask;

	if (place >= kx->limit.lookups || kx->flight[place] == NONE ||
		kx->asks[kx->flight[place]].id != ev->id)
		return; /* cancelled meanwhile, or never asked */
	ask = kx->asks[kx->flight[place]];
	flight_end(kx, place);
	kx->count.answers[ev->answer->status]++;
	switch ((enum owner)ask.owner) {
	case OWNER_WALK:
		walk_answer(kx, &ask, ev->answer);
		break;
	case OWNER_EXCH:
		exch_answer(kx, &ask, ev->answer);
		break;
	case OWNER_NAMED:
		named_answer(kx, &ask, ev->answer);
		break;
	case OWNER_DEST:
	case OWNER_CHECK:
		break; /* they ask through walks */
	}
}

/* --- one step -------------------------------------------------------------------------
 */

static void on_hint(struct kx *kx, const struct kx_event *ev)
{
	/* Only into room that nobody else wants. */
	if (ev->destination.len == 0 || kx->count.undecided * 2 >= kx->n_walks ||
		!limit_take(&kx->rate, kx->limit.rate, kx->limit.burst, kx->now_ms))
		return;
	(void)dest_get(kx, &ev->destination, named_find(kx, &ev->destination));
}

static void on_event(struct kx *kx, const struct kx_event *ev)
{
	switch (ev->kind) {
	case KX_PACKET:
		pair_packet(kx, ev);
		break;
	case KX_INBOUND_TS:
		check_ask(kx, ev);
		break;
	case KX_INBOUND_ID:
		exch_trust(kx, ev);
		break;
	case KX_ANSWER:
		on_answer(kx, ev);
		break;
	case KX_IKE:
		pair_ike(kx, ev);
		break;
	case KX_HINT:
		on_hint(kx, ev);
		break;
	case KX_FORGET:
		pair_forget(kx, ev);
		break;
	case KX_TIMER:
		kx->wake_ms = 0;
		break;
	}
}

static void on_timer(struct kx *kx, const struct heap_timer *t)
{
	switch ((enum timer_kind)t->kind) {
	case TIMER_PAIR:
		pair_timer(kx, t->index);
		break;
	case TIMER_DEST:
		dest_timer(kx, t->index);
		break;
	case TIMER_WALK:
		walk_late(kx, t->index);
		break;
	case TIMER_CHECK:
		check_timer(kx, t->index);
		break;
	case TIMER_NAMED:
		named_timer(kx, t->index);
		break;
	}
}

/* The next thing that is due; false: nothing is. */
static bool serve(struct kx *kx)
{
	struct heap_timer *t = heap_first(&kx->heap);
	uint32_t i;

	if ((i = kx->ready_exch) != NONE) {
		kx->ready_exch = kx->exchs[i].ready_next;
		kx->exchs[i].ready = false;
		exch_step(kx, i);
	} else if ((i = kx->ready_pair) != NONE) {
		kx->ready_pair = kx->pairs[i].ready_next;
		kx->pairs[i].ready = false;
		pair_step(kx, i);
	} else if ((i = kx->ready_check) != NONE) {
		kx->ready_check = kx->checks[i].ready_next;
		kx->checks[i].ready = false;
		check_step(kx, i);
	} else if (t != NULL && t->at_ms <= kx->now_ms) {
		heap_stop(&kx->heap, t);
		on_timer(kx, t);
	} else {
		return false;
	}
	return true;
}

static void wake(struct kx *kx, bool more)
{
	const struct heap_timer *t = heap_first(&kx->heap);
	uint64_t at = more ? kx->now_ms : t != NULL ? t->at_ms : 0;

	if (at == 0 || (at == kx->wake_ms && !more))
		return;
	kx->wake_ms = at;
	emit(kx, KX_WAKE)->until_ms = at;
}

size_t kx_step(
	struct kx *kx, const struct kx_event *event, struct kx_action *out, size_t max)
{
	bool more = false;

	if (max < KX_ACTIONS_MIN)
		return 0;
	kx->out = out;
	kx->n_out = 0;
	kx->max_out = max;
	if (event->now_ms > kx->now_ms)
		kx->now_ms = event->now_ms;
	if (kx->policy_new)
		named_load(kx);
	on_event(kx, event);
	for (;;) {
		if (kx->max_out - kx->n_out <= ROOM) {
			more = true;
			break;
		}
		if (!serve(kx))
			break;
	}
	dest_pump(kx);
	check_pump(kx);
	ask_pump(kx);
	more |= kx->ask_first != NONE && kx->n_flight_free > 0;
	wake(kx, more);
	kx->count.remembered = kx->pair_index.used;
	return kx->n_out;
}

const struct kx_counters *kx_count(const struct kx *kx)
{
	return &kx->count;
}
