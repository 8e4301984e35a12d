/*
 * Bytes to struct wire_msg.  The table of messages says what may come; this file applies
 * it in the order in which the faults of a message are ranked: tiling, then each
 * parameter as it comes, then what is missing, then the order, then the counter.
 */
#include "wire/table.h"

struct decoder {
	const struct msg_spec *spec;
	enum wire_side side;
	struct wire_msg *m;
	unsigned int n_must;
	unsigned int index; /* of the parameter in the message */
	bool misordered;
	bool private;
	uint8_t seen[WIRE_PARAM_ROWS]; /* how often; stops at 255 */
	/* The query tuple that has begun, and the first fault of any. */
	struct wire_query tuple;
	unsigned int want; /* addresses that it still lacks */
	bool split;        /* something else stood before them */
	uint16_t tuple_fault;
};

static bool tiles(struct rd r)
{
	uint8_t type;
	struct rd value;

	while (param_next(&r, &type, &value))
		;
	return !r.bad;
}

static bool is_legal_len(const struct param_spec *p, size_t len)
{
	return len >= p->len_min && len <= p->len_max &&
	       (len - p->len_min) % p->len_step == 0;
}

static bool is_lease_or_tunnel(enum role role)
{
	return role == ROLE_LEASE || role == ROLE_TUNNEL;
}

/*
 * Does this role stand where it must?  RFC 3103 contradicts itself about Lease Time and
 * Tunnel Type in grants (sections 9.7.2, 9.17.2, appendix C.2), so either may come first
 * where both are required.
 */
static bool is_in_order(const struct decoder *d, enum role role)
{
	const uint8_t *must = d->spec->must;
	enum role want;

	if (d->index >= d->n_must)
		return true;
	want = must[d->index];
	return role == want || (is_lease_or_tunnel(role) && is_lease_or_tunnel(want) &&
				       role_in(must, role));
}

static void tuple_note(struct decoder *d, uint16_t fault)
{
	if (!d->tuple_fault)
		d->tuple_fault = fault;
}

/* The tuple that has begun, if any, gets no more addresses. */
static void tuple_end(struct decoder *d)
{
	if (d->want)
		tuple_note(d, RSIP_MISSING_PARAM);
	d->want = 0;
}

static bool tuple_begin(struct decoder *d, struct rd *value)
{
	tuple_end(d);
	if (!indicator_read(value, &d->tuple) ||
		!indicator_legal(d->spec, d->tuple.indicator))
		return false;
	d->want = indicator_is_network(d->tuple.indicator) ? 2 : 1;
	d->split = false;
	return true;
}

static bool tuple_address(struct decoder *d, struct rd *value)
{
	struct wire_addr a;
	bool is_mask = d->want == 1 && indicator_is_network(d->tuple.indicator);

	if (!addr_read(value, &a))
		return false;
	if (!d->want || d->split)
		tuple_note(d, RSIP_BAD_MESSAGE);
	if (!d->want)
		return query_addr_legal(INDICATOR_ADDRESS, &a);
	d->want--;
	if (is_mask)
		return query_mask_legal(&d->tuple.addr, &a);
	d->tuple.addr = a;
	return query_addr_legal(d->tuple.indicator, &a);
}

static bool read_value(struct decoder *d, enum role role, struct rd *value)
{
	const struct param_spec *p = &param_specs[param_row(role_specs[role].param)];

	if (role == ROLE_QUERY)
		return tuple_begin(d, value);
	if (role == ROLE_QUERY_ADDR)
		return tuple_address(d, value);
	d->split = true;
	if (!p->read)
		return true;
	return p->read(value, d->m, role) && (!p->legal || p->legal(d->spec, d->m, role));
}

/* One parameter against the table: its type, its place here, its number, its value. */
static uint16_t take_param(struct decoder *d, uint8_t type, struct rd *value)
{
	const struct param_spec *p = param_spec_find(type);
	enum role role, last;

	if (!p || (type >= RSIP_PRIVATE && !d->private))
		return RSIP_ILLEGAL_PARAM;
	uint8_t *seen = &d->seen[param_row(type)];

	role = msg_spec_role(d->spec, type, *seen, &last);
	if (!role)
		return last ? RSIP_DUPLICATE_PARAM : RSIP_EXTRA_PARAM;
	if (*seen < UINT8_MAX)
		(*seen)++;
	if (!is_legal_len(p, rd_left(value)) || !read_value(d, role, value))
		return RSIP_BAD_PARAM;
	d->m->has |= role_specs[role].has;
	if (!is_in_order(d, role))
		d->misordered = true;
	return 0;
}

