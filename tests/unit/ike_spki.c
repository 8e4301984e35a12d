/*
 * Keys of IPSECKEY records as SubjectPublicKeyInfo, against what OpenSSL writes for the
 * same keys.
 */
#include "base/err.h"
#include "ike/spki.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

static void same(EVP_PKEY *key, uint8_t algorithm, const uint8_t *record, size_t len)
{
	uint8_t ours[SPKI_MAX], *theirs = NULL;
	int n = i2d_PUBKEY(key, &theirs);

	assert_true(n > 0);
	assert_int_equal(spki_encode(algorithm, record, len, ours), n);
	assert_memory_equal(ours, theirs, (size_t)n);
	OPENSSL_free(theirs);
	EVP_PKEY_free(key);
}

static void test_eddsa(void **state)
{
	static const char *const names[] = { "ED25519", "ED448" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, names[i]);
		uint8_t raw[57];
		size_t len = sizeof(raw);

		assert_int_equal(EVP_PKEY_get_raw_public_key(key, raw, &len), 1);
		same(key, SPKI_EDDSA, raw, len);
	}
}

static void test_ecdsa(void **state)
{
	static const char *const curves[] = { "P-256", "P-384" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", curves[i]);
		uint8_t point[97];
		size_t len = 0;

		assert_int_equal(
			EVP_PKEY_get_octet_string_param(
				key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &len),
			1);
		same(key, SPKI_ECDSA, point + 1, len - 1);
	}
}

static void test_rsa(void **state)
{
	static const size_t bits[] = { 1024, 2048, 4096 };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", bits[i]);
		uint8_t record[600];
		BIGNUM *n = NULL, *e = NULL;
		int e_len, n_len;

		assert_int_equal(
			EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n), 1);
		assert_int_equal(
			EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e), 1);
		e_len = BN_bn2bin(e, record + 1);
		record[0] = (uint8_t)e_len;
		n_len = BN_bn2bin(n, record + 1 + e_len);
		BN_free(n);
		BN_free(e);
		same(key, SPKI_RSA, record, (size_t)(1 + e_len + n_len));
	}
}

static void test_bad(void **state)
{
	uint8_t out[SPKI_MAX], bytes[700] = { 1, 3 };

	(void)state;
	assert_int_equal(spki_encode(1, bytes, 32, out), ERR_UNSUPPORTED);
	assert_int_equal(spki_encode(SPKI_EDDSA, bytes, 31, out), ERR_MALFORMED);
	assert_int_equal(spki_encode(SPKI_ECDSA, bytes, 65, out), ERR_MALFORMED);
	for (size_t len = 0; len < 100; len++)
		assert_int_equal(spki_encode(SPKI_RSA, bytes, len, out), ERR_MALFORMED);
	/* Leading zero of the modulus; too long; exponent longer than the record. */
	assert_int_equal(spki_encode(SPKI_RSA, bytes, 2 + 256, out), ERR_MALFORMED);
	bytes[2] = 0x80;
	assert_int_equal(spki_encode(SPKI_RSA, bytes, 2 + 513, out), ERR_MALFORMED);
	bytes[0] = 255;
	assert_int_equal(spki_encode(SPKI_RSA, bytes, 200, out), ERR_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_eddsa),
		cmocka_unit_test(test_ecdsa),
		cmocka_unit_test(test_rsa),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
