/*
 * The caller's requests: checked against what a message can carry, copied, and queued.
 * Nothing is sent here; run.c does that when the call ends.
 */
#include "client/session.h"

#include "base/addr.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define PORTS_MAX     255
#define SPIS_MAX      65535
#define SPIS_LIST_MAX 16000

struct request *request_new(size_t extra)
{
	return calloc(1, sizeof(struct request) + extra);
}

void request_unqueue(struct rsip_session *s, struct request *r)
{
	DL_DELETE(s->queue, r);
	s->n_queue--;
	if (r->kind == RSIP_REQ_ASSIGN)
		s->n_asks--;
}

bool request_fail_waiting(struct rsip_session *s, enum rsip_failure why)
{
	for (struct request *r = s->queue; r; r = r->next) {
		if (r == s->work)
			continue;
		if (r->kind == RSIP_REQ_DEREGISTER)
			return true;
		r->fail = why;
	}
	return false;
}

void request_forget(struct rsip_session *s, uint32_t bind_id)
{
	for (struct request *r = s->queue; r; r = r->next) {
		if (r != s->work && r->bind_id == bind_id)
			r->fail = RSIP_FAIL_LOST;
	}
}

static int request_add(struct rsip_session *s, struct request *r, enum rsip_request kind,
	uint64_t now_us)
{
	r->kind = kind;
	r->made_us = now_us;
	DL_APPEND(s->queue, r);
	s->n_queue++;
	if (kind == RSIP_REQ_ASSIGN)
		s->n_asks++;
	run_enter(s);
	run_leave(s, now_us);
	return RSIP_OK;
}

/* A request of this kind as new, or why there is none. */
static int request_make(
	struct rsip_session *s, size_t extra, void *tag, struct request **made)
{
	if (s->n_queue >= s->conf.max_requests)
		return RSIP_ERR_FULL;
	*made = request_new(extra);
	if (!*made)
		return RSIP_ERR_MEMORY;
	(*made)->tag = tag;
	return RSIP_OK;
}

int rsip_register(struct rsip_session *s, void *tag, uint64_t now_us)
{
	struct request *r;
	int rc;

	if (s->wanted)
		return RSIP_ERR_STATE;
	rc = request_make(s, 0, tag, &r);
	if (rc)
		return rc;
	s->wanted = true;
	return request_add(s, r, RSIP_REQ_REGISTER, now_us);
}

int rsip_deregister(struct rsip_session *s, void *tag, uint64_t now_us)
{
	struct request *r;
	int rc;

	if (!s->wanted)
		return RSIP_ERR_STATE;
	rc = request_make(s, 0, tag, &r);
	if (rc)
		return rc;
	s->wanted = s->lost = false;
	(void)request_fail_waiting(s, RSIP_FAIL_CANCELLED);
	return request_add(s, r, RSIP_REQ_DEREGISTER, now_us);
}

/* What a parameter can hold. */
struct bounds {
	uint32_t most, most_listed; /* numbers */
	uint32_t least, largest;    /* value of each */
};

static const struct bounds port_bounds = { PORTS_MAX, PORTS_MAX, 1, 65535 };
/* SPIs up to 255 are reserved (RFC 2406 section 2.1). */
static const struct bounds spi_bounds = { SPIS_MAX, SPIS_LIST_MAX, 256, UINT32_MAX };

/* Within bounds, and none twice? */
static bool is_list_legal(const struct rsip_numbers *n, const struct bounds *b)
{
	struct range *r = n->list ? calloc(n->count, sizeof *r) : NULL;
	bool legal = r != NULL;

	for (uint32_t i = 0; legal && i < n->count; i++) {
		r[i].lo = r[i].hi = n->list[i];
		legal = n->list[i] >= b->least && n->list[i] <= b->largest;
	}
	legal = legal && ranges_count(r, ranges_normalise(r, n->count)) == n->count;
	free(r);
	return legal;
}

