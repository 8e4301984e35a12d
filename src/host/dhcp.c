/* DHCPINFORM and the answer to it. */
#include "host/dhcp.h"

#include "base/rd.h"
#include "base/wr.h"

#define BOOTREQUEST   1
#define BOOTREPLY     2
#define ETHERNET      1
#define COOKIE        0x63825363U
#define NAMES_LEN     192 /* sname and file */
#define CHADDR_LEN    16
#define OPTION_PAD    0
#define OPTION_LIST   55
#define OPTION_TYPE   53
#define OPTION_AGENTS 78
#define OPTION_SCOPES 79
#define OPTION_END    255
#define DHCPACK       5
#define DHCPINFORM    8

size_t dhcp_inform(const struct dhcp_ask *a, uint8_t buf[static DHCP_MESSAGE_MAX])
{
	struct wr w = wr_init(buf, DHCP_MESSAGE_MAX);
	const uint8_t head[] = { BOOTREQUEST, ETHERNET, sizeof(a->mac), 0 };
	const uint8_t options[] = { OPTION_TYPE, 1, DHCPINFORM, OPTION_LIST, 3, a->option,
		OPTION_AGENTS, OPTION_SCOPES, OPTION_END };
	uint8_t *rest;

	wr_bytes(&w, head, sizeof(head));
	wr_u32(&w, a->xid);
	wr_u32(&w, 0); /* seconds, flags */
	wr_u32(&w, a->address);
	wr_u32(&w, 0); /* yiaddr, siaddr, giaddr */
	wr_u32(&w, 0);
	wr_u32(&w, 0);
	wr_bytes(&w, a->mac, sizeof(a->mac));
	rest = wr_take(&w, CHADDR_LEN - sizeof(a->mac) + NAMES_LEN);
	if (rest != NULL)
		memset(rest, 0, CHADDR_LEN - sizeof(a->mac) + NAMES_LEN);
	wr_u32(&w, COOKIE);
	wr_bytes(&w, options, sizeof(options));
	return wr_len(&w);
}

static void read_gateways(struct rd *value, struct dhcp_answer *answer)
{
	while (rd_left(value) >= 4 && answer->n_gateways < DHCP_GATEWAYS) {
		uint32_t addr = rd_u32(value);

		if (addr != 0 && addr != UINT32_MAX)
			answer->gateways[answer->n_gateways++] = addr;
	}
}

/* Behind a byte that says whether they bind (RFC 2610). */
static void read_scopes(struct rd *value, struct dhcp_answer *answer)
{
	size_t len;

	(void)rd_u8(value);
	len = rd_left(value);
	if (len >= sizeof(answer->slp_scopes))
		return;
	rd_bytes(value, answer->slp_scopes, len);
	answer->slp_scopes[len] = 0;
}

/* The options; false for a kind of message that is no DHCPACK. */
static bool read_options(struct rd *r, uint8_t option, struct dhcp_answer *answer)
{
	unsigned int type = 0;

	while (rd_left(r) > 0) {
		unsigned int code = rd_u8(r);
		struct rd value;

		if (code == OPTION_END)
			break;
		if (code == OPTION_PAD)
			continue;
		value = rd_sub(r, rd_u8(r));
		if (value.bad)
			return false;
		if (code == OPTION_TYPE)
			type = rd_u8(&value);
		else if (code == option)
			read_gateways(&value, answer);
		else if (code == OPTION_AGENTS && rd_u8(&value) <= 1)
			answer->slp_agent = rd_u32(&value);
		else if (code == OPTION_SCOPES)
			read_scopes(&value, answer);
	}
	return type == DHCPACK;
}

bool dhcp_read(const struct dhcp_ask *a, const uint8_t *bytes, size_t len,
	struct dhcp_answer *answer)
{
	struct rd r = rd_init(bytes, len);
	unsigned int op = rd_u8(&r);
	uint8_t mac[6];

	*answer = (struct dhcp_answer){ 0 };
	(void)rd_take(&r, 3);
	if (op != BOOTREPLY || rd_u32(&r) != a->xid)
		return false;
	(void)rd_take(&r, 20); /* seconds, flags, the four addresses */
	rd_bytes(&r, mac, sizeof(mac));
	(void)rd_take(&r, CHADDR_LEN - sizeof(mac) + NAMES_LEN);
	if (rd_u32(&r) != COOKIE || r.bad || memcmp(mac, a->mac, sizeof(mac)) != 0)
		return false;
	return read_options(&r, a->option, answer);
}
