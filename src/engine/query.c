/*
 * QUERY: what is local (RFC 3103 9.14, 9.15).  Only what lies in a configured local
 * network is answered.  The rest is left out: the gateway does not know that it is
 * remote, and the host takes it for remote anyway.
 */
#include "engine/query.h"

#include "engine/reply.h"

#define ADDRESS_BYTES 8 /* an IPv4 Address parameter */

struct answer {
	struct engine *e;
	size_t n;
	size_t room; /* bytes of tuples that still fit */
	uint8_t indicator_len;
};

/* False when it does not fit any more; then nothing after it is added either. */
static bool put(struct answer *a, struct wire_query tuple)
{
	size_t len = 3U + a->indicator_len + ADDRESS_BYTES;

	if (tuple.indicator == INDICATOR_NETWORK)
		len += ADDRESS_BYTES;
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

static bool is_local(const struct engine *e, const struct wire_query *t)
{
	uint32_t mask = t->indicator == INDICATOR_NETWORK ? t->mask.v4 : UINT32_MAX;

	if (t->addr.type != ADDR_IPV4)
		return false;
	for (size_t i = 0; i < e->conf.n_local_networks; i++) {
		const struct prefix4 *p = &e->conf.local_networks[i];

		if (prefix_has(p, t->addr.v4 & mask) && mask >= prefix_mask(p->len))
			return true;
	}
	return false;
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

/* What was asked first, then what may help; cut after whole tuples. */
static void put_answers(struct answer *a, const struct wire_msg *m)
{
	struct wire_query t;
	size_t asked = 0;

	for (size_t at = 0; wire_query_next(m, &at, &t); asked++) {
		if (asked == 0)
			a->indicator_len = t.indicator_len;
		if (is_local(a->e, &t) && !put(a, t))
			return;
	}
	for (size_t at = 0; asked > 0 && a->room > 0 && wire_query_next(m, &at, &t);)
		if (!is_local(a->e, &t))
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
	struct answer a = { .e = e, .indicator_len = 2 };
	struct wire_msg m = { .type = MSG_QUERY_RESPONSE,
		.has = HAS_CLIENT_ID,
		.client_id = q->reg->client_id };

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
