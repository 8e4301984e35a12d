/*
 * Each effect as it comes: a reply may only promise what the store and the data plane
 * already have, and may only speak of what belongs to the host that it goes to.
 */
#include "rig_internal.h"

#include "build.h"

#include <stdlib.h>
#include <string.h>

/*
 * The latest requests of a source, to tell a repetition: the gateway stores the answer to
 * the last one that it processed, and others may have come since.
 */
#define SOURCE_LAST 320 /* a run of the fuzzer has fewer */

struct source {
	uint32_t addr;
	enum transport transport;
	uint16_t port;
	uint64_t hash[SOURCE_LAST];
	uint32_t next;
};

static int source_cmp(const void *va, const void *vb)
{
	const struct source *a = va, *b = vb;

	if (a->addr != b->addr)
		return a->addr < b->addr ? -1 : 1;
	if (a->transport != b->transport)
		return a->transport < b->transport ? -1 : 1;
	return (a->port > b->port) - (a->port < b->port);
}

void watch_init(struct rig *r)
{
	r->last = (struct rows){ .size = sizeof(struct source), .cmp = source_cmp };
}

void watch_fini(struct rig *r)
{
	free(r->last.row);
}

bool watch_repeated(struct rig *r)
{
	struct source s = { .addr = r->from->addr,
		.transport = r->from->transport,
		.port = r->from->port };
	struct source *known = rows_find(&r->last, &s);
	uint64_t hash = 14695981039346656037u;
	bool same = false;

	for (size_t i = 0; i < r->request_len; i++)
		hash = (hash ^ r->request[i]) * 1099511628211u;
	if (known == NULL)
		known = rows_put(&r->last, &s);
	for (size_t i = 0; i < SOURCE_LAST; i++)
		same = same || known->hash[i] == hash;
	known->hash[known->next++ % SOURCE_LAST] = hash;
	return same;
}

/* --- who was told what ----------------------------------------------------------------
 */

void watch_ended(struct rig *r, uint32_t bind_id)
{
	struct rig_bind *b = rows_find(&r->binds, &bind_id);

	(void)model_lease_drop(&r->told, bind_id);
	if (b != NULL)
		b->ended = true;
}

void watch_client_ended(struct rig *r, uint32_t client_id)
{
	(void)model_registration_drop(&r->told, client_id);
	for (size_t i = r->told.leases.n; i-- > 0;) {
		const struct lease *l = model_lease_at(&r->told, i);

		if (l->client_id == client_id)
			watch_ended(r, l->bind_id);
	}
}

/*
 * A reload may end what it no longer serves, and a host without connection can't be told;
 * what was told but is gone from engine and store alike is over.
 */
void watch_reloaded(struct rig *r)
{
	struct registration reg;
	struct lease l;

	for (size_t i = r->told.leases.n; i-- > 0;) {
		uint32_t id = model_lease_at(&r->told, i)->bind_id;

		if (engine_lease_find(r->engine, id, &l) != 0)
			watch_ended(r, id);
	}
	for (size_t i = r->told.registrations.n; i-- > 0;) {
		uint32_t id = model_registration_at(&r->told, i)->client_id;

		if (engine_registration_find(r->engine, id, &reg) != 0)
			watch_client_ended(r, id);
	}
}

void watch_restarted(struct rig *r, bool with_store)
{
	r->last.n = 0;
	if (!with_store)
		model_clear(&r->told);
}

static void told_extended(
	struct rig *r, uint32_t client_id, const struct lease *l, uint32_t lease_s)
{
	struct registration reg = { .client_id = client_id, .host = l->host };
	const struct registration *old = model_registration(&r->told, client_id);
	struct lease copy = *l;

	copy.expires_ms = r->now_ms + 1000ull * lease_s;
	model_lease_put(&r->told, &copy);
	if (old == NULL)
		return;
	/* R = max(R, B), RFC 3103 section 6. */
	reg.expires_ms =
		old->expires_ms > copy.expires_ms ? old->expires_ms : copy.expires_ms;
	model_registration_put(&r->told, &reg);
}

/* --- what a reply needs ---------------------------------------------------------------
 */

bool rig_ranges(const struct tlv *p, size_t number_size, size_t field_size,
	struct range **ranges, size_t *n)
{
	size_t k = p->len > number_size ? (p->len - number_size) / field_size : 0;
	struct tlv head = { .value = p->value, .len = (uint16_t)number_size };
	uint32_t count;

	if (k == 0)
		return false;
	count = tlv_number(&head);
	*ranges = malloc(k * sizeof(**ranges));
	if (*ranges == NULL)
		abort();
	for (size_t i = 0; i < k; i++) {
		struct tlv f = { .value = p->value + number_size + i * field_size,
			.len = (uint16_t)field_size };
		uint32_t v = tlv_number(&f);

		(*ranges)[i] = (struct range){ v, k == 1 ? v + count - 1 : v };
	}
	*n = ranges_normalise(*ranges, k);
	return true;
}

