/* Messages made from the tables of wire, so that a new row is tested by existing. */
#include "wire_draft.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#define BYTES(...) \
	(const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

static const struct {
	const uint8_t *value;
	size_t len;
} samples[ROLES] = {
	[ROLE_ERROR] = { BYTES(0x01, 0x2d) },
	[ROLE_CLIENT_ID] = { BYTES(0, 0, 0, 7) },
	[ROLE_BIND_ID] = { BYTES(0, 0, 0, 21) },
	[ROLE_LOCAL] = { BYTES(ADDR_IPV4, 198, 51, 100, 7) },
	[ROLE_LOCAL_PORTS] = { BYTES(4, 0x4e, 0x20) },
	[ROLE_REMOTE] = { BYTES(ADDR_IPV4, 203, 0, 113, 80) },
	[ROLE_REMOTE_PORTS] = { BYTES(1, 0, 80) },
	[ROLE_SPI] = { BYTES(0, 2, 0xc0, 0xff, 0xee, 1, 0x10, 0, 0, 9) },
	[ROLE_LEASE] = { BYTES(0, 0, 0x0e, 0x10) },
	[ROLE_TUNNEL] = { BYTES(1) },
	[ROLE_METHOD] = { BYTES(2) },
	[ROLE_FLOW] = { BYTES(1, 3) },
	[ROLE_COUNTER] = { BYTES(0, 0, 0, 5) },
	[ROLE_ENDPOINT] = { BYTES(ADDR_IPV4, 10, 0, 0, 2) },
	[ROLE_QUERY] = { BYTES(0, INDICATOR_ADDRESS) },
	[ROLE_QUERY_ADDR] = { BYTES(ADDR_IPV4, 10, 20, 60, 9) },
	[ROLE_VENDOR] = { BYTES(0, 241, 0, 1, 't') },
	[ROLE_IKE_IDENTITY] = { BYTES(2, 'y', '.', 'e') },
};

struct part draft_sample(enum role role)
{
	/* A new role needs a sample. */
	assert_non_null(samples[role].value);
	return (struct part){ .role = role,
		.type = role_specs[role].param,
		.value = samples[role].value,
		.len = samples[role].len,
		.glued = role == ROLE_QUERY_ADDR };
}

void draft_add(struct draft *d, size_t at, struct part part)
{
	assert_true(at <= d->n && d->n < DRAFT_PARTS);
	memmove(&d->part[at + 1], &d->part[at], (d->n - at) * sizeof(d->part[0]));
	d->part[at] = part;
	d->n++;
}

void draft_del(struct draft *d, size_t at)
{
	assert_true(at < d->n);
	d->n--;
	memmove(&d->part[at], &d->part[at + 1], (d->n - at) * sizeof(d->part[0]));
}

size_t draft_find(const struct draft *d, enum role role)
{
	size_t i = 0;

	while (i < d->n && d->part[i].role != role)
		i++;
	return i;
}

struct draft draft_short(uint8_t type)
{
	struct draft d = { .type = type, .spec = msg_spec_find(type) };

	assert_non_null(d.spec);
	for (const uint8_t *r = d.spec->must; *r; r++)
		draft_add(&d, d.n, draft_sample(*r));
	d.n_must = d.n;
	return d;
}

struct draft draft_full(uint8_t type)
{
	struct draft d = draft_short(type);

	for (const uint8_t *r = d.spec->may; *r; r++)
		draft_add(&d, d.n, draft_sample(*r));
	draft_add(&d, d.n, draft_sample(ROLE_VENDOR));
	return d;
}

size_t draft_bytes(const struct draft *d, uint8_t *buf)
{
	struct wr w = wr_init(buf, RSIP_LENGTH_MAX);

	wr_u8(&w, RSIP_VERSION_1);
	wr_u8(&w, d->type);
	wr_u16(&w, 0);
	for (size_t i = 0; i < d->n; i++) {
		wr_u8(&w, d->part[i].type);
		wr_u16(&w, (uint16_t)d->part[i].len);
		wr_bytes(&w, d->part[i].value, d->part[i].len);
	}
	wr_patch_u16(&w, 2, wr_len(&w));
	assert_false(w.bad);
	return wr_len(&w);
}

uint16_t draft_decode(const struct draft *d, bool udp)
{
	static uint8_t buf[RSIP_LENGTH_MAX];
	struct wire_msg m;

	return wire_decode_private(buf, draft_bytes(d, buf), d->spec->to, udp, &m);
}
