/*
 * The statements of a scenario.  tests/scenario/README.md is their manual.
 */
#include "script.h"

#include "build.h"
#include "rig_internal.h"
#include "words.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UDP_PORT 5000 /* of a host, where a script names none */
#define TCP_PORT 6000 /* plus the connection's number */

static uint8_t bytes[65536];

/* --- the rig
 * ----------------------------------------------------------------------------
 */

static int start(struct script *s)
{
	if (s->started)
		return 0;
	s->started = true;
	rig_init(&s->rig, &s->setup, 1);
	s->rig.words = true;
	s->rig.crash_at = s->crash_at;
	s->setup_fresh = false;
	return 0;
}

/* After each event: the log is for what comes next, and the rig must be whole. */
static int checked(struct script *s)
{
	if (s->rig.crashed)
		return 0;
	if (!rig_check(&s->rig))
		return script_fail(s, "%s", s->rig.fault);
	return 0;
}

/* Before each event: what the last one caused must have been expected. */
static int before(struct script *s)
{
	if (start(s) != 0 || script_settle(s) != 0)
		return -1;
	rig_clear(&s->rig);
	return 0;
}

/* --- words
 * ------------------------------------------------------------------------------
 */

/* Skips words[0] when it is this one. */
static bool skip(char ***words, size_t *n, const char *word)
{
	if (*n == 0 || strcmp((*words)[0], word) != 0)
		return false;
	(*words)++;
	(*n)--;
	return true;
}

static int get_time(struct script *s, const char *word, uint64_t *ms)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "min", 60000 }, { "h", 3600000 },
		{ "d", 86400000 } };
	char *text = script_fill(s, word), *end;
	double value;

	if (text == NULL)
		return -1;
	value = strtod(text, &end);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (end != text && strcmp(end, units[i].unit) == 0) {
			*ms = (uint64_t)(value * (double)units[i].ms + 0.5);
			free(text);
			return 0;
		}
	}
	free(text);
	return script_fail(s, "'%s' is no time", word);
}

static int get_number(struct script *s, const char *word, uint64_t max, uint64_t *value)
{
	char *text = script_fill(s, word), *end;

	if (text == NULL)
		return -1;
	*value = strtoull(text, &end, 0);
	if (end == text || *end != '\0' || *value > max) {
		free(text);
		return script_fail(s, "'%s' is no number", word);
	}
	free(text);
	return 0;
}

/* HOST[:PORT] [tcp=N] [on=ADDR] */
static int get_peer(struct script *s, char ***words, size_t *n, struct peer *p)
{
	char *text = *n > 0 ? script_fill(s, (*words)[0]) : NULL;
	uint64_t conn;

	*p = (struct peer){ .transport = TRANSPORT_UDP, .local_port = 4555 };
	(void)addr_parse("10.0.0.1", &p->local);
	if (text == NULL || endpoint_parse(text, UDP_PORT, &p->addr, &p->port) != 0) {
		free(text);
		return script_fail(
			s, "a host is wanted: ADDRESS[:PORT] [tcp=N] [on=ADDRESS]");
	}
	free(text);
	for ((*words)++, (*n)--; *n > 0; (*words)++, (*n)--) {
		if (strncmp((*words)[0], "tcp=", 4) == 0) {
			if (get_number(s, (*words)[0] + 4, 50000, &conn) != 0)
				return -1;
			p->transport = TRANSPORT_TCP;
			p->conn = conn;
			p->port = (uint16_t)(TCP_PORT + conn);
		} else if (strncmp((*words)[0], "on=", 3) == 0) {
			if (addr_parse((*words)[0] + 3, &p->local) != 0)
				return script_fail(s, "'%s' is no address", (*words)[0]);
		} else {
			break;
		}
	}
	return 0;
}

static bool peer_equal(const struct peer *a, const struct peer *b)
{
	return a->transport == b->transport && a->addr == b->addr && a->port == b->port &&
	       a->local == b->local && a->local_port == b->local_port &&
	       a->conn == b->conn;
}

/* --- configuration
 * ----------------------------------------------------------------------
 */

