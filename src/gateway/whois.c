/* The question of RFC 6269 section 12 to the leases that are held and that were. */
#include "gateway/whois.h"

#include "base/err.h"
#include "base/rfc3339.h"
#include "gateway/control.h"

#include <errno.h>

/* --- the question ---------------------------------------------------------------------
 */

static bool read_number(struct ipc_call *call, const json_t *params, const char *name,
	json_int_t max, bool *has, uint32_t *n)
{
	const json_t *value = json_object_get(params, name);

	*has = value != NULL && !json_is_null(value);
	if (!*has)
		return true;
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		json_integer_value(value) > max) {
		ipc_error(call, IPC_INVALID_PARAMETER,
			"%s must be a number from 0 to %" JSON_INTEGER_FORMAT, name, max);
		return false;
	}
	*n = (uint32_t)json_integer_value(value);
	return true;
}

static bool read_at(struct whois *w, struct ipc_call *call, const json_t *params)
{
	const json_t *at = json_object_get(params, "at");
	const char *text = json_string_value(at);

	w->has_at = at != NULL && !json_is_null(at);
	if (!w->has_at)
		return true;
	if (text == NULL || rfc3339_parse(text, &w->question.at_wall_ms) != 0) {
		ipc_error(call, IPC_INVALID_PARAMETER,
			"at must be a time like 2026-11-22T04:00:00Z (RFC 3339)");
		return false;
	}
	if (w->question.at_wall_ms > w->now.wall_ms + 1000) {
		ipc_error(call, IPC_INVALID_PARAMETER,
			"at lies in the future of this gateway's clock");
		return false;
	}
	return true;
}

bool whois_read(
	struct whois *w, struct ipc_call *call, const json_t *params, uint64_t now_ms)
{
	const char *address = json_string_value(json_object_get(params, "address"));

	*w = (struct whois){ .now = audit_time_now(now_ms) };
	if (address == NULL || addr_parse(address, &w->question.address) != 0) {
		ipc_error(call, IPC_INVALID_PARAMETER, "address must be an IPv4 address");
		return false;
	}
	return read_number(call, params, "port", 65535, &w->question.has_port,
		       &w->question.port) &&
	       read_number(call, params, "spi", UINT32_MAX, &w->question.has_spi,
		       &w->question.spi) &&
	       read_at(w, call, params);
}

static uint64_t wall_of(const struct whois *w, uint64_t ms)
{
	return audit_wall(&w->now, ms);
}

bool whois_holds(const struct whois *w, const struct lease *l)
{
	/* A whole address is all its ports and SPIs. */
	bool whole = l->method == METHOD_RSA_IP;

	if (l->address != w->question.address)
		return false;
	if (w->question.has_port && !whole &&
		!ranges_have(l->ports, l->n_ports, w->question.port))
		return false;
	if (w->question.has_spi && !whole &&
		!ranges_have(l->spis, l->n_spis, w->question.spi))
		return false;
	/* Times are given in seconds: the second it began in belongs to it. */
	return !w->has_at ||
	       wall_of(w, l->granted_ms) / 1000 * 1000 <= w->question.at_wall_ms;
}

static json_t *time_json(uint64_t wall_ms)
{
	char text[RFC3339_MAX];

	return json_string(rfc3339_format(wall_ms, text));
}

json_t *whois_json(const struct whois *w, const struct lease *l)
{
	json_t *item = control_lease_json(l, w->now.now_ms);

	if (item == NULL ||
		json_object_set_new(item, "from", time_json(wall_of(w, l->granted_ms))) !=
			0 ||
		json_object_set_new(item, "until", json_null()) != 0) {
		json_decref(item);
		return NULL;
	}
	return item;
}

/* The audit keeps milliseconds, the answer has seconds as for a lease that is held. */
static int time_cut(json_t *record, const char *key)
{
	const char *text = json_string_value(json_object_get(record, key));
	uint64_t wall_ms;

	if (text == NULL || rfc3339_parse(text, &wall_ms) != 0)
		return ERR_CORRUPT;
	return json_object_set_new(record, key, time_json(wall_ms)) == 0 ? 0 : -ENOMEM;
}

json_t *whois_ended_json(json_t *record)
{
	json_t *item = json_copy(record);

	if (item == NULL || time_cut(item, "from") != 0 || time_cut(item, "until") != 0 ||
		json_object_set_new(item, "lease_remaining", json_integer(0)) != 0 ||
		json_object_set_new(item, "state", json_string("held")) != 0) {
		json_decref(item);
		return NULL;
	}
	return item;
}
