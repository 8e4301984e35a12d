/*
 * May an authenticated peer speak for S?  Only if signed DNS names it as a key exchanger
 * of S, or if it is S itself (RFC 2230 section 2.1).  No is the answer to everything that
 * is not a secure yes.
 */
#include "kx/state.h"

struct key {
	struct kx_name peer;
	struct kx_addr peer_addr; /* of an identity that is an address */
	struct kx_addr source;
};

static bool same(const void *ctx, uint32_t slot, const void *key)
{
	const struct check *c = &((const struct kx *)ctx)->checks[slot];
	const struct key *k = key;

	return kx_name_same(&c->peer, &k->peer) && kx_addr_same(&c->source, &k->source) &&
	       (k->peer.len != 0 || kx_addr_same(&c->peer_addr, &k->peer_addr));
}

static uint64_t hash(const struct kx *kx, const struct key *k)
{
	return cache_hash(hash_addr(kx, &k->source), k->peer.wire, k->peer.len);
}

/* --- answers --------------------------------------------------------------------------
 */

static void refuse(struct kx *kx, const struct kx_event *ev, enum kx_why why)
{
	struct kx_action *a = emit(kx, KX_REFUSE);

	a->id = ev->id;
	a->why = why;
	a->peer = ev->peer;
	a->source = ev->remote.addr;
	a->destination = ev->local.addr;
	a->until_ms = kx->now_ms;
	kx->count.refused++;
}

static void answer(struct kx *kx, const struct check *c, uint32_t token,
	const struct kx_addr *destination)
{
	bool yes = c->state == KX_PAIR_INBOUND && c->until_ms > kx->now_ms;
	struct kx_action *a = emit(kx, yes ? KX_AUTHORISE : KX_REFUSE);

	a->id = token;
	a->why = c->why;
	a->peer = c->peer;
	a->name = c->name;
	a->source = c->source;
	a->destination = *destination;
	a->until_ms = c->until_ms;
	if (!yes) {
		kx->count.refused++;
		return;
	}
	kx->count.authorised++;
	/* Packets back need no shunt any more, and no negotiation of ours. */
	pair_unshunt(kx, destination, &c->source);
	pair_collide(kx, destination, &c->source);
}

static void ready(struct kx *kx, uint32_t check)
{
	struct check *c = &kx->checks[check];

	if (c->ready)
		return;
	c->ready = true;
	c->ready_next = kx->ready_check;
	kx->ready_check = check;
}

void check_step(struct kx *kx, uint32_t check)
{
	struct check *c = &kx->checks[check];
	uint32_t asker = c->askers;

	if (asker == NONE || c->state == KX_PAIR_LOOKUP)
		return;
	c->askers = kx->askers[asker].next;
	answer(kx, c, kx->askers[asker].token, &kx->askers[asker].destination);
	asker_free(kx, asker);
	ready(kx, check);
}

static void enqueue(struct kx *kx, uint32_t check)
{
	struct check *c = &kx->checks[check];

	if (c->queued || c->walk != NONE)
		return;
	c->queued = true;
	c->queue = NONE;
	if (kx->check_last != NONE)
		kx->checks[kx->check_last].queue = check;
	else
		kx->check_first = check;
	kx->check_last = check;
}

void check_pump(struct kx *kx)
{
	while (kx->check_first != NONE) {
		uint32_t check = kx->check_first;
		struct check *c = &kx->checks[check];

		c->walk = walk_start(
			kx, OWNER_CHECK, check, &c->source, NULL, &c->peer, c->own);
		if (c->walk == NONE)
			return;
		c->queued = false;
		kx->check_first = c->queue;
		if (kx->check_first == NONE)
			kx->check_last = NONE;
	}
}

/* --- questions ------------------------------------------------------------------------
 */

static uint32_t make(struct kx *kx, const struct key *k)
{
	uint64_t h = hash(kx, k);
	uint32_t slot = cache_add(&kx->check_index, h);

	for (int i = 0; slot == NONE && i < 256; i++) {
		uint32_t old = cache_oldest(&kx->check_index);
		const struct check *c = &kx->checks[old];

		if (c->state != KX_PAIR_REFUSED || c->ready || c->askers != NONE ||
			c->queued || c->walk != NONE) {
			cache_touch(&kx->check_index, old);
			continue;
		}
		cache_del(&kx->check_index, old);
		kx->count.evicted++;
		slot = cache_add(&kx->check_index, h);
	}
	if (slot != NONE)
		kx->checks[slot] = (struct check){ .peer = k->peer,
			.peer_addr = k->peer_addr,
			.source = k->source,
			.state = KX_PAIR_REFUSED,
			.walk = NONE,
			.askers = NONE,
			.queue = NONE,
			.timer = { .kind = TIMER_CHECK, .index = slot } };
	return slot;
}

