#pragma once

#include "metrics/metrics.h"

#include <uv.h>

/*
 * The HTTP end of the metrics: /metrics (Prometheus text), /healthz ("ok" with 200, or a
 * sentence with 503) and what else the program has, served from its own loop.
 */

#define METRICS_WHY 512

struct metrics_http_conf {
	uint32_t addr; /* host order */
	uint16_t port;
	metrics_collect collect;
	/* Is all well?  If not, one sentence goes to why.  NULL: always. */
	bool (*healthy)(void *ctx, char *why, size_t why_size);
	/*
	 * Any other file: its bytes (copied at once) and its type, or NULL.  Only for who
	 * names us by an address or as localhost, so that no page of another site can
	 * read it by a name of its own.  NULL: there is none.
	 */
	const void *(*file)(void *ctx, const char *url, const char **type, size_t *len);
	void *ctx; /* for all */
};

struct metrics_http;

int metrics_http_new(uv_loop_t *loop, const struct metrics_http_conf *conf,
	struct metrics_http **http, char *why, size_t why_size);
/* Stops; memory goes when the loop has run the close callbacks.  NULL is allowed. */
void metrics_http_free(struct metrics_http *h);
