/*
 * The states of a session: RFC 3103 appendix D with extension, clearing of an earlier
 * registration, and the ends that appendix leaves out (asynchronous FREE_RESPONSE and
 * DE-REGISTER_RESPONSE, expiry).
 */
#include "client/session.h"

#include <assert.h>

#define NO RSIP_STATES /* not in this state: a bug of ours */

enum {
	UNR = RSIP_UNREGISTERED,
	RPE = RSIP_REGISTERING,
	CLR = RSIP_CLEARING,
	REG = RSIP_REGISTERED,
	BQU = RSIP_BARE_QUERYING,
	BDE = RSIP_BARE_DEREGISTERING,
	BAS = RSIP_BARE_ASSIGNING,
	ASS = RSIP_ASSIGNED,
	AQU = RSIP_BOUND_QUERYING,
	ADE = RSIP_BOUND_DEREGISTERING,
	AAS = RSIP_BOUND_ASSIGNING,
	EXT = RSIP_EXTENDING,
	FRE = RSIP_FREEING,
};

/*
 * EXTENDING and FREEING also stand for sessions that hold nothing: the binding they ask
 * about may end before the answer comes, and a grant given back at once was never held.
 */
/* clang-format off */
static const uint8_t next[RSIP_STATES][STEPS] = {
	/*        REGISTER CLEAR QUERY DEREG ASSIGN EXTEND FREE  REGISTERED BARE BOUND EMPTIED GONE */
	[UNR] = { RPE,     CLR,  NO,   NO,   NO,    NO,    NO,   NO,        UNR, NO,   NO,     UNR },
	[RPE] = { NO,      NO,   NO,   NO,   NO,    NO,    NO,   REG,       UNR, NO,   NO,     UNR },
	[CLR] = { NO,      NO,   NO,   NO,   NO,    NO,    NO,   NO,        UNR, NO,   NO,     UNR },
	[REG] = { NO,      NO,   BQU,  BDE,  BAS,   NO,    FRE,  NO,        REG, NO,   NO,     UNR },
	[BQU] = { NO,      NO,   NO,   NO,   NO,    NO,    NO,   NO,        REG, NO,   NO,     UNR },
	[BDE] = { NO,      NO,   NO,   NO,   NO,    NO,    NO,   NO,        REG, NO,   NO,     UNR },
	[BAS] = { NO,      NO,   NO,   NO,   NO,    NO,    NO,   NO,        REG, ASS,  NO,     UNR },
	[ASS] = { NO,      NO,   AQU,  ADE,  AAS,   EXT,   FRE,  NO,        REG, ASS,  REG,    UNR },
	[AQU] = { NO,      NO,   NO,   NO,   NO,    NO,    NO,   NO,        NO,  ASS,  BQU,    UNR },
	[ADE] = { NO,      NO,   NO,   NO,   NO,    NO,    NO,   NO,        NO,  ASS,  BDE,    UNR },
	[AAS] = { NO,      NO,   NO,   NO,   NO,    NO,    NO,   NO,        NO,  ASS,  BAS,    UNR },
	[EXT] = { NO,      NO,   NO,   NO,   NO,    NO,    NO,   NO,        REG, ASS,  EXT,    UNR },
	[FRE] = { NO,      NO,   NO,   NO,   NO,    NO,    NO,   NO,        REG, ASS,  FRE,    UNR },
};
/* clang-format on */

static const uint8_t steps[REQ_KINDS] = {
	[RSIP_REQ_NONE] = STEPS,
	[RSIP_REQ_REGISTER] = STEP_REGISTER,
	[RSIP_REQ_DEREGISTER] = STEP_DEREGISTER,
	[RSIP_REQ_ASSIGN] = STEP_ASSIGN,
	[RSIP_REQ_EXTEND] = STEP_EXTEND,
	[RSIP_REQ_FREE] = STEP_FREE,
	[RSIP_REQ_QUERY] = STEP_QUERY,
	[REQ_CLEAR] = STEP_CLEAR,
};

enum step step_of(enum rsip_request kind)
{
	return (enum step)steps[kind];
}

bool step_may(enum rsip_state state, enum step step)
{
	return next[state][step] != NO;
}

void step_take(struct rsip_session *s, enum step step)
{
	enum rsip_state from = s->state, to = (enum rsip_state)next[from][step];

	assert(to != NO);
	if (to == from)
		return;
	s->state = to;
	if (s->conf.state)
		s->conf.state(s->conf.ctx, from, to);
}
