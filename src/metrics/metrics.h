#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Metrics: a program's collector walks its numbers into a sink; one sink writes
 * Prometheus text, others what they like (the control socket makes JSON of the same
 * walk).  A family comes first, its samples follow.
 */

enum metrics_kind { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

struct metrics_label {
	const char *name, *value;
};

struct metrics_histogram;

struct metrics_sink {
	void *ctx;
	void (*family)(
		void *ctx, const char *name, enum metrics_kind kind, const char *help);
	void (*sample)(
		void *ctx, const struct metrics_label *labels, size_t n, uint64_t value);
	void (*histogram)(void *ctx, const struct metrics_histogram *h);
};

typedef void (*metrics_collect)(void *ctx, const struct metrics_sink *to);

/* Buckets of powers of two from 1 us up to 2^(METRICS_BUCKETS - 1) us, then +Inf. */
#define METRICS_BUCKETS 24
struct metrics_histogram {
	uint64_t bucket[METRICS_BUCKETS + 1]; /* not cumulative; the last is +Inf */
	uint64_t sum_ns;
	uint64_t count;
};
/* Zeroed storage is an empty histogram.  No allocation, a handful of instructions. */
void metrics_observe(struct metrics_histogram *h, uint64_t ns);

/*
 * The collector's numbers as Prometheus text (version 0.0.4), to be freed by the caller;
 * NULL when memory is short.
 */
char *metrics_text(metrics_collect collect, void *ctx, size_t *len);
