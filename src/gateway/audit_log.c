/* One line an audit effect, in the words of the control socket. */
#include "gateway/audit_log.h"

#include "base/log.h"

#include <inttypes.h>

static const char *const kinds[] = {
	[AUDIT_REGISTER] = "host registered",
	[AUDIT_DEREGISTER] = "registration ended",
	[AUDIT_GRANT] = "lease granted",
	[AUDIT_EXTEND] = "lease extended",
	[AUDIT_END] = "lease ended",
};

static const char *const reasons[] = {
	[END_FREED] = "freed",
	[END_DEREGISTERED] = "deregistered",
	[END_EXPIRED] = "expired",
	[END_OPERATOR] = "operator",
};

static uint64_t left_s(uint64_t until_ms, uint64_t now_ms)
{
	return until_ms > now_ms ? (until_ms - now_ms) / 1000 : 0;
}

static void log_registration(const char *what, const char *reason,
	const struct registration *r, uint64_t now_ms)
{
	char host[ADDR_TEXT_MAX];

	log_debug(what, "host=%s client=%u transport=%s left_s=%" PRIu64 "%s%s",
		addr_format(r->host, host), r->client_id,
		transport_name(r->peer.transport), left_s(r->expires_ms, now_ms),
		reason[0] != 0 ? " reason=" : "", reason);
}

static void log_lease(
	const char *what, const char *reason, const struct lease *l, uint64_t now_ms)
{
	char host[ADDR_TEXT_MAX], address[ADDR_TEXT_MAX], ports[96], spis[96];

	(void)ranges_format(l->ports, l->n_ports, false, ports, sizeof(ports));
	(void)ranges_format(l->spis, l->n_spis, true, spis, sizeof(spis));
	log_debug(what,
		"host=%s bind=%u method=%s address=%s ports=%s spis=%s left_s=%" PRIu64
		"%s%s",
		addr_format(l->host, host), l->bind_id, lease_method_name(l->method),
		addr_format(l->address, address), l->n_ports > 0 ? ports : "-",
		l->n_spis > 0 ? spis : "-", left_s(l->expires_ms, now_ms),
		reason[0] != 0 ? " reason=" : "", reason);
}

void audit_log(const struct effect *e, uint64_t now_ms)
{
	bool ended = e->audit.kind == AUDIT_END || e->audit.kind == AUDIT_DEREGISTER;
	const char *reason = ended ? reasons[e->audit.reason] : "";

	if (e->audit.reg != NULL)
		log_registration(kinds[e->audit.kind], reason, e->audit.reg, now_ms);
	else
		log_lease(kinds[e->audit.kind], reason, e->audit.lease, now_ms);
}
