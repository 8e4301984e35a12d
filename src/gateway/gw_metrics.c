/*
 * Which numbers rsipd shows and how they are called.  The engine and the driver count,
 * the metrics module writes; here is only the list (docs/metrics.md says the same in
 * words). No label ever names a host: the number of series is bounded by the
 * configuration.
 */
#include "gateway/gw_metrics.h"

#include "gateway/control.h"
#include "gateway/export.h"
#include "gateway/monitor.h"
#include "gateway/turn.h"
#include "gateway/water.h"
#include "slp/agent.h"
#include "wire/proto.h"

#include <stdio.h>

/* A walk under way: where it comes from and where it goes. */
struct walk {
	const struct control_source *source;
	const struct metrics_sink *to;
	const struct engine_counters *counters;
	struct dp_stats stats;
};

static void family(
	struct walk *w, const char *name, enum metrics_kind kind, const char *help)
{
	w->to->family(w->to->ctx, name, kind, help);
}

static void sample(struct walk *w, uint64_t value)
{
	w->to->sample(w->to->ctx, NULL, 0, value);
}

static void sample1(struct walk *w, const char *label, const char *word, uint64_t value)
{
	struct metrics_label l = { label, word };

	w->to->sample(w->to->ctx, &l, 1, value);
}

/* The counters of the engine without a label. */
static const struct {
	const char *name;
	enum metrics_kind kind;
	const char *help;
	size_t offset;
} plain[] = {
	{ "rsip_clients", METRICS_GAUGE, "Registered hosts.",
		offsetof(struct engine_counters, registrations) },
	{ "rsip_udp_duplicates_total", METRICS_COUNTER,
		"Requests over UDP that repeat the last one and got the same answer.",
		offsetof(struct engine_counters, udp_duplicates) },
	{ "rsip_udp_stale_total", METRICS_COUNTER,
		"Requests over UDP with a Message Counter of the past, dropped.",
		offsetof(struct engine_counters, udp_stale) },
	{ "rsip_udp_counter_gap_total", METRICS_COUNTER,
		"Requests over UDP whose Message Counter left some out.",
		offsetof(struct engine_counters, udp_counter_gap) },
	{ "rsip_udp_waiting_total", METRICS_COUNTER,
		"Requests over UDP dropped since one of the host waits for a name.",
		offsetof(struct engine_counters, udp_waiting) },
	{ "rsip_unproven_total", METRICS_COUNTER,
		"Messages whose sender did not prove to be that host.",
		offsetof(struct engine_counters, unproven) },
	{ "rsip_names_waiting", METRICS_GAUGE, "Requests that wait for a name.",
		offsetof(struct engine_counters, waiting) },
	{ "rsip_names_refused_total", METRICS_COUNTER,
		"Names not looked up since too many requests wait.",
		offsetof(struct engine_counters, names_refused) },
};

static void walk_plain(struct walk *w)
{
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		const char *at = (const char *)w->counters + plain[i].offset;

		family(w, plain[i].name, plain[i].kind, plain[i].help);
		sample(w, *(const uint64_t *)(const void *)at);
	}
}

static void walk_requests(struct walk *w)
{
	uint64_t other = 0;

	family(w, "rsip_requests_total", METRICS_COUNTER,
		"Messages that arrived, by type.");
	for (unsigned int i = 0; i < 256; i++) {
		const char *name = rsip_msg_name((uint8_t)i);

		if (name != NULL)
			sample1(w, "type", name, w->counters->requests[i]);
		else
			other += w->counters->requests[i];
	}
	sample1(w, "type", "other", other);

	family(w, "rsip_dropped_requests_total", METRICS_COUNTER,
		"Messages dropped without an answer, as the protocol wants it.");
	sample1(w, "reason", "short", w->counters->dropped_short);
	sample1(w, "reason", "error_response", w->counters->dropped_error_response);
	sample1(w, "reason", "rate", w->counters->dropped_rate);
	sample1(w, "reason", "busy", w->counters->dropped_busy);
}

static void walk_errors(struct walk *w)
{
	family(w, "rsip_errors_total", METRICS_COUNTER,
		"ERROR_RESPONSE sent, by number.");
	for (unsigned int i = 0; i < 512; i++) {
		uint64_t n = w->counters->errors[i];
		char code[8];

		if (rsip_error_name((uint16_t)i) == NULL && n == 0)
			continue;
		if (i == RSIP_INTERNAL_SERVER_ERROR) /* sent while the store fails */
			n += w->source->turn->internal;
		(void)snprintf(code, sizeof(code), "%u", i);
		sample1(w, "code", code, n);
	}
}

