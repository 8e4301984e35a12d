/*
 * The values of parameters: bytes to members of struct wire_msg and back, and which
 * values may stand where (RFC 3103 section 8, RFC 3104 section 6.2).  Order and number
 * of parameters are the business of decode.c.
 */
#include "wire/table.h"

#include <string.h>

#define FQDN_MAX   253
#define PORT_MIN   1
#define SPI_MIN    256 /* 0 to 255 are reserved (RFC 2406 section 2.1) */
#define KNOWN_LAST 3   /* of tunnel types and of methods */

static void *member(struct wire_msg *m, enum role role)
{
	return (char *)m + role_specs[role].member;
}

static bool is_request(const struct msg_spec *spec)
{
	return spec->to == SIDE_GATEWAY;
}

/* --- Lease Time, Client ID, Bind ID, Message Counter, Error ------------------------ */

static bool u32_read(struct rd *v, struct wire_msg *m, enum role role)
{
	*(uint32_t *)member(m, role) = rd_u32(v);
	return true;
}

static void u32_write(
	struct wr *w, const struct wire_msg *m, enum role role, unsigned int i)
{
	(void)i;
	wr_u32(w, *(const uint32_t *)role_member(m, role));
}

static bool id_legal(
	const struct msg_spec *spec, const struct wire_msg *m, enum role role)
{
	(void)spec;
	return *(const uint32_t *)role_member(m, role) != 0;
}

static bool u16_read(struct rd *v, struct wire_msg *m, enum role role)
{
	*(uint16_t *)member(m, role) = rd_u16(v);
	return true;
}

static void u16_write(
	struct wr *w, const struct wire_msg *m, enum role role, unsigned int i)
{
	(void)i;
	wr_u16(w, *(const uint16_t *)role_member(m, role));
}

/* --- Flow Policy ------------------------------------------------------------------- */

static bool flow_read(struct rd *v, struct wire_msg *m, enum role role)
{
	(void)role;
	m->flow_local = rd_u8(v);
	m->flow_remote = rd_u8(v);
	return true;
}

static bool flow_legal(
	const struct msg_spec *spec, const struct wire_msg *m, enum role role)
{
	(void)spec;
	(void)role;
	return m->flow_local >= FLOW_MACRO && m->flow_local <= FLOW_MICRO &&
	       m->flow_remote >= FLOW_MACRO && m->flow_remote <= FLOW_NONE;
}

static void flow_write(
	struct wr *w, const struct wire_msg *m, enum role role, unsigned int i)
{
	(void)role;
	(void)i;
	wr_u8(w, m->flow_local);
	wr_u8(w, m->flow_remote);
}

/* --- Tunnel Type, RSIP Method: lists ----------------------------------------------- */

_Static_assert(
	WIRE_TUNNELS_MAX == WIRE_METHODS_MAX, "both lists are read by list_read()");

/*
 * However long the other side's list is, every value that means something finds room: a
 * value is kept once, and unknown ones leave space for the known.
 */
static bool list_read(struct rd *v, struct wire_msg *m, enum role role)
{
	uint8_t *list = member(m, role), *n = (uint8_t *)m + role_specs[role].count;
	uint8_t value = rd_u8(v);
	bool known = value >= 1 && value <= KNOWN_LAST;

	if (!memchr(list, value, *n) && (known || *n < WIRE_TUNNELS_MAX - KNOWN_LAST))
		list[(*n)++] = value;
	return true;
}

static void list_write(
	struct wr *w, const struct wire_msg *m, enum role role, unsigned int i)
{
	wr_u8(w, ((const uint8_t *)role_member(m, role))[i]);
}

/*
 * A request may ask for anything; whether it is served is not a question of syntax.  A
 * gateway that answers with the reserved type 0 is not understood.
 */
static bool tunnel_legal(
	const struct msg_spec *spec, const struct wire_msg *m, enum role role)
{
	(void)role;
	return is_request(spec) || !memchr(m->tunnels, 0, m->n_tunnels);
}

/* --- Address ----------------------------------------------------------------------- */

