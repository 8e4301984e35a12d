/*
 * Publishing follows the leases: what should stand in the DNS is computed each turn, what
 * stands there is remembered, and while the two differ an update is on its way.
 *
 * The whole name goes with the lease: without its port the address alone would send peers
 * to somebody else's port 500.
 */
#include "host/publish.h"

#include "base/err.h"
#include "base/log.h"
#include "host/host.h"
#include "ike/strongswan.h"
#include "kx/publish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TTL_S        30
#define AGAIN_MS     5000
#define AGAIN_MAX_MS 60000
#define WITHDRAW_MS  3000

/* What the name is, or should be. */
struct place {
	bool present, whole; /* whole: the address is ours alone, PTR too */
	uint32_t addr;
	uint16_t port; /* 0: 500 */
};

struct publish {
	struct host_publish conf;
	struct kx_publish_job job;
	struct place is, to; /* to: under way */
	bool unsure;         /* an update was sent and not answered */
	struct kx_publisher *busy;
	uint64_t again_ms;
	uint32_t pause_ms;
	bool leaving;
	void (*gone)(struct host *h);
	void (*first)(void *ctx);
	void *first_ctx;
	char why[256]; /* of the last failure; "" none */
	uv_timer_t timer;
};

static int conf_apply(struct publish *p, char *why, size_t why_size)
{
	const struct host_publish *c = &p->conf;
	struct kx_publish *what = &p->job.what;

	if (kx_name_parse(c->name, &what->name) != 0) {
		(void)snprintf(why, why_size, "publish \"%s\" is no name", c->name);
		return ERR_CONFIG;
	}
	if (endpoint_parse(c->server, 53, &p->job.server, &p->job.port) != 0 ||
		c->key[0] == 0) {
		(void)snprintf(why, why_size,
			"publish needs publish-server ADDRESS[:PORT] and publish-key "
			"FILE");
		return ERR_CONFIG;
	}
	if (c->ipseckey[0] != 0 && kx_rdata_parse(KX_T_IPSECKEY, c->ipseckey, what->key,
					   sizeof(what->key), &what->key_len) != 0) {
		(void)snprintf(why, why_size,
			"publish-ipseckey \"%s\" is not \"10 0 ALGORITHM . BASE64\"",
			c->ipseckey);
		return ERR_CONFIG;
	}
	what->ttl_s = TTL_S;
	return kx_tsig_load(&p->job.key, c->key, why, why_size);
}

static void on_again(uv_timer_t *timer)
{
	publish_check(timer->data);
}

static struct publish *publish_new(struct host *h, const struct host_publish *conf)
{
	struct publish *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->conf = *conf;
	(void)uv_timer_init(h->loop, &p->timer);
	p->timer.data = h;
	return p;
}

static void on_closed(uv_handle_t *handle)
{
	free((char *)handle - offsetof(struct publish, timer));
}

void publish_free(struct host *h)
{
	struct publish *p = h->publish;

	if (p == NULL)
		return;
	h->publish = NULL;
	kx_publish_free(p->busy);
	uv_close((uv_handle_t *)&p->timer, on_closed);
}

int publish_start(
	struct host *h, const struct host_publish *conf, char *why, size_t why_size)
{
	struct publish *p;
	int err;

	if (conf->name[0] == 0)
		return 0;
	p = publish_new(h, conf);
	if (p == NULL) {
		(void)snprintf(why, why_size, "%s", err_text(-ENOMEM));
		return -ENOMEM;
	}
	err = conf_apply(p, why, why_size);
	if (err != 0) {
		uv_close((uv_handle_t *)&p->timer, on_closed);
		return err;
	}
	publish_free(h);
	h->publish = p;
	return 0;
}

/* --- what should be -------------------------------------------------------------------
 */

/* The port where peers reach IKE: that behind which ESP may follow in UDP. */
static uint16_t ike_port(const struct rsip_grant *g)
{
	struct range ports[16];
	uint16_t port, nat_t;
	size_t n = 0;

	for (; n < g->n_ports && n < sizeof(ports) / sizeof(ports[0]); n++)
		ports[n] = (struct range){ g->ports[n].lo, g->ports[n].hi };
	if (n == 0)
		return 0;
	strongswan_ports(ports, n, &port, &nat_t);
	return nat_t != 0 ? nat_t : port;
}

static struct place wanted(const struct host *h)
{
	struct place to = { 0 };

	if (h->publish->leaving)
		return to;
	for (const struct hold *hold = h->holds; hold != NULL; hold = hold->next) {
		const struct rsip_grant *g = hold_grant(hold);

		if (hold->use != HOLD_UP || !hold->gw->up || hold->freeing || g == NULL)
			continue;
		/* The first one of `up` has the ports that IKE is told of. */
		to.present = true;
		to.addr = g->address;
		to.whole = g->kind == RSIP_RSA_IP;
		to.port = to.whole ? 0 : ike_port(g);
		break;
	}
	return to;
}

static bool is_same(const struct place *a, const struct place *b)
{
	if (!a->present || !b->present)
		return a->present == b->present;
	return a->addr == b->addr && a->port == b->port && a->whole == b->whole;
}

/* --- making it so ---------------------------------------------------------------------
 */

static void tell(struct host *h)
{
	struct publish *p = h->publish;
	void (*first)(void *) = p->first;

	p->first = NULL;
	if (first != NULL)
		first(p->first_ctx);
}

static void gone(struct host *h)
{
	struct publish *p = h->publish;
	void (*done)(struct host *) = p->gone;

	p->gone = NULL;
	if (done == NULL)
		return;
	publish_free(h);
	done(h);
}