/* What needs no DNS to be refused. */
static enum kx_why refused_at_once(const struct kx *kx, const struct kx_event *ev)
{
	struct kx_flow back = { .destination = ev->remote.addr };
	const struct kx_rule *rule;
	bool local = false;

	if (!kx_prefix_is_host(&ev->remote) || !kx_prefix_is_host(&ev->local) ||
		ev->remote.addr.len != ev->local.addr.len)
		return KX_WHY_RANGE;
	for (size_t i = 0; i < kx->conf.n_local; i++)
		local |= kx_prefix_within(&ev->local, &kx->conf.local[i]);
	if (!local)
		return KX_WHY_NOT_LOCAL;
	rule = kx_policy_find(kx->policy, &back);
	return rule != NULL && rule->group >= KX_CLEAR ? KX_WHY_GROUP : KX_WHY_NONE;
}

static void wait(struct kx *kx, const struct kx_event *ev, uint32_t check)
{
	struct check *c = &kx->checks[check];
	uint32_t asker = asker_new(kx, ev->id, c->askers);

	if (asker == NONE) {
		refuse(kx, ev, KX_WHY_LIMIT);
		return;
	}
	kx->askers[asker].destination = ev->local.addr;
	c->askers = asker;
	if (c->state == KX_PAIR_LOOKUP)
		return;
	c->state = KX_PAIR_LOOKUP;
	c->own = kx_addr_same(&ev->peer_addr, &c->source);
	heap_stop(&kx->heap, &c->timer);
	enqueue(kx, check);
}

void check_ask(struct kx *kx, const struct kx_event *ev)
{
	struct key key = { ev->peer, ev->peer_addr, ev->remote.addr };
	enum kx_why why = refused_at_once(kx, ev);
	uint32_t check;
	struct check *c;

	if (why != KX_WHY_NONE) {
		refuse(kx, ev, why);
		return;
	}
	check = cache_find(&kx->check_index, hash(kx, &key), same, kx, &key);
	if (check != NONE && kx->checks[check].state != KX_PAIR_LOOKUP &&
		kx->checks[check].until_ms > kx->now_ms) {
		answer(kx, &kx->checks[check], ev->id, &ev->local.addr);
		return;
	}
	/* Only what costs look-ups counts. */
	if (!source_peer(kx, &ev->peer_addr, false)) {
		refuse(kx, ev, KX_WHY_LIMIT);
		return;
	}
	if (check == NONE)
		check = make(kx, &key);
	if (check == NONE) {
		refuse(kx, ev, KX_WHY_LIMIT);
		return;
	}
	c = &kx->checks[check];
	c->peer_addr = ev->peer_addr;
	wait(kx, ev, check);
}

/* --- judgement ------------------------------------------------------------------------
 */

/* Does this name of S make the peer its exchanger? */
static bool name_says_yes(const struct check *c, const struct walk_name *n)
{
	if (!n->confirmed)
		return false;
	if (n->kx == KX_SECURE)
		return n->names_peer;
	if (n->kx != KX_NODATA)
		return false;
	/* No KX: S speaks for itself, under its name or from its address. */
	return c->peer.len != 0 ? kx_name_same(&c->peer, &n->name) : c->own;
}

static bool says_yes(const struct check *c, const struct walk *w)
{
	for (uint8_t i = 0; i < w->n_names; i++)
		if (name_says_yes(c, &w->names[i]))
			return true;
	return w->alias;
}

/* Exchangers may lead to the peer by a CNAME, or by their addresses. */
static bool ask_aliases(struct kx *kx, uint32_t walk)
{
	struct walk *w = &kx->walks[walk];

	w->stage = WALK_ALIASES;
	for (uint8_t i = 0; i < w->n_names; i++) {
		const struct walk_name *n = &w->names[i];

		if (!n->confirmed || n->kx != KX_SECURE)
			continue;
		for (uint8_t k = 0; k < n->n && w->pending < TRY_MAX; k++) {
			if (kx_name_is_root(&n->list[k].exchanger))
				continue;
			w->pending++;
			(void)ask_new(kx, OWNER_WALK, walk, ROLE_ALIAS, k,
				&n->list[k].exchanger, w->timer.at_ms);
		}
	}
	return w->pending > 0;
}

static enum kx_why why_not(const struct walk *w)
{
	enum kx_why worst = KX_WHY_NONE;

