/*
 * Sections security and host: what is asked of a message beside its address, and which
 * host is which.
 */
#include "conf/check.h"

#include "auth/key.h"
#include "base/err.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

/* --- security -------------------------------------------------------------------------
 */

static int check_certificates(const struct conf_security *s, const struct conf_where *w)
{
	const struct {
		const char *name;
		const struct conf_string *value;
	} of[] = { { "tls-certificate", &s->tls_certificate }, { "tls-key", &s->tls_key },
		{ "tls-authority", &s->tls_authority } };
	size_t given = 0, last = 0;

	for (size_t i = 0; i < 3; i++)
		if (of[i].value->text[0] != 0) {
			given++;
			last = i;
		}
	for (size_t i = 0; i < 3 && given > 0; i++)
		if (of[i].value->text[0] == 0)
			return conf_fail(w, of[last].value->line,
				"%s without %s; certificates need all three, since both "
				"ends show one",
				of[last].name, of[i].name);
	return 0;
}

static int check_require(
	const struct conf_security *s, const struct conf_where *w, struct conf *conf)
{
	static const enum peer_guard guards[] = { PEER_TLS, PEER_SEALED };
	const struct conf_number *word = s->require.items;
	bool certificates = s->tls_certificate.text[0] != 0;

	for (size_t i = 0; i < s->require.n; i++)
		conf->engine.guards |= 1U << guards[word[i].n];
	if ((conf->engine.guards & 1U << PEER_SEALED) && s->key_file.text[0] == 0)
		return conf_fail(w, s->require.line,
			"require = \"hmac\" needs key-file; `rsip genkey NAME` makes "
			"its lines");
	if ((conf->engine.guards & 1U << PEER_TLS) && s->key_file.text[0] == 0 &&
		!certificates)
		return conf_fail(w, s->require.line,
			"require = \"tls\" needs key-file, or tls-certificate, tls-key "
			"and tls-authority");
	if ((conf->engine.guards & 1U << PEER_TLS) && !conf->engine.tcp)
		return conf_fail(w, s->require.line,
			"require = \"tls\" needs \"tcp\" among the transports");
	if ((conf->engine.guards & 1U << PEER_SEALED) && !conf->engine.udp)
		return conf_fail(w, s->require.line,
			"require = \"hmac\" needs \"udp\" among the transports");
	return 0;
}

int conf_check_security(
	const struct conf_security *s, const struct conf_where *w, struct conf *conf)
{
	int err = check_certificates(s, w);

	if (err == 0)
		err = check_require(s, w, conf);
	conf->security = (struct conf_files){ s->key_file.text, s->tls_certificate.text,
		s->tls_key.text, s->tls_authority.text };
	return err;
}

/* --- hosts ----------------------------------------------------------------------------
 */

static bool mac_parse(const char *text, uint8_t mac[static 6])
{
	if (strlen(text) != 17 || strspn(text, "0123456789abcdefABCDEF:") != 17)
		return false;
	for (size_t i = 0; i < 6; i++) {
		char *end;

		mac[i] = (uint8_t)strtoul(text + 3 * i, &end, 16);
		if (end != text + 3 * i + 2 || *end != (i < 5 ? ':' : 0))
			return false;
	}
	return (mac[0] & 1) == 0; /* not a group's */
}

static int fill_identities(struct arena *a, const struct conf_host *h, const char *name,
	const struct conf_where *w, struct engine_host *e)
{
	const struct conf_string *text = h->identities.items;
	uint64_t *ids = arena_array(a, h->identities.n, sizeof(*ids));

	if (ids == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < h->identities.n; i++) {
		if (!auth_name_is_legal(text[i].text))
			return conf_fail(w, text[i].line,
				"identities of host %s: \"%s\" is no name of a key or "
				"certificate",
				name, text[i].text);
		ids[i] = auth_identity(text[i].text);
	}
	e->identities = ids;
	e->n_identities = h->identities.n;
	return 0;
}

static int check_host(struct arena *a, const struct conf_host *h, const char *name,
	const struct conf_where *w, struct engine_host *e, struct conf_place *p)
{
	*e = (struct engine_host){ .addr = h->address.n };
	*p = (struct conf_place){ .addr = h->address.n, .interface = h->interface.text };
	if (h->address.n == 0)
		return conf_fail(w, h->address.line, "host %s has no address", name);
	if (strlen(h->interface.text) >= IF_NAMESIZE)
		return conf_fail(w, h->interface.line,
			"interface = \"%s\": not a name of an interface",
			h->interface.text);
	p->has_mac = h->mac.text[0] != 0;
	if (p->has_mac && !mac_parse(h->mac.text, p->mac))
		return conf_fail(w, h->mac.line,
			"mac = \"%s\": expected six bytes, for example "
			"02:00:5e:10:00:01",
			h->mac.text);
	return fill_identities(a, h, name, w, e);
}

static int compare_hosts(const void *left, const void *right)
{
	const struct engine_host *a = left, *b = right;

	return a->addr < b->addr ? -1 : a->addr > b->addr;
}

static int compare_numbers(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

static int collect_bound(struct arena *a, struct engine_conf *e)
{
	uint64_t *bound;
	size_t n = 0;

	for (size_t i = 0; i < e->n_hosts; i++)
		n += e->hosts[i].n_identities;
	bound = arena_array(a, n, sizeof(*bound));
	if (bound == NULL)
		return -ENOMEM;
	n = 0;
	for (size_t i = 0; i < e->n_hosts; i++)
		for (size_t k = 0; k < e->hosts[i].n_identities; k++)
			bound[n++] = e->hosts[i].identities[k];
	qsort(bound, n, sizeof(*bound), compare_numbers);
	e->bound = bound;
	e->n_bound = n;
	return 0;
}

static int find_twice(const struct conf_pieces *p, const struct engine_host *sorted,
	const struct conf_where *w)
{
	char text[ADDR_TEXT_MAX];

	for (size_t i = 1; i < p->n_hosts; i++) {
		int line = 0;

		if (sorted[i].addr != sorted[i - 1].addr)
			continue;
		for (size_t k = 0; k < p->n_hosts; k++)
			if (p->hosts[k].address.n == sorted[i].addr)
				line = p->hosts[k].address.line;
		return conf_fail(w, line,
			"address %s stands in another host section, too",
			addr_format(sorted[i].addr, text));
	}
	return 0;
}

int conf_check_hosts(struct arena *a, const struct conf_pieces *p,
	const struct conf_where *w, struct conf *conf)
{
	struct engine_host *hosts = arena_array(a, p->n_hosts, sizeof(*hosts));
	struct conf_place *places = arena_array(a, p->n_hosts, sizeof(*places));
	int err = 0;

	if (hosts == NULL || places == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_hosts && err == 0; i++) {
		err = check_host(a, &p->hosts[i], p->host_names[i], w, &hosts[i],
			&places[conf->n_places]);
		if (places[conf->n_places].has_mac || p->hosts[i].interface.text[0] != 0)
			conf->n_places++;
	}
	if (err == 0 && conf->n_places > CONF_PLACES_MAX)
		err = conf_fail(w, 0, "more than %d hosts have an interface or mac",
			CONF_PLACES_MAX);
	if (err != 0)
		return err;
	qsort(hosts, p->n_hosts, sizeof(*hosts), compare_hosts);
	conf->engine.hosts = hosts;
	conf->engine.n_hosts = p->n_hosts;
	conf->places = places;
	err = find_twice(p, hosts, w);
	return err != 0 ? err : collect_bound(a, &conf->engine);
}
