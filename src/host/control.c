/* The control methods: org.rsipsec.host.* */
#include "base/err.h"
#include "base/log.h"
#include "host/discover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_status(void *ctx, struct ipc_call *call, json_t *params)
{
	(void)params;
	ipc_reply(call, json_status(ctx));
}

/* --- lease, listen, exec --------------------------------------------------------------
 */

/* One request that ends in a lease. */
struct lease_op {
	struct ipc_call *call;
	struct gw *gw;
	struct ask ask;
	struct gw_wait wait;
	enum rsip_kind kind; /* 0: by the registration */
	enum hold_use use;
	int pid, watch; /* exec */
};

static void lease_op_free(struct lease_op *op)
{
	ask_fini(&op->ask);
	free(op);
}

static void lease_fail(struct lease_op *op, int err, const char *why)
{
	op->gw->host->idle = true;
	ipc_error_code(op->call, err, why);
	lease_op_free(op);
}

static void exec_connect(struct lease_op *op, struct hold *hold)
{
	char why[IPC_WHY];
	struct exec *exec;
	int err = exec_new(hold, op->pid, op->watch, &exec, why, sizeof(why));

	if (err != 0) {
		hold_give(hold, NULL, NULL);
		lease_fail(op, ERR_REFUSED, why);
		return;
	}
	ipc_reply(op->call, json_pack("{s:I, s:o}", "exec", (json_int_t)exec->id,
				    "binding", json_binding(hold)));
	lease_op_free(op);
}

static void on_leased(struct hold *hold, int err, const char *why)
{
	struct lease_op *op = hold->done_ctx;
	char text[IPC_WHY];

	if (err != 0) {
		(void)snprintf(text, sizeof(text), "no lease: %s", why);
		hold_forget(hold);
		lease_fail(op, err, text);
		return;
	}
	if (op->use == HOLD_EXEC) {
		exec_connect(op, hold);
		return;
	}
	ipc_reply(op->call, json_binding(hold));
	lease_op_free(op);
}

/* What `up` has there; 0: nothing is up. */
static enum rsip_tunnel gw_tunnel(const struct gw *gw)
{
	for (const struct hold *hold = gw->host->holds; hold != NULL; hold = hold->next)
		if (hold->gw == gw && hold->use == HOLD_UP && hold_grant(hold) != NULL)
			return hold_grant(hold)->tunnel;
	return 0;
}

static void on_lease_registered(struct gw_wait *wait, int err, const char *why)
{
	struct lease_op *op =
		(struct lease_op *)(void *)((char *)wait -
					    offsetof(struct lease_op, wait));
	enum rsip_kind kind = op->kind;
	struct rsip_want want;
	struct hold *hold;

	if (err != 0) {
		lease_fail(op, err, why);
		return;
	}
	if (kind == 0)
		kind = ask_kind(&op->ask, rsip_session_registration(op->gw->session));
	want = ask_want(&op->ask, kind, op->ask.conf.ports);
	/* What joins the interface of `up` must come by its tunnel. */
	if (want.n_tunnels == 0 && op->use == HOLD_LEASE) {
		want.tunnels[0] = gw_tunnel(op->gw);
		want.n_tunnels = want.tunnels[0] != 0;
	}
	hold = hold_new(op->gw, op->use, &want);
	if (hold == NULL)
		lease_fail(op, ERR_REFUSED, "too many leases for one host");
	else
		hold_ask(hold, on_leased, op);
}

static void on_lease_gateway(void *ctx, struct gw *gw, int err, const char *why)
{
	struct lease_op *op = ctx;

	if (err != 0) {
		ipc_error_code(op->call, err, why);
		lease_op_free(op);
		return;
	}
	op->gw = gw;
	op->wait.done = on_lease_registered;
	gw_wait(gw, &op->wait);
}