enum addr_kind { /* bits, so that a role can take several */
	KIND_ANY = 1 << 0,
	KIND_ANY_NAME = 1 << 1, /* don't care spelled with the type of a name */
	KIND_V4 = 1 << 2,
	KIND_V6 = 1 << 3,
	KIND_FQDN = 1 << 4,
	KIND_NETMASK = 1 << 5,
	KIND_NONE = 0, /* not an address at all */
};

/* All zero is a spelling of don't care (RFC 3103 section 9.8.3). */
static bool is_zero(const struct wire_addr *a)
{
	static const uint8_t zero[sizeof(a->v6)];

	return (a->type == ADDR_IPV4 && a->v4 == 0) ||
	       (a->type == ADDR_IPV6 && !memcmp(a->v6, zero, sizeof(zero)));
}

static enum addr_kind addr_kind(const struct wire_addr *a)
{
	static const uint8_t with[] = { KIND_NONE, KIND_V4, KIND_NETMASK, KIND_V6,
		KIND_FQDN };
	static const uint8_t without[] = { KIND_ANY, KIND_ANY, KIND_NONE, KIND_ANY,
		KIND_ANY_NAME };

	if (a->type > ADDR_FQDN)
		return KIND_NONE;
	if ((!a->dont_care || a->spelled) && is_zero(a) != a->dont_care)
		return KIND_NONE;
	return a->dont_care ? without[a->type] : with[a->type];
}

static bool is_name(const char *s, size_t n)
{
	static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-_.";

	for (size_t i = 0; i < n; i++) {
		if (!s[i] || !strchr(chars, s[i]))
			return false;
	}
	return n >= 1 && n <= FQDN_MAX;
}

static bool addr_read_body(struct rd *v, struct wire_addr *a)
{
	size_t n = rd_left(v);

	switch (a->type) {
	case ADDR_IPV4:
	case ADDR_NETMASK:
		a->v4 = rd_u32(v);
		break;
	case ADDR_IPV6:
		rd_bytes(v, a->v6, sizeof(a->v6));
		break;
	case ADDR_FQDN:
		a->fqdn = (const char *)rd_take(v, n);
		a->fqdn_len = (uint8_t)n;
		return a->fqdn && is_name(a->fqdn, n);
	default:
		return false;
	}
	a->dont_care = a->spelled = is_zero(a);
	return !v->bad && rd_left(v) == 0;
}

bool addr_read(struct rd *v, struct wire_addr *a)
{
	*a = (struct wire_addr){ .type = rd_u8(v) };
	if (rd_left(v) != 0)
		return addr_read_body(v, a);
	a->dont_care = true;
	return addr_kind(a) != KIND_NONE;
}

void addr_write(struct wr *w, const struct wire_addr *a)
{
	wr_u8(w, a->type);
	if (a->dont_care && !a->spelled)
		return;
	switch (a->type) {
	case ADDR_IPV4:
	case ADDR_NETMASK:
		wr_u32(w, a->v4);
		break;
	case ADDR_IPV6:
		wr_bytes(w, a->v6, sizeof(a->v6));
		break;
	case ADDR_FQDN:
		wr_bytes(w, a->fqdn, a->fqdn_len);
		break;
	}
}

static bool address_read(struct rd *v, struct wire_msg *m, enum role role)
{
	return addr_read(v, member(m, role));
}

static void address_write(
	struct wr *w, const struct wire_msg *m, enum role role, unsigned int i)
{
	(void)i;
	addr_write(w, role_member(m, role));
}

static bool address_legal(
	const struct msg_spec *spec, const struct wire_msg *m, enum role role)
{
	const struct wire_addr *a = role_member(m, role);
	unsigned int takes = KIND_V4 | KIND_V6;

	if (role == ROLE_REMOTE)
		takes |= KIND_ANY | KIND_ANY_NAME | KIND_FQDN;
	else if (role == ROLE_LOCAL && is_request(spec))
		takes |= KIND_ANY;
	return (addr_kind(a) & takes) &&
	       (a->type != ADDR_FQDN || a->dont_care || is_name(a->fqdn, a->fqdn_len));
}

/* --- Ports and SPI ----------------------------------------------------------------- */

