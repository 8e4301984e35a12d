/*
 * One table of keys: section, name, default, setter.  Every value is text to libconfuse
 * and is checked where its line is known; what needs several of them comes at the end.
 */
#include "kxd/conf.h"

#include "base/err.h"

#include <arpa/inet.h>
#include <confuse.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A rule before the settings of its group are known. */
struct draft {
	struct kx_rule rule;
	struct draft *next;
};

struct group {
	bool present;
	struct kx_rule settings;
	struct draft *first, **last;
	size_t n;
};

struct parse {
	const char *path;
	char *why;
	size_t size;
	bool failed;
	struct kxd_conf *c;
	struct group groups[KX_GROUPS];
	enum kx_group now; /* whose section is read */
	/* The list that is read, and how many of its values have been: we are called
	 * after each of them with all so far, and at the end once more. */
	const cfg_opt_t *list;
	unsigned int taken;
};

/*
 * libconfuse's call-backs carry no pointer of ours, so one parse at a time leaves its
 * context here.
 */
static _Thread_local struct parse *parse_now;

/* --- values ---------------------------------------------------------------------------
 */

static bool set_text(char *to, size_t size, const char *v)
{
	return (size_t)snprintf(to, size, "%s", v) < size;
}

static bool set_bool(bool *to, const char *v)
{
	*to = strcmp(v, "true") == 0 || strcmp(v, "yes") == 0;
	return *to || strcmp(v, "false") == 0 || strcmp(v, "no") == 0;
}

static bool set_number(uint32_t *to, const char *v, uint32_t min, uint32_t max)
{
	struct range r;

	if (strchr(v, '-') != NULL || range_parse(v, min, max, &r) != 0)
		return false;
	*to = r.lo;
	return true;
}

static bool set_identity(struct parse *p, const char *v)
{
	struct kxd_conf *c = p->c;
	size_t len;

	if (c->n_self == KX_SELF_MAX || kx_name_parse(v, &c->self[c->n_self]) != 0 ||
		kx_name_is_root(&c->self[c->n_self]))
		return false;
	if (c->n_self++ == 0) {
		(void)kx_name_format(&c->self[0], c->identity);
		len = strlen(c->identity);
		c->identity[len - 1] = 0;
	}
	return true;
}

static bool set_protect(struct parse *p, const char *v)
{
	return p->c->n_protect < KX_LOCAL_MAX &&
	       prefix_parse(v, &p->c->protect[p->c->n_protect++]) == 0;
}

static bool set_protect_own(struct parse *p, const char *v)
{
	return set_bool(&p->c->protect_own, v);
}

static bool set_hold(struct parse *p, const char *v)
{
	return set_bool(&p->c->hold, v);
}

static bool set_hold_queue(struct parse *p, const char *v)
{
	uint32_t n;
	bool ok = set_number(&n, v, 0, 65535);

	p->c->hold_queue = ok ? (uint16_t)n : 0;
	return ok;
}

static bool set_forward(struct parse *p, const char *v)
{
	bool yes, ok = set_bool(&yes, v);

	p->c->no_forward = !yes;
	return ok;
}

static bool set_insecure(struct parse *p, const char *v)
{
	p->c->direct_insecure = strcmp(v, "direct") == 0;
	return p->c->direct_insecure || strcmp(v, "failure") == 0;
}

static bool set_address(struct parse *p, const char *v)
{
	uint32_t addr;

	return (v[0] == 0 || addr_parse(v, &addr) == 0) &&
	       set_text(p->c->address, sizeof(p->c->address), v);
}

static bool set_time(struct parse *p, const char *v)
{
	size_t len = strlen(v);

	return (len == 0 || (len == 14 && strspn(v, "0123456789") == len)) &&
	       set_text(p->c->dns_time, sizeof(p->c->dns_time), v);
}

static bool set_metrics(struct parse *p, const char *v)
{
	p->c->metrics = v[0] != 0;
	return v[0] == 0 ||
	       endpoint_parse(v, 0, &p->c->metrics_addr, &p->c->metrics_port) == 0;
}

/* A setter for each text that is only kept. */
#define KEEP(name)                                                  \
	static bool keep_##name(struct parse *p, const char *v)     \
	{                                                           \
		return set_text(p->c->name, sizeof(p->c->name), v); \
	}
