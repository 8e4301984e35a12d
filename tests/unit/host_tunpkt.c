/* Packets at the tunnel end in user space. */
#include "host/tunpkt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* IPv4 without options, 203.0.113.2 -> 203.0.113.1, checksum right for TOS 0. */
static size_t make(uint8_t *p, uint8_t proto, const uint8_t *data, size_t len)
{
	static const uint8_t head[20] = { 0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, 0, 0, 0,
		203, 0, 113, 2, 203, 0, 113, 1 };

	memcpy(p, head, sizeof(head));
	memcpy(p + sizeof(head), data, len);
	p[2] = (uint8_t)((sizeof(head) + len) >> 8);
	p[3] = (uint8_t)(sizeof(head) + len);
	p[9] = proto;
	return sizeof(head) + len;
}

static uint32_t sum(const uint8_t *p, size_t len, uint32_t s)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		s += (uint32_t)(p[i] << 8 | p[i + 1]);
	if (len % 2 != 0)
		s += (uint32_t)p[len - 1] << 8;
	while (s >> 16 != 0)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

static void header_sum(uint8_t *p)
{
	uint32_t s;

	p[10] = p[11] = 0;
	s = ~sum(p, 20, 0) & 0xffff;
	p[10] = (uint8_t)(s >> 8);
	p[11] = (uint8_t)s;
}

static void test_parse(void **state)
{
	uint8_t p[64], data[8] = { 0 };
	size_t len = make(p, 17, data, sizeof(data));
	struct tunpkt t;

	(void)state;
	assert_true(tunpkt_parse(p, len + 5, &t)); /* padding behind it */
	assert_int_equal(t.len, len);
	assert_int_equal(t.src, 0xcb007102);
	assert_int_equal(t.dst, 0xcb007101);
	assert_true(t.df);
	assert_false(t.fragment);
	assert_false(tunpkt_parse(p, len - 1, &t));
	assert_false(tunpkt_parse(p, 19, &t));
	p[0] = 0x46; /* options: up to the end of what there is */
	assert_true(tunpkt_parse(p, len, &t));
	p[0] = 0x4f;
	assert_false(tunpkt_parse(p, len, &t));
	p[0] = 0x44;
	assert_false(tunpkt_parse(p, len, &t));
	p[0] = 0x65;
	assert_false(tunpkt_parse(p, len, &t));
}

/* F-3.2-03: the protocol says which field is the key. */
static void test_keys(void **state)
{
	static const uint8_t data[] = { 0x1f, 0x40, 0x50, 0x00, 0xc0, 0x01, 0x00, 0x05 };
	static const struct {
		uint8_t proto;
		enum tunpkt_key key;
		uint32_t number;
	} rows[] = {
		{ 6, TUNPKT_PORT, 0x5000 },
		{ 17, TUNPKT_PORT, 0x5000 },
		{ 50, TUNPKT_SPI, 0x1f405000 },
		{ 51, TUNPKT_SPI, 0xc0010005 },
		{ 132, TUNPKT_NONE, 0 },
	};
	uint8_t p[64];
	struct tunpkt t;

	(void)state;
	for (size_t i = 0; i < N(rows); i++) {
		uint32_t number = 0;

		assert_true(tunpkt_parse(p, make(p, rows[i].proto, data, 8), &t));
		assert_int_equal(tunpkt_key_in(p, &t, &number), rows[i].key);
		assert_int_equal(number, rows[i].number);
	}
	/* A later fragment has no key; a short packet neither. */
	p[9] = 17;
	p[7] = 1;
	assert_true(tunpkt_parse(p, 28, &t));
	assert_int_equal(tunpkt_key_in(p, &t, &(uint32_t){ 0 }), TUNPKT_NONE);
	assert_true(tunpkt_parse(p, make(p, 17, data, 7), &t));
	assert_int_equal(tunpkt_key_in(p, &t, &(uint32_t){ 0 }), TUNPKT_NONE);
}

