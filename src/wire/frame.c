/* Cutting a TCP stream into messages. */
#include "wire/frame.h"

#include "base/err.h"
#include "base/rd.h"
#include "wire/proto.h"

int wire_frame(const uint8_t *bytes, size_t have)
{
	struct rd r = rd_init(bytes, have);
	uint8_t version = rd_u8(&r);
	uint16_t len;

	rd_u8(&r);
	len = rd_u16(&r);
	if (r.bad)
		return 0;
	/* Another version may have its length elsewhere (or none). */
	if (version != RSIP_VERSION_1 || len < RSIP_HEADER_LEN)
		return ERR_MALFORMED;
	return len <= have ? len : 0;
}
