/*
 * The files are read with each connection, so a new key needs no restart.
 */
#include "host/prove.h"

#include "base/addr.h"
#include "base/err.h"
#include "host/host.h"

#include <stdio.h>
#include <string.h>

bool prove_is_wanted(const struct prove *p)
{
	return p->files.key_file[0] != 0 || p->files.tls_certificate[0] != 0;
}

static const char *file_of(const char *name)
{
	return name[0] != 0 ? name : NULL;
}

static int keys_read(
	const struct prove *p, struct auth_keys *keys, char *why, size_t why_size)
{
	*keys = (struct auth_keys){ 0 };
	return p->files.key_file[0] != 0
		       ? auth_keys_load(p->files.key_file, keys, why, why_size)
		       : 0;
}

int prove_begin_tcp(struct prove *p, uint32_t gateway, char *why, size_t why_size)
{
	const struct host_keys *f = &p->files;
	char addr[ADDR_TEXT_MAX];
	struct auth_keys keys;
	struct tls_conf conf = { .keys = &keys,
		.certificate = file_of(f->tls_certificate),
		.key = f->tls_key,
		.authority = f->tls_authority,
		.peer_name = f->tls_name };
	int err;

	prove_end(p);
	if (f->tls_name[0] == 0)
		conf.peer_name = addr_format(gateway, addr);
	err = keys_read(p, &keys, why, why_size);
	if (err == 0)
		err = tls_ctx_new(&conf, &p->ctx, why, why_size);
	auth_keys_fini(&keys);
	if (err != 0)
		return err;
	p->tls = tls_new(p->ctx);
	if (p->tls != NULL)
		return 0;
	prove_end(p);
	(void)snprintf(why, why_size, "memory is short");
	return ERR_NOSPACE;
}

int prove_begin_udp(
	struct prove *p, uint32_t host, uint32_t gateway, char *why, size_t why_size)
{
	struct auth_keys keys;
	int err;

	prove_end(p);
	if (p->files.key_file[0] == 0) {
		(void)snprintf(why, why_size,
			"certificates work over TCP alone: give --key-file, or "
			"--transport tcp");
		return ERR_CONFIG;
	}
	err = keys_read(p, &keys, why, why_size);
	if (err != 0)
		return err;
	sealer_init(&p->sealer, &keys.at[0], host_now_us());
	sealer_path(&p->sealer, host, gateway);
	p->sealed = true;
	auth_keys_fini(&keys);
	return 0;
}

void prove_end(struct prove *p)
{
	tls_free(p->tls);
	tls_ctx_free(p->ctx);
	p->tls = NULL;
	p->ctx = NULL;
	if (p->sealed)
		sealer_fini(&p->sealer);
	p->sealed = false;
}
