#pragma once

#include "base/limit.h"
#include "slp/msg.h"

/*
 * The service agent of a gateway (RFC 2608, RFC 3105): answers those who look for one,
 * and registers with directory agents, which then answer for it.  A state machine without
 * I/O and clock; times are milliseconds of any clock that does not step back.
 */

#define SLP_AGENT_DAS  8
#define SLP_AGENT_TEXT 256

struct slp_agent_conf {
	const char *scopes;  /* "A,B"; borrowed */
	uint32_t address;    /* of the gateway, as it is registered */
	uint16_t port;       /* likewise */
	const uint32_t *das; /* directory agents that are known; borrowed */
	size_t n_das;        /* beyond SLP_AGENT_DAS: left out */
	uint16_t lifetime_s; /* of a registration */
	/* A datagram; to SLP_GROUP, too. */
	void (*send)(
		void *ctx, uint32_t to, uint16_t port, const uint8_t *bytes, size_t len);
	void *ctx;
};

/* What happened, for the metrics. */
struct slp_agent_counters {
	uint64_t received, malformed, answered, not_for_us, limited;
	uint64_t registered, unregistered; /* SrvAck: yes, or no and silence */
};

struct slp_da {
	uint32_t addr;
	uint32_t boot;
	bool configured;
	bool registered;
	uint16_t xid;
	uint64_t due_ms;  /* the next repetition, refresh or try */
	uint32_t wait_ms; /* 0: nothing is under way */
	uint32_t waited_ms;
	int load; /* that it was told */
};

struct slp_agent {
	struct slp_agent_conf conf;
	char attributes[SLP_AGENT_TEXT];
	int load;
	struct slp_da das[SLP_AGENT_DAS];
	size_t n_das;
	uint16_t xid;
	unsigned int looked; /* for directory agents: how often in this round */
	uint64_t look_ms;
	uint64_t told_ms; /* when a load was last registered */
	struct limit answers;
	struct slp_agent_counters counters;
};

void slp_agent_init(
	struct slp_agent *a, const struct slp_agent_conf *conf, uint64_t now_ms);
/*
 * What the gateway is like: attributes without `load` ("(transport=TCP)"), at most
 * SLP_AGENT_TEXT less 16 letters, and its load from 0 to 100.  Directory agents are told
 * of a load that moved by 5, at most once a minute (A-L-11).
 */
void slp_agent_update(
	struct slp_agent *a, const char *attributes, int load, uint64_t now_ms);
/*
 * A datagram; `local` is our address on the link it came by, and says where the gateway
 * is reached from there.
 */
void slp_agent_input(struct slp_agent *a, uint32_t from, uint16_t from_port,
	uint32_t local, const uint8_t *bytes, size_t len, uint64_t now_ms);
void slp_agent_tick(struct slp_agent *a, uint64_t now_ms);
uint64_t slp_agent_deadline(const struct slp_agent *a);
/* Withdraw everywhere; once, without waiting for the answers. */
void slp_agent_end(struct slp_agent *a);
