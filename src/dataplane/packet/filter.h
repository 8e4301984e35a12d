#pragma once

#include "dataplane/forward.h"

#include <linux/filter.h>

/*
 * Socket filters (classic BPF, which needs no right) that keep out of the rings what the
 * driver would only throw away.
 */
struct filter {
	struct sock_fprog program;
};

/* Filter for a link; 0 or -ENOMEM. */
int filter_init(struct filter *f, enum forward_link link, const struct forward *conf);
void filter_fini(struct filter *f);
