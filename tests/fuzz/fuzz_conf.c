/*
 * A configuration file.  What is taken keeps the promises that the engine and the data
 * plane rely on; what is not has a sentence with the file's name.
 */
#include "base/err.h"
#include "conf/conf.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

static void ranges_sound(const struct range *r, size_t n, uint32_t min, uint32_t max)
{
	for (size_t i = 0; i < n; i++) {
		MUST(r[i].lo <= r[i].hi && r[i].lo >= min && r[i].hi <= max);
		MUST(i == 0 || r[i].lo > r[i - 1].hi);
	}
}

static void pool_sound(const struct engine_pool *p)
{
	ranges_sound(p->ports, p->n_ports, 1, 65535);
	ranges_sound(p->spis, p->n_spis, 256, UINT32_MAX);
	MUST(!ranges_have(p->ports, p->n_ports, 500));
	MUST(!ranges_have(p->ports, p->n_ports, 4500));
	MUST(!ranges_have(p->ports, p->n_ports, 4555));
}

static void policy_sound(const struct engine_policy *p)
{
	MUST(p->n_match > 0 && p->methods != 0 && p->tunnels != 0);
	MUST(p->lease_default_s >= 1 && p->lease_default_s <= p->lease_max_s);
	for (size_t i = 0; i < p->n_allow; i++)
		MUST(p->allow[i].port_lo <= p->allow[i].port_hi);
}

static void conf_sound(const struct conf *c)
{
	MUST(c->n_listen > 0 && (c->engine.tcp || c->engine.udp));
	MUST(c->n_taken == c->engine.n_pools && c->engine.n_policies > 0);
	for (size_t i = 0; i < c->n_listen; i++)
		MUST(c->listen[i].port != 0);
	for (size_t i = 0; i < c->engine.n_pools; i++)
		pool_sound(&c->engine.pools[i]);
	for (size_t i = 0; i < c->engine.n_policies; i++)
		policy_sound(&c->engine.policies[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char why[CONF_WHY] = "";
	struct conf *c = NULL;
	char *text = malloc(size + 1);
	int err;

	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = 0;
	err = conf_parse("FILE", text, &c, why, sizeof(why));
	if (err == 0) {
		conf_sound(c);
		conf_free(c);
	} else {
		MUST(err == ERR_CONFIG && strncmp(why, "FILE:", 5) == 0);
	}
	free(text);
	return 0;
}
