/* Leases and their indexes against a plain model; learned entries; the hash table. */
#include "base/err.h"
#include "base/random.h"
#include "dataplane/tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NB 0xcb007101U

static const struct range some_ports = { 20480, 20495 };
static const struct range some_spis = { 0xc0010000, 0xc00100ff };

static struct lease make(uint32_t bind_id, uint32_t host)
{
	return (struct lease){
		.bind_id = bind_id,
		.host = host,
		.gateway = 1,
		.address = NB,
		.method = METHOD_RSIPSEC,
		.tunnel = TUNNEL_IPIP,
		.ports = &some_ports,
		.n_ports = 1,
		.spis = &some_spis,
		.n_spis = 1,
	};
}

static void test_install(void **state)
{
	struct tables t;
	struct lease l = make(1, 11), other = make(2, 12);

	(void)state;
	assert_int_equal(tables_init(&t, 0, 7), 0);
	assert_int_equal(tables_install(&t, &l), 0);
	assert_int_equal(tables_install(&t, &other), ERR_EXISTS);
	assert_null(tables_host(&t, 12));
	const struct taddr *a = tables_address(&t, NB);
	assert_int_equal(tables_by_port(a, 20480)->bind_id, 1);
	assert_null(tables_by_port(a, 20496));
	assert_int_equal(tables_by_spi(&t, a, 0xc00100ff)->bind_id, 1);
	assert_null(tables_by_spi(&t, a, 0xc0010100));
	assert_non_null(tables_pair(&t, 11, NB));
	assert_int_equal(tables_host(&t, 11)->tunnels[TUNNEL_IPIP], 1);
	/* One block for 256 SPIs, not 256 entries. */
	assert_int_equal(t.spis.n, 1);
	tables_remove(&t, 1);
	tables_remove(&t, 1);
	assert_null(tables_address(&t, NB));
	assert_null(tables_host(&t, 11));
	assert_null(tables_pair(&t, 11, NB));
	assert_int_equal(t.spis.n, 0);
	assert_int_equal(tables_install(&t, &other), 0);
	tables_fini(&t);
}

static void test_bounds(void **state)
{
	struct tables t;
	struct range wrong[] = { { 5, 4 }, { 0, 65536 } };
	struct lease l = make(1, 11);

	(void)state;
	assert_int_equal(tables_init(&t, 0, 7), 0);
	for (size_t i = 0; i < 2; i++) {
		l.ports = &wrong[i];
		assert_int_equal(tables_install(&t, &l), ERR_RANGE);
	}
	l.ports = &some_ports;
	l.tunnel = (enum tunnel_type)TABLES_TUNNELS;
	assert_int_equal(tables_install(&t, &l), ERR_RANGE);
	l.tunnel = TUNNEL_GRE;
	t.max_leases = 1;
	assert_int_equal(tables_install(&t, &l), 0);
	assert_int_equal(tables_install(&t, &l), 0); /* again is a replacement */
	struct lease more = make(2, 12);
	more.address++;
	assert_int_equal(tables_install(&t, &more), ERR_NOSPACE);
	tables_fini(&t);
}

/* LISTEN on a port that the host holds already: whichever ends, the other has the port.
 */
static void test_shared_port(void **state)
{
	struct lease assigned = make(1, 11), listening = make(2, 11), other = make(3, 12);

	(void)state;
	listening.method = METHOD_LISTEN;
	listening.n_spis = other.n_spis = 0;
	for (uint32_t first = 1; first <= 2; first++) {
		struct tables t;

		assert_int_equal(tables_init(&t, 0, 7), 0);
		assert_int_equal(tables_install(&t, &assigned), 0);
		assert_int_equal(tables_install(&t, &listening), 0);
		assert_int_equal(tables_install(&t, &other), ERR_EXISTS);
		const struct tpair *pair = tables_pair(&t, 11, NB);
		const struct tlease *a = tables_next_by_port(pair, NULL, 20480);
		assert_non_null(tables_next_by_port(pair, a, 20480));
		tables_remove(&t, first);
		for (uint16_t port = 20480; port <= 20495; port++)
			assert_int_equal(
				tables_by_port(tables_address(&t, NB), port)->bind_id,
				3 - first);
		tables_remove(&t, 3 - first);
		assert_null(tables_address(&t, NB));
		assert_int_equal(tables_install(&t, &other), 0);
		tables_fini(&t);
	}
}

