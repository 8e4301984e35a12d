#pragma once

#include "metrics/metrics.h"

#include <uv.h>

/*
 * The HTTP end of the metrics: /metrics (Prometheus text) and /healthz ("ok" with 200, or
 * a sentence with 503), served from the program's own loop.
 */

#define METRICS_WHY 512

struct metrics_http_conf {
	uint32_t addr; /* host order */
	uint16_t port;
	metrics_collect collect;
	/* Is all well?  If not, one sentence goes to why.  NULL: always. */
	bool (*healthy)(void *ctx, char *why, size_t why_size);
	void *ctx; /* for both */
};

struct metrics_http;

int metrics_http_new(uv_loop_t *loop, const struct metrics_http_conf *conf,
	struct metrics_http **http, char *why, size_t why_size);
/* Stops; memory goes when the loop has run the close callbacks.  NULL is allowed. */
void metrics_http_free(struct metrics_http *h);