KEEP(control_socket)
KEEP(vici)
KEEP(notify)
KEEP(key)
KEEP(certificate)
KEEP(ca)
KEEP(ike_proposals)
KEEP(esp_proposals)
KEEP(dns_config)
KEEP(dns_anchor)
KEEP(dns_forward)
KEEP(dns_zones)

/* A setter for each limit. */
#define LIMIT(name, min, max)                                       \
	static bool limit_##name(struct parse *p, const char *v)    \
	{                                                           \
		return set_number(&p->c->limits.name, v, min, max); \
	}
LIMIT(lookup_ms, 10, 60000)
LIMIT(decision_ms, 10, 60000)
LIMIT(ike_ms, 100, 60000)
LIMIT(total_ms, 100, 120000)
LIMIT(lookups, 1, 1024)
LIMIT(waiting, 1, 65536)
LIMIT(source_waiting, 1, 65536)
LIMIT(source_rate, 1, 100000)
LIMIT(source_burst, 1, 100000)
LIMIT(rate, 1, 100000)
LIMIT(burst, 1, 100000)
LIMIT(decisions, 16, 1048576)
LIMIT(peer_rate, 1, 10000)
LIMIT(id_rate, 1, 10000)
LIMIT(grace_s, 0, 86400)

/* --- groups ---------------------------------------------------------------------------
 */

static struct kx_rule *settings(struct parse *p)
{
	return &p->groups[p->now].settings;
}

static bool set_shunt(enum kx_shunt *to, const char *v, bool failure)
{
	static const struct {
		const char *word;
		enum kx_shunt shunt;
		bool negotiation, failure;
	} words[] = {
		{ "", KX_SHUNT_DEFAULT, true, true },
		{ "drop", KX_SHUNT_DROP, true, true },
		{ "hold", KX_SHUNT_HOLD, true, false },
		{ "pass", KX_SHUNT_PASS, true, true },
		{ "none", KX_SHUNT_NONE, false, true },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i].word, v) != 0)
			continue;
		*to = words[i].shunt;
		return failure ? words[i].failure : words[i].negotiation;
	}
	return false;
}

static bool set_negotiation(struct parse *p, const char *v)
{
	return set_shunt(&settings(p)->negotiation, v, false);
}

static bool set_failure(struct parse *p, const char *v)
{
	return set_shunt(&settings(p)->failure, v, true);
}

static bool set_failure_ttl(struct parse *p, const char *v)
{
	return set_number(&settings(p)->failure_ttl_s, v, 1, 86400);
}

static bool set_failure_max(struct parse *p, const char *v)
{
	return set_number(&settings(p)->failure_most_s, v, 1, 86400);
}

static bool set_bogus(struct parse *p, const char *v)
{
	settings(p)->bogus_drop = strcmp(v, "drop") == 0;
	return v[0] == 0 || settings(p)->bogus_drop;
}

static struct draft *draft_add(struct parse *p)
{
	struct group *g = &p->groups[p->now];
	struct draft *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return NULL;
	*g->last = d;
	g->last = &d->next;
	g->n++;
	return d;
}

static bool protocol_of(const char *word, uint8_t *protocol)
{
	static const struct {
		const char *name;
		uint8_t number;
	} names[] = { { "tcp", 6 }, { "udp", 17 }, { "icmp", 1 }, { "sctp", 132 },
		{ "gre", 47 }, { "ipip", 4 } };
	uint32_t n;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i].name, word) == 0) {
			*protocol = names[i].number;
			return true;
		}
	if (!set_number(&n, word, 1, 255))
		return false;
	*protocol = (uint8_t)n;
	return true;
}

static bool port_of(const char *word, uint16_t *port)
{
	uint32_t n = 0;
	bool ok = strcmp(word, "any") == 0 || set_number(&n, word, 1, 65535);

	*port = ok && strcmp(word, "any") != 0 ? (uint16_t)n : 0;
	return ok;
}

/* "PREFIX", "PREFIX PROTOCOL", "... PORT" of the destination, or "... SOURCE-PORT PORT".
 */
