/*
 * The table of peers and the calls that make charon follow it.
 *
 * A peer is loaded whole each time it changes; while a load is under way further changes
 * only mark it dirty.  What must wait for a load (an initiate) is an op; ops fail when
 * charon is lost.  At each start of charon or of ours, what connections of an earlier run
 * it still has go with their SAs: nobody knows any more what authorised them.
 */
#include "kxd/peers_inner.h"

#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_MS  600000 /* a peer without children is unloaded then */
#define SWEEP_MS 60000
#define ASK_ROOM 1024

/* --- calls ----------------------------------------------------------------------------
 */

int peers_call(struct peers *p, const char *name, uint8_t *body, size_t len,
	uint32_t timeout_ms, vici_done done, vici_said said, void *arg)
{
	const struct vici_command command = {
		.name = name,
		.body = body,
		.len = len,
		.timeout_ms = timeout_ms,
		.done = done,
		.said = said,
		.arg = arg,
	};
	int err = body != NULL ? vici_call(p->vici, &command) : -ENOMEM;

	free(body);
	return err;
}

/* Up to three keys; a NULL name ends them. */
static uint8_t *pairs(size_t *len, const char *a, const char *a_value, const char *b,
	const char *b_value)
{
	uint8_t *bytes = malloc(1024);
	struct wr w = wr_init(bytes, bytes != NULL ? 1024 : 0);

	vici_key(&w, a, a_value);
	if (b != NULL)
		vici_key(&w, b, b_value);
	vici_key(&w, "force", "yes");
	vici_key(&w, "timeout", "-1");
	*len = wr_len(&w);
	if (!w.bad)
		return bytes;
	free(bytes);
	return NULL;
}

/* Answers of no interest: what does not work is not there. */
void peers_end(struct peers *p, const char *a, const char *a_value, const char *b,
	const char *b_value)
{
	size_t len;
	uint8_t *body = pairs(&len, a, a_value, b, b_value);

	p->counters.terminates++;
	(void)peers_call(p, "terminate", body, len, 0, NULL, NULL, NULL);
}

void peers_unload(struct peers *p, const char *conn)
{
	uint8_t *bytes = malloc(CONN_TEXT + 16);
	struct wr w = wr_init(bytes, bytes != NULL ? CONN_TEXT + 16 : 0);

	vici_key(&w, "name", conn);
	if (w.bad) {
		free(bytes);
		return;
	}
	(void)peers_call(p, "unload-conn", bytes, wr_len(&w), 0, NULL, NULL, NULL);
}

bool peers_succeeded(int err, const uint8_t *body, size_t len)
{
	char text[8];

	return err == 0 && vici_text(body, len, "success", text, sizeof(text)) &&
	       strcmp(text, "yes") == 0;
}

/* --- the table ------------------------------------------------------------------------
 */

static struct peer *peer_find(const struct peers *p, const struct kx_name *name)
{
	struct peer *peer = p->first;

	while (peer != NULL && !kx_name_same(&peer->name, name))
		peer = peer->next;
	return peer;
}

static struct child *child_find(struct peer *peer, uint32_t local, uint32_t remote)
{
	for (size_t i = 0; i < peer->n_children; i++)
		if (peer->children[i].local == local &&
			peer->children[i].remote == remote)
			return &peer->children[i];
	return NULL;
}

void peers_child_drop(struct peers *p, struct peer *peer, struct child *c)
{
	p->counters.sas -= c->up;
	p->counters.children--;
	*c = peer->children[--peer->n_children];
}

static bool is_idle(const struct peer *peer)
{
	return peer->n_children == 0 && peer->ops == 0 && !peer->loading;
}

static void peer_drop(struct peers *p, struct peer *peer)
{
	struct peer **at = &p->first;

	while (*at != peer)
		at = &(*at)->next;
	*at = peer->next;
	p->counters.peers--;
	if (p->ready && peer->loaded) {
		peers_end(p, "ike", peer->conn, NULL, NULL);
		peers_unload(p, peer->conn);
	}
	free(peer);
}

