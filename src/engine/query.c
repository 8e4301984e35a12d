/*
 * QUERY: what is local (RFC 3103 9.14, 9.15).  What lies in a configured local network is
 * answered, and what lies in none if the gateway knows that it is remote.  The rest is
 * left out, and the host takes it for remote anyway.
 */
#include "engine/query.h"

#include "engine/reply.h"
#include "engine/wait.h"

#define ADDRESS_BYTES 8 /* an IPv4 Address parameter */

struct answer {
	struct engine *e;
	const struct request *q;
	size_t n;
	size_t room; /* bytes of tuples that still fit */
	uint8_t indicator_len;
};

/* False when it does not fit any more; then nothing after it is added either. */
static bool put(struct answer *a, struct wire_query tuple)
{
	size_t len = 3U + a->indicator_len + ADDRESS_BYTES;

	if (tuple.indicator == INDICATOR_NETWORK ||
		tuple.indicator == INDICATOR_REMOTE_NETWORK)
		len += ADDRESS_BYTES;
	if (tuple.addr.type == ADDR_FQDN)
		len += tuple.addr.fqdn_len - 4U; /* in place of an IPv4 address */
	if (len > a->room || a->n >= QUERIES_MAX) {
		a->room = 0;
		return false;
	}
	a->room -= len;
	tuple.indicator_len = a->indicator_len;
	a->e->queries[a->n++] = tuple;
	return true;
}

static struct wire_query network_tuple(const struct prefix4 *p)
{
	return (struct wire_query){ .indicator = INDICATOR_NETWORK,
		.addr = { .type = ADDR_IPV4, .v4 = p->addr },
		.mask = { .type = ADDR_NETMASK, .v4 = prefix_mask(p->len) } };
}

/* A network is local inside of one that is, and remote when it meets none. */
static enum where where_is(const struct engine *e, uint32_t addr, uint32_t mask)
{
	bool apart = true;

	for (size_t i = 0; i < e->conf.n_local_networks; i++) {
		const struct prefix4 *p = &e->conf.local_networks[i];

		if (prefix_has(p, addr & mask) && mask >= prefix_mask(p->len))
			return WHERE_LOCAL;
		apart = apart && (p->addr & mask) != (addr & mask);
	}
	return apart && e->conf.query_authoritative ? WHERE_REMOTE : WHERE_UNKNOWN;
}

enum where query_where(const struct engine *e, const uint32_t *addresses, size_t n)
{
	enum where all = WHERE_UNKNOWN;

	for (size_t i = 0; i < n; i++) {
		enum where one = where_is(e, addresses[i], UINT32_MAX);

		if (one == WHERE_UNKNOWN || (i > 0 && one != all))
			return WHERE_UNKNOWN;
		all = one;
	}
	return all;
}

bool query_name_at(const struct wire_msg *m, size_t i, struct wire_addr *name)
{
	struct wire_query t;

	for (size_t at = 0; wire_query_next(m, &at, &t);)
		if (t.addr.type == ADDR_FQDN && i-- == 0) {
			*name = t.addr;
			return true;
		}
	return false;
}

/* `name` counts the names so far. */
static enum where where_tuple(
	const struct answer *a, const struct wire_query *t, size_t *name)
{
	if (t->addr.type == ADDR_FQDN) {
		size_t i = (*name)++;

		return i < a->q->n_where ? (enum where)a->q->where[i] : WHERE_UNKNOWN;
	}
	if (t->addr.type != ADDR_IPV4)
		return WHERE_UNKNOWN;
	return where_is(a->e, t->addr.v4,
		t->indicator == INDICATOR_NETWORK ? t->mask.v4 : UINT32_MAX);
}

/* Local networks inside of a network that is not local as a whole. */
static void put_inner(struct answer *a, const struct wire_query *t)
{
	const struct engine_conf *c = &a->e->conf;

	if (t->indicator != INDICATOR_NETWORK || t->addr.type != ADDR_IPV4)
		return;
	for (size_t i = 0; i < c->n_local_networks; i++) {
		const struct prefix4 *p = &c->local_networks[i];

		if ((p->addr & t->mask.v4) == (t->addr.v4 & t->mask.v4) &&
			prefix_mask(p->len) > t->mask.v4 && !put(a, network_tuple(p)))
			return;
	}
}

/* The tuple as it was asked, with what it turned out to be. */
static bool put_tuple(struct answer *a, struct wire_query t, enum where where)
{
	if (where == WHERE_REMOTE)
		t.indicator = t.indicator == INDICATOR_NETWORK ? INDICATOR_REMOTE_NETWORK
							       : INDICATOR_REMOTE_ADDRESS;
	return put(a, t);
}

/* What was asked first, then what may help; cut after whole tuples. */
static void put_answers(struct answer *a, const struct wire_msg *m)
{
	struct wire_query t;
	size_t asked = 0, name = 0;

	for (size_t at = 0; wire_query_next(m, &at, &t); asked++) {
		enum where where = where_tuple(a, &t, &name);

		if (asked == 0)
			a->indicator_len = t.indicator_len;
		if (where != WHERE_UNKNOWN && !put_tuple(a, t, where))
			return;
	}
	name = 0;
	for (size_t at = 0; asked > 0 && a->room > 0 && wire_query_next(m, &at, &t);)
		if (where_tuple(a, &t, &name) == WHERE_UNKNOWN)
			put_inner(a, &t);
	for (size_t i = 0; asked == 0 && i < a->e->conf.n_local_networks; i++)
		if (!put(a, network_tuple(&a->e->conf.local_networks[i])))
			return;
}

uint16_t query_on_request(struct engine *e, struct request *q)
{
	/* Header, Client ID, Message Counter. */
	const size_t head = RSIP_HEADER_LEN + 7 + 7;
	size_t most = q->from->transport == TRANSPORT_UDP ? e->conf.query_max_udp
							  : RSIP_LENGTH_MAX;
	struct answer a = { .e = e, .q = q, .indicator_len = 2 };
	struct wire_msg m = { .type = MSG_QUERY_RESPONSE,
		.has = HAS_CLIENT_ID,
		.client_id = q->reg->client_id };
	struct wire_addr name;

	/* Without any local network, and without the word that it is remote, a name's
	 * addresses say nothing. */
	if (!q->known && query_name_at(&q->msg, 0, &name) &&
		(e->conf.n_local_networks > 0 || e->conf.query_authoritative) &&
		wait_begin(e, q, &name))
		return 0;
	a.room = most > head ? most - head : 0;
	put_answers(&a, &q->msg);
	if (a.n > 0) {
		m.has |= HAS_QUERY;
		m.queries = e->queries;
		m.n_queries = a.n;
	}
	reply_send(e, q, &m);
	return 0;
}