static bool set_prefix(struct parse *p, const char *v)
{
	char copy[96], *save = NULL, *words[5];
	size_t n = 0;
	struct draft *d;

	if (!set_text(copy, sizeof(copy), v))
		return false;
	for (char *w = strtok_r(copy, " \t", &save); w != NULL && n < 5;
		w = strtok_r(NULL, " \t", &save))
		words[n++] = w;
	d = n >= 1 && n <= 4 ? draft_add(p) : NULL;
	if (d == NULL)
		return false;
	if (kx_prefix_parse(words[0], &d->rule.prefix) != 0 ||
		d->rule.prefix.addr.len != 4)
		return false;
	if (n > 1 && !protocol_of(words[1], &d->rule.protocol))
		return false;
	if (n == 4 && !port_of(words[2], &d->rule.source_port))
		return false;
	return n <= 2 || port_of(words[n - 1], &d->rule.port);
}

static bool set_name(struct parse *p, const char *v)
{
	struct draft *d = draft_add(p);

	return d != NULL && kx_name_parse(v, &d->rule.name) == 0 &&
	       !kx_name_is_root(&d->rule.name);
}

/* --- the table ------------------------------------------------------------------------
 */

enum kind { ONE, LIST };

/* tools/check-docs holds the manual against these rows. */
static const struct key {
	const char *section, *name;
	enum kind kind;
	const char *initial;
	bool (*set)(struct parse *p, const char *value);
	const char *problem; /* "KEY \"VALUE\"" in front */
} keys[] = {
	{ "kxd", "identity", LIST, "", set_identity,
		"is not a domain name, or the ninth" },
	{ "kxd", "protect", LIST, "", set_protect,
		"is not an IPv4 network A.B.C.D/LEN, or the 65th" },
	{ "kxd", "protect-own", ONE, "false", set_protect_own, "is not true or false" },
	{ "kxd", "control-socket", ONE, "/run/rsip/rsip-kxd.sock", keep_control_socket,
		"is too long" },
	{ "kxd", "hold", ONE, "false", set_hold, "is not true or false" },
	{ "kxd", "hold-queue", ONE, "22300", set_hold_queue,
		"is not a number from 0 to 65535" },
	{ "kxd", "forward-confirmation", ONE, "true", set_forward,
		"is not true or false" },
	{ "kxd", "kx-insecure", ONE, "failure", set_insecure,
		"is neither failure nor direct" },
	{ "ike", "vici", ONE, "/run/charon.vici", keep_vici, "is too long" },
	{ "ike", "error-notify", ONE, "/run/charon.enfy", keep_notify, "is too long" },
	{ "ike", "address", ONE, "", set_address, "is not an IPv4 address" },
	{ "ike", "key", ONE, "", keep_key, "is too long" },
	{ "ike", "certificate", ONE, "", keep_certificate, "is too long" },
	{ "ike", "ca", ONE, "", keep_ca, "is too long" },
	{ "ike", "proposals", ONE, "default", keep_ike_proposals, "is too long" },
	{ "ike", "esp-proposals", ONE, "default", keep_esp_proposals, "is too long" },
	{ "dns", "forward", ONE, "", keep_dns_forward, "is too long" },
	{ "dns", "anchor", ONE, "", keep_dns_anchor, "is too long" },
	{ "dns", "config", ONE, "", keep_dns_config, "is too long" },
	{ "dns", "zones", ONE, "", keep_dns_zones, "is too long" },
	{ "dns", "validation-time", ONE, "", set_time, "is not YYYYMMDDHHMMSS" },
	{ "group", "prefixes", LIST, "", set_prefix,
		"is not \"A.B.C.D/LEN [PROTOCOL [[SOURCE-PORT] PORT]]\"" },
	{ "group", "names", LIST, "", set_name, "is not a domain name" },
	{ "group", "negotiation-shunt", ONE, "", set_negotiation,
		"is not drop, hold or pass" },
	{ "group", "failure-shunt", ONE, "", set_failure, "is not drop, pass or none" },
	{ "group", "failure-ttl", ONE, "60", set_failure_ttl,
		"is not a number of seconds from 1 to 86400" },
	{ "group", "failure-max", ONE, "900", set_failure_max,
		"is not a number of seconds from 1 to 86400" },
	{ "group", "bogus-shunt", ONE, "", set_bogus, "is not drop" },
	{ "limits", "lookup-ms", ONE, "2000", limit_lookup_ms,
		"is not a number from 10 to 60000" },
	{ "limits", "decision-ms", ONE, "4000", limit_decision_ms,
		"is not a number from 10 to 60000" },
	{ "limits", "ike-ms", ONE, "3000", limit_ike_ms,
		"is not a number from 100 to 60000" },
	{ "limits", "total-ms", ONE, "10000", limit_total_ms,
		"is not a number from 100 to 120000" },
	{ "limits", "lookups", ONE, "256", limit_lookups,
		"is not a number from 1 to 1024" },
	{ "limits", "waiting", ONE, "4096", limit_waiting,
		"is not a number from 1 to 65536" },
	{ "limits", "source-waiting", ONE, "64", limit_source_waiting,
		"is not a number from 1 to 65536" },
	{ "limits", "source-rate", ONE, "20", limit_source_rate,
		"is not a number from 1 to 100000" },
	{ "limits", "source-burst", ONE, "100", limit_source_burst,
		"is not a number from 1 to 100000" },
	{ "limits", "rate", ONE, "200", limit_rate, "is not a number from 1 to 100000" },
	{ "limits", "burst", ONE, "400", limit_burst,
		"is not a number from 1 to 100000" },
	{ "limits", "decisions", ONE, "16384", limit_decisions,
		"is not a number from 16 to 1048576" },
	{ "limits", "peer-rate", ONE, "10", limit_peer_rate,
		"is not a number from 1 to 10000" },
	{ "limits", "id-rate", ONE, "1", limit_id_rate,
		"is not a number from 1 to 10000" },
	{ "limits", "grace", ONE, "300", limit_grace_s,
		"is not a number of seconds from 0 to 86400" },
	{ "metrics", "listen", ONE, "", set_metrics, "is not ADDRESS:PORT" },
};

