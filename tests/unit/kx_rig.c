/* The rig of the decision tests: answers look-ups from rows, writes down the rest. */
#include "kx_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LINES_SIZE (1U << 18)

static struct kx_name name_of(const char *text)
{
	struct kx_name name;

	assert_int_equal(kx_name_parse(text, &name), 0);
	return name;
}

static struct kx_addr addr_of(const char *text)
{
	struct kx_addr a;

	assert_int_equal(kx_addr_parse(text, &a), 0);
	return a;
}

void rig_init(struct rig *r)
{
	struct kx_prefix local;

	*r = (struct rig){ .now_ms = 1000 };
	r->policy = kx_policy_new();
	r->lines = calloc(1, LINES_SIZE);
	assert_non_null(r->policy);
	assert_non_null(r->lines);
	r->conf.policy = r->policy;
	r->conf.self[0] = name_of("r1.s-net.test.");
	r->conf.n_self = 1;
	assert_int_equal(kx_prefix_parse("198.51.100.0/24", &local), 0);
	r->conf.local[0] = local;
	r->conf.n_local = 1;
	r->conf.random = random_seeded(7);
}

void rig_rule(struct rig *r, const char *group, const char *prefix)
{
	struct kx_rule rule = { 0 };
	uint32_t other;

	assert_int_equal(kx_group_parse(group, &rule.group), 0);
	if (kx_prefix_parse(prefix, &rule.prefix) != 0)
		rule.name = name_of(prefix);
	assert_int_equal(kx_policy_add(r->policy, &rule, &other), 0);
}

void rig_start(struct rig *r)
{
	r->kx = kx_new(&r->conf);
	assert_non_null(r->kx);
}

void rig_free(struct rig *r)
{
	kx_free(r->kx);
	kx_policy_free(r->policy);
	free(r->lines);
}

/* --- zones ----------------------------------------------------------------------------
 */

static void set(struct rig *r, const struct kx_name *name, const struct rig_row *row)
{
	size_t i = 0;

	while (i < r->n_rows &&
		!(r->rows[i].type == row->type && kx_name_same(&r->rows[i].name, name)))
		i++;
	assert_true(i < RIG_ROWS);
	r->n_rows += i == r->n_rows;
	r->rows[i] = *row;
	r->rows[i].name = *name;
}

void rig_set(struct rig *r, const char *name, uint16_t type, enum kx_status status,
	uint32_t ttl_s, const char *records)
{
	struct kx_name n = name_of(name);
	struct rig_row row = {
		.type = type, .status = status, .ttl_s = ttl_s, .records = records
	};

	set(r, &n, &row);
}

void rig_cname(struct rig *r, const char *name, uint16_t type, const char *canon,
	const char *records)
{
	struct kx_name n = name_of(name);
	struct rig_row row = { .type = type,
		.status = KX_SECURE,
		.ttl_s = 300,
		.records = records,
		.canon = canon };

	set(r, &n, &row);
}

void rig_ptr(struct rig *r, const char *addr, enum kx_status status, uint32_t ttl_s,
	const char *records)
{
	struct kx_addr a = addr_of(addr);
	struct rig_row row = {
		.type = KX_T_PTR, .status = status, .ttl_s = ttl_s, .records = records
	};
	struct kx_name n;

	kx_addr_reverse(&a, &n);
	set(r, &n, &row);
}

#define KEY "10 0 4 . BC5+EvtM49uI0S5dU0kftmyjKPrAUYlWQiY9Gq/+uIY="

void rig_world(struct rig *r)
{
	rig_ptr(r, "203.0.113.10", KX_SECURE, 300, "d.d-net.test.");
	rig_set(r, "d.d-net.test", KX_T_A, KX_SECURE, 300, "203.0.113.10");
	rig_set(r, "d.d-net.test", KX_T_KX, KX_SECURE, 300, "10 r2.d-net.test.");
	rig_set(r, "r2.d-net.test", KX_T_A, KX_SECURE, 300, "203.0.113.1");
	rig_set(r, "r2.d-net.test", KX_T_IPSECKEY, KX_SECURE, 300, KEY);
	rig_ptr(r, "198.51.100.10", KX_SECURE, 300, "s.s-net.test.");
	rig_set(r, "s.s-net.test", KX_T_A, KX_SECURE, 300, "198.51.100.10");
	rig_set(r, "s.s-net.test", KX_T_KX, KX_SECURE, 300, "10 r1.s-net.test.");
	rig_set(r, "r1.s-net.test", KX_T_A, KX_SECURE, 300, "198.51.100.1");
}

