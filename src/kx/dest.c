/*
 * Destinations: what signed DNS says about an address, shared by all pairs towards it,
 * and looked at again while there are SAs that rest on it.
 */
#include "kx/state.h"

static bool same(const void *ctx, uint32_t slot, const void *key)
{
	const struct kx *kx = ctx;

	return kx_addr_same(&kx->dests[slot].addr, key);
}

static void put_exchs(struct kx *kx, struct dest *d)
{
	for (uint8_t i = 0; i < d->n_exch; i++)
		exch_put(kx, d->exch[i]);
	d->n_exch = 0;
}

static bool is_free(const struct dest *d)
{
	return d->pairs == NONE && !d->queued && d->walk == NONE && !d->active &&
	       d->state != DEST_EXCH;
}

void dest_forget(struct kx *kx, uint32_t dest)
{
	struct dest *d = &kx->dests[dest];

	if (!is_free(d)) {
		cache_touch(&kx->dest_index, dest);
		return;
	}
	heap_stop(&kx->heap, &d->timer);
	put_exchs(kx, d);
	cache_del(&kx->dest_index, dest);
	kx->count.evicted++;
}

/* --- the queue for walks --------------------------------------------------------------
 */

static void enqueue(struct kx *kx, uint32_t dest)
{
	struct dest *d = &kx->dests[dest];

	if (d->queued || d->walk != NONE)
		return;
	d->queued = true;
	d->queue = NONE;
	if (kx->dest_last != NONE)
		kx->dests[kx->dest_last].queue = dest;
	else
		kx->dest_first = dest;
	kx->dest_last = dest;
}

void dest_pump(struct kx *kx)
{
	while (kx->dest_first != NONE) {
		uint32_t dest = kx->dest_first;
		struct dest *d = &kx->dests[dest];
		const struct kx_name *name = NULL;

		if (d->named != NONE)
			name = &kx->named[d->named].name;
		d->walk = walk_start(kx, OWNER_DEST, dest, &d->addr, name, NULL, false);
		if (d->walk == NONE)
			return;
		d->queued = false;
		kx->dest_first = d->queue;
		if (kx->dest_first == NONE)
			kx->dest_last = NONE;
		if (!d->refresh)
			d->state = DEST_WALK;
	}
}

static void look_up(struct kx *kx, uint32_t dest)
{
	struct dest *d = &kx->dests[dest];

	put_exchs(kx, d);
	d->state = DEST_QUEUED;
	d->why = KX_WHY_NONE;
	d->refresh = false;
	enqueue(kx, dest);
}

static uint32_t make(struct kx *kx, const struct kx_addr *addr)
{
	uint64_t hash = hash_addr(kx, addr);
	uint32_t slot = cache_add(&kx->dest_index, hash);

	for (int i = 0; slot == NONE && i < 64; i++) {
		dest_forget(kx, cache_oldest(&kx->dest_index));
		slot = cache_add(&kx->dest_index, hash);
	}
	if (slot != NONE)
		kx->dests[slot] = (struct dest){ .addr = *addr,
			.walk = NONE,
			.pairs = NONE,
			.queue = NONE,
			.active_next = NONE,
			.timer = { .kind = TIMER_DEST, .index = slot } };
	return slot;
}

static bool has_up(const struct kx *kx, const struct dest *d)
{
	for (uint32_t p = d->pairs; p != NONE; p = kx->pairs[p].next)
		if (kx->pairs[p].state == KX_PAIR_UP)
			return true;
	return false;
}

uint32_t dest_get(struct kx *kx, const struct kx_addr *addr, uint32_t named)
{
	uint32_t dest = cache_find(&kx->dest_index, hash_addr(kx, addr), same, kx, addr);
	struct dest *d;

	if (dest == NONE) {
		dest = make(kx, addr);
		if (dest == NONE)
			return NONE;
		d = &kx->dests[dest];
	} else {
		d = &kx->dests[dest];
		if (d->queued || d->walk != NONE)
			return dest;
		if (d->named == named &&
			(d->state <= DEST_EXCH || d->until_ms > kx->now_ms))
			return dest;
		if (has_up(kx, d)) { /* they learn it too */
			d->named = named;
			dest_timer(kx, dest);
			return dest;
		}
	}
	d->named = named;
	look_up(kx, dest);
	return dest;
}

/* --- exchangers -----------------------------------------------------------------------
 */

static void activate(struct kx *kx, uint32_t dest)
{
	struct dest *d = &kx->dests[dest];

	if (d->active)
		return;
	d->active = true;
	d->active_next = kx->active;
	kx->active = dest;
}

static void release(struct kx *kx, const struct dest *d)
{
	for (uint32_t p = d->pairs; p != NONE; p = kx->pairs[p].next)
		if (kx->pairs[p].state == KX_PAIR_LOOKUP)
			pair_ready(kx, p);
}