static void lease_start(struct host *h, struct ipc_call *call, json_t *params,
	enum rsip_kind kind, enum hold_use use)
{
	struct lease_op *op = calloc(1, sizeof(*op));
	char why[IPC_WHY];
	int err = op != NULL ? ask_parse(h, params, &op->ask, why, sizeof(why)) : -ENOMEM;

	if (err == 0 && op->ask.conf.ports > 255) {
		(void)snprintf(why, sizeof(why),
			"one lease holds at most 255 ports; ask several times");
		err = ERR_CONFIG;
	}
	if (err != 0) {
		ipc_error_code(call, err, op != NULL ? why : err_text(err));
		h->idle = true;
		if (op != NULL)
			lease_op_free(op);
		return;
	}
	/* A listener is one port unless said otherwise, as is a port with a name. */
	if ((kind == RSIP_LISTEN || op->ask.port != 0) &&
		json_object_get(params, "ports") == NULL)
		op->ask.conf.ports = 1;
	if (op->ask.n_spi == 1 && json_object_get(params, "spis") == NULL)
		op->ask.conf.spis = 1;
	if (op->ask.for_ike)
		op->ask.peer.data = op->ask.peer_data; /* it moved with the struct */
	op->call = call;
	op->kind = kind == RSIP_LISTEN && op->ask.for_ike ? RSIP_LISTEN_IKE : kind;
	op->use = use;
	op->pid = (int)json_integer_value(json_object_get(params, "pid"));
	op->watch = (int)json_integer_value(json_object_get(params, "watch"));
	discover(h, &op->ask, on_lease_gateway, op);
}

static void on_lease(void *ctx, struct ipc_call *call, json_t *params)
{
	lease_start(ctx, call, params, 0, HOLD_LEASE);
}

static void on_listen(void *ctx, struct ipc_call *call, json_t *params)
{
	lease_start(ctx, call, params, RSIP_LISTEN, HOLD_LEASE);
}

static void on_exec_start(void *ctx, struct ipc_call *call, json_t *params)
{
	lease_start(ctx, call, params, 0, HOLD_EXEC);
}

/* --- free, extend ---------------------------------------------------------------------
 */

static void on_freed(struct hold *hold, int err, const char *why)
{
	struct ipc_call *call = hold->done_ctx;

	if (err != 0)
		ipc_error_code(call, err, why);
	else
		ipc_reply(call, json_object());
	if (hold->use == HOLD_EXEC)
		hold->gw->host->idle = true;
}

static struct hold *hold_named(struct host *h, struct ipc_call *call, json_t *params)
{
	json_int_t id = json_integer_value(json_object_get(params, "bind_id"));
	struct hold *hold =
		id > 0 && id <= UINT32_MAX ? hold_find(h, (uint32_t)id) : NULL;

	if (hold == NULL || hold->freeing || hold->done != NULL) {
		ipc_error(call, IPC_NOT_FOUND,
			"no binding %" JSON_INTEGER_FORMAT
			" is held here; rsip status lists them",
			id);
		return NULL;
	}
	return hold;
}

static void on_free(void *ctx, struct ipc_call *call, json_t *params)
{
	struct hold *hold = hold_named(ctx, call, params);

	if (hold != NULL)
		hold_give(hold, on_freed, call);
}

static void on_exec_end(void *ctx, struct ipc_call *call, json_t *params)
{
	json_int_t id = json_integer_value(json_object_get(params, "exec"));
	struct exec *exec =
		id > 0 && id <= UINT32_MAX ? exec_find(ctx, (uint32_t)id) : NULL;

	if (exec == NULL)
		ipc_error(call, IPC_NOT_FOUND, "there is no such namespace any more");
	else if (exec->hold == NULL)
		exec_end(exec, NULL, NULL), ipc_reply(call, NULL);
	else
		exec_end(exec, on_freed, call);
}

struct extend_op {
	struct req req;
	struct ipc_call *call;
	struct host *host;
};

