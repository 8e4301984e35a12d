/* Actions of src/kx, each a row: look up, tell charon, tell the kernel, tell the
 * operator. */
#include "kxd/act.h"

#include "base/err.h"
#include "base/log.h"

#define TOLD_S     5
#define TOLD_BURST 50

uint32_t act_addr4(const struct kx_addr *a)
{
	return a->len != 4 ? 0
			   : (uint32_t)a->b[0] << 24 | (uint32_t)a->b[1] << 16 |
				     (uint32_t)a->b[2] << 8 | a->b[3];
}

/* --- look-ups -------------------------------------------------------------------------
 */

static void on_answer(void *ctx, uint32_t id, const struct kx_answer *answer)
{
	struct kx_event e = { .kind = KX_ANSWER, .id = id, .answer = answer };

	kxd_event(ctx, &e);
}

static void do_ask(struct kxd *d, const struct kx_action *a)
{
	static const struct kx_answer none = {
		.status = KX_ERROR,
		.why = "too many look-ups are under way",
	};
	struct kx_event e = { .kind = KX_ANSWER, .id = a->id, .answer = &none };

	if (kx_resolve_ask(
		    d->resolve, a->id, &a->name, a->type, a->until_ms, on_answer, d) != 0)
		kxd_event(d, &e);
}

static void do_cancel(struct kxd *d, const struct kx_action *a)
{
	kx_resolve_cancel(d->resolve, a->id);
}

/* --- charon ---------------------------------------------------------------------------
 */

static void do_connect(struct kxd *d, const struct kx_action *a)
{
	uint64_t now = uv_now(d->loop);
	uint32_t left = d->conf->limits.ike_ms;
	struct peers_want want = {
		.pair = a->id,
		.exchanger = a->exchanger,
		.addrs = a->addrs,
		.n_addrs = a->n_addrs,
		.local = act_addr4(&a->source),
		.remote = act_addr4(&a->destination),
	};

	if (a->until_ms > now && a->until_ms - now < left)
		left = (uint32_t)(a->until_ms - now);
	/* charon's own end of it comes before that of the decisions. */
	want.timeout_ms = left > 600 ? left - 200 : left;
	peers_connect(d->peers, &want);
}

static void say(const char *what, const struct kx_action *a, int err)
{
	char s[KX_ADDR_TEXT], t[KX_ADDR_TEXT], name[KX_NAME_TEXT] = "";
	const struct kx_name *peer =
		a->exchanger != NULL ? &a->exchanger->name : &a->peer;

	if (peer->len != 0)
		(void)kx_name_format(peer, name);
	if (err != 0)
		log_warn(what, "peer=%s source=%s destination=%s error=\"%s\"", name,
			kx_addr_format(&a->source, s), kx_addr_format(&a->destination, t),
			err_text(err));
	else
		log_info(what, "peer=%s source=%s destination=%s reason=%s", name,
			kx_addr_format(&a->source, s), kx_addr_format(&a->destination, t),
			kx_why_text(a->why));
}

static void do_authorise(struct kxd *d, const struct kx_action *a)
{
	/* The peer's S is the far end here. */
	int err = peers_authorise(
		d->peers, &a->peer, act_addr4(&a->destination), act_addr4(&a->source));

	say(err == 0 ? "peer authorised" : "peer not authorised", a, err);
}

static void do_trust(struct kxd *d, const struct kx_action *a)
{
	int err = peers_trust(d->peers, a->exchanger);

	say(err == 0 ? "peer known" : "peer cannot be made known", a, err);
}

static void do_refuse(struct kxd *d, const struct kx_action *a)
{
	(void)d;
	say("peer refused", a, 0);
}

static void do_terminate(struct kxd *d, const struct kx_action *a)
{
	peers_terminate(
		d->peers, &a->peer, act_addr4(&a->source), act_addr4(&a->destination));
	say("authority ended", a, 0);
}

/* --- the kernel -----------------------------------------------------------------------
 */