static int step_setup(struct script *s, char **words, size_t n)
{
	char why[200];

	if (s->started && !s->setup_fresh)
		setup_init(&s->setup);
	s->setup_fresh = true;
	if (setup_line(&s->setup, words, n, why, sizeof(why)) != 0)
		return script_fail(s, "%s", why);
	return 0;
}

static int step_reload(struct script *s, char **words, size_t n)
{
	(void)words;
	(void)n;
	if (before(s) != 0)
		return -1;
	if (rig_reload(&s->rig, s->setup_fresh ? &s->setup : &s->rig.setup) != 0)
		return script_fail(s, "the reload was refused");
	s->setup_fresh = false;
	return checked(s);
}

/* --- events
 * -----------------------------------------------------------------------------
 */

static int pass(struct script *s, uint64_t until)
{
	if (before(s) != 0)
		return -1;
	if (until < s->rig.now_ms)
		return script_fail(s, "that time is over");
	rig_until(&s->rig, until);
	return checked(s);
}

/* Time counts from the rig's first moment. */
static int step_at(struct script *s, char **words, size_t n)
{
	uint64_t ms;

	if (n < 1 || get_time(s, words[0], &ms) != 0 || pass(s, 1000000 + ms) != 0)
		return script_fail(s, "at is: at TIME [STATEMENT]");
	return n > 1 && !s->rig.crashed ? script_step(s, words + 1, n - 1) : 0;
}

static int step_after(struct script *s, char **words, size_t n)
{
	uint64_t ms;

	if (start(s) != 0 || n < 1 || get_time(s, words[0], &ms) != 0 ||
		pass(s, s->rig.now_ms + ms) != 0)
		return script_fail(s, "after is: after TIME [STATEMENT]");
	return n > 1 && !s->rig.crashed ? script_step(s, words + 1, n - 1) : 0;
}

/* counter=next and counter=same become numbers, and every counter is remembered. */
static char *fill_counter(struct script *s, const char *word, uint32_t host)
{
	struct script_counter row = { host, 0 }, *old = rows_find(&s->counters, &row);
	char text[32];

	if (old != NULL)
		row.value = old->value;
	if (strcmp(word, "counter=next") == 0)
		row.value++;
	else if (strcmp(word, "counter=same") != 0)
		row.value = (uint32_t)strtoul(word + 8, NULL, 0);
	(void)rows_put(&s->counters, &row);
	s->last_counter = row.value;
	(void)snprintf(text, sizeof(text), "counter=%u", row.value);
	return strdup(text);
}

static int encode(struct script *s, char **words, size_t n)
{
	char *filled[SCRIPT_WORDS], why[300];
	size_t i;
	int len = -1;

	for (i = 0; i < n; i++) {
		filled[i] = script_fill(s, words[i]);
		if (filled[i] == NULL)
			break;
		if (strncmp(filled[i], "counter=", 8) == 0) {
			char *counter = fill_counter(s, filled[i], s->from.addr);

			free(filled[i]);
			filled[i] = counter;
		}
	}
	if (i == n && strcmp(words[0], "raw") == 0 && n == 2) {
		len = words_hex(filled[1], bytes, sizeof(bytes));
		if (len < 0)
			(void)script_fail(s, "'%s' is no hexadecimal", filled[1]);
	} else if (i == n) {
		len = words_encode(filled, n, bytes, sizeof(bytes), why, sizeof(why));
		if (len < 0)
			(void)script_fail(s, "%s", why);
	}
	while (i-- > 0)
		free(filled[i]);
	return len;
}

static int step_from(struct script *s, char **words, size_t n)
{
	int len;

	if (before(s) != 0 || get_peer(s, &words, &n, &s->from) != 0)
		return -1;
	if (n == 0)
		return script_fail(s, "from whom is told, what is not");
	len = encode(s, words, n);
	if (len < 0)
		return -1;
	rig_message(&s->rig, &s->from, bytes, (size_t)len);
	return checked(s);
}

static int step_closed(struct script *s, char **words, size_t n)
{
	uint64_t conn;

	if (before(s) != 0 || n != 1 || strncmp(words[0], "tcp=", 4) != 0 ||
		get_number(s, words[0] + 4, 50000, &conn) != 0)
		return script_fail(s, "closed is: closed tcp=N");
	rig_conn_closed(&s->rig, conn);
	return checked(s);
}

