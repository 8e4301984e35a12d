/*
 * From an address to what signed DNS says about it: its names, whether those have the
 * address (a reverse zone may name what it likes), and their KX records.
 *
 * Only the reverse tree speaks for an address: the owner of any signed name may point it
 * at an address that is not his, and would else take its traffic.
 */
#include "base/err.h"
#include "kx/state.h"

#include <string.h>

uint32_t walk_start(struct kx *kx, enum owner owner, uint32_t index,
	const struct kx_addr *addr, const struct kx_name *name,
	const struct kx_name *peer, bool own)
{
	uint64_t deadline = kx->now_ms + kx->limit.decision_ms;
	struct kx_name reverse;
	uint32_t i = 0;
	struct walk *w;

	while (i < kx->n_walks && kx->walks[i].used)
		i++;
	if (i == kx->n_walks)
		return NONE;
	w = &kx->walks[i];
	*w = (struct walk){ .owner = owner,
		.index = index,
		.used = true,
		.addr = *addr,
		.own = own,
		.ttl_s = UINT32_MAX,
		.pending = 1,
		.timer = { .kind = TIMER_WALK, .index = i } };
	if (peer != NULL)
		w->peer = *peer;
	heap_set(&kx->heap, &w->timer, deadline);
	kx->count.undecided++;
	if (name == NULL) {
		kx_addr_reverse(addr, &reverse);
		(void)ask_new(kx, OWNER_WALK, i, ROLE_REVERSE, 0, &reverse, deadline);
		return i;
	}
	/* The operator wrote this name down: nothing to confirm. */
	w->stage = WALK_NAMES;
	w->n_names = 1;
	w->names[0] = (struct walk_name){
		.name = *name, .forward = KX_SECURE, .kx = KX_STATUSES, .confirmed = true
	};
	(void)ask_new(kx, OWNER_WALK, i, ROLE_KX, 0, name, deadline);
	return i;
}

void walk_end(struct kx *kx, uint32_t walk)
{
	struct walk *w = &kx->walks[walk];

	heap_stop(&kx->heap, &w->timer);
	if (w->pending > 0)
		ask_drop(kx, OWNER_WALK, walk);
	w->used = false;
	kx->count.undecided--;
}

static void walk_done(struct kx *kx, uint32_t walk)
{
	const struct walk *w = &kx->walks[walk];

	if (w->owner == OWNER_DEST)
		dest_walked(kx, w->index);
	else
		check_walked(kx, w->index);
}

void walk_late(struct kx *kx, uint32_t walk)
{
	struct walk *w = &kx->walks[walk];

	if (w->stage == WALK_REVERSE)
		w->why = KX_WHY_ERROR;
	for (uint8_t i = 0; i < w->n_names; i++) {
		struct walk_name *n = &w->names[i];

		n->forward = n->forward == KX_STATUSES ? KX_ERROR : n->forward;
		n->kx = n->kx == KX_STATUSES ? KX_ERROR : n->kx;
	}
	if (w->stage == WALK_ALIASES)
		w->alias_why = why_worse(w->alias_why, KX_WHY_ERROR);
	ask_drop(kx, OWNER_WALK, walk);
	w->pending = 0;
	walk_done(kx, walk);
}

/* --- reverse --------------------------------------------------------------------------
 */

/* The names of the answer, each once.  More than NAMES_MAX: false. */
static bool names_take(struct walk *w, const struct kx_answer *a)
{
	for (size_t i = 0; i < a->n; i++) {
		struct kx_name name;
		bool known = false;

		if (kx_ptr_decode(a->rdata[i].bytes, a->rdata[i].len, &name) != 0)
			continue;
		for (uint8_t k = 0; k < w->n_names; k++)
			known |= kx_name_same(&w->names[k].name, &name);
		if (known)
			continue;
		if (w->n_names == NAMES_MAX)
			return false;
		w->names[w->n_names++] = (struct walk_name){
			.name = name, .forward = KX_STATUSES, .kx = KX_STATUSES
		};
	}
	return w->n_names > 0 && a->more == 0;
}

static void names_ask(struct kx *kx, uint32_t walk)
{
	struct walk *w = &kx->walks[walk];

	w->stage = WALK_NAMES;
	for (uint8_t i = 0; i < w->n_names; i++) {
		struct walk_name *n = &w->names[i];

		if (kx->conf.no_forward) {
			n->forward = KX_SECURE;
			n->confirmed = true;
		} else {
			w->pending++;
			(void)ask_new(kx, OWNER_WALK, walk, ROLE_FORWARD, i, &n->name,
				w->timer.at_ms);
		}
		/* Who speaks for himself needs no KX (RFC 2230 section 2.1.3). */
		if (w->own && (w->peer.len == 0 || kx_name_same(&w->peer, &n->name))) {
			n->kx = KX_NODATA;
			continue;
		}
		w->pending++;
		(void)ask_new(kx, OWNER_WALK, walk, ROLE_KX, i, &n->name, w->timer.at_ms);
	}
}

static void on_reverse(struct kx *kx, uint32_t walk, const struct kx_answer *a)
{
	struct walk *w = &kx->walks[walk];

	if (a->status == KX_SECURE && names_take(w, a)) {
		names_ask(kx, walk);
		return;
	}
	w->n_names = 0;
	/* Denied, or so many that none of them means this host. */
	w->why = a->status <= KX_NXDOMAIN ? KX_WHY_REVERSE : why_of(a->status);
}

/* --- names ----------------------------------------------------------------------------
 */

