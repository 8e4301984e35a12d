/*
 * One message to the decoder of both sides, over both transports.  What it accepts
 * prints, encodes to no more than came, and decodes to the same again.
 */
#include "fuzz.h"
#include "wire/msg.h"
#include "wire_same.h"

#include <string.h>

static void print(const struct wire_msg *m)
{
	char all[4096], few[16];
	int n = wire_print(m, all, sizeof(all));

	MUST(n > 0);
	MUST(wire_print(m, few, sizeof(few)) == n);
	MUST(!strncmp(all, few, sizeof(few) - 1));
	MUST(wire_print(m, NULL, 0) == n);
}

static void round_trip(
	const struct wire_msg *m, size_t len, enum wire_side side, bool udp)
{
	static uint8_t once[RSIP_LENGTH_MAX], twice[RSIP_LENGTH_MAX];
	int n = wire_encode(m, once, sizeof(once));
	struct wire_msg again;

	MUST(n >= RSIP_HEADER_LEN && (size_t)n <= len);
	MUST(wire_decode_private(once, (size_t)n, side, udp, &again) == 0);
	MUST(wire_same(m, &again));
	MUST(wire_encode(&again, twice, sizeof(twice)) == n);
	MUST(!memcmp(once, twice, (size_t)n));
	MUST(wire_encode(m, twice, (size_t)n - 1) < 0);
}

static void take(const uint8_t *bytes, size_t len, enum wire_side side, bool udp)
{
	struct wire_msg m;
	uint16_t known = wire_decode(bytes, len, side, udp, &m);
	uint16_t error = wire_decode_private(bytes, len, side, udp, &m);

	/* What is of private use only adds to what is understood. */
	MUST(known == error || known == RSIP_ILLEGAL_MESSAGE ||
		known == RSIP_ILLEGAL_PARAM);
	print(&m);
	if (!error)
		round_trip(&m, len, side, udp);
	else
		MUST(rsip_error_name(error));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[RSIP_LENGTH_MAX];
	uint8_t type;
	bool found;

	if (size > sizeof(bytes))
		return 0;
	memcpy(bytes, data, size);
	(void)wire_header(bytes, size, &type);
	(void)wire_find_counter(bytes, size, &found);
	if (size >= RSIP_HEADER_LEN) { /* a right length, so that more is reached */
		bytes[0] = RSIP_VERSION_1;
		bytes[2] = (uint8_t)(size >> 8);
		bytes[3] = (uint8_t)size;
		MUST(wire_header(bytes, size, &type) == 0);
	}
	for (enum wire_side side = SIDE_GATEWAY; side <= SIDE_HOST; side++) {
		take(bytes, size, side, false);
		take(bytes, size, side, true);
	}
	return 0;
}
