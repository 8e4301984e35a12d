/*
 * What charon tells: SAs that come and go; and what is told to a charon that has come.
 * Connections of an earlier run go with their SAs: nobody knows any more what authorised
 * them.
 */
#include "kxd/peers_inner.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

/* --- events ---------------------------------------------------------------------------
 */

struct updown {
	bool up, in_children;
	char conn[CONN_TEXT], id[PEER_TEXT], ike[16];
	char child[40], number[16];
};

static void updown_key(struct updown *u, const struct vici_element *e)
{
	const struct {
		unsigned int depth;
		const char *name;
		char *to;
		size_t size;
	} rows[] = {
		{ 1, "remote-id", u->id, sizeof(u->id) },
		{ 1, "uniqueid", u->ike, sizeof(u->ike) },
		{ 3, "name", u->child, sizeof(u->child) },
		{ 3, "uniqueid", u->number, sizeof(u->number) },
	};

	if (e->depth == 0 && vici_named(e, "up"))
		u->up = true;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (e->depth == rows[i].depth && vici_named(e, rows[i].name) &&
			(e->depth == 1 || u->in_children))
			vici_value(e, rows[i].to, rows[i].size);
}

static struct peer *peer_of_conn(const struct peers *p, const char *conn)
{
	struct peer *peer = p->first;

	while (peer != NULL && strcmp(peer->conn, conn) != 0)
		peer = peer->next;
	return peer;
}

static void child_up(struct peers *p, struct peer *peer, struct child *c)
{
	uint32_t pair = c->asked ? 0 : c->pair; /* the initiate will tell */

	p->conf.sa(p->conf.ctx, true, c->local, c->remote, &peer->name);
	if (pair != 0)
		p->conf.ike(p->conf.ctx, pair, KX_IKE_UP);
}

/* What authorised it is not watched any more, so the next one is looked up anew. */
static void child_down(struct peers *p, struct peer *peer, struct child *c)
{
	uint32_t local = c->local, remote = c->remote, pair = c->asked ? 0 : c->pair;

	if (!c->asked) {
		peers_child_drop(p, peer, c);
		peers_load(p, peer);
	}
	p->conf.sa(p->conf.ctx, false, local, remote, &peer->name);
	if (pair != 0)
		p->conf.ike(p->conf.ctx, pair, KX_IKE_DOWN);
}

static void on_child(struct peers *p, const struct updown *u)
{
	struct peer *peer = peer_of_conn(p, u->conn);
	struct child *c = NULL;

	for (size_t i = 0; peer != NULL && i < peer->n_children; i++)
		if (strcmp(peer->children[i].name, u->child) == 0)
			c = &peer->children[i];
	if (c == NULL) {
		if (u->up) {
			/* Withdrawn while it was negotiated, or never authorised. */
			p->counters.strays++;
			peers_end(p, "child-id", u->number, NULL, NULL);
		}
		return;
	}
	peer->used_ms = c->used_ms = uv_now(p->loop);
	/* Both ends may have begun: then there are two, and one may go. */
	if (u->up) {
		p->counters.sas++;
		if (c->up++ == 0)
			child_up(p, peer, c);
	} else if (c->up > 0) {
		p->counters.sas--;
		if (--c->up == 0)
			child_down(p, peer, c);
	}
}

void charon_event(void *ctx, const char *name, const uint8_t *body, size_t len)
{
	struct vici_rd r = vici_rd_init(body, len);
	struct peers *p = ctx;
	struct updown u = { 0 };
	struct vici_element e;

	while (vici_next(&r, &e) != VICI_END && e.kind != VICI_BAD) {
		if (e.kind == VICI_SECTION && e.depth == 0) {
			struct vici_element conn = { .value = e.name, .len = e.name_len };

			vici_value(&conn, u.conn, sizeof(u.conn));
		} else if (e.kind == VICI_SECTION && e.depth == 1) {
			u.in_children = vici_named(&e, "child-sas");
		} else if (e.kind == VICI_KEY) {
			updown_key(&u, &e);
		} else if (e.kind == VICI_SECTION_END && e.depth == 2 && u.in_children &&
			   strcmp(name, "child-updown") == 0 &&
			   strncmp(u.conn, "kx-", 3) == 0) {
			on_child(p, &u);
		}
	}
	if (strcmp(name, "ike-updown") == 0 && u.up && strcmp(u.conn, ANY_CONN) == 0) {
		struct stranger *s = &p->strangers[p->next_stranger++ % STRANGERS];

		memcpy(s->id, u.id, sizeof(s->id));
		memcpy(s->number, u.ike, sizeof(s->number));
	}
}