static bool holds(const struct tlv *p, size_t number_size, size_t field_size,
	const struct range *have, size_t n_have)
{
	struct range *said;
	size_t n;
	bool same;

	if (!rig_ranges(p, number_size, field_size, &said, &n))
		return n_have == 0;
	same = n == n_have && memcmp(said, have, n * sizeof(*said)) == 0;
	free(said);
	return same;
}

/* The local address and numbers that a grant names are those of the lease. */
static bool grant_matches(const struct effect *e, const struct lease *l)
{
	uint8_t type = e->reply.bytes[1];
	bool address = false;
	bool ports = type == T_RSA_IP + 1 || type == T_LISTEN_IKE_RESPONSE;
	struct tlv p;

	for (size_t at = 4; tlv_next(e->reply.bytes, e->reply.len, &at, &p);) {
		if (p.type == B_ADDRESS && !address) {
			struct tlv v = { .value = p.value + 1, .len = 4 };

			if (p.len != 5 || tlv_number(&v) != l->address)
				return false;
			address = true;
		} else if (p.type == B_PORTS && !ports) {
			if (!holds(&p, 1, 2, l->ports, l->n_ports))
				return false;
			ports = true;
		} else if (p.type == B_SPI && !holds(&p, 2, 4, l->spis, l->n_spis)) {
			return false;
		} else if (p.type == B_IKE_ID &&
			   (p.len != l->ike_id_len ||
				   memcmp(p.value, l->ike_id, p.len) != 0)) {
			return false;
		}
	}
	return address && ports;
}

static void grant(struct rig *r, const struct effect *e, uint32_t client, uint32_t bind,
	uint32_t lease_s)
{
	const struct lease *kept = model_lease(&r->store, bind);
	const struct lease *carried = model_lease(&r->plane, bind);
	struct rig_bind b = { bind, e->reply.to.addr, client, false };
	const struct rig_bind *old = rows_find(&r->binds, &bind);

	/* Random numbers meet again some day, but not while both matter (A-W-22). */
	if (old != NULL && (!old->ended || old->client_id == client))
		rig_fail(r, "Bind ID %u was used before", bind);
	(void)rows_put(&r->binds, &b);
	if (kept == NULL) {
		rig_fail(r, "lease %u is granted and not persisted", bind);
		return;
	}
	if (carried == NULL || !lease_equal(carried, kept))
		rig_fail(r, "lease %u is granted and not installed", bind);
	if (kept->client_id != client || kept->host != e->reply.to.addr)
		rig_fail(r, "lease %u is granted to another than it is kept for", bind);
	if (kept->expires_ms != r->now_ms + 1000ull * lease_s || lease_s == 0)
		rig_fail(r, "lease %u is granted for %u s and kept for another time",
			bind, lease_s);
	if (!grant_matches(e, kept))
		rig_fail(r, "lease %u is granted and kept with different numbers", bind);
	told_extended(r, client, kept, lease_s);
}

static void registered(
	struct rig *r, const struct effect *e, uint32_t client, uint32_t lease_s)
{
	const struct registration *kept = model_registration(&r->store, client);
	struct rig_client c = { client, e->reply.to.addr };

	if (model_registration(&r->told, client) != NULL)
		rig_fail(r, "Client ID %u is used twice", client);
	(void)rows_put(&r->clients, &c);
	if (client == 0 || kept == NULL || kept->host != e->reply.to.addr ||
		kept->expires_ms != r->now_ms + 1000ull * lease_s) {
		rig_fail(r, "registration %u is granted and not persisted so", client);
		return;
	}
	model_registration_put(&r->told, kept);
}

static void extended(struct rig *r, uint32_t client, uint32_t bind, uint32_t lease_s)
{
	const struct lease *kept = model_lease(&r->store, bind);
	const struct lease *told = model_lease(&r->told, bind);

	/* An answer tells whole seconds of what remains. */
	if (kept == NULL || kept->expires_ms < r->now_ms + 1000ull * lease_s)
		rig_fail(r, "lease %u is extended to %u s and not persisted so", bind,
			lease_s);
	else if (told == NULL || told->expires_ms > r->now_ms + 1000ull * lease_s + 999)
		rig_fail(r, "lease %u became shorter by an extension", bind);
	else
		told_extended(r, client, kept, lease_s);
}

static void freed(struct rig *r, uint32_t bind)
{
	if (model_lease(&r->store, bind) != NULL)
		rig_fail(r, "lease %u is said to be freed and still kept", bind);
	if (model_lease(&r->plane, bind) != NULL)
		rig_fail(r, "lease %u is said to be freed and still carried", bind);
	watch_ended(r, bind);
}