static void on_extended(struct req *req, const struct rsip_event *ev)
{
	struct extend_op *op = (struct extend_op *)(void *)req;
	struct hold *hold = ev->type == RSIP_EVENT_EXTENDED
				    ? hold_find(op->host, ev->grant->bind_id)
				    : NULL;
	char why[IPC_WHY];

	if (hold != NULL) {
		ipc_reply(op->call, json_binding(hold));
	} else {
		hold_why(ev, why, sizeof(why));
		ipc_error(op->call, IPC_REFUSED, "not extended: %s", why);
	}
	free(op);
}

static void on_extend(void *ctx, struct ipc_call *call, json_t *params)
{
	struct hold *hold = hold_named(ctx, call, params);
	json_int_t seconds = json_integer_value(json_object_get(params, "seconds"));
	struct extend_op *op;
	int result;

	if (hold == NULL)
		return;
	op = calloc(1, sizeof(*op));
	if (op == NULL || seconds < 0 || seconds > UINT32_MAX) {
		free(op);
		ipc_error(call, IPC_INVALID_PARAMETER, "seconds out of range");
		return;
	}
	op->req.done = on_extended;
	op->call = call;
	op->host = ctx;
	gw_link(hold->gw, &op->req);
	result = gw_settle(hold->gw, &op->req,
		rsip_extend(hold->gw->session, hold->bind_id, (uint32_t)seconds, &op->req,
			host_now_us()));
	if (result == 0)
		return;
	free(op);
	ipc_error(call, IPC_REFUSED, "%s", rsip_result_text(result));
}

/* --- query ----------------------------------------------------------------------------
 */

struct query_op {
	struct req req;
	struct ipc_call *call;
	struct gw *gw;
	struct gw_wait wait;
	struct rsip_net items[RSIP_QUERY_MAX];
	bool answered[RSIP_QUERY_MAX];
	size_t n;
};

static json_t *answer_json(const struct rsip_net *net, bool local)
{
	struct prefix4 p = { net->address, net->network ? net->prefix : 32 };
	char text[PREFIX_TEXT_MAX];

	if (net->network)
		(void)prefix_format(&p, text);
	else
		(void)addr_format(net->address, text);
	return json_pack(
		"{s:s, s:b}", net->network ? "network" : "address", text, "local", local);
}

static bool net_equal(const struct rsip_net *a, const struct rsip_net *b)
{
	return a->network == b->network && a->address == b->address &&
	       (!a->network || a->prefix == b->prefix);
}

static void on_answer(struct req *req, const struct rsip_event *ev)
{
	struct query_op *op = (struct query_op *)(void *)req;
	struct rsip_answer answer;
	json_t *list;
	size_t at = 0;
	char why[IPC_WHY];

	if (ev->type != RSIP_EVENT_ANSWER) {
		hold_why(ev, why, sizeof(why));
		ipc_error(op->call, IPC_REFUSED, "no answer: %s", why);
		free(op);
		return;
	}
	list = json_array();
	while (rsip_answer_next(ev, &at, &answer)) {
		for (size_t i = 0; i < op->n; i++)
			if (net_equal(&op->items[i], &answer.net))
				op->answered[i] = true;
		(void)json_array_append_new(list, answer_json(&answer.net, answer.local));
	}
	/* What the gateway left out is remote (P-9.15-04). */
	for (size_t i = 0; i < op->n; i++)
		if (!op->answered[i])
			(void)json_array_append_new(
				list, answer_json(&op->items[i], false));
	ipc_reply(op->call, json_pack("{s:o}", "answers", list));
	free(op);
}

static void on_query_registered(struct gw_wait *wait, int err, const char *why)
{
	struct query_op *op =
		(struct query_op *)(void *)((char *)wait -
					    offsetof(struct query_op, wait));
	int result;

	if (err != 0) {
		ipc_error_code(op->call, err, why);
		op->gw->host->idle = true;
		free(op);
		return;
	}
	op->req.done = on_answer;
	gw_link(op->gw, &op->req);
	result = gw_settle(op->gw, &op->req,
		rsip_query(op->gw->session, op->items, op->n, &op->req, host_now_us()));
	if (result == 0)
		return;
	ipc_error(op->call, IPC_REFUSED, "%s", rsip_result_text(result));
	free(op);
}

