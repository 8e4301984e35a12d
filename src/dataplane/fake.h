#pragma once

#include "dataplane/dp.h"

/*
 * Driver `fake` keeps copies of the leases that are installed and of every call, so that
 * a test can compare the data plane's contents with the engine's.
 */

struct fake_call {
	enum { FAKE_INSTALL, FAKE_REMOVE } kind;
	uint32_t bind_id;
};

/* What happened since open; borrowed until the next call into the driver. */
size_t fake_calls(const struct dp *dp, const struct fake_call **calls);
/* The installed lease, or NULL; borrowed until it is replaced or removed. */
const struct lease *fake_lease(const struct dp *dp, uint32_t bind_id);
size_t fake_leases(const struct dp *dp);
/* The next n installs fail with this code. */
void fake_fail(struct dp *dp, unsigned int n, int err);
/* Report a misuse as a driver does. */
void fake_misuse(struct dp *dp, uint32_t host, uint16_t error, uint32_t bind_id);
/* The counters that stats() gives. */
struct dp_stats *fake_stats(struct dp *dp);
