#pragma once

#include <stdbool.h>

/*
 * Memory that runs short once: the linker leads the engine's allocations here
 * (-Wl,--wrap=malloc and so on).  Others, and the tests' own, are as always.
 */

/* The n-th allocation of the engine from now on fails; 0: none. */
void short_at(unsigned long n);
/* Did it? */
bool short_was(void);
