/*
 * IPFIX messages by tables: a template is a row of fields, and a field knows where its
 * value stands, so that templates and records cannot disagree.
 */
#include "ipfix/ipfix.h"

#include <assert.h>
#include <string.h>

#define VERSION    10
#define HEADER     16
#define SET_HEADER 4
#define ENTERPRISE 0x8000
#define TEMPLATES  2 /* the set that holds them */

/* natEvent of RFC 8158 */
enum {
	NAT_PORTS_EXHAUSTED = 12,
	NAT_QUOTA_EXCEEDED = 13,
	NAT_BINDING_CREATE = 14,
	NAT_BINDING_DELETE = 15,
	NAT_BLOCK_ALLOCATE = 16,
	NAT_BLOCK_RELEASE = 17,
	NAT_THRESHOLD = 18,
};
/* natQuotaExceededEvent, natThresholdEvent */
enum { QUOTA_PER_USER = 3, POOL_HIGH = 1, POOL_LOW = 2, ADDRESS_HIGH = 3 };

/* What the records are made of. */
struct values {
	uint64_t time_ms;
	uint32_t instance, host, address;
	uint16_t first, last, step, ports;
	uint32_t spi_first, spi_last, bind, client;
	uint32_t quota, max, threshold, pool, high, low, percent;
	uint8_t event, method;
};

struct field {
	uint16_t id; /* of IANA, or of ours with ENTERPRISE */
	uint16_t size;
	uint16_t at;
};

#define FIELD(number, name)                                     \
	{                                                       \
		number, sizeof(((struct values *)0)->name),     \
			(uint16_t)offsetof(struct values, name) \
	}
#define OWN(number, name) FIELD(ENTERPRISE | (number), name)
#define FIELDS_MAX        14

enum template_id {
	BINDING = 256,
	PORTS,
	SPIS,
	EXHAUSTED,
	QUOTA,
	THRESHOLD,
	TEMPLATE_END
};

static const struct field fields[TEMPLATE_END - BINDING][FIELDS_MAX] = {
	[0] = { /* BINDING */
		FIELD(323, time_ms),  /* observationTimeMilliseconds */
		FIELD(463, instance), /* natInstanceID */
		FIELD(230, event),    /* natEvent */
		FIELD(8, host),       /* sourceIPv4Address */
		FIELD(225, address),  /* postNATSourceIPv4Address */
		OWN(IPFIX_CLIENT, client),
	},
	[PORTS - BINDING] = {
		FIELD(323, time_ms),
		FIELD(463, instance),
		FIELD(230, event),
		FIELD(8, host),
		FIELD(225, address),
		FIELD(361, first), /* portRangeStart */
		FIELD(362, last),  /* portRangeEnd */
		FIELD(363, step),  /* portRangeStepSize */
		FIELD(364, ports), /* portRangeNumPorts */
		OWN(IPFIX_BIND, bind),
		OWN(IPFIX_CLIENT, client),
		OWN(IPFIX_METHOD, method),
	},
	[SPIS - BINDING] = {
		FIELD(323, time_ms),
		FIELD(463, instance),
		FIELD(230, event),
		FIELD(8, host),
		FIELD(225, address),
		OWN(IPFIX_SPI_FIRST, spi_first),
		OWN(IPFIX_SPI_LAST, spi_last),
		OWN(IPFIX_BIND, bind),
		OWN(IPFIX_CLIENT, client),
	},
	[EXHAUSTED - BINDING] = {
		FIELD(323, time_ms),
		FIELD(463, instance),
		FIELD(230, event),
		FIELD(225, address),
	},
	[QUOTA - BINDING] = {
		FIELD(323, time_ms),
		FIELD(463, instance),
		FIELD(230, event),
		FIELD(466, quota), /* natQuotaExceededEvent */
		FIELD(473, max),   /* maxEntriesPerUser */
		FIELD(8, host),
	},
	[THRESHOLD - BINDING] = {
		FIELD(323, time_ms),
		FIELD(463, instance),
		FIELD(230, event),
		FIELD(467, threshold), /* natThresholdEvent */
		FIELD(283, pool),      /* natPoolId */
		FIELD(225, address),
		FIELD(468, high), /* addressPoolHighThreshold */
		FIELD(469, low),  /* addressPoolLowThreshold */
		OWN(IPFIX_PERCENT, percent),
	},
};

static size_t fields_count(enum template_id id)
{
	size_t n = 0;

	while (n < FIELDS_MAX && fields[id - BINDING][n].size > 0)
		n++;
	return n;
}

static size_t record_size(enum template_id id)
{
	size_t size = 0;

	for (size_t i = 0; i < fields_count(id); i++)
		size += fields[id - BINDING][i].size;
	return size;
}

/* --- bytes ----------------------------------------------------------------------------
 */

static void put(struct ipfix *x, uint64_t value, size_t size)
{
	assert(x->len + size <= sizeof(x->message));
	for (size_t i = size; i > 0; i--)
		x->message[x->len++] = (uint8_t)(value >> 8 * (i - 1));
}

static void put_at(struct ipfix *x, size_t at, uint64_t value, size_t size)
{
	size_t len = x->len;

	x->len = at;
	put(x, value, size);
	x->len = len;
}

static void put_field(struct ipfix *x, const struct field *f, const struct values *v)
{
	const uint8_t *at = (const uint8_t *)v + f->at;
	uint64_t wide;
	uint32_t word;
	uint16_t half;

	switch (f->size) {
	case sizeof(wide):
		memcpy(&wide, at, sizeof(wide));
		put(x, wide, f->size);
		break;
	case sizeof(word):
		memcpy(&word, at, sizeof(word));
		put(x, word, f->size);
		break;
	case sizeof(half):
		memcpy(&half, at, sizeof(half));
		put(x, half, f->size);
		break;
	default:
		put(x, *at, f->size);
		break;
	}
}

