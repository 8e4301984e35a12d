/*
 * DNS bytes of a stranger: RDATA of every type, packets, answers to updates.  What
 * decodes must print, and read back to the same bytes.
 */
#include "fuzz.h"

#include "kx/rr.h"
#include "kx/update.h"

#include <string.h>

static void check_text(uint16_t type, const uint8_t *data, size_t size)
{
	uint8_t again[2048], third[2048];
	char text[16384], twice[16384];
	size_t len, n;

	if (size > 700)
		return;
	(void)kx_rdata_format(type, data, size, text, sizeof(text));
	if (kx_rdata_parse(type, text, again, sizeof(again), &len) != 0)
		return; /* names with spaces are not read back from words */
	(void)kx_rdata_format(type, again, len, twice, sizeof(twice));
	MUST(strcmp(text, twice) == 0);
	MUST(kx_rdata_parse(type, twice, third, sizeof(third), &n) == 0);
	MUST(n == len && memcmp(again, third, n) == 0);
}

static void check_names(const uint8_t *data, size_t size)
{
	struct rd r = rd_init(data, size);
	struct kx_name name, again;
	char text[KX_NAME_TEXT];
	struct kx_addr addr;

	if (kx_name_decode(&r, &name) != 0)
		return;
	MUST(name.len >= 1 && name.wire[name.len - 1] == 0);
	MUST(kx_name_parse(kx_name_format(&name, text), &again) == 0);
	MUST(kx_name_same(&name, &again) && kx_name_compare(&name, &again) == 0);
	MUST(kx_name_within(&name, &again));
	(void)kx_addr_from_reverse(&name, &addr);
}

static void check_packets(const uint8_t *data, size_t size)
{
	static const uint8_t mac[KX_MAC];
	const struct kx_tsig key = { .name = { .len = 1 }, .secret_len = 32 };
	struct kx_name root = { .len = 1 }, zone;
	struct kx_packet packet;
	uint16_t id = size >= 2 ? (uint16_t)(data[0] << 8 | data[1]) : 0, error;
	uint8_t rcode;

	(void)kx_packet_read(data, size, 1000000, &packet);
	(void)kx_soa_decode(data, size, id, &root, &zone);
	if (kx_tsig_check(&key, data, size, id, mac, 1000000, &rcode, &error) == 0)
		MUST(rcode == 9); /* nobody guesses the secret */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t types[] = { KX_T_A, KX_T_PTR, KX_T_AAAA, KX_T_SRV, KX_T_KX,
		KX_T_IPSECKEY, 4711 };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		check_text(types[i], data, size);
	check_names(data, size);
	check_packets(data, size);
	return 0;
}