static bool is_numbers_legal(const struct rsip_numbers *n, const struct bounds *b)
{
	switch (n->form) {
	case RSIP_ANY:
		return n->count >= 1 && n->count <= b->most;
	case RSIP_BLOCK:
		return n->count >= 1 && n->count <= b->most && n->first >= b->least &&
		       n->first <= b->largest && n->count - 1 <= b->largest - n->first;
	case RSIP_LIST:
		return n->count >= 1 && n->count <= b->most_listed && is_list_legal(n, b);
	case RSIP_DONT_NEED:
		break;
	}
	return false;
}

static bool is_name_legal(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	size_t len = strlen(name);

	return len >= 1 && len <= RSIP_NAME_MAX && strspn(name, letters) == len;
}

static bool is_tunnels_legal(const struct rsip_want *w)
{
	unsigned int most = w->kind == RSIP_LISTEN ? RSIP_WANT_TUNNELS_MAX : 1;

	if (w->n_tunnels > most)
		return false;
	for (unsigned int i = 0; i < w->n_tunnels; i++) {
		if (w->tunnels[i] < RSIP_IPIP || w->tunnels[i] > RSIP_L2TP)
			return false;
	}
	return true;
}

/* RFC 2407 section 4.6.2.1; type 0 is any peer. */
static bool is_identity_legal(const struct rsip_identity *id)
{
	if (id->type == 0)
		return id->len == 0;
	return id->type <= 11 && id->len > 0 && id->data &&
	       (id->type != 1 || id->len == 4);
}

static bool is_want_legal(const struct rsip_want *w)
{
	bool no_ports = w->kind == RSIP_RSA_IP || w->kind == RSIP_LISTEN_IKE ||
			(w->kind == RSIP_RSIPSEC && w->ports.form == RSIP_DONT_NEED);

	if (w->kind < RSIP_RSA_IP || w->kind > RSIP_LISTEN_IKE || !is_tunnels_legal(w))
		return false;
	if (!no_ports && !is_numbers_legal(&w->ports, &port_bounds))
		return false;
	if (w->kind == RSIP_RSIPSEC && !is_numbers_legal(&w->spis, &spi_bounds))
		return false;
	if (w->kind == RSIP_LISTEN_IKE && !is_identity_legal(&w->peer))
		return false;
	return !w->remote.name || (!w->remote.address && is_name_legal(w->remote.name));
}

/* Copies a list behind the request; returns where the next one goes. */
static uint8_t *want_copy_list(struct rsip_numbers *n, uint8_t *at)
{
	size_t size = n->count * sizeof *n->list;

	if (n->form != RSIP_LIST) {
		n->list = NULL;
		return at;
	}
	memcpy(at, n->list, size);
	n->list = (const uint32_t *)(const void *)at;
	return at + size;
}

static size_t want_list_size(const struct rsip_numbers *n)
{
	return n->form == RSIP_LIST ? n->count * sizeof *n->list : 0;
}

/* On the wire a list of one is a block of one. */
static void numbers_reduce(struct rsip_numbers *n)
{
	if (n->form == RSIP_LIST && n->count == 1 && n->list)
		*n = (struct rsip_numbers){ RSIP_BLOCK, 1, n->list[0], NULL };
}

/* The caller's numbers that the kind does not have are not looked at. */
static struct rsip_want want_reduced(const struct rsip_want *want)
{
	struct rsip_want w = *want;

	if (w.kind == RSIP_RSA_IP || w.kind == RSIP_LISTEN_IKE)
		w.ports = (struct rsip_numbers){ 0 };
	if (w.kind != RSIP_RSIPSEC)
		w.spis = (struct rsip_numbers){ 0 };
	if (w.kind == RSIP_LISTEN_IKE)
		w.remote = (struct rsip_remote){ 0 };
	else
		w.peer = (struct rsip_identity){ 0 };
	numbers_reduce(&w.ports);
	numbers_reduce(&w.spis);
	return w;
}

