/*
 * Pairs: what the packets from S to D get, from the first one on.  The table of results
 * is outcome(); everything else moves a pair from DNS through IKE to it.
 */
#include "kx/state.h"

#define SLOT_BITS  20
#define SLOT_MASK  ((1U << SLOT_BITS) - 1)
#define GROUP_MS   60000 /* shunts that follow from the group alone */
#define COLLIDE_MS 1000

/* Pauses before another try where the responder perhaps looks us up just now. */
static const uint32_t retry_ms[] = { 200, 500, 1000 };
#define RETRIES (sizeof(retry_ms) / sizeof(retry_ms[0]))

struct key {
	struct kx_addr source, destination;
};

static bool same(const void *ctx, uint32_t slot, const void *key)
{
	const struct pair *p = &((const struct kx *)ctx)->pairs[slot];
	const struct key *k = key;

	return kx_addr_same(&p->source, &k->source) &&
	       kx_addr_same(&p->destination, &k->destination);
}

static uint64_t hash(
	const struct kx *kx, const struct kx_addr *s, const struct kx_addr *d)
{
	return cache_hash(hash_addr(kx, s), d->b, d->len);
}

static uint32_t find(struct kx *kx, const struct kx_addr *s, const struct kx_addr *d)
{
	struct key key = { *s, *d };

	return cache_find(&kx->pair_index, hash(kx, s, d), same, kx, &key);
}

static bool is_waiting(const struct pair *p)
{
	return p->state == KX_PAIR_LOOKUP || p->state == KX_PAIR_IKE ||
	       p->state == KX_PAIR_RETRY;
}

/* Off its dest and its exchanger; it counts as nothing that waits. */
static void leave(struct kx *kx, uint32_t pair)
{
	struct pair *p = &kx->pairs[pair];

	heap_stop(&kx->heap, &p->timer);
	source_give(kx, p->source_slot);
	p->source_slot = NONE;
	exch_put(kx, p->exch);
	p->exch = NONE;
	if (p->dest != NONE) {
		uint32_t *at = &kx->dests[p->dest].pairs;

		while (*at != pair)
			at = &kx->pairs[*at].next;
		*at = p->next;
		p->dest = p->next = NONE;
	}
}

static void join(struct kx *kx, uint32_t pair, uint32_t dest)
{
	struct pair *p = &kx->pairs[pair];

	p->dest = dest;
	p->next = kx->dests[dest].pairs;
	kx->dests[dest].pairs = pair;
}

void pair_ready(struct kx *kx, uint32_t pair)
{
	struct pair *p = &kx->pairs[pair];

	if (p->ready)
		return;
	p->ready = true;
	p->ready_next = kx->ready_pair;
	kx->ready_pair = pair;
}

static struct kx_action *act(
	struct kx *kx, const struct pair *p, enum kx_action_kind kind)
{
	struct kx_action *a = emit(kx, kind);

	a->id = p->id;
	a->source = p->source;
	a->destination = p->destination;
	a->group = p->group;
	a->why = p->why;
	if (p->exch != NONE)
		a->peer = kx->exchs[p->exch].name;
	return a;
}

/* --- results --------------------------------------------------------------------------
 */

/* In clear, or not? */
static bool outcome(const struct kx *kx, const struct pair *p, enum kx_why why)
{
	if (p->group != KX_PRIVATE_OR_CLEAR || p->failure == KX_SHUNT_DROP ||
		p->failure == KX_SHUNT_NONE)
		return false;
	switch (why) {
	case KX_WHY_LIMIT:
		return false;
	case KX_WHY_BOGUS:
		return !p->bogus_drop;
	case KX_WHY_IKE:
		/* Blocking our UDP 500 must not make us speak in clear. */
		return p->safe_until_ms <= kx->now_ms;
	default:
		return true;
	}
}

/* The IKE failures of a pair double its pause; the rest is remembered as DNS allows. */
static uint64_t shunt_until(struct kx *kx, const struct pair *p, enum kx_why why)
{
	uint64_t ttl = p->failure_ttl_s;

	if (p->failure == KX_SHUNT_NONE || why == KX_WHY_LIMIT)
		return kx->now_ms;
	if (why != KX_WHY_IKE)
		return p->dest != NONE && kx->dests[p->dest].state == DEST_FAILED
			       ? kx->dests[p->dest].until_ms
			       : keep_until(kx, why, 0, p->failures);
	for (uint32_t i = 1; i < p->failures && ttl < p->failure_most_s; i++)
		ttl *= 2;
	ttl = ttl < p->failure_most_s ? ttl : p->failure_most_s;
	return kx->now_ms + 1000 * ttl;
}

