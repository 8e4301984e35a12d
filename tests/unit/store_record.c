/* Records of the lease file: exact bytes, round trips, and every damaged byte noticed. */
#include "base/err.h"
#include "store/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct range ports[] = { { 1024, 1024 }, { 20480, 20495 } };
static const struct range spis[] = { { 0xc0010000, 0xc00100ff } };
static const struct lease lease = {
	.client_id = 0x01020304,
	.bind_id = 0xa1a2a3a4,
	.host = 0x0a00000b,
	.gateway = 0x0a000001,
	.address = 0xcb007101,
	.method = METHOD_RSIPSEC,
	.tunnel = TUNNEL_GRE,
	.ports = ports,
	.n_ports = 2,
	.spis = spis,
	.n_spis = 1,
	.remote = { .flow = REMOTE_MICRO, .addr = 0xc6336407, .port = 443 },
	.granted_ms = 1000,
	.expires_ms = 3601000,
};

static void test_resting_bytes(void **state)
{
	/* kind, time on the line (offset 16), address, kind of number, lowest number */
	static const uint8_t key_bytes[] = { 3, 0, 0, 0, 0, 0, 1, 0, 16, 0xcb, 0, 0x71, 1,
		1, 0, 0, 4, 0 };
	/* version, highest number, then the checksum */
	static const uint8_t body[] = { 2, 0, 0, 4, 3 };
	struct resting r = { 0xcb007101, REST_PORT, { 1024, 1027 }, 0x10000 };
	struct record_key key = record_key_resting(&r, 16);
	struct record_bytes to = { 0 };

	(void)state;
	assert_int_equal(key.len, sizeof(key_bytes));
	assert_memory_equal(key.bytes, key_bytes, key.len);
	assert_int_equal(record_resting_encode(&to, &key, &r), 0);
	assert_int_equal(to.len, sizeof(body) + 4);
	assert_memory_equal(to.at, body, sizeof(body));
	/* CRC-32 of key and body, by zlib.crc32 of Python. */
	assert_memory_equal(to.at + sizeof(body), "\xa8\x3a\xf0\x23", 4);
	free(to.at);
}

static void check_lease(const struct lease *got)
{
	assert_int_equal(got->client_id, lease.client_id);
	assert_int_equal(got->bind_id, lease.bind_id);
	assert_int_equal(got->host, lease.host);
	assert_int_equal(got->gateway, lease.gateway);
	assert_int_equal(got->address, lease.address);
	assert_int_equal(got->method, lease.method);
	assert_int_equal(got->tunnel, lease.tunnel);
	assert_int_equal(got->n_ports, 2);
	assert_memory_equal(got->ports, ports, sizeof(ports));
	assert_int_equal(got->n_spis, 1);
	assert_memory_equal(got->spis, spis, sizeof(spis));
	assert_int_equal(got->remote.flow, REMOTE_MICRO);
	assert_int_equal(got->remote.addr, lease.remote.addr);
	assert_int_equal(got->remote.port, 443);
}

static void test_lease(void **state)
{
	struct record_key key = record_key_lease(lease.bind_id);
	struct record_ranges ranges = { 0 };
	struct record_bytes to = { 0 };
	struct record r;

	(void)state;
	assert_int_equal(record_lease_encode(&to, &key, &lease, 500), 0);
	assert_int_equal(record_verify(key.bytes, key.len, to.at, to.len), 0);
	/* read back in a boot whose clock is 700 ms behind the line */
	assert_int_equal(
		record_decode(key.bytes, key.len, to.at, to.len, 700, &ranges, &r), 0);
	assert_int_equal(r.kind, RECORD_LEASE);
	check_lease(&r.lease);
	assert_int_equal(r.lease.granted_ms, 800);
	assert_int_equal(r.lease.expires_ms, 3600800);
	/* granted before this boot, whose clock began at 5000 of the line */
	assert_int_equal(
		record_decode(key.bytes, key.len, to.at, to.len, 5000, &ranges, &r), 0);
	assert_int_equal((int64_t)r.lease.granted_ms, 1500 - 5000);
	free(ranges.at);
	free(to.at);
}