/* Children that were tried for and came to nothing: the peer must not use them later. */
static bool children_sweep(struct peers *p, struct peer *peer)
{
	size_t before = peer->n_children;

	for (size_t i = peer->n_children; i > 0; i--) {
		struct child *c = &peer->children[i - 1];

		if (c->up == 0 && !c->asked && !c->authorised &&
			uv_now(p->loop) - c->used_ms >= SWEEP_MS)
			peers_child_drop(p, peer, c);
	}
	return peer->n_children != before;
}

static void peers_sweep(struct peers *p, uint64_t older_ms)
{
	struct peer *next;

	for (struct peer *peer = p->first; peer != NULL; peer = next) {
		next = peer->next;
		if (children_sweep(p, peer) && p->ready)
			peers_load(p, peer);
		if (is_idle(peer) && uv_now(p->loop) - peer->used_ms >= older_ms)
			peer_drop(p, peer);
	}
}

static struct peer *peer_get(struct peers *p, const struct kx_name *name)
{
	struct peer *peer = peer_find(p, name);
	char text[KX_NAME_TEXT];
	size_t len = strlen(kx_name_format(name, text));

	if (peer != NULL)
		return peer;
	if (len < 2 || len > PEER_TEXT)
		return NULL;
	if (p->counters.peers >= PEERS_MAX)
		peers_sweep(p, 1000);
	peer = p->counters.peers < PEERS_MAX ? calloc(1, sizeof(*peer)) : NULL;
	if (peer == NULL)
		return NULL;
	peer->of = p;
	peer->name = *name;
	text[len - 1] = 0; /* the final dot */
	memcpy(peer->text, text, len);
	(void)snprintf(peer->conn, sizeof(peer->conn), "kx-%s", peer->text);
	peer->next = p->first;
	p->first = peer;
	p->counters.peers++;
	return peer;
}

/* Addresses, port and keys as DNS has them now. */
static void peer_learn(struct peer *peer, const struct kx_exchanger *e,
	const struct kx_addr *addrs, size_t n_addrs)
{
	size_t n = 0;

	for (size_t i = 0; i < e->n_keys && i < KX_KEYS_MAX; i++) {
		int len = spki_encode(e->keys[i].algorithm, e->keys[i].bytes,
			e->keys[i].len, peer->keys[n].bytes);

		if (len > 0)
			peer->keys[n++].len = (size_t)len;
	}
	peer->n_keys = n;
	if (n_addrs == 0)
		return;
	peer->n_addrs = n_addrs < KX_ADDRS_MAX ? n_addrs : KX_ADDRS_MAX;
	memcpy(peer->addrs, addrs, peer->n_addrs * sizeof(peer->addrs[0]));
	peer->port = e->port;
}

static struct child *child_get(
	struct peers *p, struct peer *peer, uint32_t local, uint32_t remote)
{
	struct child *c = child_find(peer, local, remote);
	char a[ADDR_TEXT_MAX], b[ADDR_TEXT_MAX];

	if (c != NULL || peer->n_children == CHILDREN_MAX)
		return c;
	c = &peer->children[peer->n_children++];
	*c = (struct child){
		.local = local, .remote = remote, .used_ms = uv_now(p->loop)
	};
	(void)snprintf(c->name, sizeof(c->name), "%s-%s", addr_format(local, a),
		addr_format(remote, b));
	p->counters.children++;
	return c;
}

/* --- loading --------------------------------------------------------------------------
 */

static void ops_go(struct peers *p, struct peer *peer, bool loaded);

/* A peer stays while its load is under way. */
static void on_loaded(void *arg, int err, const uint8_t *body, size_t len)
{
	struct peer *peer = arg;
	struct peers *p = peer->of;

	peer->loading = false;
	peer->loaded = peers_succeeded(err, body, len);
	if (peer->dirty && p->ready)
		peers_load(p, peer);
	else
		ops_go(p, peer, peer->loaded);
}

