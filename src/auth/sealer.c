/*
 * What a host believes: an answer about a request of its own, or an unasked message with
 * a new number of the epoch that such an answer named.
 */
#include "auth/sealer.h"

#include "base/err.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

void sealer_init(struct sealer *s, const struct auth_key *key, uint64_t start)
{
	*s = (struct sealer){ .key = *key, .number = start };
}

void sealer_path(struct sealer *s, uint32_t host, uint32_t gateway)
{
	s->host = host;
	s->gateway = gateway;
}

void sealer_fini(struct sealer *s)
{
	free(s->last);
	OPENSSL_cleanse(s, sizeof(*s));
}

static int keep(struct sealer *s, const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, bytes, len);
	free(s->last);
	s->last = copy;
	s->last_len = len;
	return 0;
}

int sealer_again(struct sealer *s, uint8_t *buf, size_t size)
{
	const struct seal_path path = { SEAL_TO_GATEWAY, s->host, s->gateway };
	const struct seal seal = { .subtype = SEAL_MESSAGE,
		.key_id = s->key.id,
		.number = ++s->number,
		.epoch = s->epoch };

	if (s->last == NULL || s->last_len > size)
		return ERR_NOSPACE;
	memcpy(buf, s->last, s->last_len);
	s->flight[s->n_sent++ % SEALER_FLIGHT] = s->number;
	return seal_put(buf, s->last_len, size, &s->key, &path, &seal);
}

int sealer_out(
	struct sealer *s, const uint8_t *bytes, size_t len, uint8_t *buf, size_t size)
{
	int err = keep(s, bytes, len);

	return err != 0 ? err : sealer_again(s, buf, size);
}

static bool is_in_flight(const struct sealer *s, uint64_t number)
{
	for (size_t i = 0; i < SEALER_FLIGHT; i++)
		if (number != 0 && s->flight[i] == number)
			return true;
	return false;
}

/* An answer proves that the gateway speaks now, and in which epoch. */
static bool is_fresh(struct sealer *s, const struct seal *seal)
{
	bool answers = is_in_flight(s, seal->about);

	if (!answers && (seal->about != 0 || seal->epoch != s->epoch))
		return false;
	if (seal->epoch != s->epoch) {
		s->epoch = seal->epoch;
		s->seen = (struct seal_window){ 0 };
	}
	if (!seal_window_take(&s->seen, seal->number))
		return false;
	if (s->number < seal->number)
		s->number = seal->number;
	return true;
}

enum sealer_verdict sealer_in(struct sealer *s, uint8_t *bytes, size_t *len)
{
	const struct seal_path path = { SEAL_TO_HOST, s->host, s->gateway };
	struct seal seal;
	int err = seal_find(bytes, *len, &seal);

	if (err == ERR_NOTFOUND) {
		s->plain++;
		return SEALER_DROP;
	}
	if (err != 0 || seal.key_id != s->key.id ||
		!seal_is_good(bytes, *len, &s->key, &path)) {
		s->bad++;
		return SEALER_DROP;
	}
	if (!is_fresh(s, &seal)) {
		s->stale++;
		return SEALER_DROP;
	}
	if (seal.subtype == SEAL_CHALLENGE) {
		/* Of an earlier request there is nothing to be sent again. */
		if (seal.about == s->flight[(s->n_sent - 1) % SEALER_FLIGHT])
			return SEALER_AGAIN;
		return SEALER_DROP;
	}
	*len = seal_strip(bytes, *len);
	return SEALER_MESSAGE;
}