/* --- messages and sets ----------------------------------------------------------------
 */

static void set_end(struct ipfix *x)
{
	if (x->set_at > 0)
		put_at(x, x->set_at + 2, x->len - x->set_at, 2);
	x->set_at = 0;
}

void ipfix_flush(struct ipfix *x, uint64_t wall_ms)
{
	if (x->len == 0)
		return;
	set_end(x);
	put_at(x, 0, VERSION, 2);
	put_at(x, 2, x->len, 2);
	put_at(x, 4, wall_ms / 1000, 4);
	put_at(x, 8, x->sequence, 4);
	put_at(x, 12, x->conf.domain, 4);
	x->sequence += x->records;
	x->conf.send(x->conf.ctx, x->message, x->len);
	x->len = 0;
	x->records = 0;
}

/* Room for `more` bytes in a set of this ID, begun if it is not the last one. */
static void set_reserve(struct ipfix *x, uint16_t id, size_t more, uint64_t wall_ms)
{
	if (x->len + SET_HEADER + more > sizeof(x->message))
		ipfix_flush(x, wall_ms);
	if (x->len == 0)
		x->len = HEADER;
	if (x->set_at > 0 && x->set_id == id)
		return;
	set_end(x);
	x->set_at = x->len;
	x->set_id = id;
	put(x, id, 2);
	put(x, 0, 2); /* the length, when it is known */
}

static void record_put(struct ipfix *x, enum template_id id, const struct values *v)
{
	const struct field *f = fields[id - BINDING];

	set_reserve(x, (uint16_t)id, record_size(id), v->time_ms);
	for (size_t i = 0; i < fields_count(id); i++)
		put_field(x, &f[i], v);
	x->records++;
}

static void template_put(struct ipfix *x, enum template_id id, uint64_t wall_ms)
{
	size_t n = fields_count(id);

	set_reserve(x, TEMPLATES, 4 + n * 8, wall_ms);
	put(x, id, 2);
	put(x, n, 2);
	for (size_t i = 0; i < n; i++) {
		const struct field *f = &fields[id - BINDING][i];

		put(x, f->id, 2);
		put(x, f->size, 2);
		if (f->id & ENTERPRISE)
			put(x, x->conf.enterprise, 4);
	}
}

void ipfix_templates(struct ipfix *x, uint64_t wall_ms)
{
	ipfix_flush(x, wall_ms);
	for (int id = BINDING; id < TEMPLATE_END; id++)
		template_put(x, (enum template_id)id, wall_ms);
	ipfix_flush(x, wall_ms);
}

void ipfix_init(struct ipfix *x, const struct ipfix_conf *conf)
{
	memset(x, 0, sizeof(*x));
	x->conf = *conf;
}

/* --- events ---------------------------------------------------------------------------
 */

static struct values values_of(const struct lease *l, uint8_t event, uint64_t wall_ms)
{
	return (struct values){ .time_ms = wall_ms,
		.event = event,
		.host = l->host,
		.address = l->address,
		.bind = l->bind_id,
		.client = l->client_id,
		.method = (uint8_t)(l->method + 1) };
}

void ipfix_binding(struct ipfix *x, const struct lease *l, bool begun, uint64_t wall_ms)
{
	struct values v =
		values_of(l, begun ? NAT_BINDING_CREATE : NAT_BINDING_DELETE, wall_ms);

	record_put(x, BINDING, &v);
}

void ipfix_blocks(struct ipfix *x, const struct lease *l, bool begun, uint64_t wall_ms)
{
	struct values v =
		values_of(l, begun ? NAT_BLOCK_ALLOCATE : NAT_BLOCK_RELEASE, wall_ms);

	v.step = 1;
	for (size_t i = 0; i < l->n_ports; i++) {
		v.first = (uint16_t)l->ports[i].lo;
		v.last = (uint16_t)l->ports[i].hi;
		v.ports = (uint16_t)(v.last - v.first + 1);
		record_put(x, PORTS, &v);
	}
	for (size_t i = 0; i < l->n_spis; i++) {
		v.spi_first = l->spis[i].lo;
		v.spi_last = l->spis[i].hi;
		record_put(x, SPIS, &v);
	}
}

void ipfix_exhausted(struct ipfix *x, uint32_t address, uint64_t wall_ms)
{
	const struct values v = {
		.time_ms = wall_ms, .event = NAT_PORTS_EXHAUSTED, .address = address
	};

	record_put(x, EXHAUSTED, &v);
}

void ipfix_quota(struct ipfix *x, uint32_t host, uint32_t max, uint64_t wall_ms)
{
	const struct values v = { .time_ms = wall_ms,
		.event = NAT_QUOTA_EXCEEDED,
		.quota = QUOTA_PER_USER,
		.max = max,
		.host = host };

	record_put(x, QUOTA, &v);
}

void ipfix_threshold(struct ipfix *x, const struct ipfix_threshold *t, uint64_t wall_ms)
{
	struct values v = { .time_ms = wall_ms,
		.event = NAT_THRESHOLD,
		.pool = t->pool,
		.address = t->address,
		.high = t->high_mark,
		.low = t->low_mark,
		.percent = t->percent };

	v.threshold = POOL_LOW;
	if (t->high)
		v.threshold = t->address != 0 ? ADDRESS_HIGH : POOL_HIGH;
	record_put(x, THRESHOLD, &v);
}
