/*
 * Keys and certificates: read whole before the old ones go, like the configuration.
 */
#include "gateway/proof.h"

#include "base/err.h"
#include "base/log.h"
#include "base/random.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

static const char *file_of(const char *name)
{
	return name[0] != 0 ? name : NULL;
}

int proof_load(
	const struct conf *conf, struct proof_files *files, char *why, size_t why_size)
{
	const struct conf_files *f = &conf->security;
	struct tls_conf tls = { .keys = &files->keys,
		.certificate = file_of(f->certificate),
		.key = file_of(f->key),
		.authority = file_of(f->authority),
		.server = true };
	int err = 0;

	*files = (struct proof_files){ 0 };
	if (f->keys[0] != 0)
		err = auth_keys_load(f->keys, &files->keys, why, why_size);
	if (err == 0 && conf->engine.tcp && (f->keys[0] != 0 || f->certificate[0] != 0))
		err = tls_ctx_new(&tls, &files->tls, why, why_size);
	if (err != 0) {
		proof_files_fini(files);
		if (why[0] == 0)
			(void)snprintf(why, why_size, "%s", err_text(err));
	}
	return err;
}

void proof_files_fini(struct proof_files *files)
{
	auth_keys_fini(&files->keys);
	tls_ctx_free(files->tls);
	*files = (struct proof_files){ 0 };
}

/* A number that no earlier start had. */
static uint64_t epoch_new(void)
{
	struct random r = random_system();
	uint64_t high = r.next(&r);

	return high << 32 | r.next(&r);
}

int proof_take(struct proof *p, struct proof_files *files)
{
	struct guard *guard = p->guard;
	int err = 0;

	/* Once there, it stays, also without keys: seals are then bad ones. */
	if (guard == NULL && files->keys.n > 0)
		err = guard_new(epoch_new(), &guard);
	if (err == 0 && guard != NULL)
		err = guard_set_keys(guard, &files->keys);
	if (err != 0) {
		if (p->guard == NULL)
			guard_free(guard);
		return err;
	}
	p->guard = guard;
	tls_ctx_free(p->tls);
	p->tls = files->tls;
	*files = (struct proof_files){ 0 };
	return 0;
}

void proof_fini(struct proof *p)
{
	guard_free(p->guard);
	tls_ctx_free(p->tls);
	*p = (struct proof){ 0 };
}

#define NOWHERE 0x7fffffffU /* no interface has that number */

size_t proof_places(
	const struct conf *conf, struct net_place places[static CONF_PLACES_MAX])
{
	for (size_t i = 0; i < conf->n_places; i++) {
		const struct conf_place *p = &conf->places[i];

		places[i] = (struct net_place){ .addr = p->addr, .has_mac = p->has_mac };
		memcpy(places[i].mac, p->mac, sizeof(p->mac));
		if (p->interface[0] == 0)
			continue;
		places[i].ifindex = if_nametoindex(p->interface);
		if (places[i].ifindex != 0)
			continue;
		places[i].ifindex = NOWHERE;
		log_warn("a host's interface is not there, it is not served until a "
			 "reload",
			"interface=%s", p->interface);
	}
	return conf->n_places;
}
