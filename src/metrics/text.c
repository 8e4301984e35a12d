/*
 * Prometheus text (exposition format 0.0.4) from a collector's walk, and the histogram.
 * What is measured and how it is called is for the programs.
 */
#include "metrics/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
	FILE *out;
	const char *family;
};

static const char *const kind_words[] = {
	[METRICS_COUNTER] = "counter",
	[METRICS_GAUGE] = "gauge",
	[METRICS_HISTOGRAM] = "histogram",
};

static void text_family(
	void *ctx, const char *name, enum metrics_kind kind, const char *help)
{
	struct text *t = ctx;

	t->family = name;
	(void)fprintf(t->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
		kind_words[kind]);
}

/* Label values of ours are words, but pool names and the like come from a file. */
static void label_value(FILE *out, const char *value)
{
	for (; *value != 0; value++) {
		if (*value == '\n') {
			(void)fputs("\\n", out);
			continue;
		}
		if (*value == '\\' || *value == '"')
			(void)fputc('\\', out);
		(void)fputc(*value, out);
	}
}

static void text_sample(
	void *ctx, const struct metrics_label *labels, size_t n, uint64_t value)
{
	struct text *t = ctx;

	(void)fputs(t->family, t->out);
	for (size_t i = 0; i < n; i++) {
		(void)fprintf(t->out, "%s%s=\"", i == 0 ? "{" : ",", labels[i].name);
		label_value(t->out, labels[i].value);
		(void)fputc('"', t->out);
	}
	(void)fprintf(t->out, "%s %" PRIu64 "\n", n > 0 ? "}" : "", value);
}

static void text_histogram(void *ctx, const struct metrics_histogram *h)
{
	struct text *t = ctx;
	uint64_t below = 0;

	for (unsigned int i = 0; i < METRICS_BUCKETS; i++) {
		below += h->bucket[i];
		(void)fprintf(t->out, "%s_bucket{le=\"%.9g\"} %" PRIu64 "\n", t->family,
			(double)(1ULL << i) / 1e6, below);
	}
	(void)fprintf(
		t->out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", t->family, h->count);
	(void)fprintf(t->out, "%s_sum %" PRIu64 ".%09" PRIu64 "\n", t->family,
		h->sum_ns / 1000000000, h->sum_ns % 1000000000);
	(void)fprintf(t->out, "%s_count %" PRIu64 "\n", t->family, h->count);
}

void metrics_observe(struct metrics_histogram *h, uint64_t ns)
{
	unsigned int i = 0;

	if (ns > 1000) {
		/* the first power of two of microseconds that is not below ns */
		uint64_t us = (ns + 999) / 1000;

		i = 64 - (unsigned int)__builtin_clzll(us - 1);
		if (i > METRICS_BUCKETS)
			i = METRICS_BUCKETS;
	}
	h->bucket[i]++;
	h->sum_ns += ns;
	h->count++;
}

char *metrics_text(metrics_collect collect, void *ctx, size_t *len)
{
	struct text t = { .family = "" };
	struct metrics_sink sink = { &t, text_family, text_sample, text_histogram };
	char *text = NULL;
	bool bad;

	t.out = open_memstream(&text, len);
	if (t.out == NULL)
		return NULL;
	collect(ctx, &sink);
	bad = ferror(t.out) != 0;
	if (fclose(t.out) != 0 || bad) {
		free(text);
		return NULL;
	}
	return text;
}
