#pragma once

#include "auth/seal.h"

/*
 * The host's end of seals: one key, one gateway.  Fill with sealer_init(); no memory of
 * its own but the last message, for the answer to a challenge.
 */
#define SEALER_FLIGHT 16

struct sealer {
	struct auth_key key;
	uint32_t host, gateway;
	uint64_t number;                /* the last one sent */
	uint64_t flight[SEALER_FLIGHT]; /* those that an answer may be about */
	unsigned int n_sent;
	uint64_t epoch;
	struct seal_window seen;
	uint8_t *last; /* as it came from the session, without seal */
	size_t last_len;
	/* Dropped: no seal where there should be one; a bad one; a repetition. */
	uint64_t plain, bad, stale;
};

/* start: where numbers begin, best the time in microseconds. */
void sealer_init(struct sealer *s, const struct auth_key *key, uint64_t start);
/* The ends of the path, once they are known or when they have changed. */
void sealer_path(struct sealer *s, uint32_t host, uint32_t gateway);
void sealer_fini(struct sealer *s);

/* A message to send, sealed into buf; its length, ERR_NOSPACE or -ENOMEM. */
int sealer_out(
	struct sealer *s, const uint8_t *bytes, size_t len, uint8_t *buf, size_t size);
/* The last one again, with a new seal. */
int sealer_again(struct sealer *s, uint8_t *buf, size_t size);

enum sealer_verdict {
	SEALER_MESSAGE, /* of our gateway: the seal is off */
	SEALER_AGAIN,   /* challenged: send sealer_again() */
	SEALER_DROP     /* counted above */
};
enum sealer_verdict sealer_in(struct sealer *s, uint8_t *bytes, size_t *len);
