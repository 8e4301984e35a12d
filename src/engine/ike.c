/*
 * Identities by a hash; the few that share one stand in a chain.  Names are compared
 * without regard to case, since IKE peers write them so or so.
 */
#include "engine/ike.h"

#define ID_FQDN      2 /* RFC 2407 section 4.6.2.1 */
#define ID_USER_FQDN 3

static uint8_t plain(uint8_t type, uint8_t byte)
{
	bool name = type == ID_FQDN || type == ID_USER_FQDN;

	return name && byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + ('a' - 'A')) : byte;
}

/* Good enough as the table's places are keyed, and equal hashes are looked through. */
static uint64_t key_of(uint32_t address, const uint8_t *id, size_t len)
{
	uint64_t h = 0xcbf29ce484222325ULL ^ address; /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		h = (h ^ plain(id[0], id[i])) * 0x100000001b3ULL;
	return h;
}

static bool is_same(const struct bind *b, uint32_t address, const uint8_t *id, size_t len)
{
	const uint8_t *own = bind_ike_id(b);

	if (b->addr->address != address || b->ike_id_len != len || own[0] != id[0])
		return false;
	for (size_t i = 1; i < len; i++)
		if (plain(id[0], own[i]) != plain(id[0], id[i]))
			return false;
	return true;
}

struct bind *ike_find(
	const struct engine *e, uint32_t address, const uint8_t *id, size_t len)
{
	struct bind *b = table_find(&e->ike, key_of(address, id, len));

	while (b != NULL && !is_same(b, address, id, len))
		b = b->ike_next;
	return b;
}

int ike_reserve(struct engine *e)
{
	return table_reserve(&e->ike, 1);
}

static uint64_t key_of_bind(const struct bind *b)
{
	return key_of(b->addr->address, bind_ike_id(b), b->ike_id_len);
}

void ike_add(struct engine *e, struct bind *b)
{
	uint64_t key = key_of_bind(b);

	b->ike_next = table_find(&e->ike, key);
	table_del(&e->ike, key);
	table_add(&e->ike, key, b);
}

void ike_del(struct engine *e, struct bind *b)
{
	uint64_t key = key_of_bind(b);
	struct bind *first = table_find(&e->ike, key), **at = &first;

	while (*at != b)
		at = &(*at)->ike_next;
	*at = b->ike_next;
	table_del(&e->ike, key);
	if (first != NULL)
		table_add(&e->ike, key, first);
}
