/*
 * A walk through the payloads of RFC 2408 section 3.  Peers send it, so nothing in it is
 * believed: each payload is at least its own header long, which also ends the walk.
 */
#include "dataplane/opening.h"

#include "dataplane/core/flow.h"

#include <string.h>

#define VERSION_1      0x10
#define AGGRESSIVE     4
#define FLAG_ENCRYPTED 1
#define PAYLOAD_ID     5
#define PAYLOAD_HDR    4
#define ID_HDR         8 /* with ID type, protocol, port */

/* The payload of this type, or NULL; *len is its length. */
static const uint8_t *payload_find(
	const uint8_t *ike, const uint8_t *end, uint8_t type, size_t *len)
{
	uint8_t next = ike[16];

	for (const uint8_t *p = ike + FLOW_IKE_HDR; next && end - p >= PAYLOAD_HDR;) {
		*len = be_get16(p + 2);
		if (*len < PAYLOAD_HDR || *len > (size_t)(end - p))
			return NULL;
		if (next == type)
			return p;
		next = p[0];
		p += *len;
	}
	return NULL;
}

size_t opening_identity(const uint8_t *ike, const uint8_t *end, uint8_t *id, size_t size)
{
	const uint8_t *p;
	size_t len;

	if (end - ike < FLOW_IKE_HDR || (ike[17] & 0xf0) != VERSION_1 ||
		ike[18] != AGGRESSIVE || (ike[19] & FLAG_ENCRYPTED))
		return 0;
	p = payload_find(ike, end, PAYLOAD_ID, &len);
	if (!p || len <= ID_HDR || len - ID_HDR + 1 > size)
		return 0;
	id[0] = p[PAYLOAD_HDR];
	memcpy(id + 1, p + ID_HDR, len - ID_HDR);
	return len - ID_HDR + 1;
}