static int step_misuse(struct script *s, char **words, size_t n)
{
	uint32_t host;
	uint64_t error, bind = 0;

	if (before(s) != 0 || n < 2 || addr_parse(words[0], &host) != 0 ||
		get_number(s, words[1], 999, &error) != 0 ||
		(n > 2 && get_number(s, words[2], UINT32_MAX, &bind) != 0))
		return script_fail(s, "misuse is: misuse HOST ERROR [BIND]");
	rig_misuse(&s->rig, host, (uint16_t)error, (uint32_t)bind);
	return checked(s);
}

/* resolve NAME ADDRESS ...: to the oldest question for it; without address: none. */
static int step_resolve(struct script *s, char **words, size_t n)
{
	uint32_t addresses[32];
	size_t i = 0;

	if (before(s) != 0 || n < 1 || n - 1 > sizeof(addresses) / sizeof(addresses[0]))
		return script_fail(s, "resolve is: resolve NAME [ADDRESS ...]");
	for (size_t k = 1; k < n; k++)
		if (addr_parse(words[k], &addresses[k - 1]) != 0)
			return script_fail(s, "'%s' is no address", words[k]);
	while (i < s->rig.n_names && strcmp(s->rig.names[i].name, words[0]) != 0)
		i++;
	if (i == s->rig.n_names)
		return script_fail(s, "nobody asked for %s", words[0]);
	rig_resolved(&s->rig, i, addresses, n - 1);
	return checked(s);
}

static int operator_verb(
	struct script *s, char **words, size_t n, int (*verb)(struct rig *r, uint32_t id))
{
	uint64_t id;
	bool fails = skip(&words, &n, "unknown");
	int err;

	if (before(s) != 0 || n != 1 || get_number(s, words[0], UINT32_MAX, &id) != 0)
		return script_fail(s, "an ID is wanted");
	err = verb(&s->rig, (uint32_t)id);
	if ((err != 0) != fails)
		return script_fail(s, fails ? "it was found" : "it was not found");
	return checked(s);
}

static int step_release(struct script *s, char **words, size_t n)
{
	return operator_verb(s, words, n, rig_release);
}

static int step_deregister(struct script *s, char **words, size_t n)
{
	return operator_verb(s, words, n, rig_deregister);
}

static int step_restart(struct script *s, char **words, size_t n)
{
	bool empty = skip(&words, &n, "empty");
	uint64_t down_ms = 0;

	if (before(s) != 0)
		return -1;
	if (n > 0 && strncmp(words[0], "down=", 5) == 0) {
		if (get_time(s, words[0] + 5, &down_ms) != 0)
			return -1;
	} else if (n > 0) {
		return script_fail(s, "restart is: restart [empty] [down=TIME]");
	}
	rig_restart(&s->rig, !empty, down_ms);
	return checked(s);
}

/* --- expectations
 * -----------------------------------------------------------------------
 */

/* Words of a pattern against the words of a reply, one by one; "..." takes the rest. */
static bool match_reply(
	struct script *s, char *const *pattern, size_t n, const char *reply)
{
	char *copy = strdup(reply), *rest = copy, *word;
	size_t i = 0, vars = s->n_vars;
	bool fits = true;

	if (copy == NULL)
		abort();
	while (fits && (word = strtok_r(rest, " ", &rest)) != NULL) {
		if (i < n && strcmp(pattern[i], "...") == 0)
			break;
		if (i < n && strcmp(pattern[i], "counter=same") == 0) {
			char text[32];

			(void)snprintf(text, sizeof(text), "counter=%u", s->last_counter);
			fits = strcmp(text, word) == 0;
		} else {
			fits = i < n && script_match(s, pattern[i], word);
		}
		i++;
	}
	if (i < n && strcmp(pattern[i], "...") == 0)
		i++;
	fits = fits && i == n;
	/* A failed match leaves no names behind. */
	while (!fits && s->n_vars > vars)
		free(s->vars[--s->n_vars].value);
	free(copy);
	return fits;
}