static bool has_addr(const struct kx_answer *a, const struct kx_addr *addr)
{
	uint16_t type = addr->len == 4 ? KX_T_A : KX_T_AAAA;

	for (size_t i = 0; i < a->n; i++) {
		struct kx_addr one;

		if (kx_addr_decode(type, a->rdata[i].bytes, a->rdata[i].len, &one) == 0 &&
			kx_addr_same(&one, addr))
			return true;
	}
	return false;
}

static bool has_exchanger(const struct walk_name *n, const struct kx_name *name)
{
	for (uint8_t i = 0; i < n->n; i++)
		if (kx_name_same(&n->list[i].exchanger, name))
			return true;
	return false;
}

/* Lower preference first; of equals where shuffling left them; the last one drops off. */
static void list_add(struct walk_name *n, const struct kx_rr *rr)
{
	uint8_t at = n->n;

	if (has_exchanger(n, &rr->exchanger))
		return;
	while (at > 0 && n->list[at - 1].preference > rr->preference)
		at--;
	if (at == LIST_MAX)
		return;
	n->n = n->n < LIST_MAX ? n->n + 1 : LIST_MAX;
	memmove(&n->list[at + 1], &n->list[at],
		(size_t)(n->n - at - 1) * sizeof(n->list[0]));
	n->list[at] = *rr;
}

static void list_take(
	struct kx *kx, struct walk *w, struct walk_name *n, const struct kx_answer *a)
{
	uint8_t order[KX_RDATA_MAX] = { 0 };

	for (size_t i = 0; i < a->n; i++)
		order[i] = (uint8_t)i;
	for (size_t i = a->n; i > 1; i--) {
		size_t k = random_below(&kx->conf.random, (uint32_t)i);
		uint8_t other = order[k];

		order[k] = order[i - 1];
		order[i - 1] = other;
	}
	for (size_t i = 0; i < a->n; i++) {
		const struct kx_rdata *r = &a->rdata[order[i]];
		struct kx_rr rr;

		if (kx_rr_decode(r->bytes, r->len, &rr) != 0)
			continue;
		/* A peer may be any of them, also one that we would not try. */
		n->names_peer |=
			w->peer.len != 0 && kx_name_same(&rr.exchanger, &w->peer);
		list_add(n, &rr);
	}
}

static void on_alias(struct kx *kx, struct walk *w, const struct kx_answer *a)
{
	const struct check *c = &kx->checks[w->index];

	if (a->status != KX_SECURE) {
		if (a->status > KX_NXDOMAIN)
			w->alias_why = why_worse(w->alias_why, why_of(a->status));
		return;
	}
	w->alias |= w->peer.len != 0 ? kx_name_same(&a->canon, &w->peer)
				     : has_addr(a, &c->peer_addr);
}

void walk_answer(struct kx *kx, const struct ask *ask, const struct kx_answer *a)
{
	struct walk *w = &kx->walks[ask->index];
	struct walk_name *n = &w->names[ask->part % NAMES_MAX];

	if (a->status != KX_ERROR && a->ttl_s < w->ttl_s)
		w->ttl_s = a->ttl_s;
	w->pending--;
	switch ((enum role)ask->role) {
	case ROLE_REVERSE:
		on_reverse(kx, ask->index, a);
		break;
	case ROLE_FORWARD:
		n->forward = a->status;
		n->confirmed = a->status == KX_SECURE && has_addr(a, &w->addr);
		break;
	case ROLE_KX:
		n->kx = a->status;
		if (a->status == KX_SECURE)
			list_take(kx, w, n, a);
		break;
	case ROLE_ALIAS:
		on_alias(kx, w, a);
		break;
	default:
		break;
	}
	if (w->pending == 0)
		walk_done(kx, ask->index);
}

/* --- judgement ------------------------------------------------------------------------
 */

/* What one name comes to. */
static enum kx_why judge_name(const struct kx *kx, const struct walk_name *n)
{
	if (!n->confirmed)
		return n->forward > KX_NXDOMAIN ? why_of(n->forward) : KX_WHY_FORWARD;
	if (n->kx == KX_INSECURE && kx->conf.direct_insecure)
		return KX_WHY_SELF;
	/* Records, and none that can be read: not the same as none. */
	if (n->kx == KX_SECURE && n->n == 0)
		return KX_WHY_UNUSABLE;
	return why_of(n->kx);
}

enum kx_why walk_judge(
	const struct kx *kx, const struct walk *w, const struct walk_name **name)
{
	enum kx_why worst = KX_WHY_NONE;
	const struct walk_name *self = NULL;

	*name = NULL;
	if (w->n_names == 0)
		return w->why;
	for (uint8_t i = 0; i < w->n_names; i++) {
		enum kx_why why = judge_name(kx, &w->names[i]);

		if (why == KX_WHY_EXCHANGER) {
			*name = &w->names[i];
			return why;
		}
		if (why == KX_WHY_SELF) {
			self = self != NULL ? self : &w->names[i];
			continue;
		}
		worst = why_worse(worst, why);
		if (*name == NULL || worst == why)
			*name = &w->names[i];
	}
	/*
	 * One name denies KX while another could not be asked: that one might name an
	 * exchanger, and what we don't know must not count as its absence.
	 */
	if (self != NULL && (worst == KX_WHY_NONE || worst == KX_WHY_FORWARD ||
				    worst == KX_WHY_NAME)) {
		*name = self;
		return KX_WHY_SELF;
	}
	return worst;
}