#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

static const struct key *key_find(const char *section, const char *name)
{
	for (size_t i = 0; i < N_KEYS; i++)
		if (strcmp(keys[i].section, section) == 0 &&
			strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

/* --- file -----------------------------------------------------------------------------
 */

/* The first complaint is the cause; later ones are consequences. */
__attribute__((format(printf, 3, 0))) static void complain(
	struct parse *p, int line, const char *format, va_list args)
{
	int n;

	if (p->failed)
		return;
	p->failed = true;
	n = line > 0 ? snprintf(p->why, p->size, "%s:%d: ", p->path, line)
		     : snprintf(p->why, p->size, "%s: ", p->path);
	if (n > 0 && (size_t)n < p->size)
		(void)vsnprintf(p->why + n, p->size - (size_t)n, format, args);
}

__attribute__((format(printf, 3, 4))) static int fail(
	struct parse *p, int line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	complain(p, line, format, args);
	va_end(args);
	return ERR_CONFIG;
}

__attribute__((format(printf, 2, 0))) static void on_error(
	cfg_t *cfg, const char *format, va_list args)
{
	complain(parse_now, cfg->line, format, args);
}

/* The group whose section is read. */
static bool group_enter(struct parse *p, cfg_t *cfg)
{
	const char *title = cfg_title(cfg);

	if (strcmp(cfg_name(cfg), "group") != 0)
		return true;
	if (title == NULL || kx_group_parse(title, &p->now) != 0) {
		cfg_error(cfg,
			"group \"%s\" is not private, private-or-clear, "
			"clear-or-private, clear or block",
			title != NULL ? title : "");
		return false;
	}
	p->groups[p->now].present = true;
	return true;
}

/* Values are checked while their line is known. */
static int on_value(cfg_t *cfg, cfg_opt_t *opt)
{
	struct parse *p = parse_now;
	const struct key *key = key_find(cfg_name(cfg), cfg_opt_name(opt));

	if (key == NULL || !group_enter(p, cfg))
		return -1;
	if (p->list != opt || p->taken > cfg_opt_size(opt))
		p->taken = 0;
	p->list = opt;
	for (unsigned int i = p->taken; i < cfg_opt_size(opt); i++) {
		const char *value = cfg_opt_getnstr(opt, i);
		struct draft **last = p->groups[p->now].last;

		if (!key->set(p, value != NULL ? value : "")) {
			cfg_error(cfg, "%s \"%s\" %s", key->name,
				value != NULL ? value : "", key->problem);
			return -1;
		}
		if (*last != NULL)
			(*last)->rule.line = (uint32_t)cfg->line;
		p->taken = key->kind == LIST ? i + 1 : 0;
	}
	return 0;
}

/* Also of a section without a value. */
static int on_group(cfg_t *cfg, cfg_opt_t *opt)
{
	cfg_t *section = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);

	(void)cfg;
	return section != NULL && group_enter(parse_now, section) ? 0 : -1;
}

static int rules_add(struct parse *p)
{
	for (int g = 0; g < KX_GROUPS; g++) {
		const struct kx_rule *s = &p->groups[g].settings;

		if (s->failure_most_s < s->failure_ttl_s)
			return fail(p, 0,
				"group %s: failure-max is less than failure-ttl",
				kx_group_text((enum kx_group)g));
		for (struct draft *d = p->groups[g].first; d != NULL; d = d->next) {
			uint32_t other = 0;
			struct kx_rule rule = *s;
			int err;

			rule.group = (enum kx_group)g;
			rule.prefix = d->rule.prefix;
			rule.name = d->rule.name;
			rule.protocol = d->rule.protocol;
			rule.source_port = d->rule.source_port;
			rule.port = d->rule.port;
			rule.line = d->rule.line;
			err = kx_policy_add(p->c->policy, &rule, &other);
			if (err == ERR_EXISTS)
				return fail(p, (int)rule.line,
					"the same destination is in another group, line "
					"%u",
					other);
			if (err == ERR_RANGE)
				return fail(
					p, (int)rule.line, "ports need tcp, udp or sctp");
			if (err != 0)
				return fail(p, (int)rule.line, "more than %d rules",
					KX_RULES_MAX);
		}
	}
	return 0;
}

/* What several values must agree on. */
static int check(struct parse *p)
{
	const struct kxd_conf *c = p->c;
	int err = rules_add(p);

	if (err != 0)
		return err;
	if (c->n_self == 0)
		return fail(p, 0,
			"kxd: no identity: the name that others' KX records and "
			"keys know this gateway by");
	if (c->n_protect == 0)
		return fail(p, 0, "kxd: protect is empty: no network to speak for");
	if (c->key[0] == 0)
		return fail(p, 0, "ike: no key: the file of the gateway's private key");
	if (c->limits.decision_ms < c->limits.lookup_ms ||
		c->limits.total_ms < c->limits.ike_ms)
		return fail(p, 0,
			"limits: the whole is shorter than a part: decision-ms "
			"below lookup-ms, or total-ms below ike-ms");
	return 0;
}

static void parse_init(struct parse *p)
{
	for (int g = 0; g < KX_GROUPS; g++) {
		p->groups[g].last = &p->groups[g].first;
		for (size_t i = 0; i < N_KEYS; i++) {
			p->now = (enum kx_group)g;
			if (keys[i].kind == ONE &&
				(g == 0 || strcmp(keys[i].section, "group") == 0))
				(void)keys[i].set(p, keys[i].initial);
		}
	}
}

static void parse_fini(struct parse *p)
{
	for (int g = 0; g < KX_GROUPS; g++)
		for (struct draft *d = p->groups[g].first, *next; d != NULL; d = next) {
			next = d->next;
			free(d);
		}
}

/* Behind a comment or a quoted word that begins at `at`; at itself where none does. */
static const char *skip(const char *at)
{
	static const struct {
		const char *begin, *end;
	} kinds[] = { { "#", "\n" }, { "//", "\n" }, { "/*", "*/" }, { "\"", "\"" },
		{ "'", "'" } };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const char *end;

		if (strncmp(at, kinds[i].begin, strlen(kinds[i].begin)) != 0)
			continue;
		end = strstr(at + strlen(kinds[i].begin), kinds[i].end);
		return end != NULL ? end + strlen(kinds[i].end) : at + strlen(at);
	}
	return at;
}