static void failed(struct kx *kx, struct dest *d, enum kx_why why, uint32_t ttl_s)
{
	put_exchs(kx, d);
	d->state = DEST_FAILED;
	d->why = why;
	d->until_ms = keep_until(kx, why, ttl_s, d->errors);
	d->errors += why == KX_WHY_ERROR && d->errors < 16;
	heap_stop(&kx->heap, &d->timer);
	kx->count.decisions[why]++;
	if (why == KX_WHY_BOGUS)
		log_it(kx, why, true, d->name.len != 0 ? &d->name : NULL, NULL, &d->addr);
	release(kx, d);
}

/* May exchanger i be looked up now?  Those in front have some time to answer first. */
static bool is_due(const struct kx *kx, const struct dest *d, uint8_t i)
{
	return kx->now_ms >= d->exch_from_ms + (uint64_t)i * kx->limit.stagger_ms;
}

void dest_poke(struct kx *kx, uint32_t dest)
{
	struct dest *d = &kx->dests[dest];
	bool pending = false, usable = false;
	enum kx_why why = KX_WHY_NONE;
	uint8_t i = 0;

	if (d->state != DEST_EXCH)
		return;
	for (; i < d->n_exch && !usable; i++) {
		enum exch_state state;

		if (pending && !is_due(kx, d, i))
			break;
		state = exch_want(kx, d->exch[i]);
		usable = state == EXCH_USABLE;
		pending |= state == EXCH_ASKING;
		if (state == EXCH_FAILED)
			why = why_worse(why, kx->exchs[d->exch[i]].why);
	}
	if (usable) {
		d->state = DEST_FOUND;
		d->errors = 0;
		kx->count.decisions[d->why]++;
		release(kx, d);
	} else if (pending && i < d->n_exch) {
		heap_set(&kx->heap, &d->timer,
			d->exch_from_ms + (uint64_t)i * kx->limit.stagger_ms);
	} else if (!pending) {
		failed(kx, d, why != KX_WHY_NONE ? why : KX_WHY_UNUSABLE, d->ttl_s);
	}
}

void dest_exch_done(struct kx *kx, uint32_t exch)
{
	uint32_t *at = &kx->active;

	while (*at != NONE) {
		struct dest *d = &kx->dests[*at];
		uint32_t dest = *at;
		bool waits = d->state == DEST_EXCH, ours = false;

		for (uint32_t p = d->pairs; p != NONE; p = kx->pairs[p].next)
			waits |= kx->pairs[p].state == KX_PAIR_LOOKUP;
		if (!waits) {
			*at = d->active_next;
			d->active = false;
			continue;
		}
		at = &d->active_next;
		for (uint8_t i = 0; i < d->n_exch; i++)
			ours |= d->exch[i] == exch;
		if (!ours)
			continue;
		if (d->state == DEST_EXCH)
			dest_poke(kx, dest);
		else
			release(kx, d);
	}
}

uint32_t dest_next(struct kx *kx, uint32_t dest, uint8_t *tried, bool *pending)
{
	struct dest *d = &kx->dests[dest];

	*pending = false;
	for (uint8_t i = 0; i < d->n_exch; i++) {
		enum exch_state state;

		if (*tried & 1U << i)
			continue;
		/* One in front that is slow does not hold those behind for long. */
		if (*pending && !is_due(kx, d, i))
			break;
		state = exch_want(kx, d->exch[i]);
		if (state == EXCH_USABLE)
			return d->exch[i];
		if (state == EXCH_FAILED)
			*tried |= (uint8_t)(1U << i);
		else
			*pending = true;
	}
	if (*pending)
		activate(kx, dest);
	return NONE;
}

/* --- what a walk brought --------------------------------------------------------------
 */

static bool is_self(const struct kx *kx, const struct kx_name *name)
{
	for (size_t i = 0; i < kx->conf.n_self; i++)
		if (kx_name_same(&kx->conf.self[i], name))
			return true;
	return false;
}

/* How many of the list count: those in front of ourselves (as with MX). */
static uint8_t before_self(const struct kx *kx, const struct walk_name *n)
{
	uint8_t i = 0;

	while (i < n->n && !is_self(kx, &n->list[i].exchanger))
		i++;
	/* Equals of ours are no better than we are. */
	while (i > 0 && i < n->n && n->list[i - 1].preference == n->list[i].preference)
		i--;
	return i;
}

/* The exchangers to try; the reason when there are none. */
static enum kx_why take_list(struct kx *kx, struct dest *d, const struct walk_name *n)
{
	uint8_t most = before_self(kx, n);
	uint32_t got[TRY_MAX];
	uint8_t n_got = 0;

	if (most == 0)
		return KX_WHY_OURS;
	for (uint8_t i = 0; i < most && n_got < TRY_MAX; i++) {
		uint32_t e;

		if (most > 1 && kx_name_is_root(&n->list[i].exchanger))
			continue;
		e = exch_get(kx, &n->list[i].exchanger);
		if (e != NONE)
			got[n_got++] = e;
	}
	if (n_got == 0)
		return KX_WHY_LIMIT;
	put_exchs(kx, d);
	for (uint8_t i = 0; i < n_got; i++)
		d->exch[i] = got[i];
	d->n_exch = n_got;
	return KX_WHY_EXCHANGER;
}

static enum kx_why take_self(struct kx *kx, struct dest *d, const struct kx_name *name)
{
	uint32_t e;