static int expect_silence(struct script *s)
{
	return script_settle(s);
}

static int step_expect(struct script *s, char **words, size_t n)
{
	bool async, close, raw;
	struct peer to = s->from;
	struct rig_effect *e;

	if (!s->started)
		return script_fail(s, "nothing happened yet");
	if (skip(&words, &n, "silence"))
		return expect_silence(s);
	async = skip(&words, &n, "async");
	close = skip(&words, &n, "close");
	if (skip(&words, &n, "to") && get_peer(s, &words, &n, &to) != 0)
		return -1;
	raw = n == 2 && strcmp(words[0], "raw") == 0;
	for (size_t i = 0; i < s->rig.n_log; i++) {
		e = &s->rig.log[i];
		if (e->kind != EFFECT_REPLY || e->taken)
			continue;
		if (e->async == async && e->close == close && peer_equal(&e->to, &to)) {
			uint8_t want[2048];
			int len = raw ? words_hex(words[1], want, sizeof(want)) : 0;

			e->taken = raw ? (size_t)len == e->len &&
						   memcmp(want, e->bytes, e->len) == 0
				       : match_reply(s, words, n, e->text);
		}
		if (e->taken)
			return 0;
		if (!async)
			break; /* answers come in order */
	}
	e = rig_reply(&s->rig);
	if (e == NULL)
		return script_fail(s, "no reply came");
	return script_fail(s, "came:%s%s %s (%s port %u conn %u)",
		e->async ? " async" : "", e->close ? " close" : "", e->text,
		e->to.transport == TRANSPORT_TCP ? "tcp" : "udp",
		(unsigned int)e->to.port, (unsigned int)e->to.conn);
}

/* Has the text each of these words, anywhere? */
static bool has_words(struct script *s, char *const *pattern, size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++) {
		char *copy = strdup(text), *rest = copy, *word;
		bool found = false;

		if (copy == NULL)
			abort();
		while (!found && (word = strtok_r(rest, " ", &rest)) != NULL)
			found = script_match(s, pattern[i], word);
		free(copy);
		if (!found)
			return false;
	}
	return true;
}

static const struct rig_effect *find_effect(struct script *s, char **words, size_t n)
{
	for (size_t i = 0; i < s->rig.n_log; i++) {
		const struct rig_effect *e = &s->rig.log[i];

		if (e->kind != EFFECT_REPLY && has_words(s, words, n, e->text))
			return e;
	}
	return NULL;
}

static int step_effect(struct script *s, char **words, size_t n)
{
	if (s->started && find_effect(s, words, n) != NULL)
		return 0;
	return script_fail(s, "no such effect");
}

static int step_no_effect(struct script *s, char **words, size_t n)
{
	const struct rig_effect *e = s->started ? find_effect(s, words, n) : NULL;

	if (e == NULL)
		return 0;
	return script_fail(s, "there is: %s", e->text);
}

/* --- the engine's own word
 * --------------------------------------------------------------
 */

static const char *const method_names[] = { "rsa-ip", "rsap-ip", "rsipsec", "listen",
	"listen-ike" };
static const char *const kind_names[] = { "address", "port", "spi" };

static bool sub_counter(const char *key, const char *group, const char *const *names,
	size_t n, const uint64_t *values, uint64_t *value)
{
	size_t len = strlen(group);

	if (strncmp(key, group, len) != 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(names[i], key + len) == 0) {
			*value = values[i];
			return true;
		}
	}
	return false;
}