/*
 * Does a list of big-endian numbers name one twice?  A message can bring 16383 SPIs of
 * its sender's choice, so the time must not depend on the values: positions are sorted by
 * one byte after the other from the last, which makes equal numbers neighbours.
 */
static __attribute__((noinline)) bool repeats_long(
	const uint8_t *list, size_t n, size_t width)
{
	uint16_t order[2][RSIP_LENGTH_MAX / 4];
	uint16_t *from = order[0], *to = order[1];

	for (size_t i = 0; i < n; i++)
		from[i] = (uint16_t)i;
	for (size_t byte = width; byte-- > 0;) {
		uint16_t start[257] = { 0 };
		uint16_t *sorted = to;

		for (size_t i = 0; i < n; i++)
			start[list[i * width + byte] + 1]++;
		for (size_t d = 1; d < 257; d++)
			start[d] = (uint16_t)(start[d] + start[d - 1]);
		for (size_t i = 0; i < n; i++)
			to[start[list[from[i] * width + byte]]++] = from[i];
		to = from;
		from = sorted;
	}
	for (size_t i = 1; i < n; i++) {
		if (!memcmp(list + from[i] * width, list + from[i - 1] * width, width))
			return true;
	}
	return false;
}

static bool repeats(const uint8_t *list, size_t n, size_t width)
{
	if (n > 32)
		return repeats_long(list, n, width);
	for (size_t i = 1; i < n; i++) {
		for (size_t j = 0; j < i; j++) {
			if (!memcmp(list + i * width, list + j * width, width))
				return true;
		}
	}
	return false;
}

static bool ports_read(struct rd *v, struct wire_msg *m, enum role role)
{
	struct wire_ports *p = member(m, role);
	size_t len = rd_left(v);

	*p = (struct wire_ports){ .form = FORM_DONT_NEED };
	if (len == 0)
		return true;
	if (len % 2 == 0)
		return false;
	p->number = p->spelled_number = rd_u8(v);
	if (len == 3)
		p->first = rd_u16(v);
	if (len > 3) {
		p->form = FORM_LIST;
		p->list = rd_take(v, 2UL * p->number);
		return !v->bad && rd_left(v) == 0;
	}
	if (p->first != 0) {
		p->form = FORM_BLOCK;
		return true;
	}
	p->form = FORM_DONT_CARE;
	p->spelled = len == 3 || p->number == 0;
	p->spelled_len = (uint8_t)len;
	if (p->number == 0)
		p->number = 1;
	return true;
}

static void ports_write(
	struct wr *w, const struct wire_msg *m, enum role role, unsigned int i)
{
	const struct wire_ports *p = role_member(m, role);

	(void)i;
	if (p->form == FORM_DONT_NEED)
		return;
	wr_u8(w, p->form == FORM_DONT_CARE && p->spelled ? p->spelled_number : p->number);
	if (p->form == FORM_BLOCK)
		wr_u16(w, p->first);
	else if (p->form == FORM_LIST)
		wr_bytes(w, p->list, 2UL * p->number);
	else if (p->spelled && p->spelled_len == 3)
		wr_u16(w, 0);
}

static bool ports_legal(
	const struct msg_spec *spec, const struct wire_msg *m, enum role role)
{
	const struct wire_ports *p = role_member(m, role);

	switch (p->form) {
	case FORM_DONT_NEED:
		return msg_spec_has(spec, ROLE_SPI);
	case FORM_DONT_CARE:
		if (role == ROLE_REMOTE_PORTS)
			return p->number != 0;
		return is_request(spec) && p->number != 0 &&
		       !(p->spelled && p->spelled_number == 0);
	case FORM_BLOCK:
		return p->number != 0 && p->first >= PORT_MIN &&
		       p->first + p->number - 1 <= UINT16_MAX;
	case FORM_LIST:
		for (unsigned int i = 0; i < p->number; i++) {
			if (wire_port_at(p, i) < PORT_MIN)
				return false;
		}
		return p->number >= 2 && !repeats(p->list, p->number, 2);
	}
	return false;
}