static void deregistered(struct rig *r, uint32_t client)
{
	if (model_registration(&r->store, client) != NULL)
		rig_fail(r, "client %u is said to be gone and still kept", client);
	for (size_t i = 0; i < r->store.leases.n; i++)
		if (model_lease_at(&r->store, i)->client_id == client)
			rig_fail(r, "client %u is said to be gone, lease %u is kept",
				client, model_lease_at(&r->store, i)->bind_id);
	for (size_t i = 0; i < r->plane.leases.n; i++)
		if (model_lease_at(&r->plane, i)->client_id == client)
			rig_fail(r, "client %u is said to be gone, lease %u is carried",
				client, model_lease_at(&r->plane, i)->bind_id);
	watch_client_ended(r, client);
}

/* --- whose it is ----------------------------------------------------------------------
 */

/* Does the request in work have this number in such a parameter itself? */
static bool echoes(const struct rig *r, uint8_t param, uint32_t value)
{
	/* One that waited, or over TCP came behind such a one, is not at hand any more.
	 */
	return r->from == NULL || r->from->transport == TRANSPORT_TCP ||
	       tlv_find(r->request, r->request_len, param) == value;
}

static void owner(struct rig *r, const struct effect *e, uint32_t client, uint32_t bind)
{
	uint32_t to = e->reply.to.addr;
	const struct rig_client *c = rows_find(&r->clients, &client);
	const struct rig_bind *b = rows_find(&r->binds, &bind);
	bool error = e->reply.bytes[1] == T_ERROR;

	if (client != 0 && (c == NULL || c->host != to) &&
		!(error && echoes(r, B_CLIENT, client)))
		rig_fail(r, "a reply has Client ID %u, which is not of its host", client);
	if (bind != 0 && (b == NULL || b->host != to) &&
		!(error && echoes(r, B_BIND, bind)))
		rig_fail(r, "a reply has Bind ID %u, which is not of its host", bind);
	if (!e->reply.async && r->from != NULL && r->from->addr != to)
		rig_fail(r, "an answer goes to another host than asked");
}

static void shape(struct rig *r, const struct effect *e)
{
	const uint8_t *b = e->reply.bytes;
	uint32_t error;

	if (e->reply.len < 4 || b[0] != 1 || (size_t)(b[2] << 8 | b[3]) != e->reply.len ||
		(b[1] % 2 == 0 && b[1] != T_LISTEN_IKE_RESPONSE)) {
		rig_fail(r, "a reply is no response of RSIP");
		return;
	}
	error = b[1] == T_ERROR ? tlv_find(b, e->reply.len, B_ERROR) : 0;
	if (error != e->reply.error)
		rig_fail(r, "a reply carries error %u and says %u", error,
			(unsigned int)e->reply.error);
	if (e->reply.async && b[1] != T_ERROR && b[1] != T_FREE + 1 &&
		b[1] != T_DEREGISTER + 1)
		rig_fail(r, "type %u may not be asynchronous (P-10.1-10)", b[1]);
	if (e->reply.async && tlv_find(b, e->reply.len, B_COUNTER) != 0)
		rig_fail(r, "an asynchronous message has a counter (P-10.1-10)");
}

void watch_reply(struct rig *r, const struct effect *e)
{
	const uint8_t *b = e->reply.bytes;
	size_t len = e->reply.len;
	uint32_t client = tlv_find(b, len, B_CLIENT), bind = tlv_find(b, len, B_BIND);
	uint32_t lease_s = tlv_find(b, len, B_LEASE);

	shape(r, e);
	if (r->fault[0] != '\0')
		return;
	/* A stored answer may be older than what became of its lease since. */
	if (!e->reply.async && r->repeated && r->from->transport == TRANSPORT_UDP &&
		(b[1] == 3 ? rows_find(&r->clients, &client)
			   : rows_find(&r->binds, &bind)))
		return;
	switch (b[1]) {
	case T_REGISTER + 1:
		registered(r, e, client, lease_s);
		break;
	case T_RSA_IP + 1:
	case T_RSAP_IP + 1:
	case T_LISTEN + 1:
	case T_RSIPSEC + 1:
	case T_LISTEN_IKE_RESPONSE:
		grant(r, e, client, bind, lease_s);
		break;
	case T_EXTEND + 1:
		extended(r, client, bind, lease_s);
		break;
	case T_FREE + 1:
		freed(r, bind);
		break;
	case T_DEREGISTER + 1:
		deregistered(r, client);
		break;
	default:
		break;
	}
	owner(r, e, client, bind);
}

void watch_audit(struct rig *r, const struct effect *e)
{
	bool of_lease = e->audit.kind >= AUDIT_GRANT;

	if ((e->audit.lease != NULL) != of_lease || (e->audit.reg != NULL) == of_lease)
		rig_fail(r, "an audit record has not the one object of its kind");
	if (e->audit.at_ms > r->now_ms)
		rig_fail(r, "an audit record has a time to come");
}
