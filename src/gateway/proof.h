#pragma once

#include "auth/guard.h"
#include "auth/tls.h"
#include "conf/conf.h"
#include "net/net.h"

/*
 * What rsipd knows hosts by, beside their addresses: the keys and certificates that
 * section `security` names.
 */
#define PROOF_WHY 512

struct proof {
	struct guard *guard; /* NULL: no keys; else the same one for as long as we run */
	struct tls_ctx *tls; /* NULL: no TLS */
};

/* Read, but not yet in use. */
struct proof_files {
	struct auth_keys keys;
	struct tls_ctx *tls;
};

/* ERR_CONFIG with the sentence, which names the file, in why; nothing is held then. */
int proof_load(
	const struct conf *conf, struct proof_files *files, char *why, size_t why_size);
/* Not taken after all. */
void proof_files_fini(struct proof_files *files);
/* Take them over.  0 or -ENOMEM, with nothing changed and *files still the caller's. */
int proof_take(struct proof *p, struct proof_files *files);
void proof_fini(struct proof *p);
/* Where hosts must be, with the interfaces as they are now; how many. */
size_t proof_places(
	const struct conf *conf, struct net_place places[static CONF_PLACES_MAX]);
