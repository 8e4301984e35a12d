#pragma once

#include "engine/engine.h"
#include "metrics/metrics.h"

#include <jansson.h>

/* Pieces of the control socket's JSON that are not a lease or registration. */

/* Put an address under its pool's name in an array of pools. */
int control_json_address(json_t *pools, const struct engine_address *a);

/*
 * The walk of a collector as an object: metric name -> number, or nested by the values of
 * the labels; NULL when memory is short.
 */
json_t *control_json_metrics(metrics_collect collect, void *ctx);