/* F-6.2-02: an error by what it quotes, an answer by its identifier. */
static void test_icmp(void **state)
{
	uint8_t p[96], quoted[28], icmp[8 + sizeof(quoted)] = { 3, 3 };
	static const uint8_t udp[] = { 0x50, 0x07, 0x1e, 0x61, 0, 8, 0, 0 };
	static const uint8_t echo[] = { 0, 0, 0, 0, 0x12, 0x34, 0, 1 };
	static const uint8_t ask[] = { 8, 0, 0, 0, 0x12, 0x35, 0, 1 };
	uint32_t number = 0;
	uint16_t id = 0;
	struct tunpkt t;

	(void)state;
	(void)make(quoted, 17, udp, sizeof(udp));
	memcpy(icmp + 8, quoted, sizeof(quoted));
	assert_true(tunpkt_parse(p, make(p, 1, icmp, sizeof(icmp)), &t));
	assert_int_equal(tunpkt_key_in(p, &t, &number), TUNPKT_PORT);
	assert_int_equal(number, 0x5007);
	/* Quoted ESP names the peer's SPI. */
	p[20 + 8 + 9] = 50;
	assert_int_equal(tunpkt_key_in(p, &t, &number), TUNPKT_NONE);
	assert_true(tunpkt_parse(p, make(p, 1, echo, sizeof(echo)), &t));
	assert_int_equal(tunpkt_key_in(p, &t, &number), TUNPKT_ECHO);
	assert_int_equal(number, 0x1234);
	assert_false(tunpkt_echo_out(p, &t, &id));
	assert_true(tunpkt_parse(p, make(p, 1, ask, sizeof(ask)), &t));
	assert_int_equal(tunpkt_key_in(p, &t, &number), TUNPKT_NONE);
	assert_true(tunpkt_echo_out(p, &t, &id));
	assert_int_equal(id, 0x1235);
}

/* RFC 6040 figure 4: inner by outer. */
static void test_ecn(void **state)
{
	enum { NOT, ECT1, ECT0, CE, DROP };
	static const uint8_t table[4][4] = {
		/* outer  NOT   ECT1  ECT0  CE */
		{ NOT, NOT, NOT, DROP },
		{ ECT1, ECT1, ECT1, CE },
		{ ECT0, ECT1, ECT0, CE },
		{ CE, CE, CE, CE },
	};
	uint8_t p[64], data[8] = { 0 };

	(void)state;
	for (uint8_t inner = 0; inner < 4; inner++) {
		for (uint8_t outer = 0; outer < 4; outer++) {
			bool taken;

			(void)make(p, 17, data, sizeof(data));
			p[1] = (uint8_t)(0xb8 | inner);
			header_sum(p);
			taken = tunpkt_ecn_in(p, outer);
			assert_int_equal(taken, table[inner][outer] != DROP);
			if (!taken)
				continue;
			assert_int_equal(p[1], 0xb8 | table[inner][outer]);
			assert_int_equal(sum(p, 20, 0), 0xffff);
		}
	}
}

/* An unfinished checksum is finished; a finished one, right or wrong, stays. */
static void test_checksum(void **state)
{
	uint8_t p[64], data[20] = { 0x50, 0, 0x1e, 0x61, 0, 11, 0, 0, 'a', 'b', 'c' };
	size_t len = make(p, 17, data, 11);
	uint32_t pseudo;
	struct tunpkt t;

	(void)state;
	assert_true(tunpkt_parse(p, len, &t));
	pseudo = sum(p + 12, 8, 17 + 11);
	p[26] = (uint8_t)(pseudo >> 8);
	p[27] = (uint8_t)pseudo;
	tunpkt_checksum(p, &t);
	assert_int_equal(sum(p + 20, 11, pseudo), 0xffff);
	p[28] ^= 1; /* damaged on the way */
	tunpkt_checksum(p, &t);
	assert_int_not_equal(sum(p + 20, 11, pseudo), 0xffff);
	p[26] = p[27] = 0; /* UDP without one */
	tunpkt_checksum(p, &t);
	assert_int_equal(p[26] | p[27], 0);
}

/* F-6.3-02 */
static void test_too_big(void **state)
{
	uint8_t p[1500], out[TUNPKT_ICMP_MAX], data[1480] = { 0x50, 0, 0x1e, 0x61 };
	struct tunpkt t, answer;
	uint32_t number = 0;
	size_t len;

	(void)state;
	assert_true(tunpkt_parse(p, make(p, 17, data, sizeof(data)), &t));
	len = tunpkt_too_big(p, &t, 1380, out);
	assert_int_equal(len, TUNPKT_ICMP_MAX);
	assert_true(tunpkt_parse(out, len, &answer));
	assert_int_equal(answer.dst, t.src);
	assert_int_equal(answer.src, t.dst);
	assert_int_equal(sum(out, 20, 0), 0xffff);
	assert_int_equal(sum(out + 20, len - 20, 0), 0xffff);
	assert_int_equal(out[20], 3);
	assert_int_equal(out[21], 4);
	assert_int_equal(out[26] << 8 | out[27], 1380);
	/* It finds its way to the port that sent. */
	assert_int_equal(tunpkt_key_in(out, &answer, &number), TUNPKT_PORT);
	assert_int_equal(number, 0x5000);
	/* A short packet is quoted whole. */
	assert_true(tunpkt_parse(p, make(p, 17, data, 8), &t));
	assert_int_equal(tunpkt_too_big(p, &t, 1380, out), 20 + 8 + 28);
}

