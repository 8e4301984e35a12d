/*
 * What must not be guessed is drawn evenly from all of its range: IDs, SPIs, ports.
 */
#include "rig.h"

#include "build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define GRANTS  10000
#define BUCKETS 16
/* Chi-square over 15 degrees of freedom; even draws go beyond this once in 10^6. */
#define CHI_MAX 56.5

struct draw {
	uint32_t bind, spi, port;
};

static const struct peer host = { .transport = TRANSPORT_TCP,
	.addr = 0x0a000005,
	.port = 6001,
	.local = 0x0a000001,
	.local_port = 4555,
	.conn = 1 };

static uint32_t field(
	const struct rig_effect *e, uint8_t param, size_t offset, size_t len)
{
	struct tlv p;

	for (size_t at = 4; tlv_next(e->bytes, e->len, &at, &p);)
		if (p.type == param && p.len == offset + len)
			return tlv_number(&(struct tlv){
				.value = p.value + offset, .len = (uint16_t)len });
	fail_msg("no parameter %u of this length", (unsigned int)param);
	return 0;
}

static const struct rig_effect *ask(struct rig *r, struct build *b)
{
	size_t len = build_end(b);
	struct rig_effect *e;

	rig_clear(r);
	rig_message(r, &host, b->bytes, len);
	e = rig_reply(r);
	assert_non_null(e);
	assert_int_equal(e->bytes[1], b->bytes[1] + 1);
	return e;
}

/* Registers, takes one SPI and one port, and goes: each life has all anew. */
static struct draw one(struct rig *r, uint32_t *client)
{
	uint8_t bytes[100];
	struct build b;
	struct draw d;
	const struct rig_effect *e;

	build_begin(&b, bytes, sizeof(bytes), T_REGISTER);
	*client = field(ask(r, &b), B_CLIENT, 0, 4);
	build_begin(&b, bytes, sizeof(bytes), T_RSIPSEC);
	build_u32(&b, B_CLIENT, *client);
	build_any_address(&b);
	build_any_ports(&b, 1);
	build_any_address(&b);
	build_any_ports(&b, 1);
	build_any_spis(&b, 1);
	e = ask(r, &b);
	d.bind = field(e, B_BIND, 0, 4);
	d.spi = field(e, B_SPI, 2, 4);
	d.port = field(e, B_PORTS, 1, 2);
	build_begin(&b, bytes, sizeof(bytes), T_DEREGISTER);
	build_u32(&b, B_CLIENT, *client);
	(void)ask(r, &b);
	return d;
}

static double chi_square(const unsigned int counts[BUCKETS])
{
	double expected = (double)GRANTS / BUCKETS, sum = 0;

	for (int i = 0; i < BUCKETS; i++)
		sum += (counts[i] - expected) * (counts[i] - expected) / expected;
	return sum;
}

/* S-8-01 P-8.4-01 P-8.5-01 */
static void even_ids_and_spis(void **state)
{
	unsigned int clients[BUCKETS] = { 0 }, binds[BUCKETS] = { 0 };
	unsigned int high[BUCKETS] = { 0 }, low[BUCKETS] = { 0 };
	struct setup setup;
	struct rig r;

	(void)state;
	setup_init(&setup);
	setup_text(&setup, "pool public addresses=203.0.113.1 hold-down=0");
	rig_init(&r, &setup, 7);
	for (int i = 0; i < GRANTS; i++) {
		uint32_t client;
		struct draw d = one(&r, &client);

		clients[client >> 28]++;
		binds[d.bind >> 28]++;
		high[d.spi >> 28]++;
		low[d.spi & 15]++;
	}
	assert_true(chi_square(clients) < CHI_MAX);
	assert_true(chi_square(binds) < CHI_MAX);
	assert_true(chi_square(high) < CHI_MAX);
	assert_true(chi_square(low) < CHI_MAX);
	assert_true(rig_check(&r));
	rig_fini(&r);
}

/* P-10.2-01: also where the pool's ports are few, or in two places. */
static void even_ports(void **state)
{
	static const struct {
		const char *pool;
		uint32_t lo, size, far, far_lo; /* from `far` on the second range */
	} pools[] = {
		{ "pool a addresses=203.0.113.1 hold-down=0 ports=32768-65535", 32768,
			32768, 65536, 0 },
		{ "pool b addresses=203.0.113.1 hold-down=0 ports=20480-24575", 20480,
			4096, 65536, 0 },
		{ "pool c addresses=203.0.113.1 hold-down=0 ports=8192-10239,40960-43007",
			8192, 4096, 40960, 10240 },
	};

	(void)state;
	for (size_t k = 0; k < sizeof(pools) / sizeof(pools[0]); k++) {
		unsigned int ports[BUCKETS] = { 0 };
		struct setup setup;
		struct rig r;

		setup_init(&setup);
		setup_text(&setup, pools[k].pool);
		rig_init(&r, &setup, 7);
		for (int i = 0; i < GRANTS; i++) {
			uint32_t client, port = one(&r, &client).port;

			if (port >= pools[k].far)
				port = port - pools[k].far + pools[k].far_lo;
			ports[(port - pools[k].lo) * BUCKETS / pools[k].size]++;
		}
		if (chi_square(ports) >= CHI_MAX)
			fail_msg("%s: %.1f", pools[k].pool, chi_square(ports));
		rig_fini(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(even_ids_and_spis),
		cmocka_unit_test(even_ports) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