/* Make charon's connection what the table says; ops wait until it is. */
void peers_load(struct peers *p, struct peer *peer)
{
	uint8_t *body;
	size_t len = 0;

	peer->used_ms = uv_now(p->loop);
	peer->dirty = peer->loading;
	if (peer->loading || !p->ready)
		return; /* all with children are loaded when charon is there */
	/* Nobody could authenticate: better no connection than one for everybody. */
	body = peer->n_keys > 0 || p->own.ca.len > 0 ? msg_load_conn(&p->own, peer, &len)
						     : NULL;
	peer->loading = body != NULL;
	if (peer->loading) {
		p->counters.loads++;
		if (peers_call(p, "load-conn", body, len, 0, on_loaded, NULL, peer) == 0)
			return;
		peer->loading = false;
	}
	ops_go(p, peer, false);
}

/* --- initiating -----------------------------------------------------------------------
 */

static void on_later(uv_timer_t *timer);

void peers_ops_fail(struct peers *p)
{
	for (struct op *op = p->ops; op != NULL; op = op->next)
		if (op->state == OP_LOAD)
			op->state = OP_FAILED;
	(void)uv_timer_start(&p->later, on_later, 0, 0);
}

static struct child *op_child(const struct op *op)
{
	return op->peer != NULL ? child_find(op->peer, op->local, op->remote) : NULL;
}

static void op_end(struct op *op, enum kx_ike result)
{
	struct peers *p = op->of;
	struct op **at = &p->ops;
	struct child *c = op_child(op);
	uint32_t pair = op->pair;

	while (*at != op)
		at = &(*at)->next;
	*at = op->next;
	if (op->peer != NULL)
		op->peer->ops--;
	if (c != NULL)
		c->asked = false;
	if (c != NULL)
		c->used_ms = uv_now(p->loop);
	free(op);
	(void)uv_timer_start(
		&p->later, on_later, 0, 0); /* another of the child may wait */
	if (pair != 0)
		p->conf.ike(p->conf.ctx, pair, result);
}

/* What charon's log says about why; its sentences are those of 5.9. */
static void on_words(void *arg, const char *event, const uint8_t *body, size_t len)
{
	static const struct {
		const char *words;
		enum kx_ike result;
	} table[] = {
		{ "received AUTHENTICATION_FAILED", KX_IKE_AUTH },
		{ "received TS_UNACCEPTABLE", KX_IKE_TS },
	};
	struct op *op = arg;
	char text[256];

	if (strcmp(event, "control-log") != 0 ||
		!vici_text(body, len, "msg", text, sizeof(text)))
		return;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strstr(text, table[i].words) != NULL)
			op->result = table[i].result;
}

static bool has_sa(const struct peer *peer)
{
	for (size_t i = 0; i < peer->n_children; i++)
		if (peer->children[i].up > 0)
			return true;
	return false;
}

static void on_initiated(void *arg, int err, const uint8_t *body, size_t len)
{
	struct op *op = arg;
	struct peer *peer = op->peer;
	enum kx_ike result = op->result;
	char text[160];

	if (peers_succeeded(err, body, len)) {
		op_end(op, KX_IKE_UP);
		return;
	}
	if (err == 0 && vici_text(body, len, "errmsg", text, sizeof(text)) &&
		strstr(text, "not established after") != NULL)
		err = -ETIMEDOUT;
	if (err == -ETIMEDOUT) {
		result = KX_IKE_TIMEOUT;
		/* It would try on for minutes. */
		if (!has_sa(peer))
			peers_end(op->of, "ike", peer->conn, NULL, NULL);
	}
	op_end(op, result);
}

static void op_ask(struct op *op, struct child *c)
{
	struct peers *p = op->of;
	uint8_t *bytes = malloc(ASK_ROOM);
	struct wr w;
	char timeout[16];

	op->result = KX_IKE_FAILED;
	if (bytes == NULL) {
		op_end(op, KX_IKE_FAILED);
		return;
	}
	(void)snprintf(timeout, sizeof(timeout), "%u", op->timeout_ms);
	w = wr_init(bytes, ASK_ROOM);
	vici_key(&w, "child", c->name);
	vici_key(&w, "ike", op->peer->conn);
	vici_key(&w, "timeout", timeout);
	vici_key(&w, "loglevel", "1");
	op->state = OP_ASKED;
	c->asked = true;
	p->counters.initiates++;
	/* charon's own end comes first. */
	if (peers_call(p, "initiate", bytes, wr_len(&w), op->timeout_ms + 2000,
		    on_initiated, on_words, op) != 0)
		op_end(op, KX_IKE_FAILED);
}