/* The identity of a listener for IKE, and one that is cut. */
static void test_identity(void **state)
{
	struct record_key key = record_key_lease(lease.bind_id);
	struct record_ranges ranges = { 0 };
	struct record_bytes bytes = { 0 };
	struct lease in = lease;
	struct record r;

	(void)state;
	in.method = METHOD_IKE;
	in.n_ports = in.n_spis = 0;
	in.ike_id = (const uint8_t *)"\2peer";
	in.ike_id_len = 5;
	assert_int_equal(record_lease_encode(&bytes, &key, &in, 0), 0);
	assert_int_equal(bytes.at[0], 3);
	assert_int_equal(
		record_decode(key.bytes, key.len, bytes.at, bytes.len, 0, &ranges, &r),
		0);
	assert_int_equal(r.lease.method, METHOD_IKE);
	assert_int_equal(r.lease.ike_id_len, 5);
	assert_memory_equal(r.lease.ike_id, "\2peer", 5);
	for (size_t len = 0; len < bytes.len; len++)
		assert_int_equal(
			record_decode(key.bytes, key.len, bytes.at, len, 0, &ranges, &r),
			ERR_CORRUPT);
	free(bytes.at);
	free(ranges.at);
}

/* Today's format and the one with names: each byte of what is between port and times. */
static void test_names(void **state)
{
	static const uint8_t middle[] = { 2, 0xc6, 0x33, 0x64, 8, 0xc6, 0x33, 0x64, 9, 3,
		'a', '.', 'b' };
	const size_t before = 1 + 4 * 4 + 3 + 6; /* version to remote port */
	struct record_key key = record_key_lease(lease.bind_id);
	struct record_ranges ranges = { 0 };
	struct record_bytes plain = { 0 }, named = { 0 };
	struct lease in = lease;
	struct record r;

	(void)state;
	in.remote.n_more = 2;
	in.remote.more[0] = 0xc6336408;
	in.remote.more[1] = 0xc6336409;
	in.remote_name = "a.b";
	in.remote_name_len = 3;
	assert_int_equal(record_lease_encode(&plain, &key, &lease, 0), 0);
	assert_int_equal(record_lease_encode(&named, &key, &in, 0), 0);
	assert_int_equal(plain.at[0], 1);
	assert_int_equal(named.at[0], 2);
	assert_int_equal(named.len, plain.len + sizeof(middle));
	assert_memory_equal(named.at + 1, plain.at + 1, before - 1);
	assert_memory_equal(named.at + before, middle, sizeof(middle));
	assert_memory_equal(named.at + before + sizeof(middle), plain.at + before,
		plain.len - before - 4);
	assert_int_equal(record_verify(key.bytes, key.len, named.at, named.len), 0);
	assert_int_equal(
		record_decode(key.bytes, key.len, named.at, named.len, 0, &ranges, &r),
		0);
	check_lease(&r.lease);
	assert_int_equal(r.lease.remote.n_more, 2);
	assert_memory_equal(r.lease.remote.more, in.remote.more, 8);
	assert_int_equal(r.lease.remote_name_len, 3);
	assert_memory_equal(r.lease.remote_name, "a.b", 3);
	/* as it was written before there were names */
	assert_int_equal(
		record_decode(key.bytes, key.len, plain.at, plain.len, 0, &ranges, &r),
		0);
	check_lease(&r.lease);
	assert_int_equal(r.lease.remote.n_more, 0);
	assert_int_equal(r.lease.remote_name_len, 0);
	/* more addresses than there is room for, and a name longer than the record */
	named.at[before] = REMOTE_MORE_MAX + 1;
	assert_int_equal(
		record_decode(key.bytes, key.len, named.at, named.len, 0, &ranges, &r),
		ERR_CORRUPT);
	named.at[before] = 2;
	named.at[before + 9] = 255;
	assert_int_equal(
		record_decode(key.bytes, key.len, named.at, named.len, 0, &ranges, &r),
		ERR_CORRUPT);
	for (size_t n = 0; n < named.len; n++) {
		uint8_t *copy = malloc(n > 0 ? n : 1);

		memcpy(copy, named.at, n);
		assert_int_equal(
			record_decode(key.bytes, key.len, copy, n, 0, &ranges, &r),
			ERR_CORRUPT);
		free(copy);
	}
	free(ranges.at);
	free(plain.at);
	free(named.at);
}

