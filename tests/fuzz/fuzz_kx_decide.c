/*
 * Events in any order with any answers into the decisions: nothing leaks, every look-up
 * ends, counters and bounds hold, and private never passes.
 */
#include "fuzz.h"

#include "base/rd.h"
#include "kx/decide.h"

#include <stdlib.h>
#include <string.h>

#define ASKS 16

struct world {
	struct kx *kx;
	struct rd in;
	uint64_t now_ms;
	uint32_t asks[ASKS], pair;
	size_t n_asks;
};

static struct kx_name names[4];

static void names_init(void)
{
	static const char *const texts[] = { "d.test", "r2.test", "r1.test", "." };

	for (size_t i = 0; i < 4; i++)
		MUST(kx_name_parse(texts[i], &names[i]) == 0);
}

static void step(struct world *w, struct kx_event *ev)
{
	struct kx_action out[KX_ACTIONS_MIN];
	const struct kx_counters *c;
	size_t n;

	ev->now_ms = w->now_ms;
	n = kx_step(w->kx, ev, out, KX_ACTIONS_MIN);
	MUST(n <= KX_ACTIONS_MIN);
	for (size_t i = 0; i < n; i++) {
		if (out[i].kind == KX_ASK) {
			MUST(w->n_asks < ASKS);
			MUST(out[i].until_ms > w->now_ms);
			w->asks[w->n_asks++] = out[i].id;
		}
		for (size_t k = 0; out[i].kind == KX_CANCEL && k < w->n_asks; k++)
			if (w->asks[k] == out[i].id) {
				w->asks[k] = w->asks[--w->n_asks];
				break;
			}
		if (out[i].kind == KX_CONNECT) {
			MUST(out[i].exchanger != NULL && out[i].n_addrs > 0);
			w->pair = out[i].id;
		}
		/* 203.0.113.0/25 is private: in clear only what is ours. */
		if (out[i].kind == KX_PASS && out[i].destination.len == 4 &&
			out[i].destination.b[0] == 203 && out[i].destination.b[3] < 128)
			MUST(out[i].why == KX_WHY_OURS);
		if (out[i].kind == KX_AUTHORISE)
			MUST(out[i].until_ms > w->now_ms);
	}
	c = kx_count(w->kx);
	MUST(c->lookups <= ASKS && c->undecided <= 4 && c->waiting <= 16);
	MUST(c->lookups == w->n_asks);
}

static struct kx_addr addr_of(uint8_t b)
{
	return kx_addr_from4(0xcb007100U | b);
}

/* Records from the input itself: lengths and bytes as they come. */
static void answer(struct world *w, uint8_t which)
{
	struct kx_answer a = { .why = "" };
	struct kx_event ev = { .kind = KX_ANSWER, .answer = &a };

	if (w->n_asks == 0)
		return;
	which %= (uint8_t)w->n_asks;
	ev.id = w->asks[which];
	w->asks[which] = w->asks[--w->n_asks];
	a.status = (enum kx_status)(rd_u8(&w->in) % KX_STATUSES);
	a.ttl_s = rd_u8(&w->in);
	a.canon = names[rd_u8(&w->in) % 4];
	for (size_t n = a.status == KX_SECURE ? rd_u8(&w->in) % 5 : 0; n > 0; n--) {
		uint8_t len = rd_u8(&w->in);
		const uint8_t *bytes = rd_take(&w->in, len);

		if (bytes == NULL)
			break;
		a.rdata[a.n].bytes = bytes;
		a.rdata[a.n++].len = len;
	}
	step(w, &ev);
}

static void play(struct world *w)
{
	struct kx_event ev = { 0 };
	uint8_t kind = rd_u8(&w->in), b = rd_u8(&w->in);

	switch (kind % 8) {
	case 0:
		ev.kind = KX_PACKET;
		ev.source = addr_of(b >> 4);
		ev.flow.destination = addr_of((uint8_t)(b << 4 | kind >> 4));
		break;
	case 1:
	case 2:
		answer(w, b);
		return;
	case 3:
		ev.kind = KX_IKE;
		ev.id = w->pair;
		ev.ike = (enum kx_ike)(b % (KX_IKE_DOWN + 1));
		break;
	case 4:
		w->now_ms += (uint64_t)b * b * 20;
		ev.kind = KX_TIMER;
		break;
	case 5:
		ev.kind = KX_INBOUND_TS;
		ev.id = 1;
		ev.peer = names[b % 3];
		ev.peer_addr = addr_of(b & 3);
		ev.remote = (struct kx_prefix){ addr_of(b >> 4), b & 8 ? 32 : 24 };
		ev.local = (struct kx_prefix){ addr_of(b & 7), 32 };
		break;
	case 6:
		ev.kind = KX_INBOUND_ID;
		ev.id = 2;
		ev.peer = names[b % 4];
		ev.peer_addr = addr_of(b & 3);
		break;
	default:
		ev.kind = b & 1 ? KX_FORGET : KX_HINT;
		ev.destination = addr_of(b);
		ev.source = b & 2 ? addr_of(b >> 4) : ev.source;
		ev.peer = b & 4 ? names[b & 3] : ev.peer;
		break;
	}
	step(w, &ev);
}

static void rule(struct kx_policy *p, enum kx_group group, const char *prefix)
{
	struct kx_rule r = { .group = group };
	uint32_t other;

	if (kx_prefix_parse(prefix, &r.prefix) != 0)
		MUST(kx_name_parse(prefix, &r.name) == 0);
	MUST(kx_policy_add(p, &r, &other) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct kx_limits limits = { .lookups = ASKS,
		.undecided = 4,
		.waiting = 16,
		.decisions = 32,
		.exchangers = 8,
		.rate = 1000,
		.burst = 1000,
		.source_rate = 1000,
		.source_burst = 1000 };
	struct kx_conf conf = { .limits = limits, .random = random_seeded(1) };
	struct world w = { .in = rd_init(data, size), .now_ms = 1000 };
	struct kx_policy *p = kx_policy_new();

	MUST(p != NULL);
	names_init();
	rule(p, KX_PRIVATE, "203.0.113.0/25");
	rule(p, KX_PRIVATE_OR_CLEAR, "203.0.113.128/25");
	conf.policy = p;
	conf.self[0] = names[2];
	conf.n_self = 1;
	conf.n_local = 1;
	MUST(kx_prefix_parse("203.0.113.0/29", &conf.local[0]) == 0);
	w.kx = kx_new(&conf);
	MUST(w.kx != NULL);
	while (rd_left(&w.in) > 0 && !w.in.bad)
		play(&w);
	/* Whatever was under way ends by itself. */
	for (int i = 0; i < 200; i++) {
		struct kx_event ev = { .kind = KX_TIMER };
		struct kx_answer late = { .status = KX_ERROR, .why = "" };

		w.now_ms += 2000;
		while (w.n_asks > 0) {
			struct kx_event a = { .kind = KX_ANSWER,
				.answer = &late,
				.id = w.asks[--w.n_asks] };

			step(&w, &a);
		}
		step(&w, &ev);
	}
	MUST(kx_count(w.kx)->waiting == 0 && kx_count(w.kx)->undecided == 0);
	kx_free(w.kx);
	kx_policy_free(p);
	return 0;
}