/* An extension keeps what was learned, another set of ports does not. */
static void test_replace(void **state)
{
	const struct learned_key key = { NB, 1, 2, 0 };
	const struct range more[] = { { 30000, 30001 } };
	struct tables t;
	struct lease l = make(1, 11);

	(void)state;
	assert_int_equal(tables_init(&t, 0, 7), 0);
	struct learned_table *ike = &t.learned[LEARNED_IKE];
	assert_int_equal(tables_install(&t, &l), 0);
	struct tlease *held = tables_by_port(tables_address(&t, NB), 20480);
	assert_non_null(learned_refresh(ike, &key, held, 99, 0));
	l.tunnel = TUNNEL_GRE;
	assert_int_equal(tables_install(&t, &l), 0);
	assert_int_equal(tables_host(&t, 11)->tunnels[TUNNEL_GRE], 1);
	assert_int_equal(tables_host(&t, 11)->tunnels[TUNNEL_IPIP], 0);
	assert_non_null(learned_find(ike, &key, 0));
	l.ports = more;
	assert_int_equal(tables_install(&t, &l), 0);
	assert_null(learned_find(ike, &key, 0));
	assert_null(tables_by_port(tables_address(&t, NB), 20480));
	assert_int_equal(tables_by_port(tables_address(&t, NB), 30001)->bind_id, 1);
	tables_fini(&t);
}

/* --- against a model --- */

#define MODEL_SPIS  4096
#define MODEL_BASE  0xfffff000U /* up to the last SPI there is */
#define MODEL_BINDS 24

struct model {
	struct tables t;
	struct random random;
	uint32_t owner[2][MODEL_SPIS]; /* by address: bind of each SPI */
};

static void compare(const struct model *m)
{
	for (uint32_t a = 0; a < 2; a++) {
		const struct taddr *at = tables_address(&m->t, NB + a);

		for (uint32_t i = 0; i < MODEL_SPIS; i++) {
			const struct tlease *l =
				at ? tables_by_spi(&m->t, at, MODEL_BASE + i) : NULL;
			assert_int_equal(l ? l->bind_id : 0, m->owner[a][i]);
		}
	}
}

static bool is_free(
	const struct model *m, uint32_t a, const struct range *r, uint32_t but)
{
	for (uint32_t i = r->lo - MODEL_BASE; i <= r->hi - MODEL_BASE; i++)
		if (m->owner[a][i] && m->owner[a][i] != but)
			return false;
	return true;
}

static void forget(struct model *m, uint32_t bind)
{
	tables_remove(&m->t, bind);
	for (uint32_t a = 0; a < 2; a++)
		for (uint32_t i = 0; i < MODEL_SPIS; i++)
			if (m->owner[a][i] == bind)
				m->owner[a][i] = 0;
}

static void step(struct model *m)
{
	uint32_t bind = random_below(&m->random, MODEL_BINDS) + 1;
	uint32_t a = random_below(&m->random, 2);
	struct range r = { MODEL_BASE + random_below(&m->random, MODEL_SPIS), 0 };
	struct lease l = make(bind, 10 + bind);

	if (random_below(&m->random, 3) == 0) {
		forget(m, bind);
		return;
	}
	r.hi = r.lo + random_below(&m->random,
			      UINT32_MAX - r.lo + 1 < 400 ? UINT32_MAX - r.lo + 1 : 400);
	/* Uniqueness is the engine's part: only what it could grant is installed. */
	if (!is_free(m, a, &r, bind))
		return;
	l.address = NB + a;
	l.n_ports = 0;
	l.spis = &r;
	assert_int_equal(tables_install(&m->t, &l), 0);
	for (uint32_t b = 0; b < 2; b++)
		for (uint32_t i = 0; i < MODEL_SPIS; i++)
			if (m->owner[b][i] == bind)
				m->owner[b][i] = 0;
	for (uint32_t i = r.lo - MODEL_BASE; i <= r.hi - MODEL_BASE; i++)
		m->owner[a][i] = bind;
}

static void test_model(void **state)
{
	struct model *m = calloc(1, sizeof *m);

	(void)state;
	m->random = random_seeded(4711);
	assert_int_equal(tables_init(&m->t, 0, 3), 0);
	for (int i = 0; i < 400; i++) {
		step(m);
		compare(m);
	}
	for (uint32_t bind = 1; bind <= MODEL_BINDS; bind++)
		forget(m, bind);
	compare(m);
	assert_int_equal(m->t.spis.n, 0);
	assert_int_equal(m->t.addresses.n, 0);
	assert_int_equal(m->t.hosts.n, 0);
	tables_fini(&m->t);
	free(m);
}

/* The whole SPI space is one entry. */
static void test_whole_space(void **state)
{
	const struct range all = { 0, UINT32_MAX };
	struct tables t;
	struct lease l = make(1, 11);

	(void)state;
	l.spis = &all;
	assert_int_equal(tables_init(&t, 0, 7), 0);
	assert_int_equal(tables_install(&t, &l), 0);
	assert_int_equal(t.spis.n, 1);
	for (uint64_t spi = 0; spi <= UINT32_MAX; spi += 0x01234567)
		assert_non_null(tables_by_spi(&t, tables_address(&t, NB), (uint32_t)spi));
	tables_remove(&t, 1);
	assert_int_equal(t.spis.n, 0);
	tables_fini(&t);
}

/* --- learned --- */

static struct tlease *one_lease(struct tables *t, uint32_t bind, uint32_t host)
{
	struct range ports = { bind * 100, bind * 100 };
	struct lease l = make(bind, host);

	l.ports = &ports;
	l.n_spis = 0;
	assert_int_equal(tables_install(t, &l), 0);
	return tables_by_port(tables_address(t, NB), (uint16_t)ports.lo);
}

