/*
 * A message as one line of text for logs and people, in the order of the grammar.
 */
#include "base/addr.h"
#include "wire/table.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>

/* A list of 16383 SPIs is not for reading: the rest is counted. */
#define ITEMS_MAX 16

static __attribute__((format(printf, 2, 3))) void text_add(
	struct text *t, const char *format, ...)
{
	size_t left = t->len < t->size ? t->size - t->len : 0;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(left ? t->buf + t->len : NULL, left, format, ap);
	va_end(ap);
	if (n > 0)
		t->len += (size_t)n;
}

void u32_print(struct text *t, const struct wire_msg *m, enum role role)
{
	text_add(t, "%u", *(const uint32_t *)role_member(m, role));
}

void error_print(struct text *t, const struct wire_msg *m, enum role role)
{
	const char *name = rsip_error_name(m->error);

	(void)role;
	if (name)
		text_add(t, "%s", name);
	else
		text_add(t, "%u", m->error);
}

static const char *const flow_words[4] = {
	[FLOW_MACRO] = "macro", [FLOW_MICRO] = "micro", [FLOW_NONE] = "none"
};
static const char *const tunnel_words[4] = { NULL, "ipip", "gre", "l2tp" };
static const char *const method_words[4] = { [RSIP_METHOD_RSA_IP] = "rsa-ip",
	[RSIP_METHOD_RSAP_IP] = "rsap-ip",
	[RSIP_METHOD_RSIPSEC] = "rsipsec" };

static void word_print(struct text *t, const char *const words[4], uint8_t value)
{
	if (value < 4 && words[value])
		text_add(t, "%s", words[value]);
	else
		text_add(t, "%u", value);
}

void flow_print(struct text *t, const struct wire_msg *m, enum role role)
{
	(void)role;
	word_print(t, flow_words, m->flow_local);
	text_add(t, "/");
	word_print(t, flow_words, m->flow_remote);
}

void list_print(struct text *t, const struct wire_msg *m, enum role role)
{
	const uint8_t *list = role_member(m, role);

	for (unsigned int i = 0; i < role_count(m, role); i++) {
		text_add(t, i ? "," : "");
		word_print(t, role == ROLE_TUNNEL ? tunnel_words : method_words, list[i]);
	}
}

static void addr_print(struct text *t, const struct wire_addr *a)
{
	char v4[ADDR_TEXT_MAX], v6[INET6_ADDRSTRLEN];

	if (a->dont_care)
		text_add(t, "*");
	else if (a->type == ADDR_FQDN)
		text_add(t, "%.*s", a->fqdn_len, a->fqdn);
	else if (a->type == ADDR_IPV6)
		text_add(t, "%s", inet_ntop(AF_INET6, a->v6, v6, sizeof(v6)));
	else
		text_add(t, "%s", addr_format(a->v4, v4));
}

void address_print(struct text *t, const struct wire_msg *m, enum role role)
{
	addr_print(t, role_member(m, role));
}

/* The first numbers of a list, and how many more there are. */
static void rest_print(struct text *t, unsigned int number)
{
	if (number > ITEMS_MAX)
		text_add(t, ",+%u", number - ITEMS_MAX);
}

void ports_print(struct text *t, const struct wire_msg *m, enum role role)
{
	const struct wire_ports *p = role_member(m, role);

	switch (p->form) {
	case FORM_DONT_NEED:
		text_add(t, "-");
		break;
	case FORM_DONT_CARE:
		text_add(t, "*%u", p->number);
		break;
	case FORM_BLOCK:
		text_add(t, "%u", p->first);
		if (p->number > 1)
			text_add(t, "-%u", p->first + p->number - 1U);
		break;
	case FORM_LIST:
		for (unsigned int i = 0; i < p->number && i < ITEMS_MAX; i++)
			text_add(t, i ? ",%u" : "%u", wire_port_at(p, i));
		rest_print(t, p->number);
		break;
	}
}