static void shunt(struct kx *kx, uint32_t pair, bool pass)
{
	struct pair *p = &kx->pairs[pair];

	p->state = pass ? KX_PAIR_PASSED : KX_PAIR_DROPPED;
	act(kx, p, pass ? KX_PASS : KX_DROP)->until_ms = p->until_ms;
	if (pass)
		kx->count.passed++;
	else
		kx->count.dropped++;
}

static void fail(struct kx *kx, uint32_t pair, enum kx_why why)
{
	struct pair *p = &kx->pairs[pair];
	bool pass = outcome(kx, p, why);

	p->failures += p->failures < 32;
	p->until_ms = shunt_until(kx, p, why);
	p->why = why;
	if (why == KX_WHY_IKE)
		kx->count.decisions[why]++;
	leave(kx, pair);
	shunt(kx, pair, pass);
}

/* D is behind us: nobody to negotiate with.  That holds only for what we speak for. */
static void serve_ours(struct kx *kx, uint32_t pair)
{
	struct pair *p = &kx->pairs[pair];
	bool local = false;

	for (size_t i = 0; i < kx->conf.n_local; i++)
		local |= kx_prefix_has(&kx->conf.local[i], &p->destination);
	if (!local) {
		fail(kx, pair, KX_WHY_OURS);
		return;
	}
	p->why = KX_WHY_OURS;
	p->until_ms = kx->dests[p->dest].until_ms;
	leave(kx, pair);
	shunt(kx, pair, true);
}

/* --- negotiation ----------------------------------------------------------------------
 */

static uint64_t over_at(const struct kx *kx, const struct pair *p)
{
	return p->since_ms + kx->limit.total_ms;
}

static void connect(struct kx *kx, uint32_t pair)
{
	struct pair *p = &kx->pairs[pair];
	const struct dest *d = &kx->dests[p->dest];
	const struct exch *e = &kx->exchs[p->exch];
	uint64_t until = kx->now_ms + kx->limit.ike_ms;
	struct kx_action *a;

	p->state = KX_PAIR_IKE;
	p->until_ms = until < over_at(kx, p) ? until : over_at(kx, p);
	p->why = d->why;
	heap_set(&kx->heap, &p->timer, p->until_ms);
	a = act(kx, p, KX_CONNECT);
	a->until_ms = p->until_ms;
	a->exchanger = &e->x;
	a->name = d->name;
	if (d->self) { /* whatever else its name stands for: D itself */
		a->addrs[a->n_addrs++] = p->destination;
	} else {
		for (size_t i = 0; i < e->x.n_addrs; i++)
			a->addrs[a->n_addrs++] = e->x.addrs[i];
	}
	kx->count.connects++;
}

/* Whom to try next; or nobody is left. */
static void choose(struct kx *kx, uint32_t pair)
{
	struct pair *p = &kx->pairs[pair];
	struct dest *d = &kx->dests[p->dest];
	bool pending, tried_ike = p->tried != 0;
	uint32_t e = dest_next(kx, p->dest, &p->tried, &pending);

	p->state = KX_PAIR_LOOKUP;
	if (e != NONE) {
		p->exch = e;
		kx->exchs[e].refs++;
		p->attempt = 0;
		connect(kx, pair);
	} else if (pending) {
		heap_set(&kx->heap, &p->timer, over_at(kx, p));
	} else {
		enum kx_why why = KX_WHY_NONE;

		for (uint8_t i = 0; i < d->n_exch && !tried_ike; i++)
			why = why_worse(why, kx->exchs[d->exch[i]].why);
		fail(kx, pair, why != KX_WHY_NONE ? why : KX_WHY_IKE);
	}
}

static void try_next(struct kx *kx, uint32_t pair)
{
	struct pair *p = &kx->pairs[pair];
	const struct dest *d = &kx->dests[p->dest];

	for (uint8_t i = 0; i < d->n_exch; i++)
		if (d->exch[i] == p->exch)
			p->tried |= (uint8_t)(1U << i);
	exch_put(kx, p->exch);
	p->exch = NONE;
	choose(kx, pair);
}

