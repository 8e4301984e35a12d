/*
 * Exchangers: addresses, key and port of a name, each secure or not used.  Shared by all
 * destinations that name it.
 *
 * An exchanger with one unsigned or failed answer is skipped whole: without its SRV
 * record, say, we would speak to the port of somebody else on a shared address.
 */
#include "kx/state.h"

#include <string.h>

#define VALID_LEAST_S 60 /* nothing may expire while it is negotiated with */

static bool same(const void *ctx, uint32_t slot, const void *key)
{
	const struct kx *kx = ctx;

	return kx_name_same(&kx->exchs[slot].name, key);
}

static bool is_free(const struct exch *e)
{
	return e->refs == 0 && e->askers == NONE && e->state != EXCH_ASKING && !e->ready;
}

/* Room for one more: an unused one, or one that only old decisions refer to. */
static uint32_t make_room(struct kx *kx, uint64_t hash)
{
	for (int i = 0; i < 256; i++) {
		uint32_t old = cache_oldest(&kx->exch_index);
		uint32_t dest = cache_oldest(&kx->dest_index);

		if (is_free(&kx->exchs[old])) {
			cache_del(&kx->exch_index, old);
			kx->count.evicted++;
			return cache_add(&kx->exch_index, hash);
		}
		cache_touch(&kx->exch_index, old);
		if (dest != NONE)
			dest_forget(kx, dest);
	}
	return NONE;
}

uint32_t exch_get(struct kx *kx, const struct kx_name *name)
{
	uint64_t hash = cache_hash(kx->seed, name->wire, name->len);
	uint32_t slot = cache_find(&kx->exch_index, hash, same, kx, name);

	if (slot == NONE) {
		slot = cache_add(&kx->exch_index, hash);
		if (slot == NONE)
			slot = make_room(kx, hash);
		if (slot == NONE)
			return NONE;
		kx->exchs[slot] = (struct exch){ .name = *name, .askers = NONE };
	}
	kx->exchs[slot].refs++;
	return slot;
}

void exch_put(struct kx *kx, uint32_t exch)
{
	if (exch != NONE)
		kx->exchs[exch].refs--;
}

/* --- look-ups -------------------------------------------------------------------------
 */

static void fail(struct exch *e, enum kx_why why)
{
	e->why = why_worse(e->why, why);
}

static void ask(struct kx *kx, uint32_t exch, enum role role, const struct kx_name *name)
{
	if (ask_new(kx, OWNER_EXCH, exch, role, 0, name, 0))
		kx->exchs[exch].pending++;
	else
		fail(&kx->exchs[exch], KX_WHY_LIMIT);
}

static void ask_port(struct kx *kx, uint32_t exch, const struct kx_name *name)
{
	struct kx_name service;

	/* RFC 2782; a name too long for it has no such record. */
	if (kx_name_prefix("_isakmp._udp", name, &service) == 0)
		ask(kx, exch, ROLE_SRV, &service);
}

static void start(struct kx *kx, uint32_t exch)
{
	struct exch *e = &kx->exchs[exch];

	e->state = EXCH_ASKING;
	e->why = KX_WHY_NONE;
	e->x = (struct kx_exchanger){ .name = e->name };
	e->canon = e->name;
	e->srv_again = false;
	e->ttl_s = UINT32_MAX;
	ask(kx, exch, ROLE_A, &e->name);
	ask(kx, exch, ROLE_AAAA, &e->name);
	ask(kx, exch, ROLE_KEY, &e->name);
	ask_port(kx, exch, &e->name);
	if (e->pending == 0) { /* no look-up was to be had */
		e->state = EXCH_FAILED;
		e->until_ms = keep_until(kx, KX_WHY_LIMIT, 0, 0);
	}
}

enum exch_state exch_want(struct kx *kx, uint32_t exch)
{
	struct exch *e = &kx->exchs[exch];

	if (e->state == EXCH_ASKING)
		return e->state;
	if (e->state == EXCH_IDLE || e->until_ms <= kx->now_ms) {
		if (kx_name_is_root(&e->name)) {
			/* "." says that there is none (as RFC 7505 for MX). */
			e->state = EXCH_FAILED;
			e->why = KX_WHY_NULL;
			e->until_ms = UINT64_MAX;
		} else {
			start(kx, exch);
		}
	}
	return e->state;
}