static void test_registration(void **state)
{
	struct registration in = {
		.client_id = 77,
		.host = 0x0a00000b,
		.peer = { .transport = TRANSPORT_TCP,
			.addr = 0x0a00000b,
			.port = 4000,
			.local = 0x0a000001,
			.local_port = 4555,
			.conn = 99 },
		.counters = true,
		.counter = 0xfffffffe,
		.expires_ms = UINT64_MAX,
		.bindings = 3,
	};
	struct record_key key = record_key_registration(77);
	struct record_bytes to = { 0 };
	struct record r;

	(void)state;
	assert_int_equal(record_registration_encode(&to, &key, &in, -5), 0);
	assert_int_equal(
		record_decode(key.bytes, key.len, to.at, to.len, 123, NULL, &r), 0);
	assert_int_equal(r.kind, RECORD_REGISTRATION);
	assert_int_equal(r.registration.client_id, 77);
	assert_int_equal(r.registration.host, in.host);
	assert_int_equal(r.registration.peer.transport, TRANSPORT_TCP);
	assert_int_equal(r.registration.peer.addr, in.peer.addr);
	assert_int_equal(r.registration.peer.port, 4000);
	assert_int_equal(r.registration.peer.local, in.peer.local);
	assert_int_equal(r.registration.peer.local_port, 4555);
	assert_int_equal(r.registration.peer.conn, 0); /* the connection is no more */
	assert_true(r.registration.counters);
	assert_int_equal(r.registration.counter, 0xfffffffe);
	assert_true(r.registration.expires_ms == UINT64_MAX); /* never stays never */
	assert_int_equal(r.registration.bindings, 0);
	free(to.at);
}

/* Every byte of the value and of the key counts. */
static void test_damage(void **state)
{
	struct record_key key = record_key_lease(lease.bind_id);
	struct record_bytes to = { 0 };

	(void)state;
	assert_int_equal(record_lease_encode(&to, &key, &lease, 0), 0);
	for (size_t i = 0; i < to.len; i++) {
		to.at[i] ^= 0x10;
		assert_int_equal(
			record_verify(key.bytes, key.len, to.at, to.len), ERR_CORRUPT);
		to.at[i] ^= 0x10;
		assert_int_equal(
			record_verify(key.bytes, key.len, to.at, i), ERR_CORRUPT);
	}
	for (size_t i = 0; i < key.len; i++) {
		key.bytes[i] ^= 1;
		assert_int_equal(
			record_verify(key.bytes, key.len, to.at, to.len), ERR_CORRUPT);
		key.bytes[i] ^= 1;
	}
	assert_int_equal(record_verify(key.bytes, key.len, to.at, to.len), 0);
	free(to.at);
}

/* Decoding does not rely on the checksum: any length, any count, stays inside the bytes.
 */
static void test_decode_bounds(void **state)
{
	struct record_key key = record_key_lease(lease.bind_id);
	struct record_ranges ranges = { 0 };
	struct record_bytes to = { 0 };
	struct record r;

	(void)state;
	assert_int_equal(record_lease_encode(&to, &key, &lease, 0), 0);
	for (size_t n = 0; n < to.len; n++) {
		/* a copy of just that size, so that a sanitizer sees a byte too many */
		uint8_t *copy = malloc(n > 0 ? n : 1);

		memcpy(copy, to.at, n);
		assert_int_equal(
			record_decode(key.bytes, key.len, copy, n, 0, &ranges, &r),
			ERR_CORRUPT);
		free(copy);
	}
	for (size_t i = 1; i < to.len - 4; i++) {
		uint8_t was = to.at[i];
		int err;

		to.at[i] = 0xff;
		err = record_decode(key.bytes, key.len, to.at, to.len, 0, &ranges, &r);
		assert_true(err == 0 || err == ERR_CORRUPT);
		to.at[i] = was;
	}
	to.at[0] = RECORD_VERSION + 1;
	assert_int_equal(record_decode(key.bytes, key.len, to.at, to.len, 0, &ranges, &r),
		ERR_VERSION);
	key.bytes[0] = 9;
	to.at[0] = RECORD_VERSION;
	assert_int_equal(record_decode(key.bytes, key.len, to.at, to.len, 0, &ranges, &r),
		ERR_CORRUPT);
	free(ranges.at);
	free(to.at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resting_bytes),
		cmocka_unit_test(test_lease),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_registration),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_decode_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