static int query_items(struct query_op *op, const json_t *params, char *why, size_t size)
{
	const json_t *items = json_object_get(params, "items");
	json_t *item;
	size_t i;

	if (json_array_size(items) > RSIP_QUERY_MAX) {
		(void)snprintf(why, size, "at most %d at once", RSIP_QUERY_MAX);
		return ERR_CONFIG;
	}
	json_array_foreach(items, i, item)
	{
		const char *text = json_string_value(item);
		struct prefix4 p;

		if (text == NULL || prefix_parse(text, &p) != 0) {
			(void)snprintf(why, size,
				"\"%s\" is neither an address nor a network A.B.C.D/LEN",
				text != NULL ? text : "");
			return ERR_CONFIG;
		}
		op->items[op->n++] = (struct rsip_net){
			.address = p.addr,
			.prefix = p.len,
			.network = strchr(text, '/') != NULL,
		};
	}
	return 0;
}

static void on_query_gateway(void *ctx, struct gw *gw, int err, const char *why)
{
	struct query_op *op = ctx;

	if (err != 0) {
		ipc_error_code(op->call, err, why);
		free(op);
		return;
	}
	op->gw = gw;
	op->wait.done = on_query_registered;
	gw_wait(gw, &op->wait);
}

static void on_query(void *ctx, struct ipc_call *call, json_t *params)
{
	struct host *h = ctx;
	struct query_op *op = calloc(1, sizeof(*op));
	struct ask ask = { 0 };
	char why[IPC_WHY];
	int err = op != NULL ? ask_parse(h, params, &ask, why, sizeof(why)) : -ENOMEM;

	if (err == 0)
		err = query_items(op, params, why, sizeof(why));
	if (err == 0) {
		op->call = call;
		discover(h, &ask, on_query_gateway, op);
	} else {
		ipc_error_code(call, err, op != NULL ? why : err_text(err));
		h->idle = true;
		free(op);
	}
	ask_fini(&ask);
}

/* --- ports of an IKE daemon -----------------------------------------------------------
 */

/* They are drawn for nobody else from now on. */
static void on_reserve(void *ctx, struct ipc_call *call, json_t *params)
{
	struct host *h = ctx;
	const json_t *ports = json_object_get(params, "ports");
	const char *file = json_string_value(json_object_get(params, "file"));
	const char *socket = json_string_value(json_object_get(params, "socket"));
	char why[IPC_WHY];

	for (size_t i = 0; i < 2; i++) {
		json_int_t port = json_integer_value(json_array_get(ports, i));

		h->ike[i] = port > 0 && port <= UINT16_MAX
				    ? (struct range){ (uint32_t)port, (uint32_t)port }
				    : (struct range){ 0, 0 };
	}
	if (file != NULL && socket != NULL && charon_keep(h, file, socket) != 0)
		log_warn("charon's drop-in is not kept in step", "file=%s", file);
	if (net_sync(h, why, sizeof(why)) != 0)
		ipc_error(call, IPC_REFUSED, "%s", why);
	else
		ipc_reply(call, NULL);
}

const struct ipc_method control_methods[] = {
	{ "org.rsipsec.host.Up", ops_up },
	{ "org.rsipsec.host.Down", ops_down },
	{ "org.rsipsec.host.Status", on_status },
	{ "org.rsipsec.host.Lease", on_lease },
	{ "org.rsipsec.host.Listen", on_listen },
	{ "org.rsipsec.host.Extend", on_extend },
	{ "org.rsipsec.host.Free", on_free },
	{ "org.rsipsec.host.Query", on_query },
	{ "org.rsipsec.host.ExecStart", on_exec_start },
	{ "org.rsipsec.host.ExecEnd", on_exec_end },
	{ "org.rsipsec.host.Reserve", on_reserve },
	{ NULL, NULL },
};
