/* Lists, attributes and predicates of SLP.  Bounded: no recursion deeper than DEPTH. */
#include "slp/text.h"

#include "base/addr.h"
#include "base/err.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DEPTH        8
#define DEFAULT_PORT 4555
#define SCHEME       "service:rsip://"

struct slp_text slp_text(const char *terminated)
{
	return (struct slp_text){ terminated, strlen(terminated) };
}

static struct slp_text trimmed(struct slp_text t)
{
	while (t.len > 0 && t.at[0] == ' ')
		t.at++, t.len--;
	while (t.len > 0 && t.at[t.len - 1] == ' ')
		t.len--;
	return t;
}

bool slp_same(struct slp_text a, struct slp_text b)
{
	a = trimmed(a);
	b = trimmed(b);
	return a.len == b.len && (a.len == 0 || strncasecmp(a.at, b.at, a.len) == 0);
}

/* The first word of the list, which loses it; false when there is none. */
static bool list_next(struct slp_text *list, struct slp_text *word)
{
	const char *comma;

	if (list->at == NULL || list->len == 0)
		return false;
	comma = memchr(list->at, ',', list->len);
	word->at = list->at;
	word->len = comma != NULL ? (size_t)(comma - list->at) : list->len;
	list->at += word->len;
	list->len -= word->len;
	if (comma != NULL)
		list->at++, list->len--;
	return true;
}

bool slp_list_has(struct slp_text list, struct slp_text word)
{
	struct slp_text one;

	while (list_next(&list, &one))
		if (slp_same(one, word))
			return true;
	return false;
}

bool slp_lists_meet(struct slp_text a, struct slp_text b)
{
	struct slp_text one;

	while (list_next(&a, &one))
		if (slp_list_has(b, one))
			return true;
	return false;
}

/* With '*' for any letters. */
static bool value_matches(struct slp_text value, struct slp_text pattern)
{
	size_t v = 0, p = 0, star = SIZE_MAX, from = 0;

	value = trimmed(value);
	pattern = trimmed(pattern);
	while (v < value.len) {
		if (p < pattern.len && pattern.at[p] == '*') {
			star = p++;
			from = v;
		} else if (p < pattern.len &&
			   strncasecmp(&value.at[v], &pattern.at[p], 1) == 0) {
			v++, p++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			v = ++from;
		} else {
			return false;
		}
	}
	while (p < pattern.len && pattern.at[p] == '*')
		p++;
	return p == pattern.len;
}

/* --- attributes -----------------------------------------------------------------------
 */

/* "(a=1,2)" or "a" at the front of the list, which loses it and the comma behind. */
static bool attribute_next(
	struct slp_text *list, struct slp_text *name, struct slp_text *value)
{
	const char *close, *equals;
	size_t len;

	*list = trimmed(*list);
	if (list->len == 0)
		return false;
	if (list->at[0] != '(') {
		*value = (struct slp_text){ "", 0 };
		return list_next(list, name);
	}
	close = memchr(list->at, ')', list->len);
	if (close == NULL)
		return false;
	len = (size_t)(close - list->at);
	equals = memchr(list->at, '=', len);
	if (equals == NULL)
		return false;
	*name = (struct slp_text){ list->at + 1, (size_t)(equals - list->at) - 1 };
	*value = (struct slp_text){ equals + 1, (size_t)(close - equals) - 1 };
	list->at += len + 1;
	list->len -= len + 1;
	if (list->len > 0 && list->at[0] == ',')
		list->at++, list->len--;
	return true;
}

static struct slp_text attribute_find(struct slp_text attributes, struct slp_text wanted)
{
	struct slp_text name, value;

	if (attributes.at != NULL)
		while (attribute_next(&attributes, &name, &value))
			if (slp_same(name, wanted))
				return value;
	return (struct slp_text){ NULL, 0 };
}

struct slp_text slp_attribute(struct slp_text attributes, const char *name)
{
	return attribute_find(attributes, slp_text(name));
}

/* A whole number of at most nine digits; false for anything else. */
static bool number_of(struct slp_text t, long *value)
{
	bool minus;
	size_t i;

	t = trimmed(t);
	minus = t.len > 0 && t.at[0] == '-';
	*value = 0;
	if (t.len <= minus || t.len > 9)
		return false;
	for (i = minus; i < t.len && t.at[i] >= '0' && t.at[i] <= '9'; i++)
		*value = *value * 10 + (t.at[i] - '0');
	if (minus)
		*value = -*value;
	return i == t.len;
}

static bool tags_name(struct slp_text tags, struct slp_text name)
{
	struct slp_text one;

	if (tags.len == 0)
		return true;
	while (list_next(&tags, &one))
		if (value_matches(name, one))
			return true;
	return false;
}

size_t slp_attributes_pick(
	struct slp_text attributes, struct slp_text tags, char *buf, size_t size)
{
	struct slp_text name, value;
	size_t used = 0;

	while (attribute_next(&attributes, &name, &value)) {
		size_t need = (used > 0) + name.len + value.len + 3;

		if (!tags_name(tags, name) || used + need >= size)
			continue;
		used += (size_t)snprintf(buf + used, size - used, "%s(%.*s=%.*s)",
			used > 0 ? "," : "", (int)name.len, name.at, (int)value.len,
			value.at);
	}
	return used;
}

