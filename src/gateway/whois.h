#pragma once

#include "engine/effect.h"
#include "ipc/ipc.h"

/*
 * "Who had this address, port or SPI at that time?", from the leases held now
 * and from those that history.h remembers.  Times are RFC 3339 in UTC; the lease's own
 * run on the engine's clock.
 */
struct whois {
	uint32_t address;
	bool has_port, has_spi, has_at;
	uint32_t port, spi;
	uint64_t at_wall_ms;  /* since 1970 */
	uint64_t now_ms;      /* the engine's clock ... */
	uint64_t now_wall_ms; /* ... and the wall's at the same moment */
};

/* The parameters of the call.  False: the call has ended with what is wrong. */
bool whois_read(
	struct whois *w, struct ipc_call *call, const json_t *params, uint64_t now_ms);
/* An ended lease ended at its expires_ms, and is never held now. */
bool whois_matches(const struct whois *w, const struct lease *l, bool ended);
/*
 * A binding with "from" and "until", as it was at the time asked for; NULL when memory is
 * short.
 */
json_t *whois_json(const struct whois *w, const struct lease *l, bool ended);

/* "2026-11-22T04:00:00Z", with any offset and fraction, to ms since 1970; or
 * ERR_MALFORMED. */
int rfc3339_parse(const char *text, uint64_t *wall_ms);
#define RFC3339_MAX 32
char *rfc3339_format(uint64_t wall_ms, char buf[static RFC3339_MAX]);