static void retry(struct kx *kx, uint32_t pair)
{
	struct pair *p = &kx->pairs[pair];
	uint64_t at;

	if (p->attempt >= RETRIES) {
		try_next(kx, pair);
		return;
	}
	at = kx->now_ms + retry_ms[p->attempt++];
	/* Both ends try: one of them steps back (the one whose name sorts lower). */
	if (p->collided && kx->conf.n_self > 0 &&
		kx_name_compare(&kx->conf.self[0], &kx->exchs[p->exch].name) < 0)
		at += COLLIDE_MS;
	p->collided = false;
	if (at >= over_at(kx, p)) {
		fail(kx, pair, KX_WHY_IKE);
		return;
	}
	p->state = KX_PAIR_RETRY;
	p->until_ms = at;
	heap_set(&kx->heap, &p->timer, at);
}

static void up(struct kx *kx, uint32_t pair)
{
	struct pair *p = &kx->pairs[pair];
	uint64_t safe;

	if (!is_waiting(p))
		return; /* given up meanwhile; the daemon was told to end it */
	heap_stop(&kx->heap, &p->timer);
	source_give(kx, p->source_slot);
	p->source_slot = NONE;
	p->state = KX_PAIR_UP;
	p->failures = 0;
	p->tried = 0;
	p->until_ms = safe = kx->dests[p->dest].until_ms;
	p->safe_until_ms = safe;
	kx->count.ups++;
	dest_watch(kx, p->dest);
	pair_unshunt(kx, &p->source, &p->destination);
}

static void down(struct kx *kx, uint32_t pair)
{
	struct pair *p = &kx->pairs[pair];

	leave(kx, pair);
	p->state = KX_PAIR_DROPPED; /* until the next packet, which begins anew */
	p->until_ms = kx->now_ms;
}

void pair_ike(struct kx *kx, const struct kx_event *ev)
{
	uint32_t pair = ev->id & SLOT_MASK;
	struct pair *p;

	if (pair >= kx->limit.decisions || kx->pairs[pair].id != ev->id || ev->id == 0)
		return;
	p = &kx->pairs[pair];
	if (ev->ike == KX_IKE_UP) {
		up(kx, pair);
		return;
	}
	if (ev->ike == KX_IKE_DOWN) {
		if (p->state == KX_PAIR_UP)
			down(kx, pair);
		return;
	}
	if (p->state != KX_PAIR_IKE)
		return;
	if (ev->ike == KX_IKE_AUTH || ev->ike == KX_IKE_TS)
		retry(kx, pair);
	else
		try_next(kx, pair);
}

void pair_timer(struct kx *kx, uint32_t pair)
{
	struct pair *p = &kx->pairs[pair];
	bool over = kx->now_ms >= over_at(kx, p);

	switch (p->state) {
	case KX_PAIR_LOOKUP:
		/* The time of all of it is over; what had been tried decides. */
		fail(kx, pair, p->tried != 0 ? KX_WHY_IKE : KX_WHY_ERROR);
		break;
	case KX_PAIR_IKE:
		(void)act(kx, p, KX_TERMINATE);
		kx->count.terminated++;
		if (over)
			fail(kx, pair, KX_WHY_IKE);
		else
			try_next(kx, pair);
		break;
	case KX_PAIR_RETRY:
		connect(kx, pair);
		break;
	default:
		break;
	}
}

void pair_withdraw(struct kx *kx, uint32_t pair)
{
	kx->pairs[pair].withdrawn = true;
	pair_ready(kx, pair);
}

/* It failed before, and that is over now. */
static void absolve(struct kx *kx, uint32_t pair)
{
	if (pair == NONE || is_waiting(&kx->pairs[pair]) ||
		kx->pairs[pair].state == KX_PAIR_UP)
		return;
	kx->pairs[pair].until_ms = kx->now_ms;
	kx->pairs[pair].failures = 0;
}

void pair_unshunt(struct kx *kx, const struct kx_addr *s, const struct kx_addr *d)
{
	struct kx_action *a = emit(kx, KX_UNSHUNT);

	a->source = *s;
	a->destination = *d;
	absolve(kx, find(kx, s, d));
	absolve(kx, find(kx, d, s));
}