int slp_attribute_percent(struct slp_text attributes, const char *name)
{
	struct slp_text value = slp_attribute(attributes, name);
	long n;

	return value.at != NULL && number_of(value, &n) && n >= 0 && n <= 100 ? (int)n
									      : -1;
}

/* --- predicates -----------------------------------------------------------------------
 */

enum comparison { EQUAL, AT_LEAST, AT_MOST };

static bool compare(struct slp_text value, enum comparison c, struct slp_text wanted)
{
	long a, b;

	if (c == EQUAL)
		return value_matches(value, wanted);
	if (!number_of(value, &a) || !number_of(wanted, &b))
		return false;
	return c == AT_LEAST ? a >= b : a <= b;
}

/* "name=value" within its brackets.  Any of the attribute's values will do. */
static int holds_item(struct slp_text item, struct slp_text attributes, bool *holds)
{
	const char *equals = memchr(item.at, '=', item.len);
	struct slp_text name, wanted, values, one;
	enum comparison c = EQUAL;

	if (equals == NULL || equals == item.at)
		return ERR_MALFORMED;
	name = (struct slp_text){ item.at, (size_t)(equals - item.at) };
	wanted = (struct slp_text){ equals + 1, item.len - name.len - 1 };
	if (equals[-1] == '>' || equals[-1] == '<' || equals[-1] == '~') {
		c = equals[-1] == '>' ? AT_LEAST : equals[-1] == '<' ? AT_MOST : EQUAL;
		name.len--;
	}
	values = attribute_find(attributes, name);
	*holds = values.at != NULL && wanted.len == 1 && wanted.at[0] == '*';
	if (values.at != NULL)
		while (!*holds && list_next(&values, &one))
			*holds = compare(one, c, wanted);
	return 0;
}

/* No deeper than DEPTH. */
/* NOLINTBEGIN(misc-no-recursion) */
static int holds_filter(
	struct slp_text *p, struct slp_text attributes, unsigned int depth, bool *holds);

/* Behind '&', '|' or '!': filters up to the closing bracket. */
static int holds_list(struct slp_text *p, char kind, struct slp_text attributes,
	unsigned int depth, bool *holds)
{
	size_t n = 0;

	*holds = kind == '&';
	for (; p->len > 0 && p->at[0] == '('; n++) {
		bool one = false;
		int err = holds_filter(p, attributes, depth + 1, &one);

		if (err != 0)
			return err;
		if (kind == '&')
			*holds &= one;
		else if (kind == '|')
			*holds |= one;
		else
			*holds = !one;
	}
	return n == 0 || (kind == '!' && n != 1) ? ERR_MALFORMED : 0;
}

static int holds_filter(
	struct slp_text *p, struct slp_text attributes, unsigned int depth, bool *holds)
{
	const char *close;
	int err;

	if (depth >= DEPTH || p->len < 2 || p->at[0] != '(')
		return ERR_MALFORMED;
	p->at++, p->len--;
	if (p->at[0] == '&' || p->at[0] == '|' || p->at[0] == '!') {
		char kind = p->at[0];

		p->at++, p->len--;
		err = holds_list(p, kind, attributes, depth, holds);
	} else {
		close = memchr(p->at, ')', p->len);
		if (close == NULL)
			return ERR_MALFORMED;
		err = holds_item((struct slp_text){ p->at, (size_t)(close - p->at) },
			attributes, holds);
		p->len -= (size_t)(close - p->at);
		p->at = close;
	}
	if (err != 0)
		return err;
	if (p->len == 0 || p->at[0] != ')')
		return ERR_MALFORMED;
	p->at++, p->len--;
	return 0;
}

/* NOLINTEND(misc-no-recursion) */

int slp_predicate(struct slp_text predicate, struct slp_text attributes, bool *holds)
{
	int err;

	predicate = trimmed(predicate);
	*holds = true;
	if (predicate.len == 0)
		return 0;
	err = holds_filter(&predicate, attributes, 0, holds);
	return err == 0 && predicate.len > 0 ? ERR_MALFORMED : err;
}

/* --- URLs -----------------------------------------------------------------------------
 */

int slp_url_parse(struct slp_text url, uint32_t *addr, uint16_t *port)
{
	const size_t scheme = sizeof(SCHEME) - 1;
	char text[32];
	size_t n = 0;

	if (url.len < scheme || strncasecmp(url.at, SCHEME, scheme) != 0)
		return ERR_MALFORMED;
	for (size_t i = scheme; i < url.len && url.at[i] != '/' && url.at[i] != ';';
		i++) {
		if (n + 1 >= sizeof(text))
			return ERR_UNSUPPORTED;
		text[n++] = url.at[i];
	}
	text[n] = 0;
	if (endpoint_parse(text, DEFAULT_PORT, addr, port) == 0)
		return *addr != 0 && *port != 0 ? 0 : ERR_MALFORMED;
	return n > 0 ? ERR_UNSUPPORTED : ERR_MALFORMED;
}
