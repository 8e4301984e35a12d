/*
 * Driver `none`: the control plane alone.  It accepts every lease and carries no packet.
 */
#include "dataplane/drivers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct dp {
	char unused;
};

static int none_open(const struct dp_conf *conf, const struct dp_events *events,
	struct dp **dp, char *why, size_t why_size)
{
	(void)conf;
	(void)events;
	*dp = calloc(1, sizeof **dp);
	if (*dp)
		return 0;
	if (why_size)
		why[0] = '\0';
	return -ENOMEM;
}

static int none_install(struct dp *dp, const struct lease *lease)
{
	(void)dp;
	(void)lease;
	return 0;
}

static void none_remove(struct dp *dp, uint32_t bind_id)
{
	(void)dp;
	(void)bind_id;
}

static void none_stats(struct dp *dp, struct dp_stats *out)
{
	(void)dp;
	memset(out, 0, sizeof *out);
}

static int none_fds(struct dp *dp, int fds[4])
{
	(void)dp;
	fds[0] = -1; /* nothing to poll */
	return 0;
}

static void none_service(struct dp *dp, uint64_t now_ms)
{
	(void)dp;
	(void)now_ms;
}

static uint64_t none_deadline(const struct dp *dp)
{
	(void)dp;
	return UINT64_MAX;
}

static void none_close(struct dp *dp)
{
	free(dp);
}

const struct dp_driver dp_none = { "none", false, none_open, none_install, none_remove,
	NULL, none_stats, none_fds, none_service, none_deadline, none_close };