	if (w->n_names == 0)
		return w->why;
	for (uint8_t i = 0; i < w->n_names; i++) {
		const struct walk_name *n = &w->names[i];
		enum kx_status status = n->confirmed ? n->kx : n->forward;

		if (status > KX_NODATA)
			worst = why_worse(worst, why_of(status));
		else if (!n->confirmed)
			worst = why_worse(worst, KX_WHY_FORWARD);
	}
	worst = why_worse(worst, w->alias_why);
	return worst == KX_WHY_NONE ? KX_WHY_NOT_EXCHANGER : worst;
}

static void terminate(struct kx *kx, struct check *c, enum kx_why why)
{
	struct kx_action *a = emit(kx, KX_TERMINATE);

	a->why = why;
	a->peer = c->peer;
	a->source = c->source; /* with any of ours */
	kx->count.terminated++;
	c->held = false;
}

static void yes(struct kx *kx, uint32_t check, const struct walk *w, uint32_t ttl_s)
{
	struct check *c = &kx->checks[check];

	c->why = w->n_names > 0 && w->names[0].kx == KX_NODATA ? KX_WHY_SELF
							       : KX_WHY_EXCHANGER;
	c->state = KX_PAIR_INBOUND;
	c->held = true;
	c->errors = 0;
	c->until_ms = keep_until(kx, KX_WHY_EXCHANGER, ttl_s, 0);
	heap_set(&kx->heap, &c->timer, kx->now_ms + (c->until_ms - kx->now_ms) * 4 / 5);
}

static void no(struct kx *kx, uint32_t check, enum kx_why why, uint32_t ttl_s)
{
	struct check *c = &kx->checks[check];
	uint64_t last = c->until_ms + 1000ULL * kx->limit.grace_s;

	if (why == KX_WHY_BOGUS)
		log_it(kx, why, true, &c->peer, &c->source, NULL);
	if (c->held && kx->now_ms < last &&
		(why == KX_WHY_ERROR || why == KX_WHY_BOGUS)) {
		/* Not asked is not withdrawn: what there is stays for a while. */
		uint64_t again = keep_until(kx, KX_WHY_ERROR, 0, c->errors);

		c->errors += c->errors < 16;
		c->why = why;
		c->state = KX_PAIR_INBOUND;
		heap_set(&kx->heap, &c->timer, again < last ? again : last);
		return;
	}
	if (c->held)
		terminate(kx, c, KX_WHY_WITHDRAWN);
	heap_stop(&kx->heap, &c->timer);
	c->state = KX_PAIR_REFUSED;
	c->why = why;
	c->until_ms = keep_until(kx, why, ttl_s, c->errors);
	c->errors += why == KX_WHY_ERROR && c->errors < 16;
}

void check_walked(struct kx *kx, uint32_t check)
{
	struct check *c = &kx->checks[check];
	uint32_t walk = c->walk;
	const struct walk *w = &kx->walks[walk];
	uint32_t ttl_s = w->ttl_s == UINT32_MAX ? 0 : w->ttl_s;
	bool good = says_yes(c, w);

	if (!good && w->stage == WALK_NAMES && ask_aliases(kx, walk))
		return;
	if (w->n_names > 0)
		c->name = w->names[0].name;
	if (good)
		yes(kx, check, w, ttl_s);
	else
		no(kx, check, why_not(w), ttl_s);
	c->walk = NONE;
	walk_end(kx, walk);
	ready(kx, check);
}

void check_timer(struct kx *kx, uint32_t check)
{
	struct check *c = &kx->checks[check];

	if (c->state == KX_PAIR_INBOUND && c->held)
		enqueue(kx, check);
}

void check_forget(struct kx *kx, const struct kx_event *ev)
{
	for (uint32_t i = cache_oldest(&kx->check_index); i != NONE;
		i = cache_newer(&kx->check_index, i)) {
		struct check *c = &kx->checks[i];

		if (c->state == KX_PAIR_LOOKUP || c->walk != NONE || c->queued ||
			(ev->source.len != 0 && !kx_addr_same(&ev->source, &c->source)))
			continue;
		if (ev->peer.len != 0 && kx_name_same(&ev->peer, &c->peer)) {
			/* Its SAs have gone: nothing to watch over. */
			heap_stop(&kx->heap, &c->timer);
			c->held = false;
			c->state = KX_PAIR_REFUSED;
			c->until_ms = kx->now_ms;
		} else if (ev->peer.len == 0 && !c->held) {
			c->until_ms = kx->now_ms;
		}
	}
}