/* libconfuse takes a file that ends inside a section. */
static int closed(struct parse *p, const char *text)
{
	int depth = 0;

	for (const char *at = text; *at != 0;) {
		const char *behind = skip(at);

		depth += (behind == at && *at == '{') - (behind == at && *at == '}');
		at = behind > at ? behind : at + 1;
	}
	return depth > 0 ? fail(p, 0, "a brace has no end; was the file cut short?") : 0;
}

#define SECTIONS 6

static int text_parse(struct parse *p, const char *text)
{
	static const char *const names[SECTIONS] = { "kxd", "ike", "dns", "group",
		"limits", "metrics" };
	cfg_opt_t opts[SECTIONS][N_KEYS + 1], root[SECTIONS + 1];
	cfg_t *cfg;
	int result;

	memset(opts, 0, sizeof(opts)); /* CFG_END is all zero */
	memset(root, 0, sizeof(root));
	for (size_t s = 0; s < SECTIONS; s++) {
		const cfg_opt_t sec = CFG_SEC(names[s], opts[s],
			s == 3 ? CFGF_TITLE | CFGF_MULTI | CFGF_NO_TITLE_DUPES
			       : CFGF_NONE);
		size_t n = 0;

		root[s] = sec;
		for (size_t i = 0; i < N_KEYS; i++) {
			const cfg_opt_t one = CFG_STR(keys[i].name, NULL, CFGF_NODEFAULT);
			const cfg_opt_t list =
				CFG_STR_LIST(keys[i].name, NULL, CFGF_NODEFAULT);

			if (strcmp(keys[i].section, names[s]) == 0)
				opts[s][n++] = keys[i].kind == LIST ? list : one;
		}
	}
	cfg = cfg_init(root, CFGF_NONE);
	if (cfg == NULL)
		return -ENOMEM;
	(void)cfg_set_error_function(cfg, on_error);
	for (size_t i = 0; i < N_KEYS; i++) {
		char name[64];

		(void)snprintf(
			name, sizeof(name), "%s|%s", keys[i].section, keys[i].name);
		(void)cfg_set_validate_func(cfg, name, on_value);
	}
	(void)cfg_set_validate_func(cfg, "group", on_group);
	parse_now = p;
	result = cfg_parse_buf(cfg, text);
	parse_now = NULL;
	(void)cfg_free(cfg);
	if (result == CFG_SUCCESS && !p->failed)
		return closed(p, text);
	return p->failed ? ERR_CONFIG : fail(p, 0, "cannot be read");
}