static void walk_bindings(struct walk *w)
{
	static const char *const kinds[] = { "addr", "port", "spi" };

	family(w, "rsip_bindings", METRICS_GAUGE, "Leases held, by method.");
	for (unsigned int i = 0; i < METHODS; i++)
		sample1(w, "method", lease_method_name(i), w->counters->bindings[i]);
	family(w, "rsip_hold", METRICS_GAUGE, "Released tuples that rest before reuse.");
	for (unsigned int i = 0; i < 3; i++)
		sample1(w, "kind", kinds[i], w->counters->holding[i]);
}

/* The numbers of one address, a family each. */
enum pool_number { POOL_FREE, POOL_HELD, POOL_RESTING, POOL_SPIS, POOL_NUMBERS };

static const struct {
	const char *name, *help;
} pool_families[POOL_NUMBERS] = {
	[POOL_FREE] = { "rsip_pool_ports_free", "Ports that can be leased now." },
	[POOL_HELD] = { "rsip_pool_ports_held", "Ports leased." },
	[POOL_RESTING] = { "rsip_pool_ports_resting", "Ports that rest before reuse." },
	[POOL_SPIS] = { "rsip_pool_spis_held", "SPIs leased." },
};

struct pool_walk {
	struct walk *w;
	enum pool_number number;
};

static bool on_address(void *ctx, const struct engine_address *a)
{
	struct pool_walk *p = ctx;
	char address[ADDR_TEXT_MAX];
	const uint64_t values[POOL_NUMBERS] = {
		[POOL_FREE] = a->ports_free,
		[POOL_HELD] = a->ports_held,
		[POOL_RESTING] = a->ports_resting,
		[POOL_SPIS] = a->spis_held,
	};

	sample1(p->w, "address", addr_format(a->address, address), values[p->number]);
	return true;
}

static void walk_pools(struct walk *w)
{
	for (unsigned int i = 0; i < POOL_NUMBERS; i++) {
		struct pool_walk p = { w, i };

		family(w, pool_families[i].name, METRICS_GAUGE, pool_families[i].help);
		engine_each_address(w->source->engine, on_address, &p);
	}
}

static uint64_t drops(const struct walk *w, unsigned int reason)
{
	return w->stats.dropped[DP_IN][reason] + w->stats.dropped[DP_OUT][reason];
}

static void walk_packets(struct walk *w)
{
	static const char *const words[DP_DIRECTIONS] = {
		[DP_IN] = "in", [DP_OUT] = "out"
	};

	family(w, "rsip_packets_total", METRICS_COUNTER, "Packets of the data plane.");
	for (unsigned int d = 0; d < DP_DIRECTIONS; d++) {
		struct metrics_label l[2] = { { "direction", words[d] },
			{ "verdict", "forward" } };
		uint64_t dropped = 0;

		for (unsigned int r = DP_OK + 1; r < DP_REASONS; r++)
			dropped += w->stats.dropped[d][r];
		w->to->sample(w->to->ctx, l, 2, w->stats.forwarded[d]);
		l[1].value = "drop";
		w->to->sample(w->to->ctx, l, 2, dropped);
	}
	family(w, "rsip_bytes_total", METRICS_COUNTER, "Bytes of the packets forwarded.");
	for (unsigned int d = 0; d < DP_DIRECTIONS; d++)
		sample1(w, "direction", words[d], w->stats.forwarded_bytes[d]);
	family(w, "rsip_drops_total", METRICS_COUNTER, "Packets dropped, by reason.");
	for (unsigned int r = DP_OK + 1; r < DP_REASONS; r++)
		sample1(w, "reason", dp_reason_name(r), drops(w, r));
}