static void test_learned(void **state)
{
	struct learned_key key = { NB, 1, 1, 0 };
	struct tables t;

	(void)state;
	assert_int_equal(tables_init(&t, 0, 7), 0);
	struct learned_table *ike = &t.learned[LEARNED_IKE];
	struct tlease *a = one_lease(&t, 1, 11), *b = one_lease(&t, 2, 12),
		      *c = one_lease(&t, 3, 11);
	struct learned *e = learned_refresh(ike, &key, a, 5, 0);
	assert_non_null(e);
	assert_null(learned_refresh(ike, &key, b, 5, 0));
	assert_ptr_equal(learned_refresh(ike, &key, c, 6, 0), e); /* moves */
	assert_true(learned_has_peer(e, 5) && learned_has_peer(e, 6));
	for (uint32_t peer = 7; peer < 20; peer++)
		assert_non_null(learned_refresh(ike, &key, c, peer, 0));
	assert_int_equal(e->n_peers, LEARNED_PEERS);
	assert_true(learned_has_peer(e, 19) && !learned_has_peer(e, 5));
	tables_remove(&t, 1);
	assert_ptr_equal(learned_find(ike, &key, 119999), e);
	assert_null(learned_find(ike, &key, 120000));
	tables_fini(&t);
}

/* Full: what is new is refused, whoever asks; only what is past its time makes room. */
static void test_learned_full(void **state)
{
	struct tables t;

	(void)state;
	assert_int_equal(tables_init(&t, 8, 7), 0);
	struct learned_table *ike = &t.learned[LEARNED_IKE];
	struct tlease *a = one_lease(&t, 1, 11), *b = one_lease(&t, 2, 12);
	for (uint32_t i = 0; i < 8; i++) {
		const struct learned_key key = { NB, i, 0, 0 };
		assert_non_null(learned_refresh(ike, &key, a, 5, i));
	}
	const struct learned_key more = { NB, 77, 0, 0 };
	assert_null(learned_refresh(ike, &more, a, 5, 10));
	assert_null(learned_refresh(ike, &more, b, 6, 10));
	assert_int_equal(learned_only_host(ike, NB, 6), 0);
	assert_int_equal(ike->keys.n, 8);
	assert_non_null(learned_refresh(ike, &more, b, 6, 120000));
	assert_null(learned_find(ike, &(struct learned_key){ NB, 0, 0, 0 }, 10));
	for (uint32_t i = 1; i < 8; i++)
		learned_settle(
			ike, learned_find(ike, &(struct learned_key){ NB, i, 0, 0 }, 9));
	learned_settle(ike, learned_find(ike, &more, 120001));
	assert_null(learned_refresh(
		ike, &(struct learned_key){ NB, 78, 0, 0 }, a, 5, 900000));
	assert_int_equal(ike->n_settled, 8);
	learned_expire(ike, 1000000, 100);
	assert_int_equal(ike->keys.n, 8);
	tables_remove(&t, 2);
	tables_remove(&t, 1);
	assert_int_equal(ike->keys.n, 0);
	assert_int_equal(ike->n_settled, 0);
	tables_fini(&t);
}

/* Which host alone talks with a peer, whatever came and went before. */
static void test_only_host(void **state)
{
	const struct learned_key one = { NB, 1, 1, 0 }, two = { NB, 2, 2, 0 };
	struct tables t;

	(void)state;
	assert_int_equal(tables_init(&t, 0, 7), 0);
	struct learned_table *ike = &t.learned[LEARNED_IKE];
	struct tlease *a = one_lease(&t, 1, 11), *b = one_lease(&t, 2, 12);
	assert_int_equal(learned_only_host(ike, NB, 5), 0);
	assert_non_null(learned_refresh(ike, &one, a, 5, 0));
	assert_non_null(learned_refresh(ike, &one, a, 5, 1)); /* counted once */
	assert_int_equal(learned_only_host(ike, NB, 5), 11);
	assert_int_equal(learned_only_host(ike, NB + 1, 5), 0);
	assert_non_null(learned_refresh(ike, &two, b, 5, 2));
	assert_int_equal(learned_only_host(ike, NB, 5), 0);
	for (uint32_t peer = 6; peer < 10; peer++) /* 5 falls out of two's peers */
		assert_non_null(learned_refresh(ike, &two, b, peer, 3));
	assert_int_equal(learned_only_host(ike, NB, 5), 11);
	assert_int_equal(learned_only_host(ike, NB, 9), 12);
	tables_remove(&t, 1);
	assert_int_equal(learned_only_host(ike, NB, 5), 0);
	learned_expire(ike, 200000, 10);
	assert_int_equal(learned_only_host(ike, NB, 9), 0);
	assert_int_equal(ike->peers.talks.n + ike->peers.peers.n, 0);
	tables_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_install),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_shared_port),
		cmocka_unit_test(test_replace),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_whole_space),
		cmocka_unit_test(test_learned),
		cmocka_unit_test(test_learned_full),
		cmocka_unit_test(test_only_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