static bool counter_value(
	const struct engine_counters *c, const char *key, uint64_t *value)
{
	const struct {
		const char *key;
		uint64_t value;
	} plain[] = {
		{ "udp_duplicates", c->udp_duplicates },
		{ "udp_stale", c->udp_stale },
		{ "udp_counter_gap", c->udp_counter_gap },
		{ "udp_waiting", c->udp_waiting },
		{ "names_refused", c->names_refused },
		{ "waiting", c->waiting },
		{ "dropped_short", c->dropped_short },
		{ "dropped_error_response", c->dropped_error_response },
		{ "dropped_rate", c->dropped_rate },
		{ "registrations", c->registrations },
	};
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		if (strcmp(plain[i].key, key) == 0) {
			*value = plain[i].value;
			return true;
		}
	}
	if (strncmp(key, "errors.", 7) == 0) {
		*value = c->errors[strtoul(key + 7, NULL, 10) % 512];
		return true;
	}
	if (strncmp(key, "requests.", 9) == 0) {
		*value = c->requests[strtoul(key + 9, NULL, 10) % 256];
		return true;
	}
	return sub_counter(key, "bindings.", method_names, METHODS, c->bindings, value) ||
	       sub_counter(key, "holding.", kind_names, 3, c->holding, value);
}

/* Each word KEY=VALUE against a look-up. */
static int compare(struct script *s, char **words, size_t n,
	bool (*look)(const void *ctx, const char *key, uint64_t *value), const void *ctx)
{
	for (size_t i = 0; i < n; i++) {
		char key[40];
		size_t len = strcspn(words[i], "=");
		uint64_t is, want;

		if (words[i][len] != '=' || len >= sizeof(key))
			return script_fail(s, "'%s' is not KEY=VALUE", words[i]);
		(void)snprintf(key, sizeof(key), "%.*s", (int)len, words[i]);
		if (!look(ctx, key, &is))
			return script_fail(s, "nothing is called '%s'", key);
		if (words[i][len + 1] == '$' &&
			script_get(s, words[i] + len + 2, strlen(words[i] + len + 2)) ==
				NULL) {
			char text[24];

			(void)snprintf(text, sizeof(text), "%" PRIu64, is);
			script_set(s, words[i] + len + 2, text);
			continue;
		}
		if (get_number(s, words[i] + len + 1, UINT64_MAX, &want) != 0)
			return -1;
		if (is != want)
			return script_fail(s, "%s is %" PRIu64, key, is);
	}
	return 0;
}

static bool look_counter(const void *ctx, const char *key, uint64_t *value)
{
	return counter_value(ctx, key, value);
}

static int step_counters(struct script *s, char **words, size_t n)
{
	if (!s->started)
		return script_fail(s, "nothing happened yet");
	return compare(s, words, n, look_counter, engine_counters(s->rig.engine));
}

struct find_address {
	struct engine_address a;
	uint32_t address;
	bool found;
};

static bool find_address(void *ctx, const struct engine_address *a)
{
	struct find_address *f = ctx;

	if (a->address == f->address) {
		f->a = *a;
		f->found = true;
	}
	return !f->found;
}

static bool look_address(const void *ctx, const char *key, uint64_t *value)
{
	const struct engine_address *a = ctx;
	const struct {
		const char *key;
		uint64_t value;
	} all[] = {
		{ "ports_free", a->ports_free },
		{ "ports_held", a->ports_held },
		{ "ports_resting", a->ports_resting },
		{ "spis_held", a->spis_held },
		{ "spis_resting", a->spis_resting },
		{ "dedicated", a->dedicated },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (strcmp(all[i].key, key) == 0) {
			*value = all[i].value;
			return true;
		}
	}
	return false;
}

static int step_address(struct script *s, char **words, size_t n)
{
	struct find_address f = { .found = false };
	char *text = n > 0 ? script_fill(s, words[0]) : NULL;
	int err = text == NULL ? -1 : addr_parse(text, &f.address);

	free(text);
	if (start(s) != 0 || err != 0)
		return script_fail(s, "address is: address ADDRESS KEY=VALUE ...");
	engine_each_address(s->rig.engine, find_address, &f);
	if (!f.found)
		return script_fail(s, "the engine knows no such address");
	return compare(s, words + 1, n - 1, look_address, &f.a);
}

