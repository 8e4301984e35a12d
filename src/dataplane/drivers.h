#pragma once

#include "dataplane/dp.h"

/* The drivers that driver.c knows. */
extern const struct dp_driver dp_packet; /* AF_PACKET, no BPF */
extern const struct dp_driver dp_xdp;    /* XDP, packet beside it for the rest */
extern const struct dp_driver dp_none;   /* control plane only */
extern const struct dp_driver dp_fake;   /* records calls, for tests: fake.h */
