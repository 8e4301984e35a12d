/*
 * Rules by name: the addresses that the operator's names stand for, by secure A and AAAA
 * records, looked up again while the policy holds.
 */
#include "kx/state.h"

#include <string.h>

static void ask(struct kx *kx, uint32_t i)
{
	struct named *n = &kx->named[i];

	if (n->pending > 0)
		return; /* of the policy before: its answer will do */
	n->pending = 2;
	n->n_fresh = 0;
	n->failed = false;
	n->ttl_s = UINT32_MAX;
	(void)ask_new(kx, OWNER_NAMED, i, ROLE_A, 0, &n->name, 0);
	(void)ask_new(kx, OWNER_NAMED, i, ROLE_AAAA, 0, &n->name, 0);
}

static uint32_t find_name(
	const struct named *list, uint32_t n, const struct kx_name *name)
{
	for (uint32_t i = 0; i < n; i++)
		if (kx_name_same(&list[i].name, name))
			return i;
	return NONE;
}

/* Names that both policies have keep their place and what is known; others are freed. */
static void drop_gone(struct kx *kx)
{
	for (uint32_t i = cache_oldest(&kx->dest_index); i != NONE;
		i = cache_newer(&kx->dest_index, i)) {
		struct dest *d = &kx->dests[i];

		if (d->named == NONE || kx->named[d->named].rule != NONE)
			continue;
		d->named = NONE; /* from now on by the reverse tree */
		d->until_ms = kx->now_ms;
		if (d->pairs != NONE && d->state >= DEST_FOUND)
			heap_set(&kx->heap, &d->timer, kx->now_ms);
	}
	for (uint32_t i = 0; i < kx->n_named; i++) {
		struct named *n = &kx->named[i];

		if (n->rule != NONE || n->name.len == 0)
			continue;
		heap_stop(&kx->heap, &n->timer);
		n->n = 0;
		n->name.len = 0;
	}
}

void named_load(struct kx *kx)
{
	kx->policy_new = false;
	for (uint32_t i = 0; i < kx->n_named; i++)
		kx->named[i].rule = NONE;
	for (uint32_t r = 0; r < kx_policy_count(kx->policy); r++) {
		const struct kx_rule *rule = kx_policy_at(kx->policy, r);
		uint32_t i;

		if (rule->name.len == 0)
			continue;
		i = find_name(kx->named, kx->n_named, &rule->name);
		if (i != NONE && kx->named[i].rule == NONE)
			kx->named[i].rule = r;
	}
	drop_gone(kx);
	for (uint32_t r = 0; r < kx_policy_count(kx->policy); r++) {
		const struct kx_rule *rule = kx_policy_at(kx->policy, r);
		uint32_t i = 0;

		if (rule->name.len == 0 ||
			find_name(kx->named, kx->n_named, &rule->name) != NONE)
			continue;
		while (i < kx->n_named &&
			(kx->named[i].name.len != 0 || kx->named[i].pending > 0))
			i++;
		if (i == NAMED_MAX)
			break; /* the configuration's check refuses more */
		kx->named[i] = (struct named){ .rule = r,
			.name = rule->name,
			.timer = { .kind = TIMER_NAMED, .index = i } };
		kx->n_named += i == kx->n_named;
		ask(kx, i);
	}
}

static void cover(struct kx *kx, const struct named *n)
{
	struct kx_action *a = emit(kx, KX_COVER);

	a->name = n->name;
	a->group = kx_policy_at(kx->policy, n->rule)->group;
	a->until_ms = n->until_ms;
	memcpy(a->addrs, n->addrs, sizeof(a->addrs));
	a->n_addrs = n->n;
}

static void settle(struct kx *kx, struct named *n)
{
	uint64_t grace = 1000ULL * kx->limit.grace_s;

	if (n->rule == NONE)
		return; /* the policy changed meanwhile */
	if (!n->failed) {
		bool same = n->covered && n->n == n->n_fresh &&
			    memcmp(n->addrs, n->fresh, sizeof(n->addrs)) == 0;

		n->errors = 0;
		n->n = n->n_fresh;
		memcpy(n->addrs, n->fresh, sizeof(n->addrs));
		n->until_ms = keep_until(
			kx, n->n > 0 ? KX_WHY_EXCHANGER : KX_WHY_SELF, n->ttl_s, 0);
		n->covered = true;
		if (!same)
			cover(kx, n);
		heap_set(&kx->heap, &n->timer, n->until_ms);
		return;
	}
	if (n->errors == 0)
		log_it(kx, KX_WHY_ERROR, false, &n->name, NULL, NULL);
	/* What was known holds for a while; then the name stands for nothing. */
	if (n->n > 0 && n->until_ms + grace <= kx->now_ms) {
		n->n = 0;
		cover(kx, n);
	}
	heap_set(&kx->heap, &n->timer, keep_until(kx, KX_WHY_ERROR, 0, n->errors));
	n->errors += n->errors < 16;
}

void named_answer(struct kx *kx, const struct ask *a, const struct kx_answer *answer)
{
	struct named *n = &kx->named[a->index];
	uint16_t type = a->role == ROLE_A ? KX_T_A : KX_T_AAAA;

	if (answer->status > KX_NXDOMAIN)
		n->failed = true;
	else if (answer->ttl_s < n->ttl_s)
		n->ttl_s = answer->ttl_s;
	for (size_t i = 0; i < answer->n && n->n_fresh < KX_ADDRS_MAX; i++)
		if (kx_addr_decode(type, answer->rdata[i].bytes, answer->rdata[i].len,
			    &n->fresh[n->n_fresh]) == 0)
			n->n_fresh++;
	if (--n->pending == 0)
		settle(kx, n);
}

void named_timer(struct kx *kx, uint32_t i)
{
	if (kx->named[i].rule != NONE)
		ask(kx, i);
}

void kx_vouch(struct kx *kx, const struct kx_name *name, const struct kx_addr *addr)
{
	kx->policy_new = false;
	kx->named[0] =
		(struct named){ .rule = 0, .name = *name, .addrs = { *addr }, .n = 1 };
	kx->n_named = 1;
}

uint32_t named_find(const struct kx *kx, const struct kx_addr *addr)
{
	uint32_t best = NONE;

	for (uint32_t i = 0; i < kx->n_named; i++) {
		const struct named *n = &kx->named[i];

		for (uint8_t k = 0; k < n->n; k++)
			if (n->rule != NONE && kx_addr_same(&n->addrs[k], addr) &&
				(best == NONE || n->rule < kx->named[best].rule))
				best = i; /* the first in the file */
	}
	return best;
}