uint16_t wire_port_at(const struct wire_ports *p, unsigned int i)
{
	const uint8_t *at = p->list;

	if (p->form != FORM_LIST)
		return (uint16_t)(p->first + i);
	at += 2UL * i;
	return (uint16_t)(at[0] << 8 | at[1]);
}

static bool spi_read(struct rd *v, struct wire_msg *m, enum role role)
{
	struct wire_spis *s = member(m, role);
	size_t fields = (rd_left(v) - 2) / 4;

	*s = (struct wire_spis){ .form = FORM_DONT_CARE, .number = rd_u16(v) };
	if (fields == 0)
		return true;
	if (fields == 1) {
		s->form = FORM_BLOCK;
		s->first = rd_u32(v);
		return true;
	}
	s->form = FORM_LIST;
	s->list = rd_take(v, 4 * fields);
	return fields == s->number;
}

static void spi_write(
	struct wr *w, const struct wire_msg *m, enum role role, unsigned int i)
{
	const struct wire_spis *s = role_member(m, role);

	(void)i;
	wr_u16(w, s->number);
	if (s->form == FORM_BLOCK)
		wr_u32(w, s->first);
	else if (s->form == FORM_LIST)
		wr_bytes(w, s->list, 4UL * s->number);
}

static bool spi_legal(
	const struct msg_spec *spec, const struct wire_msg *m, enum role role)
{
	const struct wire_spis *s = role_member(m, role);

	switch (s->form) {
	case FORM_DONT_NEED:
		return false;
	case FORM_DONT_CARE:
		return is_request(spec) && s->number != 0;
	case FORM_BLOCK:
		return s->number != 0 && s->first >= SPI_MIN &&
		       s->number - 1U <= UINT32_MAX - s->first;
	case FORM_LIST:
		for (unsigned int i = 0; i < s->number; i++) {
			if (wire_spi_at(s, i) < SPI_MIN)
				return false;
		}
		return s->number >= 2 && s->number <= RSIP_LENGTH_MAX / 4 &&
		       !repeats(s->list, s->number, 4);
	}
	return false;
}

uint32_t wire_spi_at(const struct wire_spis *s, unsigned int i)
{
	const uint8_t *at = s->list;

	if (s->form != FORM_LIST)
		return s->first + i;
	at += 4UL * i;
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 |
	       at[3];
}

/* --- IKE Identity (private use) ---------------------------------------------------- */

#define ID_ANY       0
#define ID_IPV4_ADDR 1 /* RFC 2407 section 4.6.2.1 */
#define ID_KEY_ID    11

static bool ike_identity_read(struct rd *v, struct wire_msg *m, enum role role)
{
	(void)role;
	m->ike_identity_len = (uint16_t)rd_left(v);
	m->ike_identity = rd_take(v, m->ike_identity_len);
	return true;
}

static void ike_identity_write(
	struct wr *w, const struct wire_msg *m, enum role role, unsigned int i)
{
	(void)role;
	(void)i;
	wr_bytes(w, m->ike_identity, m->ike_identity_len);
}

/* Any peer has no data, every other type has some. */
static bool ike_identity_legal(
	const struct msg_spec *spec, const struct wire_msg *m, enum role role)
{
	uint8_t type;

	(void)spec;
	(void)role;
	if (m->ike_identity_len < 1 || m->ike_identity_len > RSIP_IKE_IDENTITY_MAX)
		return false;
	type = m->ike_identity[0];
	if (type == ID_ANY)
		return m->ike_identity_len == 1;
	return type <= ID_KEY_ID && m->ike_identity_len > 1 &&
	       (type != ID_IPV4_ADDR || m->ike_identity_len == 5);
}

/* --- Query tuples ------------------------------------------------------------------ */

bool indicator_read(struct rd *v, struct wire_query *q)
{
	uint16_t value;

	*q = (struct wire_query){ .indicator_len = (uint8_t)rd_left(v) };
	value = q->indicator_len == 1 ? rd_u8(v) : rd_u16(v);
	q->indicator = value <= UINT8_MAX ? (uint8_t)value : 0;
	return !v->bad;
}