/* Which IKE messages can tell the peer a new SPI (spi-mode follow). */
static void test_ike_spi(void **state)
{
	static const struct {
		uint8_t version, exchange;
		bool spi;
	} rows[] = {
		{ 0x10, 2, false },  /* main mode */
		{ 0x10, 4, false },  /* aggressive mode */
		{ 0x10, 5, false },  /* informational */
		{ 0x10, 32, true },  /* quick mode */
		{ 0x20, 34, false }, /* IKE_SA_INIT */
		{ 0x20, 35, true },  /* IKE_AUTH */
		{ 0x20, 36, true },  /* CREATE_CHILD_SA */
		{ 0x20, 37, false }, /* INFORMATIONAL */
		{ 0x20, 43, false }, /* IKE_INTERMEDIATE */
		{ 0x20, 44, true },  /* IKE_FOLLOWUP_KE */
		{ 0x30, 36, false },
	};
	uint8_t udp[8 + 4 + 28] = { 0x01, 0xf4, 0x01, 0xf4, 0, 8 + 28 }, p[80];
	struct tunpkt t;

	(void)state;
	for (size_t marker = 0; marker <= 4; marker += 4) {
		uint8_t *ike = udp + 8 + marker;

		memset(udp + 8, 0, sizeof(udp) - 8);
		udp[5] = (uint8_t)(8 + marker + 28);
		ike[0] = 0xc0;
		ike[27] = 28;
		for (size_t i = 0; i < N(rows); i++) {
			ike[17] = rows[i].version;
			ike[18] = rows[i].exchange;
			assert_true(tunpkt_parse(p, make(p, 17, udp, 36 + marker), &t));
			assert_int_equal(tunpkt_ike_spi(p, &t), rows[i].spi);
		}
		ike[17] = 0x20;
		ike[18] = 36;
		/* Longer than its datagram, or than a fragment of it. */
		ike[27] = 29;
		assert_true(tunpkt_parse(p, make(p, 17, udp, 36 + marker), &t));
		assert_false(tunpkt_ike_spi(p, &t));
		udp[4] = 1;
		ike[26] = 1;
		ike[27] = 28;
		assert_true(tunpkt_parse(p, make(p, 17, udp, 36 + marker), &t));
		assert_true(tunpkt_ike_spi(p, &t));
		p[7] = 1; /* a later fragment */
		assert_false(tunpkt_ike_spi(p, &t));
		udp[4] = ike[26] = 0;
		assert_true(tunpkt_parse(p, make(p, 17, udp, 35 + marker), &t));
		assert_false(tunpkt_ike_spi(p, &t));
		assert_true(tunpkt_parse(p, make(p, 6, udp, 36 + marker), &t));
		assert_false(tunpkt_ike_spi(p, &t));
	}
}

/* P-8.6-02: version 0, IPv4, no options. */
static void test_gre(void **state)
{
	static const uint8_t good[] = { 0, 0, 8, 0 }, key[] = { 0x20, 0, 8, 0 },
			     ipv6[] = { 0, 0, 0x86, 0xdd }, v1[] = { 0, 1, 8, 0 };

	(void)state;
	assert_int_equal(tunpkt_gre(good, 4), 4);
	assert_int_equal(tunpkt_gre(good, 3), 0);
	assert_int_equal(tunpkt_gre(key, 4), 0);
	assert_int_equal(tunpkt_gre(ipv6, 4), 0);
	assert_int_equal(tunpkt_gre(v1, 4), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_icmp),
		cmocka_unit_test(test_ecn),
		cmocka_unit_test(test_checksum),
		cmocka_unit_test(test_too_big),
		cmocka_unit_test(test_gre),
		cmocka_unit_test(test_ike_spi),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
