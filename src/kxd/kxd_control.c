/* The control methods: org.rsipsec.kx.* (kx/control.h). */
#include "kx/control.h"

#include "kx/explain.h"
#include "kxd/kxd.h"

#include "base/err.h"
#include "base/log.h"

#include <stdlib.h>

static void on_show(void *ctx, struct ipc_call *call, json_t *params)
{
	const struct kxd *d = ctx;
	json_t *answer = kx_control_show(d->kx, uv_now(d->loop), d->started_ms);
	bool ready = peers_is_ready(d->peers) && d->notify_up;

	(void)params;
	/* A daemon that can decide but not act says so (it would look as if all was
	 * well). */
	if (answer != NULL)
		(void)json_object_set_new(answer, "charon",
			ready ? json_null()
			      : json_string(
					d->charon[0] != 0
						? d->charon
						: "tells nothing of what it refuses"));
	ipc_reply(call, answer);
}

/* --- explain --------------------------------------------------------------------------
 */

static void on_explained(void *ctx, json_t *explanation)
{
	struct ipc_call *call = ctx;

	if (explanation != NULL)
		ipc_reply(call, explanation);
	else
		ipc_error(call, IPC_INTERNAL, "no memory");
}

static void on_explain(void *ctx, struct ipc_call *call, json_t *params)
{
	struct kxd *d = ctx;
	const char *target = json_string_value(json_object_get(params, "target"));
	struct kx_explain *explain;
	struct kx_conf conf;
	int err;

	kxd_core_conf(d->conf, &conf);
	err = target != NULL ? kx_explain_new(d->loop, d->resolve, &conf, target,
				       &explain, on_explained, call)
			     : ERR_MALFORMED;
	if (err == ERR_MALFORMED)
		ipc_error(call, IPC_INVALID_PARAMETER,
			"\"%s\" is neither a name nor an address",
			target != NULL ? target : "");
	else if (err != 0)
		ipc_error_code(call, err, err_text(err));
}

/* --- flush, open ----------------------------------------------------------------------
 */

static bool address(const json_t *params, const char *key, struct kx_addr *to)
{
	const json_t *value = json_object_get(params, key);

	to->len = 0;
	return value == NULL || (json_is_string(value) &&
					kx_addr_parse(json_string_value(value), to) == 0);
}

static void on_flush(void *ctx, struct ipc_call *call, json_t *params)
{
	struct kxd *d = ctx;
	struct kx_event e = { .kind = KX_FORGET };
	uint32_t before = kx_count(d->kx)->remembered;

	if (!address(params, "source", &e.source) ||
		!address(params, "destination", &e.destination) ||
		(e.source.len != 0) != (e.destination.len != 0)) {
		ipc_error(call, IPC_INVALID_PARAMETER,
			"source and destination are both addresses, or both absent");
		return;
	}
	kxd_event(d, &e);
	ipc_reply(call, json_pack("{s:I}", "forgotten",
				(json_int_t)(before - kx_count(d->kx)->remembered)));
}

static void on_open(void *ctx, struct ipc_call *call, json_t *params)
{
	struct kxd *d = ctx;
	size_t removed;
	int err = traps_open(&d->traps, &removed);

	(void)params;
	if (err != 0) {
		ipc_error_code(call, err, err_text(err));
		return;
	}
	log_warn("opened by the operator: traffic passes in clear", "policies=%zu",
		removed);
	ipc_reply(call, json_pack("{s:I}", "removed", (json_int_t)removed));
}

const struct ipc_method kxd_methods[] = {
	{ KXD_SHOW, on_show },
	{ KXD_EXPLAIN, on_explain },
	{ KXD_FLUSH, on_flush },
	{ KXD_OPEN, on_open },
	{ NULL, NULL },
};