static void take_addrs(struct exch *e, uint16_t type, const struct kx_answer *a)
{
	for (size_t i = 0; i < a->n && e->x.n_addrs < KX_ADDRS_MAX; i++)
		if (kx_addr_decode(type, a->rdata[i].bytes, a->rdata[i].len,
			    &e->x.addrs[e->x.n_addrs]) == 0)
			e->x.n_addrs++;
	if (a->canon.len != 0)
		e->canon = a->canon;
}

/* The best by precedence, KX_KEYS_MAX of them. */
static void take_keys(struct exch *e, const struct kx_answer *a)
{
	for (size_t i = 0; i < a->n; i++) {
		struct kx_exchanger *x = &e->x;
		struct kx_key key;
		size_t at = x->n_keys;

		if (kx_key_decode(a->rdata[i].bytes, a->rdata[i].len, &key) != 0 ||
			key.algorithm == 0)
			continue;
		while (at > 0 && x->keys[at - 1].precedence > key.precedence)
			at--;
		if (at == KX_KEYS_MAX)
			continue;
		x->n_keys = x->n_keys < KX_KEYS_MAX ? x->n_keys + 1 : KX_KEYS_MAX;
		memmove(&x->keys[at + 1], &x->keys[at],
			(x->n_keys - at - 1) * sizeof(x->keys[0]));
		x->keys[at] = key;
	}
}

/*
 * The most preferred record's port.  Its target is not followed: where to is what KX and
 * A say.  Target "." is the service's absence.
 */
static void take_port(struct exch *e, const struct kx_answer *a)
{
	struct kx_srv best = { .priority = UINT16_MAX };
	bool any = false;

	for (size_t i = 0; i < a->n; i++) {
		struct kx_srv srv;

		if (kx_srv_decode(a->rdata[i].bytes, a->rdata[i].len, &srv) != 0)
			continue;
		if (any && (srv.priority > best.priority ||
				   (srv.priority == best.priority &&
					   srv.weight <= best.weight)))
			continue;
		any = true;
		best = srv;
	}
	if (!any)
		return;
	if (kx_name_is_root(&best.target) || best.port == 0)
		fail(e, KX_WHY_NULL);
	e->x.port = best.port == 500 ? 0 : best.port;
}

/* A key belongs to the gateway in its record; without one, to the name. */
static bool is_key_of(const struct exch *e, const struct kx_key *key)
{
	switch (key->gateway_kind) {
	case KX_GATEWAY_NONE:
		return true;
	case KX_GATEWAY_NAME:
		return kx_name_same(&key->gateway_name, &e->name) ||
		       kx_name_same(&key->gateway_name, &e->canon);
	case KX_GATEWAY_4:
	case KX_GATEWAY_6:
		for (size_t i = 0; i < e->x.n_addrs; i++)
			if (kx_addr_same(&key->gateway, &e->x.addrs[i]))
				return true;
		return false;
	}
	return false;
}

static void keys_sift(struct exch *e)
{
	size_t n = 0;

	for (size_t i = 0; i < e->x.n_keys; i++)
		if (is_key_of(e, &e->x.keys[i]))
			e->x.keys[n++] = e->x.keys[i];
	e->x.n_keys = n;
}

static void ready(struct kx *kx, uint32_t exch)
{
	struct exch *e = &kx->exchs[exch];

	if (e->ready)
		return;
	e->ready = true;
	e->ready_next = kx->ready_exch;
	kx->ready_exch = exch;
}

static void done(struct kx *kx, uint32_t exch)
{
	struct exch *e = &kx->exchs[exch];
	uint32_t ttl = e->ttl_s;

	keys_sift(e);
	if (e->why == KX_WHY_NONE && e->x.n_addrs == 0)
		e->why = KX_WHY_UNUSABLE;
	if (e->why == KX_WHY_NONE && kx->conf.key_needed && e->x.n_keys == 0)
		e->why = KX_WHY_UNUSABLE;
	if (e->why == KX_WHY_NONE) {
		/* The identity is the canonical name: that is whose the key is. */
		e->x.name = e->canon;
		e->state = EXCH_USABLE;
		e->errors = 0;
		e->until_ms = keep_until(kx, KX_WHY_EXCHANGER,
			ttl < VALID_LEAST_S ? VALID_LEAST_S : ttl, 0);
	} else {
		e->state = EXCH_FAILED;
		e->until_ms = keep_until(kx, e->why, ttl, e->errors);
		e->errors += e->why == KX_WHY_ERROR && e->errors < 16;
	}
	ready(kx, exch);
}

