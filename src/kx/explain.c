/*
 * One decision with real look-ups and no effect.  It is the same kx_step() that a gateway
 * runs, given one packet; each exchanger that it would try fails here, so that all of
 * them are listed.
 */
#include "kx/explain.h"

#include "base/err.h"
#include "kx/state.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 2048 /* of one record; longer ones are cut */
#define ASKS_MAX 64

struct lookup {
	bool used;
	uint32_t kx_id, id; /* of the decision; of the resolver, which others use too */
	uint16_t type;
	struct kx_name name;
	uint64_t from_us;
};

struct kx_explain {
	uv_loop_t *loop;
	struct kx_resolve *resolve;
	struct kx *kx;
	struct kx_policy *policy;
	kx_explain_done done;
	void *ctx;
	uv_timer_t timer;
	struct lookup lookups[ASKS_MAX];
	json_t *out, *listed, *exchangers;
	enum kx_why why;    /* of the first exchanger, or of the failure */
	uint32_t connected; /* the pair whose exchanger is to fail next; 0: none */
	uint32_t refused[ASKS_MAX]; /* look-ups that the resolver did not take */
	size_t n_refused;
	bool over, freed;
};

/* --- what is said ---------------------------------------------------------------------
 */

static json_t *text_json(const char *text)
{
	return text[0] != 0 ? json_string(text) : json_null();
}

static json_t *name_json(const struct kx_name *name)
{
	char text[KX_NAME_TEXT];

	return name->len != 0 ? json_string(kx_name_format(name, text)) : json_null();
}

static void lookup_write(
	struct kx_explain *e, const struct lookup *l, const struct kx_answer *a)
{
	char type[12], name[KX_NAME_TEXT], text[TEXT_MAX];
	json_t *records = json_array();
	uint64_t us = uv_hrtime() / 1000 - l->from_us;
	bool moved = a->canon.len != 0 && !kx_name_same(&a->canon, &l->name);

	for (size_t i = 0; i < a->n; i++)
		(void)json_array_append_new(
			records, json_string(kx_rdata_format(l->type, a->rdata[i].bytes,
					 a->rdata[i].len, text, sizeof(text))));
	(void)json_array_append_new(e->listed,
		json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:f}", "name",
			kx_name_format(&l->name, name), "type",
			kx_type_text(l->type, type), "status", kx_status_text(a->status),
			"ttl", (json_int_t)a->ttl_s, "records", records, "canonical",
			moved ? name_json(&a->canon) : json_null(), "why",
			text_json(a->why), "ms", (double)us / 1000.0));
}

static const char *algorithm_text(uint8_t algorithm)
{
	static const char *const texts[] = { "none", "DSA", "RSA", "ECDSA", "EdDSA" };

	return algorithm < sizeof(texts) / sizeof(texts[0]) ? texts[algorithm] : "other";
}

static json_t *keys_json(const struct kx_exchanger *x)
{
	json_t *keys = json_array();

	for (size_t i = 0; i < x->n_keys; i++) {
		struct kx_key key = x->keys[i];
		uint8_t rdata[KX_KEY_MAX + 3] = { key.precedence, 0, key.algorithm };
		char text[TEXT_MAX];
		const char *last;

		memcpy(rdata + 3, key.bytes, key.len);
		(void)kx_rdata_format(
			KX_T_IPSECKEY, rdata, key.len + 3UL, text, sizeof(text));
		last = strrchr(text, ' ');
		(void)json_array_append_new(
			keys, json_pack("{s:s, s:s}", "algorithm",
				      algorithm_text(key.algorithm), "key", last + 1));
	}
	return keys;
}

static void exchanger_write(struct kx_explain *e, const struct kx_action *a)
{
	const struct kx_exchanger *x = a->exchanger;
	json_t *addrs = json_array();

	/* Those of the name; where D is its own exchanger they may be more than D. */
	for (size_t i = 0; i < x->n_addrs; i++) {
		char text[KX_ADDR_TEXT];

		(void)json_array_append_new(
			addrs, json_string(kx_addr_format(&x->addrs[i], text)));
	}
	(void)json_array_append_new(
		e->exchangers, json_pack("{s:o, s:o, s:o, s:o}", "name",
				       name_json(&x->name), "addresses", addrs, "port",
				       x->port != 0 ? json_integer(x->port) : json_null(),
				       "keys", keys_json(x)));
}