static const struct rig_row *row_find(
	const struct rig *r, const struct kx_name *name, uint16_t type)
{
	for (size_t i = 0; i < r->n_rows; i++)
		if (r->rows[i].type == type && kx_name_same(&r->rows[i].name, name))
			return &r->rows[i];
	return NULL;
}

/* --- actions --------------------------------------------------------------------------
 */

__attribute__((format(printf, 2, 3))) static void line(
	struct rig *r, const char *format, ...)
{
	size_t at = strlen(r->lines);
	va_list args;

	r->n_lines++;
	if (r->count_only)
		return;
	assert_true(at + 1024 < LINES_SIZE);
	if (at > 0)
		at += (size_t)snprintf(r->lines + at, LINES_SIZE - at, ", ");
	va_start(args, format);
	(void)vsnprintf(r->lines + at, LINES_SIZE - at, format, args);
	va_end(args);
}

static void write_connect(struct rig *r, const struct kx_action *a)
{
	char name[KX_NAME_TEXT], exchanger[KX_NAME_TEXT], addr[KX_ADDR_TEXT];
	char more[64] = "";

	r->pair = a->id;
	if (a->exchanger->port != 0)
		(void)snprintf(more, sizeof(more), " port %u", a->exchanger->port);
	line(r, "connect %s %s %s%s%s", kx_name_format(&a->name, name),
		kx_name_format(&a->exchanger->name, exchanger),
		kx_addr_format(&a->addrs[0], addr), more,
		a->exchanger->n_keys > 0 ? " key" : "");
}

static void write_cover(struct rig *r, const struct kx_action *a)
{
	char name[KX_NAME_TEXT], addr[KX_ADDR_TEXT] = "none";

	if (a->n_addrs > 0)
		(void)kx_addr_format(&a->addrs[0], addr);
	line(r, "cover %s %s", kx_name_format(&a->name, name), addr);
}

static void write_action(struct rig *r, const struct kx_action *a)
{
	char name[KX_NAME_TEXT];
	long left = (long)((int64_t)(a->until_ms - r->now_ms) / 1000);

	switch (a->kind) {
	case KX_CONNECT:
		write_connect(r, a);
		break;
	case KX_PASS:
	case KX_DROP:
		line(r, "%s %s %ld", a->kind == KX_PASS ? "pass" : "drop",
			kx_why_text(a->why), left);
		break;
	case KX_AUTHORISE:
	case KX_REFUSE:
		line(r, "%s %u %s", a->kind == KX_AUTHORISE ? "authorise" : "refuse",
			a->id, kx_why_text(a->why));
		break;
	case KX_TRUST:
		line(r, "trust %u %s %zu", a->id, kx_name_format(&a->peer, name),
			a->exchanger->n_keys);
		break;
	case KX_TERMINATE:
		line(r, "terminate %s %s", kx_why_text(a->why),
			kx_name_format(&a->peer, name));
		break;
	case KX_UNSHUNT:
		line(r, "unshunt");
		break;
	case KX_LOG:
		line(r, "log %s", kx_why_text(a->why));
		break;
	case KX_COVER:
		write_cover(r, a);
		break;
	case KX_CANCEL:
		r->cancelled++;
		break;
	case KX_ASK:
	case KX_WAKE:
		break;
	}
}

/* --- events ---------------------------------------------------------------------------
 */

static void rdata_fill(
	struct kx_answer *a, uint16_t type, const char *records, uint8_t *room)
{
	char copy[16384], *save = NULL;

	(void)snprintf(copy, sizeof(copy), "%s", records);
	for (char *t = strtok_r(copy, ";", &save); t != NULL;
		t = strtok_r(NULL, ";", &save)) {
		size_t len;

		if (a->n == KX_RDATA_MAX) {
			a->more++;
			continue;
		}
		assert_int_equal(kx_rdata_parse(type, t, room, 600, &len), 0);
		a->rdata[a->n].bytes = room;
		a->rdata[a->n++].len = (uint16_t)len;
		room += len;
	}
}

