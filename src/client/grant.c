/*
 * The bindings that a session holds: made from a grant, found, walked, and their times.
 */
#include "client/session.h"

#include "base/addr.h"

#include <stdlib.h>
#include <string.h>

/* Never closer together than this, however short a lease is. */
#define EXTEND_LEAST_US 250000
/* A bare registration is renewed this long before its end, or at 3/4 of its lease. */
#define KEEP_BEFORE_US 30000000

#define SECOND_US      1000000ULL

struct binding *grant_new(size_t n_ports, size_t n_spis, size_t name_len, size_t id_len)
{
	size_t ranges = (n_ports + n_spis) * sizeof(struct rsip_range);
	struct binding *b = calloc(1, sizeof *b + ranges + name_len + 1 + id_len);

	if (!b)
		return NULL;
	b->extend_us = NEVER;
	b->grant.ports = b->numbers;
	b->grant.n_ports = n_ports;
	b->grant.spis = b->numbers + n_ports;
	b->grant.n_spis = n_spis;
	if (name_len)
		b->grant.remote_name = (const char *)(b->numbers + n_ports + n_spis);
	b->grant.peer.len = (uint8_t)id_len;
	b->grant.peer.data =
		(const uint8_t *)(b->numbers + n_ports + n_spis) + name_len + 1;
	return b;
}

/* A parameter of ports or SPIs, read into ranges by one function. */
struct numbers {
	enum wire_form form;
	uint32_t number, first;
	const struct wire_ports *ports; /* one of them is set */
	const struct wire_spis *spis;
};

static struct numbers numbers_of_ports(const struct wire_ports *p)
{
	return (struct numbers){ p->form, p->number, p->first, p, NULL };
}

static struct numbers numbers_of_spis(const struct wire_spis *p)
{
	return (struct numbers){ p->form, p->number, p->first, NULL, p };
}

static uint32_t number_at(const struct numbers *n, uint32_t i)
{
	if (n->form == FORM_BLOCK)
		return n->first + i;
	return n->ports ? wire_port_at(n->ports, i) : wire_spi_at(n->spis, i);
}

/* Allocated; *n is 0 and the result NULL when memory is short. */
static struct range *numbers_ranges(const struct numbers *from, size_t *n)
{
	size_t most = from->form == FORM_BLOCK ? 1 : from->number;
	struct range *r = calloc(most ? most : 1, sizeof *r);

	*n = 0;
	if (!r)
		return NULL;
	for (uint32_t i = 0; i < most; i++)
		r[i].lo = r[i].hi = number_at(from, i);
	if (from->form == FORM_BLOCK)
		r[0].hi = from->first + (from->number - 1);
	*n = ranges_normalise(r, most);
	return r;
}

static bool is_concrete(const struct numbers *n)
{
	if (n->form == FORM_BLOCK)
		return n->number >= 1 && n->first != 0;
	return n->form == FORM_LIST && n->number >= 1;
}

/* Are the numbers got those wanted, and as many?  False also when memory is short. */
static bool is_as_wanted(
	const struct rsip_numbers *want, const struct range *got, size_t n_got)
{
	struct range *wanted;
	bool same;

	if (want->form == RSIP_DONT_NEED)
		return true;
	if (ranges_count(got, n_got) != want->count)
		return false;
	if (want->form == RSIP_ANY)
		return true;
	if (want->form == RSIP_BLOCK)
		return n_got == 1 && got[0].lo == want->first;
	wanted = calloc(want->count, sizeof *wanted);
	if (!wanted)
		return false;
	for (uint32_t i = 0; i < want->count; i++)
		wanted[i].lo = wanted[i].hi = want->list[i];
	same = ranges_normalise(wanted, want->count) == n_got &&
	       memcmp(wanted, got, n_got * sizeof *got) == 0;
	free(wanted);
	return same;
}

static bool is_tunnel_wanted(const struct rsip_want *want, uint8_t tunnel)
{
	if (!want->n_tunnels)
		return tunnel == RSIP_IPIP || tunnel == RSIP_GRE;
	for (unsigned int i = 0; i < want->n_tunnels; i++) {
		if ((uint8_t)want->tunnels[i] == tunnel)
			return true;
	}
	return false;
}

