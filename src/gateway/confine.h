#pragma once

#include <stddef.h>

struct rsipd;

/*
 * Everything is open: become the user of the configuration and give up what serving does
 * not take (sandbox/sandbox.h).  Says in the log what that came to.  0, or a negative
 * code with the sentence in why.
 */
int confine(struct rsipd *d, char *why, size_t why_size);
