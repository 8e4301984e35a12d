#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * What a daemon may do once everything is open: no more than `rights`, no way back (the
 * bounding set too where it may be changed), nothing gained by an exec.  The user ID
 * stays. Programs that it starts keep the same rights.
 */
enum sandbox_right {
	SANDBOX_NET_ADMIN = 1 << 0,
	SANDBOX_NET_RAW = 1 << 1,
	SANDBOX_BPF = 1 << 2, /* CAP_BPF and CAP_PERFMON: to load programs again */
};

#define SANDBOX_WHY 256

/* 0, or a negative code with a sentence in why: the caller must not go on then. */
int sandbox_enter(unsigned int rights, char *why, size_t why_size);