static bool is_unicast(const struct wire_addr *a)
{
	return a->type == ADDR_IPV4 && !a->dont_care && a->v4 != 0;
}

static bool is_remote_usable(const struct wire_msg *m)
{
	const struct wire_ports *p = &m->remote_ports;

	if (m->remote.type == ADDR_IPV6 && !m->remote.dont_care)
		return false;
	return p->form != FORM_LIST && (p->form != FORM_BLOCK || p->number == 1);
}

static bool is_identity(const struct wire_msg *m, const struct rsip_identity *want)
{
	return m->ike_identity_len == 1 + want->len && m->ike_identity[0] == want->type &&
	       !memcmp(m->ike_identity + 1, want->data, want->len);
}

/* RFC 3103 sections 9.7.3 and 9.9.3: what can't be used is given back. */
static bool is_usable(const struct wire_msg *m, const struct rsip_want *want,
	const struct numbers *ports, const struct numbers *spis)
{
	if (!m->bind_id || !m->lease_s || !is_unicast(&m->local) || !is_remote_usable(m))
		return false;
	if ((m->has & HAS_ENDPOINT) && !is_unicast(&m->endpoint))
		return false;
	if (!m->n_tunnels || !is_tunnel_wanted(want, m->tunnels[0]))
		return false;
	if (want->kind == RSIP_LISTEN_IKE)
		return is_identity(m, &want->peer);
	if (want->kind != RSIP_RSA_IP && !is_concrete(ports) &&
		!(want->kind == RSIP_RSIPSEC && want->ports.form == RSIP_DONT_NEED))
		return false;
	if (want->kind == RSIP_RSIPSEC && !is_concrete(spis))
		return false;
	return true;
}

static bool is_exact(const struct wire_msg *m, const struct rsip_want *want,
	const struct range *ports, size_t n_ports, const struct range *spis,
	size_t n_spis)
{
	return (!want->address || want->address == m->local.v4) &&
	       (want->kind == RSIP_RSA_IP ||
		       is_as_wanted(&want->ports, ports, n_ports)) &&
	       (want->kind != RSIP_RSIPSEC || is_as_wanted(&want->spis, spis, n_spis));
}

static struct binding *binding_from(const struct wire_msg *m, const struct range *ports,
	size_t n_ports, const struct range *spis, size_t n_spis)
{
	bool named = m->remote.type == ADDR_FQDN && !m->remote.dont_care;
	size_t name_len = named ? m->remote.fqdn_len : 0;
	size_t id_len = m->ike_identity_len ? m->ike_identity_len - 1U : 0;
	struct binding *b = grant_new(n_ports, n_spis, name_len, id_len);
	struct rsip_grant *g;

	if (!b)
		return NULL;
	g = &b->grant;
	g->bind_id = m->bind_id;
	g->address = m->local.v4;
	g->tunnel = (enum rsip_tunnel)m->tunnels[0];
	if (m->has & HAS_ENDPOINT)
		g->endpoint = m->endpoint.v4;
	for (size_t i = 0; i < n_ports; i++)
		b->numbers[i] = (struct rsip_range){ ports[i].lo, ports[i].hi };
	for (size_t i = 0; i < n_spis; i++)
		b->numbers[n_ports + i] = (struct rsip_range){ spis[i].lo, spis[i].hi };
	if (named)
		memcpy(b->numbers + n_ports + n_spis, m->remote.fqdn, m->remote.fqdn_len);
	else if (!m->remote.dont_care && m->remote.type == ADDR_IPV4)
		g->remote_address = m->remote.v4;
	if (m->ike_identity_len) {
		g->peer.type = m->ike_identity[0];
		memcpy((uint8_t *)(b->numbers + n_ports + n_spis) + name_len + 1,
			m->ike_identity + 1, id_len);
	}
	if (m->remote_ports.form == FORM_BLOCK)
		g->remote_port = m->remote_ports.first;
	return b;
}

