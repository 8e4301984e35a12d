/* The gateway's service agent; see agent.h. */
#include "slp/agent.h"

#include "base/addr.h"
#include "slp/text.h"

#include <stdio.h>
#include <string.h>

#define SERVICE       "service:rsip"
#define SERVICE_SA    "service:service-agent"
#define SERVICE_DA    "service:directory-agent"
#define DEFAULT_PORT  4555
#define RETRY_MS      2000 /* doubled (RFC 2608 13: CONFIG_RETRY) */
#define RETRY_MAX_MS  15000
#define LOOK_TRIES    3
#define LOOK_MS       900000 /* CONFIG_DA_FIND */
#define LOAD_STEP     5
#define LOAD_MS       60000
#define ANSWERS_PER_S 50
#define ANSWERS_BURST 200
#define URL_TEXT      48
#define ADVERT_TEXT   64

/* --- sending --------------------------------------------------------------------------
 */

static void send_msg(
	struct slp_agent *a, uint32_t to, uint16_t port, const struct slp_msg *m)
{
	uint8_t buf[SLP_DATAGRAM];
	size_t len = slp_encode(m, buf, sizeof(buf));

	if (len > 0)
		a->conf.send(a->conf.ctx, to, port, buf, len);
}

static struct slp_text url_of(
	const struct slp_agent *a, uint32_t address, char buf[static URL_TEXT])
{
	char addr[ADDR_TEXT_MAX], port[8] = "";

	if (a->conf.port != DEFAULT_PORT)
		(void)snprintf(port, sizeof(port), ":%u", a->conf.port);
	(void)snprintf(
		buf, URL_TEXT, SERVICE "://%s%s", addr_format(address, addr), port);
	return slp_text(buf);
}

static uint16_t next_xid(struct slp_agent *a)
{
	return ++a->xid != 0 ? a->xid : ++a->xid;
}

/* --- directory agents -----------------------------------------------------------------
 */

static void da_register(struct slp_agent *a, struct slp_da *da, uint64_t now_ms)
{
	char url[URL_TEXT];
	struct slp_msg m = {
		.function = SLP_SRV_REG,
		.flags = SLP_FRESH,
		.type = slp_text(SERVICE),
		.scopes = slp_text(a->conf.scopes),
		.attributes = slp_text(a->attributes),
		.n_urls = 1,
	};

	if (da->wait_ms == 0) {
		da->xid = next_xid(a);
		da->wait_ms = RETRY_MS;
		da->waited_ms = 0;
	}
	m.xid = da->xid;
	m.urls[0] =
		(struct slp_url){ a->conf.lifetime_s, url_of(a, a->conf.address, url) };
	da->load = a->load;
	da->due_ms = now_ms + da->wait_ms;
	a->told_ms = now_ms;
	send_msg(a, da->addr, SLP_PORT, &m);
}

static struct slp_da *da_find(struct slp_agent *a, uint32_t addr)
{
	for (size_t i = 0; i < a->n_das; i++)
		if (a->das[i].addr == addr)
			return &a->das[i];
	return NULL;
}

static struct slp_da *da_add(struct slp_agent *a, uint32_t addr, bool configured)
{
	struct slp_da *da = da_find(a, addr);

	if (da == NULL && a->n_das < SLP_AGENT_DAS) {
		da = &a->das[a->n_das++];
		*da = (struct slp_da){ .addr = addr, .configured = configured };
	}
	return da;
}

static void da_drop(struct slp_agent *a, struct slp_da *da, uint64_t now_ms)
{
	a->counters.unregistered++;
	if (da->configured) {
		da->registered = false;
		da->wait_ms = 0;
		da->due_ms = now_ms + LOOK_MS;
		return;
	}
	*da = a->das[--a->n_das];
}

static void look(struct slp_agent *a, uint64_t now_ms)
{
	const struct slp_msg m = {
		.function = SLP_SRV_RQST,
		.flags = SLP_MULTICAST,
		.xid = next_xid(a),
		.type = slp_text(SERVICE_DA),
		.scopes = slp_text(a->conf.scopes),
	};

	send_msg(a, SLP_GROUP, SLP_PORT, &m);
	a->looked++;
	a->look_ms = now_ms +
		     (a->looked < LOOK_TRIES ? (uint64_t)RETRY_MS << a->looked : LOOK_MS);
	if (a->looked >= LOOK_TRIES)
		a->looked = 0;
}

static void on_da_advert(
	struct slp_agent *a, uint32_t from, const struct slp_msg *m, uint64_t now_ms)
{
	struct slp_da *da = da_find(a, from);
	bool anew;

