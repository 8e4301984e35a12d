#pragma once

#include "dataplane/dp.h"
#include "dataplane/xdp/keep.h"

/*
 * The programs and their maps in the kernel: made, or taken over from a predecessor by
 * their pins, and put on the two interfaces.
 */

#define LOAD_MAPPED 8

enum load_mode { LOAD_NONE, LOAD_NATIVE, LOAD_GENERIC };

struct load {
	struct xdp_bpf *skel;
	char pins[200]; /* "": nothing is pinned */
	bool reused;    /* the tables are a predecessor's */
	struct {
		int fd;
		unsigned int index;
		enum load_mode mode;
	} link[LINKS];
	void *mapped[LOAD_MAPPED];
	size_t mapped_size[LOAD_MAPPED];
};

/*
 * Load, and map the tables that k was measured for into it.  pins may be NULL.  On
 * failure a negative code and one sentence in why.  Notes go to events.
 */
int load_open(struct load *l, struct keep *k, const char *pins,
	const struct dp_events *events, char *why, size_t size);
/* What the programs read; written in place. */
struct maps_conf *load_conf(const struct load *l);
/* The program of a link, by descriptor. */
int load_program(const struct load *l, enum forward_link link);
/* A table of the programs, by descriptor; or negative. */
int load_map(const struct load *l, const char *name);
/* Where redirected frames leave.  0 or -errno. */
int load_set_link(struct load *l, enum forward_link link, unsigned int index);
/* Put the programs on these interfaces, or replace a predecessor's there. */
int load_attach(struct load *l, const unsigned int index[LINKS],
	const struct dp_events *events, char *why, size_t size);
/* Has the way to attach changed (native or generic)? */
bool load_is_stale(const struct load *l);
/* Sum of the programs' counters. */
void load_stats(const struct load *l, struct dp_stats *add);
/* The programs stay where they are pinned. */
void load_close(struct load *l);
/* Remove what is pinned: the programs leave the interfaces. */
void load_unpin(const char *pins);