static void on_published(void *ctx, const char *why)
{
	struct host *h = ctx;
	struct publish *p = h->publish;

	p->busy = NULL;
	host_changed(h);
	if (why == NULL) {
		p->is = p->to;
		p->unsure = false;
		p->why[0] = 0;
		p->pause_ms = 0;
		p->again_ms = 0;
		log_info(p->is.present ? "name published" : "name withdrawn", "name=%s",
			p->conf.name);
		if (!p->is.present)
			gone(h);
		if (h->publish != NULL)
			tell(h);
		return;
	}
	(void)snprintf(p->why, sizeof(p->why), "%s", why);
	log_warn(p->leaving ? "name not withdrawn" : "name not published",
		"name=%s reason=\"%s\"", p->conf.name, why);
	if (p->leaving) {
		gone(h);
		return;
	}
	p->pause_ms = p->pause_ms == 0 ? AGAIN_MS : 2 * p->pause_ms;
	p->pause_ms = p->pause_ms < AGAIN_MAX_MS ? p->pause_ms : AGAIN_MAX_MS;
	p->again_ms = uv_now(h->loop) + p->pause_ms;
	(void)uv_timer_start(&p->timer, on_again, p->pause_ms, 0);
	tell(h);
}

void publish_check(struct host *h)
{
	struct publish *p = h->publish;
	struct place to;

	if (p == NULL || p->busy != NULL || p->again_ms > uv_now(h->loop))
		return;
	to = wanted(h);
	if (is_same(&to, &p->is) && !p->unsure)
		return;
	/* A whole address that we leave had a PTR; where we go it may have none. */
	p->job.ptr = to.present ? to.whole : p->is.whole;
	p->job.what.present = to.present;
	p->job.what.addr = to.present ? to.addr : p->is.addr;
	p->job.what.port = to.port;
	p->to = to;
	p->unsure = true; /* from now on it may stand there */
	p->is.whole |= to.whole;
	p->is.addr = p->job.what.addr;
	if (kx_publish_new(h->loop, &p->job, on_published, h, &p->busy) != 0)
		on_published(h, "no socket");
	host_changed(h);
}

static void on_late(uv_timer_t *timer)
{
	struct host *h = timer->data;

	log_warn("name not withdrawn, the name server does not answer", "name=%s",
		h->publish->conf.name);
	gone(h);
}

bool publish_withdraw(struct host *h, void (*done)(struct host *h))
{
	struct publish *p = h->publish;

	if (p == NULL)
		return false;
	if (!p->is.present && !p->unsure) {
		publish_free(h);
		return false;
	}
	tell(h);
	p->leaving = true;
	p->gone = done;
	p->again_ms = 0;
	kx_publish_free(p->busy);
	p->busy = NULL;
	(void)uv_timer_start(&p->timer, on_late, WITHDRAW_MS, 0);
	publish_check(h);
	return true;
}

bool publish_wait(struct host *h, void (*done)(void *ctx), void *ctx)
{
	struct publish *p = h->publish;

	if (p == NULL)
		return false;
	publish_check(h);
	if (p->busy == NULL)
		return false;
	p->first = done;
	p->first_ctx = ctx;
	return true;
}

bool publish_is_busy(const struct host *h)
{
	return h->publish != NULL &&
	       (h->publish->is.present || h->publish->unsure || h->publish->busy != NULL);
}

/* --- what is said and kept ------------------------------------------------------------
 */

json_t *publish_json(const struct host *h)
{
	const struct publish *p = h->publish;

	if (p == NULL)
		return json_null();
	return json_pack("{s:s, s:s, s:o}", "name", p->conf.name, "state",
		p->why[0] != 0    ? "failed"
		: p->busy != NULL ? "pending"
		: p->is.present   ? "published"
				  : "withdrawn",
		"why", p->why[0] != 0 ? json_string(p->why) : json_null());
}

json_t *publish_state(const struct host *h)
{
	const struct publish *p = h->publish;

	if (p == NULL)
		return json_null();
	return json_pack("{s:[s, s, s, s], s:b, s:b, s:b, s:I, s:i}", "conf",
		p->conf.name, p->conf.server, p->conf.key, p->conf.ipseckey, "present",
		p->is.present, "unsure", p->unsure, "whole", p->is.whole, "address",
		(json_int_t)p->is.addr, "port", (int)p->is.port);
}

void publish_load(struct host *h, const json_t *state)
{
	const json_t *list = json_object_get(state, "conf");
	struct host_publish conf = { 0 };
	struct {
		char *to;
		size_t size;
	} into[] = { { conf.name, sizeof(conf.name) },
		{ conf.server, sizeof(conf.server) }, { conf.key, sizeof(conf.key) },
		{ conf.ipseckey, sizeof(conf.ipseckey) } };
	char why[512];

	for (size_t i = 0; i < sizeof(into) / sizeof(into[0]); i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (text != NULL)
			(void)snprintf(into[i].to, into[i].size, "%s", text);
	}
	if (conf.name[0] == 0)
		return;
	if (publish_start(h, &conf, why, sizeof(why)) != 0) {
		log_error("a published name cannot be taken back",
			"name=%s reason=\"%s\"", conf.name, why);
		return;
	}
	h->publish->is = (struct place){
		.present = json_is_true(json_object_get(state, "present")),
		.whole = json_is_true(json_object_get(state, "whole")),
		.addr = (uint32_t)json_integer_value(json_object_get(state, "address")),
		.port = (uint16_t)json_integer_value(json_object_get(state, "port")),
	};
	h->publish->unsure = json_is_true(json_object_get(state, "unsure"));
}
