/* Words for states and reasons, and what there is, for `rsip kx show`. */
#include "kx/state.h"

static const struct {
	const char *word, *sentence;
} whys[KX_WHYS] = {
	[KX_WHY_NONE] = { "none", "not decided yet" },
	[KX_WHY_EXCHANGER] = { "exchanger", "a secure KX record names the exchanger" },
	[KX_WHY_SELF] = { "self",
		"it is proved that there is no KX record: its own exchanger" },
	[KX_WHY_OURS] = { "ours", "this gateway is the exchanger itself" },
	[KX_WHY_GROUP] = { "group", "the policy group says so" },
	[KX_WHY_REVERSE] = { "reverse",
		"it is proved that the address has no name, or it has too many" },
	[KX_WHY_FORWARD] = { "forward", "no name of the address has that address" },
	[KX_WHY_NAME] = { "name", "it is proved that the name does not exist" },
	[KX_WHY_NULL] = { "null", "the name says that it does no key exchange" },
	[KX_WHY_UNUSABLE] = { "unusable", "no exchanger has a secure address and key" },
	[KX_WHY_INSECURE] = { "insecure", "a zone on the way is not signed" },
	[KX_WHY_BOGUS] = { "bogus", "a signature is missing, wrong or out of its time" },
	[KX_WHY_ERROR] = { "error", "the name servers gave no answer" },
	[KX_WHY_LIMIT] = { "limit", "too much at once; the next packet tries again" },
	[KX_WHY_IKE] = { "ike", "no exchanger answered or agreed" },
	[KX_WHY_NOT_EXCHANGER] = { "not-exchanger",
		"no secure KX record names this peer" },
	[KX_WHY_NOT_LOCAL] = { "not-local", "the destination is not one of ours" },
	[KX_WHY_RANGE] = { "range", "more than single addresses was asked for" },
	[KX_WHY_WITHDRAWN] = { "withdrawn", "the owner took the authority back" },
};

const char *kx_why_text(enum kx_why why)
{
	return whys[why].word;
}

const char *kx_why_sentence(enum kx_why why)
{
	return whys[why].sentence;
}

static const char *const states[KX_PAIR_STATES] = {
	[KX_PAIR_LOOKUP] = "lookup",
	[KX_PAIR_IKE] = "negotiating",
	[KX_PAIR_RETRY] = "retry",
	[KX_PAIR_UP] = "protected",
	[KX_PAIR_PASSED] = "clear",
	[KX_PAIR_DROPPED] = "dropped",
	[KX_PAIR_INBOUND] = "authorised",
	[KX_PAIR_REFUSED] = "refused",
};

const char *kx_pair_state_text(enum kx_pair_state state)
{
	return states[state];
}

static const char *const statuses[KX_STATUSES] = {
	[KX_SECURE] = "SECURE",
	[KX_NODATA] = "NODATA",
	[KX_NXDOMAIN] = "NXDOMAIN",
	[KX_INSECURE] = "INSECURE",
	[KX_BOGUS] = "BOGUS",
	[KX_ERROR] = "ERROR",
};

const char *kx_status_text(enum kx_status status)
{
	return statuses[status];
}

static bool is_over(const struct kx *kx, enum kx_pair_state state, uint64_t until_ms)
{
	return state >= KX_PAIR_PASSED && state != KX_PAIR_INBOUND &&
	       until_ms <= kx->now_ms;
}

static void view_pair(const struct kx *kx, const struct pair *p, struct kx_view *v)
{
	*v = (struct kx_view){ .id = p->id,
		.state = p->state,
		.source = p->source,
		.destination = p->destination,
		.why = p->why,
		.group = p->group,
		.until_ms = p->until_ms,
		.failures = p->failures };
	if (p->dest != NONE)
		v->name = kx->dests[p->dest].name;
	if (p->exch != NONE)
		v->exchanger = kx->exchs[p->exch].name;
}

static void view_check(const struct check *c, struct kx_view *v)
{
	*v = (struct kx_view){ .state = c->state,
		.source = c->source,
		.why = c->why,
		.until_ms = c->until_ms,
		.name = c->name,
		.exchanger = c->peer,
		.group = KX_GROUPS,
		.failures = c->errors };
}

void kx_show(
	const struct kx *kx, bool (*fn)(void *ctx, const struct kx_view *view), void *ctx)
{
	struct kx_view v;

	for (uint32_t i = cache_oldest(&kx->pair_index); i != NONE;
		i = cache_newer(&kx->pair_index, i)) {
		const struct pair *p = &kx->pairs[i];

		if (is_over(kx, p->state, p->until_ms))
			continue;
		view_pair(kx, p, &v);
		if (!fn(ctx, &v))
			return;
	}
	for (uint32_t i = cache_oldest(&kx->check_index); i != NONE;
		i = cache_newer(&kx->check_index, i)) {
		if (is_over(kx, kx->checks[i].state, kx->checks[i].until_ms))
			continue;
		view_check(&kx->checks[i], &v);
		if (!fn(ctx, &v))
			return;
	}
}