	if (m->error != SLP_OK || !slp_lists_meet(m->scopes, slp_text(a->conf.scopes))) {
		a->counters.not_for_us++;
		return;
	}
	if (m->boot == 0) {
		if (da != NULL)
			da_drop(a, da, now_ms);
		return;
	}
	da = da_add(a, from, false);
	if (da == NULL)
		return; /* we know as many as we want to */
	/* One that has started anew knows nobody. */
	anew = da->boot != m->boot;
	da->boot = m->boot;
	if (anew && da->wait_ms == 0)
		da_register(a, da, now_ms);
}

static void on_ack(
	struct slp_agent *a, uint32_t from, const struct slp_msg *m, uint64_t now_ms)
{
	struct slp_da *da = da_find(a, from);

	if (da == NULL || da->wait_ms == 0 || m->xid != da->xid) {
		a->counters.not_for_us++;
		return;
	}
	if (m->error != SLP_OK) {
		da_drop(a, da, now_ms);
		return;
	}
	a->counters.registered++;
	da->registered = true;
	da->wait_ms = 0;
	da->due_ms = now_ms + a->conf.lifetime_s * 500ULL; /* at half of it */
}

/* --- answers --------------------------------------------------------------------------
 */

/* Does the request concern us?  Else what an answer by unicast says. */
static uint16_t scope_error(const struct slp_agent *a, const struct slp_msg *m)
{
	/* Whoever looks for agents may leave its scopes open. */
	if (m->scopes.len == 0 && !slp_same(m->type, slp_text(SERVICE)))
		return SLP_OK;
	return slp_lists_meet(m->scopes, slp_text(a->conf.scopes))
		       ? SLP_OK
		       : SLP_SCOPE_NOT_SUPPORTED;
}

static bool answer_services(struct slp_agent *a, const struct slp_msg *m, uint32_t local,
	struct slp_msg *out, char url[static URL_TEXT])
{
	bool holds = false;

	out->function = SLP_SRV_RPLY;
	out->error = scope_error(a, m);
	if (out->error == SLP_OK &&
		slp_predicate(m->predicate, slp_text(a->attributes), &holds) != 0)
		out->error = SLP_PARSE_ERROR;
	if (out->error != SLP_OK || !holds)
		return false;
	out->n_urls = 1;
	out->urls[0] = (struct slp_url){ a->conf.lifetime_s, url_of(a, local, url) };
	return true;
}

static bool answer_agent(struct slp_agent *a, const struct slp_msg *m, uint32_t local,
	struct slp_msg *out, char url[static ADVERT_TEXT])
{
	char addr[ADDR_TEXT_MAX];

	out->function = SLP_SA_ADVERT;
	(void)snprintf(url, ADVERT_TEXT, SERVICE_SA "://%s", addr_format(local, addr));
	out->url = slp_text(url);
	out->scopes = slp_text(a->conf.scopes);
	return scope_error(a, m) == SLP_OK;
}

static bool answer_attributes(struct slp_agent *a, const struct slp_msg *m,
	uint32_t local, struct slp_msg *out, char text[static SLP_AGENT_TEXT])
{
	char url[URL_TEXT];

	out->function = SLP_ATTR_RPLY;
	out->error = scope_error(a, m);
	if (out->error != SLP_OK)
		return false;
	if (!slp_same(m->url, slp_text(SERVICE)) &&
		!slp_same(m->url, url_of(a, local, url)) &&
		!slp_same(m->url, url_of(a, a->conf.address, url)))
		return false;
	out->attributes.len = slp_attributes_pick(
		slp_text(a->attributes), m->tags, text, SLP_AGENT_TEXT);
	out->attributes.at = text;
	return true;
}

/* Fills in the answer; false: by multicast there is none. */
static bool answer(struct slp_agent *a, const struct slp_msg *m, uint32_t local,
	struct slp_msg *out, char text[static SLP_AGENT_TEXT])
{
	switch (m->function) {
	case SLP_SRV_RQST:
		if (slp_same(m->type, slp_text(SERVICE_SA)))
			return answer_agent(a, m, local, out, text);
		if (slp_same(m->type, slp_text(SERVICE)))
			return answer_services(a, m, local, out, text);
		out->function = SLP_SRV_RPLY;
		return false;
	case SLP_ATTR_RQST:
		return answer_attributes(a, m, local, out, text);
	default: /* SLP_TYPE_RQST */
		out->function = SLP_TYPE_RPLY;
		out->error = scope_error(a, m);
		if (out->error == SLP_OK)
			out->type = slp_text(SERVICE);
		return out->error == SLP_OK;
	}
}

