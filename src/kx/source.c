/*
 * Fairness between sources: new pairs a second, and how many wait at a time.  The table
 * forgets the one that was quiet for longest; a source that comes back after so many
 * others has earned its burst again.
 */
#include "kx/state.h"

static bool same(const void *ctx, uint32_t slot, const void *key)
{
	const struct kx *kx = ctx;

	return kx_addr_same(&kx->sources[slot].addr, key);
}

static uint32_t source_get(struct kx *kx, const struct kx_addr *addr)
{
	uint64_t hash = hash_addr(kx, addr);
	uint32_t slot = cache_find(&kx->source_index, hash, same, kx, addr);

	if (slot != NONE)
		return slot;
	slot = cache_add(&kx->source_index, hash);
	/* There are as many as may wait in all, so one of the first few does not. */
	for (int i = 0; slot == NONE && i < 64; i++) {
		uint32_t old = cache_oldest(&kx->source_index);

		if (kx->sources[old].waiting > 0) {
			cache_touch(&kx->source_index, old);
			continue;
		}
		cache_del(&kx->source_index, old);
		slot = cache_add(&kx->source_index, hash);
	}
	if (slot != NONE)
		kx->sources[slot] = (struct source){ .addr = *addr };
	return slot;
}

bool source_take(struct kx *kx, const struct kx_addr *addr, uint32_t *slot)
{
	const struct kx_limits *l = &kx->limit;
	uint32_t got = source_get(kx, addr);

	if (got == NONE || kx->sources[got].waiting >= l->source_waiting ||
		!limit_take(&kx->sources[got].rate, l->source_rate, l->source_burst,
			kx->now_ms)) {
		kx->count.limited_source++;
		return false;
	}
	if (kx->count.waiting >= l->waiting ||
		!limit_take(&kx->rate, l->rate, l->burst, kx->now_ms)) {
		kx->count.limited_all++;
		return false;
	}
	kx->sources[got].waiting++;
	kx->count.waiting++;
	*slot = got;
	return true;
}

void source_give(struct kx *kx, uint32_t slot)
{
	if (slot == NONE)
		return;
	kx->sources[slot].waiting--;
	kx->count.waiting--;
}

bool source_peer(struct kx *kx, const struct kx_addr *addr, bool id)
{
	const struct kx_limits *l = &kx->limit;
	uint32_t slot = source_get(kx, addr);

	if (slot != NONE && (id ? limit_take(&kx->sources[slot].ids, l->id_rate,
					  8 * l->id_rate, kx->now_ms)
				: limit_take(&kx->sources[slot].checks, l->peer_rate,
					  4 * l->peer_rate, kx->now_ms)))
		return true;
	kx->count.limited_peer++;
	return false;
}