static void ask_answer(struct rig *r, const struct kx_action *ask)
{
	const struct rig_row *row = row_find(r, &ask->name, ask->type);
	static uint8_t room[KX_RDATA_MAX * 600];
	struct kx_answer a = {
		.status = KX_NODATA, .ttl_s = 30, .canon = ask->name, .why = ""
	};
	struct kx_event ev = { .kind = KX_ANSWER, .id = ask->id, .answer = &a };

	r->asked++;
	if (row != NULL && strcmp(row->records, "never") == 0) {
		assert_true(r->n_never < 64);
		r->never_name[r->n_never] = ask->name;
		r->never[r->n_never++] = ask->id;
		return;
	}
	if (row != NULL) {
		a.status = row->status;
		a.ttl_s = row->ttl_s;
		if (row->canon != NULL)
			a.canon = name_of(row->canon);
		if (row->status == KX_SECURE)
			rdata_fill(&a, row->type, row->records, room);
	}
	rig_event(r, &ev);
}

void rig_event(struct rig *r, struct kx_event *ev)
{
	struct kx_action *out = calloc(KX_ACTIONS_MIN, sizeof(*out));
	bool more = false;
	size_t n;

	assert_non_null(out);
	ev->now_ms = r->now_ms;
	n = kx_step(r->kx, ev, out, KX_ACTIONS_MIN);
	assert_true(n <= KX_ACTIONS_MIN);
	for (size_t i = 0; i < n; i++) {
		write_action(r, &out[i]);
		if (out[i].kind != KX_WAKE)
			continue;
		r->wake_ms = out[i].until_ms;
		more |= out[i].until_ms <= r->now_ms;
	}
	for (size_t i = 0; i < n; i++)
		if (out[i].kind == KX_ASK)
			ask_answer(r, &out[i]);
	free(out);
	if (more) {
		struct kx_event timer = { .kind = KX_TIMER };

		rig_event(r, &timer);
	}
}

void rig_packet(struct rig *r, const char *source, const char *destination)
{
	struct kx_event ev = { .kind = KX_PACKET,
		.source = addr_of(source),
		.flow.destination = addr_of(destination) };

	rig_event(r, &ev);
}

void rig_inbound(struct rig *r, uint32_t token, const char *peer, const char *peer_addr,
	const char *remote, const char *local)
{
	struct kx_event ev = {
		.kind = KX_INBOUND_TS, .id = token, .peer_addr = addr_of(peer_addr)
	};

	if (peer != NULL)
		ev.peer = name_of(peer);
	assert_int_equal(kx_prefix_parse(remote, &ev.remote), 0);
	assert_int_equal(kx_prefix_parse(local, &ev.local), 0);
	rig_event(r, &ev);
}

void rig_id(struct rig *r, uint32_t token, const char *peer, const char *peer_addr)
{
	struct kx_event ev = { .kind = KX_INBOUND_ID,
		.id = token,
		.peer = name_of(peer),
		.peer_addr = addr_of(peer_addr) };

	rig_event(r, &ev);
}

void rig_ike(struct rig *r, enum kx_ike ike)
{
	struct kx_event ev = { .kind = KX_IKE, .id = r->pair, .ike = ike };

	rig_event(r, &ev);
}

void rig_answer(struct rig *r, size_t i, enum kx_status status)
{
	struct kx_answer a = { .status = status, .ttl_s = 30, .why = "" };
	struct kx_event ev = { .kind = KX_ANSWER, .id = r->never[i], .answer = &a };

	rig_event(r, &ev);
}

void rig_pass(struct rig *r, uint64_t ms)
{
	uint64_t end = r->now_ms + ms;

	for (;;) {
		struct kx_event ev = { .kind = KX_TIMER };

		if (r->wake_ms == 0 || r->wake_ms > end)
			break;
		if (r->wake_ms > r->now_ms)
			r->now_ms = r->wake_ms;
		r->wake_ms = 0;
		rig_event(r, &ev);
	}
	r->now_ms = end;
}

const char *rig_take(struct rig *r)
{
	static char taken[LINES_SIZE];

	(void)snprintf(taken, sizeof(taken), "%s", r->lines);
	r->lines[0] = 0;
	r->n_lines = 0;
	return taken;
}