static void walk_dataplane(struct walk *w)
{
	family(w, "rsip_ike_cookies", METRICS_GAUGE, "IKE cookies known, by state.");
	sample1(w, "state", "halfopen", w->stats.cookies_halfopen);
	sample1(w, "state", "answered", w->stats.cookies_answered);
	family(w, "rsip_reassembly", METRICS_COUNTER,
		"Fragmented packets, by what came of them.");
	sample1(w, "event", "ok", w->stats.reassembled);
	sample1(w, "event", "timeout", drops(w, DP_FRAG_TIMEOUT));
	sample1(w, "event", "overlap", drops(w, DP_FRAG_OVERLAP));
	sample1(w, "event", "limit", drops(w, DP_FRAG_LIMIT));
	family(w, "rsip_arp_answered_total", METRICS_COUNTER,
		"ARP requests answered for leases.");
	sample(w, w->stats.arp_answered);
	family(w, "rsip_icmp_answered_total", METRICS_COUNTER, "ICMP messages sent.");
	sample(w, w->stats.icmp_answered);
	family(w, "rsip_frames_lost_total", METRICS_COUNTER,
		"Frames that came while the driver was behind, or that it could not "
		"use.");
	sample(w, w->stats.lost);
}

static void walk_sockets(struct walk *w)
{
	const struct net_counters *n = w->source->net;

	family(w, "rsip_connections", METRICS_GAUGE, "TCP connections open.");
	sample(w, n->tcp_open);
	family(w, "rsip_connections_accepted_total", METRICS_COUNTER,
		"TCP connections accepted.");
	sample(w, n->tcp_accepted);
	family(w, "rsip_connections_closed_total", METRICS_COUNTER,
		"TCP connections that the gateway ended, by reason.");
	for (unsigned int i = 0; i < NET_CLOSES; i++)
		sample1(w, "reason", net_close_name(i), n->tcp_closed[i]);
	family(w, "rsip_messages_unsent_total", METRICS_COUNTER,
		"Messages that could not be sent: the host or its connection was gone, "
		"or the kernel had no room.");
	sample1(w, "transport", transport_name(TRANSPORT_UDP), n->udp_unsent);
	sample1(w, "transport", transport_name(TRANSPORT_TCP), n->tcp_unsent);
	family(w, "rsip_kernel_dropped_total", METRICS_COUNTER,
		"Messages that the kernel dropped at our sockets: from a wrong place, or "
		"for want of room.");
	for (unsigned int i = 0; i < TRANSPORTS; i++)
		sample1(w, "transport", transport_name(i),
			net_kernel_dropped(w->source->sockets, i));
	family(w, "rsip_seals_total", METRICS_COUNTER,
		"Messages over UDP with a seal, by what it is worth.");
	sample1(w, "verdict", "good", n->seals_good);
	sample1(w, "verdict", "bad", n->seals_bad);
	sample1(w, "verdict", "stale", n->seals_stale);
	family(w, "rsip_tls_handshakes_total", METRICS_COUNTER,
		"TLS handshakes that ended, by result.");
	sample1(w, "result", "good", n->tls_good);
	sample1(w, "result", "failed", n->tls_failed);
}

static void walk_store(struct walk *w)
{
	const struct turn *t = w->source->turn;

	family(w, "rsip_store_commits_total", METRICS_COUNTER,
		"Commits of leases.mdb that were tried.");
	sample(w, t->commits);
	family(w, "rsip_store_commit_errors_total", METRICS_COUNTER,
		"Commits that failed; requests are answered 104 until one succeeds.");
	sample(w, t->commit_errors);
	family(w, "rsip_replies_lost_total", METRICS_COUNTER,
		"Messages dropped for want of memory, or of a store that works.");
	sample(w, t->replies_lost);
	family(w, "rsip_dataplane_install_errors_total", METRICS_COUNTER,
		"Leases that the data plane did not take.");
	sample(w, t->plane_failed);
}

static void walk_health(struct walk *w)
{
	const struct control_source *s = w->source;
	const struct water *water = s->water;
	char why[HEALTH_TEXT];

	family(w, "rsip_healthy", METRICS_GAUGE,
		"1, or 0 when something needs the operator.");
	sample(w, s->healthy(s->ctx, why, sizeof(why)));
	family(w, "rsip_pool_used_percent", METRICS_GAUGE,
		"Ports of a pool that are held or rest, in percent.");
	for (size_t i = 0; i < water->n_pools; i++)
		sample1(w, "pool", water->pools[i].name, water->pools[i].percent);
	family(w, "rsip_pool_high", METRICS_GAUGE,
		"1 while a pool is above its water mark.");
	for (size_t i = 0; i < water->n_pools; i++)
		sample1(w, "pool", water->pools[i].name, water->pools[i].high);
	family(w, "rsip_pool_addresses_high", METRICS_GAUGE,
		"Addresses of a pool above its water mark.");
	for (size_t i = 0; i < water->n_pools; i++)
		sample1(w, "pool", water->pools[i].name, water->pools[i].high_addresses);
}

