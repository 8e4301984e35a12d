/* SLP datagrams from anybody: read, written again, and given to a service agent. */
#include "fuzz.h"
#include "slp/agent.h"
#include "slp/text.h"

static void on_send(
	void *ctx, uint32_t to, uint16_t port, const uint8_t *bytes, size_t len)
{
	struct slp_msg m;

	(void)ctx;
	(void)to;
	(void)port;
	MUST(len <= SLP_DATAGRAM);
	MUST(slp_decode(bytes, len, &m) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t das[] = { 7 };
	const struct slp_agent_conf conf = { .scopes = "DEFAULT",
		.address = 1,
		.port = 4555,
		.das = das,
		.n_das = 1,
		.lifetime_s = 60,
		.send = on_send };
	struct slp_agent a;
	struct slp_msg m;
	uint32_t addr;
	uint16_t port;
	bool holds;

	if (slp_decode(data, size, &m) == 0) {
		(void)slp_predicate(m.predicate, m.attributes, &holds);
		(void)slp_attribute_percent(m.attributes, "load");
		for (size_t i = 0; i < m.n_urls; i++)
			(void)slp_url_parse(m.urls[i].url, &addr, &port);
	}
	slp_agent_init(&a, &conf, 1);
	slp_agent_update(&a, "(transport=TCP)", 3, 1);
	for (int i = 0; i < 3; i++) {
		slp_agent_input(&a, 7, 427, 1, data, size, 1);
		slp_agent_tick(&a, slp_agent_deadline(&a));
		MUST(a.n_das <= SLP_AGENT_DAS);
	}
	return 0;
}
