#pragma once

#include "auth/key.h"

/*
 * TLS 1.3 between bytes and bytes: what came from the network goes in, what is to be sent
 * comes out, and no socket is touched.  Both ends are known, by a shared key (PSK with
 * ephemeral Diffie-Hellman) or by certificates of one authority.  ALPN "rsip/1".
 */

#define TLS_FIRST_BYTE 0x16 /* of a handshake; never of a plain message of version 1 */

struct tls_conf {
	const struct auth_keys *keys; /* copied; NULL or empty: no shared keys */
	const char *certificate, *key, *authority; /* PEM files; NULL: no certificates */
	bool server;
	/* Host: what the gateway's certificate must name, a DNS name or an address. */
	const char *peer_name;
};

struct tls_ctx;
/* ERR_CONFIG with a sentence in why, or -ENOMEM. */
int tls_ctx_new(
	const struct tls_conf *conf, struct tls_ctx **ctx, char *why, size_t why_size);
/* Connections that have it keep it until they end. */
void tls_ctx_free(struct tls_ctx *ctx);

struct tls;
/* NULL when memory is short.  A host's hello is then there to be sent. */
struct tls *tls_new(struct tls_ctx *ctx);
void tls_free(struct tls *t);

/* What arrived; 0, ERR_PROTOCOL (see tls_error(); an alert may be to be sent), -ENOMEM.
 */
int tls_input(struct tls *t, const uint8_t *bytes, size_t len);
/* Plain bytes that came; 0: none now.  ERR_PROTOCOL: the other end closed or lied. */
int tls_read(struct tls *t, uint8_t *buf, size_t size);
/* Plain bytes to be sent, after tls_is_ready(). */
int tls_write(struct tls *t, const uint8_t *bytes, size_t len);
/* Bytes for the network: how many are there, and take some of them. */
size_t tls_pending(const struct tls *t);
size_t tls_output(struct tls *t, uint8_t *buf, size_t size);

/* The handshake is over and the other end is known. */
bool tls_is_ready(const struct tls *t);
/* Its name: of the key, or the common name of its certificate; "" before it is known. */
const char *tls_peer(const struct tls *t);
/* Why it failed, in words of OpenSSL; "" when it did not. */
const char *tls_error(const struct tls *t);
