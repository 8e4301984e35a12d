#pragma once

#include "metrics/metrics.h"

/*
 * rsipd's metrics: every name and label of docs/metrics.md, walked into a sink.  `source`
 * is a struct control_source, so this is the metrics_collect for metrics_http_conf.
 */
void gw_metrics_collect(void *source, const struct metrics_sink *to);
