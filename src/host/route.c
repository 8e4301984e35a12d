/*
 * The route decision of `rsip up` (RFC 3102 section 6.5).  Connected networks and all
 * that has a route more specific than the default stay off the tunnel by the kernel's
 * longest match; only what the default route used to carry must be named.
 */
#include "host/route.h"

const struct route4 *route_find(const struct route4 *r, size_t n, uint32_t addr)
{
	const struct route4 *best = NULL;

	for (size_t i = 0; i < n; i++) {
		if (!prefix_has(&r[i].dst, addr))
			continue;
		if (best == NULL || r[i].dst.len > best->dst.len ||
			(r[i].dst.len == best->dst.len && r[i].metric < best->metric))
			best = &r[i];
	}
	return best;
}

bool route_equal(const struct route4 *a, const struct route4 *b)
{
	return a->dst.addr == b->dst.addr && a->dst.len == b->dst.len &&
	       a->oif == b->oif && a->via == b->via && a->src == b->src &&
	       a->metric == b->metric;
}

/* A network is reached as its first address, by a route that holds all of it. */
static const struct route4 *way_to(
	const struct route4 *now, size_t n, const struct prefix4 *p)
{
	const struct route4 *best = NULL;

	for (size_t i = 0; i < n; i++) {
		if (now[i].dst.len > p->len || !prefix_has(&now[i].dst, p->addr))
			continue;
		if (best == NULL || now[i].dst.len > best->dst.len ||
			(now[i].dst.len == best->dst.len && now[i].metric < best->metric))
			best = &now[i];
	}
	return best;
}

static size_t keep_off(const struct route4 *now, size_t n, const struct prefix4 *p,
	struct route4 *out, size_t have)
{
	const struct route4 *way = way_to(now, n, p);

	if (way == NULL || way->dst.len > 0 || p->len == 0)
		return have;
	for (size_t i = 0; i < have; i++)
		if (out[i].dst.addr == p->addr && out[i].dst.len == p->len)
			return have;
	out[have] = *way;
	out[have].dst = *p;
	out[have].metric = 0;
	return have + 1;
}

size_t route_plan(const struct route4 *now, size_t n, const struct route_wish *wish,
	struct route4 *out)
{
	size_t have = 0;

	for (size_t i = 0; i < wish->n_ends; i++) {
		struct prefix4 end = { wish->ends[i], 32 };

		have = keep_off(now, n, &end, out, have);
	}
	for (size_t i = 0; i < wish->n_locals; i++)
		have = keep_off(now, n, &wish->locals[i], out, have);
	if (wish->tunnel_if != 0)
		out[have++] = (struct route4){
			.oif = wish->tunnel_if,
			.src = wish->leased,
		};
	return have;
}
