#pragma once

#include "slp/msg.h"

/*
 * What stands in SLP's texts: lists, attributes, predicates (RFC 2608 sections 5
 * and 8.1). Letters of a list or an attribute compare without regard to case.  Pure.
 */

struct slp_text slp_text(const char *terminated);
bool slp_same(struct slp_text a, struct slp_text b);
/* Is the word in the list "a,b,c"? */
bool slp_list_has(struct slp_text list, struct slp_text word);
/* Have both lists a word in common? */
bool slp_lists_meet(struct slp_text a, struct slp_text b);

/*
 * The value of an attribute in "(a=1),(b=x,y),c": all of its values, NULL where there is
 * no such attribute, "" for one that is only named.
 */
struct slp_text slp_attribute(struct slp_text attributes, const char *name);
/*
 * Those of the attributes that the list of tags names ('*' for any letters), or all where
 * it is empty; as much as fits.  Returns the length.
 */
size_t slp_attributes_pick(
	struct slp_text attributes, struct slp_text tags, char *buf, size_t size);
/* The number it holds; -1 for none from 0 to 100. */
int slp_attribute_percent(struct slp_text attributes, const char *name);

/*
 * Does "(&(a=1)(|(b=x)(b=y*)))" hold for the attributes?  The empty predicate holds.
 * ERR_MALFORMED, also for one that is nested too deep; else 0 and *holds.
 */
int slp_predicate(struct slp_text predicate, struct slp_text attributes, bool *holds);

/*
 * "service:rsip://ADDRESS[:PORT]", port 4555 when it has none (A-L-01); 0 or
 * ERR_MALFORMED, ERR_UNSUPPORTED for a host name.
 */
int slp_url_parse(struct slp_text url, uint32_t *addr, uint16_t *port);
