#pragma once

#include "conf/conf.h"
#include "dataplane/dp.h"

#include <net/if.h>
#include <uv.h>

/*
 * The data plane driver in the loop: which one, its descriptors, and its being opened
 * anew when the pools change.
 */
#define PLANE_WHY 512

struct plane {
	const struct dp_driver *driver;   /* NULL before plane_choose() */
	const struct dp_driver *fallback; /* of driver "auto": when that cannot open */
	struct dp *dp;                    /* NULL while closed */
	char private_interface[IF_NAMESIZE], public_interface[IF_NAMESIZE];
	int pins_fd; /* of the folder of pins, when pins_open */
	bool pins_open;
	struct dp_events events;
	uv_loop_t *loop;
	uv_poll_t *polls[4];
	int n_polls;
	void *ctx;
	/* Something to do: call plane_service(). */
	void (*ready)(void *ctx);
};

/* The driver of the configuration; log lines say why it is that one. */
int plane_choose(struct plane *p, const struct conf *conf, char *why, size_t why_size);
int plane_open(struct plane *p, const struct conf *conf, char *why, size_t why_size);
void plane_close(struct plane *p);
void plane_service(struct plane *p, uint64_t now_ms);
uint64_t plane_deadline(const struct plane *p);
/*
 * The folder of the pinned tables is open at this descriptor, which is the plane's from
 * now on; what is in it belongs to the user from now on.
 */
void plane_pins_are_at(struct plane *p, int fd, const char *user);
/* SANDBOX_... that the driver goes on to need. */
unsigned int plane_rights(const struct plane *p);