static void on_request(struct slp_agent *a, uint32_t from, uint16_t from_port,
	uint32_t local, const struct slp_msg *m, uint64_t now_ms)
{
	struct slp_msg out = { .xid = m->xid, .language = m->language };
	char text[SLP_AGENT_TEXT], ours[ADDR_TEXT_MAX];

	if (slp_list_has(m->responders, slp_text(addr_format(local, ours)))) {
		a->counters.not_for_us++;
		return;
	}
	if (!limit_take(&a->answers, ANSWERS_PER_S, ANSWERS_BURST, now_ms)) {
		a->counters.limited++;
		return;
	}
	/* An answer to many is one that helps (RFC 2608 6.3). */
	if (!answer(a, m, local, &out, text) && (m->flags & SLP_MULTICAST) != 0) {
		a->counters.not_for_us++;
		return;
	}
	a->counters.answered++;
	send_msg(a, from, from_port, &out);
}

void slp_agent_input(struct slp_agent *a, uint32_t from, uint16_t from_port,
	uint32_t local, const uint8_t *bytes, size_t len, uint64_t now_ms)
{
	struct slp_msg m;

	a->counters.received++;
	if (slp_decode(bytes, len, &m) != 0) {
		a->counters.malformed++;
		return;
	}
	switch (m.function) {
	case SLP_SRV_RQST:
	case SLP_ATTR_RQST:
	case SLP_TYPE_RQST:
		on_request(a, from, from_port, local, &m, now_ms);
		break;
	case SLP_DA_ADVERT:
		on_da_advert(a, from, &m, now_ms);
		break;
	case SLP_SRV_ACK:
		on_ack(a, from, &m, now_ms);
		break;
	default:
		a->counters.not_for_us++;
		break;
	}
}

/* --- time -----------------------------------------------------------------------------
 */

void slp_agent_init(
	struct slp_agent *a, const struct slp_agent_conf *conf, uint64_t now_ms)
{
	*a = (struct slp_agent){ .conf = *conf, .look_ms = now_ms };
	for (size_t i = 0; i < conf->n_das; i++) {
		struct slp_da *da = da_add(a, conf->das[i], true);

		if (da != NULL)
			da->due_ms = now_ms;
	}
}

static bool load_moved(const struct slp_agent *a, const struct slp_da *da)
{
	int by = a->load - da->load;

	return da->registered && da->wait_ms == 0 &&
	       (by >= LOAD_STEP || by <= -LOAD_STEP);
}

void slp_agent_update(
	struct slp_agent *a, const char *attributes, int load, uint64_t now_ms)
{
	(void)snprintf(
		a->attributes, sizeof(a->attributes), "%s,(load=%d)", attributes, load);
	a->load = load;
	if (now_ms - a->told_ms < LOAD_MS)
		return;
	for (size_t i = 0; i < a->n_das; i++)
		if (load_moved(a, &a->das[i]))
			da_register(a, &a->das[i], now_ms);
}

/* False when it is gone, and another one stands in its place. */
static bool da_tick(struct slp_agent *a, struct slp_da *da, uint64_t now_ms)
{
	if (now_ms < da->due_ms)
		return true;
	if (da->wait_ms > 0) {
		da->waited_ms += da->wait_ms;
		da->wait_ms *= 2;
		if (da->waited_ms >= RETRY_MAX_MS) {
			bool stays = da->configured;

			da_drop(a, da, now_ms);
			return stays;
		}
	}
	da_register(a, da, now_ms);
	return true;
}

void slp_agent_tick(struct slp_agent *a, uint64_t now_ms)
{
	if (now_ms >= a->look_ms)
		look(a, now_ms);
	for (size_t i = 0; i < a->n_das;)
		if (da_tick(a, &a->das[i], now_ms))
			i++;
}

uint64_t slp_agent_deadline(const struct slp_agent *a)
{
	uint64_t due = a->look_ms;

	for (size_t i = 0; i < a->n_das; i++)
		if (a->das[i].due_ms < due)
			due = a->das[i].due_ms;
	return due;
}

void slp_agent_end(struct slp_agent *a)
{
	for (size_t i = 0; i < a->n_das; i++) {
		char url[URL_TEXT];
		struct slp_msg m = {
			.function = SLP_SRV_DEREG,
			.xid = next_xid(a),
			.scopes = slp_text(a->conf.scopes),
			.n_urls = 1,
		};

		if (!a->das[i].registered)
			continue;
		m.urls[0].url = url_of(a, a->conf.address, url);
		send_msg(a, a->das[i].addr, SLP_PORT, &m);
	}
}