void pair_collide(struct kx *kx, const struct kx_addr *s, const struct kx_addr *d)
{
	uint32_t pair = find(kx, s, d);

	if (pair != NONE && is_waiting(&kx->pairs[pair]))
		kx->pairs[pair].collided = true;
}

/* What the lists have for it. */
void pair_step(struct kx *kx, uint32_t pair)
{
	struct pair *p = &kx->pairs[pair];
	const struct dest *d;

	if (p->flush || p->withdrawn) {
		bool was_up = p->state == KX_PAIR_UP;

		if (p->withdrawn && was_up) {
			p->why = KX_WHY_WITHDRAWN;
			(void)act(kx, p, KX_TERMINATE);
			kx->count.terminated++;
			kx->count.decisions[KX_WHY_WITHDRAWN]++;
			p->safe_until_ms = 0;
			down(kx, pair);
		} else if (p->flush && !was_up) {
			pair_unshunt(kx, &p->source, &p->destination);
			p->id = 0;
			cache_del(&kx->pair_index, pair);
		}
		p->flush = p->withdrawn = false;
		return;
	}
	if (p->state != KX_PAIR_LOOKUP || p->dest == NONE)
		return;
	d = &kx->dests[p->dest];
	if (d->state == DEST_FAILED) {
		if (d->why == KX_WHY_OURS)
			serve_ours(kx, pair);
		else
			fail(kx, pair, d->why);
	} else if (d->state == DEST_FOUND) {
		if (d->until_ms > kx->now_ms)
			choose(kx, pair);
		else if (!d->refresh) /* it was, and could not be asked again */
			fail(kx, pair, KX_WHY_ERROR);
	}
}

/* --- packets --------------------------------------------------------------------------
 */

/* Only this packet (until_ms now), or also those that follow. */
static void answer(struct kx *kx, const struct kx_event *ev, enum kx_action_kind kind,
	enum kx_why why, uint64_t until_ms)
{
	struct kx_action *a = emit(kx, kind);

	a->source = ev->source;
	a->destination = ev->flow.destination;
	a->why = why;
	a->until_ms = until_ms;
	if (kind == KX_PASS)
		kx->count.passed++;
	else
		kx->count.dropped++;
}

static uint32_t make(struct kx *kx, const struct kx_event *ev)
{
	uint64_t h = hash(kx, &ev->source, &ev->flow.destination);
	uint32_t slot = cache_add(&kx->pair_index, h);

	for (int i = 0; slot == NONE && i < 256; i++) {
		uint32_t old = cache_oldest(&kx->pair_index);
		const struct pair *p = &kx->pairs[old];

		if (is_waiting(p) || p->state == KX_PAIR_UP || p->ready) {
			cache_touch(&kx->pair_index, old);
			continue;
		}
		cache_del(&kx->pair_index, old);
		kx->count.evicted++;
		slot = cache_add(&kx->pair_index, h);
	}
	if (slot == NONE)
		return NONE;
	kx->pairs[slot] = (struct pair){ .source = ev->source,
		.destination = ev->flow.destination,
		.exch = NONE,
		.dest = NONE,
		.next = NONE,
		.source_slot = NONE,
		.state = KX_PAIR_DROPPED,
		.timer = { .kind = TIMER_PAIR, .index = slot } };
	kx->pairs[slot].id = ++kx->pair_serial << SLOT_BITS | slot;
	if (kx->pairs[slot].id >> SLOT_BITS == 0)
		kx->pairs[slot].id = ++kx->pair_serial << SLOT_BITS | slot;
	return slot;
}

static void take_rule(struct pair *p, const struct kx_rule *rule)
{
	p->group = rule->group;
	p->negotiation = rule->negotiation;
	p->failure = rule->failure;
	p->bogus_drop = rule->bogus_drop;
	p->failure_ttl_s = rule->failure_ttl_s != 0 ? rule->failure_ttl_s : 60;
	p->failure_most_s = rule->failure_most_s != 0 ? rule->failure_most_s : 900;
}

