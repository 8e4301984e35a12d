/*
 * Rules by destination, the most specific first.  A list sorted once and walked: an
 * operator's groups are some dozens of lines, and a pair is looked up once.
 */
#include "kx/policy.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

struct kx_policy {
	size_t n;
	struct kx_rule rules[KX_RULES_MAX]; /* prefixes most specific first, then names */
};

static const char *const group_texts[KX_GROUPS] = {
	[KX_PRIVATE] = "private",
	[KX_PRIVATE_OR_CLEAR] = "private-or-clear",
	[KX_CLEAR_OR_PRIVATE] = "clear-or-private",
	[KX_CLEAR] = "clear",
	[KX_BLOCK] = "block",
};

const char *kx_group_text(enum kx_group group)
{
	return group_texts[group];
}

int kx_group_parse(const char *text, enum kx_group *group)
{
	for (int i = 0; i < KX_GROUPS; i++) {
		if (strcmp(group_texts[i], text) == 0) {
			*group = (enum kx_group)i;
			return 0;
		}
	}
	return ERR_NOTFOUND;
}

struct kx_policy *kx_policy_new(void)
{
	return calloc(1, sizeof(struct kx_policy));
}

void kx_policy_free(struct kx_policy *p)
{
	free(p);
}

static int narrow(const struct kx_rule *r)
{
	return (r->protocol != 0) + (r->source_port != 0) + (r->port != 0);
}

/* Negative: a goes before b. */
static int order(const struct kx_rule *a, const struct kx_rule *b)
{
	bool named_a = a->name.len != 0, named_b = b->name.len != 0;

	if (named_a || named_b)
		return named_a - named_b;
	if (a->prefix.len != b->prefix.len)
		return b->prefix.len - a->prefix.len;
	return narrow(b) - narrow(a);
}

static bool is_same_target(const struct kx_rule *a, const struct kx_rule *b)
{
	if (a->protocol != b->protocol || a->source_port != b->source_port ||
		a->port != b->port || !kx_name_same(&a->name, &b->name))
		return false;
	return a->name.len != 0 ||
	       (a->prefix.len == b->prefix.len &&
		       kx_addr_same(&a->prefix.addr, &b->prefix.addr));
}

static bool has_ports(uint8_t protocol)
{
	return protocol == 6 || protocol == 17 || protocol == 132;
}

int kx_policy_add(struct kx_policy *p, const struct kx_rule *rule, uint32_t *other)
{
	size_t at = 0;

	if ((rule->port != 0 || rule->source_port != 0) && !has_ports(rule->protocol))
		return ERR_RANGE;
	for (size_t i = 0; i < p->n; i++) {
		if (!is_same_target(&p->rules[i], rule))
			continue;
		*other = p->rules[i].line;
		return p->rules[i].group == rule->group ? 0 : ERR_EXISTS;
	}
	if (p->n == KX_RULES_MAX)
		return ERR_NOSPACE;
	while (at < p->n && order(&p->rules[at], rule) <= 0)
		at++;
	memmove(&p->rules[at + 1], &p->rules[at], (p->n - at) * sizeof(p->rules[0]));
	p->rules[at] = *rule;
	p->n++;
	return 0;
}

static bool takes(const struct kx_rule *r, const struct kx_flow *f)
{
	return r->name.len == 0 && kx_prefix_has(&r->prefix, &f->destination) &&
	       (r->protocol == 0 || r->protocol == f->protocol) &&
	       (r->source_port == 0 || r->source_port == f->source_port) &&
	       (r->port == 0 || r->port == f->port);
}

const struct kx_rule *kx_policy_find(const struct kx_policy *p, const struct kx_flow *f)
{
	for (size_t i = 0; i < p->n; i++)
		if (takes(&p->rules[i], f))
			return &p->rules[i];
	return NULL;
}

size_t kx_policy_count(const struct kx_policy *p)
{
	return p->n;
}

const struct kx_rule *kx_policy_at(const struct kx_policy *p, size_t i)
{
	return i < p->n ? &p->rules[i] : NULL;
}