static void want_copy(struct request *r, const struct rsip_want *want)
{
	uint8_t *at = (uint8_t *)(r + 1);

	r->want = *want;
	at = want_copy_list(&r->want.ports, at);
	at = want_copy_list(&r->want.spis, at);
	if (want->remote.name)
		r->want.remote.name =
			memcpy(at, want->remote.name, strlen(want->remote.name) + 1);
	if (want->kind == RSIP_LISTEN_IKE) {
		*at++ = want->peer.type; /* before the data, as the message has it */
		if (want->peer.len)
			memcpy(at, want->peer.data, want->peer.len);
		r->want.peer.data = at;
	}
}

int rsip_assign(
	struct rsip_session *s, const struct rsip_want *want, void *tag, uint64_t now_us)
{
	struct rsip_want w = want_reduced(want);
	struct request *r;
	size_t extra;
	int rc;

	if (!is_want_legal(&w))
		return RSIP_ERR_INVALID;
	if (!s->wanted)
		return RSIP_ERR_STATE;
	if (s->n_held + s->n_asks >= s->conf.max_bindings)
		return RSIP_ERR_FULL;
	extra = want_list_size(&w.ports) + want_list_size(&w.spis) +
		(w.remote.name ? strlen(w.remote.name) + 1 : 0) + 1U + w.peer.len;
	rc = request_make(s, extra, tag, &r);
	if (rc)
		return rc;
	want_copy(r, &w);
	return request_add(s, r, RSIP_REQ_ASSIGN, now_us);
}

/* What is asked about one binding that is held. */
static int binding_request(struct rsip_session *s, enum rsip_request kind,
	uint32_t bind_id, uint32_t lease_s, void *tag, uint64_t now_us)
{
	struct binding *b = grant_by_id(s, bind_id);
	struct request *r;
	int rc;

	if (!s->wanted)
		return RSIP_ERR_STATE;
	if (!b || b->leaving)
		return RSIP_ERR_NOTFOUND;
	rc = request_make(s, 0, tag, &r);
	if (rc)
		return rc;
	r->bind_id = bind_id;
	r->lease_s = lease_s;
	if (kind == RSIP_REQ_FREE) {
		b->leaving = true;
		b->extend_us = NEVER;
	}
	return request_add(s, r, kind, now_us);
}

int rsip_extend(struct rsip_session *s, uint32_t bind_id, uint32_t lease_s, void *tag,
	uint64_t now_us)
{
	return binding_request(s, RSIP_REQ_EXTEND, bind_id, lease_s, tag, now_us);
}

int rsip_free(struct rsip_session *s, uint32_t bind_id, void *tag, uint64_t now_us)
{
	return binding_request(s, RSIP_REQ_FREE, bind_id, 0, tag, now_us);
}

/* Address 0 means any on the wire, which no query may ask about (A-Q-03). */
static bool is_net_legal(const struct rsip_net *net)
{
	if (!net->network)
		return net->address != 0;
	return net->prefix >= 1 && net->prefix <= 32 &&
	       (net->address & UINT32_MAX << (32 - net->prefix)) != 0;
}

int rsip_query(struct rsip_session *s, const struct rsip_net *items, size_t n, void *tag,
	uint64_t now_us)
{
	struct rsip_net *copy;
	struct request *r;
	int rc;

	if (n > RSIP_QUERY_MAX)
		return RSIP_ERR_INVALID;
	for (size_t i = 0; i < n; i++) {
		if (!is_net_legal(&items[i]))
			return RSIP_ERR_INVALID;
	}
	if (!s->wanted)
		return RSIP_ERR_STATE;
	rc = request_make(s, n * sizeof *items, tag, &r);
	if (rc)
		return rc;
	copy = (struct rsip_net *)(r + 1);
	if (n)
		memcpy(copy, items, n * sizeof *items);
	r->items = copy;
	r->n_items = n;
	return request_add(s, r, RSIP_REQ_QUERY, now_us);
}