static void walk_audit(struct walk *w)
{
	const struct audit_counters *a = audit_counters(w->source->audit);

	family(w, "rsip_audit_records_total", METRICS_COUNTER,
		"Records of leases that ended, written to the audit.");
	sample(w, a->records);
	family(w, "rsip_audit_errors_total", METRICS_COUNTER,
		"Failures to write the audit; records wait in memory.");
	sample(w, a->errors);
	family(w, "rsip_audit_lost_total", METRICS_COUNTER,
		"Records lost for want of room while the audit could not be written.");
	sample(w, a->lost);
	family(w, "rsip_audit_bytes", METRICS_GAUGE, "Bytes of the audit's files.");
	sample(w, a->bytes);
}

static void walk_events(struct walk *w)
{
	const struct control_source *s = w->source;

	family(w, "rsip_events_total", METRICS_COUNTER,
		"What happened, by the words of the monitor.");
	for (unsigned int i = 0; i < EVENTS; i++)
		sample1(w, "event", event_name(i), s->events->counts[i]);
	family(w, "rsip_watchers", METRICS_GAUGE, "Who watches events now.");
	sample(w, monitor_clients(s->monitor));
}

static void walk_export(struct walk *w)
{
	const struct export_counters *x = w->source->exported;

	family(w, "rsip_ipfix_messages_total", METRICS_COUNTER,
		"IPFIX messages to the collector.");
	sample(w, x->messages);
	family(w, "rsip_ipfix_records_total", METRICS_COUNTER, "Data records in them.");
	sample(w, x->records);
	family(w, "rsip_ipfix_errors_total", METRICS_COUNTER,
		"IPFIX messages that could not be sent.");
	sample(w, x->errors);
}

static void walk_slp(struct walk *w)
{
	const struct slp_agent_counters *c = w->source->slp;

	family(w, "rsip_slp_messages_total", METRICS_COUNTER,
		"SLP messages that came, by what became of them.");
	sample1(w, "result", "answered", c->answered);
	sample1(w, "result", "malformed", c->malformed);
	sample1(w, "result", "not_for_us", c->not_for_us);
	sample1(w, "result", "limited", c->limited);
	family(w, "rsip_slp_registrations_total", METRICS_COUNTER,
		"Registrations with SLP directory agents, by result.");
	sample1(w, "result", "acknowledged", c->registered);
	sample1(w, "result", "failed", c->unregistered);
}

static void walk_program(struct walk *w)
{
	const struct control_source *s = w->source;
	struct metrics_label l[2] = { { "version", RSIP_VERSION },
		{ "driver", s->driver } };
	uint64_t now_ms = s->now_ms(s->ctx);

	family(w, "rsip_request_seconds", METRICS_HISTOGRAM,
		"From the arrival of a request to its answer.");
	w->to->histogram(w->to->ctx, &s->request_seconds);
	family(w, "rsip_slow_turns_total", METRICS_COUNTER,
		"Turns of the loop that took more than 100 ms.");
	sample(w, s->turn->slow_turns);
	family(w, "rsip_uptime_seconds", METRICS_GAUGE, "Since rsipd started.");
	sample(w, (now_ms - s->started_ms) / 1000);
	family(w, "rsip_build_info", METRICS_GAUGE,
		"Always 1; version and data plane driver.");
	w->to->sample(w->to->ctx, l, 2, 1);
}

void gw_metrics_collect(void *source, const struct metrics_sink *to)
{
	const struct control_source *s = source;
	struct walk w = { .source = s, .to = to, .counters = engine_counters(s->engine) };

	s->stats(s->ctx, &w.stats);
	walk_plain(&w);
	walk_requests(&w);
	walk_errors(&w);
	walk_bindings(&w);
	walk_pools(&w);
	walk_packets(&w);
	walk_dataplane(&w);
	walk_sockets(&w);
	walk_store(&w);
	walk_health(&w);
	walk_audit(&w);
	walk_events(&w);
	walk_export(&w);
	walk_slp(&w);
	walk_program(&w);
}