bool indicator_legal(const struct msg_spec *spec, uint8_t indicator)
{
	return indicator >= INDICATOR_ADDRESS &&
	       indicator <=
		       (is_request(spec) ? INDICATOR_NETWORK : INDICATOR_REMOTE_NETWORK);
}

bool indicator_is_network(uint8_t indicator)
{
	return indicator == INDICATOR_NETWORK || indicator == INDICATOR_REMOTE_NETWORK;
}

bool query_addr_legal(uint8_t indicator, const struct wire_addr *a)
{
	unsigned int takes = KIND_V4 | KIND_V6;

	if (!indicator_is_network(indicator))
		takes |= KIND_FQDN;
	return addr_kind(a) & takes;
}

/* Ones, then zeros. */
static bool is_contiguous(const uint8_t *mask, size_t n)
{
	size_t i = 0;

	while (i < n && mask[i] == 0xff)
		i++;
	/* A byte b of ones then zeros: its complement plus one is a power of two. */
	if (i < n && ((uint8_t)~mask[i] & (uint8_t)(~mask[i] + 1)) != 0)
		return false;
	for (i++; i < n; i++) {
		if (mask[i] != 0)
			return false;
	}
	return true;
}

bool query_mask_legal(const struct wire_addr *network, struct wire_addr *mask)
{
	uint8_t v4[4] = { (uint8_t)(mask->v4 >> 24), (uint8_t)(mask->v4 >> 16),
		(uint8_t)(mask->v4 >> 8), (uint8_t)mask->v4 };

	if (network->type == ADDR_IPV4)
		return mask->type == ADDR_NETMASK && !mask->dont_care &&
		       is_contiguous(v4, sizeof(v4));
	if (mask->type != ADDR_IPV6 || (mask->dont_care && !mask->spelled))
		return false;
	/* All zero is a mask like others here, where position says that it is one. */
	mask->dont_care = mask->spelled = false;
	return is_contiguous(mask->v6, sizeof(mask->v6));
}

/* --- The rows ---------------------------------------------------------------------- */

/* clang-format off */
const struct param_spec param_specs[WIRE_PARAM_ROWS] = {
	/*                     name, Length, read, legal, write, print */
	[PARAM_ADDRESS]     = { "Address", 1, 1 + FQDN_MAX, 1,
				address_read, address_legal, address_write, address_print },
	[PARAM_PORTS]       = { "Ports", 0, 1 + 2 * UINT8_MAX, 1,
				ports_read, ports_legal, ports_write, ports_print },
	[PARAM_LEASE_TIME]  = { "Lease Time", 4, 4, 1, u32_read, NULL, u32_write, u32_print },
	[PARAM_CLIENT_ID]   = { "Client ID", 4, 4, 1, u32_read, id_legal, u32_write, u32_print },
	[PARAM_BIND_ID]     = { "Bind ID", 4, 4, 1, u32_read, id_legal, u32_write, u32_print },
	[PARAM_TUNNEL_TYPE] = { "Tunnel Type", 1, 1, 1,
				list_read, tunnel_legal, list_write, list_print },
	[PARAM_METHOD]      = { "RSIP Method", 1, 1, 1, list_read, NULL, list_write, list_print },
	[PARAM_ERROR]       = { "Error", 2, 2, 1, u16_read, NULL, u16_write, error_print },
	[PARAM_FLOW_POLICY] = { "Flow Policy", 2, 2, 1,
				flow_read, flow_legal, flow_write, flow_print },
	[PARAM_INDICATOR]   = { "Indicator", 1, 2, 1, NULL, NULL, NULL, NULL },
	[PARAM_COUNTER]     = { "Message Counter", 4, 4, 1, u32_read, NULL, u32_write, u32_print },
	[PARAM_VENDOR]      = { "Vendor Specific", 4, UINT16_MAX, 1, NULL, NULL, NULL, NULL },
	[PARAM_SPI]         = { "SPI", 2, UINT16_MAX, 4, spi_read, spi_legal, spi_write, spi_print },
	[WIRE_PARAM_TYPES]  = { "IKE Identity", 1, RSIP_IKE_IDENTITY_MAX, 1, ike_identity_read,
				ike_identity_legal, ike_identity_write, ike_identity_print },
};
/* clang-format on */