/* --- charon's coming and going ---------------------------------------------------------
 */

static void on_any_loaded(void *arg, int err, const uint8_t *body, size_t len)
{
	struct peers *p = arg;
	char text[200] = "";

	if (!peers_succeeded(err, body, len)) {
		if (err == 0)
			(void)vici_text(body, len, "errmsg", text, sizeof(text));
		p->conf.state(p->conf.ctx, false,
			text[0] != 0 ? text : "charon does not take our connection");
		return;
	}
	p->ready = true;
	p->conf.state(p->conf.ctx, true, "");
	for (struct peer *peer = p->first; peer != NULL; peer = peer->next)
		if (peer->n_children > 0)
			peers_load(p, peer);
}

static void any_load(struct peers *p)
{
	size_t len;
	uint8_t *body = msg_load_any(&p->own, &len);

	(void)peers_call(p, "load-conn", body, len, 0, on_any_loaded, NULL, p);
}

static void on_left(void *arg, int err, const uint8_t *body, size_t len)
{
	struct peers *p = arg;

	/* What did not work was not there. */
	(void)err, (void)body, (void)len;
	if (--p->leaving == 0)
		any_load(p);
}

/* One of the two commands that end a connection of an earlier run. */
static void leave(struct peers *p, const char *command, const char *key, const char *conn)
{
	uint8_t *bytes = malloc(CONN_TEXT + 64);
	struct wr w = wr_init(bytes, bytes != NULL ? CONN_TEXT + 64 : 0);

	vici_key(&w, key, conn);
	vici_key(&w, "force", "yes");
	vici_key(&w, "timeout", "-1");
	if (peers_call(p, command, bytes, wr_len(&w), 0, on_left, NULL, p) == 0)
		p->leaving++;
}

/* All of that run's, before any of the same name is made anew. */
static void on_conns(void *arg, int err, const uint8_t *body, size_t len)
{
	struct vici_rd r = vici_rd_init(body, len);
	struct peers *p = arg;
	struct vici_element e;
	char conn[CONN_TEXT];

	p->leaving = 1;
	while (err == 0 && vici_next(&r, &e) != VICI_END && e.kind != VICI_BAD) {
		if (e.kind != VICI_ITEM)
			continue;
		vici_value(&e, conn, sizeof(conn));
		if (strncmp(conn, "kx-", 3) != 0)
			continue;
		leave(p, "terminate", "ike", conn);
		leave(p, "unload-conn", "name", conn);
	}
	on_left(p, 0, NULL, 0);
}

static void on_key_loaded(void *arg, int err, const uint8_t *body, size_t len)
{
	struct peers *p = arg;

	if (!peers_succeeded(err, body, len)) {
		p->conf.state(p->conf.ctx, false, "charon does not take our private key");
		return;
	}
	if (p->ready)
		any_load(p);
	else
		(void)peers_call(p, "get-conns", calloc(1, 1), 0, 0, on_conns, NULL, p);
}

void charon_key_load(struct peers *p)
{
	size_t len;
	uint8_t *body = msg_load_key(&p->own, &len);

	(void)peers_call(p, "load-key", body, len, 0, on_key_loaded, NULL, p);
}

static void peers_down(struct peers *p)
{
	for (struct peer *peer = p->first; peer != NULL; peer = peer->next) {
		peer->loaded = false;
		for (size_t i = 0; i < peer->n_children; i++) {
			struct child *c = &peer->children[i];

			p->counters.sas -= c->up;
			if (c->up > 0 && c->pair != 0)
				p->conf.ike(p->conf.ctx, c->pair, KX_IKE_DOWN);
			c->up = 0;
		}
	}
}

void charon_state(void *ctx, bool up, const char *why)
{
	struct peers *p = ctx;
	bool was = p->ready;

	p->ready = false;
	p->down = !up;
	if (!up) {
		peers_ops_fail(p);
		if (was)
			peers_down(p);
		p->conf.state(p->conf.ctx, false, why);
		return;
	}
	charon_key_load(p);
}
