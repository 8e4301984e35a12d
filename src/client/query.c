/* QUERY_RESPONSE, one answer at a time. */
#include "client/session.h"

/* A mask of leading ones, as a number of bits; -1 for any other. */
static int prefix_of(uint32_t mask)
{
	uint32_t zeros = ~mask;
	int len = 0;

	if (zeros & (zeros + 1))
		return -1;
	while (mask) {
		mask <<= 1;
		len++;
	}
	return len;
}

static bool answer_of(const struct wire_query *q, struct rsip_answer *answer)
{
	bool network = q->indicator == INDICATOR_NETWORK ||
		       q->indicator == INDICATOR_REMOTE_NETWORK;
	int prefix = network ? prefix_of(q->mask.v4) : 32;

	if (q->addr.type != ADDR_IPV4 || prefix < 0 ||
		(network && q->mask.type != ADDR_NETMASK))
		return false;
	answer->net = (struct rsip_net){ q->addr.v4, (uint8_t)prefix, network };
	answer->local =
		q->indicator == INDICATOR_ADDRESS || q->indicator == INDICATOR_NETWORK;
	return true;
}

bool rsip_answer_next(const struct rsip_event *ev, size_t *at, struct rsip_answer *answer)
{
	const struct wire_msg *m = ev->answer;
	struct wire_query q;

	while (m && wire_query_next(m, at, &q)) {
		if (answer_of(&q, answer))
			return true;
	}
	return false;
}