/* Those that waited for a load of the peer. */
static void ops_go(struct peers *p, struct peer *peer, bool loaded)
{
	for (struct op *op = p->ops; op != NULL; op = op->next) {
		if (op->peer != peer || op->state != OP_LOAD)
			continue;
		op->state = loaded ? OP_READY : OP_FAILED;
	}
	/* From a clean stack: what is told here may call in again. */
	(void)uv_timer_start(&p->later, on_later, 0, 0);
}

/* One that is to be ended or asked now; NULL: none.  One at a time of a child. */
static struct op *op_due(const struct peers *p)
{
	for (struct op *op = p->ops; op != NULL; op = op->next) {
		/* op_end() takes it out before it frees it, which clang cannot see. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		const struct child *c = op_child(op);

		if (op->state == OP_FAILED ||
			(op->state == OP_READY && (c == NULL || !c->asked)))
			return op;
	}
	return NULL;
}

static void on_later(uv_timer_t *timer)
{
	struct peers *p = timer->data;
	struct op *op;

	/* The list may be another one after each. */
	while ((op = op_due(p)) != NULL) {
		struct child *c = op_child(op);

		if (op->state == OP_READY && c != NULL)
			op_ask(op, c);
		else
			op_end(op, KX_IKE_FAILED);
	}
}

void peers_connect(struct peers *p, const struct peers_want *want)
{
	struct peer *peer = p->down ? NULL : peer_get(p, &want->exchanger->name);
	struct child *c = NULL;
	struct op *op = calloc(1, sizeof(*op));

	if (op == NULL)
		return; /* the caller's own deadline tells it */
	if (peer != NULL) {
		peer_learn(peer, want->exchanger, want->addrs, want->n_addrs);
		c = child_get(p, peer, want->local, want->remote);
	}
	*op = (struct op){
		.next = p->ops,
		.of = p,
		.peer = c != NULL ? peer : NULL,
		.pair = want->pair,
		.local = want->local,
		.remote = want->remote,
		.timeout_ms = want->timeout_ms,
		.state = c != NULL ? OP_LOAD : OP_FAILED,
	};
	p->ops = op;
	if (c == NULL) {
		(void)uv_timer_start(&p->later, on_later, 0, 0);
		return;
	}
	c->pair = want->pair;
	peer->ops++;
	peers_load(p, peer);
}

int peers_trust(struct peers *p, const struct kx_exchanger *e)
{
	struct peer *peer = p->ready ? peer_get(p, &e->name) : NULL;

	if (peer == NULL)
		return p->ready ? ERR_NOSPACE : ERR_UNREACHABLE;
	peer_learn(peer, e, e->addrs, e->n_addrs);
	peers_load(p, peer);
	return 0;
}

int peers_authorise(
	struct peers *p, const struct kx_name *name, uint32_t local, uint32_t remote)
{
	struct peer *peer = p->ready ? peer_get(p, name) : NULL;
	struct child *c;

