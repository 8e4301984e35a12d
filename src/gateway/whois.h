#pragma once

#include "audit/audit.h"
#include "ipc/ipc.h"

/*
 * "Who had this address, port or SPI at that time?" (RFC 6269 section 12), from the
 * leases held now and from the audit of those that were.  Times are RFC 3339 in UTC; the
 * lease's own run on the engine's clock.
 */
struct whois {
	struct audit_question question;
	bool has_at; /* else: now, and only what is held */
	struct audit_time now;
};

/* The parameters of the call.  False: the call has ended with what is wrong. */
bool whois_read(
	struct whois *w, struct ipc_call *call, const json_t *params, uint64_t now_ms);
/* Does a lease that is held answer? */
bool whois_holds(const struct whois *w, const struct lease *l);
/*
 * A binding with "from" and "until", as it was at the time asked for; NULL when memory is
 * short.
 */
json_t *whois_json(const struct whois *w, const struct lease *l);
/* The same from a record of the audit. */
json_t *whois_ended_json(json_t *record);