/* held BIND WORD ...: the engine's lease, with remaining=SECONDS */
static int step_held(struct script *s, char **words, size_t n)
{
	struct lease l;
	struct effect e = { .kind = EFFECT_INSTALL, .lease = &l };
	uint64_t id;
	char *text, *all = NULL;
	int err = 0;

	if (start(s) != 0 || n < 1 || get_number(s, words[0], UINT32_MAX, &id) != 0)
		return script_fail(s, "held is: held BIND WORD ...");
	if (engine_lease_find(s->rig.engine, (uint32_t)id, &l) != 0)
		return script_fail(s, "no lease %" PRIu64, id);
	text = watch_text(&e);
	if (asprintf(&all, "%s remaining=%" PRIu64, text,
		    (l.expires_ms - s->rig.now_ms) / 1000) < 0)
		abort();
	if (!has_words(s, words + 1, n - 1, all))
		err = script_fail(s, "it is: %s", all);
	free(text);
	free(all);
	return err;
}

static int step_not_held(struct script *s, char **words, size_t n)
{
	struct lease l;
	uint64_t id;

	if (start(s) != 0 || n != 1 || get_number(s, words[0], UINT32_MAX, &id) != 0)
		return script_fail(s, "not-held is: not-held BIND");
	if (engine_lease_find(s->rig.engine, (uint32_t)id, &l) == 0)
		return script_fail(s, "lease %" PRIu64 " is held", id);
	return 0;
}

static bool look_registration(const void *ctx, const char *key, uint64_t *value)
{
	const struct registration *r = ctx;

	if (strcmp(key, "remaining_ms") == 0)
		*value = r->expires_ms; /* made relative by the caller */
	else if (strcmp(key, "bindings") == 0)
		*value = r->bindings;
	else if (strcmp(key, "counter") == 0)
		*value = r->counter;
	else if (strcmp(key, "tcp") == 0)
		*value = r->peer.transport == TRANSPORT_TCP;
	else
		return false;
	return true;
}

static int step_registered(struct script *s, char **words, size_t n)
{
	struct registration r;
	uint64_t id;

	if (start(s) != 0 || n < 1 || get_number(s, words[0], UINT32_MAX, &id) != 0)
		return script_fail(s, "registered is: registered CLIENT KEY=VALUE ...");
	if (engine_registration_find(s->rig.engine, (uint32_t)id, &r) != 0)
		return script_fail(s, "client %" PRIu64 " is not registered", id);
	r.expires_ms -= s->rig.now_ms;
	return compare(s, words + 1, n - 1, look_registration, &r);
}

static int step_not_registered(struct script *s, char **words, size_t n)
{
	struct registration r;
	uint64_t id;

	if (start(s) != 0 || n != 1 || get_number(s, words[0], UINT32_MAX, &id) != 0)
		return script_fail(s, "not-registered is: not-registered CLIENT");
	if (engine_registration_find(s->rig.engine, (uint32_t)id, &r) == 0)
		return script_fail(s, "client %" PRIu64 " is registered", id);
	return 0;
}

/* --- all of them
 * ------------------------------------------------------------------------
 */

static const struct {
	const char *word;
	bool whole; /* the first word belongs to the arguments */
	int (*step)(struct script *s, char **words, size_t n);
} steps[] = {
	{ "gateway", true, step_setup },
	{ "pool", true, step_setup },
	{ "policy", true, step_setup },
	{ "reload", false, step_reload },
	{ "at", false, step_at },
	{ "after", false, step_after },
	{ "from", false, step_from },
	{ "closed", false, step_closed },
	{ "misuse", false, step_misuse },
	{ "resolve", false, step_resolve },
	{ "release", false, step_release },
	{ "deregister", false, step_deregister },
	{ "restart", false, step_restart },
	{ "expect", false, step_expect },
	{ "effect", false, step_effect },
	{ "no-effect", false, step_no_effect },
	{ "counters", false, step_counters },
	{ "address", false, step_address },
	{ "held", false, step_held },
	{ "not-held", false, step_not_held },
	{ "registered", false, step_registered },
	{ "not-registered", false, step_not_registered },
	{ "let", false, script_let },
	{ "check", false, script_check },
};

int script_step(struct script *s, char **words, size_t n)
{
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		if (strcmp(steps[i].word, words[0]) != 0)
			continue;
		if (steps[i].whole)
			return steps[i].step(s, words, n);
		return steps[i].step(s, words + 1, n - 1);
	}
	return script_fail(s, "no statement '%s'", words[0]);
}