static uint16_t take_params(struct decoder *d, struct rd r)
{
	uint8_t type = 0;
	struct rd value = { 0 };

	d->m->optional = d->n_must ? r.end : r.p;
	for (; param_next(&r, &type, &value); d->index++) {
		uint16_t error = take_param(d, type, &value);

		if (error)
			return error;
		if (d->index + 1 == d->n_must)
			d->m->optional = r.p;
	}
	d->m->optional_len = (size_t)(r.end - d->m->optional);
	tuple_end(d);
	return 0;
}

/* What only the whole message shows. */
static uint16_t check_whole(const struct decoder *d, bool udp)
{
	const struct wire_msg *m = d->m;

	for (unsigned int i = 0; i < d->n_must; i++) {
		if (!(m->has & role_specs[d->spec->must[i]].has))
			return RSIP_MISSING_PARAM;
	}
	if (d->misordered)
		return RSIP_BAD_MESSAGE;
	if (d->tuple_fault)
		return d->tuple_fault;
	if (udp && !(m->has & HAS_COUNTER))
		return RSIP_MESSAGE_COUNTER_REQUIRED;
	/* 0 marks what a gateway sends unasked (RFC 3103 section 10.1). */
	if (d->side == SIDE_GATEWAY && (m->has & HAS_COUNTER) && m->counter == 0)
		return RSIP_BAD_PARAM;
	return 0;
}

uint16_t wire_header(const uint8_t *bytes, size_t len, uint8_t *type)
{
	struct rd r = rd_init(bytes, len);
	uint8_t version = rd_u8(&r);

	*type = rd_u8(&r);
	if (!r.bad && version != RSIP_VERSION_1)
		return RSIP_UNSUPPORTED_RSIP_VERSION;
	return rd_u16(&r) == len && len >= RSIP_HEADER_LEN ? 0 : RSIP_BAD_MESSAGE;
}

static uint16_t decode(struct decoder *d, const uint8_t *bytes, size_t len, bool udp)
{
	struct wire_msg *m = d->m;
	struct rd r = rd_init(bytes, len);
	uint16_t error;

	*m = (struct wire_msg){ .version = rd_u8(&r) };
	m->type = rd_u8(&r);
	m->len = rd_u16(&r);
	if (r.bad || m->len != len)
		return RSIP_BAD_MESSAGE;
	d->spec = msg_spec_find(m->type);
	if (!d->spec || d->spec->to != d->side ||
		(m->type >= RSIP_PRIVATE && !d->private))
		return RSIP_ILLEGAL_MESSAGE;
	while (d->spec->must[d->n_must])
		d->n_must++;
	if (!tiles(r))
		return RSIP_BAD_MESSAGE;
	error = take_params(d, r);
	return error ? error : check_whole(d, udp);
}

uint16_t wire_decode(const uint8_t *bytes, size_t len, enum wire_side side, bool udp,
	struct wire_msg *m)
{
	struct decoder d = { .side = side, .m = m };

	return decode(&d, bytes, len, udp);
}

uint16_t wire_decode_private(const uint8_t *bytes, size_t len, enum wire_side side,
	bool udp, struct wire_msg *m)
{
	struct decoder d = { .side = side, .m = m, .private = true };

	return decode(&d, bytes, len, udp);
}

uint32_t wire_find_u32(const uint8_t *bytes, size_t len, uint8_t param, bool *found)
{
	struct rd r = rd_init(bytes, len), value;
	uint8_t type;

	rd_take(&r, RSIP_HEADER_LEN);
	while (param_next(&r, &type, &value)) {
		*found = type == param && rd_left(&value) == 4;
		if (*found)
			return rd_u32(&value);
	}
	*found = false;
	return 0;
}

uint32_t wire_find_counter(const uint8_t *bytes, size_t len, bool *found)
{
	return wire_find_u32(bytes, len, PARAM_COUNTER, found);
}

bool wire_query_next(const struct wire_msg *m, size_t *at, struct wire_query *q)
{
	struct rd r = rd_init(m->optional, m->optional_len), value;
	uint8_t type = 0;

	rd_take(&r, *at);
	do {
		if (r.bad || !param_next(&r, &type, &value))
			return false;
	} while (type != PARAM_INDICATOR);
	if (!indicator_read(&value, q) || !param_next(&r, &type, &value) ||
		!addr_read(&value, &q->addr))
		return false;
	if (indicator_is_network(q->indicator) &&
		(!param_next(&r, &type, &value) || !addr_read(&value, &q->mask) ||
			!query_mask_legal(&q->addr, &q->mask)))
		return false;
	*at = (size_t)(r.p - m->optional);
	return true;
}
