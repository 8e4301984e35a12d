/*
 * The gateway's memory of keys: one row a key, and what may be answered to whom.
 */
#include "auth/guard.h"

#include "base/err.h"
#include "base/limit.h"
#include "wire/msg.h"

#include <errno.h>
#include <stdlib.h>

/* Challenges of one key: a host needs one after each start, of either end. */
#define CHALLENGE_RATE  5
#define CHALLENGE_BURST 10

struct row {
	struct seal_window seen;
	uint64_t sent; /* the last number of ours */
	struct limit challenges;
};

struct guard {
	uint64_t epoch;
	struct auth_keys keys;
	struct row *rows; /* as keys.at */
};

int guard_new(uint64_t epoch, struct guard **guard)
{
	struct guard *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return -ENOMEM;
	g->epoch = epoch != 0 ? epoch : 1;
	*guard = g;
	return 0;
}

void guard_free(struct guard *g)
{
	if (g == NULL)
		return;
	auth_keys_fini(&g->keys);
	free(g->rows);
	free(g);
}

static struct row *row_of(const struct guard *g, const struct auth_key *k)
{
	return &g->rows[k - g->keys.at];
}

int guard_set_keys(struct guard *g, struct auth_keys *keys)
{
	struct row *rows = calloc(keys->n + 1, sizeof(*rows));

	if (rows == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < keys->n; i++) {
		const struct auth_key *was = auth_key_find(&g->keys, keys->at[i].id);

		if (was != NULL)
			rows[i] = *row_of(g, was);
	}
	auth_keys_fini(&g->keys);
	free(g->rows);
	g->keys = *keys;
	g->rows = rows;
	*keys = (struct auth_keys){ 0 };
	return 0;
}

const struct auth_keys *guard_keys(const struct guard *g)
{
	return &g->keys;
}

enum guard_verdict guard_open(struct guard *g, uint32_t host, uint32_t gateway,
	uint8_t *bytes, size_t *len, struct guard_from *from)
{
	const struct seal_path path = { SEAL_TO_GATEWAY, host, gateway };
	const struct auth_key *k;
	struct seal s;
	int err = seal_find(bytes, *len, &s);

	if (err != 0)
		return err == ERR_NOTFOUND ? GUARD_PLAIN : GUARD_BAD;
	k = auth_key_find(&g->keys, s.key_id);
	if (k == NULL || s.subtype != SEAL_MESSAGE ||
		!seal_is_good(bytes, *len, k, &path))
		return GUARD_BAD;
	*from = (struct guard_from){ k->identity, s.number, k->id };
	if (s.epoch != g->epoch || !seal_window_take(&row_of(g, k)->seen, s.number))
		return GUARD_STALE;
	*len = seal_strip(bytes, *len);
	return GUARD_GOOD;
}

/* Above all that was sent and seen, so that the host's next number is good. */
static uint64_t number_next(struct row *row, uint64_t about)
{
	if (row->sent < row->seen.highest)
		row->sent = row->seen.highest;
	if (row->sent < about)
		row->sent = about;
	return ++row->sent;
}

static int seal_as(struct guard *g, uint16_t subtype, const struct auth_key *k,
	const struct seal_path *path, uint64_t about, uint8_t *bytes, size_t len,
	size_t size)
{
	const struct seal s = { .subtype = subtype,
		.key_id = k->id,
		.number = number_next(row_of(g, k), about),
		.epoch = g->epoch,
		.about = about };

	return seal_put(bytes, len, size, k, path, &s);
}

int guard_seal(struct guard *g, uint32_t host, uint32_t gateway,
	const struct guard_from *to, uint8_t *bytes, size_t len, size_t size)
{
	const struct seal_path path = { SEAL_TO_HOST, host, gateway };
	const struct auth_key *k =
		to->key_id != 0 ? auth_key_find(&g->keys, to->key_id) : NULL;

	if (k == NULL || k->identity != to->identity)
		k = auth_key_of(&g->keys, to->identity);
	if (k == NULL)
		return ERR_NOTFOUND;
	return seal_as(g, SEAL_MESSAGE, k, &path, to->number, bytes, len, size);
}

int guard_challenge(struct guard *g, uint32_t host, uint32_t gateway,
	const struct guard_from *to, uint32_t counter, uint64_t now_ms, uint8_t *buf,
	size_t size)
{
	const struct seal_path path = { SEAL_TO_HOST, host, gateway };
	const struct auth_key *k = auth_key_find(&g->keys, to->key_id);
	const struct wire_msg m = { .version = RSIP_VERSION_1,
		.type = MSG_ERROR_RESPONSE,
		.has = HAS_ERROR | HAS_COUNTER,
		.error = RSIP_MESSAGE_COUNTER_REQUIRED,
		.counter = counter };
	int len;

	if (k == NULL || !limit_take(&row_of(g, k)->challenges, CHALLENGE_RATE,
				 CHALLENGE_BURST, now_ms))
		return ERR_REFUSED;
	len = wire_encode(&m, buf, size);
	if (len < 0)
		return len;
	return seal_as(g, SEAL_CHALLENGE, k, &path, to->number, buf, (size_t)len, size);
}