static const char *status_text(enum kx_why why)
{
	switch (why) {
	case KX_WHY_INSECURE:
		return "insecure";
	case KX_WHY_BOGUS:
		return "bogus";
	case KX_WHY_NONE:
	case KX_WHY_ERROR:
	case KX_WHY_LIMIT:
		return "failed";
	default:
		return "secure"; /* denials too */
	}
}

static const char *decision_text(enum kx_why why)
{
	return why == KX_WHY_EXCHANGER ? "connect"
	       : why == KX_WHY_SELF    ? "direct"
				       : "none";
}

static void finish(struct kx_explain *e)
{
	(void)json_object_set_new(e->out, "status", json_string(status_text(e->why)));
	(void)json_object_set_new(e->out, "decision", json_string(decision_text(e->why)));
	(void)json_object_set_new(e->out, "reason", json_string(kx_why_text(e->why)));
	(void)json_object_set_new(e->out, "text", json_string(kx_why_sentence(e->why)));
}

/* --- one run --------------------------------------------------------------------------
 */

static void step(struct kx_explain *e, struct kx_event *ev);

static void on_looked_up(void *ctx, uint32_t id, const struct kx_answer *answer)
{
	struct kx_explain *e = ctx;
	struct kx_event ev = { .kind = KX_ANSWER, .answer = answer };

	for (size_t i = 0; i < ASKS_MAX; i++) {
		struct lookup *l = &e->lookups[i];

		if (!l->used || l->id != id)
			continue;
		l->used = false;
		lookup_write(e, l, answer);
		ev.id = l->kx_id;
		step(e, &ev);
		return;
	}
}

static void look_up(struct kx_explain *e, const struct kx_action *a)
{
	struct lookup *l = NULL;

	for (size_t i = 0; i < ASKS_MAX && l == NULL; i++)
		l = e->lookups[i].used ? NULL : &e->lookups[i];
	if (l != NULL) {
		*l = (struct lookup){ .used = true,
			.kx_id = a->id,
			.id = kx_resolve_id(e->resolve),
			.type = a->type,
			.name = a->name,
			.from_us = uv_hrtime() / 1000 };
		if (kx_resolve_ask(e->resolve, l->id, &a->name, a->type, a->until_ms,
			    on_looked_up, e) == 0)
			return;
		l->used = false;
	}
	e->refused[e->n_refused++] = a->id;
}

static void cancel(struct kx_explain *e, uint32_t kx_id)
{
	for (size_t i = 0; i < ASKS_MAX; i++) {
		if (!e->lookups[i].used || e->lookups[i].kx_id != kx_id)
			continue;
		kx_resolve_cancel(e->resolve, e->lookups[i].id);
		e->lookups[i].used = false;
	}
}

static void on_timer(uv_timer_t *timer)
{
	step(timer->data, &(struct kx_event){ .kind = KX_TIMER });
}

static void wake(struct kx_explain *e, uint64_t at_ms)
{
	uint64_t now = uv_now(e->loop);

	(void)uv_timer_start(&e->timer, on_timer, at_ms > now ? at_ms - now : 0, 0);
}

/* Whatever would happen to the packet; true: this exchanger is to fail now. */
static bool take(struct kx_explain *e, const struct kx_action *a)
{
	switch (a->kind) {
	case KX_CONNECT:
		if (json_array_size(e->exchangers) == 0)
			e->why = a->why;
		exchanger_write(e, a);
		return true;
	case KX_DROP:
	case KX_PASS:
		if (json_array_size(e->exchangers) == 0)
			e->why = a->why;
		e->over = true;
		return false;
	case KX_CANCEL:
		cancel(e, a->id);
		return false;
	case KX_WAKE:
		wake(e, a->until_ms);
		return false;
	default:
		return false;
	}
}

static void on_over(uv_timer_t *timer)
{
	struct kx_explain *e = timer->data;
	json_t *out = e->out;

	finish(e);
	e->out = NULL;
	e->done(e->ctx, out);
	kx_explain_free(e);
}

static void once(struct kx_explain *e, struct kx_event *ev)
{
	struct kx_action out[KX_ACTIONS_MIN];
	size_t n;

	ev->now_ms = uv_now(e->loop);
	n = kx_step(e->kx, ev, out, KX_ACTIONS_MIN);
	for (size_t i = 0; i < n; i++)
		if (take(e, &out[i]))
			e->connected = out[i].id;
	for (size_t i = 0; i < n && !e->over; i++)
		if (out[i].kind == KX_ASK)
			look_up(e, &out[i]);
}

