/*
 * struct wire_msg to bytes, in the order of the grammar.  Whatever comes out of here, the
 * decoder of the other side takes.
 */
#include "base/err.h"
#include "wire/table.h"

static size_t param_open(struct wr *w, uint8_t type)
{
	wr_u8(w, type);
	wr_u16(w, 0);
	return wr_len(w);
}

static void param_close(struct wr *w, size_t start)
{
	wr_patch_u16(w, start - 2, wr_len(w) - start);
}

static void put_role(struct wr *w, const struct wire_msg *m, enum role role)
{
	const struct role_spec *rs = &role_specs[role];
	const struct param_spec *p = &param_specs[param_row(rs->param)];

	if (!(m->has & rs->has) || !rs->member)
		return;
	for (unsigned int i = 0; i < role_count(m, role); i++) {
		size_t start = param_open(w, rs->param);

		p->write(w, m, role, i);
		param_close(w, start);
	}
}

static void put_address(struct wr *w, const struct wire_addr *a)
{
	size_t start = param_open(w, PARAM_ADDRESS);

	addr_write(w, a);
	param_close(w, start);
}

static void put_query(struct wr *w, const struct wire_query *q)
{
	size_t start = param_open(w, PARAM_INDICATOR);

	if (q->indicator_len == 1)
		wr_u8(w, q->indicator);
	else
		wr_u16(w, q->indicator);
	param_close(w, start);
	put_address(w, &q->addr);
	if (indicator_is_network(q->indicator))
		put_address(w, &q->mask);
}

/* Tuples and vendor parameters of a decoded message, as they came. */
static void put_optional(struct wr *w, const struct wire_msg *m)
{
	struct rd r = rd_init(m->optional, m->optional_len), value;
	bool tuples = (m->has & HAS_QUERY) && m->n_queries == 0;
	const uint8_t *start = r.p;

	for (uint8_t type; param_next(&r, &type, &value); start = r.p) {
		if ((type == PARAM_VENDOR && (m->has & HAS_VENDOR)) ||
			(tuples && (type == PARAM_INDICATOR || type == PARAM_ADDRESS)))
			wr_bytes(w, start, (size_t)(r.p - start));
	}
}

static bool is_query_legal(const struct msg_spec *spec, const struct wire_query *q)
{
	struct wire_addr mask = q->mask;

	return indicator_legal(spec, q->indicator) &&
	       query_addr_legal(q->indicator, &q->addr) &&
	       (!indicator_is_network(q->indicator) || query_mask_legal(&q->addr, &mask));
}

static bool is_role_legal(
	const struct msg_spec *spec, const struct wire_msg *m, enum role role)
{
	const struct role_spec *rs = &role_specs[role];
	const struct param_spec *p = &param_specs[param_row(rs->param)];
	unsigned int n = role_count(m, role);
	bool list = spec->many & rs->has;

	if (!(m->has & rs->has) || !rs->member)
		return true;
	if (n < 1 || n > (list ? WIRE_TUNNELS_MAX : 1))
		return false;
	return !p->legal || p->legal(spec, m, role);
}

/* Has the message what its type requires, and nothing that it may not have? */
static bool is_message_legal(const struct msg_spec *spec, const struct wire_msg *m)
{
	for (enum role role = ROLE_ERROR; role < ROLES; role++) {
		if ((m->has & role_specs[role].has) && !msg_spec_has(spec, role))
			return false;
		if (!is_role_legal(spec, m, role))
			return false;
	}
	for (const uint8_t *r = spec->must; *r; r++) {
		if (!(m->has & role_specs[*r].has))
			return false;
	}
	for (size_t i = 0; i < m->n_queries; i++) {
		if (!is_query_legal(spec, &m->queries[i]))
			return false;
	}
	if (spec->to == SIDE_GATEWAY && (m->has & HAS_COUNTER) && m->counter == 0)
		return false;
	return m->n_queries == 0 || msg_spec_has(spec, ROLE_QUERY);
}

int wire_encode(const struct wire_msg *m, uint8_t *buf, size_t size)
{
	const struct msg_spec *spec = msg_spec_find(m->type);
	struct wr w = wr_init(buf, size);

	if (!spec || !is_message_legal(spec, m))
		return ERR_RANGE;
	wr_u8(&w, RSIP_VERSION_1);
	wr_u8(&w, m->type);
	wr_u16(&w, 0);
	for (const uint8_t *r = spec->must; *r; r++)
		put_role(&w, m, *r);
	for (const uint8_t *r = spec->may; *r; r++)
		put_role(&w, m, *r);
	for (size_t i = 0; i < m->n_queries; i++)
		put_query(&w, &m->queries[i]);
	put_optional(&w, m);
	wr_patch_u16(&w, 2, wr_len(&w));
	return w.bad ? ERR_NOSPACE : (int)wr_len(&w);
}
