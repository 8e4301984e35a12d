/* The daemon's numbers, for Prometheus. */
#include "kxd/kxd.h"

static void one(const struct metrics_sink *to, const char *name, enum metrics_kind kind,
	const char *help, uint64_t value)
{
	to->family(to->ctx, name, kind, help);
	to->sample(to->ctx, NULL, 0, value);
}

static void labelled(const struct metrics_sink *to, const char *label, const char *word,
	uint64_t value)
{
	const struct metrics_label l = { label, word };

	to->sample(to->ctx, &l, 1, value);
}

static void lookups(const struct metrics_sink *to, const struct kx_counters *c)
{
	to->family(to->ctx, "rsip_kx_answers_total", METRICS_COUNTER,
		"Look-ups by what they ended in.");
	for (int i = 0; i < KX_STATUSES; i++)
		labelled(to, "status", kx_status_text((enum kx_status)i), c->answers[i]);
	to->family(to->ctx, "rsip_kx_decisions_total", METRICS_COUNTER,
		"Decisions by their reason.");
	for (int i = 0; i < KX_WHYS; i++)
		labelled(to, "reason", kx_why_text((enum kx_why)i), c->decisions[i]);
}

static void limits(const struct metrics_sink *to, const struct kx_counters *c)
{
	const struct {
		const char *limit;
		uint64_t value;
	} rows[] = {
		{ "source", c->limited_source },
		{ "all", c->limited_all },
		{ "lookups", c->limited_lookups },
		{ "peer", c->limited_peer },
	};

	to->family(to->ctx, "rsip_kx_limited_total", METRICS_COUNTER,
		"What a limit turned away.");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		labelled(to, "limit", rows[i].limit, rows[i].value);
}

static void held(const struct metrics_sink *to, const struct hold_counters *h)
{
	const struct {
		const char *end;
		uint64_t value;
	} rows[] = {
		{ "released", h->released },
		{ "dropped", h->dropped },
		{ "late", h->late },
		{ "full", h->full },
	};

	to->family(to->ctx, "rsip_kx_held_total", METRICS_COUNTER,
		"Held packets by what became of them.");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		labelled(to, "end", rows[i].end, rows[i].value);
	one(to, "rsip_kx_held", METRICS_GAUGE, "Packets that are held now.", h->held);
}

void kxd_metrics_collect(void *ctx, const struct metrics_sink *to)
{
	const struct kxd *d = ctx;
	const struct kx_counters *c = kx_count(d->kx);
	const struct peers_counters *p = peers_count(d->peers);
	const struct kxd_counters *k = &d->counters;
	const struct {
		const char *name;
		enum metrics_kind kind;
		const char *help;
		uint64_t value;
	} rows[] = {
		{ "rsip_kx_packets_total", METRICS_COUNTER,
			"Packets that asked for a decision.", c->packets },
		{ "rsip_kx_acquires_total", METRICS_COUNTER, "ACQUIREs of the kernel.",
			k->acquires },
		{ "rsip_kx_overruns_total", METRICS_COUNTER,
			"Times that the kernel could not tell of an ACQUIRE.",
			k->overruns },
		{ "rsip_kx_lookups_total", METRICS_COUNTER, "Look-ups begun.", c->asks },
		{ "rsip_kx_connects_total", METRICS_COUNTER, "Negotiations begun.",
			c->connects },
		{ "rsip_kx_ups_total", METRICS_COUNTER, "Negotiations that succeeded.",
			c->ups },
		{ "rsip_kx_passed_total", METRICS_COUNTER, "Pairs let through in clear.",
			c->passed },
		{ "rsip_kx_dropped_total", METRICS_COUNTER, "Pairs dropped.",
			c->dropped },
		{ "rsip_kx_inbound_total", METRICS_COUNTER,
			"Refusals of charon that were looked into.", k->inbound },
		{ "rsip_kx_authorised_total", METRICS_COUNTER,
			"Peers authorised for a host.", c->authorised },
		{ "rsip_kx_refused_total", METRICS_COUNTER, "Peers refused.",
			c->refused },
		{ "rsip_kx_terminated_total", METRICS_COUNTER,
			"SAs and negotiations ended for want of authority.",
			c->terminated },
		{ "rsip_kx_unreadable_total", METRICS_COUNTER,
			"Refusals of charon that did not read as one pair.",
			k->unreadable },
		{ "rsip_kx_policy_errors_total", METRICS_COUNTER,
			"Policies that the kernel did not take.", k->policy_errors },
		{ "rsip_kx_strays_total", METRICS_COUNTER,
			"SAs ended because nobody had authorised them.", p->strays },
		{ "rsip_kx_sas", METRICS_GAUGE, "SAs that are up.", p->sas },
		{ "rsip_kx_peers", METRICS_GAUGE, "Peers that charon knows.", p->peers },
		{ "rsip_kx_waiting", METRICS_GAUGE, "Pairs without a decision.",
			c->waiting },
		{ "rsip_kx_remembered", METRICS_GAUGE, "Pairs remembered.",
			c->remembered },
		{ "rsip_kx_evicted_total", METRICS_COUNTER,
			"Pairs forgotten to make room.", c->evicted },
		{ "rsip_kx_charon_up", METRICS_GAUGE,
			"1 when charon answers and tells what it refuses.",
			peers_is_ready(d->peers) && d->notify_up },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		one(to, rows[i].name, rows[i].kind, rows[i].help, rows[i].value);
	lookups(to, c);
	limits(to, c);
	if (d->hold != NULL)
		held(to, hold_count(d->hold));
}