static void begin(struct kx *kx, const struct kx_event *ev, uint32_t pair,
	const struct kx_rule *rule, uint32_t named)
{
	uint32_t source_slot, dest;
	struct pair *p;

	if (!source_take(kx, &ev->source, &source_slot)) {
		answer(kx, ev, KX_DROP, KX_WHY_LIMIT, kx->now_ms);
		kx->count.decisions[KX_WHY_LIMIT]++;
		return;
	}
	pair = pair != NONE ? pair : make(kx, ev);
	dest = pair != NONE ? dest_get(kx, &ev->flow.destination, named) : NONE;
	if (dest == NONE) {
		source_give(kx, source_slot);
		kx->count.limited_all++;
		answer(kx, ev, KX_DROP, KX_WHY_LIMIT, kx->now_ms);
		return;
	}
	p = &kx->pairs[pair];
	take_rule(p, rule);
	p->source_slot = source_slot;
	p->state = KX_PAIR_LOOKUP;
	p->why = KX_WHY_NONE;
	p->tried = 0;
	p->collided = false;
	p->since_ms = kx->now_ms;
	p->until_ms = over_at(kx, p);
	heap_set(&kx->heap, &p->timer, p->until_ms);
	join(kx, pair, dest);
	if (p->negotiation == KX_SHUNT_PASS && p->group == KX_PRIVATE_OR_CLEAR)
		act(kx, p, KX_PASS)->until_ms = p->until_ms;
	pair_ready(kx, pair);
}

/* The rule that a packet falls under; *named is set when it is one by name. */
static const struct kx_rule *rule_of(
	const struct kx *kx, const struct kx_event *ev, uint32_t *named)
{
	const struct kx_rule *rule = kx_policy_find(kx->policy, &ev->flow);

	*named = named_find(kx, &ev->flow.destination);
	/* A name is as narrow as a host; a host's single port is narrower. */
	if (*named == NONE || (rule != NULL && kx_prefix_is_host(&rule->prefix) &&
				      rule->protocol != 0)) {
		*named = NONE;
		return rule;
	}
	return kx_policy_at(kx->policy, kx->named[*named].rule);
}

void pair_packet(struct kx *kx, const struct kx_event *event)
{
	struct kx_event ev = *event;
	const struct kx_rule *rule;
	uint32_t named, pair;

	kx->count.packets++;
	if (ev.flow.destination.len == 0)
		ev.flow.destination = ev.destination;
	if (ev.source.len == 0 || ev.source.len != ev.flow.destination.len)
		return;
	rule = rule_of(kx, &ev, &named);
	if (rule == NULL) {
		answer(kx, &ev, KX_PASS, KX_WHY_GROUP, kx->now_ms);
		return;
	}
	if (rule->group >= KX_CLEAR_OR_PRIVATE) {
		/* A shunt is for all of the pair: a port's rule is for its packets. */
		answer(kx, &ev, rule->group == KX_BLOCK ? KX_DROP : KX_PASS, KX_WHY_GROUP,
			kx->now_ms + (rule->protocol != 0 ? 0 : GROUP_MS));
		return;
	}
	pair = find(kx, &ev.source, &ev.flow.destination);
	if (pair != NONE) {
		const struct pair *p = &kx->pairs[pair];

		if (is_waiting(p) || p->state == KX_PAIR_UP || p->ready)
			return;
		if (p->until_ms > kx->now_ms) { /* the kernel forgot the shunt */
			act(kx, p, p->state == KX_PAIR_PASSED ? KX_PASS : KX_DROP)
				->until_ms = p->until_ms;
			return;
		}
	}
	begin(kx, &ev, pair, rule, named);
}

void pair_forget(struct kx *kx, const struct kx_event *ev)
{
	if (ev->peer.len != 0) {
		check_forget(kx, ev);
		return;
	}
	for (uint32_t i = cache_oldest(&kx->pair_index); i != NONE;
		i = cache_newer(&kx->pair_index, i)) {
		struct pair *p = &kx->pairs[i];

		if (is_waiting(p) || p->state == KX_PAIR_UP ||
			(ev->source.len != 0 &&
				!(kx_addr_same(&p->source, &ev->source) &&
					kx_addr_same(&p->destination, &ev->destination))))
			continue;
		p->flush = true;
		pair_ready(kx, i);
	}
	for (uint32_t i = cache_oldest(&kx->dest_index); i != NONE;
		i = cache_newer(&kx->dest_index, i)) {
		struct dest *d = &kx->dests[i];

		if (d->pairs == NONE && (ev->destination.len == 0 ||
						kx_addr_same(&d->addr, &ev->destination)))
			d->until_ms = kx->now_ms; /* asked anew */
	}
	check_forget(kx, ev);
}