	if (peer == NULL)
		return p->ready ? ERR_NOSPACE : ERR_UNREACHABLE;
	c = child_get(p, peer, local, remote);
	if (c == NULL)
		return ERR_NOSPACE;
	c->authorised = true;
	peers_load(p, peer);
	/*
	 * One that is known by its certificate alone has its IKE_SA on kx-any, where it
	 * never gets a child; the next one finds its own connection.
	 */
	for (size_t i = 0; i < STRANGERS; i++)
		if (strcmp(p->strangers[i].id, peer->text) == 0) {
			peers_end(p, "ike-id", p->strangers[i].number, NULL, NULL);
			p->strangers[i].id[0] = 0;
		}
	return 0;
}

/* Nobody waits for what becomes of it. */
static void ops_forget(struct peers *p, const struct peer *peer, const struct child *c)
{
	for (struct op *op = p->ops; op != NULL; op = op->next)
		if (op->peer == peer && op->local == c->local &&
			op->remote == c->remote) {
			op->pair = 0;
			if (op->state != OP_ASKED)
				op->state = OP_FAILED;
		}
	(void)uv_timer_start(&p->later, on_later, 0, 0);
}

static void child_end(struct peers *p, struct peer *peer, struct child *c)
{
	if (p->ready)
		peers_end(p, "child", c->name, "ike", peer->conn);
	ops_forget(p, peer, c);
	peers_child_drop(p, peer, c);
}

void peers_terminate(struct peers *p, const struct kx_name *name, uint32_t a, uint32_t b)
{
	struct peer *peer = peer_find(p, name);

	if (peer == NULL)
		return;
	for (size_t i = peer->n_children; i > 0; i--) {
		struct child *c = &peer->children[i - 1];

		if ((c->remote == a && (b == 0 || c->local == b)) ||
			(b != 0 && c->local == a && c->remote == b))
			child_end(p, peer, c);
	}
	if (!p->ready)
		return;
	peers_load(p, peer);
	if (peer->n_children == 0)
		peers_end(p, "ike", peer->conn, NULL, NULL);
}

bool peers_has(const struct peers *p, uint32_t local, uint32_t remote)
{
	for (struct peer *peer = p->first; peer != NULL; peer = peer->next) {
		const struct child *c = child_find(peer, local, remote);

		if (c != NULL && c->up > 0)
			return true;
	}
	return false;
}

/* --- life -----------------------------------------------------------------------------
 */

static void on_sweep(uv_timer_t *timer)
{
	peers_sweep(timer->data, IDLE_MS);
}

int peers_new(uv_loop_t *loop, const struct peers_conf *conf, struct peers **peers,
	char *why, size_t why_size)
{
	static const char *const events[] = { "child-updown", "ike-updown", NULL };
	struct peers *p = calloc(1, sizeof(*p));
	struct vici_conf vici = {
		.path = conf->conf->vici,
		.events = events,
		.ctx = p,
		.event = charon_event,
		.state = charon_state,
	};
	int err;

	if (p == NULL)
		return -ENOMEM;
	p->conf = *conf;
	p->loop = loop;
	err = own_read(&p->own, conf->conf, why, why_size);
	if (err == 0)
		err = vici_new(loop, &vici, &p->vici);
	if (err != 0) {
		free(p);
		return err;
	}
	(void)uv_timer_init(loop, &p->later);
	(void)uv_timer_init(loop, &p->sweep);
	p->later.data = p->sweep.data = p;
	(void)uv_timer_start(&p->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	*peers = p;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct peers *p = handle->data;

	if (--p->closing == 0)
		free(p);
}

void peers_free(struct peers *p)
{
	if (p == NULL)
		return;
	p->ready = false;
	vici_free(p->vici);
	for (struct op *op = p->ops, *next; op != NULL; op = next) {
		next = op->next;
		free(op);
	}
	for (struct peer *peer = p->first, *next; peer != NULL; peer = next) {
		next = peer->next;
		free(peer);
	}
	explicit_bzero(&p->own, sizeof(p->own));
	p->closing = 2;
	uv_close((uv_handle_t *)&p->later, on_closed);
	uv_close((uv_handle_t *)&p->sweep, on_closed);
}

int peers_reload(struct peers *p, const struct kxd_conf *conf, char *why, size_t why_size)
{
	struct own *own = malloc(sizeof(*own));
	int err = own != NULL ? own_read(own, conf, why, why_size) : -ENOMEM;

	if (err == 0) {
		p->own = *own;
		if (p->ready)
			charon_key_load(p); /* what is up stays */
	}
	free(own);
	return err;
}

bool peers_is_ready(const struct peers *p)
{
	return p->ready;
}

const struct peers_counters *peers_count(const struct peers *p)
{
	return &p->counters;
}
