#pragma once

#include "dataplane/dp.h"
#include "engine/engine.h"
#include "gateway/archive.h"
#include "gateway/events.h"
#include "gateway/health.h"
#include "ipc/ipc.h"
#include "metrics/metrics.h"
#include "net/net.h"

/*
 * The gateway's control methods (org.rsipsec.gateway.*) behind `rsip gateway`: what the
 * engine and the data plane hold as JSON, and the operator's verbs.
 */

/* What rsipd lends to control and gw_metrics; must outlive both. */
struct monitor;
struct page;
struct water;
struct export_counters;
struct slp_agent_counters;
/* A request may hold a configuration. */
#define CONTROL_REQUEST_MAX ((size_t)1024 * 1024)

/* What runs. */
struct control_config {
	const char *file, *text;
	uint32_t trial_s; /* on trial for so long still; 0: it is not */
};

struct control_source {
	void *ctx; /* for the functions below */
	struct engine *engine;
	struct archive *archive;
	struct monitor *monitor;
	const struct events *events;
	uint64_t (*now_ms)(void *ctx); /* the engine's clock */
	void (*stats)(void *ctx, struct dp_stats *out);
	/*
	 * Read the configuration again and take it.  0, or a negative code with nothing
	 * changed and the sentence (file, line, what is wrong) in why.
	 */
	int (*reload)(void *ctx, char *why, size_t why_size);
	struct control_config (*config)(void *ctx);
	/* Take a text on trial; end the trial well (trial.h). */
	int (*apply)(void *ctx, const char *text, uint32_t seconds, char *why,
		size_t why_size);
	int (*confirm)(void *ctx);
	/*
	 * After engine_release() and engine_deregister(): commit what they changed and
	 * let their messages leave, before the operator is told.
	 */
	int (*settle)(void *ctx, char *why, size_t why_size);
	/* False with a sentence when something needs the operator (the store is
	 * failing...). */
	bool (*healthy)(void *ctx, char *why, size_t why_size);

	const struct water *water;
	/* What needs the operator: see health.h. */
	size_t (*reasons)(void *ctx, struct health_reason *out);
	struct page *page; /* NULL: not served */
	const struct audit *audit;
	const struct export_counters *exported;
	const struct slp_agent_counters *slp;
	const struct net_counters *net;
	const struct net *sockets;
	const struct turn *turn; /* counters of the loop */
	const char *driver;      /* of the data plane, as chosen */
	const char *config_file;
	const char *const *listen; /* "10.0.0.1:4555" */
	size_t n_listen;
	bool udp, tcp;
	uint64_t started_ms; /* on the engine's clock */
	/* Of rsip_request_seconds: rsipd observes from a request's arrival to its answer.
	 */
	struct metrics_histogram request_seconds;
};

/* The table for ipc_server_conf.methods; its ctx must be the control_source. */
extern const struct ipc_method control_methods[];

/* One lease or registration as in `--json`; NULL when memory is short. */
json_t *control_lease_json(const struct lease *l, uint64_t now_ms);
json_t *control_status_json(const struct control_source *s);
json_t *control_registration_json(const struct registration *r, uint64_t now_ms);
/* With what it does, beside what it is. */
json_t *control_registration_details(const struct registration *r, uint64_t now_ms);