int kxd_conf_parse(const char *path, const char *text, struct kxd_conf **conf, char *why,
	size_t why_size)
{
	struct parse p = { .path = path, .size = why_size };
	int err = -ENOMEM;

	p.why = why;
	p.c = calloc(1, sizeof(*p.c));
	if (p.c != NULL)
		p.c->policy = kx_policy_new();
	if (p.c != NULL && p.c->policy != NULL) {
		parse_init(&p);
		err = text_parse(&p, text);
		if (err == 0)
			err = check(&p);
		parse_fini(&p);
	}
	if (err != 0) {
		kxd_conf_free(p.c);
		return err;
	}
	*conf = p.c;
	return 0;
}

#define FILE_MOST (1 << 20)

int kxd_conf_load(const char *path, struct kxd_conf **conf, char *why, size_t why_size)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t n = 0;
	int err = file != NULL ? 0 : -errno;
	struct stat st;

	if (err == 0 && fstat(fileno(file), &st) == 0 && S_ISDIR(st.st_mode))
		err = -EISDIR;
	if (err == 0) {
		text = malloc(FILE_MOST + 1);
		err = text != NULL ? 0 : -ENOMEM;
	}
	if (err == 0) {
		n = fread(text, 1, FILE_MOST, file);
		text[n] = 0;
		if (ferror(file) || !feof(file))
			err = ferror(file) ? -EIO : -EFBIG;
		else if (strlen(text) != n)
			err = ERR_MALFORMED; /* a NUL would hide what is behind it */
	}
	if (err == 0)
		err = kxd_conf_parse(path, text, conf, why, why_size);
	else if (err != -ENOMEM)
		(void)snprintf(why, why_size, "%s: %s", path, err_text(err));
	if (file != NULL)
		(void)fclose(file);
	free(text);
	return err < 0 && err > ERR_BASE && err != -ENOMEM ? ERR_CONFIG
	       : err == ERR_MALFORMED                      ? ERR_CONFIG
							   : err;
}

void kxd_conf_free(struct kxd_conf *c)
{
	if (c == NULL)
		return;
	kx_policy_free(c->policy);
	free(c);
}