enum grant_verdict grant_from(
	const struct wire_msg *m, const struct request *r, struct binding **made)
{
	struct numbers ports = numbers_of_ports(&m->local_ports);
	struct numbers spis = numbers_of_spis(&m->spis);
	struct range *port_ranges = NULL, *spi_ranges = NULL;
	size_t n_ports = 0, n_spis = 0;
	bool memory = true, exact;

	if (!is_usable(m, &r->want, &ports, &spis))
		return GRANT_UNUSABLE;
	if (r->want.kind != RSIP_RSA_IP && is_concrete(&ports)) {
		port_ranges = numbers_ranges(&ports, &n_ports);
		memory = port_ranges != NULL;
	}
	if (r->want.kind == RSIP_RSIPSEC && memory) {
		spi_ranges = numbers_ranges(&spis, &n_spis);
		memory = spi_ranges != NULL;
	}
	exact = !memory || !r->want.exact ||
		is_exact(m, &r->want, port_ranges, n_ports, spi_ranges, n_spis);
	*made = memory && exact
			? binding_from(m, port_ranges, n_ports, spi_ranges, n_spis)
			: NULL;
	free(port_ranges);
	free(spi_ranges);
	if (!*made)
		return exact ? GRANT_MEMORY : GRANT_UNUSABLE;
	(*made)->grant.kind = r->want.kind;
	(*made)->grant.tag = r->tag;
	(*made)->wish_s = r->want.lease_s;
	return GRANT_GOOD;
}

void grant_add(struct rsip_session *s, struct binding *b)
{
	s->held[s->n_held++] = b;
}

static size_t grant_index(const struct rsip_session *s, uint32_t bind_id)
{
	size_t i = 0;

	while (i < s->n_held && s->held[i]->grant.bind_id != bind_id)
		i++;
	return i;
}

struct binding *grant_by_id(const struct rsip_session *s, uint32_t bind_id)
{
	size_t i = grant_index(s, bind_id);

	return i < s->n_held ? s->held[i] : NULL;
}

struct binding *grant_pull(struct rsip_session *s, uint32_t bind_id)
{
	size_t i = grant_index(s, bind_id);
	struct binding *b = i < s->n_held ? s->held[i] : NULL;

	if (!b)
		return NULL;
	s->n_held--;
	memmove(&s->held[i], &s->held[i + 1], (s->n_held - i) * sizeof(struct binding *));
	return b;
}

void grant_lease(struct rsip_session *s, struct binding *b, uint32_t lease_s,
	uint64_t sent_us, uint64_t now_us)
{
	b->grant.lease_s = lease_s;
	b->grant.expires_us = sent_us + lease_s * SECOND_US;
	if (b->grant.expires_us > s->reg.expires_us) {
		s->reg.expires_us = b->grant.expires_us;
		grant_keep(s);
	}
	grant_later(s, b, now_us);
}

void grant_later(const struct rsip_session *s, struct binding *b, uint64_t now_us)
{
	uint64_t left = b->grant.expires_us > now_us ? b->grant.expires_us - now_us : 0;
	uint64_t wait = left / 2 > EXTEND_LEAST_US ? left / 2 : EXTEND_LEAST_US;

	b->extend_us = s->conf.no_extend || b->leaving ? NEVER : now_us + wait;
}

void grant_keep(struct rsip_session *s)
{
	uint64_t quarter = s->reg.lease_s * SECOND_US / 4;
	uint64_t before = quarter < KEEP_BEFORE_US ? quarter : KEEP_BEFORE_US;

	s->keep_us = s->conf.no_keep ? NEVER : s->reg.expires_us - before;
}

const struct rsip_grant *rsip_grant_find(const struct rsip_session *s, uint32_t bind_id)
{
	const struct binding *b = grant_by_id(s, bind_id);

	return b ? &b->grant : NULL;
}

void rsip_grant_each(const struct rsip_session *s,
	bool (*fn)(void *ctx, const struct rsip_grant *g), void *ctx)
{
	for (size_t i = 0; i < s->n_held; i++) {
		if (!fn(ctx, &s->held[i]->grant))
			return;
	}
}
