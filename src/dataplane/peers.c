/*
 * Hosts by address and peer.  With one host left, the exclusive or of all of them is that
 * host, so no list of a peer's hosts is kept.
 */
#include "dataplane/peers.h"

#include <assert.h>
#include <stdlib.h>

struct talk {
	struct htab_node node;
	uint32_t nb, peer, host; /* key */
	uint32_t n;
};

struct peer_row {
	struct htab_node node;
	uint32_t nb, peer; /* key */
	uint32_t hosts, mixed;
};

#define TALK_KEY (3 * sizeof(uint32_t))
#define PEER_KEY (2 * sizeof(uint32_t))

int peers_init(struct peers *p, uint64_t secret)
{
	int err = htab_init(&p->talks, TALK_KEY, secret);

	return err ? err : htab_init(&p->peers, PEER_KEY, secret);
}

void peers_fini(struct peers *p)
{
	if (p->talks.bucket)
		htab_clear(&p->talks, free);
	if (p->peers.bucket)
		htab_clear(&p->peers, free);
	htab_fini(&p->talks);
	htab_fini(&p->peers);
}

static struct talk *talk_find(
	const struct peers *p, uint32_t nb, uint32_t peer, uint32_t host)
{
	const uint32_t key[] = { nb, peer, host };

	return htab_find(&p->talks, key);
}

static struct peer_row *row_find(const struct peers *p, uint32_t nb, uint32_t peer)
{
	const uint32_t key[] = { nb, peer };

	return htab_find(&p->peers, key);
}

bool peers_add(struct peers *p, uint32_t nb, uint32_t peer, uint32_t host)
{
	struct talk *t = talk_find(p, nb, peer, host);
	struct peer_row *row = row_find(p, nb, peer), *made = NULL;

	if (t) {
		t->n++;
		return true;
	}
	t = malloc(sizeof *t);
	if (!row)
		row = made = malloc(sizeof *row);
	if (!t || !row) {
		free(t);
		free(made);
		return false;
	}
	*t = (struct talk){ .nb = nb, .peer = peer, .host = host, .n = 1 };
	htab_add(&p->talks, t);
	if (made) {
		*row = (struct peer_row){ .nb = nb, .peer = peer };
		htab_add(&p->peers, row);
	}
	row->hosts++;
	row->mixed ^= host;
	return true;
}

void peers_del(struct peers *p, uint32_t nb, uint32_t peer, uint32_t host)
{
	struct talk *t = talk_find(p, nb, peer, host);
	struct peer_row *row = row_find(p, nb, peer);

	assert(t && row);
	if (--t->n > 0)
		return;
	htab_del(&p->talks, t);
	free(t);
	row->mixed ^= host;
	if (--row->hosts > 0)
		return;
	htab_del(&p->peers, row);
	free(row);
}

uint32_t peers_only(const struct peers *p, uint32_t nb, uint32_t peer)
{
	const struct peer_row *row = row_find(p, nb, peer);

	return row && row->hosts == 1 ? row->mixed : 0;
}
