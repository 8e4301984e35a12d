/*
 * Who may speak for an address.  RSIP itself knows a host by its address alone; what is
 * beyond that comes from the sockets as a proven identity, a number.
 */
#include "engine/prove.h"

#include "engine/emit.h"

static const struct engine_host *host_find(const struct engine_conf *c, uint32_t addr)
{
	size_t lo = 0, hi = c->n_hosts;

	while (lo < hi) {
		size_t middle = lo + (hi - lo) / 2;

		if (c->hosts[middle].addr == addr)
			return &c->hosts[middle];
		if (c->hosts[middle].addr < addr)
			lo = middle + 1;
		else
			hi = middle;
	}
	return NULL;
}

static bool lists(const struct engine_host *h, uint64_t identity)
{
	for (size_t i = 0; i < h->n_identities; i++)
		if (h->identities[i] == identity)
			return true;
	return false;
}

/* One that some host's section names speaks for that host alone. */
static bool is_bound(const struct engine_conf *c, uint64_t identity)
{
	size_t lo = 0, hi = c->n_bound;

	while (lo < hi) {
		size_t middle = lo + (hi - lo) / 2;

		if (c->bound[middle] == identity)
			return true;
		if (c->bound[middle] < identity)
			lo = middle + 1;
		else
			hi = middle;
	}
	return false;
}

bool prove_is_host(const struct engine *e, const struct reg *r, const struct peer *from)
{
	const struct engine_conf *c = &e->conf;
	const struct engine_host *h = host_find(c, from->addr);
	bool named = h != NULL && h->n_identities > 0;

	if (from->guard == PEER_BAD)
		return false;
	if (c->guards != 0 && (c->guards >> from->guard & 1U) == 0)
		return false;
	if (named ? !lists(h, from->identity) : is_bound(c, from->identity))
		return false;
	return r == NULL || r->identity == 0 || r->identity == from->identity;
}

void prove_settle(struct engine *e, struct reg *r, const struct peer *from)
{
	if (r->identity != 0 || from->identity == 0)
		return;
	r->identity = from->identity;
	emit_keep_reg(e, r, false);
}

bool prove_may_ask(struct reg *r, uint64_t now_ms)
{
	const struct engine_policy *p = r->policy;

	if (p == NULL || p->request_rate == 0)
		return true;
	return limit_take(&r->requests, p->request_rate,
		p->request_burst > 0 ? p->request_burst : p->request_rate, now_ms);
}