void exch_answer(struct kx *kx, const struct ask *ask_, const struct kx_answer *a)
{
	struct exch *e = &kx->exchs[ask_->index];

	if (a->status != KX_ERROR && a->ttl_s < e->ttl_s)
		e->ttl_s = a->ttl_s;
	if (a->status > KX_NXDOMAIN)
		fail(e, why_of(a->status));
	if (a->status == KX_SECURE && ask_->role == ROLE_A)
		take_addrs(e, KX_T_A, a);
	if (a->status == KX_SECURE && ask_->role == ROLE_AAAA)
		take_addrs(e, KX_T_AAAA, a);
	if (a->status == KX_SECURE && ask_->role == ROLE_KEY)
		take_keys(e, a);
	if (a->status == KX_SECURE && ask_->role == ROLE_SRV)
		take_port(e, a);
	if (--e->pending > 0)
		return;
	/* A CNAME does not lead _isakmp._udp below it to the canonical name. */
	if (!e->srv_again && e->why == KX_WHY_NONE && e->x.port == 0 &&
		!kx_name_same(&e->canon, &e->name)) {
		e->srv_again = true;
		ask_port(kx, ask_->index, &e->canon);
		if (e->pending > 0)
			return;
	}
	done(kx, ask_->index);
}

/* --- who waits for it -----------------------------------------------------------------
 */

static void trust(struct kx *kx, const struct exch *e, uint32_t token)
{
	bool ok = e->state == EXCH_USABLE && e->x.n_keys > 0;
	struct kx_action *a = emit(kx, ok ? KX_TRUST : KX_REFUSE);

	a->id = token;
	a->peer = e->name;
	a->until_ms = e->until_ms;
	a->why = ok                        ? KX_WHY_EXCHANGER
		 : e->state == EXCH_USABLE ? KX_WHY_UNUSABLE
					   : e->why;
	a->exchanger = ok ? &e->x : NULL;
}

static void refuse(struct kx *kx, const struct kx_event *ev, enum kx_why why)
{
	struct kx_action *a = emit(kx, KX_REFUSE);

	a->id = ev->id;
	a->why = why;
	a->peer = ev->peer;
	a->until_ms = kx->now_ms;
	kx->count.refused++;
}

void exch_trust(struct kx *kx, const struct kx_event *ev)
{
	uint32_t exch, asker;

	if (ev->peer.len == 0) { /* an address has no key in the DNS by that alone */
		refuse(kx, ev, KX_WHY_UNUSABLE);
		return;
	}
	exch = source_peer(kx, &ev->peer_addr, true) ? exch_get(kx, &ev->peer) : NONE;
	if (exch == NONE) {
		refuse(kx, ev, KX_WHY_LIMIT);
		return;
	}
	exch_put(kx, exch); /* the asker keeps it, or nothing needs to */
	if (exch_want(kx, exch) != EXCH_ASKING) {
		trust(kx, &kx->exchs[exch], ev->id);
		return;
	}
	asker = asker_new(kx, ev->id, kx->exchs[exch].askers);
	if (asker == NONE)
		refuse(kx, ev, KX_WHY_LIMIT);
	else
		kx->exchs[exch].askers = asker;
}

void exch_step(struct kx *kx, uint32_t exch)
{
	struct exch *e = &kx->exchs[exch];
	uint32_t asker = e->askers;

	if (asker != NONE && e->state != EXCH_ASKING) {
		e->askers = kx->askers[asker].next;
		trust(kx, e, kx->askers[asker].token);
		asker_free(kx, asker);
		ready(kx, exch); /* one at a time: each is an action */
		return;
	}
	dest_exch_done(kx, exch);
}