/* What follows from it at once. */
static bool follows(struct kx_explain *e, struct kx_event *ev)
{
	static const struct kx_answer none = { .status = KX_ERROR,
		.why = "too many look-ups at once" };

	if (e->connected != 0) {
		*ev = (struct kx_event){
			.kind = KX_IKE, .id = e->connected, .ike = KX_IKE_FAILED
		};
		e->connected = 0;
		return true;
	}
	if (e->n_refused == 0)
		return false;
	*ev = (struct kx_event){
		.kind = KX_ANSWER, .answer = &none, .id = e->refused[--e->n_refused]
	};
	return true;
}

static void step(struct kx_explain *e, struct kx_event *ev)
{
	struct kx_event next = *ev;

	if (e->over)
		return;
	do
		once(e, &next);
	while (!e->over && follows(e, &next));
	/* From the loop, when nobody of ours is on the stack any more. */
	if (e->over)
		(void)uv_timer_start(&e->timer, on_over, 0, 0);
}

/* --- begin and end --------------------------------------------------------------------
 */

static const struct kx_limits small = {
	.ike_ms = 60000,
	.total_ms = 60000,
	.lookups = ASKS_MAX,
	.undecided = 4,
	.waiting = 16,
	.decisions = 16,
	.exchangers = 16,
};

static bool prepare(struct kx_explain *e, const struct kx_conf *conf)
{
	struct kx_conf own = *conf;
	struct kx_rule rule = { .group = KX_PRIVATE };
	uint32_t other;

	e->out = json_object();
	e->listed = json_array();
	e->exchangers = json_array();
	e->policy = kx_policy_new();
	if (e->out == NULL || e->policy == NULL)
		return false;
	(void)json_object_set_new(e->out, "lookups", e->listed);
	(void)json_object_set_new(e->out, "exchangers", e->exchangers);
	rule.prefix.addr.len = 4;
	(void)kx_policy_add(e->policy, &rule, &other);
	rule.prefix.addr.len = 16;
	(void)kx_policy_add(e->policy, &rule, &other);
	own.policy = e->policy;
	own.limits = small;
	own.random = random_system();
	e->kx = kx_new(&own);
	return e->kx != NULL;
}

static void group_write(
	struct kx_explain *e, const struct kx_policy *p, const struct kx_event *ev)
{
	const struct kx_rule *rule = p != NULL ? kx_policy_find(p, &ev->flow) : NULL;

	(void)json_object_set_new(e->out, "policy",
		rule != NULL ? json_string(kx_group_text(rule->group)) : json_null());
}

int kx_explain_new(uv_loop_t *loop, struct kx_resolve *r, const struct kx_conf *conf,
	const char *target, struct kx_explain **explain, kx_explain_done done, void *ctx)
{
	struct kx_event ev = { .kind = KX_PACKET };
	struct kx_name name = { 0 };
	struct kx_explain *e;

	if (kx_addr_parse(target, &ev.flow.destination) != 0) {
		if (kx_name_parse(target, &name) != 0)
			return ERR_MALFORMED;
		/* Stands for whatever the name has; no look-up is about it. */
		ev.flow.destination = kx_addr_from4(1);
	}
	ev.source = ev.flow.destination;
	e = calloc(1, sizeof(*e));
	if (e == NULL || !prepare(e, conf)) {
		if (e != NULL) {
			json_decref(e->out);
			kx_policy_free(e->policy);
		}
		free(e);
		return ERR_NOSPACE;
	}
	e->loop = loop;
	e->resolve = r;
	e->done = done;
	e->ctx = ctx;
	(void)uv_timer_init(loop, &e->timer);
	e->timer.data = e;
	(void)json_object_set_new(e->out, "target", json_string(target));
	if (name.len != 0) {
		kx_vouch(e->kx, &name, &ev.flow.destination);
		(void)json_object_set_new(e->out, "policy", json_null());
	} else {
		group_write(e, conf->policy, &ev);
	}
	*explain = e;
	step(e, &ev);
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct kx_explain *e = handle->data;

	kx_free(e->kx);
	kx_policy_free(e->policy);
	free(e);
}

void kx_explain_free(struct kx_explain *e)
{
	if (e == NULL || e->freed)
		return;
	e->freed = e->over = true;
	for (size_t i = 0; i < ASKS_MAX; i++)
		if (e->lookups[i].used)
			kx_resolve_cancel(e->resolve, e->lookups[i].id);
	json_decref(e->out);
	uv_close((uv_handle_t *)&e->timer, on_closed);
}
