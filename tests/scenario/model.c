/*
 * The tests' own store and data plane: plain tables that do what the effects say and
 * nothing else.
 */
#include "model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* --- tables ---------------------------------------------------------------------------
 */

/* The first row that is not below the key. */
static size_t lower(const struct rows *t, const void *key)
{
	size_t lo = 0, hi = t->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (t->cmp(t->row + mid * t->size, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void *rows_at(const struct rows *t, size_t i)
{
	assert(i < t->n);
	return t->row + i * t->size;
}

void *rows_find(const struct rows *t, const void *key)
{
	size_t i = lower(t, key);

	return i < t->n && t->cmp(t->row + i * t->size, key) == 0 ? rows_at(t, i) : NULL;
}

void *rows_put(struct rows *t, const void *row)
{
	size_t i = lower(t, row);
	char *at;

	if (i < t->n && t->cmp(t->row + i * t->size, row) == 0) {
		at = rows_at(t, i);
		memcpy(at, row, t->size);
		return at;
	}
	if (t->n == t->room) {
		t->room = t->room == 0 ? 16 : 2 * t->room;
		t->row = realloc(t->row, t->room * t->size);
		if (t->row == NULL)
			abort();
	}
	at = t->row + i * t->size;
	memmove(at + t->size, at, (t->n - i) * t->size);
	memcpy(at, row, t->size);
	t->n++;
	return at;
}

bool rows_drop(struct rows *t, const void *key)
{
	char *at = rows_find(t, key);

	if (at == NULL)
		return false;
	t->n--;
	memmove(at, at + t->size, (size_t)(t->row + t->n * t->size - at));
	return true;
}

#define CMP(a, b) (((a) > (b)) - ((a) < (b)))

static int lease_cmp(const void *a, const void *b)
{
	return CMP(
		((const struct lease *)a)->bind_id, ((const struct lease *)b)->bind_id);
}

static int registration_cmp(const void *a, const void *b)
{
	return CMP(((const struct registration *)a)->client_id,
		((const struct registration *)b)->client_id);
}

static int resting_cmp(const void *va, const void *vb)
{
	const struct resting *a = va, *b = vb;

	if (a->address != b->address)
		return CMP(a->address, b->address);
	if (a->kind != b->kind)
		return CMP(a->kind, b->kind);
	return CMP(a->range.lo, b->range.lo);
}

/* --- models ---------------------------------------------------------------------------
 */

void model_init(struct model *m)
{
	*m = (struct model){
		.leases = { .size = sizeof(struct lease), .cmp = lease_cmp },
		.registrations = { .size = sizeof(struct registration),
			.cmp = registration_cmp },
		.resting = { .size = sizeof(struct resting), .cmp = resting_cmp },
	};
}

static struct range *copy(const struct range *r, size_t n)
{
	struct range *to;

	if (n == 0)
		return NULL;
	to = malloc(n * sizeof(*to));
	if (to == NULL)
		abort();
	memcpy(to, r, n * sizeof(*to));
	return to;
}

static void lease_fini(const struct lease *l)
{
	union { /* what copy() made, which the lease shows read-only */
		const struct range *shown;
		struct range *owned;
	} ports = { l->ports }, spis = { l->spis };
	union {
		const char *shown;
		char *owned;
	} name = { l->remote_name };
	union {
		const uint8_t *shown;
		uint8_t *owned;
	} id = { l->ike_id };

	free(ports.owned);
	free(spis.owned);
	free(name.owned);
	free(id.owned);
}

void model_clear(struct model *m)
{
	for (size_t i = 0; i < m->leases.n; i++)
		lease_fini(rows_at(&m->leases, i));
	m->leases.n = m->registrations.n = m->resting.n = 0;
}

void model_fini(struct model *m)
{
	model_clear(m);
	free(m->leases.row);
	free(m->registrations.row);
	free(m->resting.row);
	model_init(m);
}

const struct lease *model_lease(const struct model *m, uint32_t bind_id)
{
	return rows_find(&m->leases, &(struct lease){ .bind_id = bind_id });
}

void model_lease_put(struct model *m, const struct lease *l)
{
	const struct lease *old = model_lease(m, l->bind_id);
	struct lease row = *l;

	row.ports = copy(l->ports, l->n_ports);
	row.spis = copy(l->spis, l->n_spis);
	row.remote_name = NULL;
	if (l->remote_name_len > 0) {
		row.remote_name = strndup(l->remote_name, l->remote_name_len);
		if (row.remote_name == NULL)
			abort();
	}
	row.ike_id = NULL;
	if (l->ike_id_len > 0) {
		uint8_t *id = malloc(l->ike_id_len);

		if (id == NULL)
			abort();
		row.ike_id = memcpy(id, l->ike_id, l->ike_id_len);
	}
	if (old != NULL)
		lease_fini(old);
	(void)rows_put(&m->leases, &row);
}

bool model_lease_drop(struct model *m, uint32_t bind_id)
{
	const struct lease *old = model_lease(m, bind_id);

	if (old == NULL)
		return false;
	lease_fini(old);
	return rows_drop(&m->leases, &(struct lease){ .bind_id = bind_id });
}

const struct lease *model_lease_at(const struct model *m, size_t i)
{
	return rows_at(&m->leases, i);
}

void model_registration_put(struct model *m, const struct registration *r)
{
	(void)rows_put(&m->registrations, r);
}

bool model_registration_drop(struct model *m, uint32_t client_id)
{
	return rows_drop(
		&m->registrations, &(struct registration){ .client_id = client_id });
}

const struct registration *model_registration(const struct model *m, uint32_t client_id)
{
	return rows_find(
		&m->registrations, &(struct registration){ .client_id = client_id });
}

const struct registration *model_registration_at(const struct model *m, size_t i)
{
	return rows_at(&m->registrations, i);
}

void model_resting_put(struct model *m, const struct resting *r)
{
	(void)rows_put(&m->resting, r);
}

bool model_resting_drop(struct model *m, const struct resting *r)
{
	return rows_drop(&m->resting, r);
}

const struct resting *model_resting_at(const struct model *m, size_t i)
{
	return rows_at(&m->resting, i);
}

/* --- equality -------------------------------------------------------------------------
 */

static bool ranges_equal(
	const struct range *a, size_t n_a, const struct range *b, size_t n_b)
{
	return n_a == n_b && (n_a == 0 || memcmp(a, b, n_a * sizeof(*a)) == 0);
}

bool lease_same_tuple(const struct lease *a, const struct lease *b)
{
	return a->host == b->host && a->address == b->address &&
	       ranges_equal(a->ports, a->n_ports, b->ports, b->n_ports) &&
	       ranges_equal(a->spis, a->n_spis, b->spis, b->n_spis);
}

static bool remotes_equal(const struct lease *a, const struct lease *b)
{
	return a->remote.n_more == b->remote.n_more &&
	       memcmp(a->remote.more, b->remote.more,
		       a->remote.n_more * sizeof(a->remote.more[0])) == 0 &&
	       a->remote_name_len == b->remote_name_len &&
	       (a->remote_name_len == 0 ||
		       memcmp(a->remote_name, b->remote_name, a->remote_name_len) == 0);
}

bool lease_equal(const struct lease *a, const struct lease *b)
{
	return lease_same_tuple(a, b) && a->client_id == b->client_id &&
	       a->bind_id == b->bind_id && a->gateway == b->gateway &&
	       a->method == b->method && a->tunnel == b->tunnel &&
	       a->remote.flow == b->remote.flow && a->remote.addr == b->remote.addr &&
	       a->remote.port == b->remote.port && remotes_equal(a, b) &&
	       a->ike_id_len == b->ike_id_len &&
	       (a->ike_id_len == 0 || memcmp(a->ike_id, b->ike_id, a->ike_id_len) == 0) &&
	       a->granted_ms == b->granted_ms && a->expires_ms == b->expires_ms;
}

/* The counter may lag, and a TCP connection does not survive; the rest is all kept. */
bool registration_equal(const struct registration *a, const struct registration *b)
{
	return a->client_id == b->client_id && a->host == b->host &&
	       a->expires_ms == b->expires_ms && a->peer.transport == b->peer.transport &&
	       a->counters == b->counters &&
	       (a->peer.transport == TRANSPORT_TCP ||
		       (a->peer.local == b->peer.local && a->peer.port == b->peer.port));
}
