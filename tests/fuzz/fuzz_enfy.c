/* Records of error-notify: only exactly one pair of addresses is ever read out of one. */
#include "base/addr.h"
#include "base/err.h"
#include "fuzz.h"
#include "ike/enfy.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t record[ENFY_RECORD] = { 0 };
	uint32_t theirs = 0, ours = 0;
	char a[ADDR_TEXT_MAX], b[ADDR_TEXT_MAX], again[ENFY_TEXT_MAX];
	struct enfy e;

	memcpy(record, data, size < sizeof(record) ? size : sizeof(record));
	if (enfy_decode(record, &e) != 0)
		return 0;
	MUST(strlen(e.text) < sizeof(e.text) && strlen(e.id) < sizeof(e.id));
	if (enfy_selectors(e.text, &theirs, &ours) != 0)
		return 0;
	(void)snprintf(again, sizeof(again),
		"the received traffic selectors did not match: %s/32 === %s/32",
		addr_format(theirs, a), addr_format(ours, b));
	/* But for a blank at the end. */
	MUST(strncmp(again, e.text, strlen(again)) == 0);
	MUST(strlen(e.text) <= strlen(again) + 1);
	return 0;
}