/* A decision is there: the kernel may tell of the pair's next packet again. */
static void settled(struct kxd *d, uint32_t src, uint32_t dst, bool pass)
{
	for (size_t i = 0; i < KXD_ACQUIRES; i++) {
		if (d->acquires[i].seq == 0 || d->acquires[i].src != src ||
			d->acquires[i].dst != dst)
			continue;
		(void)spd_forget(d->spd, d->acquires[i].seq, dst); /* ended by itself */
		d->acquires[i].seq = 0;
	}
	if (d->hold != NULL)
		hold_release(d->hold, src, dst, pass);
}

static void shunt(struct kxd *d, const struct kx_action *a, bool pass)
{
	uint32_t src = act_addr4(&a->source), dst = act_addr4(&a->destination);
	uint64_t now = uv_now(d->loop);
	int err = 0;

	/* Until now: this packet alone, which the kernel has dropped or the queue holds.
	 */
	if (a->until_ms > now)
		err = traps_shunt(&d->traps, src, dst, pass,
			(uint32_t)((a->until_ms - now + 999) / 1000));

	if (err != 0) {
		d->counters.policy_errors++;
		log_error("cannot set a shunt", "error=\"%s\"", err_text(err));
	}
	settled(d, src, dst, pass && err == 0);
	/* A stranger can cause any number of these: counted all, told some. */
	if (limit_take(&d->told, TOLD_S, TOLD_BURST, now))
		say(pass ? "pair passes in clear" : "pair dropped", a, err);
}

static void do_pass(struct kxd *d, const struct kx_action *a)
{
	shunt(d, a, true);
}

static void do_drop(struct kxd *d, const struct kx_action *a)
{
	shunt(d, a, false);
}

static void do_unshunt(struct kxd *d, const struct kx_action *a)
{
	uint32_t src = act_addr4(&a->source), dst = act_addr4(&a->destination);

	traps_unshunt(&d->traps, src, dst);
	settled(d, src, dst, true);
	settled(d, dst, src, true);
}

static void do_cover(struct kxd *d, const struct kx_action *a)
{
	char why[KXD_WHY], name[KX_NAME_TEXT];
	int err = traps_cover(
		&d->traps, &a->name, a->group, a->addrs, a->n_addrs, why, sizeof(why));

	if (err != 0) {
		d->counters.policy_errors++;
		log_error("cannot follow a name", "name=%s error=\"%s\"",
			kx_name_format(&a->name, name), why);
	}
}

/* --- the operator ---------------------------------------------------------------------
 */

static void on_wake(uv_timer_t *timer)
{
	struct kx_event e = { .kind = KX_TIMER };

	kxd_event(timer->data, &e);
}

static void do_wake(struct kxd *d, const struct kx_action *a)
{
	uint64_t now = uv_now(d->loop);

	(void)uv_timer_start(
		&d->wake, on_wake, a->until_ms > now ? a->until_ms - now : 0, 0);
}

static void do_log(struct kxd *d, const struct kx_action *a)
{
	char s[KX_ADDR_TEXT], t[KX_ADDR_TEXT], name[KX_NAME_TEXT] = "";

	(void)d;
	if (a->name.len != 0)
		(void)kx_name_format(&a->name, name);
	log_at(a->bad ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "decision",
		"source=%s destination=%s name=%s reason=%s text=\"%s\"",
		a->source.len != 0 ? kx_addr_format(&a->source, s) : "",
		a->destination.len != 0 ? kx_addr_format(&a->destination, t) : "", name,
		kx_why_text(a->why), kx_why_sentence(a->why));
}

void act(struct kxd *d, const struct kx_action *a)
{
	static void (*const doers[])(struct kxd * d, const struct kx_action *a) = {
		[KX_ASK] = do_ask,
		[KX_CANCEL] = do_cancel,
		[KX_CONNECT] = do_connect,
		[KX_AUTHORISE] = do_authorise,
		[KX_TRUST] = do_trust,
		[KX_REFUSE] = do_refuse,
		[KX_PASS] = do_pass,
		[KX_DROP] = do_drop,
		[KX_UNSHUNT] = do_unshunt,
		[KX_TERMINATE] = do_terminate,
		[KX_COVER] = do_cover,
		[KX_WAKE] = do_wake,
		[KX_LOG] = do_log,
	};

	doers[a->kind](d, a);
}
