/*
 * A TCP stream cut into messages.  The first byte says in which pieces it arrives; the
 * cuts must not depend on that.
 */
#include "base/err.h"
#include "fuzz.h"
#include "wire/frame.h"
#include "wire/proto.h"

/* The first cut when everything is there, checked against what it must keep to. */
static int cut(const uint8_t *stream, size_t left)
{
	int n = wire_frame(stream, left);

	MUST(n == ERR_MALFORMED || n == 0 || n >= RSIP_HEADER_LEN);
	MUST(n <= 0 || (size_t)n <= left);
	MUST(n == 0 || left >= RSIP_HEADER_LEN);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t step, start = 0;
	const uint8_t *stream;

	if (size < 1)
		return 0;
	step = data[0] + 1U;
	stream = data + 1;
	size--;
	for (;;) {
		int whole = cut(stream + start, size - start), n = 0;

		/* The same, a piece at a time: nothing before it, then this very cut. */
		for (size_t have = 0; n == 0 && have < size - start;) {
			have = have + step < size - start ? have + step : size - start;
			n = cut(stream + start, have);
		}
		MUST(n == whole);
		if (n <= 0)
			return 0;
		start += (size_t)n;
	}
}