void spi_print(struct text *t, const struct wire_msg *m, enum role role)
{
	const struct wire_spis *s = role_member(m, role);

	switch (s->form) {
	case FORM_DONT_NEED:
		text_add(t, "-");
		break;
	case FORM_DONT_CARE:
		text_add(t, "*%u", s->number);
		break;
	case FORM_BLOCK:
		text_add(t, "0x%08x", s->first);
		if (s->number > 1)
			text_add(t, "-0x%08x", s->first + s->number - 1U);
		break;
	case FORM_LIST:
		for (unsigned int i = 0; i < s->number && i < ITEMS_MAX; i++)
			text_add(t, i ? ",0x%08x" : "0x%08x", wire_spi_at(s, i));
		rest_print(t, s->number);
		break;
	}
}

void ike_identity_print(struct text *t, const struct wire_msg *m, enum role role)
{
	(void)role;
	text_add(t, "%u:", m->ike_identity[0]);
	for (unsigned int i = 1; i < m->ike_identity_len && i < ITEMS_MAX; i++)
		text_add(t, "%02x", m->ike_identity[i]);
}

/* --- What is walked in the bytes --------------------------------------------------- */

static unsigned int mask_len(const struct wire_addr *mask)
{
	unsigned int n = (unsigned int)__builtin_popcount(mask->v4);

	for (size_t i = 0; i < sizeof(mask->v6); i++)
		n += (unsigned int)__builtin_popcount(mask->v6[i]);
	return n;
}

static void query_print(
	struct text *t, const struct wire_msg *m, const struct wire_query *q)
{
	bool network = indicator_is_network(q->indicator);
	bool remote = q->indicator >= INDICATOR_REMOTE_ADDRESS;

	if (m->type == MSG_QUERY_RESPONSE)
		text_add(t, remote ? " remote-" : " local-");
	else
		text_add(t, " ");
	text_add(t, network ? "network=" : "address=");
	addr_print(t, &q->addr);
	if (network)
		text_add(t, "/%u", mask_len(&q->mask));
}

static void queries_print(struct text *t, const struct wire_msg *m)
{
	struct wire_query q;
	size_t at = 0;

	for (size_t i = 0; i < m->n_queries; i++)
		query_print(t, m, &m->queries[i]);
	while (m->n_queries == 0 && wire_query_next(m, &at, &q))
		query_print(t, m, &q);
}

/* "vendor=ID/SUBTYPE+LENGTH": the data mean nothing to us. */
static void vendors_print(struct text *t, const struct wire_msg *m)
{
	struct rd r = rd_init(m->optional, m->optional_len), value;
	uint8_t type;

	while (param_next(&r, &type, &value)) {
		uint16_t vendor = rd_u16(&value), subtype = rd_u16(&value);

		if (type == PARAM_VENDOR && !value.bad)
			text_add(
				t, " vendor=%u/%u+%zu", vendor, subtype, rd_left(&value));
	}
}

static void role_print(struct text *t, const struct wire_msg *m, enum role role)
{
	const struct role_spec *rs = &role_specs[role];

	if (!(m->has & rs->has) || !rs->member)
		return;
	text_add(t, " %s=", rs->label);
	param_specs[param_row(rs->param)].print(t, m, role);
}

int wire_print(const struct wire_msg *m, char *buf, size_t size)
{
	const struct msg_spec *spec = msg_spec_find(m->type);
	struct text t = { .size = size };

	t.buf = buf;
	if (!spec) {
		text_add(&t, "type=%u", m->type);
		return (int)t.len;
	}
	text_add(&t, "%s", spec->name);
	for (const uint8_t *r = spec->must; *r; r++)
		role_print(&t, m, *r);
	for (const uint8_t *r = spec->may; *r; r++)
		role_print(&t, m, *r);
	if (m->has & HAS_QUERY || m->n_queries)
		queries_print(&t, m);
	if (m->has & HAS_VENDOR)
		vendors_print(&t, m);
	return (int)t.len;
}
