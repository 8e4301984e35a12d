/* What rsip-kxd answers to `rsip kx show`. */
#include "kx/control.h"

#include <stdlib.h>

struct show {
	json_t *pairs;
	uint64_t now_ms;
	bool failed;
};

static json_t *name_json(const struct kx_name *name)
{
	char text[KX_NAME_TEXT];

	return name->len != 0 ? json_string(kx_name_format(name, text)) : json_null();
}

static json_t *addr_json(const struct kx_addr *a)
{
	char text[KX_ADDR_TEXT];

	return a->len != 0 ? json_string(kx_addr_format(a, text)) : json_null();
}

static bool on_view(void *ctx, const struct kx_view *v)
{
	struct show *s = ctx;
	uint64_t left = v->until_ms > s->now_ms ? (v->until_ms - s->now_ms) / 1000 : 0;
	json_t *pair = json_pack(
		"{s:I, s:o, s:o, s:s, s:o, s:o, s:o, s:s, s:s, s:I, s:I}", "pair_id",
		(json_int_t)v->id, "source", addr_json(&v->source), "destination",
		addr_json(&v->destination), "state", kx_pair_state_text(v->state),
		"group",
		v->group < KX_GROUPS ? json_string(kx_group_text(v->group)) : json_null(),
		"name", name_json(&v->name), "exchanger", name_json(&v->exchanger),
		"reason", kx_why_text(v->why), "text", kx_why_sentence(v->why),
		"remaining", (json_int_t)left, "failures", (json_int_t)v->failures);

	s->failed |= pair == NULL || json_array_append_new(s->pairs, pair) != 0;
	return !s->failed;
}

static void put(json_t *to, const char *key, uint64_t n)
{
	(void)json_object_set_new(to, key, json_integer((json_int_t)n));
}

static json_t *counters_json(const struct kx_counters *c)
{
	json_t *to = json_object(), *answers = json_object(), *why = json_object();

	if (to == NULL)
		return NULL;
	put(to, "packets", c->packets);
	put(to, "lookups", c->asks);
	put(to, "connects", c->connects);
	put(to, "protected", c->ups);
	put(to, "clear", c->passed);
	put(to, "dropped", c->dropped);
	put(to, "authorised", c->authorised);
	put(to, "refused", c->refused);
	put(to, "terminated", c->terminated);
	put(to, "limited_source", c->limited_source);
	put(to, "limited_all", c->limited_all);
	put(to, "limited_lookups", c->limited_lookups);
	put(to, "limited_peer", c->limited_peer);
	put(to, "evicted", c->evicted);
	put(to, "lookups_now", c->lookups);
	put(to, "undecided_now", c->undecided);
	put(to, "waiting_now", c->waiting);
	put(to, "remembered_now", c->remembered);
	for (int i = 0; i < KX_STATUSES; i++)
		put(answers, kx_status_text((enum kx_status)i), c->answers[i]);
	for (int i = KX_WHY_NONE + 1; i < KX_WHYS; i++)
		put(why, kx_why_text((enum kx_why)i), c->decisions[i]);
	(void)json_object_set_new(to, "answers", answers);
	(void)json_object_set_new(to, "decisions", why);
	return to;
}

json_t *kx_control_show(const struct kx *kx, uint64_t now_ms, uint64_t started_ms)
{
	struct show s = { .pairs = json_array(), .now_ms = now_ms };

	if (s.pairs != NULL)
		kx_show(kx, on_view, &s);
	if (s.pairs == NULL || s.failed) {
		json_decref(s.pairs);
		return NULL;
	}
	return json_pack("{s:o, s:o, s:I}", "pairs", s.pairs, "counters",
		counters_json(kx_count(kx)), "uptime",
		(json_int_t)((now_ms - started_ms) / 1000));
}