	if (is_self(kx, name))
		return KX_WHY_OURS;
	e = exch_get(kx, name);
	if (e == NONE)
		return KX_WHY_LIMIT;
	put_exchs(kx, d);
	d->exch[0] = e;
	d->n_exch = 1;
	return KX_WHY_SELF;
}

static enum kx_why take(
	struct kx *kx, struct dest *d, enum kx_why why, const struct walk_name *n)
{
	if (n == NULL)
		return why;
	d->name = n->name;
	d->self = why == KX_WHY_SELF;
	if (why == KX_WHY_EXCHANGER)
		why = take_list(kx, d, n);
	else if (why == KX_WHY_SELF)
		why = take_self(kx, d, &n->name);
	return why;
}

void dest_watch(struct kx *kx, uint32_t dest)
{
	struct dest *d = &kx->dests[dest];

	if (d->state == DEST_FOUND && !d->refresh && !d->queued)
		heap_set(&kx->heap, &d->timer,
			d->until_ms > kx->now_ms
				? kx->now_ms + (d->until_ms - kx->now_ms) * 4 / 5
				: kx->now_ms);
}

static bool still_named(const struct kx *kx, const struct pair *p, enum kx_why why,
	const struct walk_name *n)
{
	const struct kx_name *name;

	if (p->exch == NONE)
		return true;
	name = &kx->exchs[p->exch].name;
	if (why == KX_WHY_SELF)
		return kx_name_same(name, &n->name);
	for (uint8_t i = 0; i < n->n; i++)
		if (kx_name_same(name, &n->list[i].exchanger))
			return true;
	return false;
}

/* n NULL: all. */
static void withdraw(
	struct kx *kx, const struct dest *d, enum kx_why why, const struct walk_name *n)
{
	for (uint32_t p = d->pairs, next; p != NONE; p = next) {
		next = kx->pairs[p].next;
		if (kx->pairs[p].state != KX_PAIR_UP)
			continue;
		if (n == NULL || !still_named(kx, &kx->pairs[p], why, n))
			pair_withdraw(kx, p);
	}
}

/* While SAs rest on what we had: does it still hold? */
static void refreshed(struct kx *kx, uint32_t dest, enum kx_why why,
	const struct walk_name *n, uint32_t ttl_s)
{
	struct dest *d = &kx->dests[dest];
	uint64_t last = d->until_ms + 1000ULL * kx->limit.grace_s;

	d->refresh = false;
	if (why == KX_WHY_EXCHANGER || why == KX_WHY_SELF) {
		withdraw(kx, d, why, n);
		why = take(kx, d, why, n);
	}
	if (why == KX_WHY_EXCHANGER || why == KX_WHY_SELF) {
		d->why = why;
		d->errors = 0;
		d->ttl_s = ttl_s;
		d->exch_from_ms = kx->now_ms;
		d->until_ms = keep_until(kx, why, ttl_s, 0);
		release(kx, d);
	} else if ((why == KX_WHY_ERROR || why == KX_WHY_BOGUS || why == KX_WHY_LIMIT) &&
		   kx->now_ms < last) {
		/* Not asked is not withdrawn; nobody may end SAs by ending our DNS. */
		uint64_t again = keep_until(kx, KX_WHY_ERROR, 0, d->errors);

		d->errors += d->errors < 16;
		if (why == KX_WHY_BOGUS)
			log_it(kx, why, true, &d->name, NULL, &d->addr);
		heap_set(&kx->heap, &d->timer, again < last ? again : last);
		release(kx, d);
		return;
	} else {
		withdraw(kx, d, why, NULL);
		failed(kx, d, why, ttl_s);
		return;
	}
	if (d->pairs != NONE)
		dest_watch(kx, dest);
}

void dest_walked(struct kx *kx, uint32_t dest)
{
	struct dest *d = &kx->dests[dest];
	uint32_t walk = d->walk;
	const struct walk *w = &kx->walks[walk];
	const struct walk_name *n;
	enum kx_why why = walk_judge(kx, w, &n);
	uint32_t ttl_s = w->ttl_s == UINT32_MAX ? 0 : w->ttl_s;

	d->walk = NONE;
	if (d->refresh) {
		refreshed(kx, dest, why, n, ttl_s);
		walk_end(kx, walk);
		return;
	}
	why = take(kx, d, why, n);
	walk_end(kx, walk);
	d->ttl_s = ttl_s;
	if (why != KX_WHY_EXCHANGER && why != KX_WHY_SELF) {
		failed(kx, d, why, ttl_s);
		return;
	}
	d->why = why;
	d->state = DEST_EXCH;
	d->exch_from_ms = kx->now_ms;
	d->until_ms = keep_until(kx, why, ttl_s, 0);
	activate(kx, dest);
	dest_poke(kx, dest);
}

void dest_timer(struct kx *kx, uint32_t dest)
{
	struct dest *d = &kx->dests[dest];

	if (d->state == DEST_EXCH) {
		dest_poke(kx, dest);
		return;
	}
	if (d->pairs == NONE)
		return;
	heap_stop(&kx->heap, &d->timer);
	d->refresh = true;
	enqueue(kx, dest);
}
