#pragma once

#include "auth/sealer.h"
#include "auth/tls.h"
#include "host/conf.h"

/*
 * How we prove to a gateway who we are, and it to us: a shared key (TLS over TCP, seals
 * over UDP) or certificates (TLS).  Where one is configured nothing plain is said or
 * believed.
 */
#define PROVE_WHY 300

struct prove {
	struct host_keys files;
	struct tls_ctx *ctx; /* TCP */
	struct tls *tls;     /* of the connection there is */
	bool sealed;         /* UDP: `sealer` is filled */
	struct sealer sealer;
};

/* Is anything configured? */
bool prove_is_wanted(const struct prove *p);
/*
 * Read the files and begin: a connection, or a socket between these two addresses.  0, or
 * a negative code with the sentence in why; nothing is open then.
 */
int prove_begin_tcp(struct prove *p, uint32_t gateway, char *why, size_t why_size);
int prove_begin_udp(
	struct prove *p, uint32_t host, uint32_t gateway, char *why, size_t why_size);
/* The connection or socket is gone. */
void prove_end(struct prove *p);
